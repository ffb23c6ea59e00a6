// The CUDA convolutions, run by the executor on this CPU, against the CPU's own: random problems of every
// rank, stride, dilation, padding, mode, layout, grouping and dtype, forward and both gradients. Data are
// small integers, so that all sums are exact and results equal to the bit.
#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "check.h"
#include "core/integers.h"
#include "cpu/convolution.h"
#include "cuda/convolution.h"
#include "cuda/kernels/depthwise.h"
#include "cuda/kernels/warpgroup_filters.h"
#include "cuda/kernels/warpgroup_images.h"
#include "cuda/winograd.h"

namespace fastconv::test {
namespace {

using std::int64_t;

class Random {
 public:
  int64_t below(int64_t limit) {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<int64_t>((state_ >> 33) % static_cast<std::uint64_t>(limit));
  }
  int64_t within(int64_t least, int64_t most) { return least + below(most - least + 1); }

 private:
  std::uint64_t state_ = 1;
} draw;

// Memory of a dtype, filled with small integers or with NaN patterns.
struct Numbers {
  Dtype dtype;
  std::vector<unsigned char> bytes;

  Numbers(Dtype type, int64_t count)
      : dtype(type), bytes(static_cast<std::size_t>(count * size_of(type)), 0xff) {}
  int64_t count() const { return static_cast<int64_t>(bytes.size()) / size_of(dtype); }
  void* data() { return bytes.data(); }
  void fill() {
    for (int64_t i = 0; i < count(); ++i) {
      const auto value = static_cast<float>(draw.within(-3, 3));
      if (dtype == Dtype::float64) {
        static_cast<double*>(data())[i] = value;
      } else if (dtype == Dtype::float32) {
        static_cast<float*>(data())[i] = value;
      } else {  // both storage types hold such values in their upper bits
        constexpr std::uint16_t kFloat16[] = {0, 0x3c00, 0x4000, 0x4200},
                                kBFloat16[] = {0, 0x3f80, 0x4000, 0x4040};
        const auto size = static_cast<int>(std::fabs(value));
        const auto sign = static_cast<std::uint16_t>(value < 0 ? 0x8000 : 0);
        const std::uint16_t bits = (dtype == Dtype::float16 ? kFloat16 : kBFloat16)[size];
        static_cast<std::uint16_t*>(data())[i] = static_cast<std::uint16_t>(bits | sign);
      }
    }
  }
};

ImageView view_of(Numbers* numbers, int64_t batch, int64_t channels, const int64_t (&size)[kAxes],
                  bool channels_last) {
  ImageView v;
  v.data = numbers->data();
  v.dtype = numbers->dtype;
  v.batch = batch;
  v.channels = channels;
  int64_t next = channels_last ? channels : 1;
  for (int a = kAxes - 1; a >= 0; --a) {
    v.size[a] = size[a];
    v.stride[a] = next;
    next *= size[a];
  }
  v.channel_stride = channels_last ? 1 : next;
  v.batch_stride = channels * product(size);
  return v;
}

ConvProblem random_problem() {
  ConvProblem p;
  p.rank = static_cast<int>(draw.within(1, 3));
  p.batch = draw.within(0, 3);
  const bool depthwise = draw.below(4) == 0;
  p.groups = depthwise ? draw.within(2, 6) : draw.within(1, 3);
  p.in_channels = p.groups * (depthwise ? 1 : draw.within(1, 12));
  p.out_channels = p.groups * (depthwise ? draw.within(1, 2) : draw.within(1, draw.below(4) == 0 ? 70 : 12));
  p.mode = draw.below(2) == 0 ? PaddingMode::zeros : static_cast<PaddingMode>(draw.below(4));
  for (int a = kAxes - p.rank; a < kAxes; ++a) {
    p.input[a] = draw.within(1, p.rank == 1 ? 60 : p.rank == 2 ? 11 : 6);
    p.stride[a] = draw.within(1, 3);
    p.dilation[a] = draw.within(1, 2);
    const int64_t most = p.mode == PaddingMode::zeros ? 3 : std::min<int64_t>(p.input[a] - 1, 3);
    p.pad_before[a] = draw.within(0, most);
    p.pad_after[a] = draw.within(0, most);
    const int64_t padded = p.input[a] + p.pad_before[a] + p.pad_after[a];
    p.kernel[a] = draw.within(1, std::min<int64_t>((padded - 1) / p.dilation[a] + 1, 4));
    p.output[a] = (padded - p.dilation[a] * (p.kernel[a] - 1) - 1) / p.stride[a] + 1;
  }
  return p;
}

void compare(const char* what, const ConvProblem& p, const ConvRoute& route, const Numbers& actual,
             const Numbers& expected) {
  for (std::size_t i = 0; i < expected.bytes.size(); i += static_cast<std::size_t>(size_of(expected.dtype))) {
    const auto bytes = static_cast<std::size_t>(size_of(expected.dtype));
    // Zeros of both signs are the same number.
    bool zero = true;
    for (std::size_t b = 0; b < bytes; ++b) {
      const int mask = b == bytes - 1 ? 0x7f : 0xff;
      zero = zero && !((actual.bytes[i + b] | expected.bytes[i + b]) & mask);
    }
    const bool equal = std::memcmp(&actual.bytes[i], &expected.bytes[i], bytes) == 0;
    CHECK(zero || equal,
          "%s by %s, %s, rank %d, batch %lld, %lld to %lld channels in %lld groups, element %zu", what,
          route.name(), name_of(expected.dtype), p.rank, static_cast<long long>(p.batch),
          static_cast<long long>(p.in_channels), static_cast<long long>(p.out_channels),
          static_cast<long long>(p.groups), i / bytes);
    if (!zero && !equal) return;  // the first of a problem tells
  }
}

void check_problem(const ConvProblem& p, Dtype dtype, bool channels_last, const char* algorithm,
                   int capability = 90) {
  const int64_t filters = p.out_channels * p.channels_per_group() * p.taps();
  Numbers x(dtype, p.batch * p.in_channels * product(p.input)), w(dtype, filters), b(dtype, p.out_channels),
      dy(dtype, p.batch * p.out_channels * product(p.output));
  for (Numbers* n : {&x, &w, &b, &dy}) n->fill();
  const auto image = [&](Numbers* n) { return view_of(n, p.batch, p.in_channels, p.input, channels_last); };
  const auto result = [&](Numbers* n) {
    return view_of(n, p.batch, p.out_channels, p.output, channels_last);
  };
  const auto weights = [&](Numbers* n) {
    return FilterView{n->data(), dtype, p.out_channels, p.channels_per_group(), p.taps()};
  };
  const auto cpu_plan = [&](Direction direction) {
    return cpu::select_algorithm("conv", p, direction, dtype, Precision::highest, "implicit_gemm",
                                 cpu::Machine::current());
  };
  const auto route = [&](Direction direction) {
    const bool serves = direction != Direction::weight_gradient || std::strcmp(algorithm, "winograd") != 0;
    return cuda::conv_route("conv", p, direction, dtype, Precision::highest, serves ? algorithm : "auto",
                            capability, nullptr);
  };
  const Epilogue epilogue{b.data(), 1, draw.below(2) == 0 ? Activation::relu6 : Activation::none};

  Numbers actual(dtype, dy.count()), expected(dtype, dy.count());
  const auto forward = route(Direction::forward);
  forward->images(image(&x), weights(&w), epilogue, result(&actual));
  cpu::conv_forward(cpu_plan(Direction::forward), p, image(&x), weights(&w), epilogue, result(&expected));
  compare("forward", p, *forward, actual, expected);

  Numbers actual_dx(dtype, x.count()), expected_dx(dtype, x.count());
  const auto backward = route(Direction::input_gradient);
  backward->images(result(&dy), weights(&w), {}, image(&actual_dx));
  cpu::conv_input_gradient(cpu_plan(Direction::input_gradient), p, result(&dy), weights(&w), {},
                           image(&expected_dx));
  compare("input gradient", p, *backward, actual_dx, expected_dx);

  Numbers actual_dw(dtype, filters), expected_dw(dtype, filters);
  const auto filter_route = route(Direction::weight_gradient);
  filter_route->filters(result(&dy), image(&x), weights(&actual_dw));
  cpu::conv_weight_gradient(cpu_plan(Direction::weight_gradient), p, result(&dy), image(&x),
                            weights(&expected_dw));
  compare("filter gradient", p, *filter_route, actual_dw, expected_dw);
}

void check_random_problems() {
  constexpr Dtype kDtypes[] = {Dtype::float32, Dtype::float64, Dtype::float16, Dtype::bfloat16};
  constexpr const char* kAlgorithms[] = {"auto", "tensor_cores", "implicit_gemm", "direct", "tensor_cores"};
  for (int i = 0; i < 200; ++i) {
    const Dtype dtype = kDtypes[i % 4];
    const bool channels_last = draw.below(2) == 0;
    const char* algorithm = kAlgorithms[i % 5];
    if (dtype == Dtype::float64 && std::strcmp(algorithm, "tensor_cores") == 0) algorithm = "auto";
    check_problem(random_problem(), dtype, channels_last, algorithm, i % 3 == 0 ? 80 : 90);
  }
}

// Channels for products of warpgroups, of few pixels.
ConvProblem wide_problem() {
  constexpr int64_t kChannels[] = {64, 48, 128, 56, 96, 168};
  ConvProblem p = random_problem();
  while (p.batch == 0 || p.taps() > 12) p = random_problem();
  p.groups = draw.below(4) == 0 ? 2 : 1;
  p.in_channels = p.groups * (p.groups > 1 ? 64 : kChannels[draw.below(6)]);
  p.out_channels = p.groups * (draw.below(2) == 0 ? kChannels[draw.below(4)] : draw.within(40, 72));
  if (draw.below(4) > 0) return p;
  for (int a = 0; a < kAxes; ++a) {
    p.kernel[a] = 1;
    p.output[a] = (p.input[a] + p.pad_before[a] + p.pad_after[a] - 1) / p.stride[a] + 1;
  }
  return p;
}

template <template <class, int, int> class Kernel>
int64_t launches_of_all() {
  int64_t count = 0;
  for (const std::type_index kernel :
       {std::type_index(typeid(Kernel<BFloat16, 64, 1>)), std::type_index(typeid(Kernel<BFloat16, 128, 1>)),
        std::type_index(typeid(Kernel<BFloat16, 64, 3>)), std::type_index(typeid(Kernel<BFloat16, 128, 3>)),
        std::type_index(typeid(Kernel<Float16, 64, 1>)), std::type_index(typeid(Kernel<Float16, 128, 1>))}) {
    const int64_t launches = cuda::emulation::launches(kernel);
    CHECK(launches > 0, "%s was never launched", kernel.name());
    count += launches;
  }
  return count;
}

void check_warpgroups() {
  constexpr Dtype kDtypes[] = {Dtype::float32, Dtype::float16, Dtype::bfloat16};
  for (int i = 0; i < 40; ++i) {
    const bool channels_last = draw.below(2) == 0;
    check_problem(wide_problem(), kDtypes[i % 3], channels_last, "tensor_cores", i % 5 == 4 ? 80 : 90);
  }
  // Stages take more than eight turns each: a phase that ends with one arrival of eight missing is a turn
  // ahead.
  ConvProblem p;
  p.rank = 1;
  p.batch = 1;
  p.in_channels = p.out_channels = 64;
  p.kernel[2] = 36;
  p.output[2] = 8192;  // no parts
  p.input[2] = p.output[2] + p.kernel[2] - 1;
  check_problem(p, Dtype::float16, true, "tensor_cores");

  const int64_t images = launches_of_all<cuda::WarpgroupImagesKernel>(),
                filters = launches_of_all<cuda::WarpgroupFiltersKernel>();
  CHECK(images >= 60 && filters >= 20, "%lld and %lld products by warpgroups", static_cast<long long>(images),
        static_cast<long long>(filters));
  std::printf("%lld and %lld products by warpgroups\n", static_cast<long long>(images),
              static_cast<long long>(filters));
}

// Channels that fill lanes and blocks and some that don't, in every layout and type.
void check_depthwise() {
  constexpr Dtype kDtypes[] = {Dtype::float32, Dtype::float64, Dtype::float16, Dtype::bfloat16};
  constexpr int64_t kChannels[] = {4, 8, 24, 30, 136, 300};
  int turn = 0;
  for (const int64_t channels : kChannels) {
    for (const bool channels_last : {false, true}) {
      for (const Dtype dtype : kDtypes) {
        ConvProblem p = random_problem();
        p.batch = std::max<int64_t>(p.batch, 1);
        p.groups = p.in_channels = p.out_channels = channels;
        check_problem(p, dtype, channels_last, ++turn % 2 ? "auto" : "direct");
      }
    }
  }
  ConvProblem p;  // gradients of filters from several parts
  p.rank = 1;
  p.batch = 3;
  p.groups = p.in_channels = p.out_channels = 9;
  p.kernel[2] = 5;
  p.output[2] = 1200;
  p.input[2] = p.output[2] + p.kernel[2] - 1;
  for (const bool channels_last : {false, true}) check_problem(p, Dtype::float32, channels_last, "auto");

  for (const std::type_index kernel : {std::type_index(typeid(cuda::DepthwiseImagesKernel<float, true>)),
                                       std::type_index(typeid(cuda::DepthwiseImagesKernel<double, false>)),
                                       std::type_index(typeid(cuda::DepthwiseFiltersKernel<float, false>)),
                                       std::type_index(typeid(cuda::DepthwiseFiltersKernel<double, true>)),
                                       std::type_index(typeid(cuda::DepthwisePartsKernel<float>))})
    CHECK(cuda::emulation::launches(kernel) > 0, "%s was never launched", kernel.name());
}

// Whole lanes are those that lie at multiples of 16 bytes, which no result tells on this CPU.
void check_whole_lanes() {
  Numbers numbers(Dtype::bfloat16, 2 * 16 * 3 * 4);
  const int64_t size[kAxes] = {1, 3, 4};
  const ImageView dense = view_of(&numbers, 2, 16, size, true);
  CHECK(cuda::has_whole_lanes(dense), "dense channels of 16");
  CHECK(!cuda::has_whole_lanes(view_of(&numbers, 2, 16, size, false)), "channels_first");
  CHECK(!cuda::has_whole_lanes(view_of(&numbers, 2, 12, size, true)), "12 channels");
  ImageView strided = dense;
  strided.stride[2] += 4;
  CHECK(!cuda::has_whole_lanes(strided), "pixels 20 elements apart");
  strided = dense;
  strided.batch_stride += 4;
  CHECK(!cuda::has_whole_lanes(strided), "images not a multiple of 8 elements apart");
  strided = dense;
  strided.data = static_cast<char*>(strided.data) + 8;
  CHECK(!cuda::has_whole_lanes(strided), "8 bytes beyond a multiple of 16");
}

// Fourths of small integers and their sums are exact, too.
void check_winograd() {
  for (int i = 0; i < 24; ++i) {
    ConvProblem p;
    p.rank = 2;
    p.batch = draw.within(1, 3);
    p.in_channels = draw.below(3) == 0 ? 64 : draw.within(16, 40);
    p.out_channels = draw.below(3) == 0 ? 64 : draw.within(16, 40);
    p.mode = static_cast<PaddingMode>(i % 4);
    for (int a = 1; a < kAxes; ++a) {
      p.kernel[a] = 3;
      p.input[a] = draw.within(3, 13);
      p.pad_before[a] = draw.within(0, 2);
      p.pad_after[a] = draw.within(0, 2);
      p.output[a] = p.input[a] + p.pad_before[a] + p.pad_after[a] - 2;
    }
    check_problem(p, Dtype::float32, i % 8 < 4, "winograd", i % 3 == 0 ? 80 : 90);
  }
}

// One image at a time, of which the second has not its turn: it is left as it was.
void check_winograd_image_by_image() {
  ConvProblem p;
  p.rank = 2;
  p.batch = 3;
  p.in_channels = p.out_channels = 16;
  for (int a = 1; a < kAxes; ++a) {
    p.input[a] = p.output[a] = 7;
    p.kernel[a] = 3;
    p.pad_before[a] = p.pad_after[a] = 1;
  }
  const int64_t image = p.in_channels * product(p.input);
  Numbers x(Dtype::float32, p.batch * image), w(Dtype::float32, p.in_channels * p.out_channels * 9),
      expected(Dtype::float32, x.count()), actual(Dtype::float32, x.count());
  x.fill();
  w.fill();
  const auto view = [&](Numbers* n) { return view_of(n, p.batch, p.in_channels, p.input, false); };
  const cuda::TensorCores cores = {cuda::product_elements(Dtype::float32, Precision::highest), true};
  const auto run = [&](Numbers* to, int64_t most_bytes) {
    std::vector<std::int32_t> largest(4, 0);
    const cuda::Turn turn = {{&largest[1], largest.data(), true}, true};
    const PixelGather g = forward_gather(p, view(&x), view(to));
    cuda::winograd_images(g, p.mode, {w.data(), Dtype::float32, 0, p.in_channels * 9, 9}, p.out_channels,
                          {g.result, {}, Dtype::float32}, cores, &largest[1], largest.data(), turn,
                          most_bytes, nullptr);
  };
  run(&expected, int64_t{1} << 30);
  static_cast<float*>(x.data())[image + 5] = std::numeric_limits<float>::infinity();
  run(&actual, 1);
  const auto* const bytes = actual.bytes.data();
  const auto image_bytes = static_cast<std::size_t>(4 * image);
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}})
    CHECK(std::memcmp(bytes + i * image_bytes, expected.bytes.data() + i * image_bytes, image_bytes) == 0,
          "image %zu", i);
  CHECK(std::all_of(bytes + image_bytes, bytes + 2 * image_bytes, [](unsigned char b) { return b == 0xff; }),
        "an image was written that has not its turn");
}

// Long reductions fall into parts and chains.
void check_parts() {
  ConvProblem p;
  p.rank = 2;
  p.batch = 2;
  p.in_channels = 300;
  p.out_channels = 40;
  for (int a = 1; a < kAxes; ++a) {
    p.input[a] = p.output[a] = 5;
    p.kernel[a] = 3;
    p.pad_before[a] = p.pad_after[a] = 1;
  }
  for (const bool channels_last : {false, true}) check_problem(p, Dtype::float32, channels_last, "auto");
  p.in_channels = 2;
  p.out_channels = 3;
  p.batch = 3;
  for (int a = 1; a < kAxes; ++a) p.input[a] = p.output[a] = 40;
  for (const bool channels_last : {false, true})
    check_problem(p, Dtype::float64, channels_last, "implicit_gemm");
  for (const bool channels_last : {false, true}) check_problem(p, Dtype::float32, channels_last, "direct");
}

}  // namespace
}  // namespace fastconv::test

int main() {
  fastconv::test::check_random_problems();
  fastconv::test::check_warpgroups();
  fastconv::test::check_depthwise();
  fastconv::test::check_whole_lanes();
  fastconv::test::check_winograd();
  fastconv::test::check_winograd_image_by_image();
  fastconv::test::check_parts();
  return fastconv::test::finish("CUDA convolutions");
}
