#include "cpu/depthwise.h"

#include <algorithm>

#include "core/buffer_pool.h"
#include "core/integers.h"
#include "cpu/line_store.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerTap = 0.15, kNsPerElement = 1.0;
constexpr int64_t kMostPositions = 4096, kTasksPerThread = 4, kMostTogether = 64;
constexpr int64_t kLongestChain =
    64;  // vectors whose products are added up in float32 before they go into a double

struct DepthwisePlan {
  bool lanes;
  int width;  // channels of a task: nr, or 1
  int vector;
  PlaneLayout planes;

  int64_t plane_elements() const { return planes.copies() * planes.elements * width; }
  int64_t sums() const { return planes.elements * width; }  // positions, and room for whole vectors
  // Of a thread: planes, sums or values, weights or partial sums of each tap, a bias.
  int64_t scratch_elements(int64_t taps) const {
    return round_up(plane_elements() + sums() + (taps + 1) * std::max(width, vector), 32);
  }
};

template <class T>
DepthwisePlan make_plan(const Machine& machine, const PixelGather& g, int64_t multiplier) {
  const GemmKernels& gemm = machine.table->gemm[sizeof(T) == 8];
  DepthwisePlan p;
  p.lanes = multiplier == 1 && channels_adjacent(g.source) && channels_adjacent(g.result);
  p.width = p.lanes ? gemm.nr : 1;
  p.vector = machine.table->depthwise[sizeof(T) == 8].lanes;
  const int64_t room = machine.caches.l2 / 4 / static_cast<int64_t>(sizeof(T)) / p.width;
  p.planes = lay_out_planes(g, gemm, 1, {std::min(room, kMostPositions), room, 1});
  return p;
}

// What a task works on: a block of pixels and the channels from `channel` on, in planes.
template <class T>
class DepthwiseBlock {
 public:
  DepthwiseBlock(const Machine& machine, const PixelGather& g, const DepthwisePlan& plan, T* planes)
      : table_(*machine.table),
        g_(g),
        p_(plan),
        planes_(planes),
        offsets_(static_cast<std::size_t>(g.taps())),
        lines_(static_cast<std::size_t>(g.taps())) {
    feature_offsets(p_.planes, g.taps(), 0, 0, g.taps(), offsets_.data());
    for (std::size_t t = 0; t < lines_.size(); ++t) lines_[t] = planes_ + offsets_[t] * p_.width;
  }

  void move_to(int64_t block) {
    cut_into_segments(g_, p_.planes, block, &segments_);
    runs_of(g_, p_.planes, segments_, &runs_);
    positions_ = positions_of(p_.planes, segments_);
  }

  void pack(int64_t channel) {
    const int64_t channels = std::min<int64_t>(p_.width, g_.source.channels - channel);
    pack_planes(table_, g_, p_.planes, segments_, channel, channels, p_.lanes ? p_.width : 0, planes_);
  }

  const void* const* lines() const { return lines_.data(); }
  const std::vector<PixelRun>& runs() const { return runs_; }
  int64_t positions() const { return positions_; }

 private:
  const KernelTable& table_;
  const PixelGather& g_;
  const DepthwisePlan& p_;
  T* planes_;
  std::vector<int64_t> offsets_;
  std::vector<const void*> lines_;
  std::vector<PixelSegment> segments_;
  std::vector<PixelRun> runs_;
  int64_t positions_ = 0;
};

// weights[tap] (lanes: [tap][width]) of the gather's taps for filters first, first + 1, ...
template <class T>
void read_weights(const KernelTable& table, const FilterView& w, const PixelGather& g, int64_t first,
                  int width, T* weights) {
  const int64_t filters = std::min<int64_t>(width, w.filters - first);
  for (std::size_t t = 0; t < g.kernel_tap.size(); ++t) {
    T* to = weights + static_cast<int64_t>(t) * width;
    std::fill(to, to + width, T(0));
    table.copy_block[static_cast<int>(w.dtype)](
        {element(w.data, w.dtype, first * w.taps + g.kernel_tap[t]), 0, w.taps, to, 0, 1, 1, filters, false});
  }
}

// bias[0 .. width) of the channels from `channel` on; zeros where there is none.
template <class T>
void read_bias(const KernelTable& table, const Epilogue& e, Dtype dtype, int64_t channel, int64_t channels,
               int width, T* bias) {
  std::fill(bias, bias + width, T(0));
  if (!e.bias) return;
  table.copy_block[static_cast<int>(dtype)]({element(e.bias, dtype, channel * e.bias_stride), 0,
                                             e.bias_stride, bias, 0, 1, 1,
                                             std::min<int64_t>(width, channels - channel), false});
}

// Writes the sums of a block's pixels, position by position, for one channel after the other.
template <class T>
class SumsStore {
 public:
  SumsStore(const KernelTable& table, const PixelGather& g, const DepthwisePlan& p)
      : table_(table), r_(g.result), p_(p), nr_(table.gemm[sizeof(T) == 8].nr) {}

  void move_to(const std::vector<PixelRun>& runs) {
    const int64_t step = r_.stride[kAxes - 1];
    runs_ = &runs;
    pieces_.clear();
    offsets_.clear();
    for (const PixelRun& run : runs) {
      if (p_.lanes) {
        for (int64_t i = 0; i < run.count; ++i) offsets_.push_back(run.result + i * step);
      } else {
        for (int64_t i = 0; i < run.count; i += nr_)
          pieces_.push_back({run.start + i, run.result + i * step, 0,
                             static_cast<int>(std::min<int64_t>(nr_, run.count - i))});
      }
    }
  }

  void run(int64_t channel, const T* sums, const T* bias, Activation activation) {
    const int64_t at = channel * r_.channel_stride;
    const auto store = table_.store_block[static_cast<int>(r_.dtype)];
    if (!p_.lanes) {
      store({sums, 1, r_.data, &at, pieces_.data(), static_cast<int64_t>(pieces_.size()),
             r_.stride[kAxes - 1], bias, nullptr, activation});
      return;
    }
    const StorePiece piece{0, at, 0, static_cast<int>(std::min<int64_t>(p_.width, r_.channels - channel))};
    const int64_t* offsets = offsets_.data();
    for (const PixelRun& run : *runs_) {
      store({sums + run.start * p_.width, run.count, r_.data, offsets, &piece, 1, 1, nullptr, bias,
             activation});
      offsets += run.count;
    }
  }

 private:
  const KernelTable& table_;
  const ImageView& r_;
  const DepthwisePlan& p_;
  const int nr_;
  const std::vector<PixelRun>* runs_ = nullptr;
  std::vector<StorePiece> pieces_;
  std::vector<int64_t> offsets_;
};

template <class T>
void filter_as(const Machine& machine, const PixelGather& g, const FilterView& w, bool by_channel,
               const Epilogue& epilogue) {
  const KernelTable& table = *machine.table;
  const DepthwiseKernels& kernels = table.depthwise[sizeof(T) == 8];
  const int64_t channels = g.result.channels,
                multiplier = w.filters / (by_channel ? g.result.channels : g.source.channels);
  const int64_t sources = by_channel ? multiplier : 1;  // filters that reach one channel of the result
  const DepthwisePlan p = make_plan<T>(machine, g, multiplier);
  const int64_t parts = ceil_div(channels, p.width);
  const int64_t elements = p.scratch_elements(g.taps());
  const Buffer workspace(elements * machine.threads * static_cast<int64_t>(sizeof(T)));
  const double outputs = static_cast<double>(g.pixels()) * static_cast<double>(channels);
  const double work = outputs * (kNsPerElement + kNsPerTap * static_cast<double>(g.taps()));
  // A task takes several channels of one block, as long as there is work for every thread.
  const int64_t together = std::clamp<int64_t>(p.planes.blocks * parts / (kTasksPerThread * machine.threads),
                                               1, std::min<int64_t>(parts, kMostTogether));
  const int64_t tasks = ceil_div(parts, together);
  parallel_for(p.planes.blocks * tasks, work, machine.threads, [&](int64_t task, int worker) {
    T* planes = workspace.as<T>() + worker * elements;
    T* sums = planes + p.plane_elements();
    T* weights = sums + p.sums();
    T* bias = weights + g.taps() * p.width;
    DepthwiseBlock<T> block(machine, g, p, planes);
    SumsStore<T> store(table, g, p);
    block.move_to(task / tasks);
    store.move_to(block.runs());
    const int64_t first = task % tasks * together, end = std::min(first + together, parts);
    for (int64_t channel = first * p.width; channel < end * p.width; channel += p.width) {
      for (int64_t i = 0; i < sources; ++i) {
        const int64_t filter = channel * sources + i;
        block.pack(by_channel ? filter : channel / multiplier);
        read_weights(table, w, g, filter, p.width, weights);
        const DepthwiseLine line{block.lines(), g.taps(), weights, block.positions(), sums, i > 0,
                                 nullptr,       nullptr,  0};
        p.lanes ? kernels.filter_lanes(line) : kernels.filter_row(line);
      }
      read_bias(table, epilogue, w.dtype, channel, channels, p.width, bias);
      store.run(channel, sums, epilogue.bias ? bias : nullptr, epilogue.activation);
    }
  });
}

// Cuts runs so that each stretch of `cut` adds up at most kLongestChain products in a lane.
void cut_chains(const std::vector<PixelRun>& runs, int64_t vector, std::vector<PositionRun>* cut,
                std::vector<int64_t>* ends) {
  cut->clear();
  ends->clear();
  int64_t chain = 0;
  for (const PixelRun& run : runs)
    for (int64_t done = 0; done < run.count;) {
      const int64_t count = std::min(run.count - done, kLongestChain * vector);
      chain += ceil_div(count, vector);
      if (chain > kLongestChain) {
        ends->push_back(static_cast<int64_t>(cut->size()));
        chain = ceil_div(count, vector);
      }
      cut->push_back({run.start + done, count});
      done += count;
    }
  ends->push_back(static_cast<int64_t>(cut->size()));
}

template <class T>
void correlate_as(const Machine& machine, const PixelGather& x, const FilterView& dw) {
  constexpr int64_t kWantedTasks = 64;
  const KernelTable& table = *machine.table;
  const DepthwiseKernels& kernels = table.depthwise[sizeof(T) == 8];
  const ImageView& dy = x.result;
  const int64_t multiplier = dw.filters / x.source.channels, taps = dw.taps;
  const DepthwisePlan p = make_plan<T>(machine, x, multiplier);
  const int64_t parts = ceil_div(dw.filters, p.width), blocks = p.planes.blocks;
  // The blocks of some filters are shared out into slices, as many as the problem asks for, whatever the
  // threads.
  const int64_t slices = std::max<int64_t>(1, std::min(blocks, ceil_div(kWantedTasks, parts)));
  const int64_t lane_sums = p.lanes ? p.width : p.vector;
  const int64_t elements = p.scratch_elements(taps);
  const Buffer workspace(elements * machine.threads * static_cast<int64_t>(sizeof(T)));
  const Buffer totals(parts * slices * taps * p.width * static_cast<int64_t>(sizeof(double)));
  const double products = static_cast<double>(x.pixels()) * static_cast<double>(dw.filters);
  parallel_for(
      parts * slices, products * (kNsPerElement + kNsPerTap * static_cast<double>(taps)), machine.threads,
      [&](int64_t task, int worker) {
        const int64_t slice = task % slices, channel = task / slices * p.width;
        const int64_t real = std::min<int64_t>(p.width, dw.filters - channel);
        T* planes = workspace.as<T>() + worker * elements;
        T* values = planes + p.plane_elements();
        T* sums = values + p.sums();
        double* total = totals.as<double>() + task * taps * p.width;
        std::fill(total, total + taps * p.width, 0.0);
        DepthwiseBlock<T> block(machine, x, p, planes);
        std::vector<PositionRun> runs;
        std::vector<int64_t> ends;
        for (int64_t index = blocks * slice / slices; index < blocks * (slice + 1) / slices; ++index) {
          block.move_to(index);
          block.pack(channel / multiplier);
          for (const PixelRun& run : block.runs())
            table.copy_block[static_cast<int>(dy.dtype)](
                {element(dy.data, dy.dtype, run.result + channel * dy.channel_stride), dy.stride[kAxes - 1],
                 dy.channel_stride, values + run.start * p.width, p.width, 1, run.count, real, false});
          cut_chains(block.runs(), p.lanes ? 1 : p.vector, &runs, &ends);
          int64_t begin = 0;
          for (const int64_t end : ends) {
            std::fill(sums, sums + taps * lane_sums, T(0));
            const DepthwiseLine line{block.lines(),       taps,       nullptr, 0, sums, true, values,
                                     runs.data() + begin, end - begin};
            p.lanes ? kernels.correlate_lanes(line) : kernels.correlate_row(line);
            for (int64_t t = 0; t < taps; ++t)
              for (int64_t i = 0; i < lane_sums; ++i)
                total[t * p.width + (p.lanes ? i : 0)] += static_cast<double>(sums[t * lane_sums + i]);
            begin = end;
          }
        }
      });
  // dw, filter by filter: the slices added in order.
  const Buffer line(taps * static_cast<int64_t>(sizeof(T)));
  for (int64_t k = 0; k < dw.filters; ++k) {
    const double* total = totals.as<double>() + k / p.width * slices * taps * p.width + k % p.width;
    for (int64_t t = 0; t < taps; ++t) {
      double sum = 0;
      for (int64_t i = 0; i < slices; ++i) sum += total[(i * taps + t) * p.width];
      line.as<T>()[t] = static_cast<T>(sum);
    }
    store_line(table, dw.dtype, line.as<T>(), taps, element(dw.data, dw.dtype, k * taps), 1, T(0),
               Activation::none);
  }
}

}  // namespace

DepthwiseShape depthwise_shape(const Machine& machine, const PixelGather& g, int64_t multiplier) {
  const bool wide = compute_dtype(g.source.dtype) == Dtype::float64;
  const DepthwisePlan p =
      wide ? make_plan<double>(machine, g, multiplier) : make_plan<float>(machine, g, multiplier);
  return {p.planes.positions, p.width, machine.threads * p.scratch_elements(g.taps()) * (wide ? 8 : 4)};
}

void filter_depthwise(const Machine& machine, const PixelGather& g, const FilterView& filters,
                      bool by_channel, const Epilogue& epilogue) {
  if (g.pixels() == 0) return;
  if (filters.dtype == Dtype::float64) {
    filter_as<double>(machine, g, filters, by_channel, epilogue);
  } else {
    filter_as<float>(machine, g, filters, by_channel, epilogue);
  }
}

void correlate_depthwise(const Machine& machine, const PixelGather& x, const FilterView& dw) {
  if (dw.dtype == Dtype::float64) {
    correlate_as<double>(machine, x, dw);
  } else {
    correlate_as<float>(machine, x, dw);
  }
}

}  // namespace fastconv::cpu
