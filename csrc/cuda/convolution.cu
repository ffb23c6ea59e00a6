#include <algorithm>
#include <stdexcept>

#include "core/integers.h"
#include "cuda/convolution.h"
#include "cuda/kernels/direct_images.h"
#include "cuda/kernels/filter_product.h"
#include "cuda/kernels/fold_padding.h"
#include "cuda/kernels/image_product.h"
#include "cuda/launch.h"

namespace fastconv::cuda {
namespace {

// A tile of filters is at least 32 wide: with fewer than a quarter of that, a thread for each element wins.
constexpr std::int64_t kFewestFilters = 8;
// Blocks that a product is cut into along its reduction where its tiles are fewer. Part of what fixes a
// result's bits, so not read from the device.
constexpr std::int64_t kWantedImageBlocks = 64, kWantedFilterBlocks = 512, kShortestPart = 4 * kChain;
// Gradients of padded images that are in memory at one time.
constexpr std::int64_t kFoldedBytes = 256 << 20;

struct Parts {
  std::int64_t count, length;
};

// A reduction of `terms` cut into parts, for `blocks` tiles that are to become `wanted` blocks.
Parts cut(std::int64_t terms, std::int64_t blocks, std::int64_t wanted) {
  const std::int64_t most = std::max<std::int64_t>(terms / kShortestPart, 1);
  const std::int64_t asked = std::clamp<std::int64_t>(wanted / std::max<std::int64_t>(blocks, 1), 1, most);
  const std::int64_t length = std::max<std::int64_t>(round_up(ceil_div(terms, asked), kDepth), kDepth);
  return {std::max<std::int64_t>(ceil_div(terms, length), 1), length};
}

// Calls body with the number of columns of a tile as a type.
template <int kValue>
struct Columns {
  static constexpr int value = kValue;
};
template <class Body>
void with_columns(std::int64_t lines, const Body& body) {
  if (lines <= 32) return body(Columns<32>{});
  body(Columns<64>{});
}

template <class T, bool kChannelsAdjacent>
void run_image_product(ImageProductArguments a, std::int64_t images, Stream stream) {
  a.inner = Divisor(kChannelsAdjacent ? a.channels : a.gather.taps);
  with_columns(a.lines, [&](auto columns) {
    constexpr int kColumns = decltype(columns)::value;
    using Kernel = ImageProductKernel<T, kColumns, kChannelsAdjacent>;
    a.row_tiles = ceil_div(a.gather.pixels, kTileRows);
    a.column_tiles = ceil_div(a.lines, kColumns);
    // An image's sums are made the same way in every batch.
    const std::int64_t image_tiles = ceil_div(ceil_div(a.gather.pixels, images), kTileRows);
    const Parts parts = cut(a.reduction, a.groups * image_tiles * a.column_tiles, kWantedImageBlocks);
    a.parts = parts.count;
    a.reduction_of_part = parts.length;
    const std::int64_t blocks = a.groups * a.row_tiles * a.column_tiles * a.parts;
    if (a.parts == 1) return launch<Kernel>(stream, blocks, Kernel::Tile::kSharedBytes, a);
    const std::int64_t sums = a.groups * a.lines * a.gather.pixels;
    const StreamMemory partial(a.parts * sums * static_cast<std::int64_t>(sizeof(T)), stream);
    a.partial_sums = partial.as<void>();
    launch<Kernel>(stream, blocks, Kernel::Tile::kSharedBytes, a);
    launch<ImagePartsKernel<T>>(stream, span_blocks(sums), 0, a);
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
    const Parts parts = cut(a.gather.pixels, tiles, kWantedFilterBlocks);
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
  with_columns(a.columns, [&](auto columns) {
    constexpr int kColumns = decltype(columns)::value;
    a.row_tiles = ceil_div(a.filters, kTileRows);
    a.column_tiles = ceil_div(a.columns, kColumns);
    using Kernel = FilterProductKernel<T, kColumns, kChannelsAdjacent>;
    run(Kernel{}, Kernel::Tile::kSharedBytes);
  });
}

class Route : public ConvRoute {
 public:
  Route(const ConvProblem& problem, Direction direction, bool direct, Stream stream)
      : p_(problem), direction_(direction), direct_(direct), stream_(stream) {}

  const char* name() const override { return direct_ ? "direct" : "implicit_gemm"; }

  void images(const ImageView& from, const FilterView& w, const Epilogue& epilogue,
              const ImageView& to) const override {
    if (to.batch == 0) return;
    if (direction_ == Direction::forward) {
      multiply(forward_gather(p_, from, to), p_.mode, w, epilogue, to);
    } else if (p_.mode == PaddingMode::zeros) {
      input_gradient(p_, from, w, epilogue, to);
    } else {
      folded_input_gradient(from, w, to);
    }
  }

  void filters(const ImageView& dy, const ImageView& x, const FilterView& dw) const override {
    const PixelGather g = forward_gather(p_, x, dy);
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
    const bool channels_last = channels_adjacent(x);
    if (dw.dtype == Dtype::float64) {
      if (channels_last) return run_filter_product<double, true>(a, direct_, stream_);
      return run_filter_product<double, false>(a, direct_, stream_);
    }
    if (channels_last) return run_filter_product<float, true>(a, direct_, stream_);
    run_filter_product<float, false>(a, direct_, stream_);
  }

 private:
  void multiply(PixelGather g, PaddingMode mode, const FilterView& w, const Epilogue& epilogue,
                const ImageView& to) const {
    merge_images(&g);
    const bool forward = direction_ == Direction::forward;
    const int64_t taps = p_.taps(), filter = p_.channels_per_group() * taps;
    ImageProductArguments a{};
    a.gather = device_gather(g, mode);
    a.filters = {w.data, w.dtype, p_.filters_per_group() * filter, forward ? filter : taps,
                 forward ? taps : filter};
    a.store = {g.result, epilogue, w.dtype};
    a.groups = p_.groups;
    a.lines = forward ? p_.filters_per_group() : p_.channels_per_group();
    a.channels = forward ? p_.channels_per_group() : p_.filters_per_group();
    a.reduction = a.channels * a.gather.taps;
    const bool source_last = channels_adjacent(g.source), result_last = channels_adjacent(to);
    if (to.dtype == Dtype::float64) return run<double>(a, g.images, source_last, result_last);
    run<float>(a, g.images, source_last, result_last);
  }

  template <class T>
  void run(const ImageProductArguments& a, int64_t images, bool source_last, bool result_last) const {
    if (direct_) {
      if (result_last) return run_direct_images<T, true>(a, stream_);
      return run_direct_images<T, false>(a, stream_);
    }
    if (source_last) return run_image_product<T, true>(a, images, stream_);
    run_image_product<T, false>(a, images, stream_);
  }

  void input_gradient(const ConvProblem& p, const ImageView& dy, const FilterView& w,
                      const Epilogue& epilogue, const ImageView& dx) const {
    const InputGradientGathers gathers = input_gradient_gathers(p, dy, dx);
    if (gathers.untouched) multiply(own_pixels(dx, true), PaddingMode::zeros, w, epilogue, dx);
    for (const PixelGather& g : gathers.phases) multiply(g, PaddingMode::zeros, w, epilogue, dx);
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
    const int64_t images = std::clamp<int64_t>(kFoldedBytes / image_bytes, 1, dx.batch);
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
  bool direct_;
  Stream stream_;
};

}  // namespace

std::unique_ptr<ConvRoute> conv_route(const std::string& function, const ConvProblem& problem,
                                      Direction direction, Dtype, Precision, const std::string& algorithm,
                                      Stream stream) {
  if (algorithm != "auto" && algorithm != "implicit_gemm" && algorithm != "direct") {
    throw std::invalid_argument(function + ": algorithm is '" + algorithm +
                                "', but the CUDA back end has 'auto', 'implicit_gemm' and 'direct'");
  }
  const int64_t lines =
      direction == Direction::input_gradient ? problem.channels_per_group() : problem.filters_per_group();
  const bool direct = algorithm == "direct" || (algorithm == "auto" && lines < kFewestFilters);
  return std::make_unique<Route>(problem, direction, direct, stream);
}

}  // namespace fastconv::cuda
