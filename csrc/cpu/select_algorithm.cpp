#include "cpu/select_algorithm.h"

#include <stdexcept>

#include "cpu/cpu_features.h"
#include "cpu/dispatch.h"
#include "cpu/parallel.h"
#include "cpu/tile_product.h"
#include "cpu/winograd_tiles.h"

namespace fastconv::cpu {

const char* name_of(Algorithm a) {
  switch (a) {
    case Algorithm::implicit_gemm:
      return "implicit_gemm";
    case Algorithm::direct:
      return "direct";
    case Algorithm::winograd:
      return "winograd";
    case Algorithm::tile_gemm:
      return "tile_gemm";
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

// Filters of one channel up to which they cost less one by one than as a matrix product, which reads the
// channel's pixels once for several filters. The gradient of the pixels has no such product.
bool direct_costs_less(const ConvProblem& p, Direction direction) {
  constexpr int64_t kMostFilters = 4, kMostFilterGradients = 8;
  return direction == Direction::input_gradient ||
         p.filters_per_group() <= (direction == Direction::forward ? kMostFilters : kMostFilterGradients);
}

Refusal refuse_direct(const ConvProblem& p) {
  if (p.channels_per_group() != 1)
    return {"direct serves one input channel per group only, got ", p.channels_per_group()};
  if (p.taps() > kMostDirectTaps) return {"direct serves windows of up to ", kMostDirectTaps, " taps"};
  return {};
}

// Winograd's maps cost some of the bits that shorter sums win back. Measured against NumPy's im2col and BLAS
// on normal, rectified and positive data, in chains of 32: the error of tiles of 2 is 1.9 times as large
// with one channel, 1.6 with 8, and from 16 on at most 1.4 on images of 5x5 pixels and more (1.7 on 4x4 with
// few filters, which never cost less this way), as it is for larger kernels with as many terms; that of the
// weight gradient 2.4 times with 8 tiles to sum up over, and at most 1.5 from 225 on. Tiles of 4 have errors
// of up to 3e-6.
constexpr int64_t kLeastTermsOfHighest = 16 * kWinogradTaps, kLeastTilesOfHighest = 256;

Refusal refuse_winograd(const ConvProblem& p, Direction direction, Dtype dtype, Precision precision) {
  const bool gradient = direction == Direction::input_gradient;
  for (const int a : {1, 2}) {
    if (p.kernel[a] < 3 || p.dilation[a] != 1)
      return {"winograd serves kernels of 3x3 and more without dilation along the two inner axes only"};
    if (gradient && p.stride[a] != 1)
      return {"winograd serves input gradients at stride 1 along the two inner axes only"};
    if (gradient && p.input[a] < p.kernel[a])
      return {"winograd serves input gradients of the kernel's size and more only"};
  }
  if (winograd_pieces(p) > kMostPieces)
    return {"winograd serves kernels that fall into up to ", kMostPieces, " pieces of 3x3"};
  if (compute_dtype(dtype) == Dtype::float64) return {"winograd serves float32, float16 and bfloat16 only"};
  if (gradient && p.mode != PaddingMode::zeros)
    return {"winograd serves input gradients with padding_mode='zeros' only"};
  if (precision != Precision::highest) return {};
  if (direction == Direction::weight_gradient) {
    if (winograd_tiles(p, 2) < kLeastTilesOfHighest)
      return {"winograd keeps the promise of precision='highest' from ", kLeastTilesOfHighest,
              " tiles of 2x2 to sum up over on"};
    return {};
  }
  const int64_t terms = direction == Direction::forward ? p.channels_per_group() : p.filters_per_group();
  if (p.taps() * terms < kLeastTermsOfHighest)
    return {"winograd keeps the promise of precision='highest' from ", kLeastTermsOfHighest,
            " terms to sum up over on"};
  return {};
}

// Whether some tap reads what lies between two others' windows: with a dilation beyond the positions, copies
// that taps share would hold values that no position reads, and which must not decide the route.
bool windows_overlap(const ConvProblem& p, Direction direction) {
  for (int a = 0; a < kAxes; ++a) {
    const int64_t positions = direction == Direction::forward ? p.output[a] : p.input[a] / p.stride[a];
    if (p.kernel[a] > 1 && p.dilation[a] > positions) return false;
  }
  return true;
}

Refusal refuse_tiles(const ConvProblem& p, Direction direction, Dtype dtype, const Machine& machine) {
  if (!machine.table->tiles) return {"tile_gemm serves the instruction set amx only"};
  if (compute_dtype(dtype) == Dtype::float64) return {"tile_gemm serves float32, float16 and bfloat16 only"};
  if (direction == Direction::weight_gradient)
    return {"tile_gemm serves results and input gradients only, not gradients of weights"};
  if (!windows_overlap(p, direction))
    return {"tile_gemm serves dilations of up to as many elements as the result has only"};
  return {};
}

// The cheapest of the routes that can serve.
Algorithm cheapest(const Plan& plan, const ConvProblem& p, Direction direction, Dtype dtype) {
  if (!plan.not_direct && direct_costs_less(p, direction)) return Algorithm::direct;
  Algorithm best = Algorithm::implicit_gemm;
  double least = product_cost(p, direction);
  const auto consider = [&](Algorithm route, double cost) {
    if (cost >= least) return;
    best = route;
    least = cost;
  };
  if (!plan.not_winograd) consider(Algorithm::winograd, winograd_cost(p, direction, plan.winograd_tile));
  if (!plan.not_tiles)
    consider(Algorithm::tile_gemm, tile_gemm_cost(p, direction, tile_parts(dtype, plan.precision)));
  return best;
}

// Outputs of a tile along each axis.
int winograd_tile(const ConvProblem& p, Direction direction, Precision precision) {
  if (precision == Precision::highest) return 2;
  return winograd_cost(p, direction, 2) < winograd_cost(p, direction, 4) ? 2 : 4;
}

}  // namespace

std::string Refusal::text() const {
  return before + (number < 0 ? std::string() : std::to_string(number)) + after;
}

std::vector<std::string> Plan::reasons() const {
  std::vector<std::string> texts;
  const auto add = [&](Algorithm route, const Refusal& refusal) {
    if (algorithm == route) return;
    texts.push_back(refusal      ? refusal.text()
                    : !asked_for ? std::string(name_of(route)) + " would cost more"
                                 : std::string(name_of(route)) + " would serve this call, but " +
                                       name_of(algorithm) + " was asked for");
  };
  add(Algorithm::direct, not_direct);
  add(Algorithm::winograd, not_winograd);
  add(Algorithm::tile_gemm, not_tiles);
  return texts;
}

Plan select_algorithm(const std::string& function, const ConvProblem& p, Direction direction, Dtype dtype,
                      Precision precision, const std::string& requested, const Machine& machine) {
  Plan plan{Algorithm::implicit_gemm, machine, precision, 0, requested != "auto", {}, {}, {}};
  plan.not_direct = refuse_direct(p);
  plan.not_winograd = refuse_winograd(p, direction, dtype, precision);
  plan.not_tiles = refuse_tiles(p, direction, dtype, machine);
  if (!plan.not_winograd) plan.winograd_tile = winograd_tile(p, direction, precision);
  const auto require = [&](Algorithm route, const Refusal& refusal) {
    if (refusal)
      throw std::invalid_argument(function + ": algorithm='" + name_of(route) +
                                  "' can't serve this call: " + refusal.text() + "; use algorithm='auto'");
    plan.algorithm = route;
  };
  if (requested == "auto") {
    plan.algorithm = cheapest(plan, p, direction, dtype);
  } else if (requested == "direct") {
    require(Algorithm::direct, plan.not_direct);
  } else if (requested == "winograd") {
    require(Algorithm::winograd, plan.not_winograd);
  } else if (requested == "tile_gemm") {
    require(Algorithm::tile_gemm, plan.not_tiles);
  } else if (requested == "fft") {
    throw std::invalid_argument(function +
                                ": algorithm='fft' can't serve this call: this version has no such route; "
                                "use algorithm='auto'");
  } else if (requested != "implicit_gemm") {
    throw std::invalid_argument(
        function + ": algorithm is '" + requested +
        "', expected 'auto', 'implicit_gemm', 'direct', 'winograd', 'tile_gemm' or 'fft'");
  }
  return plan;
}

}  // namespace fastconv::cpu
