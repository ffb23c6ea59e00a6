// The hardware primitives that CUDA kernels stand on, each used by a small kernel, against plain loops: on
// the CPU by their twins, and on a GPU where nvcc compiles this file.
#include <limits>

#include "check.h"
#include "cuda/launch.h"
#include "device_array.h"
#include "warp_product_kernels.h"
#include "warpgroup_checks.h"

namespace fastconv::test {
namespace {

template <int kMatrices, bool kTransposed>
void check_load_matrices() {
  using Kernel = LoadMatricesKernel<kMatrices, kTransposed>;
  DeviceArray<std::uint16_t> matrices(64 * kMatrices);
  for (int64_t i = 0; i < matrices.size(); ++i) matrices[i] = static_cast<std::uint16_t>(1000 + i);
  DeviceArray<std::uint32_t> registers(kWarp * kMatrices);
  launch<Kernel>(nullptr, 1, Kernel::kSharedBytes, {matrices.data(), registers.data()});
  wait(nullptr);
  for (int lane = 0; lane < kWarp; ++lane)
    for (int i = 0; i < kMatrices; ++i)
      for (int half = 0; half < 2; ++half) {
        const int outer = lane / 4, inner = lane % 4 * 2 + half;
        const int row = kTransposed ? inner : outer, column = kTransposed ? outer : inner;
        const unsigned found = registers[lane * kMatrices + i] >> 16 * half & 0xffff;
        CHECK(found == matrices[64 * i + 8 * row + column], "matrix %d of %d, lane %d: %u", i, kMatrices,
              lane, found);
      }
}

void check_round_to_tf32() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const struct {
    float x, expected;
  } cases[] = {{1, 1},
               {1 + 0x1p-11f, 1 + 0x1p-10f},  // a tie goes away from zero
               {-1 - 0x1p-11f, -1 - 0x1p-10f},
               {1 + 0x1p-11f - 0x1p-23f, 1},
               {1 + 0x1.8p-10f, 1 + 0x1p-9f},
               {0x1.fffp0f, 2},
               {0, 0},
               {0x1p-130f, 0x1p-130f},
               {std::numeric_limits<float>::max(), kInfinity},
               {-kInfinity, -kInfinity}};
  DeviceArray<float> x(kWarp);
  DeviceArray<Tf32> y(kWarp);
  for (int i = 0; i < kWarp; ++i) x[i] = std::numeric_limits<float>::quiet_NaN();
  int count = 0;
  for (const auto& c : cases) x[count++] = c.x;
  launch<RoundToTf32Kernel>(nullptr, 1, 0, {x.data(), y.data()});
  wait(nullptr);
  for (int i = 0; i < count; ++i)
    CHECK(y[i].bits == bits_of(cases[i].expected), "%a is %a", cases[i].x, of_bits(y[i].bits));
  CHECK(std::isnan(of_bits(y[count].bits & ~0x1fffu)), "NaN is %08x", y[count].bits);
}

template <class T, int kCopyBytes>
void check_pipelined_product() {
  using Kernel = PipelinedProductKernel<T, kCopyBytes>;
  constexpr int kOfCopy = kCopyBytes / static_cast<int>(sizeof(T));  // rows begin where copies may begin
  for (const int k : {kOfCopy, 2 * kOfCopy, 5 * kOfCopy, 24 * kOfCopy})
    for (const auto& [m, n] : {std::pair{32, 16}, std::pair{37, 21}, std::pair{3, 40}}) {
      const Operand<T> a(m * k, 1), b(n * k, 2);
      DeviceArray<float> c(m * n);
      const int blocks = (m + 31) / 32 * ((n + 15) / 16);
      launch<Kernel>(nullptr, blocks, Kernel::kSharedBytes,
                     {a.array.data(), b.array.data(), c.data(), m, n, k});
      wait(nullptr);
      for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
          float expected = 0;
          for (int l = 0; l < k; ++l) expected += a[i * k + l] * b[j * k + l];
          CHECK(c[i * n + j] == expected, "copies of %d bytes, %dx%dx%d, [%d][%d]: %g, not %g", kCopyBytes, m,
                n, k, i, j, static_cast<double>(c[i * n + j]), static_cast<double>(expected));
        }
    }
}

template <class T>
void check_pipelined_products() {
  check_pipelined_product<T, 4>();
  check_pipelined_product<T, 8>();
  check_pipelined_product<T, 16>();
}

}  // namespace
}  // namespace fastconv::test

int main() {
  using namespace fastconv;
  using namespace fastconv::test;
#ifndef FASTCONV_EMULATED
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("CUDA primitives: skipped, there is no GPU");
    return 77;
  }
#endif
  check_load_matrices<1, false>();
  check_load_matrices<2, false>();
  check_load_matrices<4, false>();
  check_load_matrices<1, true>();
  check_load_matrices<2, true>();
  check_load_matrices<4, true>();
  check_round_to_tf32();
  check_pipelined_products<BFloat16>();
  check_pipelined_products<Float16>();
  check_pipelined_products<Tf32>();
  if (cuda::device(0).capability == 90) {
    check_tensor_copies();
    check_copy_rounds_to_tf32();
    check_warpgroup_products();
    check_convolutions();
  }
  return finish("CUDA primitives");
}
