// Losses, as the mean over the rows or elements, and their gradients by the prediction, of contiguous arrays.
// Losses are added up in double, in an order that the sizes fix.
#pragma once

#include "cpu/contracts/layers.h"

namespace fastconv::cpu {

// Of softmax(logits) against the targets, one weight for each class, or against the labels' classes where
// those are given, 0 <= labels[i] < classes: weight 1 there and 0 elsewhere. What counts is (1 - smoothing)
// times that plus smoothing / classes.
struct ClassTargets {
  const int64_t* labels;
  const void* targets;
};
double cross_entropy(Dtype dtype, const void* logits, const ClassTargets& given, int64_t rows,
                     int64_t classes, double smoothing, void* gradient);

double binary_cross_entropy(Dtype dtype, const void* logits, const void* targets, int64_t count,
                            void* gradient);

double mean_squared_error(Dtype dtype, const void* prediction, const void* target, int64_t count,
                          void* gradient);

}  // namespace fastconv::cpu
