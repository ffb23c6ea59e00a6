// The buffer pool: alignment, reuse, its bounds, refusal without a leak, many threads.
#include "core/buffer_pool.h"

#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"

namespace fastconv::test {
namespace {

using std::int64_t;

constexpr int64_t kMiB = int64_t{1} << 20, kNoLimit = int64_t{1} << 50;

bool refused(int64_t bytes) {
  try {
    const Buffer b(bytes);
  } catch (const std::bad_alloc&) {
    return true;
  }
  return false;
}

void check_blocks_hold_what_was_asked() {
  for (const int64_t bytes :
       {int64_t{0}, int64_t{1}, int64_t{63}, int64_t{64}, int64_t{65}, int64_t{4096}, int64_t{100003}, kMiB,
        2 * kMiB - 1, 2 * kMiB, 2 * kMiB + 1, 5 * kMiB + 17, 33 * kMiB}) {
    Buffer b(bytes);
    CHECK(b.data() && reinterpret_cast<std::uintptr_t>(b.data()) % 64 == 0, "%lld bytes",
          static_cast<long long>(bytes));
    std::memset(b.data(), 0x5a, static_cast<std::size_t>(bytes));
    Buffer other(bytes);
    CHECK(other.data() != b.data(), "two blocks of %lld bytes", static_cast<long long>(bytes));
    std::memset(other.data(), 0, static_cast<std::size_t>(bytes));
    const auto* p = b.as<unsigned char>();
    bool kept = true;
    for (int64_t i = 0; i < bytes; ++i) kept = kept && p[i] == 0x5a;
    CHECK(kept, "blocks of %lld bytes overlap", static_cast<long long>(bytes));
  }
}

void check_reuse() {
  clear_pool();
  void* first;
  {
    const Buffer b(3 * kMiB);
    first = b.data();
  }
  const PoolStatistics before = pool_statistics();
  CHECK(before.blocks_cached == 1 && before.bytes_cached >= 3 * kMiB, "%lld blocks cached",
        static_cast<long long>(before.blocks_cached));
  const Buffer again(3 * kMiB);
  const PoolStatistics after = pool_statistics();
  CHECK(again.data() == first && after.hits == before.hits + 1 && after.misses == before.misses,
        "the freed block serves again");
  CHECK(after.blocks_cached == 0 && after.bytes_cached == 0, "%lld bytes cached",
        static_cast<long long>(after.bytes_cached));
}

void check_ownership_moves() {
  const int64_t in_use = pool_statistics().blocks_in_use;
  {
    Buffer a(1000), b(2000);
    void* const data = a.data();
    Buffer c(std::move(a));
    CHECK(c.data() == data && !a.data(), "move construction");
    b = std::move(c);
    CHECK(b.data() == data, "move assignment");
    CHECK(pool_statistics().blocks_in_use <= in_use + 2, "blocks in use");
    const Buffer empty;
    CHECK(!empty.data(), "an empty buffer");
  }
  CHECK(pool_statistics().blocks_in_use == in_use, "%lld blocks left in use",
        static_cast<long long>(pool_statistics().blocks_in_use));
}

void check_bounds() {
  clear_pool();
  set_pool_limits(8 * kMiB, kNoLimit);
  {
    std::vector<Buffer> blocks;
    for (int i = 0; i < 20; ++i) blocks.emplace_back(kMiB + i * 128 * 1024);
  }
  PoolStatistics s = pool_statistics();
  CHECK(s.bytes_cached <= 8 * kMiB && s.bytes_cached > 0 && s.limit_bytes == 8 * kMiB, "%lld bytes cached",
        static_cast<long long>(s.bytes_cached));
  set_pool_limits(2 * kMiB, kNoLimit);
  CHECK(pool_statistics().bytes_cached <= 2 * kMiB, "a lower limit drops blocks");
  set_pool_limits(kNoLimit, kNoLimit);
  {
    std::vector<Buffer> blocks;
    for (int i = 0; i < 2000; ++i) blocks.emplace_back(64 + 64 * (i % 8));
  }
  CHECK(pool_statistics().blocks_cached <= 512, "%lld blocks cached",
        static_cast<long long>(pool_statistics().blocks_cached));
  clear_pool();
  s = pool_statistics();
  CHECK(s.bytes_cached == 0 && s.blocks_cached == 0, "clear_pool");
}

void check_refusal() {
  const PoolStatistics before = pool_statistics();
  CHECK(refused(-1), "a negative size");
  CHECK(refused(int64_t{1} << 49), "half a petabyte");
  set_pool_limits(kNoLimit, kMiB);
  CHECK(refused(kMiB + 1) && !refused(kMiB), "the limit of one block");
  set_pool_limits(kNoLimit, kNoLimit);
  const PoolStatistics after = pool_statistics();
  CHECK(after.bytes_in_use == before.bytes_in_use && after.blocks_in_use == before.blocks_in_use,
        "nothing stays allocated");
}

void check_threads() {
  std::vector<std::thread> threads;
  std::vector<int> bad(8);
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([t, &bad] {
      for (int i = 0; i < 300; ++i) {
        const Buffer b(1000 + 777 * (i % 13));
        auto* p = b.as<unsigned char>();
        p[0] = p[999] = static_cast<unsigned char>(t);
        std::this_thread::yield();
        bad[static_cast<std::size_t>(t)] += p[0] != t || p[999] != t;
      }
    });
  for (auto& t : threads) t.join();
  for (const int n : bad) CHECK(n == 0, "a block was given to two owners");
}

}  // namespace
}  // namespace fastconv::test

int main() {
  using namespace fastconv::test;
  check_blocks_hold_what_was_asked();
  check_reuse();
  check_ownership_moves();
  check_bounds();
  check_refusal();
  check_threads();
  return finish("buffer pool");
}
