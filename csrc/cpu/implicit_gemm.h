// Convolutions as matrix products over packed panels, without an im2col matrix in memory: the pixels that a
// task needs are gathered into a panel that stays in the cache.
#pragma once

#include <vector>

#include "core/buffer_pool.h"
#include "core/conv_as_gemm.h"
#include "cpu/product.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

// For each gather g and group: result[pixel, line] = activation(bias[line] + sum over features of pixel x
// filters). by_channel = false: lines are the group's filters, features its channels (forward); true: the
// reverse (input gradient). Of `filters`, only sizes and dtype count here.
std::unique_ptr<Product> pixel_product(const Machine& machine, std::vector<PixelGather> gathers,
                                       const FilterView& filters, bool by_channel, int64_t groups);

// dw[k][c, t] = sum over pixels of dy[pixel, k] * x[pixel, (c, t)], group by group; dy is the gather's
// result.
std::unique_ptr<Product> image_product(const Machine& machine, PixelGather x, int64_t groups,
                                       const FilterView& dw);

// The same with vectors along the pixels, so that nothing but planes of x is packed: what few filters or few
// channels are served better by.
bool suits_correlation(const Machine& machine, const PixelGather& x, int64_t groups);
std::unique_ptr<Product> plane_correlation(const Machine& machine, PixelGather x, int64_t groups,
                                           const FilterView& dw);

// The sums of a weight gradient over slices of the pixels, each laid out as dw. The first slice is dw itself,
// where that is of the compute type T.
template <class T>
class SliceSums {
 public:
  SliceSums(int64_t slices, const FilterView& dw)
      : dw_(dw),
        slices_(slices),
        count_(dw.filters * dw.channels * dw.taps),
        first_(compute_dtype(dw.dtype) == dw.dtype ? static_cast<T*>(dw.data) : nullptr),
        others_(bytes(slices, dw)) {}

  // Of the slices beside dw.
  static int64_t bytes(int64_t slices, const FilterView& dw) {
    const int64_t beside = compute_dtype(dw.dtype) == dw.dtype ? slices - 1 : slices;
    return beside * dw.filters * dw.channels * dw.taps * static_cast<int64_t>(sizeof(T));
  }

  T* of(int64_t slice) const {
    if (first_) return slice == 0 ? first_ : others_.as<T>() + (slice - 1) * count_;
    return others_.as<T>() + slice * count_;
  }

  void add_up(const Machine& machine) const;  // in order, into dw

 private:
  const FilterView dw_;
  const int64_t slices_, count_;
  T* const first_;
  const Buffer others_;
};

}  // namespace fastconv::cpu
