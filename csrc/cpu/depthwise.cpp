#include "cpu/depthwise.h"

#include <algorithm>
#include <cstring>

#include "core/buffer_pool.h"
#include "core/integers.h"
#include "cpu/line_store.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerTap = 0.15, kNsPerElement = 1.0;
constexpr int64_t kLongestSegment = 4096;  // positions of a line that a task takes
constexpr int64_t kLongestChain =
    64;  // vectors whose products are added up in float32 before they go into a double

// How the positions of a gather are cut into strips, and where a strip's lines lie in its scratch memory.
struct StripPlan {
  bool lanes;
  int width;  // channels of a task: nr, or 1
  int vector;
  int64_t least[kAxes], extent[kAxes];  // of the taps' offsets
  int64_t segment, rows;                // positions of a strip along axes 2 and 1
  int64_t segments, strips;             // their numbers
  int64_t phase_pitch, line_pitch, lines0, lines1;

  int64_t scratch_elements() const { return lines0 * lines1 * line_pitch; }
  int64_t per_image(const PixelGather& g) const { return g.axis[0].positions * strips * segments; }
};

template <class T>
StripPlan plan_strips(const Machine& machine, const PixelGather& g, int64_t multiplier,
                      bool correlates = false) {
  StripPlan s{};
  s.lanes = multiplier == 1 && channels_adjacent(g.source) && channels_adjacent(g.result);
  s.width = s.lanes ? machine.table->gemm[sizeof(T) == 8].nr : 1;
  s.vector = machine.table->depthwise[sizeof(T) == 8].lanes;
  for (int a = 0; a < kAxes; ++a) {
    const auto by_offset = [](const TapMap& x, const TapMap& y) { return x.offset < y.offset; };
    const auto ends = std::minmax_element(g.axis[a].taps.begin(), g.axis[a].taps.end(), by_offset);
    s.least[a] = ends.first->offset;
    s.extent[a] = ends.second->offset - ends.first->offset;
  }
  const int64_t budget = machine.caches.l2 / 4 / static_cast<int64_t>(sizeof(T));
  const AxisGather &outer = g.axis[1], &inner = g.axis[2];
  const int64_t longest = correlates ? kLongestChain * s.vector : kLongestSegment;
  s.segment =
      std::min(inner.positions, s.lanes ? std::max<int64_t>(kLongestChain, longest / s.width) : longest);
  s.segments = ceil_div(inner.positions, s.segment);
  if (s.lanes) {
    s.phase_pitch = 0;
    s.line_pitch = ((s.segment - 1) * inner.step + s.extent[2] + 1) * s.width;
  } else {
    s.phase_pitch = (s.segment + s.extent[2] / inner.step + 2 * s.vector) / s.vector * s.vector;
    s.line_pitch = s.phase_pitch * std::min(inner.step, s.extent[2] + 1);
  }
  s.lines0 = static_cast<int64_t>(g.axis[0].taps.size());
  const int64_t affordable = budget / (s.lines0 * s.line_pitch);
  s.rows = std::clamp<int64_t>((affordable - s.extent[1] - 1) / outer.step + 1, 1, outer.positions);
  s.strips = ceil_div(outer.positions, s.rows);
  s.lines1 = (s.rows - 1) * outer.step + s.extent[1] + 1;
  return s;
}

// One strip of one image: positions [row, row + rows) x [begin, begin + count) at j0.
struct Strip {
  int64_t image, j0, row, rows, begin, count;
};

Strip strip_at(const StripPlan& s, const PixelGather& g, int64_t index) {
  Strip r;
  r.begin = index % s.segments * s.segment;
  r.row = index / s.segments % s.strips * s.rows;
  r.j0 = index / (s.segments * s.strips) % g.axis[0].positions;
  r.image = index / s.per_image(g);
  r.count = std::min(s.segment, g.axis[2].positions - r.begin);
  r.rows = std::min(s.rows, g.axis[1].positions - r.row);
  return r;
}

// Fills and addresses the lines of strips. A line holds the source elements from q = begin * step + least on,
// elements of equal (q - first) % step together for rows, `width` channels each for lanes.
template <class T>
class StripLines {
 public:
  StripLines(const Machine& machine, const PixelGather& g, PaddingMode mode, const StripPlan& plan, T* memory)
      : table_(*machine.table),
        g_(g),
        mode_(mode),
        s_(plan),
        memory_(memory),
        lines_(static_cast<std::size_t>(g.taps())) {}

  void fill(const Strip& strip, int64_t channel) {
    for (int64_t t0 = 0; t0 < s_.lines0; ++t0) {
      const int64_t q0 = strip.j0 * g_.axis[0].step + g_.axis[0].taps[static_cast<std::size_t>(t0)].offset;
      const int64_t i0 = source_index(mode_, q0, g_.source.size[0]);
      const int64_t q1 = strip.row * g_.axis[1].step + s_.least[1];
      const int64_t used = (strip.rows - 1) * g_.axis[1].step + s_.extent[1] + 1;
      for (int64_t line = 0; line < used; ++line) {
        const int64_t i1 = source_index(mode_, q1 + line, g_.source.size[1]);
        fill_line(memory_ + (t0 * s_.lines1 + line) * s_.line_pitch, strip, channel, i0, i1);
      }
    }
  }

  // The line of every tap as row `row` of the strip sees it.
  const void* const* of_row(int64_t row) {
    std::size_t tap = 0;
    const int64_t step = g_.axis[2].step;
    for (int64_t t0 = 0; t0 < s_.lines0; ++t0)
      for (const TapMap& t1 : g_.axis[1].taps)
        for (const TapMap& t2 : g_.axis[2].taps) {
          const int64_t line = row * g_.axis[1].step + t1.offset - s_.least[1],
                        shift = t2.offset - s_.least[2];
          const int64_t at = s_.lanes ? shift * s_.width : shift % step * s_.phase_pitch + shift / step;
          lines_[tap++] = memory_ + (t0 * s_.lines1 + line) * s_.line_pitch + at;
        }
    return lines_.data();
  }

 private:
  void fill_line(T* line, const Strip& strip, int64_t channel, int64_t i0, int64_t i1) {
    const int64_t step = g_.axis[2].step, first = strip.begin * step + s_.least[2];
    const int64_t length = (strip.count - 1) * step + s_.extent[2] + 1;
    const bool empty = i0 < 0 || i1 < 0;
    const int64_t phases = s_.lanes ? 1 : std::min(step, s_.extent[2] + 1), stride = s_.lanes ? 1 : step;
    const int64_t from = strip.image * g_.source.batch_stride + channel * g_.source.channel_stride +
                         i0 * g_.source.stride[0] + i1 * g_.source.stride[1];
    for (int64_t phase = 0; phase < phases; ++phase) {
      T* dst = line + phase * s_.phase_pitch;
      const int64_t count = (length - phase + stride - 1) / stride;
      if (empty) {
        std::fill(dst, dst + count * s_.width, T(0));
      } else {
        fill_phase(dst, channel, from, first + phase, stride, count);
      }
      if (!s_.lanes) std::fill(dst + count, dst + s_.phase_pitch, T(0));
    }
  }

  // Elements q, q + step, ... of a source line.
  void fill_phase(T* dst, int64_t channel, int64_t from, int64_t q, int64_t step, int64_t count) {
    const int64_t size = g_.source.size[2];
    const int64_t low = std::clamp<int64_t>(q >= 0 ? 0 : ceil_div(-q, step), 0, count);
    const int64_t high = std::clamp<int64_t>(q >= size ? 0 : ceil_div(size - q, step), low, count);
    copy(dst + low * s_.width, channel, from, q + low * step, step, high - low);
    for (int64_t i = 0; i < count; ++i) {
      if (i == low) i = high;
      if (i >= count) break;
      const int64_t source = source_index(mode_, q + i * step, size);
      if (source < 0) {
        std::fill(dst + i * s_.width, dst + (i + 1) * s_.width, T(0));
      } else {
        copy(dst + i * s_.width, channel, from, source, step, 1);
      }
    }
  }

  void copy(T* dst, int64_t channel, int64_t from, int64_t q, int64_t step, int64_t count) {
    if (count <= 0) return;
    const ImageView& x = g_.source;
    table_.copy_block[static_cast<int>(x.dtype)](
        {element(x.data, x.dtype, from + q * x.stride[2]), step * x.stride[2], x.channel_stride, dst,
         s_.width, 1, count, std::min<int64_t>(s_.width, x.channels - channel), false});
  }

  const KernelTable& table_;
  const PixelGather& g_;
  const PaddingMode mode_;
  const StripPlan& s_;
  T* memory_;
  std::vector<const void*> lines_;
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

template <class T>
T read_one(const KernelTable& table, Dtype dtype, const void* p) {
  T value;
  table.copy_block[static_cast<int>(dtype)]({p, 1, 1, &value, 1, 1, 1, 1, false});
  return value;
}

template <class T>
void filter_as(const Machine& machine, const PixelGather& g, PaddingMode mode, const FilterView& w,
               bool by_channel, const Epilogue& epilogue) {
  const KernelTable& table = *machine.table;
  const DepthwiseKernels& kernels = table.depthwise[sizeof(T) == 8];
  const ImageView& result = g.result;
  const int64_t channels = result.channels,
                multiplier = w.filters / (by_channel ? result.channels : g.source.channels);
  const StripPlan s = plan_strips<T>(machine, g, multiplier);
  const int64_t blocks = ceil_div(channels, s.width), per_image = s.per_image(g);
  const int64_t sums = (s.segment + 2 * s.vector) * s.width;
  const int64_t elements = (s.scratch_elements() + g.taps() * s.width + sums + 2 * s.width + 63) / 32 * 32;
  const Buffer workspace(elements * machine.threads * static_cast<int64_t>(sizeof(T)));
  const double outputs = static_cast<double>(g.pixels()) * static_cast<double>(channels);
  const double work = outputs * (kNsPerElement + kNsPerTap * static_cast<double>(g.taps()));
  parallel_for(result.batch * blocks * per_image, work, machine.threads, [&](int64_t task, int worker) {
    const Strip strip = strip_at(s, g, task / (blocks * per_image) * per_image + task % per_image);
    const int64_t channel = task / per_image % blocks * s.width;
    T* memory = workspace.as<T>() + worker * elements;
    T* weights = memory + s.scratch_elements();
    T* out = weights + g.taps() * s.width;
    T* bias = out + sums;
    StripLines<T> lines(machine, g, mode, s, memory);
    for (int i = 0; i < s.width; ++i) {
      const bool real = epilogue.bias && channel + i < channels;
      bias[i] = real ? read_one<T>(table, w.dtype,
                                   element(epilogue.bias, w.dtype, (channel + i) * epilogue.bias_stride))
                     : T(0);
    }
    const auto filter_row_of = [&](int64_t row, bool accumulate) {
      const DepthwiseLine line{lines.of_row(row),        g.taps(), weights,    strip.count,
                               g.axis[2].step * s.width, out,      accumulate, nullptr};
      s.lanes ? kernels.filter_lanes(line) : kernels.filter_row(line);
    };
    const auto store_row = [&](int64_t row) {
      const int64_t at = strip.image * result.batch_stride + channel * result.channel_stride +
                         strip.j0 * result.stride[0] + (strip.row + row) * result.stride[1] +
                         strip.begin * result.stride[2];
      void* to = element(result.data, result.dtype, at);
      if (!s.lanes) {
        store_line(table, result.dtype, out, strip.count, to, result.stride[2], bias[0], epilogue.activation);
        return;
      }
      constexpr int64_t kPart = 64;
      int64_t row_offset[kPart];
      const StorePiece piece{0, 0, 0, static_cast<int>(std::min<int64_t>(s.width, channels - channel))};
      for (int64_t j = 0; j < strip.count; j += kPart) {
        const int64_t part = std::min(kPart, strip.count - j);
        for (int64_t i = 0; i < part; ++i) row_offset[i] = (j + i) * result.stride[2];
        table.store_block[static_cast<int>(result.dtype)]({out + j * s.width, part, to, row_offset, &piece, 1,
                                                           1, nullptr, epilogue.bias ? bias : nullptr,
                                                           epilogue.activation});
      }
    };
    const int64_t sources = by_channel ? multiplier : 1;
    if (sources == 1) {
      const int64_t filter = by_channel ? channel * multiplier : channel;
      lines.fill(strip, by_channel ? filter : channel / multiplier);
      read_weights(table, w, g, filter, s.width, weights);
      for (int64_t row = 0; row < strip.rows; ++row) {
        filter_row_of(row, false);
        store_row(row);
      }
      return;
    }
    // Several filters reach this channel: row by row, so that one row of sums is enough.
    for (int64_t row = 0; row < strip.rows; ++row) {
      Strip one = strip;
      one.row += row;
      one.rows = 1;
      for (int64_t i = 0; i < sources; ++i) {
        lines.fill(one, channel * multiplier + i);
        read_weights(table, w, g, channel * multiplier + i, 1, weights);
        filter_row_of(0, i > 0);
      }
      store_row(row);
    }
  });
}

template <class T>
void correlate_as(const Machine& machine, const PixelGather& x, PaddingMode mode, const FilterView& dw) {
  constexpr int64_t kWantedTasks = 64;
  const KernelTable& table = *machine.table;
  const DepthwiseKernels& kernels = table.depthwise[sizeof(T) == 8];
  const ImageView& dy = x.result;
  const int64_t multiplier = dw.filters / x.source.channels, taps = dw.taps;
  const StripPlan s = plan_strips<T>(machine, x, multiplier, true);
  const int64_t blocks = ceil_div(dw.filters, s.width), strips = dy.batch * s.per_image(x);
  // The strips of a block of filters are shared out into slices, as many as the problem asks for, whatever
  // the threads.
  const int64_t slices = std::max<int64_t>(1, std::min(strips, ceil_div(kWantedTasks, blocks)));
  const int64_t lane_sums = s.lanes ? s.width : s.vector, values = (s.segment + 2 * s.vector) * s.width;
  const int64_t elements = (s.scratch_elements() + values + taps * lane_sums + 63) / 32 * 32;
  const Buffer workspace(elements * machine.threads * static_cast<int64_t>(sizeof(T)));
  const Buffer totals(blocks * slices * taps * s.width * static_cast<int64_t>(sizeof(double)));
  const double products =
      static_cast<double>(strips) * static_cast<double>(s.rows * s.segment) * static_cast<double>(dw.filters);
  parallel_for(
      blocks * slices, products * (kNsPerElement + kNsPerTap * static_cast<double>(taps)), machine.threads,
      [&](int64_t task, int worker) {
        const int64_t slice = task % slices, channel = task / slices * s.width;
        const int64_t real = std::min<int64_t>(s.width, dw.filters - channel);
        T* memory = workspace.as<T>() + worker * elements;
        T* value = memory + s.scratch_elements();
        T* sums = value + values;
        double* total = totals.as<double>() + task * taps * s.width;
        std::fill(total, total + taps * s.width, 0.0);
        std::fill(value, value + values, T(0));
        StripLines<T> lines(machine, x, mode, s, memory);
        for (int64_t index = strips * slice / slices; index < strips * (slice + 1) / slices; ++index) {
          const Strip strip = strip_at(s, x, index);
          lines.fill(strip, channel / multiplier);
          const int64_t chain = s.lanes ? strip.count : ceil_div(strip.count, s.vector);
          int64_t pending = 0;
          std::fill(sums, sums + taps * lane_sums, T(0));
          for (int64_t row = 0; row < strip.rows; ++row) {
            const int64_t at = strip.image * dy.batch_stride + channel * dy.channel_stride +
                               strip.j0 * dy.stride[0] + (strip.row + row) * dy.stride[1] +
                               strip.begin * dy.stride[2];
            table.copy_block[static_cast<int>(dy.dtype)]({element(dy.data, dy.dtype, at), dy.stride[2],
                                                          dy.channel_stride, value, s.width, 1, strip.count,
                                                          real, false});
            if (!s.lanes) std::fill(value + strip.count, value + strip.count + s.vector, T(0));
            const DepthwiseLine line{lines.of_row(row),        taps, nullptr, strip.count,
                                     x.axis[2].step * s.width, sums, true,    value};
            s.lanes ? kernels.correlate_lanes(line) : kernels.correlate_row(line);
            pending += chain;
            if (pending + chain <= kLongestChain && row + 1 < strip.rows) continue;
            for (int64_t t = 0; t < taps; ++t)
              for (int64_t i = 0; i < lane_sums; ++i)
                total[t * s.width + (s.lanes ? i : 0)] += static_cast<double>(sums[t * lane_sums + i]);
            std::fill(sums, sums + taps * lane_sums, T(0));
            pending = 0;
          }
        }
      });
  // dw, filter by filter: the slices added in order.
  const Buffer line(taps * static_cast<int64_t>(sizeof(T)));
  for (int64_t k = 0; k < dw.filters; ++k) {
    const double* total = totals.as<double>() + k / s.width * slices * taps * s.width + k % s.width;
    for (int64_t t = 0; t < taps; ++t) {
      double sum = 0;
      for (int64_t i = 0; i < slices; ++i) sum += total[(i * taps + t) * s.width];
      line.as<T>()[t] = static_cast<T>(sum);
    }
    store_line(table, dw.dtype, line.as<T>(), taps, element(dw.data, dw.dtype, k * taps), 1, T(0),
               Activation::none);
  }
}

}  // namespace

void filter_depthwise(const Machine& machine, const PixelGather& g, PaddingMode mode,
                      const FilterView& filters, bool by_channel, const Epilogue& epilogue) {
  if (g.pixels() == 0) return;
  if (filters.dtype == Dtype::float64) {
    filter_as<double>(machine, g, mode, filters, by_channel, epilogue);
  } else {
    filter_as<float>(machine, g, mode, filters, by_channel, epilogue);
  }
}

void correlate_depthwise(const Machine& machine, const PixelGather& x, PaddingMode mode,
                         const FilterView& dw) {
  if (dw.dtype == Dtype::float64) {
    correlate_as<double>(machine, x, mode, dw);
  } else {
    correlate_as<float>(machine, x, mode, dw);
  }
}

int64_t depthwise_workspace_bytes(const Machine& machine, const PixelGather& g, int64_t multiplier) {
  const bool wide = compute_dtype(g.source.dtype) == Dtype::float64;
  const StripPlan s =
      wide ? plan_strips<double>(machine, g, multiplier) : plan_strips<float>(machine, g, multiplier);
  return machine.threads * (wide ? 8 : 4) * (s.scratch_elements() + (s.segment + 2 * s.vector) * s.width);
}

}  // namespace fastconv::cpu
