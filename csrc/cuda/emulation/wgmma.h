// The twin of wgmma.h. A product is computed when it is waited for, from what shared memory holds then; until
// that its accumulators are NaN.
#pragma once

#include <limits>
#include <memory>

#include "cuda/emulation/async_groups.h"
#include "cuda/tensor_core.h"

namespace fastconv::cuda {
namespace emulation {

// One thread's accumulators of unfinished products: their values, which are not in d as long as they last.
struct Accumulators {
  float* d;
  std::vector<float> values;
  int products = 0;
};

struct Products {
  AsyncGroups groups;
  std::vector<std::shared_ptr<Accumulators>> unfinished;
  bool fenced = false;

  std::shared_ptr<Accumulators> start(float* d, int count);
  void finish(const std::shared_ptr<Accumulators>& accumulators);
};

// An operand as its descriptor tells.
class Matrix {
 public:
  Matrix(std::uint64_t descriptor, Major major);

  // Element [mn][k].
  template <class T>
  float at(int mn, int k) const {
    constexpr int kBytes = static_cast<int>(sizeof(T)), kRowBytes = 128, kRows = 8;
    const int row = major_ == Major::k ? mn : k, along = (major_ == Major::k ? k : mn) * kBytes;
    const std::uint32_t address =
        start_ + static_cast<std::uint32_t>(row % kRows * kRowBytes + row / kRows * stride_ +
                                            along % kRowBytes + along / kRowBytes * leading_);
    T element;
    std::memcpy(&element, shared_bytes(address ^ (address >> 3 & 0x70), sizeof element, sizeof element),
                sizeof element);
    return multiplicand(element);
  }

 private:
  Major major_;
  std::uint32_t start_;
  int leading_, stride_;
};

// d = (d +) A B for the calling lane, with sums as those of multiply_add.
template <class T>
void multiply(float* d, int columns, const Matrix& a, const Matrix& b, bool accumulate) {
  constexpr int kDepth = 32 / static_cast<int>(sizeof(T));
  const int lane = thread_index() % kWarp, g = lane / 4, t = lane % 4;
  const int row = thread_index() % kWarpgroup / kWarp * 16 + g;
  double of_a[2][kDepth], of_b[kDepth];
  for (int r = 0; r < 2; ++r)
    for (int k = 0; k < kDepth; ++k) of_a[r][k] = a.at<T>(row + 8 * r, k);
  for (int j = 0; j < columns / 8; ++j)
    for (int c = 0; c < 2; ++c) {
      for (int k = 0; k < kDepth; ++k) of_b[k] = b.at<T>(8 * j + 2 * t + c, k);
      for (int r = 0; r < 2; ++r) {
        float& sum = d[4 * j + 2 * r + c];
        if (!accumulate) sum = 0;
        for (int half = 0; half < kDepth; half += kDepth / 2) {
          double exact = sum;
          for (int k = half; k < half + kDepth / 2; ++k) exact += of_a[r][k] * of_b[k];
          sum = truncated(exact);
        }
      }
    }
}

}  // namespace emulation

inline void publish_to_async_proxy() {}

inline void wgmma_fence() { emulation::of_thread<emulation::Products>().fenced = true; }
inline void wgmma_commit() { emulation::of_thread<emulation::Products>().groups.commit(); }

template <class T, int kColumns, Major kA = Major::k, Major kB = Major::k>
void wgmma(float (&d)[kColumns / 2], std::uint64_t from_a, std::uint64_t from_b, bool accumulate) {
  static_assert(kColumns % 8 == 0 && kColumns >= 8 && kColumns <= 256);
  static_assert(!std::is_same_v<T, Tf32> || (kA == Major::k && kB == Major::k));
  auto& products = emulation::of_thread<emulation::Products>();
  const auto accumulators = products.start(d, kColumns / 2);
  products.groups.add([=, &products] {
    emulation::multiply<T>(accumulators->values.data(), kColumns, emulation::Matrix(from_a, kA),
                           emulation::Matrix(from_b, kB), accumulate);
    products.finish(accumulators);
  });
}

// The other warps may not have got as far: the specification speaks of the groups of the threads that wait.
template <int kPending, class... Accumulators>
void wgmma_wait(Accumulators&...) {
  auto& products = emulation::of_thread<emulation::Products>();
  products.groups.wait(kPending);
  products.fenced = products.fenced && !products.unfinished.empty();
  emulation::wait_for_warp();
}

}  // namespace fastconv::cuda
