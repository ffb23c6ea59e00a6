// The forward product, the input gradient and the transposed convolutions: filters are packed once, pixels in
// each task.
#include <algorithm>

#include "core/buffer_pool.h"
#include "cpu/implicit_gemm.h"
#include "cpu/packed_product.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

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
  int64_t* row_offsets;  // in the result
  Columns columns;
  std::vector<PixelSegment> segments;
  std::vector<PixelRun> runs;
  std::vector<StorePiece> pieces;
};

template <class T>
PixelScratch<T> carve_pixel_scratch(Carver* carver, const ProductShape& s, const GemmKernels& k) {
  const GemmBlocking& b = s.blocking;
  PixelScratch<T> r;
  r.pixels = carver->take<T>(s.pixels_are_rows ? b.rows * k.row_pitch
                                               : channels_of_chunk(b.depth, s.order.taps, s.order.channels) *
                                                     s.planes.copies() * s.planes.elements);
  r.accumulators = carver->take<T>(b.rows * b.cols);
  r.row_offsets = carver->take<int64_t>(b.rows);
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
    const std::vector<int64_t>& taps = p.gather->kernel_tap;
    const bool in_order = p.gather->taps() == filters.taps && std::is_sorted(taps.begin(), taps.end());
    const int64_t step = 4 * (s.pixels_are_rows ? k.nr : k.mr), blocks = ceil_div(s.lines, step);
    const double work = kNsPerElement * static_cast<double>(groups * s.lines * s.order.count());
    parallel_for(groups * s.chunks * blocks, work, machine.threads, [&](int64_t task, int) {
      const int64_t group = task / (s.chunks * blocks), chunk = task / blocks % s.chunks,
                    first = task % blocks * step;
      const int64_t depth = chunk_depth(s, chunk);
      T* packed = p.filters + (group * s.chunks + chunk) * p.chunk_elements;
      const FilterMatrix matrix{filters, by_channel, group * (filters.filters / groups), in_order};
      pack_filters(*machine.table, matrix, taps, s.order, first, std::min(step, s.lines - first),
                   chunk * s.blocking.depth, depth, filter_layout(s, k, depth),
                   packed + first * (s.pixels_are_rows ? depth : k.row_pitch));
    });
  }
}

// One block of pixels times one block of filters of one group.
template <class T>
class PixelTask {
 public:
  PixelTask(const Machine& machine, const PackedProduct<T>& product, const Epilogue& epilogue, const T* bias,
            PixelScratch<T>* scratch, int64_t task)
      : machine_(machine),
        kernels_(kernels_of<T>(*machine.table)),
        gather_(*product.gather),
        p_(product),
        s_(product.shape),
        epilogue_(epilogue),
        scratch_(*scratch) {
    const int64_t filter_block = s_.pixels_are_rows ? s_.blocking.cols : s_.blocking.rows;
    first_filter_ = task % p_.filter_blocks * filter_block;
    filters_ = std::min(filter_block, s_.lines - first_filter_);
    block_ = task / p_.filter_blocks % p_.pixel_blocks;
    group_ = task / (p_.filter_blocks * p_.pixel_blocks);
    bias_ = bias ? bias + first_channel() : nullptr;
  }

  void run() { s_.pixels_are_rows ? multiply_rows() : multiply_columns(); }

 private:
  int64_t first_channel() const { return group_ * s_.lines + first_filter_; }
  const T* packed_filters(int64_t chunk) const {
    return p_.filters + (group_ * s_.chunks + chunk) * p_.chunk_elements;
  }

  // Pixels are the rows of A, row-major im2col; filters the columns.
  void multiply_rows() {
    const GemmBlocking& b = s_.blocking;
    const int64_t first = block_ * b.rows, pixels = std::min(b.rows, gather_.pixels() - first);
    cut_pixels(gather_, first, pixels, &scratch_.segments);
    for (int64_t chunk = 0; chunk < s_.chunks; ++chunk) {
      const int64_t depth = chunk_depth(s_, chunk);
      pack_pixels(*machine_.table, gather_, scratch_.segments, group_ * s_.order.channels, s_.order,
                  chunk * b.depth, depth, false, PanelLayout::rows(kernels_, pixels), scratch_.pixels);
      scratch_.columns.set_packed(filters_, depth, kernels_.nr);
      multiply_block(kernels_, b, scratch_.pixels, packed_filters(chunk) + first_filter_ * depth,
                     scratch_.columns, scratch_.accumulators, pixels, depth, chunk > 0);
    }
    result_offsets(gather_, scratch_.segments, scratch_.row_offsets);
    const int64_t step = gather_.result.channel_stride;
    scratch_.pieces.clear();
    for (int64_t n = 0; n < filters_; n += kernels_.nr)
      scratch_.pieces.push_back({n * pixels, (first_channel() + n) * step, n,
                                 static_cast<int>(std::min<int64_t>(kernels_.nr, filters_ - n))});
    store(pixels, step, nullptr, bias_);
  }

  // Filters are the rows; pixels the columns, read as shifts within planes.
  void multiply_columns() {
    const GemmBlocking& b = s_.blocking;
    const int64_t taps = s_.order.taps;
    cut_into_segments(gather_, s_.planes, block_, &scratch_.segments);
    panels_of(s_.planes, scratch_.segments, kernels_.nr, &scratch_.columns.panels);
    scratch_.columns.offsets.resize(static_cast<std::size_t>(b.depth));
    int64_t packed_begin = 0, packed_end = 0;
    for (int64_t chunk = 0; chunk < s_.chunks; ++chunk) {
      const int64_t begin = chunk * b.depth, depth = chunk_depth(s_, chunk);
      const int64_t channel = taps ? begin / taps : 0, end = taps ? ceil_div(begin + depth, taps) : 0;
      if (channel < packed_begin || end > packed_end) {
        pack_planes(*machine_.table, gather_, s_.planes, scratch_.segments,
                    group_ * s_.order.channels + channel, end - channel, {}, scratch_.pixels);
        packed_begin = channel;
        packed_end = end;
      }
      feature_offsets(s_.planes, taps, packed_begin, begin, depth, scratch_.columns.offsets.data());
      multiply_block<T>(kernels_, b, packed_filters(chunk) + first_filter_ * kernels_.row_pitch,
                        scratch_.pixels, scratch_.columns, scratch_.accumulators, filters_, depth, chunk > 0);
    }
    const ImageView& result = gather_.result;
    for (int64_t i = 0; i < filters_; ++i)
      scratch_.row_offsets[i] = (first_channel() + i) * result.channel_stride;
    cut_runs(result.stride[kAxes - 1]);
    store(filters_, result.stride[kAxes - 1], bias_, nullptr);
  }

  // The pixels of the block, cut where a panel of accumulators ends.
  void cut_runs(int64_t step) {
    runs_of(gather_, s_.planes, scratch_.segments, &scratch_.runs);
    scratch_.pieces.clear();
    const std::vector<ColumnPanel>& panels = scratch_.columns.panels;
    std::size_t panel = 0;
    for (const PixelRun& run : scratch_.runs) {
      for (int64_t done = 0; done < run.count;) {
        const int64_t at = run.start + done;
        while (at >= panels[panel].start + panels[panel].columns) ++panel;
        const int64_t lane = at - panels[panel].start;
        const int64_t count = std::min(panels[panel].columns - lane, run.count - done);
        scratch_.pieces.push_back({static_cast<int64_t>(panel) * kernels_.nr * filters_ + lane,
                                   run.result + done * step, 0, static_cast<int>(count)});
        done += count;
      }
    }
  }

  void store(int64_t rows, int64_t step, const T* row_bias, const T* col_bias) {
    const ImageView& result = gather_.result;
    machine_.table->store_block[static_cast<int>(result.dtype)](
        {scratch_.accumulators, rows, result.data, scratch_.row_offsets, scratch_.pieces.data(),
         static_cast<int64_t>(scratch_.pieces.size()), step, row_bias, col_bias, epilogue_.activation});
  }

  const Machine& machine_;
  const GemmKernels& kernels_;
  const PixelGather& gather_;
  const PackedProduct<T>& p_;
  const ProductShape& s_;
  const Epilogue& epilogue_;
  PixelScratch<T>& scratch_;
  const T* bias_;
  int64_t first_filter_, filters_, block_, group_;
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
    PackedProduct<T> p{};
    p.gather = &g;
    p.shape =
        shape_of(machine, g, filters, by_channel, groups, groups * static_cast<int64_t>(gathers.size()));
    const GemmBlocking& b = p.shape.blocking;
    p.chunk_elements = p.shape.packed_filter_elements / p.shape.chunks;
    p.pixel_blocks = p.shape.pixels_are_rows ? ceil_div(g.pixels(), b.rows) : p.shape.planes.blocks;
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
                 PixelTask<T>(machine, p, epilogue, bias.as<T>(), &s, task - p.first_task).run();
               });
}

}  // namespace

ProductShape shape_of(const Machine& machine, const PixelGather& g, const FilterView& filters,
                      bool by_channel, int64_t groups, int64_t products) {
  const bool wide = compute_dtype(filters.dtype) == Dtype::float64;
  const GemmKernels& k = machine.table->gemm[wide];
  const int64_t element_bytes = wide ? 8 : 4;
  ProductShape s;
  s.pixels_are_rows = channels_adjacent(g.result);
  const int64_t group_filters = filters.filters / groups;
  const int64_t channels = by_channel ? group_filters : filters.channels;
  s.lines = by_channel ? filters.channels : group_filters;
  s.order = s.pixels_are_rows && channels_adjacent(g.source)
                ? FeatureOrder::tap_major(channels, g.taps())
                : FeatureOrder::channel_major(channels, g.taps());
  if (s.pixels_are_rows) {
    s.blocking = block_pixels_by_filters(k, element_bytes, g.pixels(), s.lines, s.order.count(), products,
                                         machine.caches, machine.threads);
  } else {
    PlaneBlocking b = block_filters_by_planes(k, element_bytes, g, s.lines, channels, products,
                                              machine.caches, machine.threads);
    s.blocking = b.gemm;
    s.planes = std::move(b.planes);
  }
  // A BLAS's narrow kernels have several chains too.
  constexpr int64_t kNarrow = 16, kNarrowChain = 48;
  if (s.lines <= kNarrow) s.blocking.chain = even_part(s.blocking.depth, kNarrowChain);
  if (s.lines == 1 || g.pixels() == g.source.batch)
    s.blocking.chain = short_chain(s.order.count(), s.blocking.depth);
  s.chunks = std::max<int64_t>(1, ceil_div(s.order.count(), s.blocking.depth));
  s.packed_filter_elements =
      s.chunks * (s.pixels_are_rows ? round_up(s.lines, k.nr) * s.blocking.depth : s.lines * k.row_pitch);
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

}  // namespace fastconv::cpu
