// What layers other than convolutions and pools are made of.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/dtype.h"

namespace fastconv::cpu {

using std::int64_t;

// A block of rows of contiguous elements in which every row ("planes") or every column is a channel. Adds,
// for each channel, to `sum` and `product` (see kernels/channel_reduction.h for the terms): double for
// planes, of the compute type for columns. `second` and `product` are null where the term has none; `centre`
// is of the compute type, null is zero.
struct ChannelReduction {
  const void* first;
  const void* second;
  int64_t rows, row_stride, cols;
  const void* centre;
  void* sum;
  void* product;
};

// The same block, mapped with coefficients of each channel in the compute type (see kernels/channel_map.h);
// `dy` and `slope` are for the gradient, `activation` for the other.
struct ChannelMap {
  const void* dy;
  const void* x;
  void* out;
  int64_t rows, row_stride, cols;
  const void* centre;
  const void* scale;
  const void* shift;
  const void* slope;
  Activation activation;
};

// Arrays of two are indexed by layout: [0] planes, [1] columns.
struct ChannelKernels {
  void (*sum[2][kDtypeCount])(const ChannelReduction&);
  void (*moments[2][kDtypeCount])(const ChannelReduction&);
  void (*gradient[2][kDtypeCount])(const ChannelReduction&);
  void (*normalise[2][kDtypeCount])(const ChannelMap&);
  void (*normalise_grad[2][kDtypeCount])(const ChannelMap&);
};

// Local response normalisation of a block of `rows` x `cols`, rows row_stride apart in memory; the terms that
// a window sums lie in `terms`, of the compute type, `step` apart from channel to channel (see
// kernels/response_norm.h).
struct ResponseNormBlock {
  const void* x;
  const void* dy;
  const void* y;
  void* scale;
  void* out;
  int64_t rows, row_stride, cols;
  void* terms;
  int64_t step, before, window;  // channels of the window: all, and those before the element's own
  double alpha, beta, k;         // alpha is that of each term: divided by the nominal size
};

struct ResponseNormKernels {
  void (*normalise[kDtypeCount])(const ResponseNormBlock&);
  void (*gradient[kDtypeCount])(const ResponseNormBlock&);
};

// Maps of `count` contiguous elements.
struct ElementwiseKernels {
  void (*activation[kDtypeCount])(Activation kind, const void* x, void* y, int64_t count);
  void (*activation_grad[kDtypeCount])(Activation kind, const void* dy, const void* x_or_y, void* dx,
                                       int64_t count);
  // activation(a + b)
  void (*add[kDtypeCount])(Activation kind, const void* a, const void* b, void* sum, int64_t count);
  void (*scale_mask[kDtypeCount])(const void* x, const std::uint8_t* mask, double scale, void* y,
                                  int64_t count);
  void (*narrow[kDtypeCount])(const void* compute, void* storage, int64_t count);
};

// The loss of a row is weight * log(sum_exp) - dot: sums over its exp(x - m), its target, and target * (x -
// m), m being its largest logit.
struct CrossEntropyTerms {
  double sum_exp, weight, dot;
};

// gradient = (weight * softmax(logits) - target) * scale. The target of a row is (1 - smoothing) times what
// is given, plus smoothing / cols.
struct CrossEntropyRows {
  const void* logits;
  void* gradient;
  const int64_t* labels;  // 0 <= label < cols: 1 there and 0 elsewhere is given
  const void* targets;    // or, where there are no labels, rows of the storage type
  CrossEntropyTerms* terms;
  int64_t rows, cols;
  double smoothing, scale;
};

struct SoftmaxKernels {  // of contiguous rows
  void (*softmax[kDtypeCount])(const void* x, void* y, int64_t rows, int64_t cols);
  void (*softmax_grad[kDtypeCount])(const void* dy, const void* y, void* dx, int64_t rows, int64_t cols);
  void (*cross_entropy[kDtypeCount])(const CrossEntropyRows&);
};

// Return the sum of the elements' losses; the gradient by each prediction is multiplied by `scale`.
struct LossKernels {
  double (*binary_cross_entropy[kDtypeCount])(const void* logits, const void* targets, void* gradient,
                                              double scale, int64_t count);
  double (*squared_error[kDtypeCount])(const void* prediction, const void* target, void* gradient,
                                       double scale, int64_t count);
};

}  // namespace fastconv::cpu
