#include <algorithm>
#include <stdexcept>

#include "core/integers.h"
#include "cuda/convolution.h"
#include "cuda/depthwise.h"
#include "cuda/kernels/direct_images.h"
#include "cuda/kernels/filter_product.h"
#include "cuda/kernels/fold_padding.h"
#include "cuda/kernels/image_product.h"
#include "cuda/launch.h"
#include "cuda/parts.h"
#include "cuda/tensor_cores.h"
#include "cuda/winograd.h"
#include "cuda/with_elements.h"

namespace fastconv::cuda {
namespace {

// A tile of filters is at least 32 wide: with fewer than a quarter of that, a thread for each element wins.
constexpr std::int64_t kFewestFilters = 8;
// The tensor cores that the kernels' instructions need, and sizes that they count in 32 bits.
constexpr int kTensorCoreCapability = 80;
constexpr std::int64_t kLeastTermsOfHighest = 16;  // as on the CPU
#ifdef FASTCONV_HAS_SM_90A
constexpr int kWarpgroupCapability = 90;  // alone: later devices don't run code for sm_90a
#else
constexpr int kWarpgroupCapability = 0;
#endif
constexpr std::int64_t kLongestPackedAxis = std::int64_t{1} << 29, kMostPackedPixels = 0x7fffffff;
// Gradients of padded images, or transformed images, that are in memory at one time.
constexpr std::int64_t kImageBytes = 256 << 20;

// Calls body with the columns of a tile on the scalar units, of so many in all, as a type.
template <class Body>
void with_scalar_columns(std::int64_t all, const Body& body) {
  if (all <= 32) return body(Constant<32>());
  body(Constant<64>());
}

template <class T, bool kChannelsAdjacent>
void run_image_product(ImageProductArguments a, std::int64_t images, Stream stream) {
  a.inner = Divisor(kChannelsAdjacent ? a.channels : a.gather.taps);
  with_scalar_columns(a.lines, [&](auto columns) {
    constexpr int kColumns = decltype(columns)::value;
    using Kernel = ImageProductKernel<T, kColumns, kChannelsAdjacent>;
    a.row_tiles = ceil_div(a.gather.pixels, kTileRows);
    a.column_tiles = ceil_div(a.lines, kColumns);
    // An image's sums are made the same way in every batch.
    const std::int64_t image_tiles = ceil_div(ceil_div(a.gather.pixels, images), kTileRows);
    const Parts parts = cut(a.reduction, a.groups * image_tiles * a.column_tiles, kWantedImageBlocks, kDepth);
    a.parts = parts.count;
    a.reduction_of_part = parts.length;
    const std::int64_t blocks = a.groups * a.row_tiles * a.column_tiles * a.parts;
    if (a.parts == 1) return launch<Kernel>(stream, blocks, Kernel::Tile::kSharedBytes, a);
    const std::int64_t sums = a.groups * a.lines * a.gather.pixels;
    const StreamMemory partial(a.parts * sums * static_cast<std::int64_t>(sizeof(T)), stream);
    a.partial_sums = partial.as<void>();
    launch<Kernel>(stream, blocks, Kernel::Tile::kSharedBytes, a);
    launch<ImagePartsKernel<T, ImageProductArguments>>(stream, span_blocks(sums), 0, a);
  });
}

template <class T, bool kChannelsAdjacent>
void run_direct_images(ImageProductArguments a, Stream stream) {
  a.inner = Divisor(kChannelsAdjacent ? a.groups * a.lines : a.gather.pixels);
  launch<DirectImageKernel<T, kChannelsAdjacent>>(stream, span_blocks(a.gather.pixels * a.groups * a.lines),
                                                  0, a);
}

template <class T, bool kChannelsAdjacent>
void run_filter_product(FilterProductArguments a, bool direct, Stream stream) {
  a.inner = Divisor(kChannelsAdjacent ? a.channels : a.gather.taps);
  const auto run = [&](auto kernel, std::int64_t shared_bytes) {
    using Kernel = decltype(kernel);
    const std::int64_t tiles = a.groups * a.row_tiles * a.column_tiles;
    const Parts parts = cut(a.gather.pixels, tiles, kWantedFilterBlocks, kDepth);
    a.parts = parts.count;
    a.pixels_of_part = parts.length;
    if (a.parts == 1) return launch<Kernel>(stream, tiles, shared_bytes, a);
    const std::int64_t sums = a.groups * a.filters * a.columns;
    const StreamMemory partial(a.parts * sums * static_cast<std::int64_t>(sizeof(T)), stream);
    a.partial_sums = partial.as<void>();
    launch<Kernel>(stream, tiles * a.parts, shared_bytes, a);
    launch<FilterPartsKernel<T, kChannelsAdjacent>>(stream, span_blocks(sums), 0, a);
  };
  if (direct) {
    a.row_tiles = a.filters;
    a.column_tiles = ceil_div(a.columns, kDirectColumns);
    using Kernel = DirectFilterKernel<T, kChannelsAdjacent>;
    return run(Kernel{}, Kernel::kSharedBytes);
  }
  with_scalar_columns(a.columns, [&](auto columns) {
    constexpr int kColumns = decltype(columns)::value;
    a.row_tiles = ceil_div(a.filters, kTileRows);
    a.column_tiles = ceil_div(a.columns, kColumns);
    using Kernel = FilterProductKernel<T, kColumns, kChannelsAdjacent>;
    run(Kernel{}, Kernel::Tile::kSharedBytes);
  });
}

enum class Kind { direct, implicit_gemm, tensor_cores, winograd };
constexpr const char* kNames[] = {"direct", "implicit_gemm", "tensor_cores", "winograd"};

class Route : public ConvRoute {
 public:
  Route(const ConvProblem& problem, Direction direction, Kind kind, const TensorCores& cores, Stream stream)
      : p_(problem), direction_(direction), kind_(kind), cores_(cores), stream_(stream) {}

  const char* name() const override { return kNames[static_cast<int>(kind_)]; }

  void images(const ImageView& from, const FilterView& w, const Epilogue& epilogue,
              const ImageView& to) const override {
    if (to.batch == 0) return;
    if (direction_ == Direction::forward) {
      multiply({forward_gather(p_, from, to)}, p_, w, epilogue, to);
    } else if (p_.mode == PaddingMode::zeros) {
      input_gradient(p_, from, w, epilogue, to);
    } else {
      folded_input_gradient(from, w, to);
    }
  }

  void filters(const ImageView& dy, const ImageView& x, const FilterView& dw) const override {
    const PixelGather g = forward_gather(p_, x, dy);
    if (kind_ != Kind::tensor_cores) return filters_on_scalar_units(g, dy, x, dw, {});
    const SplitOperands split(cores_.elements, 0, stream_);
    const PackedImage upstream =
        pack_image(dy, ConvProblem(), p_.groups, cores_.elements, {split.others(), false}, stream_);
    const PackedImage image = pack_gathered(g, p_, cores_.elements, split.images(), stream_);
    tensor_core_filters(upstream, image, g, p_.groups, dw, cores_, split.turn(true), stream_);
    if (split.can_fail()) filters_on_scalar_units(g, dy, x, dw, split.turn(false));
  }

 private:
  // The largest of a product's operands, where they may be such as a split does not carry.
  class SplitOperands {
   public:
    // `images`: how many to look at by themselves, or 0 for all as one.
    SplitOperands(const Elements& elements, std::int64_t images, Stream stream) : each_(images > 0) {
      if (elements.parts == 1) return;
      const std::int64_t numbers = 1 + std::max<std::int64_t>(images, 1);
      const auto bytes = numbers * static_cast<std::int64_t>(sizeof(std::int32_t));
      memory_ = std::make_unique<StreamMemory>(bytes, stream);
      fill_zeros(memory_->as<void>(), bytes, stream);
    }
    bool can_fail() const { return memory_ != nullptr; }
    std::int32_t* others() const { return memory_ ? memory_->as<std::int32_t>() : nullptr; }
    LargestOf images() const { return {memory_ ? others() + 1 : nullptr, each_}; }
    Turn turn(bool split) const { return {{images().images, others(), each_}, split}; }

   private:
    bool each_;
    std::unique_ptr<StreamMemory> memory_;
  };

  // Everything that gathers read, from one image, times the filters.
  void multiply(const std::vector<PixelGather>& gathers, const ConvProblem& p, const FilterView& w,
                const Epilogue& epilogue, const ImageView& to) const {
    const auto on_scalar_units = [&](const Turn& turn) {
      for (const PixelGather& g : gathers) multiply_on_scalar_units(g, p.mode, w, epilogue, to, turn);
    };
    if (!on_tensor_cores() || gathers.empty()) return on_scalar_units({});
    const SplitOperands split(cores_.elements, to.batch, stream_);
    if (kind_ == Kind::winograd) {
      winograd_images(gathers[0], p.mode, filter_lines(w), lines(), {gathers[0].result, epilogue, w.dtype},
                      cores_, split.images().images, split.others(), split.turn(true), kImageBytes, stream_);
    } else {
      multiply_on_tensor_cores(gathers, p, w, epilogue, split);
    }
    if (split.can_fail()) on_scalar_units(split.turn(false));
  }

  void multiply_on_tensor_cores(const std::vector<PixelGather>& gathers, const ConvProblem& p,
                                const FilterView& w, const Epilogue& epilogue,
                                const SplitOperands& split) const {
    const PackedImage image =
        gathers.size() == 1
            ? pack_gathered(gathers[0], p, cores_.elements, split.images(), stream_)
            : pack_image(gathers[0].source, p, p.groups, cores_.elements, split.images(), stream_);
    for (const PixelGather& g : gathers) {
      const PackedFilters filters = pack_filters(filter_lines(w), p_.groups, lines(), g, image.packing,
                                                 cores_.elements, split.others(), stream_);
      tensor_core_images(image, g, filters, p_.groups, lines(), {g.result, epilogue, w.dtype}, cores_,
                         split.turn(true), stream_);
    }
  }

  bool on_tensor_cores() const { return kind_ == Kind::tensor_cores || kind_ == Kind::winograd; }
  std::int64_t lines() const {
    return direction_ == Direction::forward ? p_.filters_per_group() : p_.channels_per_group();
  }
  FilterLines filter_lines(const FilterView& w) const {
    const bool forward = direction_ == Direction::forward;
    const std::int64_t taps = p_.taps(), filter = p_.channels_per_group() * taps;
    return {w.data, w.dtype, p_.filters_per_group() * filter, forward ? filter : taps,
            forward ? taps : filter};
  }

  void filters_on_scalar_units(const PixelGather& g, const ImageView& dy, const ImageView& x,
                               const FilterView& dw, const Turn& turn) const {
    const bool direct = kind_ == Kind::direct;
    FilterProductArguments a{};
    a.gather = device_gather(g, p_.mode);
    a.dy = dy.data;
    a.dy_dtype = dy.dtype;
    a.dtype = dw.dtype;
    a.dw = dw.data;
    a.groups = p_.groups;
    a.filters = p_.filters_per_group();
    a.channels = p_.channels_per_group();
    a.columns = a.channels * a.gather.taps;
    a.turn = turn;
    if (direct && depthwise_filters(a, stream_)) return;
    const bool channels_last = channels_adjacent(x);
    if (dw.dtype == Dtype::float64) {
      if (channels_last) return run_filter_product<double, true>(a, direct, stream_);
      return run_filter_product<double, false>(a, direct, stream_);
    }
    if (channels_last) return run_filter_product<float, true>(a, direct, stream_);
    run_filter_product<float, false>(a, direct, stream_);
  }

  void multiply_on_scalar_units(PixelGather g, PaddingMode mode, const FilterView& w,
                                const Epilogue& epilogue, const ImageView& to, const Turn& turn) const {
    if (!turn.largest.images) merge_images(&g);  // else each has its turn
    const bool forward = direction_ == Direction::forward;
    ImageProductArguments a{};
    a.gather = device_gather(g, mode);
    a.filters = filter_lines(w);
    a.store = {g.result, epilogue, w.dtype};
    a.groups = p_.groups;
    a.lines = lines();
    a.channels = forward ? p_.channels_per_group() : p_.filters_per_group();
    a.reduction = a.channels * a.gather.taps;
    a.turn = turn;
    const bool source_last = channels_adjacent(g.source), result_last = channels_adjacent(to);
    if (to.dtype == Dtype::float64) return run<double>(a, g.images, source_last, result_last);
    run<float>(a, g.images, source_last, result_last);
  }

  template <class T>
  void run(const ImageProductArguments& a, int64_t images, bool source_last, bool result_last) const {
    if (kind_ == Kind::direct) {
      if (depthwise_images(a, stream_)) return;
      if (result_last) return run_direct_images<T, true>(a, stream_);
      return run_direct_images<T, false>(a, stream_);
    }
    if (source_last) return run_image_product<T, true>(a, images, stream_);
    run_image_product<T, false>(a, images, stream_);
  }

  void input_gradient(const ConvProblem& p, const ImageView& dy, const FilterView& w,
                      const Epilogue& epilogue, const ImageView& dx) const {
    const InputGradientGathers gathers = input_gradient_gathers(p, dy, dx);
    if (gathers.untouched)
      multiply_on_scalar_units(own_pixels(dx, true), PaddingMode::zeros, w, epilogue, dx, {});
    multiply(gathers.phases, p, w, epilogue, dx);
  }

  // Padding that repeats elements: the gradient of the padded image, a few images at a time, then folded.
  void folded_input_gradient(const ImageView& dy, const FilterView& w, const ImageView& dx) const {
    ConvProblem padded = p_;
    padded.mode = PaddingMode::zeros;
    using Fold = FoldPaddingKernel<float>;
    typename Fold::Arguments a{};
    a.mode = p_.mode;
    ImageView image = dx;
    int64_t stride = dx.channels;
    image.dtype = compute_dtype(dx.dtype);
    image.channel_stride = 1;
    for (int axis = kAxes - 1; axis >= 0; --axis) {
      image.size[axis] = padded.input[axis] = p_.input[axis] + p_.pad_before[axis] + p_.pad_after[axis];
      image.stride[axis] = stride;
      stride *= image.size[axis];
      a.axis[axis] = {p_.input[axis], p_.pad_before[axis], padded.input[axis]};
      padded.pad_before[axis] = padded.pad_after[axis] = 0;
    }
    image.batch_stride = stride;
    const int64_t image_bytes = stride * size_of(image.dtype);
    const int64_t images = std::clamp<int64_t>(kImageBytes / image_bytes, 1, dx.batch);
    const StreamMemory memory(images * image_bytes, stream_);
    image.data = memory.as<void>();
    for (int64_t first = 0; first < dx.batch; first += images) {
      ImageView upstream = dy;
      a.dx = dx;
      padded.batch = upstream.batch = image.batch = a.dx.batch = std::min(images, dx.batch - first);
      upstream.data = element(dy.data, dy.dtype, first * dy.batch_stride);
      a.dx.data = element(dx.data, dx.dtype, first * dx.batch_stride);
      input_gradient(padded, upstream, w, {}, image);
      a.padded = image;
      const int64_t blocks = span_blocks(a.dx.batch * dx.channels * product(dx.size));
      if (dx.dtype == Dtype::float64) {
        launch<FoldPaddingKernel<double>>(stream_, blocks, 0,
                                          {{a.axis[0], a.axis[1], a.axis[2]}, a.mode, a.padded, a.dx});
      } else {
        launch<Fold>(stream_, blocks, 0, a);
      }
    }
  }

  ConvProblem p_;
  Direction direction_;
  Kind kind_;
  TensorCores cores_;
  Stream stream_;
};

// Why tensor cores can't serve a call; null where they can.
const char* unfit_for_tensor_cores(const ConvProblem& p, Dtype dtype, int capability) {
  if (dtype == Dtype::float64) return "float64 has no products on tensor cores";
  if (capability < kTensorCoreCapability) return "the device is older than compute capability 8.0";
  for (int a = 0; a < kAxes; ++a) {
    if (std::max(p.input[a], p.output[a]) > kLongestPackedAxis) return "an axis is too long";
  }
  if (p.batch * product(p.output) > kMostPackedPixels || p.batch * product(p.input) > kMostPackedPixels)
    return "there are too many pixels";
  return nullptr;
}

const char* unfit_for_winograd(const ConvProblem& p, Direction direction, const Elements& elements) {
  if (direction == Direction::weight_gradient) return "it serves results and input gradients";
  if (p.rank != 2 || p.groups != 1) return "it serves 2-D convolutions of one group";
  for (int a = 1; a < kAxes; ++a) {
    if (p.kernel[a] != 3 || p.stride[a] != 1 || p.dilation[a] != 1)
      return "it serves kernels of 3x3 at stride 1 without dilation";
    if (p.input[a] < 3) return "it serves images of 3x3 pixels and more";
  }
  if (elements.parts < 2) return "it serves float32 with precision 'highest' or 'high'";
  const std::int64_t terms = direction == Direction::forward ? p.in_channels : p.out_channels;
  if (elements.parts == 3 && terms < kLeastTermsOfHighest)
    return "it keeps the promise of precision='highest' from 16 channels to sum up over on";
  return nullptr;
}

Kind kind_of(const std::string& function, const ConvProblem& p, Direction direction, Dtype dtype,
             const Elements& elements, const std::string& algorithm, int capability) {
  if (algorithm == "direct") return Kind::direct;
  if (algorithm == "implicit_gemm") return Kind::implicit_gemm;
  const char* const unfit = unfit_for_tensor_cores(p, dtype, capability);
  const auto forced = [&](Kind kind, const char* refusal) {
    if (refusal) throw std::invalid_argument(function + ": algorithm is '" + algorithm + "', but " + refusal);
    return kind;
  };
  if (algorithm == "tensor_cores") return forced(Kind::tensor_cores, unfit);
  if (algorithm == "winograd")
    return forced(Kind::winograd, unfit ? unfit : unfit_for_winograd(p, direction, elements));
  if (algorithm != "auto") {
    throw std::invalid_argument(
        function + ": algorithm is '" + algorithm +
        "', but the CUDA back end has 'auto', 'tensor_cores', 'winograd', 'implicit_gemm' and 'direct'");
  }
  const bool to_input = direction == Direction::input_gradient;
  const std::int64_t filters = p.filters_per_group(), channels = p.channels_per_group();
  if ((to_input ? channels : filters) < kFewestFilters) return Kind::direct;
  // Of few channels the last axis' taps become more; what packing fills up with zeros is computed in vain.
  const std::int64_t terms = to_input                     ? filters
                             : channels < kPackedChannels ? channels * p.kernel[kAxes - 1]
                                                          : channels;
  return unfit || terms < kPackedChannels / 2 ? Kind::implicit_gemm : Kind::tensor_cores;
}

}  // namespace

std::unique_ptr<ConvRoute> conv_route(const std::string& function, const ConvProblem& problem,
                                      Direction direction, Dtype dtype, Precision precision,
                                      const std::string& algorithm, int capability, Stream stream) {
  const TensorCores cores = {product_elements(dtype, precision), capability == kWarpgroupCapability};
  const Kind kind = kind_of(function, problem, direction, dtype, cores.elements, algorithm, capability);
  return std::make_unique<Route>(problem, direction, kind, cores, stream);
}

}  // namespace fastconv::cuda
