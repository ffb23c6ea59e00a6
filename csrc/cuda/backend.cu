#include <stdexcept>

#include "cuda/backend.h"
#include "cuda/convolution.h"
#include "cuda/elementwise.h"
#include "cuda/pool.h"
#include "cuda/runtime.h"

#ifndef FASTCONV_CUDA_BUILT_FOR
#define FASTCONV_CUDA_BUILT_FOR "this CPU, emulated"
#endif

namespace fastconv::cuda {
namespace {

class RouteOnDevice : public ConvRoute {
 public:
  RouteOnDevice(int device, std::unique_ptr<ConvRoute> route) : device_(device), route_(std::move(route)) {}
  const char* name() const override { return route_->name(); }
  void images(const ImageView& from, const FilterView& w, const Epilogue& epilogue,
              const ImageView& to) const override {
    const CurrentDevice current(device_);
    route_->images(from, w, epilogue, to);
  }
  void filters(const ImageView& dy, const ImageView& x, const FilterView& dw) const override {
    const CurrentDevice current(device_);
    route_->filters(dy, x, dw);
  }

 private:
  int device_;
  std::unique_ptr<ConvRoute> route_;
};

// Every function on the backend's device and stream.
class CudaBackend : public Backend {
 public:
  CudaBackend(int ordinal, Stream stream) : device_(ordinal), stream_(stream) { (void)device(ordinal); }

  Workspace workspace(int64_t bytes) override {
    const CurrentDevice current(device_);
    const auto free = [ordinal = device_, stream = stream_](void* memory) {
      const CurrentDevice then(ordinal);
      give_back(memory, stream);
    };
    return Workspace(allocate(bytes, stream_), free);
  }

  void wait(const std::string& function) override {
    const CurrentDevice current(device_);
    try {
      cuda::wait(stream_);
    } catch (const std::runtime_error& error) {
      throw std::runtime_error(function + ": " + error.what());
    }
  }

  std::unique_ptr<ConvRoute> conv_route(const std::string& function, const ConvProblem& problem,
                                        Direction direction, Dtype dtype, Precision precision,
                                        const std::string& algorithm) override {
    return std::make_unique<RouteOnDevice>(
        device_, cuda::conv_route(function, problem, direction, dtype, precision, algorithm,
                                  device(device_).capability, stream_));
  }

  void activation_gradient(Activation kind, Dtype dtype, const void* dy, const void* before_or_result,
                           void* dz, int64_t count) override {
    const CurrentDevice current(device_);
    cuda::activation_gradient(kind, dtype, dy, before_or_result, dz, count, stream_);
  }
  void channel_sums(const ImageView& dy, Dtype result, void* db) override {
    const CurrentDevice current(device_);
    cuda::channel_sums(dy, result, db, stream_);
  }
  void pool(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& x,
            const ImageView& y, int64_t* indices, bool channels_last) override {
    const CurrentDevice current(device_);
    cuda::pool(problem, operation, p, x, y, indices, channels_last, stream_);
  }
  void pool_gradient(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& dy,
                     const void* x, const void* y, const ImageView& dx, bool channels_last) override {
    const CurrentDevice current(device_);
    cuda::pool_gradient(problem, operation, p, dy, x, y, dx, channels_last, stream_);
  }
  void scatter_sums(const PoolPositions& positions) override {
    const CurrentDevice current(device_);
    cuda::scatter_sums(positions, stream_);
  }
  void scatter_values(const PoolPositions& positions) override {
    const CurrentDevice current(device_);
    cuda::scatter_values(positions, stream_);
  }
  void gather_values(const PoolPositions& positions) override {
    const CurrentDevice current(device_);
    cuda::gather_values(positions, stream_);
  }
  void copy(const StridedArray& from, const StridedArray& to) override {
    const CurrentDevice current(device_);
    cuda::copy(from, to, stream_);
  }

 private:
  int device_;
  Stream stream_;
};

}  // namespace

std::unique_ptr<Backend> make_backend(int device, void* stream) {
  return std::make_unique<CudaBackend>(device, stream);
}

std::string description() { return "built for " FASTCONV_CUDA_BUILT_FOR; }

}  // namespace fastconv::cuda
