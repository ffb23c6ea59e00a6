#include "cpu/tile_filters.h"

#include <algorithm>

#include "cpu/packed_product.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr int kMostTapsAtOnce = 16;  // of filters, packed together

// The filters of one group as lines of one step, or of some taps' steps.
class FilterPacker {
 public:
  FilterPacker(const Machine& machine, const TilePart& part, const FilterView& w, bool by_channel,
               int64_t first_filter)
      : table_(*machine.table),
        part_(part),
        s_(part.shape),
        w_(w),
        by_channel_(by_channel),
        first_filter_(first_filter),
        filter_step_(w.channels * w.taps) {}

  // The tile of lines [first, first + kTileRows) of a chain's steps; `to` is its place in the first one's.
  // Returns the largest magnitude.
  std::uint32_t pack(const StepChain& chain, int64_t first, BFloat16* to) {
    count_ = std::clamp<int64_t>(s_.lines - first, 0, kTileRows);
    std::uint32_t largest = 0;
    for (int64_t done = 0; done < chain.steps;) {
      const int64_t step = chain.first + done;
      const int64_t steps =
          s_.blocking.gathered ? gather_features(step, first) : copy_taps(step, chain.steps - done, first);
      if (s_.checked)
        largest = std::max(largest, table_.tiles->largest_magnitude({lines_, 1, 0, steps * kTileElements}));
      for (int64_t i = 0; i < steps; ++i, ++done)
        table_.tiles->pack_pairs(
            {lines_ + i * kTileElements, to + done * s_.step_elements(), kTilePairElements, s_.parts});
    }
    return largest;
  }

 private:
  void clear(int64_t steps, int64_t lanes) {
    if (count_ < kTileRows || lanes < kTileLanes) std::fill(lines_, lines_ + steps * kTileElements, 0.f);
  }

  // Features as lanes.
  int64_t gather_features(int64_t step, int64_t first) {
    const FeatureOrder order = FeatureOrder::channel_major(s_.channels, s_.taps);
    const int64_t begin = step * kTileLanes, lanes = std::min<int64_t>(kTileLanes, order.count() - begin);
    clear(1, lanes);
    pack_filters(table_, {w_, by_channel_, first_filter_, part_.taps_in_order}, part_.gather.kernel_tap,
                 order, first, count_, begin, lanes, {kTileRows, 0, kTileLanes, 1}, lines_);
    return 1;
  }

  // Channels as lanes, for some taps that are neighbours in the kernel too.
  int64_t copy_taps(int64_t step, int64_t most, int64_t first) {
    const int64_t channel = step / s_.taps * kTileLanes, tap = step % s_.taps;
    const int64_t lanes = std::min<int64_t>(kTileLanes, s_.channels - channel);
    const int64_t* kernel_tap = part_.gather.kernel_tap.data() + tap;
    most = std::min({most, s_.taps - tap, int64_t{kMostTapsAtOnce}});
    int64_t taps = 1;
    while (taps < most && kernel_tap[taps] == kernel_tap[0] + taps) ++taps;
    clear(taps, lanes);
    const int64_t line_step = by_channel_ ? w_.taps : filter_step_,
                  lane_step = by_channel_ ? filter_step_ : w_.taps;
    const char* from =
        element(static_cast<const void*>(w_.data), w_.dtype,
                first_filter_ * filter_step_ + first * line_step + channel * lane_step + kernel_tap[0]);
    const auto copy = table_.copy_block[static_cast<int>(w_.dtype)];
    if (taps == 1) {
      copy({from, line_step, lane_step, lines_, kTileLanes, 1, count_, lanes, false});
    } else {
      for (int64_t l = 0; l < count_; ++l)
        copy({element(from, w_.dtype, l * line_step), lane_step, 1, lines_ + l * kTileLanes, 1, kTileElements,
              lanes, taps, false});
    }
    return taps;
  }

  const KernelTable& table_;
  const TilePart& part_;
  const TileShape& s_;
  const FilterView& w_;
  const bool by_channel_;
  const int64_t first_filter_, filter_step_;
  int64_t count_ = 0;
  alignas(64) float lines_[kMostTapsAtOnce * kTileElements];
};

}  // namespace

std::uint32_t pack_tile_filters(const Machine& machine, const TilePart& part, const FilterView& w,
                                bool by_channel, int64_t groups, BFloat16* packed) {
  const TileShape& s = part.shape;
  const auto chains = static_cast<int64_t>(s.chains.size());
  std::atomic<std::uint32_t> largest{0};
  const double work = kNsPerElement * static_cast<double>(groups * s.lines * s.channels * s.taps);
  parallel_for(groups * chains * 2 * s.pairs, work, machine.threads, [&](int64_t task, int) {
    const int64_t group = task / (chains * 2 * s.pairs), tile = task % (2 * s.pairs);
    const StepChain& chain = s.chains[static_cast<std::size_t>(task / (2 * s.pairs) % chains)];
    BFloat16* to = packed + group * s.packed_elements() +
                   (chain.first * s.pairs + tile / 2 * chain.steps) * s.step_elements() +
                   tile % 2 * kTileElements;
    FilterPacker packer(machine, part, w, by_channel, group * (w.filters / groups));
    raise_magnitude(&largest, packer.pack(chain, tile * kTileRows, to));
  });
  return largest.load();
}

}  // namespace fastconv::cpu
