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

}  // namespace fastconv::cuda
