#include "cpu/packing.h"

#include <algorithm>

#include "core/integers.h"

namespace fastconv::cpu {
namespace {

constexpr int64_t kShortRow = 64;

template <class T>
void clear(T* dst, int64_t row_stride, int64_t col_stride, int64_t rows, int64_t cols) {
  if (row_stride == 1 && col_stride != 1) return clear(dst, col_stride, row_stride, cols, rows);
  for (int64_t i = 0; i < rows; ++i, dst += row_stride) {
    if (col_stride == 1) {
      std::fill(dst, dst + std::max<int64_t>(cols, 0), T(0));
    } else {
      for (int64_t j = 0; j < cols; ++j) dst[j * col_stride] = T(0);
    }
  }
}

// The source indices that position j reads through a tap: one on the line, further ones from the list.
template <class Visit>
void for_each_source(const AxisGather& axis, const TapMap& tap, int64_t j, const Visit& visit) {
  if (tap.low <= j && j < tap.high) visit(j * axis.step + tap.offset);
  if (tap.extra.empty()) return;
  auto it = std::lower_bound(tap.extra.begin(), tap.extra.end(), j,
                             [](const std::pair<int64_t, int64_t>& e, int64_t v) { return e.first < v; });
  for (; it != tap.extra.end() && it->first == j; ++it) visit(it->second);
}

struct PixelSpan {  // pixels that are neighbours along the innermost axis
  int64_t image, position[kAxes], length;
};

// Some channels of the pixels of one span through one tap, as a block: rows are channels, columns pixels. Any
// padding mode, at the price of a look at each axis' list.
template <class T>
struct SpanCopy {
  const KernelTable& table;
  const PixelGather& g;
  const PixelSpan& span;
  const TapMap& inner;  // the tap along the innermost axis
  int64_t channel;
  int64_t rows;
  T* dst;
  int64_t row_stride, pixel_stride;
  bool written = false;

  // Reads the source row at `offset`. The first row read writes the whole block, zeros included; further ones
  // add.
  void read_row(int64_t offset) {
    const AxisGather& axis = g.axis[kAxes - 1];
    const int64_t j = span.position[kAxes - 1], end = j + span.length;
    const int64_t low = std::clamp(inner.low, j, end), high = std::clamp(inner.high, low, end);
    if (!written) {
      clear(dst, row_stride, pixel_stride, rows, low - j);
      clear(dst + (high - j) * pixel_stride, row_stride, pixel_stride, rows, end - high);
    }
    copy(offset, low - j, low * axis.step + inner.offset, axis.step, high - low, written);
    written = true;
    if (inner.extra.empty()) return;
    auto it = std::lower_bound(inner.extra.begin(), inner.extra.end(), j,
                               [](const std::pair<int64_t, int64_t>& e, int64_t v) { return e.first < v; });
    for (; it != inner.extra.end() && it->first < end; ++it)
      copy(offset, it->first - j, it->second, 1, 1, true);
  }

  void copy(int64_t offset, int64_t at, int64_t from, int64_t step, int64_t pixels, bool add) {
    if (pixels <= 0) return;
    const ImageView& s = g.source;
    const int64_t stride = s.stride[kAxes - 1];
    table.copy_block[static_cast<int>(s.dtype)](
        {element(s.data, s.dtype, offset + channel * s.channel_stride + from * stride), s.channel_stride,
         step * stride, dst + at * pixel_stride, row_stride, pixel_stride, rows, pixels, add});
  }

  void run(const TapMap& outer0, const TapMap& outer1) {
    const ImageView& s = g.source;
    const int64_t base = span.image * s.batch_stride;
    for_each_source(g.axis[0], outer0, span.position[0], [&](int64_t i) {
      for_each_source(g.axis[1], outer1, span.position[1],
                      [&](int64_t k) { read_row(base + i * s.stride[0] + k * s.stride[1]); });
    });
    if (!written) clear(dst, row_stride, pixel_stride, rows, span.length);
  }
};

// One segment of one copy: an axis' copy is a tap map over the positions and the halo.
template <class T>
struct SegmentCopy {
  const KernelTable& table;
  const PixelGather& g;
  const TapMap *outer0, *outer1, *inner;
  const PixelSegment& segment;
  int64_t first_channel, channels, rows, width;  // with the halo
  T* dst;                                        // of the first channel
  int64_t channel_stride, pixel_stride;
  Zeroed zeroed;  // outside the source

  void run() {
    const int64_t j0 = segment.position[0];
    if (!outer0->extra.empty() || !outer1->extra.empty() || !inner->extra.empty()) {
      for (int64_t row = 0; row < rows; ++row) copy_row_by_list(row);
    } else if (outer0->low <= j0 && j0 < outer0->high) {
      copy_rows(j0 * g.axis[0].step + outer0->offset);
    } else {
      zero(0, rows * width);
    }
  }

 private:
  void zero(int64_t first, int64_t count) {
    if (count > 0 && zeroed != Zeroed::all)
      clear(dst + first * pixel_stride, channel_stride, pixel_stride, channels, count);
  }

  void copy_row_by_list(int64_t row) {
    const PixelSpan span{
        segment.image, {segment.position[0], segment.position[1] + row, segment.position[2]}, width};
    SpanCopy<T>{
        table,          g,           span, *inner, first_channel, channels, dst + row * width * pixel_stride,
        channel_stride, pixel_stride}
        .run(*outer0, *outer1);
  }

  // Rows and columns within the source, as blocks; zeros around them.
  void copy_rows(int64_t source0) {
    const int64_t j1 = segment.position[1], j2 = segment.position[2];
    const int64_t low1 = std::clamp(outer1->low, j1, j1 + rows) - j1,
                  high1 = std::clamp(outer1->high, j1 + low1, j1 + rows) - j1;
    const int64_t low2 = std::clamp(inner->low, j2, j2 + width) - j2,
                  high2 = std::clamp(inner->high, j2 + low2, j2 + width) - j2;
    int64_t height = high1 - low1, columns = high2 - low2;
    if (height == 0 || columns == 0) return zero(0, rows * width);
    if (zeroed == Zeroed::beside_rows) {
      zero(0, low1 * width);
      zero(high1 * width, (rows - high1) * width);
    } else if (width <= kShortRow && columns < width) {
      zero(0, rows * width);  // quicker than rim by rim
    } else {                  // the right rim of a row and the left rim of the next lie together
      zero(0, low1 * width + low2);
      for (int64_t row = low1; row + 1 < high1; ++row) zero(row * width + high2, width - high2 + low2);
      zero((high1 - 1) * width + high2, width - high2 + (rows - high1) * width);
    }

    const ImageView& s = g.source;
    const int64_t from = segment.image * s.batch_stride + first_channel * s.channel_stride +
                         source0 * s.stride[0] +
                         ((j1 + low1) * g.axis[1].step + outer1->offset) * s.stride[1] +
                         ((j2 + low2) * g.axis[2].step + inner->offset) * s.stride[2];
    T* to = dst + (low1 * width + low2) * pixel_stride;
    const int64_t row_stride = g.axis[1].step * s.stride[1], column_stride = g.axis[2].step * s.stride[2];
    if (columns == width && row_stride == columns * column_stride) {  // one row in the source, too
      columns *= height;
      height = 1;
    }
    const auto copy = table.copy_block[static_cast<int>(s.dtype)];
    if (channels >= height || channels_adjacent(s) || pixel_stride != 1) {
      for (int64_t i = 0; i < height; ++i)
        copy({element(s.data, s.dtype, from + i * row_stride), s.channel_stride, column_stride,
              to + i * width * pixel_stride, channel_stride, pixel_stride, channels, columns, false});
    } else {
      for (int64_t c = 0; c < channels; ++c)
        copy({element(s.data, s.dtype, from + c * s.channel_stride), row_stride, column_stride,
              to + c * channel_stride, width * pixel_stride, pixel_stride, height, columns, false});
    }
  }
};

// The channels whose feature lies in [begin, end) for one tap.
struct ChannelRange {
  int64_t low, high;
};
ChannelRange channels_of(const FeatureOrder& o, int64_t tap, int64_t begin, int64_t end) {
  const int64_t at = tap * o.tap_step;
  return {std::clamp<int64_t>(ceil_div(begin - at, o.channel_step), 0, o.channels),
          std::clamp<int64_t>(ceil_div(end - at, o.channel_step), 0, o.channels)};
}

// The taps that features [begin, end) read, first ... first + count - 1, counted on from the last tap to tap
// 0.
struct TapRange {
  int64_t first, count;
};
TapRange taps_of(const FeatureOrder& o, int64_t begin, int64_t end) {
  if (begin >= end) return {0, 0};
  if (o.tap_step == 1) return {begin % o.taps, std::min(end - begin, o.taps)};
  return {begin / o.channels, (end - 1) / o.channels - begin / o.channels + 1};
}

// Features [begin, end) land at (feature - begin) * feature_stride.
template <class T>
void pack_features(const KernelTable& table, const PixelGather& g, const std::vector<PixelSegment>& segments,
                   int64_t first_channel, const FeatureOrder& order, int64_t begin, int64_t end,
                   int64_t feature_stride, int64_t pixel_stride, T* packed) {
  const TapRange taps = taps_of(order, begin, end);
  const std::size_t n1 = g.axis[1].taps.size(), n2 = g.axis[2].taps.size();
  for (int64_t i = 0; i < taps.count; ++i) {
    const int64_t tap = (taps.first + i) % order.taps;
    const auto t = static_cast<std::size_t>(tap);
    const ChannelRange c = channels_of(order, tap, begin, end);
    const int64_t feature = c.low * order.channel_step + tap * order.tap_step - begin;
    for (const PixelSegment& s : segments)
      SegmentCopy<T>{table,
                     g,
                     &g.axis[0].taps[t / (n1 * n2)],
                     &g.axis[1].taps[t / n2 % n1],
                     &g.axis[2].taps[t % n2],
                     s,
                     first_channel + c.low,
                     c.high - c.low,
                     s.rows,
                     s.columns,
                     packed + feature * feature_stride + s.start * pixel_stride,
                     feature_stride * order.channel_step,
                     pixel_stride,
                     Zeroed::nothing}
          .run();
  }
}

}  // namespace

void cut_pixels(const PixelGather& g, int64_t begin, int64_t count, std::vector<PixelSegment>* segments) {
  segments->clear();
  const int64_t n0 = g.axis[0].positions, n1 = g.axis[1].positions, n2 = g.axis[2].positions;
  for (int64_t done = 0; done < count;) {
    const int64_t pixel = begin + done, left = count - done;
    PixelSegment s{pixel / (n0 * n1 * n2), {pixel / (n1 * n2) % n0, pixel / n2 % n1, pixel % n2}, 1, 0, done};
    if (s.position[2] == 0 && left >= n2) {
      s.rows = std::min(left / n2, n1 - s.position[1]);
      s.columns = n2;
    } else {
      s.columns = std::min(left, n2 - s.position[2]);
    }
    segments->push_back(s);
    done += s.rows * s.columns;
  }
}

void result_offsets(const PixelGather& g, const std::vector<PixelSegment>& segments, int64_t* offsets) {
  const ImageView& r = g.result;
  for (const PixelSegment& s : segments) {
    int64_t at = s.image * r.batch_stride;
    for (int a = 0; a < kAxes; ++a) at += s.position[a] * r.stride[a];
    int64_t* to = offsets + s.start;
    for (int64_t row = 0; row < s.rows; ++row, at += r.stride[1])
      for (int64_t i = 0; i < s.columns; ++i) *to++ = at + i * r.stride[2];
  }
}

template <class T>
void pack_pixels(const KernelTable& table, const PixelGather& g, const std::vector<PixelSegment>& segments,
                 int64_t first_channel, const FeatureOrder& order, int64_t begin, int64_t count,
                 bool features_are_lines, const PanelLayout& layout, T* packed) {
  if (!features_are_lines) {
    pack_features(table, g, segments, first_channel, order, begin, begin + count, layout.depth_stride,
                  layout.line_stride, packed);
    return;
  }
  for (int64_t at = 0; at < count; at += layout.panel_lines) {
    const int64_t end = std::min(at + layout.panel_lines, count);
    pack_features(table, g, segments, first_channel, order, begin + at, begin + end, layout.line_stride,
                  layout.depth_stride, packed + at / layout.panel_lines * layout.panel_stride);
  }
}

template <class T>
void pack_planes(const KernelTable& table, const PixelGather& g, const PlaneLayout& layout,
                 const std::vector<PixelSegment>& segments, int64_t first_channel, int64_t channels,
                 PlaneLanes lanes, T* planes) {
  const int64_t pixel_stride = lanes.width ? lanes.width : 1;
  const int64_t channel_stride = lanes.width ? 1 : layout.copies() * layout.elements;
  for (const PixelSegment& segment : segments) {
    T* dst = planes + segment.start * pixel_stride;
    for (const TapMap& copy0 : layout.axis[0].copies)
      for (const TapMap& copy1 : layout.axis[1].copies)
        for (const TapMap& copy2 : layout.axis[2].copies) {
          SegmentCopy<T>{table,          g,           &copy0,
                         &copy1,         &copy2,      segment,
                         first_channel,  channels,    segment.rows + layout.axis[1].halo,
                         layout.width(), dst,         channel_stride,
                         pixel_stride,   lanes.zeroed}
              .run();
          dst += layout.elements * pixel_stride;
        }
  }
}

template <class T>
void pack_filters(const KernelTable& table, const FilterMatrix& m, const std::vector<int64_t>& kernel_tap,
                  const FeatureOrder& order, int64_t first, int64_t lines, int64_t begin, int64_t count,
                  const PanelLayout& layout, T* packed) {
  const FilterView& w = m.filters;
  const int64_t filter_stride = w.channels * w.taps;
  const int64_t line_step = m.by_channel ? w.taps : filter_stride;
  const int64_t feature_step = m.by_channel ? filter_stride : w.taps;
  const bool whole_kernel = m.in_order && order.tap_step == 1;  // numbered as it lies in memory
  const auto copy = table.copy_block[static_cast<int>(w.dtype)];
  for (int64_t at = 0; at < lines; at += layout.panel_lines) {
    const int64_t rows = std::min(layout.panel_lines, lines - at);
    const int64_t origin = m.first_filter * filter_stride + (first + at) * line_step;
    T* panel = packed + at / layout.panel_lines * layout.panel_stride;
    if (whole_kernel) {  // one kernel after the other, or all at once where they adjoin
      const int64_t adjoining = m.by_channel ? w.taps : count;
      for (int64_t done = 0; done < count;) {
        const int64_t feature = begin + done, tap = m.by_channel ? feature % w.taps : 0;
        const int64_t part = std::min(adjoining - tap, count - done);
        const int64_t from = m.by_channel ? feature / w.taps * feature_step + tap : feature;
        copy({element(w.data, w.dtype, origin + from), line_step, 1, panel + done * layout.depth_stride,
              layout.line_stride, layout.depth_stride, rows, part, false});
        done += part;
      }
      continue;
    }
    const TapRange taps = taps_of(order, begin, begin + count);
    for (int64_t i = 0; i < taps.count; ++i) {
      const int64_t t = (taps.first + i) % order.taps;
      const ChannelRange c = channels_of(order, t, begin, begin + count);
      const int64_t feature = c.low * order.channel_step + t * order.tap_step - begin;
      const int64_t from = origin + c.low * feature_step + kernel_tap[static_cast<std::size_t>(t)];
      copy({element(w.data, w.dtype, from), line_step, feature_step, panel + feature * layout.depth_stride,
            layout.line_stride, layout.depth_stride * order.channel_step, rows, c.high - c.low, false});
    }
  }
}

template void pack_pixels<float>(const KernelTable&, const PixelGather&, const std::vector<PixelSegment>&,
                                 int64_t, const FeatureOrder&, int64_t, int64_t, bool, const PanelLayout&,
                                 float*);
template void pack_pixels<double>(const KernelTable&, const PixelGather&, const std::vector<PixelSegment>&,
                                  int64_t, const FeatureOrder&, int64_t, int64_t, bool, const PanelLayout&,
                                  double*);
template void pack_planes<float>(const KernelTable&, const PixelGather&, const PlaneLayout&,
                                 const std::vector<PixelSegment>&, int64_t, int64_t, PlaneLanes, float*);
template void pack_planes<double>(const KernelTable&, const PixelGather&, const PlaneLayout&,
                                  const std::vector<PixelSegment>&, int64_t, int64_t, PlaneLanes, double*);
template void pack_filters<float>(const KernelTable&, const FilterMatrix&, const std::vector<int64_t>&,
                                  const FeatureOrder&, int64_t, int64_t, int64_t, int64_t, const PanelLayout&,
                                  float*);
template void pack_filters<double>(const KernelTable&, const FilterMatrix&, const std::vector<int64_t>&,
                                   const FeatureOrder&, int64_t, int64_t, int64_t, int64_t,
                                   const PanelLayout&, double*);

}  // namespace fastconv::cpu
