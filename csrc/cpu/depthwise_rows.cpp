#include "cpu/depthwise_rows.h"

#include <algorithm>

#include "core/integers.h"
#include "cpu/packed_product.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr int kRowAxis = kAxes - 2, kColumnAxis = kAxes - 1;
constexpr double kNsPerTap = 0.1;
constexpr int64_t kMostTogether = 64;
constexpr int64_t kLine = 16;           // elements: rows of a plane begin on cache lines
constexpr int64_t kLongestChain = 128;  // products that are added up in float32 before they go into a double

// The taps of the row axis as runs of up to kTapsBelow whose shifts are row_step apart.
using TapRun = std::vector<std::size_t>;
std::vector<TapRun> runs_down(const std::vector<AxisCopies::Place>& places, int64_t row_step) {
  std::vector<std::size_t> left(places.size());
  for (std::size_t t = 0; t < left.size(); ++t) left[t] = t;
  std::sort(left.begin(), left.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(places[a].copy, places[a].shift) < std::pair(places[b].copy, places[b].shift);
  });
  std::vector<TapRun> runs;
  while (!left.empty()) {
    TapRun run;
    for (auto t = left.begin(); t != left.end() && run.size() < kTapsBelow;) {
      const bool follows = run.empty() || (places[*t].copy == places[run.back()].copy &&
                                           places[*t].shift == places[run.back()].shift + row_step);
      if (follows) run.push_back(*t);
      t = follows ? left.erase(t) : t + 1;
    }
    runs.push_back(std::move(run));
  }
  return runs;
}

// The taps of `gather`, whose places within each axis begin with `first`.
RowsPhase list_columns(const RowsPlan& plan, const PixelGather& gather, const std::size_t (&first)[kAxes]) {
  const PlaneLayout& planes = plan.planes;
  const auto places = [&](int a) {
    const auto begin = planes.axis[a].taps.begin() + static_cast<std::ptrdiff_t>(first[a]);
    return std::vector<AxisCopies::Place>(begin,
                                          begin + static_cast<std::ptrdiff_t>(gather.axis[a].taps.size()));
  };
  const std::vector<AxisCopies::Place> depths = places(0), downs = places(kRowAxis),
                                       across = places(kColumnAxis);
  const auto copies = [&](int a) { return static_cast<int64_t>(planes.axis[a].copies.size()); };
  const std::vector<TapRun> runs = runs_down(downs, plan.row_step);
  const int64_t chain = short_chain(gather.taps(), gather.taps());
  RowsPhase phase;
  int64_t terms = 0;
  for (std::size_t t0 = 0; t0 < depths.size(); ++t0)
    for (const TapRun& run : runs)
      for (std::size_t t2 = 0; t2 < across.size(); ++t2) {
        const AxisCopies::Place& down = downs[run[0]];
        const int64_t copy =
            (depths[t0].copy * copies(kRowAxis) + down.copy) * copies(kColumnAxis) + across[t2].copy;
        const int taps = static_cast<int>(run.size());
        const bool full = terms > 0 && terms + taps > chain;
        if (full) phase.columns.back().ends_chain = true;
        terms = full ? taps : terms + taps;
        if (full || phase.columns.empty() || phase.columns.back().taps != taps)
          phase.columns.push_back({0, taps, false});
        ++phase.columns.back().count;
        phase.offsets.push_back(copy * planes.elements + down.shift * planes.width() + across[t2].shift);
        for (const std::size_t t1 : run)
          phase.kernel_tap.push_back(gather.kernel_tap[(t0 * downs.size() + t1) * across.size() + t2]);
      }
  return phase;
}

bool same_taps(const AxisGather& a, const AxisGather& b) {
  return a.positions == b.positions && a.step == b.step && a.taps == b.taps;
}

// The copies of an axis that all gathers read, if one or a few shared ones are no longer than one for each
// tap.
bool share_axis(const std::vector<PixelGather>& gathers, int a, AxisGather* line, AxisCopies* copies) {
  const AxisGather& axis = gathers[0].axis[a];
  const int64_t size = gathers[0].source.size[a];
  *copies = {};
  const bool as_line = a == kRowAxis || gathers.size() > 1;
  if (as_line) {
    *line = {};
    if (!read_as_line(gathers, a, line, copies)) return false;
  } else {
    *line = axis;
    if (!share_copies(axis, size, copies)) return false;
  }
  const int64_t length = static_cast<int64_t>(copies->copies.size()) * (line->positions + copies->halo);
  return gathers.size() > 1 || length <= static_cast<int64_t>(axis.taps.size()) * axis.positions;
}

// The lines that the gathers read; false where they have no planes in common.
bool read_planes(const std::vector<PixelGather>& gathers, RowsPlan* plan) {
  const PixelGather& first = gathers[0];
  plan->read = first;
  plan->planes.axis[0] = copy_each_tap(first.axis[0]);
  plan->row_step = 1;
  if (!seen_alike(gathers)) return false;
  for (const PixelGather& g : gathers)
    if (!same_taps(g.axis[0], first.axis[0])) return false;
  for (const int a : {kRowAxis, kColumnAxis}) {
    if (share_axis(gathers, a, &plan->read.axis[a], &plan->planes.axis[a])) {
      if (a == kRowAxis) plan->row_step = first.axis[a].step;
    } else {
      if (gathers.size() > 1) return false;
      plan->read.axis[a] = first.axis[a];
      plan->planes.axis[a] = copy_each_tap(first.axis[a]);
    }
  }
  return true;
}

// Rows and columns of a block: what stays in L1, but more where that would be mostly halo.
void size_blocks(const Machine& machine, const std::vector<PixelGather>& gathers, int64_t element_bytes,
                 RowsPlan* plan) {
  constexpr int64_t kLeastRows = 5, kLeastColumns = 256;
  PlaneLayout& planes = plan->planes;
  int64_t rows = 1, columns = 1;
  for (const PixelGather& g : gathers) {
    rows = std::max(rows, g.axis[kRowAxis].positions);
    columns = std::max(columns, g.axis[kColumnAxis].positions);
  }
  const int64_t copies = planes.copies(), row_halo = planes.axis[kRowAxis].halo,
                column_halo = planes.axis[kColumnAxis].halo;
  const int64_t near = machine.caches.l1 / 2 / element_bytes / copies,
                far = machine.caches.l2 / 4 / element_bytes / copies;
  const int64_t least_lines = (std::min(rows, kLeastRows) - 1) * plan->row_step + 1 + row_halo;
  plan->columns = columns;
  if (least_lines * (columns + column_halo) > far)
    plan->columns = std::min(
        columns,
        round_up(even_part(columns, std::max(far / least_lines - column_halo, kLeastColumns)), kLine));
  plan->row_pieces = ceil_div(columns, plan->columns);
  planes.columns =
      round_up(std::max<int64_t>(plan->columns, plan->vector) + column_halo, kLine) - column_halo;
  const auto fit = [&](int64_t elements) {
    return (elements / planes.width() - row_halo - 1) / plan->row_step + 1;
  };
  plan->rows = even_part(rows, std::max({fit(near), std::min(fit(far), 2 * row_halo / plan->row_step),
                                         std::min(rows, kLeastRows)}));
  plan->row_blocks = ceil_div(rows, plan->rows);
  planes.rows = (plan->rows - 1) * plan->row_step + 1;
  // A line more, for vectors that are read whole; an odd number of cache lines.
  planes.elements = (ceil_div((planes.rows + row_halo) * planes.width() + plan->vector, kLine) | 1) * kLine;
  plan->blocks = gathers[0].axis[0].positions * plan->row_blocks * plan->row_pieces;
}

// Whether the positions of b follow those of a one by one.
bool take_turns(const PixelGather& a, const PixelGather& b) {
  return a.result.stride[kColumnAxis] == 2 && b.first_result == a.first_result + 1 &&
         same_taps(a.axis[kRowAxis], b.axis[kRowAxis]) &&
         a.axis[kColumnAxis].positions - b.axis[kColumnAxis].positions <= 1 &&
         b.axis[kColumnAxis].positions <= a.axis[kColumnAxis].positions;
}

bool plan_together(const Machine& machine, const std::vector<PixelGather>& gathers, Dtype storage,
                   RowsPlan* plan) {
  const bool wide = compute_dtype(storage) == Dtype::float64;
  plan->vector = machine.table->depthwise[wide].lanes;
  if (!read_planes(gathers, plan)) return false;
  size_blocks(machine, gathers, wide ? 8 : 4, plan);
  std::size_t first[kAxes] = {0, 0, 0};
  int64_t weights = 0;
  for (const PixelGather& g : gathers) {
    RowsPhase phase = list_columns(*plan, g, first);
    phase.first_weight = weights;
    weights += g.taps();
    for (const int a : {kRowAxis, kColumnAxis}) first[a] += g.axis[a].taps.size();
    if (!plan->parts.empty() && plan->parts.back().phases.size() == 1 &&
        take_turns(plan->parts.back().gather, g)) {
      plan->parts.back().phases.push_back(std::move(phase));
      plan->parts.back().width += g.axis[kColumnAxis].positions;
    } else {
      plan->parts.push_back({g, {}, g.axis[kColumnAxis].positions});
      plan->parts.back().phases.push_back(std::move(phase));
    }
  }
  return true;
}

template <class T>
constexpr Dtype kComputeDtype = sizeof(T) == 8 ? Dtype::float64 : Dtype::float32;

template <class T>
struct Scratch {
  T *planes, *sums[2];  // of a block: those of several filters go from one to the other
  T *natural, *weights;
  T* products;  // of each tap
  double* totals;
};
template <class T>
Scratch<T> carve_scratch(Carver* carver, const RowsPlan& p, int64_t kernel_taps) {
  Scratch<T> s;
  s.planes = carver->take<T>(p.planes.copies() * p.planes.elements);
  for (T*& sums : s.sums) sums = carver->take<T>(p.rows * p.sum_pitch() + p.vector);
  s.natural = carver->take<T>(kernel_taps);
  s.weights = carver->take<T>(kernel_taps);
  s.products = carver->take<T>(p.most_taps() * p.vector);
  s.totals = carver->take<double>(p.most_taps() * p.vector);
  return s;
}

// What is worked on at a time: a block of rows of one channel, in planes.
template <class T>
class RowsBlock {
 public:
  RowsBlock(const Machine& machine, const RowsPlan& plan, T* planes)
      : table_(*machine.table),
        p_(plan),
        planes_(planes),
        zeroed_(plan.row_pieces == 1 ? Zeroed::beside_rows : Zeroed::nothing),
        segments_(1) {
    std::fill(planes_, planes_ + plan.planes.copies() * plan.planes.elements, T(0));
  }

  void move_to(int64_t image, int64_t block) {
    const int64_t piece = block % p_.row_pieces, band = block / p_.row_pieces % p_.row_blocks;
    image_ = image;
    depth_ = block / p_.row_pieces / p_.row_blocks;
    row_ = band * p_.rows;
    column_ = piece * p_.columns;
    const int64_t line = row_ * p_.row_step;
    const int64_t lines = std::min(p_.planes.rows, p_.read.axis[kRowAxis].positions - line);
    segments_[0] = {image_, {depth_, line, column_}, lines, p_.planes.columns, 0};
  }

  void pack(int64_t channel) {
    pack_planes(table_, p_.read, p_.planes, segments_, channel, 1, {0, zeroed_}, planes_);
  }

  // The block's positions of a part; rows and columns may be none.
  DepthwiseRows rows_of(const RowsPart& part) const {
    const AxisGather *down = &part.gather.axis[kRowAxis], *across = &part.gather.axis[kColumnAxis];
    return {planes_, p_.row_step * p_.planes.width(), std::clamp<int64_t>(down->positions - row_, 0, p_.rows),
            std::clamp<int64_t>(across->positions - column_, 0, p_.columns)};
  }
  // Elements of a row of the result, and the address of the first one in it.
  int64_t width_of(const RowsPart& part) const {
    const auto phases = static_cast<int64_t>(part.phases.size());
    return std::clamp<int64_t>(part.width - column_ * phases, 0, p_.columns * phases);
  }
  int64_t address_in(const RowsPart& part) const {
    const ImageView& r = part.gather.result;
    return image_ * r.batch_stride + depth_ * r.stride[0] + row_ * r.stride[kRowAxis] +
           column_ * r.stride[kColumnAxis];
  }

 private:
  const KernelTable& table_;
  const RowsPlan& p_;
  T* planes_;
  const Zeroed zeroed_;
  int64_t image_ = 0, depth_ = 0, row_ = 0, column_ = 0;
  std::vector<PixelSegment> segments_;
};

// A filter's weights in the order of each phase's columns.
template <class T>
void read_weights(const KernelTable& table, const RowsPlan& plan, const FilterView& w, int64_t filter,
                  const Scratch<T>& s) {
  table.copy_block[static_cast<int>(w.dtype)](
      {element(w.data, w.dtype, filter * w.taps), 0, 1, s.natural, 0, 1, 1, w.taps, false});
  T* to = s.weights;
  for (const RowsPart& part : plan.parts)
    for (const RowsPhase& phase : part.phases)
      for (const int64_t tap : phase.kernel_tap) *to++ = s.natural[tap];
}

// Writes the sums of a block's rows where elements are no neighbours in the result.
template <class T>
void store_sums(const KernelTable& table, const T* sums, int64_t pitch, int64_t rows, int64_t width,
                const ImageView& r, void* out, int64_t step, const T* bias, Activation activation) {
  const int64_t nr = table.gemm[sizeof(T) == 8].nr, at = 0;
  std::vector<StorePiece> pieces;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < width; i += nr)
      pieces.push_back({row * pitch + i, row * r.stride[kRowAxis] + i * step, 0,
                        static_cast<int>(std::min<int64_t>(nr, width - i))});
  table.store_block[static_cast<int>(r.dtype)]({sums, 1, out, &at, pieces.data(),
                                                static_cast<int64_t>(pieces.size()), step, bias, nullptr,
                                                activation});
}

double work_ns(const RowsPlan& p, int64_t filters) {
  double work = 0;
  for (const RowsPart& part : p.parts)
    for (const RowsPhase& phase : part.phases)
      work += static_cast<double>(part.gather.pixels() * filters) *
              (kNsPerElement + kNsPerTap * static_cast<double>(phase.kernel_tap.size()));
  return work;
}

}  // namespace

void RowsPlan::bind(void* source, void* result) {
  read.source.data = source;
  for (RowsPart& part : parts) part.gather.bind(source, result);
}

int64_t RowsPlan::most_taps() const {
  std::size_t most = 0;
  for (const RowsPart& part : parts)
    for (const RowsPhase& phase : part.phases) most = std::max(most, phase.kernel_tap.size());
  return static_cast<int64_t>(most);
}

int64_t RowsPlan::sum_pitch() const {
  std::size_t phases = 1;
  for (const RowsPart& part : parts) phases = std::max(phases, part.phases.size());
  return round_up(columns * static_cast<int64_t>(phases), kLine);
}

std::vector<RowsPlan> plan_rows(const Machine& machine, const std::vector<PixelGather>& gathers,
                                Dtype storage) {
  RowsPlan together;
  if (plan_together(machine, gathers, storage, &together)) return {std::move(together)};
  std::vector<RowsPlan> plans;
  for (const PixelGather& g : gathers) {
    plans.emplace_back();
    plan_together(machine, {g}, storage, &plans.back());
  }
  return plans;
}

int64_t workspace_bytes(const Machine& machine, const RowsPlan& plan, int64_t kernel_taps) {
  Carver measure;
  if (compute_dtype(plan.read.source.dtype) == Dtype::float64) {
    carve_scratch<double>(&measure, plan, kernel_taps);
  } else {
    carve_scratch<float>(&measure, plan, kernel_taps);
  }
  return machine.threads * measure.used();
}

template <class T>
void filter_rows(const Machine& machine, const RowsPlan& plan, const FilterView& w, bool by_channel,
                 const Epilogue& epilogue) {
  const KernelTable& table = *machine.table;
  const int64_t channels = plan.parts[0].gather.result.channels,
                multiplier = w.filters / (by_channel ? channels : plan.read.source.channels);
  const int64_t sources = by_channel ? multiplier : 1;  // filters that reach one channel of the result
  const int64_t scratch = workspace_bytes(machine, plan, w.taps) / machine.threads;
  const Buffer workspace(scratch * machine.threads);
  const WideBias<T> bias(table, epilogue, w.dtype, channels);
  const auto source_channel = [&](int64_t channel, int64_t source) {
    return by_channel ? channel * sources + source : channel / multiplier;
  };
  // Blocks in the order of memory: image by image, channel by channel. A task takes several, as long as there
  // is work for every thread.
  const int64_t items = plan.images() * channels * plan.blocks;
  const int64_t together = parts_of_task(items, machine.threads, kMostTogether);
  parallel_for(ceil_div(items, together), work_ns(plan, channels * sources), machine.threads,
               [&](int64_t task, int worker) {
                 Carver carver(workspace.as<char>() + worker * scratch);
                 const Scratch<T> s = carve_scratch<T>(&carver, plan, w.taps);
                 RowsBlock<T> block(machine, plan, s.planes);
                 int64_t read = -1;  // the filter whose weights are at hand
                 for (int64_t item = task * together; item < std::min((task + 1) * together, items); ++item) {
                   const int64_t channel = item / plan.blocks % channels;
                   block.move_to(item / plan.blocks / channels, item % plan.blocks);
                   for (const RowsPart& part : plan.parts) {
                     const ImageView& r = part.gather.result;
                     const bool direct = sources == 1 && part.step() == 1;
                     DepthwiseFilter f{};
                     DepthwiseTaps taps[2];
                     for (const RowsPhase& phase : part.phases) taps[f.phases++] = phase.taps(s.weights);
                     f.taps = taps;
                     f.rows = block.rows_of(part);
                     f.width = block.width_of(part);
                     void* const out =
                         element(r.data, r.dtype, block.address_in(part) + channel * r.channel_stride);
                     const T* const channel_bias = bias.data ? bias.data + channel : nullptr;
                     if (direct) {
                       f.out = out;
                       f.out_row_step = r.stride[kRowAxis];
                       f.bias = channel_bias;
                       f.activation = epilogue.activation;
                     } else {
                       f.out_row_step = plan.sum_pitch();
                     }
                     for (int64_t source = 0; source < sources; ++source) {
                       const int64_t filter = channel * sources + source;
                       if (sources > 1 || &part == plan.parts.data())
                         block.pack(source_channel(channel, source));
                       if (read != filter) read_weights(table, plan, w, filter, s);
                       read = filter;
                       if (!direct) f.out = s.sums[source % 2];
                       f.before = source > 0 ? s.sums[(source - 1) % 2] : nullptr;
                       table.filter_rows[static_cast<int>(direct ? r.dtype : kComputeDtype<T>)](f);
                     }
                     if (!direct)
                       store_sums(table, static_cast<const T*>(f.out), plan.sum_pitch(), f.rows.rows, f.width,
                                  r, out, part.step(), channel_bias, epilogue.activation);
                   }
                 }
               });
}

// totals[filter][slice][tap]
template <class T>
void correlate_rows(const Machine& machine, const RowsPlan& plan, const FilterView& dw, int64_t slices,
                    double* totals) {
  const KernelTable& table = *machine.table;
  const RowsPart& part = plan.parts[0];
  const RowsPhase& phase = part.phases[0];
  const ImageView& dy = part.gather.result;
  const int64_t multiplier = dw.filters / plan.read.source.channels, lanes = plan.vector,
                sums = static_cast<int64_t>(phase.kernel_tap.size()) * lanes;
  const int64_t scratch = workspace_bytes(machine, plan, dw.taps) / machine.threads;
  const Buffer workspace(scratch * machine.threads);
  const int64_t blocks = plan.images() * plan.blocks;
  const bool in_place = dy.dtype == kComputeDtype<T> && dy.stride[kColumnAxis] == 1;
  parallel_for(
      dw.filters * slices, work_ns(plan, dw.filters), machine.threads, [&](int64_t task, int worker) {
        const int64_t slice = task % slices, filter = task / slices;
        Carver carver(workspace.as<char>() + worker * scratch);
        const Scratch<T> s = carve_scratch<T>(&carver, plan, dw.taps);
        std::fill(s.totals, s.totals + sums, 0.0);
        std::fill(s.products, s.products + sums, T(0));
        int64_t chain = 0;
        const auto flush = [&] {
          for (int64_t i = 0; i < sums; ++i) s.totals[i] += static_cast<double>(s.products[i]);
          std::fill(s.products, s.products + sums, T(0));
          chain = 0;
        };
        RowsBlock<T> block(machine, plan, s.planes);
        for (int64_t index = blocks * slice / slices; index < blocks * (slice + 1) / slices; ++index) {
          block.move_to(index / plan.blocks, index % plan.blocks);
          block.pack(filter / multiplier);
          const DepthwiseRows all = block.rows_of(part);
          const void* from = element(dy.data, dy.dtype, block.address_in(part) + filter * dy.channel_stride);
          const int64_t pitch = in_place ? dy.stride[kRowAxis] : plan.sum_pitch();
          if (!in_place)
            table.copy_block[static_cast<int>(dy.dtype)]({from, dy.stride[kRowAxis], dy.stride[kColumnAxis],
                                                          s.sums[0], pitch, 1, all.rows, all.columns, false});
          const T* const values = in_place ? static_cast<const T*>(from) : s.sums[0];
          const int64_t vectors = ceil_div(all.columns, lanes),
                        most_rows = std::max<int64_t>(1, kLongestChain / std::max<int64_t>(1, vectors));
          for (int64_t row = 0; row < all.rows; row += most_rows)
            for (int64_t column = 0; column < all.columns; column += kLongestChain * lanes) {
              DepthwiseCorrelation c{};
              c.rows = all;
              c.rows.planes = s.planes + row * all.row_step + column;
              c.rows.rows = std::min(most_rows, all.rows - row);
              c.rows.columns = std::min(all.columns - column, kLongestChain * lanes);
              c.taps = phase.taps<T>(nullptr);
              c.values = values + row * pitch + column;
              c.value_row_step = pitch;
              c.sums = s.products;
              const int64_t products = c.rows.rows * ceil_div(c.rows.columns, lanes);
              if (chain + products > kLongestChain) flush();
              table.depthwise[sizeof(T) == 8].correlate_rows(c);
              chain += products;
            }
        }
        flush();
        double* const total = totals + task * dw.taps;
        std::fill(total, total + dw.taps, 0.0);
        for (std::size_t t = 0; t < phase.kernel_tap.size(); ++t)
          for (int64_t i = 0; i < lanes; ++i)
            total[phase.kernel_tap[t]] += s.totals[static_cast<int64_t>(t) * lanes + i];
      });
}

template void filter_rows<float>(const Machine&, const RowsPlan&, const FilterView&, bool, const Epilogue&);
template void filter_rows<double>(const Machine&, const RowsPlan&, const FilterView&, bool, const Epilogue&);
template void correlate_rows<float>(const Machine&, const RowsPlan&, const FilterView&, int64_t, double*);
template void correlate_rows<double>(const Machine&, const RowsPlan&, const FilterView&, int64_t, double*);

}  // namespace fastconv::cpu
