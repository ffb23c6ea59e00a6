#include "cpu/depthwise.h"

#include <algorithm>

#include "core/integers.h"
#include "cpu/depthwise_lanes.h"
#include "cpu/packed_product.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerTap = 0.15;
constexpr int64_t kMostPositions = 4096, kMostTogether = 64;
// Vectors whose products are added up in float32 before they go into a double.
constexpr int64_t kLongestChain = 64;

struct RowsPlan {
  int vector = 0;
  PlaneLayout planes;

  int64_t plane_elements() const { return planes.copies() * planes.elements; }
  int64_t sums() const { return planes.elements; }  // positions, and room for whole vectors
  // Of a thread: planes, sums or values, weights or partial sums of each tap.
  int64_t scratch_elements(int64_t taps) const {
    return round_up(plane_elements() + sums() + taps * vector, 32);
  }
  template <class T>
  int64_t workspace_bytes(const Machine& machine, int64_t taps) const {
    return machine.threads * scratch_elements(taps) * static_cast<int64_t>(sizeof(T));
  }
};

// What a task takes at a time, for explain().
std::vector<Figure> figures_of(const RowsPlan& p) {
  return {{"positions", p.planes.positions}, {"channels", 1}};
}
std::vector<Figure> figures_of(const LanesPlan& p) {
  return {{"positions", p.rows * p.result.size[2]}, {"channels", p.width}};
}

template <class T>
RowsPlan plan_rows(const Machine& machine, const PixelGather& g) {
  RowsPlan p;
  p.vector = machine.table->depthwise[sizeof(T) == 8].lanes;
  const int64_t room = machine.caches.l2 / 4 / static_cast<int64_t>(sizeof(T));
  p.planes =
      lay_out_planes(g, machine.table->gemm[sizeof(T) == 8], 1, {std::min(room, kMostPositions), room, 1});
  return p;
}

struct Stretch {
  const void* data = nullptr;
  int64_t bytes = 0;
};

// What a task works on: a block of pixels of one channel, in planes.
template <class T>
class RowsBlock {
 public:
  RowsBlock(const Machine& machine, const PixelGather& g, const RowsPlan& plan, T* planes)
      : table_(*machine.table),
        g_(g),
        p_(plan),
        planes_(planes),
        offsets_(static_cast<std::size_t>(g.taps())),
        lines_(static_cast<std::size_t>(g.taps())) {
    feature_offsets(p_.planes, g.taps(), 0, 0, g.taps(), offsets_.data());
    for (std::size_t t = 0; t < lines_.size(); ++t) lines_[t] = planes_ + offsets_[t];
  }

  void move_to(int64_t block) {
    cut_into_segments(g_, p_.planes, block, &segments_);
    runs_of(g_, p_.planes, segments_, &runs_);
    positions_ = positions_of(p_.planes, segments_);
  }

  void pack(int64_t channel) { pack_planes(table_, g_, p_.planes, segments_, channel, 1, {}, planes_); }

  // About what the block reads of a channel, where its rows follow each other.
  Stretch source_of(int64_t channel) const {
    const ImageView& r = g_.source;
    const PixelSegment& s = segments_.front();
    if (r.stride[kAxes - 1] != 1 || r.stride[kAxes - 2] != r.size[kAxes - 1]) return {};
    int64_t at = s.image * r.batch_stride + channel * r.channel_stride;
    for (int a = 0; a < kAxes - 1; ++a) at += s.position[a] * g_.axis[a].step * r.stride[a];
    return {element(r.data, r.dtype, at),
            s.rows * g_.axis[kAxes - 2].step * r.stride[kAxes - 2] * size_of(r.dtype)};
  }
  const void* const* lines() const { return lines_.data(); }
  const std::vector<PixelRun>& runs() const { return runs_; }
  int64_t positions() const { return positions_; }

 private:
  const KernelTable& table_;
  const PixelGather& g_;
  const RowsPlan& p_;
  T* planes_;
  std::vector<int64_t> offsets_;
  std::vector<const void*> lines_;
  std::vector<PixelSegment> segments_;
  std::vector<PixelRun> runs_;
  int64_t positions_ = 0;
};

// weights[tap] of the gather's taps for one filter.
template <class T>
void read_weights(const KernelTable& table, const FilterView& w, const PixelGather& g, int64_t filter,
                  T* weights) {
  const auto copy = table.copy_block[static_cast<int>(w.dtype)];
  const bool all = g.taps() == w.taps && std::is_sorted(g.kernel_tap.begin(), g.kernel_tap.end());
  const int64_t taps = all ? w.taps : 1;  // at a time
  for (int64_t t = 0; t < g.taps(); t += taps)
    copy({element(w.data, w.dtype, filter * w.taps + g.kernel_tap[static_cast<std::size_t>(t)]), 0, 1,
          weights + t, 0, 1, 1, taps, false});
}

// Writes the sums of a block's pixels, for one channel after the other.
template <class T>
class SumsStore {
 public:
  SumsStore(const KernelTable& table, const PixelGather& g)
      : table_(table), r_(g.result), nr_(table.gemm[sizeof(T) == 8].nr) {}

  void move_to(const std::vector<PixelRun>& runs) {
    const int64_t step = r_.stride[kAxes - 1];
    pieces_.clear();
    for (const PixelRun& run : runs)
      for (int64_t i = 0; i < run.count; i += nr_)
        pieces_.push_back({run.start + i, run.result + i * step, 0,
                           static_cast<int>(std::min<int64_t>(nr_, run.count - i))});
  }

  void run(int64_t channel, const T* sums, const T* bias, Activation activation) {
    const int64_t at = channel * r_.channel_stride;
    table_.store_block[static_cast<int>(r_.dtype)]({sums, 1, r_.data, &at, pieces_.data(),
                                                    static_cast<int64_t>(pieces_.size()),
                                                    r_.stride[kAxes - 1], bias, nullptr, activation});
  }

 private:
  const KernelTable& table_;
  const ImageView& r_;
  const int nr_;
  std::vector<StorePiece> pieces_;
};

template <class T>
void filter_rows(const Machine& machine, const PixelGather& g, const RowsPlan& p, const FilterView& w,
                 bool by_channel, const Epilogue& epilogue) {
  const KernelTable& table = *machine.table;
  const DepthwiseKernels& kernels = table.depthwise[sizeof(T) == 8];
  const int64_t channels = g.result.channels,
                multiplier = w.filters / (by_channel ? g.result.channels : g.source.channels);
  const int64_t sources = by_channel ? multiplier : 1;  // filters that reach one channel of the result
  const int64_t elements = p.scratch_elements(g.taps());
  const Buffer workspace(elements * machine.threads * static_cast<int64_t>(sizeof(T)));
  const WideBias<T> bias(table, epilogue, w.dtype, channels);
  const double outputs = static_cast<double>(g.pixels()) * static_cast<double>(channels);
  const double work = outputs * (kNsPerElement + kNsPerTap * static_cast<double>(g.taps()));
  // A task takes several channels of one block, as long as there is work for every thread.
  const int64_t together =
      parts_of_task(p.planes.blocks * channels, machine.threads, std::min(channels, kMostTogether));
  const int64_t tasks = ceil_div(channels, together);
  const int64_t chain = short_chain(g.taps(), g.taps());
  const ImageView& result = g.result;
  const bool neighbours = result.stride[kAxes - 1] == 1;
  const auto source_channel = [&](int64_t channel, int64_t source) {
    return by_channel ? channel * sources + source : channel / multiplier;
  };
  parallel_for(p.planes.blocks * tasks, work, machine.threads, [&](int64_t task, int worker) {
    T* planes = workspace.as<T>() + worker * elements;
    T* sums = planes + p.plane_elements();
    T* weights = sums + p.sums();
    RowsBlock<T> block(machine, g, p, planes);
    SumsStore<T> store(table, g);
    block.move_to(task / tasks);
    if (!neighbours) store.move_to(block.runs());
    const int64_t first = task % tasks * together, end = std::min(first + together, channels);
    for (int64_t channel = first; channel < end; ++channel) {
      const T* channel_bias = bias.data ? bias.data + channel : nullptr;
      const auto pack = [&](int64_t source) {
        const int64_t filter = channel * sources + source;
        block.pack(source_channel(channel, source));
        read_weights(table, w, g, filter, weights);
      };
      const auto sum = [&](bool accumulate) {
        kernels.filter_row({block.lines(), g.taps(), chain, weights, block.positions(), sums, accumulate,
                            nullptr, nullptr, 0});
      };
      for (int64_t i = 0; i + 1 < sources; ++i) {
        pack(i);
        sum(i > 0);
      }
      pack(sources - 1);
      if (neighbours) {
        const Stretch next = channel + 1 < end ? block.source_of(source_channel(channel + 1, 0)) : Stretch();
        table.filter_runs[static_cast<int>(result.dtype)](
            {block.lines(), g.taps(), chain, weights, sources > 1 ? sums : nullptr, block.runs().data(),
             static_cast<int64_t>(block.runs().size()),
             element(result.data, result.dtype, channel * result.channel_stride), channel_bias,
             epilogue.activation, next.data, next.bytes});
      } else {
        sum(sources > 1);
        store.run(channel, sums, channel_bias, epilogue.activation);
      }
    }
  });
}

template <class T>
class DepthwiseProduct : public Product {
 public:
  DepthwiseProduct(const Machine& machine, std::vector<PixelGather> gathers, const ImageView& result,
                   const FilterView& filters, bool by_channel)
      : machine_(machine), by_channel_(by_channel), gathers_(std::move(gathers)) {
    if (gathers_.empty() || result.batch * product(result.size) == 0) {
      gathers_.clear();
      return;
    }
    const int64_t multiplier = filters.filters / (by_channel ? result.channels : gathers_[0].source.channels);
    lanes_ = plan_lanes(machine, gathers_, result, multiplier);
    if (!lanes_)
      for (const PixelGather& g : gathers_) rows_.push_back(plan_rows<T>(machine, g));
  }

  void bind(void* source, void* result) override {
    if (lanes_) return lanes_->bind(source, result);
    for (PixelGather& g : gathers_) g.bind(source, result);
  }

  void run(const FilterView& filters, const Epilogue& epilogue) override {
    if (lanes_) return filter_lanes<T>(machine_, *lanes_, filters, epilogue);
    for (std::size_t i = 0; i < rows_.size(); ++i)
      filter_rows<T>(machine_, gathers_[i], rows_[i], filters, by_channel_, epilogue);
  }

  int64_t workspace_bytes() const override {
    if (lanes_) return cpu::workspace_bytes(machine_, *lanes_);
    int64_t most = 0;
    for (std::size_t i = 0; i < rows_.size(); ++i)
      most = std::max(most, rows_[i].workspace_bytes<T>(machine_, gathers_[i].taps()));
    return most;
  }
  std::vector<Figure> figures() const override {
    if (lanes_) return figures_of(*lanes_);
    return rows_.empty() ? std::vector<Figure>{} : figures_of(rows_[0]);
  }

 private:
  const Machine machine_;
  const bool by_channel_;
  std::vector<PixelGather> gathers_;
  std::optional<LanesPlan> lanes_;
  std::vector<RowsPlan> rows_;  // of each gather, where lanes can't serve
};

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

// totals[filter][slice][tap]
template <class T>
void correlate_rows(const Machine& machine, const PixelGather& x, const RowsPlan& p, int64_t slices,
                    int64_t filters, double* totals) {
  const KernelTable& table = *machine.table;
  const DepthwiseKernels& kernels = table.depthwise[sizeof(T) == 8];
  const ImageView& dy = x.result;
  const int64_t multiplier = filters / x.source.channels, taps = x.taps(), blocks = p.planes.blocks;
  const int64_t elements = p.scratch_elements(taps);
  const Buffer workspace(elements * machine.threads * static_cast<int64_t>(sizeof(T)));
  const double products = static_cast<double>(x.pixels()) * static_cast<double>(filters);
  parallel_for(
      filters * slices, products * (kNsPerElement + kNsPerTap * static_cast<double>(taps)), machine.threads,
      [&](int64_t task, int worker) {
        const int64_t slice = task % slices, filter = task / slices;
        T* planes = workspace.as<T>() + worker * elements;
        T* values = planes + p.plane_elements();
        T* sums = values + p.sums();
        double* total = totals + task * taps;
        std::fill(total, total + taps, 0.0);
        RowsBlock<T> block(machine, x, p, planes);
        std::vector<PositionRun> runs;
        std::vector<int64_t> ends;
        for (int64_t index = blocks * slice / slices; index < blocks * (slice + 1) / slices; ++index) {
          block.move_to(index);
          block.pack(filter / multiplier);
          for (const PixelRun& run : block.runs())
            table.copy_block[static_cast<int>(dy.dtype)](
                {element(dy.data, dy.dtype, run.result + filter * dy.channel_stride), 0, dy.stride[kAxes - 1],
                 values + run.start, 0, 1, 1, run.count, false});
          cut_chains(block.runs(), p.vector, &runs, &ends);
          int64_t begin = 0;
          for (const int64_t end : ends) {
            std::fill(sums, sums + taps * p.vector, T(0));
            const DepthwiseLine line{block.lines(),       taps,       taps, nullptr, 0, sums, true, values,
                                     runs.data() + begin, end - begin};
            kernels.correlate_row(line);
            for (int64_t t = 0; t < taps; ++t)
              for (int64_t i = 0; i < p.vector; ++i) total[t] += static_cast<double>(sums[t * p.vector + i]);
            begin = end;
          }
        }
      });
}

template <class T>
class DepthwiseImageProduct : public Product {
 public:
  DepthwiseImageProduct(const Machine& machine, PixelGather x, const FilterView& dw)
      : machine_(machine), gather_(std::move(x)) {
    constexpr int64_t kWantedTasks = 64;
    lanes_ = plan_lanes(machine, {gather_}, gather_.result, dw.filters / gather_.source.channels);
    if (!lanes_) rows_ = plan_rows<T>(machine, gather_);
    width_ = lanes_ ? lanes_->width : 1;
    parts_ = ceil_div(dw.filters, width_);
    // The blocks of some filters are shared out into slices, as many as the problem asks for, whatever the
    // threads.
    const int64_t blocks = lanes_ ? lanes_->blocks : rows_.planes.blocks;
    slices_ = std::max<int64_t>(1, std::min(blocks, ceil_div(kWantedTasks, parts_)));
    taps_ = dw.taps;
  }

  void bind(void* source, void* result) override {
    gather_.bind(source, result);
    if (lanes_) lanes_->bind(source, result);
  }

  void run(const FilterView& dw, const Epilogue&) override {
    const Buffer totals(total_bytes());
    if (lanes_) {
      correlate_lanes<T>(machine_, *lanes_, slices_, totals.as<double>());
    } else {
      correlate_rows<T>(machine_, gather_, rows_, slices_, dw.filters, totals.as<double>());
    }
    // dw, filter by filter: the slices added in order.
    const Buffer line(taps_ * static_cast<int64_t>(sizeof(T)));
    for (int64_t k = 0; k < dw.filters; ++k) {
      const double* total = totals.as<double>() + k / width_ * slices_ * taps_ * width_ + k % width_;
      for (int64_t t = 0; t < taps_; ++t) {
        double sum = 0;
        for (int64_t i = 0; i < slices_; ++i) sum += total[(i * taps_ + t) * width_];
        line.as<T>()[t] = static_cast<T>(sum);
      }
      machine_.table->elementwise.narrow[static_cast<int>(dw.dtype)](
          line.data(), element(dw.data, dw.dtype, k * taps_), taps_);
    }
  }

  int64_t workspace_bytes() const override {
    return total_bytes() +
           (lanes_ ? cpu::workspace_bytes(machine_, *lanes_) : rows_.workspace_bytes<T>(machine_, taps_));
  }
  std::vector<Figure> figures() const override { return lanes_ ? figures_of(*lanes_) : figures_of(rows_); }

 private:
  int64_t total_bytes() const {
    return parts_ * slices_ * taps_ * width_ * static_cast<int64_t>(sizeof(double));
  }

  const Machine machine_;
  PixelGather gather_;
  std::optional<LanesPlan> lanes_;
  RowsPlan rows_;  // where lanes can't serve
  int64_t width_, parts_, slices_, taps_;
};

}  // namespace

std::unique_ptr<Product> depthwise_product(const Machine& machine, std::vector<PixelGather> gathers,
                                           const ImageView& result, const FilterView& filters,
                                           bool by_channel) {
  if (filters.dtype == Dtype::float64)
    return std::make_unique<DepthwiseProduct<double>>(machine, std::move(gathers), result, filters,
                                                      by_channel);
  return std::make_unique<DepthwiseProduct<float>>(machine, std::move(gathers), result, filters, by_channel);
}

std::unique_ptr<Product> depthwise_image_product(const Machine& machine, PixelGather x,
                                                 const FilterView& dw) {
  if (dw.dtype == Dtype::float64)
    return std::make_unique<DepthwiseImageProduct<double>>(machine, std::move(x), dw);
  return std::make_unique<DepthwiseImageProduct<float>>(machine, std::move(x), dw);
}

}  // namespace fastconv::cpu
