// A back end for tests of the bindings alone, which csrc/python/cuda_module.cpp makes a module of: the CPU
// computes, and what was asked for stands in description(), which forgets it.
#include <pybind11/pybind11.h>

#include <utility>

#include "cuda/backend.h"
#include "python/backend_factory.h"

namespace fastconv::cuda {
namespace {

std::string record;

class RecordingBackend final : public Backend {
 public:
  explicit RecordingBackend(Backend& cpu) : cpu_(cpu) {}

  Workspace workspace(int64_t bytes) override { return cpu_.workspace(bytes); }
  void wait(const std::string& function) override { record += "wait " + function + "\n"; }
  std::unique_ptr<ConvRoute> conv_route(const std::string& function, const ConvProblem& problem,
                                        Direction direction, Dtype dtype, Precision precision,
                                        const std::string& algorithm) override {
    record += "conv_route " + function + "\n";
    return cpu_.conv_route(function, problem, direction, dtype, precision, algorithm);
  }
  void activation_gradient(Activation kind, Dtype dtype, const void* dy, const void* at, void* dz,
                           int64_t count) override {
    cpu_.activation_gradient(kind, dtype, dy, at, dz, count);
  }
  void channel_sums(const ImageView& dy, Dtype result, void* db) override {
    cpu_.channel_sums(dy, result, db);
  }
  void pool(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& x,
            const ImageView& y, int64_t* indices, bool channels_last) override {
    cpu_.pool(problem, operation, p, x, y, indices, channels_last);
  }
  void pool_gradient(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& dy,
                     const void* x, const void* y, const ImageView& dx, bool channels_last) override {
    cpu_.pool_gradient(problem, operation, p, dy, x, y, dx, channels_last);
  }
  void scatter_sums(const PoolPositions& positions) override { cpu_.scatter_sums(positions); }
  void scatter_values(const PoolPositions& positions) override { cpu_.scatter_values(positions); }
  void gather_values(const PoolPositions& positions) override { cpu_.gather_values(positions); }
  void copy(const StridedArray& from, const StridedArray& to) override {
    record += "copy\n";
    cpu_.copy(from, to);
  }

 private:
  Backend& cpu_;
};

}  // namespace

std::unique_ptr<Backend> make_backend(int device, void* stream) {
  record += "device " + std::to_string(device) + " stream " +
            std::to_string(reinterpret_cast<std::uintptr_t>(stream)) + "\n";
  const auto core = pybind11::module_::import("fastconv._core");
  return std::make_unique<RecordingBackend>(
      *static_cast<Backend*>(PyCapsule_GetPointer(core.attr("cpu_backend").ptr(), python::kCpuBackend)));
}

std::string description() { return std::exchange(record, {}); }

}  // namespace fastconv::cuda
