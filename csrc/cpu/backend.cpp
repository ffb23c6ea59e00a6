#include "cpu/backend.h"

#include <algorithm>

#include "core/activation_names.h"
#include "core/buffer_pool.h"
#include "core/integers.h"
#include "cpu/channel_sums.h"
#include "cpu/convolution.h"
#include "cpu/cpu_features.h"
#include "cpu/elementwise.h"
#include "cpu/pool.h"
#include "cpu/strided_copy.h"

namespace fastconv::cpu {
namespace {

class CpuRoute final : public ConvRoute {
 public:
  CpuRoute(const ConvProblem& problem, Direction direction, const Plan& plan)
      : problem_(problem), direction_(direction), plan_(plan) {}

  const char* name() const override { return name_of(plan_.algorithm); }
  void images(const ImageView& from, const FilterView& w, const Epilogue& epilogue,
              const ImageView& to) const override {
    if (direction_ == Direction::forward) {
      conv_forward(plan_, problem_, from, w, epilogue, to);
    } else {
      conv_input_gradient(plan_, problem_, from, w, epilogue, to);
    }
  }
  void filters(const ImageView& dy, const ImageView& x, const FilterView& dw) const override {
    conv_weight_gradient(plan_, problem_, dy, x, dw);
  }

 private:
  ConvProblem problem_;
  Direction direction_;
  Plan plan_;
};

class CpuBackend final : public Backend {
 public:
  Workspace workspace(int64_t bytes) override {
    auto buffer = std::make_unique<Buffer>(bytes);
    void* data = buffer->data();
    return Workspace(data, [owned = buffer.release()](void*) { delete owned; });
  }
  void wait(const std::string&) override {}  // all functions return when they are done

  std::unique_ptr<ConvRoute> conv_route(const std::string& function, const ConvProblem& problem,
                                        Direction direction, Dtype dtype, Precision precision,
                                        const std::string& algorithm) override {
    return std::make_unique<CpuRoute>(
        problem, direction,
        select_algorithm(function, problem, direction, dtype, precision, algorithm, Machine::current()));
  }

  // As many as stay in cache, but enough pixels that the filters, which every call prepares, weigh little.
  int64_t images_at_once(const ConvProblem& problem, Dtype dtype) const override {
    constexpr int64_t kLeastPixels = 4096;
    const CpuFeatures& cpu = cpu_features();
    const int64_t pixels = product(problem.output), image = problem.out_channels * pixels * size_of(dtype);
    const int64_t cache = std::max(cpu.l3_bytes / 4, cpu.l2_bytes);
    const int64_t most = std::max<int64_t>({cache / image, kLeastPixels / pixels, 1});
    return ceil_div(problem.batch, std::max<int64_t>(ceil_div(problem.batch, most), 1));
  }

  void activation_gradient(Activation kind, Dtype dtype, const void* dy, const void* before_or_result,
                           void* dz, int64_t count) override {
    const Dtype compute = compute_dtype(dtype);
    Buffer wide_dy, wide_result;
    const auto widened = [&](const void* values, Buffer* copy) {
      if (dtype == compute) return values;
      *copy = Buffer(count * size_of(compute));
      widen(dtype, values, copy->data(), count);
      return static_cast<const void*>(copy->data());
    };
    activation_grad(kind, compute, widened(dy, &wide_dy),
                    slope_needs_input(kind) ? before_or_result : widened(before_or_result, &wide_result), dz,
                    count);
  }

  void channel_sums(const ImageView& dy, Dtype result, void* db) override {
    cpu::channel_sums(dy, result, db);
  }

  void pool(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& x,
            const ImageView& y, int64_t* indices, bool channels_last) override {
    cpu::pool(problem, operation, p, x, y, indices, channels_last);
  }
  void pool_gradient(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& dy,
                     const void* x, const void* y, const ImageView& dx, bool channels_last) override {
    cpu::pool_gradient(problem, operation, p, dy, x, y, dx, channels_last);
  }
  void scatter_sums(const PoolPositions& positions) override { cpu::scatter_sums(positions); }
  void scatter_values(const PoolPositions& positions) override { cpu::scatter_values(positions); }
  void gather_values(const PoolPositions& positions) override { cpu::gather_values(positions); }

  void copy(const StridedArray& from, const StridedArray& to) override { strided_copy(from, to); }
};

}  // namespace

Backend& backend() {
  static CpuBackend only;
  return only;
}

}  // namespace fastconv::cpu
