#include <cstdlib>

#include "cuda/kernels/pool_gradient.h"
#include "cuda/launch.h"
#include "cuda/pool.h"
#include "cuda/with_dtype.h"

namespace fastconv::cuda {
namespace {

// The divisor of every window, or 0 where they differ.
std::int64_t common_divisor(const PoolProblem& problem) {
  std::int64_t divisor = 1;
  for (int i = 0; i < kAxes; ++i) {
    const PoolAxis& axis = problem.axis[i];
    const std::int64_t last = problem.divisor(i, axis.output - 1);
    // Padding that counts is missing from the last window alone.
    const bool one = problem.divisor_override != 0 || axis.output == 1 ||
                     axis.inner_windows().count == axis.output ||
                     (!axis.adaptive && problem.count_include_pad && problem.divisor(i, 0) == last);
    if (!one) return 0;
    divisor *= last;
  }
  return divisor;
}

struct Gradients {
  const PoolProblem& problem;
  double p;
  ImageView dy, dx;
  const void *x, *y;
  bool along_channels;
  Stream stream;

  template <class S, template <class> class Gradient>
  void run(bool adjacent) const {
    constexpr std::int64_t kFew = INT32_MAX;
    const bool few = dy.size[0] * std::abs(dy.stride[0]) <= kFew && problem.windows() <= kFew;
    if (!few) return launch_kernel<S, Gradient, false, std::int64_t>();
    if (adjacent) return launch_kernel<S, Gradient, true, int>();
    launch_kernel<S, Gradient, false, int>();
  }

  template <class S, template <class> class Gradient, bool kAdjacent, class Index>
  void launch_kernel() const {
    using Kernel = PoolGradientKernel<S, Gradient, kAdjacent, Index>;
    LaneGrid grid(dx, problem.positions(), kLanes<S>, along_channels, kAdjacent);
    grid.share_out();
    typename Kernel::Arguments a = {grid, Windows(problem), dy, dx, y, x, Gradient<ComputeType<S>>(p), {}, 0};
    for (int i = 0; i < kAxes; ++i) a.pitch[i] = problem.axis[i].reader_step() * dy.stride[i];
    a.common_divisor = static_cast<double>(common_divisor(problem));
    launch<Kernel>(stream, ceil_div(grid.threads(), Kernel::kThreads), 0, a);
  }
};

}  // namespace

void pool_gradient(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& dy,
                   const void* x, const void* y, const ImageView& dx, bool channels_last, Stream stream) {
  if (dx.batch == 0 || dx.channels == 0) return;
  const bool along_channels = channels_last && dx.channels > 1;
  const bool adjacent = along_channels && holds_packets(dy) && holds_packets(dx) && aligned(x) && aligned(y);
  const Gradients gradients = {
      problem,        p,     along_channels ? dy : one_image(dy), along_channels ? dx : one_image(dx), x, y,
      along_channels, stream};
  with_dtype(dx.dtype, [&](auto element) {
    using S = decltype(element);
    if (operation == PoolOperation::power) return gradients.run<S, PowerGradient>(adjacent);
    gradients.run<S, MeanGradient>(adjacent);
  });
}

}  // namespace fastconv::cuda
