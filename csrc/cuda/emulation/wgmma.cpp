#include "cuda/wgmma.h"

#include <algorithm>
#include <stdexcept>

namespace fastconv::cuda::emulation {

std::shared_ptr<Accumulators> Products::start(float* d, int count) {
  const auto found =
      std::find_if(unfinished.begin(), unfinished.end(), [d](const auto& a) { return a->d == d; });
  if (found != unfinished.end()) {
    ++(*found)->products;
    return *found;
  }
  if (!fenced) throw std::logic_error("wgmma of accumulators that no wgmma_fence leads to");
  auto accumulators = std::make_shared<Accumulators>(Accumulators{d, {d, d + count}, 1});
  std::fill_n(d, count, std::numeric_limits<float>::quiet_NaN());
  unfinished.push_back(accumulators);
  return accumulators;
}

void Products::finish(const std::shared_ptr<Accumulators>& accumulators) {
  if (--accumulators->products > 0) return;
  std::copy(accumulators->values.begin(), accumulators->values.end(), accumulators->d);
  unfinished.erase(std::find(unfinished.begin(), unfinished.end(), accumulators));
}

Matrix::Matrix(std::uint64_t descriptor, Major major) : major_(major) {
  const auto bytes = [=](int bit) { return static_cast<std::uint32_t>(descriptor >> bit & 0x3fff) << 4; };
  start_ = bytes(0);
  leading_ = static_cast<int>(bytes(16));
  stride_ = static_cast<int>(bytes(32));
  constexpr int kSwizzled128 = 1;
  if (descriptor >> 62 != kSwizzled128 || (descriptor >> 49 & 7) != 0)
    throw std::logic_error("the twin of wgmma knows the 128-byte swizzle from multiples of 1,024 only");
}

}  // namespace fastconv::cuda::emulation
