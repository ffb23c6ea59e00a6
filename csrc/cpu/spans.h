// Long contiguous arrays and many rows, in pieces whose size does not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/parallel.h"

namespace fastconv::cpu {

constexpr std::int64_t kSpan = 16384;  // elements; a multiple of every vector's lanes

inline std::int64_t span_count(std::int64_t count) { return (count + kSpan - 1) / kSpan; }

// body(span, start, length) for each span of [0, count).
template <class Body>
void for_each_span(std::int64_t count, double ns_per_element, const Body& body) {
  parallel_for(
      span_count(count), ns_per_element * static_cast<double>(count), num_threads(),
      [&](std::int64_t span, int) { body(span, span * kSpan, std::min(kSpan, count - span * kSpan)); });
}

// body(first row, rows) for groups of rows that hold about a span of elements.
template <class Body>
void for_each_row_group(std::int64_t rows, std::int64_t cols, double ns_per_element, const Body& body) {
  const std::int64_t group = std::max<std::int64_t>(1, kSpan / std::max<std::int64_t>(1, cols));
  parallel_for((rows + group - 1) / group, ns_per_element * static_cast<double>(rows * cols), num_threads(),
               [&](std::int64_t task, int) { body(task * group, std::min(group, rows - task * group)); });
}

}  // namespace fastconv::cpu
