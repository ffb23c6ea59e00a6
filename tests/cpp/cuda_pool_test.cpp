// The CUDA back end's pools, run on the CPU, against the CPU's own: random problems of every kind, in both
// layouts and all dtypes. Maxima, their indices and what is moved by them must be equal; means and norms
// agree within roundings, since their sums have another order.
#include <algorithm>
#include <limits>
#include <random>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "check.h"
#include "cpu/pool.h"
#include "cuda/pool.h"
#include "storage.h"

namespace fastconv::test {
namespace {

std::mt19937_64 randomness(7);
int64_t draw(int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(randomness);
}
bool chance(int of) { return draw(1, of) == 1; }

template <class S>
constexpr Dtype kDtype = std::is_same_v<S, float>     ? Dtype::float32
                         : std::is_same_v<S, double>  ? Dtype::float64
                         : std::is_same_v<S, Float16> ? Dtype::float16
                                                      : Dtype::bfloat16;
template <class S>
using Compute = std::conditional_t<std::is_same_v<S, double>, double, float>;

// An array in either layout, aligned as on a device, before elements that nobody may touch; with a margin,
// rows and planes are further apart than they need be.
template <class S>
struct Tensor {
  std::vector<S> data;
  ImageView view;

  Tensor(int64_t batch, int64_t channels, const int64_t (&size)[kAxes], bool channels_last,
         int64_t margin = 0) {
    view = {nullptr, kDtype<S>, batch, channels, {size[0], size[1], size[2]}, 0, 0, {0, 0, 0}};
    int64_t next = channels_last ? channels + margin : 1;
    for (int a = kAxes - 1; a >= 0; --a) {
      view.stride[a] = next;
      next = next * size[a] + margin;
    }
    view.channel_stride = channels_last ? 1 : next;
    view.batch_stride = channels_last ? next : channels * next + margin;
    end_ = static_cast<std::size_t>(batch * view.batch_stride) + 16 / sizeof(S);
    data.assign(end_ + kGuards, narrow<S>(Compute<S>(kUntouched)));
    auto at = reinterpret_cast<std::uintptr_t>(data.data());
    first_ = static_cast<std::size_t>((at + 15) / 16 * 16 - at) / sizeof(S);
    view.data = data.data() + first_;
  }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;

  std::size_t elements() const {
    return static_cast<std::size_t>(view.batch * view.channels * product(view.size));
  }
  S& operator[](std::size_t i) { return data[first_ + i]; }  // of what is contiguous
  template <class Value>
  void fill(const Value& value) {
    for (std::size_t i = 0; i < end_; ++i) data[i] = narrow<S>(static_cast<Compute<S>>(value()));
  }
  bool kept_its_end() const {
    return std::all_of(data.end() - kGuards, data.end(), [](S s) { return widen(s) == kUntouched; });
  }

 private:
  static constexpr int kGuards = 64, kUntouched = 77;
  std::size_t first_, end_;
};

double random_value() { return std::uniform_real_distribution<double>(-2, 2)(randomness); }
double small_integer() { return static_cast<double>(draw(-3, 3)); }
double special_value() {
  switch (draw(0, 11)) {
    case 0:
      return std::numeric_limits<double>::quiet_NaN();
    case 1:
      return std::numeric_limits<double>::infinity();
    case 2:
    case 3:
      return -std::numeric_limits<double>::infinity();
    default:
      return small_integer();
  }
}

struct Case {
  PoolProblem problem;
  int64_t batch, channels, margin;
  bool channels_last;

  const char* text() const {
    static char line[400];
    int n = std::snprintf(line, sizeof line, "batch %d channels %d %s margin %d", int(batch), int(channels),
                          channels_last ? "last" : "first", int(margin));
    for (const PoolAxis& axis : problem.axis)
      n += std::snprintf(line + n, sizeof line - static_cast<std::size_t>(n),
                         "; %d -> %d kernel %d stride %d dilation %d pads %d %d adaptive %d", int(axis.input),
                         int(axis.output), int(axis.kernel), int(axis.stride), int(axis.dilation),
                         int(axis.before), int(axis.after), axis.adaptive);
    return line;
  }
  void sizes(int64_t (&input)[kAxes], int64_t (&output)[kAxes]) const {
    for (int i = 0; i < kAxes; ++i) {
      input[i] = problem.axis[i].input;
      output[i] = problem.axis[i].output;
    }
  }
};

PoolProblem draw_problem() {
  const int rank = static_cast<int>(draw(1, 3)), kind = static_cast<int>(draw(0, 5));
  const int64_t most = rank == 1 ? 300 : rank == 2 ? 24 : 9;
  int64_t input[kAxes] = {1, 1, 1}, other[kAxes] = {1, 1, 1};
  for (int i = kAxes - rank; i < kAxes; ++i) input[i] = draw(1, most);
  if (kind <= 1) {  // adaptive, or global
    for (int i = kAxes - rank; kind == 0 && i < kAxes; ++i) other[i] = draw(1, input[i] + 2);
    return adaptive_pool("test", input, other);
  }
  for (;;) {
    int64_t kernel[kAxes] = {1, 1, 1}, stride[kAxes] = {1, 1, 1}, dilation[kAxes] = {1, 1, 1};
    PaddingSpec padding;
    for (int i = kAxes - rank; i < kAxes; ++i) {
      kernel[i] = chance(4) ? draw(1, input[i]) : draw(1, 4);
      stride[i] = chance(2) ? kernel[i] : draw(1, 4);
      dilation[i] = chance(3) ? draw(1, 4) : 1;
      const int64_t window = (kernel[i] - 1) * dilation[i];
      padding.before[i] = draw(0, std::min<int64_t>(window, 3));
      padding.after[i] = draw(0, std::min<int64_t>(window, 3));
    }
    try {
      PoolProblem p = sliding_pool("test", rank, input, kernel, stride, padding, dilation, chance(2));
      p.count_include_pad = chance(2);
      if (chance(6)) p.divisor_override = chance(2) ? 5 : -3;
      return p;
    } catch (const std::invalid_argument&) {  // does not fit
    }
  }
}

Case draw_case() {
  Case c = {draw_problem(), draw(1, 3), chance(2) ? 8 * draw(1, 3) : draw(1, 19), 0, chance(2)};
  if (chance(4) && (c.channels > 1 || !c.channels_last)) c.margin = chance(2) ? 8 : draw(1, 5);
  return c;
}

template <class S>
void compare(const char* what, const Case& c, Tensor<S>& actual, Tensor<S>& expected, double allowed) {
  CHECK(actual.kept_its_end(), "%s of dtype %d goes too far: %s", what, static_cast<int>(kDtype<S>),
        c.text());
  std::size_t i = 0;
  const auto agrees = [&] {
    const double a = widen(actual[i]), e = widen(expected[i]);
    return a == e || (std::isnan(a) && std::isnan(e)) ||
           std::fabs(a - e) <= allowed * std::fmax(1.0, std::fabs(e));
  };
  while (i < expected.elements() && agrees()) ++i;
  CHECK(i == expected.elements(), "%s of dtype %d, element %zu: %g, not %g: %s", what,
        static_cast<int>(kDtype<S>), i, static_cast<double>(widen(actual[i])),
        static_cast<double>(widen(expected[i])), c.text());
}

// Roundings of sums in the compute type, whose order differs, and of results that they push over an edge.
template <class S>
constexpr double kTolerance = std::is_same_v<S, double>    ? 1e-13
                              : std::is_same_v<S, float>   ? 2e-5
                              : std::is_same_v<S, Float16> ? 0x1p-9
                                                           : 0x1p-6;

template <class S>
void check_pool(const Case& c, double (*value)()) {
  int64_t input[kAxes], output[kAxes];
  c.sizes(input, output);
  Tensor<S> x(c.batch, c.channels, input, c.channels_last, c.margin);
  Tensor<S> actual(c.batch, c.channels, output, c.channels_last);
  Tensor<S> expected(c.batch, c.channels, output, c.channels_last);
  x.fill(value);
  std::vector<int64_t> indices(expected.elements() + 2, -5), expected_indices(expected.elements());
  int64_t* const positions =
      indices.data() + (reinterpret_cast<std::uintptr_t>(indices.data()) % 16 == 0 ? 0 : 1);
  cpu::pool(c.problem, PoolOperation::max, 0, x.view, expected.view, expected_indices.data(),
            c.channels_last);
  cuda::pool(c.problem, PoolOperation::max, 0, x.view, actual.view, positions, c.channels_last, nullptr);
  compare("numbered maximum", c, actual, expected, 0);
  const bool equal = std::equal(expected_indices.begin(), expected_indices.end(), positions);
  CHECK(equal, "indices of dtype %d: %s", static_cast<int>(kDtype<S>), c.text());
  cuda::pool(c.problem, PoolOperation::max, 0, x.view, actual.view, nullptr, c.channels_last, nullptr);
  compare("maximum", c, actual, expected, 0);

  cpu::pool(c.problem, PoolOperation::mean, 0, x.view, expected.view, nullptr, c.channels_last);
  cuda::pool(c.problem, PoolOperation::mean, 0, x.view, actual.view, nullptr, c.channels_last, nullptr);
  compare("mean", c, actual, expected, kTolerance<S>);
  const double p = chance(2) ? static_cast<double>(draw(1, 9)) : 2.5;
  cpu::pool(c.problem, PoolOperation::power, p, x.view, expected.view, nullptr, c.channels_last);
  cuda::pool(c.problem, PoolOperation::power, p, x.view, actual.view, nullptr, c.channels_last, nullptr);
  compare("norm", c, actual, expected, kTolerance<S>);
}

template <class S>
void check_gradient(const Case& c) {
  int64_t input[kAxes], output[kAxes];
  c.sizes(input, output);
  Tensor<S> x(c.batch, c.channels, input, c.channels_last), y(c.batch, c.channels, output, c.channels_last);
  Tensor<S> dy(c.batch, c.channels, output, c.channels_last);
  Tensor<S> actual(c.batch, c.channels, input, c.channels_last);
  Tensor<S> expected(c.batch, c.channels, input, c.channels_last);
  dy.fill(random_value);
  x.fill(random_value);
  for (const PoolOperation operation : {PoolOperation::mean, PoolOperation::power}) {
    PoolProblem problem = c.problem;
    const double p = chance(2) ? static_cast<double>(draw(1, 4)) : 1.5;
    if (operation == PoolOperation::power) {
      problem.divisor_override = 1;
      cpu::pool(problem, operation, p, x.view, y.view, nullptr, c.channels_last);
    }
    cpu::pool_gradient(problem, operation, p, dy.view, x.view.data, y.view.data, expected.view,
                       c.channels_last);
    cuda::pool_gradient(problem, operation, p, dy.view, x.view.data, y.view.data, actual.view,
                        c.channels_last, nullptr);
    compare(operation == PoolOperation::mean ? "gradient of a mean" : "gradient of a norm", c, actual,
            expected, kTolerance<S>);
    if (output[0] > 1) continue;
    ImageView far = dy.view;  // a stride that is never taken, but asks for arithmetic of 64 bits
    far.stride[0] = int64_t{1} << 40;
    cuda::pool_gradient(problem, operation, p, far, x.view.data, y.view.data, actual.view, c.channels_last,
                        nullptr);
    compare("gradient with far offsets", c, actual, expected, kTolerance<S>);
  }
}

// Indices: of a pool, or drawn from all positions, from few, or from one. `astray`: some are no positions.
// What belongs where is computed here, as it reads.
template <class S>
void check_scatter(const Case& c, int spread, bool astray) {
  int64_t input[kAxes], output[kAxes];
  c.sizes(input, output);
  Tensor<S> small(c.batch, c.channels, output, c.channels_last),
      back(c.batch, c.channels, output, c.channels_last);
  Tensor<S> large(c.batch, c.channels, input, c.channels_last),
      expected(c.batch, c.channels, input, c.channels_last);
  small.fill(small_integer);
  const int64_t windows = product(output), positions = product(input);
  std::vector<int64_t> indices(small.elements());
  const int64_t most = spread == 0 ? positions - 1 : spread == 1 ? std::min<int64_t>(positions - 1, 3) : 0;
  for (int64_t& i : indices) i = positions - 1 - draw(0, most);
  if (spread == 3) {
    large.fill(random_value);
    cpu::pool(c.problem, PoolOperation::max, 0, large.view, back.view, indices.data(), c.channels_last);
    for (int64_t& i : indices) i = std::max<int64_t>(i, 0);  // of empty windows
  }
  if (astray)
    for (int64_t& i : indices)
      if (chance(3)) i = chance(2) ? -draw(1, 9) : positions + draw(0, int64_t{1} << 40);

  const PoolPositions p = {"test", small.view, large.view, indices.data(), c.channels_last};
  const int64_t minor = c.channels_last ? c.channels : 1;
  const auto place = [&](std::size_t i, int64_t index) {
    const auto at = static_cast<int64_t>(i);
    return static_cast<std::size_t>((at / (windows * minor) * positions + index) * minor + at % minor);
  };
  for (const bool sums : {true, false}) {
    std::vector<double> total(expected.elements());
    for (std::size_t i = 0; i < indices.size(); ++i) {
      if (indices[i] < 0 || indices[i] >= positions) continue;
      double& at = total[place(i, indices[i])];
      at = widen(small[i]) + (sums ? at : 0);
    }
    for (std::size_t i = 0; i < total.size(); ++i) expected[i] = narrow<S>(static_cast<Compute<S>>(total[i]));
    large.fill(random_value);
    sums ? cuda::scatter_sums(p, nullptr) : cuda::scatter_values(p, nullptr);
    compare(sums ? "scattered sums" : "scattered values", c, large, expected, 0);
  }
  large.fill(random_value);
  cuda::gather_values({"test", back.view, large.view, indices.data(), c.channels_last}, nullptr);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const bool astray_one = indices[i] < 0 || indices[i] >= positions;
    small[i] = astray_one ? narrow<S>(Compute<S>(0)) : large[place(i, indices[i])];
  }
  compare("gathered values", c, back, small, 0);
}

// Sums whose terms round: the order is that of the windows, so not a bit may differ.
template <class S>
void check_order(const Case& c) {
  int64_t input[kAxes], output[kAxes];
  c.sizes(input, output);
  Tensor<S> dy(c.batch, c.channels, output, c.channels_last), y(c.batch, c.channels, output, c.channels_last);
  Tensor<S> x(c.batch, c.channels, input, c.channels_last);
  Tensor<S> actual(c.batch, c.channels, input, c.channels_last),
      expected(c.batch, c.channels, input, c.channels_last);
  dy.fill(random_value);
  x.fill(small_integer);
  std::vector<int64_t> indices(dy.elements());
  cpu::pool(c.problem, PoolOperation::max, 0, x.view, y.view, indices.data(), c.channels_last);
  if (std::count(indices.begin(), indices.end(), -1)) return;
  cpu::scatter_sums({"test", dy.view, expected.view, indices.data(), c.channels_last});
  cuda::scatter_sums({"test", dy.view, actual.view, indices.data(), c.channels_last}, nullptr);
  compare("gradient of a maximum", c, actual, expected, 0);
}

// The results of an image are the same bits in any batch.
template <class S>
void check_batch(const Case& c) {
  int64_t input[kAxes], output[kAxes];
  c.sizes(input, output);
  Tensor<S> x(c.batch, c.channels, input, c.channels_last), y(c.batch, c.channels, output, c.channels_last);
  Tensor<S> alone(1, c.channels, output, c.channels_last);
  x.fill(random_value);
  cuda::pool(c.problem, PoolOperation::mean, 0, x.view, y.view, nullptr, c.channels_last, nullptr);
  const int64_t image = c.batch - 1;
  ImageView last = x.view;
  last.data = static_cast<S*>(last.data) + image * last.batch_stride;
  last.batch = 1;
  cuda::pool(c.problem, PoolOperation::mean, 0, last, alone.view, nullptr, c.channels_last, nullptr);
  const auto offset = static_cast<std::size_t>(image) * alone.elements();
  const bool equal = std::memcmp(&alone[0], &y[offset], alone.elements() * sizeof(S)) == 0;
  CHECK(equal, "an image alone: %s", c.text());
}

template <class S>
void check_dtype() {
  for (int i = 0; i < 30; ++i) {
    const Case c = draw_case();
    check_pool<S>(c, random_value);
    check_pool<S>(c, i % 2 ? special_value : small_integer);
    check_gradient<S>(c);
    check_scatter<S>(c, i % 4, i % 3 == 0);
    check_order<S>(c);
    check_batch<S>(c);
  }
}

Case sliding_case(int64_t channels, int64_t size, int64_t kernel, int64_t stride, bool channels_last) {
  const int64_t input[kAxes] = {1, size, size}, kernels[kAxes] = {1, kernel, kernel};
  const int64_t strides[kAxes] = {1, stride, stride}, ones[kAxes] = {1, 1, 1};
  return {sliding_pool("test", 2, input, kernels, strides, PaddingSpec(), ones, false), 1, channels, 0,
          channels_last};
}

// Planes of several tiles, wide windows, and threads of several rounds.
void check_large() {
  for (const bool channels_last : {false, true}) {
    const Case tiles = sliding_case(channels_last ? 9 : 1, 200, 3, 2, channels_last);
    for (int spread = 0; spread < 4; ++spread) {
      if (spread != 2) check_scatter<float>(tiles, spread, spread == 0);
      if (spread != 2) check_scatter<Float16>(tiles, spread, false);
    }
    check_order<float>(tiles);
    const Case wide = sliding_case(channels_last ? 40 : 2, 90, 45, 45, channels_last);
    check_pool<float>(wide, random_value);
    check_pool<BFloat16>(wide, special_value);
    const Case overlapping = sliding_case(3, 40, 25, 3, channels_last);
    check_pool<double>(overlapping, special_value);
    Case rounds = sliding_case(4, 4, 2, 2, channels_last);
    rounds.batch = (1 << 17) + 3;
    check_pool<float>(rounds, small_integer);
    check_gradient<float>(rounds);
  }
}

void check_empty() {
  Case c = sliding_case(3, 5, 2, 2, false);
  c.batch = 0;
  check_pool<float>(c, random_value);
  check_gradient<float>(c);
  check_scatter<float>(c, 0, false);
}

}  // namespace
}  // namespace fastconv::test

int main() {
  using namespace fastconv;
  test::check_dtype<float>();
  test::check_dtype<double>();
  test::check_dtype<Float16>();
  test::check_dtype<BFloat16>();
  test::check_large();
  test::check_empty();
  return test::finish("CUDA pools");
}
