// The weight gradient: both images are packed in each task.
#include <algorithm>

#include "cpu/implicit_gemm.h"
#include "cpu/packed_product.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

struct ImageProductShape {
  bool features_are_rows;
  FeatureOrder order;
  WeightGradientBlocking blocking;
};

template <class T>
struct ImageScratch {
  T *rows, *cols, *accumulators;
};

template <class T>
ImageScratch<T> carve_image_scratch(Carver* carver, const GemmBlocking& b, const GemmKernels& k) {
  return {carver->take<T>(b.rows * k.row_pitch), carver->take<T>(b.cols * b.depth),
          carver->take<T>(b.rows * b.cols)};
}

// Pixels [pixel, pixel + count) of some channels, about: where the first tap reads them, as if rows followed
// each other without a halo.
Ahead pixels_ahead(const PixelGather& g, int64_t pixel, int64_t count, int64_t channel, int64_t channels,
                   std::vector<PixelSegment>* segments) {
  const ImageView& x = g.source;
  if (pixel >= g.pixels() || g.taps() == 0 || x.stride[kAxes - 1] != 1) return {};
  cut_pixels(g, pixel, 1, segments);
  const PixelSegment& first = segments->front();
  const int64_t at = source_near(g, first.image, first.position) + channel * x.channel_stride;
  return {static_cast<const char*>(element(x.data, x.dtype, at)), x.channel_stride * size_of(x.dtype),
          channels, count * g.axis[kAxes - 1].step * size_of(x.dtype)};
}

// One block of dw, reduced over one slice of the pixels, into `sums` (laid out as dw).
template <class T>
void reduce_image_block(const Machine& machine, const PixelGather& dy, const PixelGather& x,
                        const ImageProductShape& s, int64_t group, int64_t slice, int64_t row, int64_t col,
                        const ImageScratch<T>& scratch, T* sums) {
  const GemmKernels& k = kernels_of<T>(*machine.table);
  const GemmBlocking& b = s.blocking.gemm;
  const int64_t filters = dy.source.channels, features = s.order.count();
  const FeatureOrder filter_order = FeatureOrder::channel_major(filters, 1);
  const int64_t rows = std::min(b.rows, (s.features_are_rows ? features : filters) - row);
  const int64_t cols = std::min(b.cols, (s.features_are_rows ? filters : features) - col);
  const int64_t begin = slice * s.blocking.slice_pixels,
                end = std::min(begin + s.blocking.slice_pixels, dy.pixels());
  std::vector<PixelSegment> x_segments, dy_segments, next_segments;
  Columns packed_columns;
  if (begin >= end) std::fill(scratch.accumulators, scratch.accumulators + b.rows * b.cols, T(0));
  for (int64_t pixel = begin; pixel < end; pixel += b.depth) {
    const int64_t depth = std::min(b.depth, end - pixel);
    cut_pixels(x, pixel, depth, &x_segments);
    cut_pixels(dy, pixel, depth, &dy_segments);
    const PanelLayout row_layout = PanelLayout::rows(k, rows), col_layout = PanelLayout::columns(k, depth);
    pack_pixels(*machine.table, x, x_segments, group * s.order.channels, s.order,
                s.features_are_rows ? row : col, s.features_are_rows ? rows : cols, true,
                s.features_are_rows ? row_layout : col_layout,
                s.features_are_rows ? scratch.rows : scratch.cols);
    pack_pixels(*machine.table, dy, dy_segments, group * filters, filter_order,
                s.features_are_rows ? col : row, s.features_are_rows ? cols : rows, true,
                s.features_are_rows ? col_layout : row_layout,
                s.features_are_rows ? scratch.cols : scratch.rows);
    packed_columns.set_packed(cols, depth, k.nr);
    // Where channels lie apart, so do the short pieces of them that the next pixels are.
    Ahead x_next{}, dy_next{};
    if (s.features_are_rows && pixel + depth < end) {
      const int64_t channel = row / s.order.taps, channels = ceil_div(row + rows, s.order.taps) - channel;
      x_next = pixels_ahead(x, pixel + depth, b.depth, group * s.order.channels + channel, channels,
                            &next_segments);
      dy_next = pixels_ahead(dy, pixel + depth, b.depth, group * filters + col, cols, &next_segments);
    }
    const int64_t stretches = x_next.count + dy_next.count,
                  parts = static_cast<int64_t>(packed_columns.panels.size()) * rows;
    const auto next_pixels = [&](std::size_t panel, int64_t from, int64_t to) {
      const int64_t done = static_cast<int64_t>(panel) * rows;
      const int64_t first = stretches * (done + from) / parts, last = stretches * (done + to) / parts;
      return first < x_next.count ? part_of(x_next, first, std::min(last, x_next.count))
                                  : part_of(dy_next, first - x_next.count, last - x_next.count);
    };
    multiply_block(k, b, scratch.rows, scratch.cols, packed_columns, scratch.accumulators, rows, depth,
                   pixel > begin, next_pixels);
  }
  // Features are numbered by `order` in the product and channel-major in dw.
  const auto copy = copy_of<T>(*machine.table);
  const int64_t feature_step = s.order.channel_step == 1 ? s.order.taps : 1,
                run = s.order.channel_step == 1 ? s.order.channels : features;
  const auto place = [&](int64_t feature) { return feature % run * feature_step + feature / run; };
  for (int64_t n = 0; n < cols; n += k.nr) {
    const int64_t columns = std::min<int64_t>(k.nr, cols - n);
    const T* panel = scratch.accumulators + n * rows;
    const int64_t first_feature = s.features_are_rows ? row : col + n,
                  count = s.features_are_rows ? rows : columns;
    const int64_t first_filter = s.features_are_rows ? col + n : row;
    for (int64_t f = 0; f < count;) {  // stretches of one tap where the order is tap-major
      const int64_t length = std::min(count - f, run - (first_feature + f) % run);
      T* to = sums + (group * filters + first_filter) * features + place(first_feature + f);
      if (s.features_are_rows) {
        copy({panel + f * k.nr, k.nr, 1, to, feature_step, features, length, columns, false});
      } else {
        copy({panel + f, k.nr, 1, to, features, feature_step, rows, length, false});
      }
      f += length;
    }
  }
}

ImageProductShape shape_of(const Machine& machine, const PixelGather& dy, const PixelGather& x,
                           int64_t groups) {
  const bool wide = compute_dtype(dy.source.dtype) == Dtype::float64;
  ImageProductShape s;
  s.features_are_rows = !channels_adjacent(x.source);
  const int64_t channels = x.source.channels / groups, filters = dy.source.channels / groups;
  s.order = s.features_are_rows ? FeatureOrder::channel_major(channels, x.taps())
                                : FeatureOrder::tap_major(channels, x.taps());
  s.blocking = block_weight_gradient(
      machine.table->gemm[wide], wide ? 8 : 4, s.features_are_rows ? s.order.count() : filters,
      s.features_are_rows ? filters : s.order.count(), dy.pixels(), groups, machine.caches);
  // A BLAS has one product, and so one sum, for each image.
  GemmBlocking& b = s.blocking.gemm;
  const int64_t images = std::max<int64_t>(1, x.images);
  if (filters == 1 || s.order.count() == 1 || dy.pixels() / images < b.depth)
    set_chain(machine.table->gemm[wide], short_chain(dy.pixels(), b.depth), b.rows, &b);
  return s;
}

PixelGather merged(PixelGather g) {
  merge_images(&g);
  return g;
}

template <class T>
class ImageProduct : public Product {
 public:
  ImageProduct(const Machine& machine, PixelGather x, int64_t groups, const FilterView& dw)
      : machine_(machine),
        kernels_(kernels_of<T>(*machine.table)),
        x_(merged(std::move(x))),
        dy_(own_pixels(x_.result)),
        shape_(shape_of(machine, dy_, x_, groups)),
        groups_(groups),
        count_(dw.filters * dw.channels * dw.taps),
        sum_bytes_(SliceSums<T>::bytes(shape_.blocking.slices, dw)) {
    dy_.source.channels /= groups;
    Carver measure;
    carve_image_scratch<T>(&measure, shape_.blocking.gemm, kernels_);
    scratch_ = measure.used();
  }

  void bind(void* source, void* result) override {
    x_.bind(source, result);
    dy_.bind(result, nullptr);
  }

  void run(const FilterView& dw, const Epilogue&) override {
    const GemmBlocking& b = shape_.blocking.gemm;
    const int64_t features = shape_.order.count(), filters = dy_.source.channels;
    const int64_t row_blocks = ceil_div(shape_.features_are_rows ? features : filters, b.rows),
                  col_blocks = ceil_div(shape_.features_are_rows ? filters : features, b.cols),
                  slices = shape_.blocking.slices;
    const SliceSums<T> sums(slices, dw);
    const Buffer workspace(scratch_ * machine_.threads);
    const double flops = 2.0 * static_cast<double>(dy_.pixels()) * static_cast<double>(count_);
    parallel_for(groups_ * slices * row_blocks * col_blocks, kNsPerFlop * flops, machine_.threads,
                 [&](int64_t task, int worker) {
                   Carver carver(workspace.as<char>() + worker * scratch_);
                   const int64_t col = task % col_blocks * b.cols,
                                 row = task / col_blocks % row_blocks * b.rows;
                   const int64_t slice = task / (col_blocks * row_blocks) % slices,
                                 group = task / (col_blocks * row_blocks * slices);
                   reduce_image_block(machine_, dy_, x_, shape_, group, slice, row, col,
                                      carve_image_scratch<T>(&carver, b, kernels_), sums.of(slice));
                 });
    sums.add_up(machine_);
  }

  int64_t workspace_bytes() const override { return sum_bytes_ + machine_.threads * scratch_; }
  std::vector<Figure> figures() const override {
    std::vector<Figure> figures = figures_of(shape_.blocking.gemm);
    figures.push_back({"slices", shape_.blocking.slices});
    return figures;
  }

 private:
  const Machine machine_;
  const GemmKernels& kernels_;
  PixelGather x_, dy_;  // dy: one group's channels
  const ImageProductShape shape_;
  const int64_t groups_, count_, sum_bytes_;
  int64_t scratch_ = 0;
};

}  // namespace

template <class T>
void SliceSums<T>::add_up(const Machine& machine) const {
  if (first_ && slices_ == 1) return;
  const KernelTable& table = *machine.table;
  const auto copy = copy_of<T>(table);
  constexpr int64_t step = 4096;
  parallel_for(ceil_div(count_, step), kNsPerElement * static_cast<double>(slices_ * count_), machine.threads,
               [&](int64_t task, int) {
                 const int64_t begin = task * step, length = std::min(step, count_ - begin);
                 for (int64_t s = 1; s < slices_; ++s)
                   copy({of(s) + begin, 0, 1, of(0) + begin, 0, 1, 1, length, true});
                 if (first_) return;
                 table.elementwise.narrow[static_cast<int>(dw_.dtype)](
                     of(0) + begin, element(dw_.data, dw_.dtype, begin), length);
               });
}
template class SliceSums<float>;
template class SliceSums<double>;

std::unique_ptr<Product> image_product(const Machine& machine, PixelGather x, int64_t groups,
                                       const FilterView& dw) {
  if (suits_correlation(machine, x, groups)) return plane_correlation(machine, std::move(x), groups, dw);
  if (dw.dtype == Dtype::float64)
    return std::make_unique<ImageProduct<double>>(machine, std::move(x), groups, dw);
  return std::make_unique<ImageProduct<float>>(machine, std::move(x), groups, dw);
}

}  // namespace fastconv::cpu
