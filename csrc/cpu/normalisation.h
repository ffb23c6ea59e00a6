// Batch normalisation (Ioffe & Szegedy 2015) of every channel over batch and space.
//
//   y = weight * (x - mean) * inv_std + bias,   inv_std = 1 / sqrt(variance + eps)
//
// With x^ = (x - mean) * inv_std and M elements in a channel:
//
//   dbias = sum dy,   dweight = sum dy x^
//   dx = weight * inv_std * (dy - dbias / M - x^ dweight / M)     the statistics being the batch's own
//   dx = weight * inv_std * dy                                    the statistics being given
#pragma once

#include "cpu/channel_layout.h"

namespace fastconv::cpu {

// Mean and biased variance of each channel; zeros where there are no elements. Samples of a piece are shifted
// by the mean of its first ones before they are squared, and the pieces are merged in double, so a mean that
// is large beside the deviation costs no digits (Chan, Golub, LeVeque 1983, "Algorithms for computing the
// sample variance").
void channel_moments(const ChannelLayout& layout, Dtype dtype, const void* x, double* mean, double* variance);

// y = activation((x - mean) * scale + shift).
void normalise(const ChannelLayout& layout, Dtype dtype, const void* x, const double* mean,
               const double* scale, const double* shift, Activation activation, void* y);

struct BatchNormGradient {
  const void* dy;
  const void* x;
  const double* weight;
  const double* mean;
  const double* inv_std;
  bool training;
  void* dx;
  double* dweight;
  double* dbias;
};
void batch_norm_grad(const ChannelLayout& layout, Dtype dtype, const BatchNormGradient& g);

}  // namespace fastconv::cpu
