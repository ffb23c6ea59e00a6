#include "cpu/depthwise_lanes.h"

#include <algorithm>

#include "core/integers.h"
#include "cpu/packed_product.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerTap = 0.1;
constexpr int64_t kMostTogether = 16;
constexpr int64_t kLongestChain = 64;  // products that are added up in float32 before they go into a double
constexpr int64_t kLeastShare = 4;     // lanes for each channel at most, those at the end counted

// Whether rows (cpu/depthwise_rows.h) serve rows of pixels better than turning channels over: long ones. With
// strides more of them is read or written for each sum; with many taps a gradient's partial sums are added up
// more often.
bool has_long_rows(const std::vector<PixelGather>& gathers) {
  const PixelGather& g = gathers[0];
  const bool strided = gathers.size() > 1 || g.axis[2].step > 1;
  return !channels_adjacent(g.source) && g.axis[2].positions >= (strided || g.taps() > 16 ? 40 : 24);
}

template <class T>
struct Scratch {
  T *planes, *sums;
  T* taps;  // correlate: partial sums of the parts of a task
};
template <class T>
Scratch<T> carve_scratch(Carver* carver, const LanesPlan& plan) {
  const int64_t positions = plan.rows * plan.result.size[2], width = plan.width;
  Scratch<T> s;
  s.planes = carver->take<T>(plan.plane_elements());
  s.sums = carver->take<T>(positions * width);
  s.taps = carver->take<T>(plan.together * plan.phases[0].gather.taps() * width);
  return s;
}

// What a task works on: rows of one image, in planes.
template <class T>
class LanesBlock {
 public:
  LanesBlock(const Machine& machine, const LanesPlan& plan, T* planes)
      : table_(*machine.table), p_(plan), planes_(planes) {}

  void move_to(int64_t block) {
    const int64_t step = p_.phases[0].gather.axis[1].step, depths = p_.phases[0].gather.axis[0].positions;
    const int64_t row = block % p_.row_blocks * p_.rows, outer = block / p_.row_blocks;
    const int64_t image = outer / depths, depth = outer % depths;
    rows_ = std::min(p_.rows, p_.result.size[1] - row);
    const int64_t lines = std::min((rows_ - 1) * step + 1, p_.read.axis[1].positions - row * step);
    segments_ = {{image, {depth, row * step, 0}, lines, p_.planes.columns, 0}};
    result_ = image * p_.result.batch_stride + depth * p_.result.stride[0] + row * p_.result.stride[1];
    packed_ = false;
    if (p_.turns) find_lines();
  }

  void pack(int64_t channel) {
    const int64_t real = std::min<int64_t>(p_.width, p_.result.channels - channel);
    if (p_.turns) {
      turn(channel, static_cast<int>(real));
    } else {
      const Zeroed zeroed = packed_ ? Zeroed::all : Zeroed::nothing;
      pack_planes(table_, p_.read, p_.planes, segments_, channel, real, {p_.width, zeroed}, planes_);
    }
    packed_ = true;
  }

  int64_t rows() const { return rows_; }
  int64_t result() const { return result_; }  // address of its first pixel
  // Rows of a phase: all of an image's, where there are several.
  int64_t rows(const LanesPhase& phase) const {
    return p_.phases.size() > 1 ? phase.gather.axis[1].positions : rows_;
  }
  // Taps of positions [column, column + count) of a phase's rows.
  DepthwiseLanes positions(const LanesPhase& phase, int64_t row, int64_t rows, int64_t column,
                           int64_t count) const {
    const AxisGather* axis = phase.gather.axis;
    DepthwiseLanes d{};
    d.tap_offset = phase.tap_offset.data();
    d.taps = phase.gather.taps();
    d.chain = short_chain(d.taps, d.taps);
    d.count = count;
    d.step = axis[2].step * p_.width;
    d.rows = rows;
    d.row_step = axis[1].step * p_.planes.width() * p_.width;
    d.source = planes_ + row * d.row_step + column * d.step;
    return d;
  }

 private:
  const TapMap& rows_read() const { return p_.planes.axis[1].copies[0]; }
  const TapMap& columns_read() const { return p_.planes.axis[2].copies[0]; }

  // The source's rows within the block; they are one line where they follow each other.
  void find_lines() {
    const ImageView& s = p_.read.source;
    const PixelSegment& block = segments_[0];
    const int64_t begin = block.position[1], end = begin + block.rows + p_.planes.axis[1].halo;
    const int64_t first = std::clamp(rows_read().low, begin, end),
                  rows = std::clamp(rows_read().high, first, end) - first;
    const int64_t columns = columns_read().high - columns_read().low;
    const int64_t together = s.stride[1] == columns ? rows : std::min<int64_t>(rows, 1);
    first_line_ = first + rows_read().offset;
    lines_ = together ? rows / together : 0;
    offsets_.clear();
    for (int64_t row = 0; row < together; ++row)
      for (int64_t j = 0; j < columns; ++j)
        offsets_.push_back(((first - begin + row) * p_.planes.width() + columns_read().low + j) * p_.width);
  }

  // Channels that lie in lines of contiguous pixels.
  void turn(int64_t channel, int real) {
    const ImageView& s = p_.read.source;
    const PixelSegment& block = segments_[0];
    if (!packed_) std::fill(planes_, planes_ + p_.plane_elements(), T(0));
    T* dst = planes_;
    for (const TapMap& tap : p_.planes.axis[0].copies) {
      const int64_t depth = block.position[0];
      const int64_t from = block.image * s.batch_stride + channel * s.channel_stride +
                           (depth * p_.read.axis[0].step + tap.offset) * s.stride[0] +
                           first_line_ * s.stride[1] + columns_read().low + columns_read().offset;
      if (tap.low <= depth && depth < tap.high)
        for (int64_t line = 0; line < lines_; ++line)
          table_.copy_turned[static_cast<int>(s.dtype)](
              {element(s.data, s.dtype, from + line * s.stride[1]), s.channel_stride, real,
               static_cast<int64_t>(offsets_.size()), dst + line * p_.planes.width() * p_.width,
               offsets_.data()});
      dst += p_.planes.elements * p_.width;
    }
  }

  const KernelTable& table_;
  const LanesPlan& p_;
  T* planes_;
  int64_t rows_ = 0, result_ = 0;
  bool packed_ = false;
  std::vector<PixelSegment> segments_;
  int64_t first_line_ = 0, lines_ = 0;  // rows of the source
  std::vector<int64_t> offsets_;        // of a line's elements in the planes
};

// weights[part][phase][tap of its gather][width]
template <class T>
Buffer pack_weights(const Machine& machine, const LanesPlan& plan, const FilterView& w) {
  const int64_t width = plan.width, parts = ceil_div(w.filters, width);
  Buffer packed(parts * plan.taps() * width * static_cast<int64_t>(sizeof(T)));
  const Buffer natural(w.taps * width * static_cast<int64_t>(sizeof(T)));
  T* to = packed.template as<T>();
  for (int64_t first = 0; first < w.filters; first += width) {
    machine.table->copy_block[static_cast<int>(w.dtype)]({element(w.data, w.dtype, first * w.taps), w.taps, 1,
                                                          natural.data(), 1, width,
                                                          std::min(width, w.filters - first), w.taps, false});
    for (const LanesPhase& p : plan.phases)
      for (const int64_t tap : p.gather.kernel_tap)
        to = std::copy_n(natural.template as<T>() + tap * width, width, to);
  }
  return packed;
}

// Writes the sums of a block's positions, position by position where the channels lie side by side in the
// result; else turned over, all at once where its rows follow each other.
template <class T>
class LanesStore {
 public:
  LanesStore(const Machine& machine, const ImageView& result, int64_t width, int64_t rows, int64_t address)
      : table_(*machine.table), r_(result), width_(width), rows_(rows), address_(address) {
    if (r_.channel_stride == 1)
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t i = 0; i < r_.size[2]; ++i) offsets_.push_back(row * r_.stride[1] + i * r_.stride[2]);
  }

  void run(int64_t channel, const T* sums, const T* bias, Activation activation) {
    const auto real = static_cast<int>(std::min(width_, r_.channels - channel));
    const int64_t columns = r_.size[2], positions = rows_ * columns;
    const T* of_channels = bias ? bias + channel : nullptr;
    const auto out = [&](int64_t row) {
      return element(r_.data, r_.dtype, address_ + channel * r_.channel_stride + row * r_.stride[1]);
    };
    if (r_.channel_stride == 1) {
      const StorePiece piece{0, 0, 0, real};
      table_.store_block[static_cast<int>(r_.dtype)](
          {sums, positions, out(0), offsets_.data(), &piece, 1, 1, nullptr, of_channels, activation});
      return;
    }
    const bool dense = r_.stride[1] == columns * r_.stride[2];
    const int64_t rows = dense ? rows_ : 1;  // at a time
    for (int64_t row = 0; row < rows_; row += rows)
      table_.store_turned[static_cast<int>(r_.dtype)]({sums + row * columns * width_, rows * columns, real,
                                                       out(row), r_.stride[2], r_.channel_stride, of_channels,
                                                       activation});
  }

 private:
  const KernelTable& table_;
  const ImageView& r_;
  const int64_t width_, rows_, address_;
  std::vector<int64_t> offsets_;
};

// The weight gradient's sums over blocks for some parts, added in float32 for kLongestChain positions at most
// and then in double: total(part)[tap][width].
template <class T>
class LanesSums {
 public:
  LanesSums(const Machine& machine, const LanesPlan& plan, const Scratch<T>& scratch, int64_t first_part,
            int64_t parts, double* totals, int64_t total_stride)
      : table_(*machine.table),
        p_(plan),
        dy_(plan.result),
        s_(scratch),
        first_(first_part),
        parts_(parts),
        sums_(plan.taps() * plan.width),
        totals_(totals),
        total_stride_(total_stride),
        block_(machine, plan, scratch.planes) {
    for (int64_t i = 0; i < plan.rows * dy_.size[2]; ++i) offsets_.push_back(i * plan.width);
    std::fill(s_.taps, s_.taps + parts_ * sums_, T(0));
    for (int64_t part = 0; part < parts_; ++part)
      std::fill(totals_ + part * total_stride_, totals_ + part * total_stride_ + sums_, 0.0);
  }

  void add(int64_t block) {
    block_.move_to(block);
    const int64_t before = chain_;
    for (int64_t part = 0; part < parts_; ++part) {
      chain_ = before;
      add_part(part);
    }
  }
  void finish() {
    for (int64_t part = 0; part < parts_; ++part) flush(part);
  }

 private:
  void add_part(int64_t part) {
    const int64_t channel = (first_ + part) * p_.width, columns = dy_.size[2], rows = block_.rows();
    block_.pack(channel);
    read_values(channel);
    const int64_t most_rows = std::max<int64_t>(1, kLongestChain / columns);
    for (int64_t row = 0; row < rows; row += most_rows)
      for (int64_t column = 0; column < columns; column += kLongestChain) {
        const int64_t height = std::min(rows - row, most_rows),
                      width = std::min(columns - column, kLongestChain);
        if (chain_ + height * width > kLongestChain) flush(part);
        DepthwiseLanes d = block_.positions(p_.phases[0], row, height, column, width);
        d.values = s_.sums + (row * columns + column) * p_.width;
        d.out_step = p_.width;
        d.out_row_step = columns * p_.width;
        d.out = s_.taps + part * sums_;
        table_.depthwise[sizeof(T) == 8].correlate_lanes(d);
        chain_ += height * width;
      }
  }

  // dy's pixels of the block, all at once where its rows follow each other.
  void read_values(int64_t channel) {
    const int64_t columns = dy_.size[2], rows = block_.rows(), step = dy_.stride[2];
    const bool dense = dy_.stride[1] == columns * step;
    const int64_t runs = dense ? 1 : rows, length = dense ? rows * columns : columns;
    const int64_t real = std::min(p_.width, dy_.channels - channel);
    for (int64_t run = 0; run < runs; ++run) {
      const void* from =
          element(dy_.data, dy_.dtype, block_.result() + run * dy_.stride[1] + channel * dy_.channel_stride);
      T* to = s_.sums + run * columns * p_.width;
      if (step == 1) {
        table_.copy_turned[static_cast<int>(dy_.dtype)](
            {from, dy_.channel_stride, static_cast<int>(real), length, to, offsets_.data()});
      } else {
        table_.copy_block[static_cast<int>(dy_.dtype)](
            {from, step, dy_.channel_stride, to, p_.width, 1, length, real, false});
      }
    }
  }

  void flush(int64_t part) {
    T* sums = s_.taps + part * sums_;
    double* total = totals_ + part * total_stride_;
    for (int64_t i = 0; i < sums_; ++i) total[i] += static_cast<double>(sums[i]);
    std::fill(sums, sums + sums_, T(0));
    chain_ = 0;
  }

  const KernelTable& table_;
  const LanesPlan& p_;
  const ImageView& dy_;
  const Scratch<T> s_;
  const int64_t first_, parts_, sums_;
  double* totals_;
  const int64_t total_stride_;
  LanesBlock<T> block_;
  std::vector<int64_t> offsets_;  // of dy's pixels
  int64_t chain_ = 0;
};

double work_ns(const LanesPlan& plan) {
  const ImageView& r = plan.result;
  const double per_pixel = static_cast<double>(plan.taps()) / static_cast<double>(plan.phases.size());
  return static_cast<double>(r.batch * r.channels * product(r.size)) *
         (kNsPerElement + kNsPerTap * per_pixel);
}

// Where a phase's positions lie among the result's own; false unless the result is one dense image.
bool place_phase(const ImageView& result, LanesPhase* p) {
  const ImageView& part = p->gather.result;
  int64_t rest = p->gather.first_result;
  for (int a = 1; a < kAxes; ++a) {
    if (result.stride[a] <= 0 || part.stride[a] % result.stride[a]) return false;
    p->first[a] = rest / result.stride[a];
    p->step[a] = part.stride[a] / result.stride[a];
    rest %= result.stride[a];
  }
  return rest == 0;
}

// The lines that all phases read, in planes; false where there are none.
bool read_planes(const std::vector<PixelGather>& gathers, LanesPlan* plan) {
  PlaneLayout& planes = plan->planes;
  plan->read = gathers[0];
  planes.axis[0].copies = gathers[0].axis[0].taps;
  for (std::size_t t = 0; t < planes.axis[0].copies.size(); ++t)
    planes.axis[0].taps.push_back({static_cast<int64_t>(t), 0});
  for (int a = 1; a < kAxes; ++a) {
    plan->read.axis[a] = {};
    if (!read_as_line(gathers, a, &plan->read.axis[a], &planes.axis[a])) return false;
  }
  planes.columns = plan->read.axis[2].positions;
  plan->turns = plan->read.source.stride[2] == 1;
  for (const AxisCopies& axis : planes.axis)
    for (const TapMap& copy : axis.copies) plan->turns = plan->turns && copy.extra.empty();
  return true;
}

// Rows of a block, so that its planes take half of L2; false where not one fits.
bool size_blocks(const Machine& machine, int64_t element_bytes, LanesPlan* plan) {
  const AxisGather& axis = plan->phases[0].gather.axis[1];
  PlaneLayout& planes = plan->planes;
  const int64_t halo = planes.axis[1].halo, row_elements = planes.copies() * planes.width() * plan->width;
  const int64_t room = machine.caches.l2 / 2 / element_bytes / row_elements - halo;
  if (plan->phases.size() > 1) {  // phases are put together in whole images
    if (room < plan->read.axis[1].positions) return false;
    plan->rows = plan->result.size[1];
    plan->row_blocks = 1;
    planes.rows = plan->read.axis[1].positions;
  } else {
    if (room < 1) return false;
    plan->rows = even_part(axis.positions, room / axis.step);
    plan->row_blocks = ceil_div(axis.positions, plan->rows);
    planes.rows = (plan->rows - 1) * axis.step + 1;
  }
  planes.elements = (planes.rows + halo) * planes.width();
  return true;
}

// Where each phase's taps start in the planes, the taps of each axis being numbered through all phases.
void place_taps(LanesPlan* plan) {
  const PlaneLayout& planes = plan->planes;
  std::size_t first[kAxes] = {0, 0, 0};
  for (LanesPhase& p : plan->phases) {
    const AxisGather* axis = p.gather.axis;
    for (const AxisCopies::Place& p0 : planes.axis[0].taps)
      for (std::size_t t1 = 0; t1 < axis[1].taps.size(); ++t1)
        for (std::size_t t2 = 0; t2 < axis[2].taps.size(); ++t2)
          p.tap_offset.push_back((p0.copy * planes.elements +
                                  planes.axis[1].taps[first[1] + t1].shift * planes.width() +
                                  planes.axis[2].taps[first[2] + t2].shift) *
                                 plan->width);
    for (int a = 1; a < kAxes; ++a) first[a] += axis[a].taps.size();
  }
}

}  // namespace

std::optional<LanesPlan> plan_lanes(const Machine& machine, const std::vector<PixelGather>& gathers,
                                    const ImageView& result, int64_t multiplier) {
  if (multiplier != 1 || gathers.empty() || has_long_rows(gathers) || !seen_alike(gathers))
    return std::nullopt;
  const bool wide = compute_dtype(result.dtype) == Dtype::float64;
  LanesPlan plan;
  plan.width = machine.table->gemm[wide].nr;
  if (kLeastShare * result.channels < round_up(result.channels, plan.width)) return std::nullopt;
  plan.result = gathers.size() > 1 ? result : gathers[0].result;
  for (const PixelGather& g : gathers) {
    if (g.taps() == 0) return std::nullopt;
    plan.phases.push_back({g, {}});
    if (gathers.size() > 1 && (result.size[0] > 1 || !place_phase(result, &plan.phases.back())))
      return std::nullopt;
  }
  if (gathers.size() == 1)
    for (int a = 0; a < kAxes; ++a) plan.result.size[a] = gathers[0].axis[a].positions;
  if (!read_planes(gathers, &plan) || !size_blocks(machine, wide ? 8 : 4, &plan)) return std::nullopt;
  place_taps(&plan);
  plan.together = std::clamp<int64_t>(machine.caches.l2 / 8 / (plan.taps() * plan.width * (wide ? 8 : 4)), 1,
                                      kMostTogether);
  plan.blocks = result.batch * gathers[0].axis[0].positions * plan.row_blocks;
  return plan;
}

void LanesPlan::bind(void* source_data, void* result_data) {
  for (LanesPhase& phase : phases) phase.gather.bind(source_data, result_data);
  read.source.data = source_data;
  result.data = phases.size() > 1 ? result_data : phases[0].gather.result.data;
}

int64_t workspace_bytes(const Machine& machine, const LanesPlan& plan) {
  Carver measure;
  if (compute_dtype(plan.result.dtype) == Dtype::float64) {
    carve_scratch<double>(&measure, plan);
  } else {
    carve_scratch<float>(&measure, plan);
  }
  return machine.threads * measure.used();
}

template <class T>
void filter_lanes(const Machine& machine, const LanesPlan& plan, const FilterView& w,
                  const Epilogue& epilogue) {
  const DepthwiseKernels& kernels = machine.table->depthwise[sizeof(T) == 8];
  const int64_t width = plan.width, columns = plan.result.size[2];
  const int64_t channels = plan.result.channels, parts = ceil_div(channels, width);
  const int64_t scratch = workspace_bytes(machine, plan) / machine.threads;
  const Buffer workspace(scratch * machine.threads), weights = pack_weights<T>(machine, plan, w);
  const WideBias<T> bias(*machine.table, epilogue, w.dtype, channels);
  int64_t reached = 0;  // rows x columns of an image
  for (const LanesPhase& p : plan.phases) reached += p.gather.axis[1].positions * p.gather.axis[2].positions;
  const bool untouched = reached < plan.result.size[1] * columns;
  // A task takes several channels of one block, as long as there is work for every thread.
  const int64_t together =
      parts_of_task(plan.blocks * parts, machine.threads, std::min(parts, plan.together));
  const int64_t tasks = ceil_div(parts, together);
  parallel_for(plan.blocks * tasks, work_ns(plan), machine.threads, [&](int64_t task, int worker) {
    Carver carver(workspace.as<char>() + worker * scratch);
    const Scratch<T> s = carve_scratch<T>(&carver, plan);
    LanesBlock<T> block(machine, plan, s.planes);
    block.move_to(task / tasks);
    LanesStore<T> store(machine, plan.result, width, block.rows(), block.result());
    if (untouched) std::fill(s.sums, s.sums + plan.rows * columns * width, T(0));
    const int64_t first = task % tasks * together, end = std::min(first + together, parts);
    for (int64_t part = first; part < end; ++part) {
      block.pack(part * width);
      const T* of_phase = weights.as<T>() + part * plan.taps() * width;
      for (const LanesPhase& p : plan.phases) {
        DepthwiseLanes image = block.positions(p, 0, block.rows(p), 0, p.gather.axis[2].positions);
        image.weights = of_phase;
        image.out = s.sums + (p.first[1] * columns + p.first[2]) * width;
        image.out_step = p.step[2] * width;
        image.out_row_step = p.step[1] * columns * width;
        kernels.filter_lanes(image);
        of_phase += p.gather.taps() * width;
      }
      store.run(part * width, s.sums, bias.data, epilogue.activation);
    }
  });
}

template <class T>
void correlate_lanes(const Machine& machine, const LanesPlan& plan, int64_t slices, double* totals) {
  const ImageView& dy = plan.result;
  const int64_t parts = ceil_div(dy.channels, plan.width);
  const int64_t scratch = workspace_bytes(machine, plan) / machine.threads;
  const Buffer workspace(scratch * machine.threads);
  const int64_t together = parts_of_task(parts * slices, machine.threads, plan.together);
  const int64_t tasks = ceil_div(parts, together), stride = slices * plan.taps() * plan.width;
  parallel_for(slices * tasks, work_ns(plan), machine.threads, [&](int64_t task, int worker) {
    Carver carver(workspace.as<char>() + worker * scratch);
    const int64_t slice = task % slices, first = task / slices * together;
    LanesSums<T> sums(machine, plan, carve_scratch<T>(&carver, plan), first,
                      std::min(together, parts - first),
                      totals + first * stride + slice * plan.taps() * plan.width, stride);
    for (int64_t i = plan.blocks * slice / slices; i < plan.blocks * (slice + 1) / slices; ++i) sums.add(i);
    sums.finish();
  });
}

template void filter_lanes<float>(const Machine&, const LanesPlan&, const FilterView&, const Epilogue&);
template void filter_lanes<double>(const Machine&, const LanesPlan&, const FilterView&, const Epilogue&);
template void correlate_lanes<float>(const Machine&, const LanesPlan&, int64_t, double*);
template void correlate_lanes<double>(const Machine&, const LanesPlan&, int64_t, double*);

}  // namespace fastconv::cpu
