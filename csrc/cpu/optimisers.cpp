#include "cpu/optimisers.h"

#include "cpu/dispatch.h"
#include "cpu/spans.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerElement = 1.0;

template <class Kernels, class Step>
void run(const Kernels& kernels, Dtype dtype, const Step& step, int64_t count) {
  const auto kernel = kernels[dtype == Dtype::float64];
  for_each_span(count, kNsPerElement,
                [&](int64_t, int64_t start, int64_t length) { kernel(step, start, length); });
}

}  // namespace

void sgd_step(Dtype dtype, const SgdStep& step, int64_t count) {
  run(active_table().optimiser.sgd, dtype, step, count);
}

void rmsprop_step(Dtype dtype, const RmspropStep& step, int64_t count) {
  run(active_table().optimiser.rmsprop, dtype, step, count);
}

void adam_step(Dtype dtype, const AdamStep& step, int64_t count) {
  run(active_table().optimiser.adam, dtype, step, count);
}

}  // namespace fastconv::cpu
