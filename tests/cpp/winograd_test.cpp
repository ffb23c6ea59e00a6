// Winograd's tiles of both sizes against the implicit product: every layout, caches of many sizes, so that
// blocks, pieces and chunks of all kinds occur. Data are small integers, on which tiles of 2 make no rounding
// error at all.
#include "cpu/winograd.h"

#include <cmath>
#include <vector>

#include "check.h"
#include "cpu/implicit_gemm.h"
#include "runnable_isas.h"

namespace fastconv::test {
namespace {

using cpu::Machine;
using std::int64_t;

struct Tensor {
  std::vector<float> data;
  ImageView view;

  Tensor(int64_t batch, int64_t channels, const int64_t (&size)[kAxes], bool channels_last) {
    view.batch = batch;
    view.channels = channels;
    int64_t next = channels_last ? channels : 1;
    for (int a = kAxes - 1; a >= 0; --a) {
      view.size[a] = size[a];
      view.stride[a] = next;
      next *= size[a];
    }
    view.channel_stride = channels_last ? 1 : next;
    view.batch_stride = channels * product(size);
    data.resize(static_cast<std::size_t>(batch * view.batch_stride));
    view.data = data.data();
  }
};

unsigned state = 1;
void draw(std::vector<float>* data) {
  for (float& v : *data) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(static_cast<int>(state >> 28) - 8);
  }
}

void compare(const char* what, int m, const std::vector<float>& actual, const std::vector<float>& expected) {
  float largest = 1;
  for (const float v : expected) largest = std::fmax(largest, std::fabs(v));
  const float allowed = m == 2 ? 0 : 1e-4f * largest;
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(std::fabs(actual[i] - expected[i]) <= allowed, "%s, tiles of %d, element %zu: %g, not %g", what, m,
          i, static_cast<double>(actual[i]), static_cast<double>(expected[i]));
}

void check_problem(const Machine& machine, const ConvProblem& p, bool channels_last) {
  Tensor x(p.batch, p.in_channels, p.input, channels_last),
      y(p.batch, p.out_channels, p.output, channels_last);
  std::vector<float> w(static_cast<std::size_t>(p.out_channels * p.channels_per_group() * p.taps()));
  std::vector<float> bias(static_cast<std::size_t>(p.out_channels));
  for (std::vector<float>* v : {&x.data, &w, &bias}) draw(v);
  const FilterView filters{w.data(), Dtype::float32, p.out_channels, p.channels_per_group(), p.taps()};
  const Epilogue epilogue{bias.data(), 1, Activation::relu};
  const PixelGather forward = forward_gather(p, x.view, y.view);
  cpu::pixel_product(machine, {forward}, filters, false, p.groups)->run(filters, epilogue);
  const std::vector<float> expected = y.data;
  for (const int m : {2, 4}) {
    std::fill(y.data.begin(), y.data.end(), NAN);
    cpu::winograd_product(machine, m, forward, filters, false, p.groups)->run(filters, epilogue);
    compare("forward", m, y.data, expected);
  }

  draw(&y.data);
  const std::vector<float> x_data = x.data;
  const auto gradient = input_gradient_gathers(p, y.view, x.view);
  cpu::pixel_product(machine, gradient.phases, filters, true, p.groups)->run(filters, {});
  const std::vector<float> expected_x = x.data;
  for (const int m : {2, 4}) {
    for (const PixelGather& g : gradient.phases)
      cpu::winograd_product(machine, m, g, filters, true, p.groups)->run(filters, {});
    compare("input gradient", m, x.data, expected_x);
  }

  x.data = x_data;
  std::vector<float> dw(w.size());
  const FilterView weights{dw.data(), Dtype::float32, p.out_channels, p.channels_per_group(), p.taps()};
  cpu::image_product(machine, forward, p.groups, weights)->run(weights, {});
  const std::vector<float> expected_w = dw;
  for (const int m : {2, 4}) {
    std::fill(dw.begin(), dw.end(), NAN);
    cpu::winograd_image_product(machine, m, forward, p.groups, weights)->run(weights, {});
    compare("weight gradient", m, dw, expected_w);
  }
}

ConvProblem problem(int64_t batch, int64_t in, int64_t out, int64_t groups, int64_t d, int64_t h, int64_t w,
                    int64_t before, int64_t after, int64_t kernel = 3) {
  ConvProblem p;
  p.rank = 3;
  p.batch = batch;
  p.in_channels = in;
  p.out_channels = out;
  p.groups = groups;
  const int64_t size[kAxes] = {d, h, w};
  for (int a = 0; a < kAxes; ++a) {
    const bool flat = size[a] == 1;
    p.input[a] = size[a];
    p.kernel[a] = flat ? 1 : a == 0 ? 3 : kernel;
    p.pad_before[a] = flat ? 0 : before;
    p.pad_after[a] = flat ? 0 : after;
    p.output[a] = size[a] + p.pad_before[a] + p.pad_after[a] - p.kernel[a] + 1;
  }
  return p;
}

}  // namespace
}  // namespace fastconv::test

int main() {
  using namespace fastconv::test;
  const fastconv::cpu::CacheSizes caches[] = {
      {32 << 10, 512 << 10}, {48 << 10, 2 << 20}, {16 << 10, 64 << 10}};
  for (const Isa& isa : runnable_isas())
    for (const auto& cache : caches)
      for (const bool channels_last : {false, true}) {
        const Machine machine{isa.table, cache, 2};
        check_problem(machine, problem(3, 9, 7, 1, 1, 7, 9, 1, 1), channels_last);
        check_problem(machine, problem(1, 2, 150, 1, 1, 14, 15, 0, 2), channels_last);
        check_problem(machine, problem(2, 150, 40, 2, 1, 5, 4, 1, 0), channels_last);
        check_problem(machine, problem(1, 3, 5, 1, 1, 3, 333, 1, 1), channels_last);
        check_problem(machine, problem(1, 3, 5, 1, 1, 203, 3, 1, 1), channels_last);
        check_problem(machine, problem(2, 6, 8, 2, 4, 6, 5, 1, 1), channels_last);
        check_problem(machine, problem(2, 40, 9, 1, 1, 13, 12, 2, 2, 5), channels_last);
        check_problem(machine, problem(1, 3, 40, 1, 3, 11, 14, 1, 3, 7), channels_last);
      }
  return finish("Winograd");
}
