#include "cpu/tile_product.h"

#include <algorithm>

#include "cpu/filter_forms.h"
#include "cpu/implicit_gemm.h"
#include "cpu/packed_product.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"
#include "cpu/tile_filters.h"

namespace fastconv::cpu {
namespace {

// A magnitude that the split carries: zero, or between 2^-40 and 2^60. The product of the largest value of an
// image and of the filters is then far from both ends of float32's range, and what is flushed or lost beside
// it is less than its last bit.
bool splits_well(std::uint32_t magnitude) {
  constexpr std::uint32_t kLeast = (127u - 40) << 23, kMost = (127u + 60) << 23;
  return magnitude == 0 || (kLeast <= magnitude && magnitude <= kMost);
}

struct TileScratch {
  float* planes;
  BFloat16* lines;
  float* sums;
  int64_t* row_offsets;
};

int64_t chunk_channels(const TileShape& s) {
  return channels_of_chunk(s.blocking.chunk_blocks * kTileLanes, s.taps, s.channels);
}

TileScratch carve_scratch(Carver* carver, const TileShape& s) {
  const TileBlocking& b = s.blocking;
  TileScratch r;
  r.planes = carver->take<float>(s.plane_lines() * (b.gathered ? chunk_channels(s) : kTileLanes));
  r.lines = carver->take<BFloat16>(s.parts * b.chunk_blocks * s.block_lines() * kTileLanes);
  r.sums = carver->take<float>(s.panels() * ceil_div(b.filters, kTileSide) * kTileSums);
  r.row_offsets = carver->take<int64_t>(s.panels() * kTileSide);
  return r;
}

// What a thread keeps from task to task.
struct TaskLists {
  std::vector<PixelSegment> segments;
  std::vector<ColumnPanel> columns;
  std::vector<PositionPanel> panels;
  std::vector<PixelRun> runs;
  std::vector<StorePiece> pieces;
  std::vector<int64_t> step_lines, offsets;
};

// One block of pixels times one block of filters of one group.
class TileTask {
 public:
  // filters: the packed ones; largest: of each image, what its values come to
  TileTask(const Machine& machine, const TilePart& part, const BFloat16* filters, const Epilogue& epilogue,
           const float* bias, const TileScratch& scratch, TaskLists* lists,
           std::atomic<std::uint32_t>* largest, int64_t task)
      : table_(*machine.table),
        gather_(part.gather),
        s_(part.shape),
        b_(part.shape.blocking),
        planes_(part.shape.blocking.planes),
        epilogue_(epilogue),
        scratch_(scratch),
        lists_(*lists),
        largest_(largest) {
    first_filter_ = task % s_.filter_blocks * b_.filters;
    filters_ = std::min(b_.filters, s_.lines - first_filter_);
    block_ = task / s_.filter_blocks % planes_.blocks;
    group_ = task / (s_.filter_blocks * planes_.blocks);
    packed_ = filters + group_ * s_.packed_elements();
    bias_ = bias ? bias + first_channel() : nullptr;
  }

  void run() {
    cut_into_segments(gather_, planes_, block_, &lists_.segments);
    panels_of(planes_, lists_.segments, kTileSide, &lists_.columns);
    lists_.panels.clear();
    for (const ColumnPanel& c : lists_.columns) lists_.panels.push_back({c.start, c.columns});
    int64_t packed_chunk = -1;
    for (const StepChain& chain : s_.chains) {
      if (chain.chunk != packed_chunk) pack_chunk(chain.chunk);
      packed_chunk = chain.chunk;
      multiply(chain);
    }
    store();
  }

 private:
  int64_t first_channel() const { return group_ * s_.lines + first_filter_; }
  int64_t part_elements() const { return b_.chunk_blocks * s_.block_lines() * kTileLanes; }

  void multiply(const StepChain& chain) {
    const int64_t first_step = chain.first - chain.chunk * b_.chunk_blocks * b_.block_steps;
    const int64_t pair_elements = chain.steps * s_.step_elements();
    const BFloat16* filters =
        packed_ + chain.first * s_.pairs * s_.step_elements() + first_filter_ / kTileSide * pair_elements;
    table_.tiles->multiply_chain({scratch_.lines, part_elements(), lists_.step_lines.data() + first_step,
                                  lists_.panels.data(), static_cast<int64_t>(lists_.panels.size()), filters,
                                  pair_elements, filters_, chain.steps, scratch_.sums, s_.parts,
                                  chain.first > 0, b_.pairs_outside});
  }

  // The lines of some blocks, and where each of their steps begins.
  void pack_chunk(int64_t chunk) {
    const int64_t first = chunk * b_.chunk_blocks, blocks = std::min(b_.chunk_blocks, b_.blocks - first);
    lists_.step_lines.resize(static_cast<std::size_t>(blocks * b_.block_steps));
    if (b_.gathered) {
      gather_lines(first, blocks);
    } else {
      feature_offsets(planes_, s_.taps, 0, 0, blocks * s_.taps, lists_.step_lines.data());
      for (int64_t i = 0; i < blocks; ++i) split_channels(first + i, i * s_.block_lines() * kTileLanes);
    }
  }

  // The channels of one block, as planes of lines.
  void split_channels(int64_t block, int64_t at) {
    const int64_t channel = block * kTileLanes;
    const auto lanes = static_cast<int>(std::min<int64_t>(kTileLanes, s_.channels - channel));
    pack_planes(table_, gather_, planes_, lists_.segments, group_ * s_.channels + channel, lanes,
                {kTileLanes, Zeroed::nothing}, scratch_.planes);
    for (const PixelSegment& segment : lists_.segments)
      for (int64_t copy = 0; copy < planes_.copies(); ++copy) {
        const int64_t from = (copy * planes_.elements + segment.start) * kTileLanes,
                      count = (segment.rows + planes_.axis[kAxes - 2].halo) * planes_.width();
        look_at(segment.image, {scratch_.planes + from, count, kTileLanes, lanes});
        table_.tiles->split_lines(
            {scratch_.planes + from, lanes, count, scratch_.lines + at + from, part_elements(), s_.parts});
      }
  }

  // Features of each position, from planes of single channels.
  void gather_lines(int64_t first, int64_t blocks) {
    const int64_t begin = first * kTileLanes,
                  count = std::min(blocks * kTileLanes, s_.channels * s_.taps - begin),
                  channel = begin / s_.taps, channels = ceil_div(begin + count, s_.taps) - channel;
    pack_planes(table_, gather_, planes_, lists_.segments, group_ * s_.channels + channel, channels, {},
                scratch_.planes);
    for (const PixelSegment& segment : lists_.segments)
      for (int64_t copy = 0; copy < planes_.copies(); ++copy)
        look_at(segment.image,
                {scratch_.planes + copy * planes_.elements + segment.start, channels, s_.plane_lines(),
                 (segment.rows + planes_.axis[kAxes - 2].halo) * planes_.width()});
    lists_.offsets.resize(static_cast<std::size_t>(count));
    feature_offsets(planes_, s_.taps, channel, begin, count, lists_.offsets.data());
    const int64_t positions = positions_of(planes_, lists_.segments);
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t lanes = std::min<int64_t>(kTileLanes, count - i * kTileLanes);
      lists_.step_lines[static_cast<std::size_t>(i)] = i * s_.block_lines();
      table_.tiles->turn_lines(
          {scratch_.planes, lists_.offsets.data() + i * kTileLanes, static_cast<int>(lanes), positions,
           scratch_.lines + i * s_.block_lines() * kTileLanes, part_elements(), s_.parts});
    }
  }

  void look_at(int64_t image, const MagnitudeRows& rows) {
    if (s_.checked) raise_magnitude(&largest_[image], table_.tiles->largest_magnitude(rows));
  }

  // The sums of panel and pair lie [pair][panel][position][filter], run by run one after the other.
  void store() {
    runs_of(gather_, planes_, lists_.segments, &lists_.runs);
    std::size_t panel = 0;
    for (const PixelRun& run : lists_.runs) {
      const std::vector<PositionPanel>& panels = lists_.panels;
      while (run.start >= panels[panel].start + panels[panel].count) ++panel;
      const int64_t row = static_cast<int64_t>(panel) * kTileSide + run.start - panels[panel].start;
      s_.pixels_are_rows ? store_rows(run, row) : store_columns(run, row);
    }
  }

  int64_t pair_sums() const { return static_cast<int64_t>(lists_.panels.size()) * kTileSums; }
  int pair_filters(int64_t first) const { return static_cast<int>(std::min(kTileSide, filters_ - first)); }

  void store_rows(const PixelRun& run, int64_t row) {
    const ImageView& r = gather_.result;
    lists_.pieces.clear();
    for (int64_t n = 0; n < filters_; n += kTileSide)
      lists_.pieces.push_back(
          {n / kTileSide * pair_sums(), (first_channel() + n) * r.channel_stride, n, pair_filters(n)});
    for (int64_t i = 0; i < run.count; ++i) scratch_.row_offsets[i] = run.result + i * r.stride[kAxes - 1];
    table_.store_block[static_cast<int>(r.dtype)](
        {scratch_.sums + row * kTileSide, run.count, r.data, scratch_.row_offsets, lists_.pieces.data(),
         static_cast<int64_t>(lists_.pieces.size()), r.channel_stride, nullptr, bias_, epilogue_.activation});
  }

  void store_columns(const PixelRun& run, int64_t row) {
    const ImageView& r = gather_.result;
    for (int64_t n = 0; n < filters_; n += kTileSide)
      table_.store_turned[static_cast<int>(r.dtype)](
          {scratch_.sums + n / kTileSide * pair_sums() + row * kTileSide, run.count, pair_filters(n),
           element(r.data, r.dtype, run.result + (first_channel() + n) * r.channel_stride),
           r.stride[kAxes - 1], r.channel_stride, bias_ ? bias_ + n : nullptr, epilogue_.activation});
  }

  const KernelTable& table_;
  const PixelGather& gather_;
  const TileShape& s_;
  const TileBlocking& b_;
  const PlaneLayout& planes_;
  const Epilogue& epilogue_;
  const TileScratch& scratch_;
  TaskLists& lists_;
  std::atomic<std::uint32_t>* largest_;
  const BFloat16* packed_;
  const float* bias_;
  int64_t first_filter_, filters_, block_, group_;
};

std::vector<StepChain> chains_of(const TileBlocking& b) {
  std::vector<StepChain> chains;
  const int64_t chunk_steps = b.chunk_blocks * b.block_steps;
  for (int64_t chunk = 0; chunk * b.chunk_blocks < b.blocks; ++chunk) {
    const int64_t end = std::min((chunk + 1) * chunk_steps, b.steps());
    for (int64_t first = chunk * chunk_steps; first < end; first += b.chain)
      chains.push_back({first, std::min(b.chain, end - first), chunk});
  }
  if (chains.empty()) chains.push_back({0, 0, 0});  // a product without terms writes zeros
  return chains;
}

// The gradient of padding that copies pixels adds up what the copies get, in planes too: such sums are
// float32 whatever is stored.
bool adds_up_pixels(const PixelGather& g, bool by_channel) {
  if (!by_channel) return false;
  for (const AxisGather& axis : g.axis)
    for (const TapMap& tap : axis.taps)
      if (!tap.extra.empty()) return true;
  return false;
}

TileShape shape_of(const Machine& machine, Precision precision, const PixelGather& g,
                   const FilterView& filters, bool by_channel, int64_t groups, int64_t products) {
  TileShape s;
  s.pixels_are_rows = channels_adjacent(g.result);
  s.parts = std::max(tile_parts(g.source.dtype, precision), tile_parts(filters.dtype, precision));
  if (adds_up_pixels(g, by_channel) && precision != Precision::medium) s.parts = std::max(s.parts, 2);
  s.checked = s.parts > 1 || g.source.dtype != Dtype::bfloat16 || filters.dtype != Dtype::bfloat16;
  const int64_t group_filters = filters.filters / groups;
  s.channels = by_channel ? group_filters : filters.channels;
  s.lines = by_channel ? filters.channels : group_filters;
  s.taps = g.taps();
  s.blocking = block_tiles(kernels_of<float>(*machine.table), g, s.lines, s.channels, s.parts, products,
                           machine.caches, machine.threads);
  s.chains = chains_of(s.blocking);
  s.pairs = ceil_div(s.lines, kTileSide);
  s.filter_blocks = ceil_div(s.lines, s.blocking.filters);
  return s;
}

class TileProduct : public Product {
 public:
  TileProduct(const Machine& machine, Precision precision, std::vector<PixelGather> gathers,
              const FilterView& filters, bool by_channel, int64_t groups)
      : machine_(machine), by_channel_(by_channel), groups_(groups) {
    const int64_t products = groups * static_cast<int64_t>(gathers.size());
    for (PixelGather& g : gathers) {
      TilePart part{std::move(g), {}, false, packed_elements_, tasks_};
      part.shape = shape_of(machine, precision, part.gather, filters, by_channel, groups, products);
      const std::vector<int64_t>& taps = part.gather.kernel_tap;
      part.taps_in_order = part.gather.taps() == filters.taps && std::is_sorted(taps.begin(), taps.end());
      const TileShape& s = part.shape;
      tasks_ += groups * s.blocking.planes.blocks * s.filter_blocks;
      packed_elements_ += groups * s.packed_elements();
      Carver measure;
      carve_scratch(&measure, s);
      scratch_ = std::max(scratch_, measure.used());
      work_ += kNsPerFlop * static_cast<double>(part.gather.pixels() * s.channels * s.taps) *
               static_cast<double>(groups * s.lines);
      parts_.push_back(std::move(part));
    }
    // A tile's products take about a quarter of the time of as many multiply-adds elsewhere.
    if (tasks_ > 0)
      form_ = plan_form(machine, form_layout(filters), packed_bytes(),
                        0.25 * static_cast<double>(parts_[0].gather.pixels()));
  }

  void bind(void* source, void* result) override {
    for (TilePart& part : parts_) part.gather.bind(source, result);
  }

  void run(const FilterView& filters, const Epilogue& epilogue) override {
    if (tasks_ == 0) return;
    const int64_t images = parts_[0].gather.source.batch;
    std::vector<std::atomic<std::uint32_t>> largest(static_cast<std::size_t>(images));
    const bool multiplied = multiply_tiles(filters, epilogue, largest.data());
    for (int64_t n = 0; n < images; ++n)
      if (!multiplied || !splits_well(largest[static_cast<std::size_t>(n)].load()))
        multiply_pixels(n, filters, epilogue);
  }

  int64_t workspace_bytes() const override { return packed_bytes() + machine_.threads * scratch_; }
  std::vector<Figure> figures() const override {
    if (parts_.empty()) return {};
    const TileShape& s = parts_[0].shape;
    return {{"parts", s.parts},
            {"chain", s.blocking.chain},
            {"positions", s.blocking.planes.positions},
            {"filters", s.blocking.filters}};
  }

 private:
  // All that pack_tile_filters looks at.
  FormLayout form_layout(const FilterView& filters) const {
    std::vector<int64_t> numbers;
    for (const TilePart& part : parts_) {
      const TileShape& s = part.shape;
      const std::vector<int64_t>& taps = part.gather.kernel_tap;
      numbers.insert(numbers.end(), {part.first_element, s.parts, s.checked, s.channels, s.taps, s.lines,
                                     s.blocking.gathered});
      for (const StepChain& chain : s.chains) numbers.insert(numbers.end(), {chain.first, chain.steps});
      numbers.insert(numbers.end(), taps.begin(), taps.end());
    }
    return {filters, by_channel_, groups_, std::move(numbers)};
  }

  int64_t packed_bytes() const { return packed_elements_ * static_cast<int64_t>(sizeof(BFloat16)); }

  // False, with nothing written, where the filters do not split well.
  bool multiply_tiles(const FilterView& filters, const Epilogue& epilogue,
                      std::atomic<std::uint32_t>* largest) const {
    const auto pack = [&](void* packed) {
      std::uint32_t largest_filter = 0;
      for (const TilePart& part : parts_)
        largest_filter =
            std::max(largest_filter, pack_tile_filters(machine_, part, filters, by_channel_, groups_,
                                                       static_cast<BFloat16*>(packed) + part.first_element));
      return splits_well(largest_filter);
    };
    const FilterForm form = form_of(machine_, form_, filters, pack);
    if (!form) return false;
    const BFloat16* packed = form->as<BFloat16>();
    const Buffer scratch(machine_.threads * scratch_);
    const int64_t channels = by_channel_ ? groups_ * filters.channels : filters.filters;
    const WideBias<float> bias(*machine_.table, epilogue, filters.dtype, channels);
    parallel_for(tasks_, work_, machine_.threads, [&](int64_t task, int worker) {
      static thread_local TaskLists lists;
      const auto after = std::upper_bound(parts_.begin(), parts_.end(), task,
                                          [](int64_t t, const TilePart& p) { return t < p.first_task; });
      const TilePart& part = *(after - 1);
      Carver carver(scratch.as<char>() + worker * scratch_);
      TileTask(machine_, part, packed + part.first_element, epilogue, bias.data,
               carve_scratch(&carver, part.shape), &lists, largest, task - part.first_task)
          .run();
    });
    return true;
  }

  // One image by itself, as the other tables do it.
  void multiply_pixels(int64_t image, const FilterView& filters, const Epilogue& epilogue) const {
    std::vector<PixelGather> one;
    for (const TilePart& part : parts_) {
      one.push_back(part.gather);
      for (ImageView* v : {&one.back().source, &one.back().result}) {
        v->batch = 1;
        v->data = element(v->data, v->dtype, image * v->batch_stride);
      }
    }
    pixel_product(machine_, std::move(one), filters, by_channel_, groups_)->run(filters, epilogue);
  }

  const Machine machine_;
  const bool by_channel_;
  const int64_t groups_;
  std::vector<TilePart> parts_;
  int64_t packed_elements_ = 0, tasks_ = 0, scratch_ = 0;
  double work_ = 0;
  FormPlan form_;
};

}  // namespace

int tile_parts(Dtype dtype, Precision precision) {
  if (dtype == Dtype::bfloat16 || precision == Precision::medium) return 1;
  return dtype == Dtype::float16 || precision == Precision::high ? 2 : 3;
}

std::unique_ptr<Product> tile_product(const Machine& machine, Precision precision,
                                      std::vector<PixelGather> gathers, const FilterView& filters,
                                      bool by_channel, int64_t groups) {
  return std::make_unique<TileProduct>(machine, precision, std::move(gathers), filters, by_channel, groups);
}

}  // namespace fastconv::cpu
