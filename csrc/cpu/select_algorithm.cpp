#include "cpu/select_algorithm.h"

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

// Winograd's maps cost some of the bits that shorter sums win back. Measured against NumPy's im2col and BLAS
// on normal, rectified and positive data, in chains of 32: the error of tiles of 2 is 1.9 times as large
// with one channel, 1.6 with 8, and from 16 on at most 1.4; that of the weight gradient 2.4 times with 8
// tiles to sum up over, and at most 1.4 from 225 on. Tiles of 4 have errors of up to 3e-6.
constexpr int64_t kLeastTermsOfHighest = 16, kLeastTilesOfHighest = 256;
constexpr int64_t kMostOuterTaps = 16;

bool winograd_serves(const ConvProblem& p, Direction direction, Dtype dtype, std::string* why_not) {
  const bool gradient = direction == Direction::input_gradient;
  if (p.kernel[1] != 3 || p.kernel[2] != 3 || p.stride[1] != 1 || p.stride[2] != 1 || p.dilation[1] != 1 ||
      p.dilation[2] != 1) {
    *why_not = "winograd serves kernels of 3x3 at stride 1 without dilation along the two inner axes only";
  } else if (p.kernel[0] > kMostOuterTaps) {
    *why_not = "winograd serves kernels of up to " + std::to_string(kMostOuterTaps) + " along the depth";
  } else if (compute_dtype(dtype) == Dtype::float64) {
    *why_not = "winograd serves float32, float16 and bfloat16 only";
  } else if (gradient && p.mode != PaddingMode::zeros) {
    *why_not = "winograd serves input gradients with padding_mode='zeros' only";
  } else if (gradient && (p.input[1] < 3 || p.input[2] < 3)) {
    *why_not = "winograd serves input gradients of 3x3 pixels and more only";
  } else {
    return true;
  }
  return false;
}

// Outputs of a tile along each axis, or 0 with the reason why Winograd can't serve the call.
int winograd_tile(const ConvProblem& p, Direction direction, Dtype dtype, Precision precision,
                  std::string* why_not) {
  if (!winograd_serves(p, direction, dtype, why_not)) return 0;
  if (precision != Precision::highest)
    return winograd_cost(p, direction, 2) < winograd_cost(p, direction, 4) ? 2 : 4;
  const std::string promise = "winograd keeps the promise of precision='highest' from ";
  if (direction == Direction::weight_gradient) {
    if (winograd_tiles(p, 2) >= kLeastTilesOfHighest) return 2;
    *why_not = promise + std::to_string(kLeastTilesOfHighest) + " tiles of 2x2 to sum up over on";
  } else {
    const int64_t terms = direction == Direction::forward ? p.channels_per_group() : p.filters_per_group();
    if (p.kernel[0] * terms >= kLeastTermsOfHighest) return 2;
    *why_not = promise + std::to_string(kLeastTermsOfHighest) + " channels to sum up over on";
  }
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
    } else if (tile && winograd_cost(p, direction, tile) < product_cost(p, direction)) {
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
    plan.reasons.push_back(!serves ? why_not
                           : requested == "auto"
                               ? std::string(name_of(route)) + " would cost more"
                               : std::string(name_of(route)) + " would serve this call, but " +
                                     name_of(plan.algorithm) + " was asked for");
  };
  explain(Algorithm::direct, direct, not_direct);
  explain(Algorithm::winograd, tile > 0, not_winograd);
  return plan;
}

}  // namespace fastconv::cpu
