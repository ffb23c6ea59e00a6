// The forward product, the input gradient and the transposed convolutions: filters are packed once, pixels in
// each task.
#include <algorithm>

#include "cpu/filter_forms.h"
#include "cpu/implicit_gemm.h"
#include "cpu/packed_product.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"
#include "cpu/product_filters.h"

namespace fastconv::cpu {
namespace {

// Parts with as many positions each, cut into the same blocks: a task takes a block of them all, so that the
// phases of a stride, which lie between each other in the result, are written while its lines are in the
// cache.
struct PartGroup {
  std::size_t begin, end;
  int64_t first_task;
};

// What a thread keeps from task to task.
template <class T>
struct TaskLists {
  Columns columns;
  std::vector<PixelSegment> segments;
  std::vector<PixelRun> runs;
  std::vector<StorePiece> pieces;
  std::vector<int64_t> sources;
  StoredPanels<T> stored;
};

template <class T>
struct PixelScratch {
  T *pixels, *accumulators, *before, *filters;  // before: of a part that waits
  int64_t* row_offsets;                         // in the result
};

// Room for any part of a product: parts find what the one before has left.
struct ScratchSize {
  int64_t pixels = 0, sums = 0, sums_before = 0, rows = 0, filters = 0;

  void make_room(const ProductPart& part, const GemmKernels& k) {
    const ProductShape& s = part.shape;
    const GemmBlocking& b = s.cut.gemm;
    const auto fit = [](int64_t* size, int64_t needed) { *size = std::max(*size, needed); };
    fit(&pixels, s.pixels_are_rows ? b.rows * k.row_pitch
                                   : channels_of_chunk(b.depth, s.order.taps, s.order.channels) *
                                         s.cut.planes.copies() * s.cut.planes.elements);
    fit(&sums, b.rows * b.cols);
    if (part.stores_two) fit(&sums_before, b.rows * b.cols);
    fit(&rows, b.rows);
    if (task_packs_filters(s)) fit(&filters, filter_block_elements(s, k));
  }
};

template <class T>
PixelScratch<T> carve_pixel_scratch(Carver* carver, const ScratchSize& size) {
  PixelScratch<T> r;
  r.pixels = carver->take<T>(size.pixels);
  r.accumulators = carver->take<T>(size.sums);
  r.before = carver->take<T>(size.sums_before);
  r.row_offsets = carver->take<int64_t>(size.rows);
  r.filters = carver->take<T>(size.filters);
  return r;
}

// One block of pixels times one block of filters of one group.
template <class T>
class PixelTask {
 public:
  PixelTask(const Machine& machine, const ProductPart& part, const ProductFilters<T>& filters,
            const Epilogue& epilogue, const T* bias, const PixelScratch<T>& scratch, TaskLists<T>* lists,
            int64_t task)
      : machine_(machine),
        kernels_(kernels_of<T>(*machine.table)),
        part_(part),
        gather_(part.gather),
        s_(part.shape),
        product_filters_(filters),
        epilogue_(epilogue),
        scratch_(scratch),
        sums_(part.waits ? scratch.before : scratch.accumulators),
        lists_(*lists) {
    const int64_t filter_block = s_.pixels_are_rows ? s_.cut.gemm.cols : s_.cut.gemm.rows;
    first_filter_ = task % s_.filter_blocks * filter_block;
    filters_ = std::min(filter_block, s_.lines - first_filter_);
    block_ = task / s_.filter_blocks % s_.pixel_blocks;
    group_ = task / (s_.filter_blocks * s_.pixel_blocks);
    bias_ = bias ? bias + first_channel() : nullptr;
  }

  void run() { s_.pixels_are_rows ? multiply_rows() : multiply_columns(); }

 private:
  int64_t first_channel() const { return group_ * s_.lines + first_filter_; }
  const T* packed_filters(int64_t chunk) const {
    if (product_filters_.packed) return product_filters_.place(machine_, s_, group_, chunk, first_filter_);
    product_filters_.pack(machine_, part_, group_, chunk, first_filter_, filters_, scratch_.filters);
    return scratch_.filters;
  }

  // The lines of a chunk's first filter, in memory.
  const T* filters_in_place(int64_t chunk) const {
    const FilterView& w = product_filters_.view;
    const int64_t filter = group_ * (w.filters / product_filters_.groups) + chunk * s_.cut.gemm.depth;
    return static_cast<const T*>(w.data) + filter * w.channels + first_filter_;
  }

  // Pixels are the rows of A, row-major im2col; filters the columns.
  void multiply_rows() {
    const GemmBlocking& b = s_.cut.gemm;
    const int64_t first = block_ * b.rows, pixels = std::min(b.rows, gather_.pixels() - first);
    cut_pixels(gather_, first, pixels, &lists_.segments);
    result_offsets(gather_, lists_.segments, scratch_.row_offsets);
    const int64_t step = gather_.result.channel_stride;
    lists_.pieces.clear();
    for (int64_t n = 0; n < filters_; n += kernels_.nr)
      lists_.pieces.push_back({n * pixels, (first_channel() + n) * step, n,
                               static_cast<int>(std::min<int64_t>(kernels_.nr, filters_ - n))});
    store_from_products(lists_.pieces.size(), pixels, step, nullptr, bias_);
    for (int64_t chunk = 0; chunk < s_.chunks; ++chunk) {
      const int64_t depth = chunk_depth(s_, chunk);
      pack_pixels(*machine_.table, gather_, lists_.segments, group_ * s_.order.channels, s_.order,
                  chunk * b.depth, depth, false, PanelLayout::rows(kernels_, pixels), scratch_.pixels);
      const T* filters = s_.filters_in_place ? filters_in_place(chunk) : packed_filters(chunk);
      if (s_.filters_in_place) {
        lists_.columns.set_in_place(filters_, depth, kernels_.nr, product_filters_.view.channels);
      } else {
        lists_.columns.set_packed(filters_, depth, kernels_.nr);
      }
      multiply_block(kernels_, b, scratch_.pixels, filters, lists_.columns, sums_, pixels, depth, chunk > 0,
                     NothingAhead{}, stored_at(chunk));
    }
    store(pixels, step, nullptr, bias_);
  }

  // Filters are the rows; pixels the columns, read as shifts within planes.
  void multiply_columns() {
    const GemmBlocking& b = s_.cut.gemm;
    const int64_t taps = s_.order.taps, step = gather_.result.stride[kAxes - 1];
    cut_into_segments(gather_, s_.cut.planes, block_, &lists_.segments);
    panels_of(s_.cut.planes, lists_.segments, kernels_.nr, &lists_.columns.panels);
    lists_.columns.offsets.resize(static_cast<std::size_t>(b.depth));
    for (int64_t i = 0; i < filters_; ++i)
      scratch_.row_offsets[i] = (first_channel() + i) * gather_.result.channel_stride;
    cut_runs(step);
    store_from_products(lists_.columns.panels.size(), filters_, step, bias_, nullptr);
    if (s_.chunks > 1)
      sources_of(gather_, s_.cut.planes, lists_.segments, lists_.columns.panels, &lists_.sources);
    int64_t packed_begin = 0, packed_end = part_.same_pixels ? s_.order.channels : 0;
    for (int64_t chunk = 0; chunk < s_.chunks; ++chunk) {
      const int64_t begin = chunk * b.depth, depth = chunk_depth(s_, chunk);
      const int64_t channel = taps ? begin / taps : 0, end = taps ? ceil_div(begin + depth, taps) : 0;
      if (channel < packed_begin || end > packed_end) {
        pack_planes(*machine_.table, gather_, s_.cut.planes, lists_.segments,
                    group_ * s_.order.channels + channel, end - channel, {}, scratch_.pixels);
        packed_begin = channel;
        packed_end = end;
      }
      feature_offsets(s_.cut.planes, taps, packed_begin, begin, depth, lists_.columns.offsets.data());
      const int64_t next_end = std::min(end + (end - channel), s_.order.channels);
      const auto next_pixels = [&](std::size_t panel, int64_t from, int64_t to) {
        if (next_end <= end) return Ahead{};
        const int64_t channels = next_end - end;
        return part_of(pixels_of_panel(panel, end, channels), channels * from / filters_,
                       channels * to / filters_);
      };
      multiply_block<T>(kernels_, b, packed_filters(chunk), scratch_.pixels, lists_.columns, sums_, filters_,
                        depth, chunk > 0, next_pixels, stored_at(chunk));
    }
    if (!part_.waits) store(filters_, step, bias_, nullptr);
  }

  // What a panel's positions read of these channels, about: of each a line.
  Ahead pixels_of_panel(std::size_t panel, int64_t channel, int64_t channels) const {
    const ImageView& x = gather_.source;
    const int64_t first = (group_ * s_.order.channels + channel) * x.channel_stride;
    return {static_cast<const char*>(x.data) + (first + lists_.sources[panel]) * size_of(x.dtype),
            x.channel_stride * size_of(x.dtype), channels, kernels_.nr * size_of(x.dtype)};
  }

  // The pixels of the block, cut where a panel of accumulators ends.
  void cut_runs(int64_t step) {
    runs_of(gather_, s_.cut.planes, lists_.segments, &lists_.runs);
    lists_.pieces.clear();
    const std::vector<ColumnPanel>& panels = lists_.columns.panels;
    std::size_t panel = 0;
    for (const PixelRun& run : lists_.runs) {
      for (int64_t done = 0; done < run.count;) {
        const int64_t at = run.start + done;
        while (at >= panels[panel].start + panels[panel].columns) ++panel;
        const int64_t lane = at - panels[panel].start;
        const int64_t count = std::min(panels[panel].columns - lane, run.count - done);
        lists_.pieces.push_back({static_cast<int64_t>(panel) * kernels_.nr * filters_ + lane,
                                 run.result + done * step, 0, static_cast<int>(count)});
        done += count;
      }
    }
  }

  // Takes the pieces that are whole panels of neighbours, of the compute type, out of the list: the last
  // chunk's products store them themselves.
  void store_from_products(std::size_t panels, int64_t rows, int64_t step, const T* row_bias,
                           const T* col_bias) {
    const ImageView& result = gather_.result;
    StoredPanels<T>& stored = lists_.stored;
    stored.offset.clear();
    if (step != 1 || result.dtype != compute_dtype(result.dtype)) return;
    const int64_t panel = rows * kernels_.nr;
    std::vector<StorePiece>& pieces = lists_.pieces;
    const auto whole = [&](const StorePiece& piece) { return piece.count == kernels_.nr; };
    stored.offset.assign(panels, StoredPanels<T>::kNowhere);
    for (const StorePiece& piece : pieces)
      if (whole(piece)) stored.offset[static_cast<std::size_t>(piece.from / panel)] = piece.to;
    pieces.erase(std::remove_if(pieces.begin(), pieces.end(), whole), pieces.end());
    stored.out = static_cast<T*>(result.data);
    stored.row_offset = scratch_.row_offsets;
    stored.row_bias = row_bias;
    stored.col_bias = col_bias;
    stored.activation = epilogue_.activation;
  }

  const StoredPanels<T>* stored_at(int64_t chunk) const {
    return chunk + 1 == s_.chunks ? &lists_.stored : nullptr;
  }

  // The other pieces, from the accumulators.
  void store(int64_t rows, int64_t step, const T* row_bias, const T* col_bias) {
    if (lists_.pieces.empty()) return;
    const PixelGather* first = &gather_;
    const T *sums = sums_, *between = nullptr;
    if (part_.stores_two) {
      between = scratch_.before;
      const PixelGather& before = (&part_ - 1)->gather;
      if (before.first_result < gather_.first_result) {
        first = &before;
        std::swap(sums, between);
      }
    }
    machine_.table->store_block[static_cast<int>(first->result.dtype)](
        {sums, rows, first->result.data, scratch_.row_offsets, lists_.pieces.data(),
         static_cast<int64_t>(lists_.pieces.size()), step, row_bias, col_bias, epilogue_.activation,
         between});
  }

  const Machine& machine_;
  const GemmKernels& kernels_;
  const ProductPart& part_;
  const PixelGather& gather_;
  const ProductShape& s_;
  const ProductFilters<T> product_filters_;
  const Epilogue& epilogue_;
  const PixelScratch<T>& scratch_;
  T* const sums_;
  TaskLists<T>& lists_;
  const T* bias_;
  int64_t first_filter_, filters_, block_, group_;
};

// `like`: null, or the shape whose blocks this one shares.
ProductShape shape_of(const Machine& machine, const PixelGather& g, const FilterView& filters,
                      bool by_channel, int64_t groups, int64_t products, const ProductShape* like) {
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
    s.cut.gemm = block_pixels_by_filters(k, element_bytes, g.pixels(), s.lines, s.order.count(), products,
                                         machine.caches, machine.threads, like ? &like->cut.gemm : nullptr);
  } else {
    s.cut = block_filters_by_planes(k, element_bytes, g, s.lines, channels, products, machine.caches,
                                    machine.threads, like ? &like->cut : nullptr);
  }
  GemmBlocking& b = s.cut.gemm;
  // A BLAS's narrow kernels have several chains too.
  constexpr int64_t kNarrow = 16, kNarrowChain = 48;
  const int64_t rows = s.pixels_are_rows ? b.rows : s.lines;
  if (s.lines <= kNarrow) set_chain(k, even_part(b.depth, kNarrowChain), rows, &b);
  if (s.lines == 1 || g.pixels() == g.images) set_chain(k, short_chain(s.order.count(), b.depth), rows, &b);
  s.chunks = std::max<int64_t>(1, ceil_div(s.order.count(), b.depth));
  s.packed_filter_elements =
      s.chunks * (s.pixels_are_rows ? round_up(s.lines, k.nr) * b.depth : s.lines * k.row_pitch);
  s.filters_in_place = s.pixels_are_rows && by_channel && filters.taps == 1 && g.taps() == 1 &&
                       compute_dtype(filters.dtype) == filters.dtype && s.lines % k.nr == 0 &&
                       g.pixels() <= 2 * k.mr;
  s.pixel_blocks = s.pixels_are_rows ? ceil_div(g.pixels(), b.rows) : s.cut.planes.blocks;
  s.filter_blocks = ceil_div(s.lines, s.pixels_are_rows ? b.cols : b.rows);
  return s;
}

template <class T>
class PixelProduct : public Product {
 public:
  PixelProduct(const Machine& machine, std::vector<PixelGather> gathers, const FilterView& filters,
               bool by_channel, int64_t groups)
      : machine_(machine), kernels_(kernels_of<T>(*machine.table)), by_channel_(by_channel), groups_(groups) {
    for (PixelGather& g : gathers) merge_images(&g);
    // Groups lie together, the part with the most taps first: it decides the blocks.
    const auto before = [](const PixelGather& l, const PixelGather& r) {
      for (int a = 0; a < kAxes; ++a)
        if (l.axis[a].positions != r.axis[a].positions) return l.axis[a].positions < r.axis[a].positions;
      return l.taps() > r.taps();
    };
    std::stable_sort(gathers.begin(), gathers.end(), before);
    put_pairs_together(&gathers);
    for (std::size_t i = 0; i < gathers.size(); ++i) {
      if (i == 0 || !same_positions(gathers[i - 1], gathers[i])) part_groups_.push_back({i, i, 0});
      ++part_groups_.back().end;
    }
    parts_.reserve(gathers.size());
    for (PartGroup& group : part_groups_) {
      group.first_task = tasks_;
      for (std::size_t i = group.begin; i < group.end; ++i)
        add_part(std::move(gathers[i]), filters, i == group.begin ? nullptr : &parts_[group.begin].shape);
      const ProductShape& s = parts_[group.begin].shape;
      tasks_ += groups * s.pixel_blocks * s.filter_blocks;
    }
    if (tasks_ > 0 && !in_place_)
      form_ = plan_form(machine, form_layout(filters), packed_elements_ * kItem,
                        static_cast<double>(parts_[0].gather.pixels()));
  }

  void bind(void* source, void* result) override {
    for (ProductPart& part : parts_) part.gather.bind(source, result);
  }

  void run(const FilterView& filters, const Epilogue& epilogue) override {
    if (tasks_ == 0) return;
    const auto filters_of = [&](const ProductPart& part, void* packed) {
      return ProductFilters<T>{filters, by_channel_, groups_,
                               packed ? static_cast<T*>(packed) + part.first_element : nullptr};
    };
    const FilterForm kept = kept_form(machine_, form_, filters, [&](void* packed) {
      for (const ProductPart& part : parts_) filters_of(part, packed).pack_all(machine_, part);
      return true;
    });
    const Buffer memory(kept ? machine_.threads * scratch_ : workspace_bytes());
    char* scratch = memory.as<char>();
    void* packed = kept ? kept->data() : packs_first_ ? scratch + machine_.threads * scratch_ : nullptr;
    if (!kept && packs_first_)
      for (const ProductPart& part : parts_) filters_of(part, packed).pack_all(machine_, part);
    const int64_t channels = by_channel_ ? groups_ * filters.channels : filters.filters;
    const WideBias<T> bias(*machine_.table, epilogue, filters.dtype, channels);
    parallel_for(tasks_, work_, machine_.threads, [&](int64_t task, int worker) {
      static thread_local TaskLists<T> lists;
      const auto after = std::upper_bound(part_groups_.begin(), part_groups_.end(), task,
                                          [](int64_t t, const PartGroup& g) { return t < g.first_task; });
      const PartGroup& group = *(after - 1);
      for (std::size_t i = group.begin; i < group.end; ++i) {
        const ProductPart& part = parts_[i];
        Carver carver(scratch + worker * scratch_);
        PixelTask<T>(machine_, part, filters_of(part, packed), epilogue, bias.data,
                     carve_pixel_scratch<T>(&carver, scratch_size_), &lists, task - group.first_task)
            .run();
      }
    });
  }

  int64_t workspace_bytes() const override {
    return machine_.threads * scratch_ + (packs_first_ ? packed_elements_ * kItem : 0);
  }
  std::vector<Figure> figures() const override {
    return parts_.empty() ? std::vector<Figure>{} : figures_of(parts_[0].shape.cut.gemm);
  }

 private:
  static constexpr int64_t kItem = sizeof(T), kLine = 64 / kItem;

  static bool same_positions(const PixelGather& a, const PixelGather& b) {
    for (int i = 0; i < kAxes; ++i)
      if (a.axis[i].positions != b.axis[i].positions) return false;
    return true;
  }

  // Whether the results of two gathers of as many positions take turns along a row.
  static bool alternate(const PixelGather& a, const PixelGather& b) {
    const int64_t apart = a.first_result - b.first_result;
    return a.result.stride[kAxes - 1] == 2 && (apart == 1 || apart == -1) && !channels_adjacent(a.result);
  }
  // ... and whether the sums of their parts lie alike, so that one list of pieces serves both.
  static bool alternate(const ProductPart& a, const ProductPart& b) {
    const PlaneLayout &l = a.shape.cut.planes, &r = b.shape.cut.planes;
    return !a.stores_two && alternate(a.gather, b.gather) && l.axis[1].halo == r.axis[1].halo &&
           l.axis[2].halo == r.axis[2].halo;
  }
  static void put_pairs_together(std::vector<PixelGather>* gathers) {
    for (auto one = gathers->begin(); one != gathers->end(); ++one) {
      const auto other = std::find_if(one + 1, gathers->end(), [&](const PixelGather& g) {
        return same_positions(*one, g) && alternate(*one, g);
      });
      if (other != gathers->end()) std::rotate(++one, other, other + 1);
    }
  }

  // `leader`: the shape of the group's first part, or null for that part itself.
  void add_part(PixelGather gather, const FilterView& filters, const ProductShape* leader) {
    ProductPart part{std::move(gather), {}, false, false, packed_elements_};
    const auto products = groups_ * static_cast<int64_t>(part_groups_.size());
    part.shape = shape_of(machine_, part.gather, filters, by_channel_, groups_, products, leader);
    const std::vector<int64_t>& taps = part.gather.kernel_tap;
    part.taps_in_order = part.gather.taps() == filters.taps && std::is_sorted(taps.begin(), taps.end());
    part.same_pixels = leader && packs_alike(parts_.back().shape, part.shape);
    const ProductShape& s = part.shape;
    part.stores_two = leader && alternate(parts_.back(), part);
    if (part.stores_two) parts_.back().waits = true;
    packed_elements_ += round_up(groups_ * s.packed_filter_elements, kLine);
    in_place_ |= s.filters_in_place;
    packs_first_ |= packs_filters_first(s);
    scratch_size_.make_room(part, kernels_);
    Carver measure;
    carve_pixel_scratch<T>(&measure, scratch_size_);
    scratch_ = measure.used();
    const double results = static_cast<double>(part.gather.pixels() * groups_ * s.lines);
    work_ += results * (2 * kNsPerFlop * static_cast<double>(s.order.count()) + kNsPerElement);
    parts_.push_back(std::move(part));
  }

  // All that packing the filters looks at.
  FormLayout form_layout(const FilterView& filters) const {
    std::vector<int64_t> numbers;
    for (const ProductPart& part : parts_) {
      const ProductShape& s = part.shape;
      const std::vector<int64_t>& taps = part.gather.kernel_tap;
      numbers.insert(numbers.end(), {part.first_element, s.pixels_are_rows, s.order.channels, s.order.taps,
                                     s.order.tap_step, s.cut.gemm.depth, s.lines});
      numbers.insert(numbers.end(), taps.begin(), taps.end());
    }
    return {filters, by_channel_, groups_, std::move(numbers)};
  }

  // Whether all channels are packed at once, and into the same planes.
  static bool packs_alike(const ProductShape& a, const ProductShape& b) {
    if (a.pixels_are_rows || a.chunks > 1 || b.chunks > 1) return false;
    for (int i = 0; i < kAxes; ++i) {
      const AxisCopies &l = a.cut.planes.axis[i], &r = b.cut.planes.axis[i];
      if (l.halo != r.halo || !(l.copies == r.copies)) return false;
    }
    return a.cut.planes.elements == b.cut.planes.elements;
  }

  const Machine machine_;
  const GemmKernels& kernels_;
  const bool by_channel_;
  const int64_t groups_;
  std::vector<ProductPart> parts_;
  std::vector<PartGroup> part_groups_;
  int64_t packed_elements_ = 0, tasks_ = 0, scratch_ = 0;
  ScratchSize scratch_size_;
  bool in_place_ = false, packs_first_ = false;
  double work_ = 0;
  FormPlan form_;
};

}  // namespace

std::unique_ptr<Product> pixel_product(const Machine& machine, std::vector<PixelGather> gathers,
                                       const FilterView& filters, bool by_channel, int64_t groups) {
  if (filters.dtype == Dtype::float64)
    return std::make_unique<PixelProduct<double>>(machine, std::move(gathers), filters, by_channel, groups);
  return std::make_unique<PixelProduct<float>>(machine, std::move(gathers), filters, by_channel, groups);
}

}  // namespace fastconv::cpu
