#include "cpu/select_algorithm.h"

#include <algorithm>
#include <stdexcept>

#include "cpu/cpu_features.h"
#include "cpu/dispatch.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {

const char* name_of(Algorithm a) {
  switch (a) {
    case Algorithm::implicit_gemm:
      return "implicit_gemm";
    case Algorithm::direct:
      return "direct";
    case Algorithm::winograd:
      return "winograd";
  }
  return "";
}

Machine Machine::current() {
  const CpuFeatures& f = cpu_features();
  return {&active_table(), {f.l1_bytes, f.l2_bytes}, num_threads()};
}

namespace {

// A task of the direct route keeps copies for the taps: no more than this many.
constexpr int64_t kMostDirectTaps = 4096;

bool direct_serves(const ConvProblem& p, std::string* why_not) {
  if (p.channels_per_group() != 1) {
    *why_not =
        "direct serves one input channel per group only, got " + std::to_string(p.channels_per_group());
    return false;
  }
  if (p.taps() > kMostDirectTaps) {
    *why_not = "direct serves windows of up to " + std::to_string(kMostDirectTaps) + " taps";
    return false;
  }
  return true;
}

// Winograd's maps cost some of the bits that shorter sums win back: measured against NumPy's im2col and BLAS, normal
// and rectified data, the error of tiles of 2 is 1.9 times as large with one channel, 1.3 with 4, and from 8 on at most
// 1.3; that of tiles of 4 is at most 2e-6, whatever the channels.
constexpr int64_t kLeastTermsOfHighest = 8;
constexpr int64_t kMostOuterTaps = 16;

// Outputs of a tile along each axis, or 0 with the reason why Winograd can't serve the call.
int winograd_tile(const ConvProblem& p, Direction direction, Dtype dtype, Precision precision,
                  std::string* why_not) {
  for (int a = 1; a < kAxes; ++a) {
    if (p.kernel[a] == 3 && p.stride[a] == 1 && p.dilation[a] == 1) continue;
    *why_not = "winograd serves kernels of 3x3 at stride 1 without dilation along the two inner axes only";
    return 0;
  }
  if (p.kernel[0] > kMostOuterTaps) {
    *why_not = "winograd serves kernels of up to " + std::to_string(kMostOuterTaps) + " along the depth";
    return 0;
  }
  if (compute_dtype(dtype) == Dtype::float64) {
    *why_not = "winograd serves float32, float16 and bfloat16 only";
    return 0;
  }
  if (direction != Direction::forward) {
    if (p.mode != PaddingMode::zeros) {
      *why_not = "winograd serves gradients with padding_mode='zeros' only";
      return 0;
    }
    if (p.input[1] < 3 || p.input[2] < 3) {
      *why_not = "winograd serves gradients of images of 3x3 and more only";
      return 0;
    }
  }
  if (dtype != Dtype::float32 || precision != Precision::highest) return 4;
  const int64_t terms =
      p.kernel[0] * (direction == Direction::forward
                         ? p.channels_per_group()
                         : std::min(p.channels_per_group(), p.filters_per_group()));
  if (terms >= kLeastTermsOfHighest) return 2;
  *why_not = "winograd keeps the promise of precision='highest' from " +
             std::to_string(kLeastTermsOfHighest) + " channels per group on only";
  return 0;
}

}  // namespace

Plan select_algorithm(const std::string& function, const ConvProblem& p, Direction direction, Dtype dtype,
                      Precision precision, const std::string& requested, const Machine& machine) {
  std::string not_direct, not_winograd;
  const bool direct = direct_serves(p, &not_direct);
  const int tile = winograd_tile(p, direction, dtype, precision, &not_winograd);
  Plan plan{Algorithm::implicit_gemm, machine, tile, {}};
  const auto require = [&](bool serves, Algorithm route, const std::string& why_not) {
    if (!serves)
      throw std::invalid_argument(function + ": algorithm='" + name_of(route) +
                                  "' can't serve this call: " + why_not + "; use algorithm='auto'");
    plan.algorithm = route;
  };
  if (requested == "auto") {
    if (direct) {
      plan.algorithm = Algorithm::direct;
    } else if (tile) {
      plan.algorithm = Algorithm::winograd;
    }
  } else if (requested == "direct") {
    require(direct, Algorithm::direct, not_direct);
  } else if (requested == "winograd") {
    require(tile > 0, Algorithm::winograd, not_winograd);
  } else if (requested == "fft") {
    throw std::invalid_argument(function +
                                ": algorithm='fft' can't serve this call: this version has no such route; "
                                "use algorithm='auto'");
  } else if (requested != "implicit_gemm") {
    throw std::invalid_argument(function + ": algorithm is '" + requested +
                                "', expected 'auto', 'implicit_gemm', 'direct', 'winograd' or 'fft'");
  }
  const auto explain = [&](Algorithm route, bool serves, const std::string& why_not) {
    if (plan.algorithm == route) return;
    plan.reasons.push_back(serves ? std::string(name_of(route)) + " would serve this call" : why_not);
  };
  explain(Algorithm::direct, direct, not_direct);
  explain(Algorithm::winograd, tile > 0, not_winograd);
  return plan;
}

}  // namespace fastconv::cpu
