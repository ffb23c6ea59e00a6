#include "cpu/losses.h"

#include <cmath>
#include <vector>

#include "core/tensor_view.h"
#include "cpu/dispatch.h"
#include "cpu/spans.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsStream = 0.5, kNsExponential = 3.0;

// The mean over elements of what `kernel` returns the sum of; of none it is NaN, as in NumPy.
template <class Kernel>
double mean_loss(Kernel kernel, Dtype dtype, const void* prediction, const void* target, int64_t count,
                 void* gradient, double ns_per_element) {
  std::vector<double> sums(static_cast<std::size_t>(span_count(count)));
  const double scale = 1 / static_cast<double>(count);
  for_each_span(count, ns_per_element, [&](int64_t span, int64_t start, int64_t length) {
    sums[static_cast<std::size_t>(span)] =
        kernel(element(prediction, dtype, start), element(target, dtype, start),
               element(gradient, dtype, start), scale, length);
  });
  double total = 0;
  for (const double s : sums) total += s;
  return total / static_cast<double>(count);
}

}  // namespace

double cross_entropy(Dtype dtype, const void* logits, const ClassTargets& given, int64_t rows,
                     int64_t classes, double smoothing, void* gradient) {
  const auto kernel = active_table().softmax.cross_entropy[static_cast<int>(dtype)];
  std::vector<CrossEntropyTerms> terms(static_cast<std::size_t>(rows));
  const double scale = 1 / static_cast<double>(rows);
  for_each_row_group(rows, classes, kNsExponential, [&](int64_t first, int64_t count) {
    const int64_t at = first * classes;
    kernel({element(logits, dtype, at), element(gradient, dtype, at),
            given.labels ? given.labels + first : nullptr,
            given.labels ? nullptr : element(given.targets, dtype, at), terms.data() + first, count, classes,
            smoothing, scale});
  });
  double total = 0;
  for (const CrossEntropyTerms& t : terms) total += t.weight * std::log(t.sum_exp) - t.dot;
  return total / static_cast<double>(rows);
}

double binary_cross_entropy(Dtype dtype, const void* logits, const void* targets, int64_t count,
                            void* gradient) {
  const auto kernel = active_table().loss.binary_cross_entropy[static_cast<int>(dtype)];
  return mean_loss(kernel, dtype, logits, targets, count, gradient, kNsExponential);
}

double mean_squared_error(Dtype dtype, const void* prediction, const void* target, int64_t count,
                          void* gradient) {
  const auto kernel = active_table().loss.squared_error[static_cast<int>(dtype)];
  return mean_loss(kernel, dtype, prediction, target, count, gradient, kNsStream);
}

}  // namespace fastconv::cpu
