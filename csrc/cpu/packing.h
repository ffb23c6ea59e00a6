// Packers: read a tensor through a view and write it as the panels of a matrix product (contracts/products.h
// has the picture). A matrix here is lines x depth; lines are rows of A or columns of B, depth is the
// reduction.
#pragma once

#include <vector>

#include "core/conv_as_gemm.h"
#include "cpu/kernel_table.h"
#include "cpu/pixel_planes.h"

namespace fastconv::cpu {

// Where line l, depth k lands: (l / panel_lines) * panel_stride + (l % panel_lines) * line_stride + k *
// depth_stride.
struct PanelLayout {
  int64_t panel_lines, panel_stride, line_stride, depth_stride;

  static PanelLayout rows(const GemmKernels& kernels, int64_t lines) {
    return {lines > 0 ? lines : 1, 0, kernels.row_pitch, 1};
  }
  static PanelLayout columns(const GemmKernels& kernels, int64_t depth) {
    return {kernels.nr, kernels.nr * depth, 1, kernels.nr};
  }
};

// Numbers the pairs (channel, tap) of one group: channel * channel_step + tap * tap_step. Channel-major where
// pixels are contiguous in memory, tap-major where channels are.
struct FeatureOrder {
  int64_t channels, taps, channel_step, tap_step;
  int64_t count() const { return channels * taps; }

  static FeatureOrder channel_major(int64_t channels, int64_t taps) { return {channels, taps, taps, 1}; }
  static FeatureOrder tap_major(int64_t channels, int64_t taps) { return {channels, taps, 1, channels}; }
};

// Pixels [begin, begin + count) as segments: whole rows together, parts of rows by themselves. `start` is a
// segment's first pixel within the range.
void cut_pixels(const PixelGather& g, int64_t begin, int64_t count, std::vector<PixelSegment>* segments);

// The address of each pixel of `segments` in the result, in elements.
void result_offsets(const PixelGather& g, const std::vector<PixelSegment>& segments, int64_t* offsets);

// Features [begin, begin + count) of the pixels of `segments`, for the channels from first_channel on: lines
// are pixels and depth is features, or (`features_are_lines`) the other way round. T is the compute type.
template <class T>
void pack_pixels(const KernelTable& table, const PixelGather& g, const std::vector<PixelSegment>& segments,
                 int64_t first_channel, const FeatureOrder& order, int64_t begin, int64_t count,
                 bool features_are_lines, const PanelLayout& layout, T* packed);

// `channels` channels of the pixels of `segments` as planes (cpu/pixel_planes.h), channel by channel and copy
// by copy, layout.elements apart; or copy by copy, with the channels side by side in elements of `width`.
// What lies outside the source is zero; `zeroed` tells how much of that is so already: all of it, by a former
// call with the same segments, or what lies beside rows, by one with the same columns.
enum class Zeroed { nothing, beside_rows, all };
struct PlaneLanes {
  int64_t width = 0;
  Zeroed zeroed = Zeroed::nothing;
};
template <class T>
void pack_planes(const KernelTable& table, const PixelGather& g, const PlaneLayout& layout,
                 const std::vector<PixelSegment>& segments, int64_t first_channel, int64_t channels,
                 PlaneLanes lanes, T* planes);

// Filters as lines: filters (or, with by_channel, channels) [first, first + lines) over features [begin,
// begin + count). Features run over the channels (by_channel: the filters first_feature ...) of a group and
// over g.kernel_tap.
struct FilterMatrix {
  FilterView filters;
  bool by_channel;       // lines are w's channels, features its filters: the input gradient
  int64_t first_filter;  // of the group
  bool in_order;         // g.kernel_tap is 0, 1, ... to the kernel's last
};
template <class T>
void pack_filters(const KernelTable& table, const FilterMatrix& matrix,
                  const std::vector<int64_t>& kernel_tap, const FeatureOrder& order, int64_t first,
                  int64_t lines, int64_t begin, int64_t count, const PanelLayout& layout, T* packed);

}  // namespace fastconv::cpu
