#include <algorithm>
#include <cstdlib>

#include "cuda/kernels/pool_reductions.h"
#include "cuda/kernels/pool_windows.h"
#include "cuda/launch.h"
#include "cuda/pool.h"
#include "cuda/with_dtype.h"

namespace fastconv::cuda {
namespace {

// The most elements that a window holds along an axis.
std::int64_t most_taps(const PoolAxis& axis) {
  return std::min(axis.adaptive ? axis.input / axis.output + 2 : axis.kernel, axis.input);
}

// Windows for several threads: wide ones that hardly overlap, which threads of their own would read far from
// each other, and those too wide for a single one's arithmetic.
bool pays_to_share(const PoolProblem& problem, const ImageView& x) {
  constexpr std::int64_t kWide = 32, kVeryWide = 512;
  std::int64_t elements = 1, reach = 0;
  for (int i = 0; i < kAxes; ++i) {
    const PoolAxis& axis = problem.axis[i];
    elements *= most_taps(axis);
    reach += (most_taps(axis) - 1) * axis.dilation * std::abs(x.stride[i]);
  }
  return elements >= kVeryWide || reach > INT32_MAX ||
         (elements >= kWide && problem.windows() * elements <= 2 * problem.positions());
}

int power_of_two(std::int64_t at_least, int most) {
  int power = 1;
  while (power < at_least && power < most) power *= 2;
  return power;
}

template <class S, bool kAdjacent, class Operation>
void run(const PoolProblem& problem, const Operation& operation, const ImageView& x, const ImageView& y,
         int64_t* indices, bool channels_last, Stream stream) {
  const auto arguments = [&](int width) {
    const LaneGrid grid(y, problem.windows(), kLanes<S>, channels_last, kAdjacent, width);
    return PoolArguments<Operation>(grid, problem, operation, x, y, indices);
  };
  if (pays_to_share(problem, x)) {
    using Kernel = PoolReductionKernel<S, Operation, kAdjacent>;
    constexpr std::int64_t kElementsOfPart = 4;
    const int width = channels_last ? power_of_two(ceil_div(y.channels, kLanes<S>), kWarp) : 1;
    std::int64_t elements = 1;
    for (const PoolAxis& axis : problem.axis) elements *= most_taps(axis);
    const int parts = power_of_two(ceil_div(elements, kElementsOfPart), Kernel::kThreads / width);
    const PoolReductionArguments<Operation> a = {arguments(width), width, parts};
    launch<Kernel>(stream, ceil_div(a.grid.threads() * parts, Kernel::kThreads), Kernel::kSharedBytes, a);
  } else {
    using Kernel = PoolWindowsKernel<S, Operation, kAdjacent>;
    PoolArguments<Operation> a = arguments(1);
    a.grid.share_out();
    launch<Kernel>(stream, ceil_div(a.grid.threads(), Kernel::kThreads), 0, a);
  }
}

}  // namespace

void pool(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& x,
          const ImageView& y, int64_t* indices, bool channels_last, Stream stream) {
  if (x.batch == 0 || x.channels == 0) return;
  const bool along_channels = channels_last && x.channels > 1;
  const bool in_a_row = !along_channels && planes_in_a_row(x) && planes_in_a_row(y);
  const ImageView from = in_a_row ? one_image(x) : x, to = in_a_row ? one_image(y) : y;
  const bool adjacent = along_channels && holds_packets(x) && holds_packets(y) && aligned(indices);
  with_dtype(x.dtype, [&](auto element) {
    using S = decltype(element);
    using T = ComputeType<S>;
    const auto run_with = [&](const auto& what) {
      if (adjacent) return run<S, true>(problem, what, from, to, indices, along_channels, stream);
      run<S, false>(problem, what, from, to, indices, along_channels, stream);
    };
    if (operation == PoolOperation::mean) return run_with(Mean<T>());
    if (operation == PoolOperation::power) return run_with(PowerSum<T>(p));
    if (indices) return run_with(NumberedMaximum<T>());
    run_with(Maximum<T>());
  });
}

}  // namespace fastconv::cuda
