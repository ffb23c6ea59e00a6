// What computes a call: the CPU, or a device beside it. The bindings read arguments and make results in one
// way for all; a back end gets views of memory that it can reach.
//
// A device's back end works in the order of the stream that it was made for and does not wait: functions
// return when their work is queued, and a workspace may be given back as soon as that is so.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/conv_problem.h"
#include "core/pool_operation.h"
#include "core/pool_problem.h"
#include "core/product_kind.h"
#include "core/tensor_view.h"

namespace fastconv {

// Memory for the time of a call, aligned to 64 bytes at least. std::bad_alloc where there is none.
using Workspace = std::unique_ptr<void, std::function<void(void*)>>;

// An array of any rank, for copies.
constexpr int kMostAxes = 32;
struct StridedArray {
  void* data;
  int itemsize;  // 2, 4 or 8
  int ndim;
  int64_t shape[kMostAxes], stride[kMostAxes];  // strides in elements, any sign
};

// Gives an array the strides of a C-contiguous one.
inline void set_c_order(StridedArray* array) {
  int64_t step = 1;
  for (int i = array->ndim; i-- > 0; step *= array->shape[i]) array->stride[i] = step;
}

// One product of a convolution, its algorithm chosen for a problem, a dtype and a precision.
class ConvRoute {
 public:
  virtual ~ConvRoute() = default;
  virtual const char* name() const = 0;
  // Forward or input gradient: `to`, written whole. Images may be of the compute type where `w` is of a
  // storage type.
  virtual void images(const ImageView& from, const FilterView& w, const Epilogue& epilogue,
                      const ImageView& to) const = 0;
  // dw, written whole.
  virtual void filters(const ImageView& dy, const ImageView& x, const FilterView& dw) const = 0;
};

// Where the elements of C-contiguous `small` (of windows) belong in C-contiguous `large` (of positions):
// `indices`, laid out as `small`, are flat positions in the planes of `large`. The CPU throws
// std::invalid_argument, which begins with `function`, where an index is none of those; a device, which can't
// wait to look, leaves such elements out.
struct PoolPositions {
  const char* function;
  ImageView small, large;
  const int64_t* indices;
  bool channels_last;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual Workspace workspace(int64_t bytes) = 0;
  // Waits until all is done. std::runtime_error, which begins with `function`, where something failed.
  virtual void wait(const std::string& function) = 0;

  // `algorithm` is "auto" or the name of a route. std::invalid_argument, which begins with `function`, where
  // it is unknown or can't serve the call.
  virtual std::unique_ptr<ConvRoute> conv_route(const std::string& function, const ConvProblem& problem,
                                                Direction direction, Dtype dtype, Precision precision,
                                                const std::string& algorithm) = 0;

  // Images of a convolution's result to make at a time where they are read right after.
  virtual int64_t images_at_once(const ConvProblem& problem, Dtype) const { return problem.batch; }

  // dz = dy * slope, in the compute type of `dtype`. gelu and silu take what came before the activation, of
  // the compute type; the others its result, of `dtype`. All contiguous.
  virtual void activation_gradient(Activation kind, Dtype dtype, const void* dy, const void* before_or_result,
                                   void* dz, int64_t count) = 0;

  // db[c] = sum over batch and space of dy[:, c]; contiguous, of dtype `result` (dy's, or a storage type of
  // it).
  virtual void channel_sums(const ImageView& dy, Dtype result, void* db) = 0;

  // y = pool(x), C-contiguous. In x the channels of channels_last are neighbours, else the columns. For
  // maxima, `indices` takes their flat positions, laid out as y; or it is null. p: PoolOperation::power.
  virtual void pool(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& x,
                    const ImageView& y, int64_t* indices, bool channels_last) = 0;
  // dx of a mean or a p-norm (which reads the pool's x and y too). All arrays are C-contiguous.
  virtual void pool_gradient(const PoolProblem& problem, PoolOperation operation, double p,
                             const ImageView& dy, const void* x, const void* y, const ImageView& dx,
                             bool channels_last) = 0;
  virtual void scatter_sums(const PoolPositions& positions) = 0;  // large = zeros, then large[index] += small
  virtual void scatter_values(const PoolPositions& positions) = 0;  // large = zeros, then large[index] =
                                                                    // small, the last one staying
  virtual void gather_values(const PoolPositions& positions) = 0;   // small = large[index]

  // to = from, of one shape and item size.
  virtual void copy(const StridedArray& from, const StridedArray& to) = 0;
};

}  // namespace fastconv
