// Positions along one axis: first, first + step, ..., `count` of them. The step is the same for a whole axis.
#pragma once

#include <cstdint>

namespace fastconv {

struct Taps {
  std::int64_t first, count;
};

// Neighbouring input columns that the same windows hold.
struct ReaderRun {
  Taps readers;
  std::int64_t columns;
};

}  // namespace fastconv
