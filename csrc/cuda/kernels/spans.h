// One thread for each of a number of elements, however many: a block's threads take neighbours.
#pragma once

#include "cuda/device.h"

namespace fastconv::cuda {

constexpr int kSpanThreads = 256, kSpanElements = 4;  // each thread's, a block's width apart

constexpr std::int64_t span_blocks(std::int64_t count) {
  constexpr std::int64_t of_block = kSpanThreads * kSpanElements;
  return (count + of_block - 1) / of_block;
}

template <class Body>
FASTCONV_DEVICE void for_each_of_span(std::int64_t count, const Body& body) {
  const std::int64_t first = block_index() * kSpanThreads * kSpanElements + thread_index();
  for (int i = 0; i < kSpanElements; ++i) {
    const std::int64_t at = first + i * kSpanThreads;
    if (at < count) body(at);
  }
}

// The sum of element i of each of several parts, `count` elements apart, in the parts' order.
template <class T>
FASTCONV_DEVICE T sum_of_parts(const void* partial_sums, std::int64_t parts, std::int64_t count,
                               std::int64_t i) {
  T sum = 0;
  for (std::int64_t part = 0; part < parts; ++part)
    sum += static_cast<const T*>(partial_sums)[part * count + i];
  return sum;
}

}  // namespace fastconv::cuda
