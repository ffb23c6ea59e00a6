#include "cpu/implicit_gemm.h"

#include <algorithm>
#include <numeric>

#include "core/buffer_pool.h"
#include "cpu/line_store.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerFlop = 0.02,
                 kNsPerElement = 0.5;  // rough, for the question whether a thread is worth waking

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
const GemmKernels& kernels_of(const KernelTable& table) {
  return table.gemm[sizeof(T) == 8];
}

// Channels lie next to each other in memory and pixels do not: channels_last.
bool channels_adjacent(const ImageView& v) { return v.channel_stride == 1 && v.stride[kAxes - 1] != 1; }

// A bump allocator over one block; every piece starts on a cache line.
class Carver {
 public:
  explicit Carver(void* base = nullptr) : base_(static_cast<char*>(base)) {}
  template <class T>
  T* take(int64_t count) {
    T* p = reinterpret_cast<T*>(base_ + used_);
    used_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return p;
  }
  int64_t used() const { return used_; }

 private:
  char* base_;
  int64_t used_ = 0;
};

// c (+)= A * B for a block: the columns' panels lie panel_stride apart in b, `rows` * nr apart in c.
template <class T>
void multiply_block(const GemmKernels& k, const GemmBlocking& b, const T* a, const T* packed_b, T* c,
                    int64_t rows, int64_t cols, int64_t depth, bool accumulate) {
  for (int64_t m = 0; m < rows; m += b.inner_rows) {
    const int64_t part = std::min(b.inner_rows, rows - m);
    for (int64_t n = 0; n < cols; n += k.nr) {
      k.multiply_panel({a + m * k.row_pitch, packed_b + n * depth, c + n * rows + m * k.nr, part, depth,
                        b.tile_rows, static_cast<int>(std::min<int64_t>(k.nr, cols - n)), accumulate});
    }
  }
}

// The bias in the compute type; null stays null.
template <class T>
Buffer widened_bias(const KernelTable& table, const Epilogue& e, Dtype dtype, int64_t channels) {
  if (!e.bias) return {};
  Buffer b(channels * static_cast<int64_t>(sizeof(T)));
  table.copy_block[static_cast<int>(dtype)]({e.bias, 0, e.bias_stride, b.data(), 0, 1, 1, channels, false});
  return b;
}

// --- pixels x filters
// -----------------------------------------------------------------------------------------------

template <class T>
struct PackedProduct {
  const PixelGather* gather;
  ProductShape shape;
  T* filters;  // [group][chunk]
  int64_t chunk_elements;
  int64_t pixel_blocks, filter_blocks, first_task;
};

template <class T>
struct PixelScratch {
  T *pixels, *accumulators;
  int64_t *pixel_offsets, *filter_offsets;
  std::vector<PixelSpan> spans;
};

template <class T>
PixelScratch<T> carve_pixel_scratch(Carver* carver, const ProductShape& s, const GemmKernels& k) {
  const GemmBlocking& b = s.blocking;
  PixelScratch<T> r;
  const int64_t pixels = s.pixels_are_rows ? b.rows : b.cols, filters = s.pixels_are_rows ? b.cols : b.rows;
  r.pixels = carver->take<T>(s.pixels_are_rows ? b.rows * k.row_pitch : b.cols * b.depth);
  r.accumulators = carver->take<T>(b.rows * b.cols);
  r.pixel_offsets = carver->take<int64_t>(pixels);
  r.filter_offsets = carver->take<int64_t>(filters);
  return r;
}

PanelLayout filter_layout(const ProductShape& s, const GemmKernels& k, int64_t depth) {
  return s.pixels_are_rows ? PanelLayout::columns(k, depth) : PanelLayout::rows(k, s.lines);
}

// Chunk `index` of the reduction: [begin, begin + depth).
int64_t chunk_depth(const ProductShape& s, int64_t index) {
  return std::min(s.blocking.depth, s.order.count() - index * s.blocking.depth);
}

template <class T>
void pack_product_filters(const Machine& machine, const std::vector<PackedProduct<T>>& products,
                          const FilterView& filters, bool by_channel, int64_t groups) {
  for (const PackedProduct<T>& p : products) {
    const ProductShape& s = p.shape;
    const GemmKernels& k = kernels_of<T>(*machine.table);
    const int64_t step = 4 * (s.pixels_are_rows ? k.nr : k.mr), blocks = ceil_div(s.lines, step);
    const double work = kNsPerElement * static_cast<double>(groups * s.lines * s.order.count());
    parallel_for(groups * s.chunks * blocks, work, machine.threads, [&](int64_t task, int) {
      const int64_t group = task / (s.chunks * blocks), chunk = task / blocks % s.chunks,
                    first = task % blocks * step;
      const int64_t depth = chunk_depth(s, chunk);
      T* packed = p.filters + (group * s.chunks + chunk) * p.chunk_elements;
      const FilterMatrix matrix{filters, by_channel, group * (filters.filters / groups)};
      pack_filters(*machine.table, matrix, p.gather->kernel_tap, s.order, first,
                   std::min(step, s.lines - first), chunk * s.blocking.depth, depth,
                   filter_layout(s, k, depth), packed + first * (s.pixels_are_rows ? depth : k.row_pitch));
    });
  }
}

bool consecutive(const int64_t* offsets, int count) {
  for (int i = 1; i < count; ++i)
    if (offsets[i] != offsets[0] + i) return false;
  return true;
}

template <class T>
class PixelTask {
 public:
  PixelTask(const Machine& machine, const PackedProduct<T>& product, int64_t groups, const Epilogue& epilogue,
            const T* bias, PixelScratch<T>* scratch)
      : machine_(machine),
        p_(product),
        groups_(groups),
        epilogue_(epilogue),
        bias_(bias),
        scratch_(*scratch) {}

  void run(int64_t task) {
    const ProductShape& s = p_.shape;
    const GemmBlocking& b = s.blocking;
    const GemmKernels& k = kernels_of<T>(*machine_.table);
    const int64_t pixel_block = s.pixels_are_rows ? b.rows : b.cols,
                  filter_block = s.pixels_are_rows ? b.cols : b.rows;
    const int64_t first_filter = task % p_.filter_blocks * filter_block;
    const int64_t first_pixel = task / p_.filter_blocks % p_.pixel_blocks * pixel_block;
    const int64_t group = task / (p_.filter_blocks * p_.pixel_blocks);
    const int64_t pixels = std::min(pixel_block, p_.gather->pixels() - first_pixel);
    const int64_t filters = std::min(filter_block, s.lines - first_filter);
    const int64_t rows = s.pixels_are_rows ? pixels : filters, cols = s.pixels_are_rows ? filters : pixels;

    cut_into_spans(*p_.gather, first_pixel, pixels, s.pixels_are_rows ? pixels : k.nr, &scratch_.spans);
    for (int64_t chunk = 0; chunk < s.chunks; ++chunk) {
      const int64_t depth = chunk_depth(s, chunk);
      const PanelLayout layout =
          s.pixels_are_rows ? PanelLayout::rows(k, pixels) : PanelLayout::columns(k, depth);
      pack_pixels(*machine_.table, *p_.gather, scratch_.spans, group * s.order.channels, s.order,
                  chunk * b.depth, depth, false, layout, scratch_.pixels);
      const T* packed = p_.filters + (group * s.chunks + chunk) * p_.chunk_elements +
                        first_filter * (s.pixels_are_rows ? depth : k.row_pitch);
      multiply_block(k, b, s.pixels_are_rows ? scratch_.pixels : packed,
                     s.pixels_are_rows ? packed : scratch_.pixels, scratch_.accumulators, rows, cols, depth,
                     chunk > 0);
    }
    store(group * s.lines + first_filter, rows, cols);
  }

 private:
  void store(int64_t first_channel, int64_t rows, int64_t cols) {
    const ProductShape& s = p_.shape;
    const ImageView& r = p_.gather->result;
    const int nr = kernels_of<T>(*machine_.table).nr;
    result_offsets(*p_.gather, scratch_.spans, scratch_.pixel_offsets);
    const int64_t filters = s.pixels_are_rows ? cols : rows;
    for (int64_t i = 0; i < filters; ++i) scratch_.filter_offsets[i] = (first_channel + i) * r.channel_stride;
    const int64_t* row_offsets = s.pixels_are_rows ? scratch_.pixel_offsets : scratch_.filter_offsets;
    const int64_t* col_offsets = s.pixels_are_rows ? scratch_.filter_offsets : scratch_.pixel_offsets;
    const T* bias = bias_ ? bias_ + first_channel : nullptr;
    for (int64_t n = 0; n < cols; n += nr) {
      const int columns = static_cast<int>(std::min<int64_t>(nr, cols - n));
      machine_.table->store_panel[static_cast<int>(r.dtype)](
          {scratch_.accumulators + n * rows, rows, columns, r.data, row_offsets, col_offsets + n,
           consecutive(col_offsets + n, columns), s.pixels_are_rows ? nullptr : bias,
           s.pixels_are_rows && bias ? bias + n : nullptr, epilogue_.activation});
    }
  }

  const Machine& machine_;
  const PackedProduct<T>& p_;
  int64_t groups_;
  const Epilogue& epilogue_;
  const T* bias_;
  PixelScratch<T>& scratch_;
};

template <class T>
int64_t scratch_bytes(const std::vector<PackedProduct<T>>& products, const GemmKernels& k) {
  int64_t most = 0;
  for (const auto& p : products) {
    Carver measure;
    carve_pixel_scratch<T>(&measure, p.shape, k);
    most = std::max(most, measure.used());
  }
  return most;
}

template <class T>
std::vector<PackedProduct<T>> lay_out_products(const Machine& machine,
                                               const std::vector<PixelGather>& gathers,
                                               const FilterView& filters, bool by_channel, int64_t groups,
                                               int64_t* packed_elements, int64_t* tasks) {
  std::vector<PackedProduct<T>> products;
  for (const PixelGather& g : gathers) {
    PackedProduct<T> p;
    p.gather = &g;
    p.shape =
        shape_of(machine, g, filters, by_channel, groups, groups * static_cast<int64_t>(gathers.size()));
    const GemmBlocking& b = p.shape.blocking;
    p.chunk_elements = p.shape.packed_filter_elements / p.shape.chunks;
    p.pixel_blocks = ceil_div(g.pixels(), p.shape.pixels_are_rows ? b.rows : b.cols);
    p.filter_blocks = ceil_div(p.shape.lines, p.shape.pixels_are_rows ? b.cols : b.rows);
    p.first_task = *tasks;
    *tasks += groups * p.pixel_blocks * p.filter_blocks;
    *packed_elements += groups * p.shape.packed_filter_elements;
    products.push_back(p);
  }
  return products;
}

template <class T>
void multiply_pixels_by_filters_as(const Machine& machine, const std::vector<PixelGather>& gathers,
                                   const FilterView& filters, bool by_channel, int64_t groups,
                                   const Epilogue& epilogue) {
  const GemmKernels& k = kernels_of<T>(*machine.table);
  int64_t packed_elements = 0, tasks = 0;
  std::vector<PackedProduct<T>> products =
      lay_out_products<T>(machine, gathers, filters, by_channel, groups, &packed_elements, &tasks);
  if (tasks == 0) return;
  const int64_t scratch = scratch_bytes(products, k);
  const Buffer packed(packed_elements * static_cast<int64_t>(sizeof(T)));
  const Buffer workspace(scratch * machine.threads);
  const int64_t channels = by_channel ? groups * filters.channels : filters.filters;
  const Buffer bias = widened_bias<T>(*machine.table, epilogue, filters.dtype, channels);
  T* next = packed.as<T>();
  double flops = 0, elements = 0;
  for (PackedProduct<T>& p : products) {
    p.filters = next;
    next += groups * p.shape.packed_filter_elements;
    const double results = static_cast<double>(p.gather->pixels()) * static_cast<double>(channels);
    flops += 2 * results * static_cast<double>(p.shape.order.count());
    elements += results;
  }
  pack_product_filters(machine, products, filters, by_channel, groups);
  parallel_for(tasks, kNsPerFlop * flops + kNsPerElement * elements, machine.threads,
               [&](int64_t task, int worker) {
                 const auto after =
                     std::upper_bound(products.begin(), products.end(), task,
                                      [](int64_t t, const PackedProduct<T>& p) { return t < p.first_task; });
                 const PackedProduct<T>& p = *(after - 1);
                 Carver carver(workspace.as<char>() + worker * scratch);
                 PixelScratch<T> s = carve_pixel_scratch<T>(&carver, p.shape, k);
                 PixelTask<T>(machine, p, groups, epilogue, bias.as<T>(), &s).run(task - p.first_task);
               });
}

// --- weight gradient
// ------------------------------------------------------------------------------------------------

template <class T>
struct ImageScratch {
  T *rows, *cols, *accumulators;
};

template <class T>
ImageScratch<T> carve_image_scratch(Carver* carver, const GemmBlocking& b, const GemmKernels& k) {
  return {carver->take<T>(b.rows * k.row_pitch), carver->take<T>(b.cols * b.depth),
          carver->take<T>(b.rows * b.cols)};
}

// One block of dw, reduced over one slice of the pixels, into `sums` (laid out as dw).
template <class T>
void reduce_image_block(const Machine& machine, const PixelGather& dy, const PixelGather& x,
                        const WeightGradientShape& s, int64_t group, int64_t slice, int64_t row, int64_t col,
                        const ImageScratch<T>& scratch, T* sums) {
  const GemmKernels& k = kernels_of<T>(*machine.table);
  const GemmBlocking& b = s.blocking.gemm;
  const int64_t filters = dy.source.channels, features = s.order.count();
  const FeatureOrder filter_order = FeatureOrder::channel_major(filters, 1);
  const int64_t rows = std::min(b.rows, (s.features_are_rows ? features : filters) - row);
  const int64_t cols = std::min(b.cols, (s.features_are_rows ? filters : features) - col);
  const int64_t begin = slice * s.blocking.slice_pixels,
                end = std::min(begin + s.blocking.slice_pixels, dy.pixels());
  constexpr int64_t kWhole = int64_t{1} << 62;
  std::vector<PixelSpan> x_spans, dy_spans;
  if (begin >= end) std::fill(scratch.accumulators, scratch.accumulators + b.rows * b.cols, T(0));
  for (int64_t pixel = begin; pixel < end; pixel += b.depth) {
    const int64_t depth = std::min(b.depth, end - pixel);
    cut_into_spans(x, pixel, depth, kWhole, &x_spans);
    cut_into_spans(dy, pixel, depth, kWhole, &dy_spans);
    const PanelLayout row_layout = PanelLayout::rows(k, rows), col_layout = PanelLayout::columns(k, depth);
    pack_pixels(*machine.table, x, x_spans, group * s.order.channels, s.order,
                s.features_are_rows ? row : col, s.features_are_rows ? rows : cols, true,
                s.features_are_rows ? row_layout : col_layout,
                s.features_are_rows ? scratch.rows : scratch.cols);
    pack_pixels(*machine.table, dy, dy_spans, group * filters, filter_order, s.features_are_rows ? col : row,
                s.features_are_rows ? cols : rows, true, s.features_are_rows ? col_layout : row_layout,
                s.features_are_rows ? scratch.cols : scratch.rows);
    multiply_block(k, b, scratch.rows, scratch.cols, scratch.accumulators, rows, cols, depth, pixel > begin);
  }
  // Features are numbered by `order` in the product and channel-major in dw.
  const auto copy =
      machine.table
          ->copy_block[sizeof(T) == 8 ? static_cast<int>(Dtype::float64) : static_cast<int>(Dtype::float32)];
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

// dw = the slices' sums, added in order.
template <class T>
void add_slices(const Machine& machine, T* sums, int64_t slices, int64_t count, const FilterView& dw) {
  const KernelTable& table = *machine.table;
  const auto copy =
      table.copy_block[sizeof(T) == 8 ? static_cast<int>(Dtype::float64) : static_cast<int>(Dtype::float32)];
  constexpr int64_t step = 4096;
  parallel_for(ceil_div(count, step), kNsPerElement * static_cast<double>(slices * count), machine.threads,
               [&](int64_t task, int) {
                 const int64_t begin = task * step, length = std::min(step, count - begin);
                 for (int64_t s = 1; s < slices; ++s)
                   copy({sums + s * count + begin, 0, 1, sums + begin, 0, 1, 1, length, true});
                 store_line(table, dw.dtype, sums + begin, length, element(dw.data, dw.dtype, begin), 1, T(0),
                            Activation::none);
               });
}

template <class T>
void multiply_images_as(const Machine& machine, const PixelGather& dy, const PixelGather& x, int64_t groups,
                        const FilterView& dw) {
  const WeightGradientShape s = shape_of(machine, dy, x, groups);
  const GemmBlocking& b = s.blocking.gemm;
  const GemmKernels& k = kernels_of<T>(*machine.table);
  const int64_t count = dw.filters * dw.channels * dw.taps, filters = dw.filters / groups;
  const int64_t rows = s.features_are_rows ? s.order.count() : filters,
                cols = s.features_are_rows ? filters : s.order.count();
  const int64_t row_blocks = ceil_div(rows, b.rows), col_blocks = ceil_div(cols, b.cols),
                slices = s.blocking.slices;
  const Buffer sums(slices * count * static_cast<int64_t>(sizeof(T)));
  Carver measure;
  carve_image_scratch<T>(&measure, b, k);
  const int64_t scratch = measure.used();
  const Buffer workspace(scratch * machine.threads);
  PixelGather group_dy = dy;
  group_dy.source.channels = filters;
  const double flops = 2.0 * static_cast<double>(dy.pixels()) * static_cast<double>(count);
  parallel_for(groups * slices * row_blocks * col_blocks, kNsPerFlop * flops, machine.threads,
               [&](int64_t task, int worker) {
                 Carver carver(workspace.as<char>() + worker * scratch);
                 const int64_t col = task % col_blocks * b.cols,
                               row = task / col_blocks % row_blocks * b.rows;
                 const int64_t slice = task / (col_blocks * row_blocks) % slices,
                               group = task / (col_blocks * row_blocks * slices);
                 reduce_image_block(machine, group_dy, x, s, group, slice, row, col,
                                    carve_image_scratch<T>(&carver, b, k), sums.as<T>() + slice * count);
               });
  add_slices(machine, sums.as<T>(), slices, count, dw);
}

}  // namespace

ProductShape shape_of(const Machine& machine, const PixelGather& g, const FilterView& filters,
                      bool by_channel, int64_t groups, int64_t products) {
  const bool wide = compute_dtype(filters.dtype) == Dtype::float64;
  const GemmKernels& k = machine.table->gemm[wide];
  ProductShape s;
  s.pixels_are_rows = channels_adjacent(g.result);
  const int64_t group_filters = filters.filters / groups;
  const int64_t channels = by_channel ? group_filters : filters.channels;
  s.lines = by_channel ? filters.channels : group_filters;
  s.order = channels_adjacent(g.source) ? FeatureOrder::tap_major(channels, g.taps())
                                        : FeatureOrder::channel_major(channels, g.taps());
  s.blocking = block_pixels_by_filters(k, wide ? 8 : 4, g.pixels(), s.lines, s.order.count(),
                                       s.pixels_are_rows, products, machine.caches, machine.threads);
  s.chunks = std::max<int64_t>(1, ceil_div(s.order.count(), s.blocking.depth));
  s.packed_filter_elements = s.chunks * (s.pixels_are_rows ? ceil_div(s.lines, k.nr) * k.nr * s.blocking.depth
                                                           : s.lines * k.row_pitch);
  return s;
}

WeightGradientShape shape_of(const Machine& machine, const PixelGather& dy, const PixelGather& x,
                             int64_t groups) {
  const bool wide = compute_dtype(dy.source.dtype) == Dtype::float64;
  WeightGradientShape s;
  s.features_are_rows = !channels_adjacent(x.source);
  const int64_t channels = x.source.channels / groups, filters = dy.source.channels / groups;
  s.order = s.features_are_rows ? FeatureOrder::channel_major(channels, x.taps())
                                : FeatureOrder::tap_major(channels, x.taps());
  s.blocking = block_weight_gradient(
      machine.table->gemm[wide], wide ? 8 : 4, s.features_are_rows ? s.order.count() : filters,
      s.features_are_rows ? filters : s.order.count(), dy.pixels(), groups, machine.caches);
  return s;
}

void multiply_pixels_by_filters(const Machine& machine, const std::vector<PixelGather>& gathers,
                                const FilterView& filters, bool by_channel, int64_t groups,
                                const Epilogue& epilogue) {
  if (filters.dtype == Dtype::float64) {
    multiply_pixels_by_filters_as<double>(machine, gathers, filters, by_channel, groups, epilogue);
  } else {
    multiply_pixels_by_filters_as<float>(machine, gathers, filters, by_channel, groups, epilogue);
  }
}

void multiply_images(const Machine& machine, const PixelGather& dy, const PixelGather& x, int64_t groups,
                     const FilterView& dw) {
  if (dw.dtype == Dtype::float64) {
    multiply_images_as<double>(machine, dy, x, groups, dw);
  } else {
    multiply_images_as<float>(machine, dy, x, groups, dw);
  }
}

int64_t workspace_bytes(const Machine& machine, const std::vector<PixelGather>& gathers,
                        const FilterView& filters, bool by_channel, int64_t groups) {
  int64_t packed = 0, tasks = 0;
  if (filters.dtype == Dtype::float64) {
    const auto products =
        lay_out_products<double>(machine, gathers, filters, by_channel, groups, &packed, &tasks);
    return packed * 8 + machine.threads * scratch_bytes(products, kernels_of<double>(*machine.table));
  }
  const auto products =
      lay_out_products<float>(machine, gathers, filters, by_channel, groups, &packed, &tasks);
  return packed * 4 + machine.threads * scratch_bytes(products, kernels_of<float>(*machine.table));
}

int64_t workspace_bytes(const Machine& machine, const PixelGather& dy, const PixelGather& x, int64_t groups) {
  const WeightGradientShape s = shape_of(machine, dy, x, groups);
  const bool wide = compute_dtype(dy.source.dtype) == Dtype::float64;
  Carver measure;
  if (wide) {
    carve_image_scratch<double>(&measure, s.blocking.gemm, machine.table->gemm[1]);
  } else {
    carve_image_scratch<float>(&measure, s.blocking.gemm, machine.table->gemm[0]);
  }
  return s.blocking.slices * dy.source.channels * s.order.count() * (wide ? 8 : 4) +
         machine.threads * measure.used();
}

}  // namespace fastconv::cpu
