// Maps with coefficients of each channel (ChannelMap in contracts/layers.h), a row or a column being a
// channel:
//
//   normalise       out = activation((x - centre) * scale + shift)
//   normalise_grad  out = dy * scale + (x - centre) * slope + shift
#pragma once

#include "cpu/contracts/layers.h"
#include "cpu/kernels/activations.h"
#include "cpu/kernels/channel_reduction.h"
#include "cpu/kernels/vector_loop.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// A coefficient of each row, or of each column.
template <class V, bool kColumns>
struct Coefficient {
  const typename V::Scalar* values;
  V row_value = V::zero();

  explicit Coefficient(const void* p) : values(static_cast<const typename V::Scalar*>(p)) {}
  void enter_row(int64_t i) {
    if (!kColumns) row_value = V::all(values[i]);
  }
  template <class Lanes>
  V at(int64_t j, Lanes lanes) const {
    return kColumns ? lanes.load(values + j) : row_value;
  }
};

template <bool kColumns, class V, class S>
void normalise(const ChannelMap& m) {
  Coefficient<V, kColumns> centre(m.centre), scale(m.scale), shift(m.shift);
  with_activation_or_costly(m.activation, [&](auto kind) {
    for (int64_t i = 0; i < m.rows; ++i) {
      centre.enter_row(i), scale.enter_row(i), shift.enter_row(i);
      const S* x = static_cast<const S*>(m.x) + i * m.row_stride;
      S* out = static_cast<S*>(m.out) + i * m.row_stride;
      for_each_vector<V>(m.cols, [&](int64_t j, auto lanes) {
        const V scaled = fma(lanes.load(x + j) - centre.at(j, lanes), scale.at(j, lanes), shift.at(j, lanes));
        lanes.store(out + j, activate(kind, scaled));
      });
    }
  });
}

template <bool kColumns, class V, class S>
void normalise_grad(const ChannelMap& m) {
  Coefficient<V, kColumns> centre(m.centre), scale(m.scale), shift(m.shift), slope(m.slope);
  for (int64_t i = 0; i < m.rows; ++i) {
    centre.enter_row(i), scale.enter_row(i), shift.enter_row(i), slope.enter_row(i);
    const S* dy = static_cast<const S*>(m.dy) + i * m.row_stride;
    const S* x = static_cast<const S*>(m.x) + i * m.row_stride;
    S* out = static_cast<S*>(m.out) + i * m.row_stride;
    for_each_vector<V>(m.cols, [&](int64_t j, auto lanes) {
      const V direct = fma(lanes.load(dy + j), scale.at(j, lanes), shift.at(j, lanes));
      lanes.store(out + j, fma(lanes.load(x + j) - centre.at(j, lanes), slope.at(j, lanes), direct));
    });
  }
}

template <class V, class S>
constexpr void fill_channel_kernels(ChannelKernels& k, Dtype t) {
  const int i = static_cast<int>(t);
  k.sum[0][i] = reduce_planes<Sum, V, S>;
  k.sum[1][i] = reduce_columns<Sum, V, S>;
  k.moments[0][i] = reduce_planes<Moments, V, S>;
  k.moments[1][i] = reduce_columns<Moments, V, S>;
  k.gradient[0][i] = reduce_planes<Gradient, V, S>;
  k.gradient[1][i] = reduce_columns<Gradient, V, S>;
  k.normalise[0][i] = normalise<false, V, S>;
  k.normalise[1][i] = normalise<true, V, S>;
  k.normalise_grad[0][i] = normalise_grad<false, V, S>;
  k.normalise_grad[1][i] = normalise_grad<true, V, S>;
}

constexpr ChannelKernels channel_kernels() {
  ChannelKernels k{};
  fill_channel_kernels<VecF32, float>(k, Dtype::float32);
  fill_channel_kernels<VecF64, double>(k, Dtype::float64);
  fill_channel_kernels<VecF32, Float16>(k, Dtype::float16);
  fill_channel_kernels<VecF32, BFloat16>(k, Dtype::bfloat16);
  return k;
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
