// Reductions cut into parts, whose sums are added in their order: by the problem alone, never by the device,
// so that a result's bits depend on nothing else.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/integers.h"

namespace fastconv::cuda {

// Blocks that a product is to become where its tiles are fewer, and terms that a part has at least.
constexpr std::int64_t kWantedImageBlocks = 64, kWantedFilterBlocks = 512, kShortestPart = 512;

struct Parts {
  std::int64_t count, length;  // in terms, a multiple of `step`
};

inline Parts cut(std::int64_t terms, std::int64_t tiles, std::int64_t wanted_blocks, std::int64_t step) {
  const std::int64_t most = std::max<std::int64_t>(terms / kShortestPart, 1);
  const std::int64_t asked =
      std::clamp<std::int64_t>(wanted_blocks / std::max<std::int64_t>(tiles, 1), 1, most);
  const std::int64_t length = std::max<std::int64_t>(round_up(ceil_div(terms, asked), step), step);
  return {std::max<std::int64_t>(ceil_div(terms, length), 1), length};
}

}  // namespace fastconv::cuda
