// The executor of CUDA kernels on the CPU finds mistakes: a missing barrier or wait changes results, in one
// of two launches at least, and what would hang or trample memory is an error. Each mistake stands beside its
// correction.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "cuda/async_copy.h"
#include "cuda/launch.h"
#include "cuda/tensor_copy.h"
#include "cuda/wgmma.h"

namespace fastconv::test {
namespace {

using namespace cuda;

constexpr std::int64_t kSharedBytes = 32 << 10;

float* shared_floats() { return static_cast<float*>(shared_memory()); }

// A kernel of one block that fills `out`, one float a thread; `in` counts 0, 1, 2, ...
template <class Case>
struct CaseKernel {
  struct Arguments {
    const float* in;
    float* out;
    TensorMap map;
  };
  static constexpr int kThreads = Case::kThreads;
  static void run(const Arguments& a) { a.out[thread_index()] = Case::run(a); }
};

struct Inputs {
  Inputs() : in(2048) {
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i);
    MappedTensor tensor{in.data(), MapElement::bits32, 2, {32, 64}, {0, 128}};
    map = map_tiles(tensor, {32, 8}, Swizzle::none);
  }
  std::vector<float> in;
  TensorMap map;
};

template <class Case>
std::vector<float> run() {
  static const Inputs inputs;
  std::vector<float> out(Case::kThreads, -1);
  launch<CaseKernel<Case>>(nullptr, 1, kSharedBytes, {inputs.in.data(), out.data(), inputs.map});
  return out;
}

// Whether both directions of turns give what `expected` says of a thread.
template <class Case, class Expected>
bool gives(const Expected& expected) {
  bool all = true;
  for (int launches = 0; launches < 2; ++launches) {
    const std::vector<float> out = run<Case>();
    for (int i = 0; i < Case::kThreads; ++i) all = all && out[static_cast<std::size_t>(i)] == expected(i);
  }
  return all;
}

// Whether both directions end with an error.
template <class Case>
bool is_refused() {
  int refused = 0;
  for (int launches = 0; launches < 2; ++launches) {
    try {
      run<Case>();
    } catch (const std::logic_error&) {
      ++refused;
    }
  }
  return refused == 2;
}

struct FreshMemory {
  static constexpr int kThreads = 64;
  template <class A>
  static float run(const A&) {
    return shared_floats()[thread_index() * 100];
  }
};

template <bool kBarrier>
struct Neighbour {
  static constexpr int kThreads = 64;
  template <class A>
  static float run(const A&) {
    shared_floats()[thread_index()] = static_cast<float>(thread_index());
    if (kBarrier) barrier();
    return shared_floats()[(thread_index() + 1) % kThreads];
  }
};

template <bool kAll>
struct Gathering {
  static constexpr int kThreads = 64;
  template <class A>
  static float run(const A&) {
    if (kAll || thread_index() != 5) barrier();
    return 1;
  }
};

template <int kSecond>
struct GroupBarriers {
  static constexpr int kThreads = 96;
  template <class A>
  static float run(const A&) {
    if (thread_index() >= 64) return 1;
    shared_floats()[thread_index()] = static_cast<float>(thread_index());
    barrier_of(3, thread_index() < 32 ? 64 : kSecond);
    return shared_floats()[(thread_index() + 32) % 64] == static_cast<float>((thread_index() + 32) % 64);
  }
};

template <int kPending, bool kBarrier>
struct AsyncCopies {
  static constexpr int kThreads = 32;
  template <class A>
  static float run(const A& a) {
    const int i = thread_index();
    copy_async<4>(shared_floats() + i, a.in + i, 4);
    commit_copies();
    copy_async<4>(shared_floats() + kThreads + i, a.in, 0);
    commit_copies();
    wait_for_copies<kPending>();
    if (kBarrier) barrier();
    return shared_floats()[(i + 1) % kThreads];
  }
};

struct MisalignedCopy {
  static constexpr int kThreads = 32;
  template <class A>
  static float run(const A& a) {
    copy_async<16>(shared_floats() + thread_index(), a.in, 16);
    return 0;
  }
};

struct CopyBeyondMemory {
  static constexpr int kThreads = 32;
  template <class A>
  static float run(const A& a) {
    copy_async<4>(shared_floats() + kSharedBytes / 4, a.in, 4);
    return 0;
  }
};

// Thread 0 brings rows 2 to 9 of 32 numbers each.
template <int kExpected, bool kWait>
struct BulkCopy {
  static constexpr int kThreads = 32;
  template <class A>
  static float run(const A& a) {
    auto* const done = reinterpret_cast<Mbarrier*>(shared_floats() + 1024);
    if (thread_index() == 0) init_mbarrier(done, 1);
    barrier();
    if (thread_index() == 0) {
      arrive_expecting(done, kExpected);
      copy_tile(shared_floats(), a.map, done, {0, 2});
    }
    barrier();
    if (kWait) wait_for_phase(done, 0);
    return shared_floats()[thread_index()];
  }
};

// Copies over what the neighbour reads, who may still do so.
template <bool kBulk, bool kBarrier>
struct CopyOverReadMemory {
  static constexpr int kThreads = 32;
  template <class A>
  static float run(const A& a) {
    const int i = thread_index();
    auto* const done = reinterpret_cast<Mbarrier*>(shared_floats() + 1024);
    shared_floats()[i] = static_cast<float>(i);
    if (i == 0) init_mbarrier(done, 1);
    barrier();
    const float read = shared_floats()[(i + 1) % kThreads];
    if (kBarrier) barrier();
    if (!kBulk) {
      copy_async<4>(shared_floats() + i, a.in, 4);
    } else if (i == 0) {
      arrive_expecting(done, 8 * 128);
      copy_tile(shared_floats(), a.map, done, {0, 2});
      wait_for_phase(done, 0);
    }
    return read;
  }
};

struct NobodyInitialised {
  static constexpr int kThreads = 32;
  template <class A>
  static float run(const A&) {
    arrive(reinterpret_cast<Mbarrier*>(shared_memory()));
    return 0;
  }
};

template <int kArrivals>
struct Arrivals {
  static constexpr int kThreads = 32;
  template <class A>
  static float run(const A&) {
    auto* const b = static_cast<Mbarrier*>(shared_memory());
    if (thread_index() == 0) init_mbarrier(b, kArrivals);
    barrier();
    arrive_expecting(b, thread_index() == 0 ? 16 : 0);
    if (thread_index() == 0) emulation::complete_bytes(b, 16);
    wait_for_phase(b, 0);
    return 1;
  }
};

// Products of ones: 8 in every sum of a step, from A's row in 32 bytes; then `kOverwrites` comes too soon.
template <bool kFence, bool kWait, bool kOverwrites>
struct Product {
  static constexpr int kThreads = kWarpgroup;
  template <class A>
  static float run(const A&) {
    float* const a = shared_floats();
    for (int i = thread_index(); i < 64 * 32 * 2; i += kThreads) a[i] = 1;
    barrier();
    float d[4] = {8, 8, 8, 8};
    if (kFence) wgmma_fence();
    wgmma<Tf32, 8>(d, matrix_descriptor(a, 0, 1024), matrix_descriptor(a + 64 * 32, 0, 1024), false);
    wgmma_commit();
    if (kOverwrites) {
      barrier();
      a[thread_index() * 16] = 2;
      barrier();
    }
    if (kWait) wgmma_wait<0>(d);
    return d[0] + d[1] + d[2] + d[3];
  }
};

struct Elected {
  static constexpr int kThreads = 48;
  template <class A>
  static float run(const A&) {
    return elected();
  }
};

void check_memory_and_barriers() {
  const std::vector<float> fresh = run<FreshMemory>();
  CHECK(std::all_of(fresh.begin(), fresh.end(), [](float x) { return std::isnan(x); }), "memory looks tidy");
  const auto next = [](int i) { return static_cast<float>((i + 1) % 64); };
  CHECK(gives<Neighbour<true>>(next), "a barrier");
  CHECK(!gives<Neighbour<false>>(next), "a missing barrier goes unseen");
  CHECK(gives<Gathering<true>>([](int) { return 1.0f; }), "all meet");
  CHECK(is_refused<Gathering<false>>(), "threads wait for ever");
  CHECK(gives<GroupBarriers<64>>([](int) { return 1.0f; }), "a group's barrier");
  CHECK(is_refused<GroupBarriers<96>>(), "threads disagree on a group");
  CHECK(is_refused<GroupBarriers<63>>(), "a group of no whole warps");
  std::vector<float> elected[2];
  for (auto& e : elected) {
    e = run<Elected>();
    for (const auto& [begin, end] : {std::pair{0, 32}, std::pair{32, 48}})
      CHECK(std::count(e.begin() + begin, e.begin() + end, 1.0f) == 1, "one of a warp");
  }
  CHECK(elected[0] != elected[1], "which lane is elected is no promise");
}

void check_async_copies() {
  const auto next = [](int i) { return static_cast<float>((i + 1) % 32); };
  CHECK((gives<AsyncCopies<1, true>>(next)), "copies");
  CHECK((!gives<AsyncCopies<2, true>>(next)), "a wait for fewer copies goes unseen");
  CHECK((!gives<AsyncCopies<0, false>>(next)), "a missing barrier behind copies goes unseen");
  CHECK((gives<CopyOverReadMemory<false, true>>(next)), "a copy over what was read");
  CHECK((!gives<CopyOverReadMemory<false, false>>(next)), "a copy over what is still read goes unseen");
  CHECK(is_refused<MisalignedCopy>(), "a misaligned copy");
  CHECK(is_refused<CopyBeyondMemory>(), "a copy beyond the block's memory");
}

void check_bulk_copies() {
  constexpr int kBytes = 8 * 128;
  const auto second_row = [](int i) { return static_cast<float>(64 + i); };
  CHECK((gives<BulkCopy<kBytes, true>>(second_row)), "a bulk copy");
  CHECK((is_refused<BulkCopy<kBytes + 16, true>>()), "a phase that expects more than comes");
  CHECK((is_refused<BulkCopy<kBytes, false>>()), "a block ends before its copy");
  const auto next = [](int i) { return static_cast<float>((i + 1) % 32); };
  CHECK((gives<CopyOverReadMemory<true, true>>(next)), "a bulk copy over what was read");
  CHECK((!gives<CopyOverReadMemory<true, false>>(next)), "a bulk copy over what is still read goes unseen");
  CHECK(is_refused<NobodyInitialised>(), "an mbarrier without initialisation");
  CHECK(gives<Arrivals<32>>([](int) { return 1.0f; }), "arrivals");
  CHECK(is_refused<Arrivals<33>>(), "too few arrivals");
}

void check_products() {
  CHECK((gives<Product<true, true, false>>([](int) { return 32.0f; })), "a product");
  CHECK((!gives<Product<true, false, false>>([](int) { return 32.0f; })), "a missing wait goes unseen");
  CHECK((!gives<Product<true, true, true>>([](int) { return 32.0f; })), "operands overwritten too soon");
  CHECK((is_refused<Product<false, true, false>>()), "a product without fence");
}

}  // namespace
}  // namespace fastconv::test

int main() {
  using namespace fastconv::test;
  check_memory_and_barriers();
  check_async_copies();
  check_bulk_copies();
  check_products();
  return finish("executor of CUDA kernels");
}
