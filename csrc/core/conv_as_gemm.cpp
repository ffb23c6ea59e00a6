#include "core/conv_as_gemm.h"

#include <algorithm>

#include "core/integers.h"

namespace fastconv {
namespace {

// The element that index i reads along an axis, in bounds or not; -1 is a zero.
int64_t source_index(PaddingMode mode, int64_t i, int64_t size) {
  if (i >= 0 && i < size) return i;
  switch (mode) {
    case PaddingMode::zeros:
      return -1;
    case PaddingMode::replicate:
      return std::clamp<int64_t>(i, 0, size - 1);
    case PaddingMode::circular:
      return i < 0 ? i + size : i - size;
    case PaddingMode::reflect:
      return i < 0 ? -i : 2 * (size - 1) - i;
  }
  return -1;
}

// An axis with, for each of its taps, the index in the kernel.
struct AxisTaps {
  AxisGather gather;
  std::vector<int64_t> kernel_index;
};

AxisTaps forward_axis(const ConvProblem& p, int a) {
  AxisTaps r;
  AxisGather& g = r.gather;
  g.positions = p.output[a];
  g.step = p.stride[a];
  g.taps.reserve(static_cast<std::size_t>(p.kernel[a]));
  r.kernel_index.reserve(static_cast<std::size_t>(p.kernel[a]));
  for (int64_t t = 0; t < p.kernel[a]; ++t) {
    TapMap m;
    m.offset = t * p.dilation[a] - p.pad_before[a];
    clip_to_source(&m, g.positions, g.step, p.input[a]);
    if (p.mode != PaddingMode::zeros) {
      const auto outside = [&](int64_t j) {
        m.extra.emplace_back(j, source_index(p.mode, j * g.step + m.offset, p.input[a]));
      };
      for (int64_t j = 0; j < m.low; ++j) outside(j);
      for (int64_t j = m.high; j < g.positions; ++j) outside(j);
    }
    g.taps.push_back(std::move(m));
    r.kernel_index.push_back(t);
  }
  return r;
}

// Positions i = phase + j * stride of the input. Output o reaches the padded position i + pad_before through
// tap t where o * stride = i + pad_before - t * dilation.
AxisTaps input_gradient_axis(const ConvProblem& p, int a, int64_t phase) {
  const int64_t s = p.stride[a], size = p.input[a], pad = p.pad_before[a];
  AxisTaps r;
  AxisGather& g = r.gather;
  g.positions = phase < size ? (size - phase - 1) / s + 1 : 0;
  for (int64_t t = 0; t < p.kernel[a]; ++t) {
    const int64_t shift = phase + pad - t * p.dilation[a];
    TapMap m;
    if (shift % s == 0) {
      m.offset = floor_div(shift, s);
      clip_to_source(&m, g.positions, 1, p.output[a]);
    }
    if (p.mode != PaddingMode::zeros) {
      // Elements of the padding that are copies of this phase's positions hand their gradient back to them.
      for (int64_t o = 0; o < p.output[a]; ++o) {
        const int64_t i = o * s + t * p.dilation[a] - pad;
        if (i >= 0 && i < size) {
          o += std::max<int64_t>((size - 1 - i) / s, 0);  // skip the interior
          continue;
        }
        const int64_t copy = source_index(p.mode, i, size);
        if (copy % s == phase) m.extra.emplace_back((copy - phase) / s, o);
      }
      std::stable_sort(m.extra.begin(), m.extra.end());
    } else if (m.low == m.high) {
      continue;  // no position of this phase reads this tap
    }
    g.taps.push_back(std::move(m));
    r.kernel_index.push_back(t);
  }
  return r;
}

// The phases of an axis that some tap reaches, in order.
std::vector<int64_t> reached_phases(const ConvProblem& p, int a) {
  std::vector<int64_t> phases;
  if (p.mode != PaddingMode::zeros) {
    for (int64_t i = 0; i < std::min(p.stride[a], p.input[a]); ++i) phases.push_back(i);
    return phases;
  }
  for (int64_t t = 0; t < p.kernel[a]; ++t) {
    const int64_t shift = t * p.dilation[a] - p.pad_before[a];
    const int64_t phase = shift - floor_div(shift, p.stride[a]) * p.stride[a];
    if (phase < p.input[a]) phases.push_back(phase);
  }
  std::sort(phases.begin(), phases.end());
  phases.erase(std::unique(phases.begin(), phases.end()), phases.end());
  return phases;
}

bool is_identity(const AxisGather& g, int64_t size) {
  return g.step == 1 && g.taps.size() == 1 && g.taps[0].offset == 0 && g.taps[0].low == 0 &&
         g.taps[0].high == g.positions && g.positions == size && g.taps[0].extra.empty();
}

AxisGather single_position() {
  AxisGather g;
  g.taps.resize(1);
  g.taps[0].high = 1;
  return g;
}

// Drops axis a, which has one position or has been merged into the next; what lies further out moves one
// inwards.
void remove_axis(PixelGather* g, int a) {
  for (int b = a; b >= 1; --b) {
    g->axis[b] = g->axis[b - 1];
    for (ImageView* v : {&g->source, &g->result}) {
      v->size[b] = v->size[b - 1];
      v->stride[b] = v->stride[b - 1];
    }
  }
  g->axis[0] = single_position();
  for (ImageView* v : {&g->source, &g->result}) {
    v->size[0] = 1;
    v->stride[0] = 0;
  }
}

// Axes that are read element by element, one after the other in both tensors, become one: a 1x1 convolution
// is a single long row of pixels.
void merge_axes(PixelGather* g) {
  for (int inwards = 0, a = kAxes - 1; inwards < kAxes && a >= 1; ++inwards) {
    AxisGather &outer = g->axis[a - 1], &inner = g->axis[a];
    ImageView &s = g->source, &r = g->result;
    const bool merges = is_identity(outer, s.size[a - 1]) && is_identity(inner, s.size[a]) &&
                        s.stride[a - 1] == s.size[a] * s.stride[a] &&
                        r.stride[a - 1] == r.size[a] * r.stride[a];
    if (!merges) {
      --a;
      continue;
    }
    s.size[a] *= s.size[a - 1];
    r.size[a] *= r.size[a - 1];
    inner.positions *= outer.positions;
    inner.taps[0].high = inner.positions;
    remove_axis(g, a - 1);  // and look again at the same place
  }
}

PixelGather assemble(AxisTaps (&axes)[kAxes], const int64_t (&kernel)[kAxes], const ImageView& source,
                     const ImageView& result) {
  PixelGather g;
  g.source = source;
  g.result = result;
  g.images = source.batch;
  for (int a = 0; a < kAxes; ++a) g.axis[a] = std::move(axes[a].gather);
  for (const int64_t i : axes[0].kernel_index)
    for (const int64_t j : axes[1].kernel_index)
      for (const int64_t k : axes[2].kernel_index)
        g.kernel_tap.push_back((i * kernel[1] + j) * kernel[2] + k);
  merge_axes(&g);
  return g;
}

}  // namespace

int64_t source_near(const PixelGather& g, int64_t image, const int64_t (&position)[kAxes]) {
  int64_t at = image * g.source.batch_stride;
  for (int a = 0; a < kAxes; ++a) {
    const int64_t read = position[a] * g.axis[a].step + g.axis[a].taps[0].offset;
    at += std::clamp<int64_t>(read, 0, std::max<int64_t>(g.source.size[a] - 1, 0)) * g.source.stride[a];
  }
  return at;
}

void merge_images(PixelGather* g) {
  constexpr int a = kAxes - 1;
  AxisGather& row = g->axis[a];
  ImageView &s = g->source, &r = g->result;
  bool adjoin = g->images > 1 && is_identity(row, s.size[a]) && s.batch_stride == s.size[a] * s.stride[a] &&
                r.batch_stride == r.size[a] * r.stride[a];
  for (int i = 0; i < a; ++i) adjoin = adjoin && is_identity(g->axis[i], 1);
  if (!adjoin) return;
  row.positions *= g->images;
  row.taps[0].high = row.positions;
  for (ImageView* v : {&s, &r}) {
    v->size[a] *= g->images;
    v->batch = 1;
  }
}

void clip_to_source(TapMap* t, int64_t positions, int64_t step, int64_t size) {
  t->low = std::clamp<int64_t>(ceil_div(-t->offset, step), 0, positions);
  t->high = std::clamp<int64_t>(ceil_div(size - t->offset, step), t->low, positions);
}

PixelGather forward_gather(const ConvProblem& p, const ImageView& x, const ImageView& y) {
  AxisTaps axes[kAxes] = {forward_axis(p, 0), forward_axis(p, 1), forward_axis(p, 2)};
  return assemble(axes, p.kernel, x, y);
}

InputGradientGathers input_gradient_gathers(const ConvProblem& p, const ImageView& dy, const ImageView& dx) {
  InputGradientGathers all;
  std::vector<int64_t> phases[kAxes];
  for (int a = 0; a < kAxes; ++a) {
    phases[a] = reached_phases(p, a);
    all.untouched =
        all.untouched || static_cast<int64_t>(phases[a].size()) < std::min(p.stride[a], p.input[a]);
  }
  for (const int64_t i : phases[0])
    for (const int64_t j : phases[1])
      for (const int64_t k : phases[2]) {
        const int64_t phase[kAxes] = {i, j, k};
        AxisTaps axes[kAxes];
        ImageView result = dx;
        int64_t offset = 0;
        bool reached = true;
        for (int a = 0; a < kAxes; ++a) {
          axes[a] = input_gradient_axis(p, a, phase[a]);
          offset += phase[a] * dx.stride[a];
          result.stride[a] = dx.stride[a] * p.stride[a];
          result.size[a] = axes[a].gather.positions;
          reached = reached && !axes[a].gather.taps.empty();
        }
        if (!reached) {  // every tap of this phase falls outside dy
          all.untouched = true;
          continue;
        }
        all.phases.push_back(assemble(axes, p.kernel, dy, result));
        all.phases.back().first_result = offset;
        all.phases.back().bind(dy.data, dx.data);
      }
  return all;
}

PixelGather own_pixels(const ImageView& image, bool empty) {
  AxisTaps axes[kAxes];
  for (int a = 0; a < kAxes; ++a) {
    axes[a].gather.positions = image.size[a];
    axes[a].gather.taps.resize(empty ? 0 : 1);
    if (!empty) axes[a].gather.taps[0].high = image.size[a];
    axes[a].kernel_index.resize(empty ? 0 : 1);
  }
  const int64_t kernel[kAxes] = {1, 1, 1};
  return assemble(axes, kernel, image, image);
}

}  // namespace fastconv
