#include <cuda.h>
#include <cudaTypedefs.h>
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "cuda/tensor_map.h"

namespace fastconv::cuda {
namespace {

static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) && alignof(TensorMap) >= alignof(CUtensorMap));

// A function of the driver, which is not linked with.
template <class Function>
Function driver_function(const char* name) {
  constexpr unsigned kVersion = 12000;
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result;
#if CUDART_VERSION >= 12050
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion(name, &found, kVersion, cudaEnableDefault, &result);
#else
  const cudaError_t error = cudaGetDriverEntryPoint(name, &found, cudaEnableDefault, &result);
#endif
  if (error != cudaSuccess || result != cudaDriverEntryPointSuccess || !found)
    throw std::runtime_error(std::string("the CUDA driver has no ") + name);
  return reinterpret_cast<Function>(found);
}

// As unsigned integers, floats keep every bit on their way.
CUtensorMapDataType data_type(MapElement e) {
  return e == MapElement::bits16   ? CU_TENSOR_MAP_DATA_TYPE_UINT16
         : e == MapElement::bits32 ? CU_TENSOR_MAP_DATA_TYPE_UINT32
                                   : CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
}

CUtensorMapSwizzle native(Swizzle s) {
  return s == Swizzle::none ? CU_TENSOR_MAP_SWIZZLE_NONE : CU_TENSOR_MAP_SWIZZLE_128B;
}

// A tensor as the driver wants it.
struct Shape {
  explicit Shape(const MappedTensor& t) {
    for (int i = 0; i < t.axes; ++i) {
      size[i] = static_cast<cuuint64_t>(t.size[i]);
      if (i > 0) bytes[i - 1] = static_cast<cuuint64_t>(t.bytes[i]);
    }
  }
  cuuint64_t size[kMostMapAxes] = {}, bytes[kMostMapAxes - 1] = {};
};

void check(CUresult result, const char* what) {
  if (result != CUDA_SUCCESS)
    throw std::runtime_error(std::string(what) + " failed with error " + std::to_string(result));
}

}  // namespace

TensorMap map_tiles(const MappedTensor& t, const int (&box)[kMostMapAxes], Swizzle swizzle) {
  static const auto encode = driver_function<PFN_cuTensorMapEncodeTiled_v12000>("cuTensorMapEncodeTiled");
  const Shape shape(t);
  cuuint32_t counts[kMostMapAxes] = {}, steps[kMostMapAxes] = {1, 1, 1, 1, 1};
  for (int i = 0; i < t.axes; ++i) counts[i] = static_cast<cuuint32_t>(box[i]);
  TensorMap map;
  check(
      encode(reinterpret_cast<CUtensorMap*>(&map), data_type(t.element), static_cast<cuuint32_t>(t.axes),
             const_cast<void*>(t.data), shape.size, shape.bytes, counts, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             native(swizzle), CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
      "cuTensorMapEncodeTiled");
  return map;
}

// The driver's documentation gives the corners' axes as {D, H, W}; the libraries that use it pass W first, as
// all its other arrays have it, and so does this.
TensorMap map_im2col(const MappedTensor& t, const Im2colWindow& w, Swizzle swizzle) {
  static const auto encode = driver_function<PFN_cuTensorMapEncodeIm2col_v12000>("cuTensorMapEncodeIm2col");
  const Shape shape(t);
  cuuint32_t steps[kMostMapAxes] = {1, 1, 1, 1, 1};
  for (int i = 0; i < t.axes - 2; ++i) steps[i + 1] = static_cast<cuuint32_t>(w.stride[i]);
  TensorMap map;
  check(encode(reinterpret_cast<CUtensorMap*>(&map), data_type(t.element), static_cast<cuuint32_t>(t.axes),
               const_cast<void*>(t.data), shape.size, shape.bytes, w.lower, w.upper,
               static_cast<cuuint32_t>(w.channels), static_cast<cuuint32_t>(w.pixels), steps,
               CU_TENSOR_MAP_INTERLEAVE_NONE, native(swizzle), CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "cuTensorMapEncodeIm2col");
  return map;
}

}  // namespace fastconv::cuda
