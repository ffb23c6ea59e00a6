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

Plan select_algorithm(const std::string& function, const ConvProblem& p, Direction, Dtype dtype, Precision precision,
                      const std::string& requested, const Machine& machine) {
  const bool depthwise = p.channels_per_group() == 1;
  Plan plan{depthwise ? Algorithm::direct : Algorithm::implicit_gemm, machine, {}};
  if (requested == "implicit_gemm") {
    plan.algorithm = Algorithm::implicit_gemm;
  } else if (requested == "direct") {
    if (!depthwise) {
      throw std::invalid_argument(function + ": algorithm='direct' serves one input channel per group only, got " +
                                  std::to_string(p.channels_per_group()) + "; use algorithm='auto'");
    }
  } else if (requested == "winograd" || requested == "fft") {
    throw std::invalid_argument(function + ": algorithm='" + requested + "' can't serve this call: this version has no such route; "
                                "use algorithm='auto'");
  } else if (requested != "auto") {
    throw std::invalid_argument(function + ": algorithm is '" + requested +
                                "', expected 'auto', 'implicit_gemm', 'direct', 'winograd' or 'fft'");
  }
  if (precision != Precision::highest && compute_dtype(dtype) == Dtype::float32) {
    plan.reasons.emplace_back("no route of lower precision is built: products are exact to float32, sums are kept in float32");
  }
  if (plan.algorithm == Algorithm::implicit_gemm && depthwise) {
    plan.reasons.emplace_back("direct would serve one input channel per group, but implicit_gemm was asked for");
  } else if (!depthwise) {
    plan.reasons.emplace_back("direct serves one input channel per group only");
  }
  plan.reasons.emplace_back("winograd and tile routes are not built");
  return plan;
}

}  // namespace fastconv::cpu
