#include "cpu/select_algorithm.h"

#include <stdexcept>

#include "cpu/cpu_features.h"
#include "cpu/dispatch.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {

const char* name_of(Algorithm a) { return a == Algorithm::direct ? "direct" : "implicit_gemm"; }

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

}  // namespace

Plan select_algorithm(const std::string& function, const ConvProblem& p, Direction, Dtype dtype,
                      Precision precision, const std::string& requested, const Machine& machine) {
  std::string why_not;
  const bool direct = direct_serves(p, &why_not);
  Plan plan{direct ? Algorithm::direct : Algorithm::implicit_gemm, machine, {}};
  if (requested == "implicit_gemm") {
    plan.algorithm = Algorithm::implicit_gemm;
    if (direct) why_not = "direct would serve this call, but implicit_gemm was asked for";
  } else if (requested == "direct") {
    if (!direct)
      throw std::invalid_argument(function + ": algorithm='direct' can't serve this call: " + why_not +
                                  "; use algorithm='auto'");
  } else if (requested == "winograd" || requested == "fft") {
    throw std::invalid_argument(function + ": algorithm='" + requested +
                                "' can't serve this call: this version has no such route; "
                                "use algorithm='auto'");
  } else if (requested != "auto") {
    throw std::invalid_argument(function + ": algorithm is '" + requested +
                                "', expected 'auto', 'implicit_gemm', 'direct', 'winograd' or 'fft'");
  }
  if (precision != Precision::highest && compute_dtype(dtype) == Dtype::float32) {
    plan.reasons.emplace_back(
        "no route of lower precision is built: products are exact to float32, sums are kept in float32");
  }
  if (!why_not.empty()) plan.reasons.push_back(why_not);
  plan.reasons.emplace_back("winograd and tile routes are not built");
  return plan;
}

}  // namespace fastconv::cpu
