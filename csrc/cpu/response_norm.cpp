#include "cpu/response_norm.h"

#include <algorithm>
#include <cstring>

#include "core/buffer_pool.h"
#include "core/tensor_view.h"
#include "cpu/dispatch.h"
#include "cpu/spans.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerElement = 4;
constexpr int64_t kTermsOfTile = 16384;                // of one tile, which the second-level cache holds
constexpr int64_t kLeastWidth = 16, kMostWidth = 512;  // elements of a plane in a tile

// Calls `kernel` for tiles of all channels and part of the space, or for rows of channels. `block` holds
// whole tensors; `before` and `after` are the channels of a window on either side of the element's own.
void for_each_tile(const ResponseNorm& n, void (*kernel)(const ResponseNormBlock&), ResponseNormBlock block,
                   int64_t before, int64_t after) {
  if (n.batch * n.channels * n.space == 0) return;
  before = std::min(before, n.channels);  // further channels would only add zeros
  after = std::min(after, n.channels);
  const bool as_row = n.channels_last || n.space == 1;
  const int64_t padded = before + n.channels + after;
  const int64_t width =
      as_row ? 1 : std::min(n.space, std::clamp(kTermsOfTile / padded, kLeastWidth, kMostWidth));
  block.before = before;
  block.window = before + 1 + after;
  block.step = width;

  const int64_t terms_bytes = (padded * width * size_of(compute_dtype(n.dtype)) + 63) / 64 * 64;
  const int threads = num_threads();
  const Buffer terms(std::max<int64_t>(threads * terms_bytes, 1));
  std::memset(terms.data(), 0, static_cast<std::size_t>(threads * terms_bytes));  // the rims stay so
  const auto run = [&](int worker, int64_t at, int64_t rows, int64_t row_stride, int64_t cols) {
    ResponseNormBlock b = block;
    for (const void** p : {&b.x, &b.dy, &b.y})
      if (*p) *p = element(*p, n.dtype, at);
    if (b.scale) b.scale = element(b.scale, n.dtype, at);
    b.out = element(b.out, n.dtype, at);
    b.terms = terms.as<char>() + worker * terms_bytes;
    b.rows = rows;
    b.row_stride = row_stride;
    b.cols = cols;
    kernel(b);
  };
  const double work = kNsPerElement * static_cast<double>(n.batch * n.channels * n.space);
  if (as_row) {
    const int64_t rows = n.batch * n.space,
                  group = std::max<int64_t>(1, kSpan / std::max<int64_t>(1, n.channels));
    parallel_for((rows + group - 1) / group, work, threads, [&](int64_t task, int worker) {
      for (int64_t i = task * group; i < std::min(rows, (task + 1) * group); ++i)
        run(worker, i * n.channels, 1, n.channels, n.channels);
    });
  } else {
    const int64_t tiles = (n.space + width - 1) / width;
    parallel_for(n.batch * tiles, work, threads, [&](int64_t task, int worker) {
      const int64_t start = task % tiles * width;
      run(worker, task / tiles * n.channels * n.space + start, n.channels, n.space,
          std::min(width, n.space - start));
    });
  }
}

ResponseNormBlock block_of(const ResponseNorm& n) {
  ResponseNormBlock b{};
  b.alpha = n.alpha / static_cast<double>(n.size);
  b.beta = n.beta;
  b.k = n.k;
  return b;
}

}  // namespace

void response_norm(const ResponseNorm& n, const void* x, void* y, void* scale) {
  ResponseNormBlock b = block_of(n);
  b.x = x;
  b.scale = scale;
  b.out = y;
  for_each_tile(n, active_table().response_norm.normalise[static_cast<int>(n.dtype)], b, n.size / 2,
                (n.size - 1) / 2);
}

void response_norm_grad(const ResponseNorm& n, const void* dy, const void* x, const void* y,
                        const void* scale, void* dx) {
  ResponseNormBlock b = block_of(n);
  b.dy = dy;
  b.x = x;
  b.y = y;
  b.scale = const_cast<void*>(scale);  // only read
  b.out = dx;
  for_each_tile(n, active_table().response_norm.gradient[static_cast<int>(n.dtype)], b, (n.size - 1) / 2,
                n.size / 2);
}

}  // namespace fastconv::cpu
