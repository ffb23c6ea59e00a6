// The tile kernels against plain loops, bit by bit: splitting and packing against the meaning of bfloat16,
// products against the pseudo-code of TDPBF16PS in Intel's Software Developer's Manual, so that the emulation
// is held to it too. Tables without tiles have nothing to check.
#include <algorithm>
#include <vector>

#include "check.h"
#include "runnable_isas.h"
#include "storage.h"

namespace fastconv::test {
namespace {

using cpu::kTileElements;
using cpu::kTileLanes;
using cpu::kTileRows;
using std::int64_t;

constexpr int kParts = cpu::kMostTileParts;
constexpr std::uint16_t kUntouched = 0x1234;
constexpr int kSide = 2 * kTileRows;  // of the block of C that a panel and a pair of tiles have

// A number too small for float32's normal ones counts as zero.
float flushed(float x) {
  return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.f, x) : x;
}

// The parts of a value, as bits.
std::vector<std::uint16_t> parts_of(float x, int count) {
  std::vector<std::uint16_t> parts;
  for (int p = 0; p < count; ++p) {
    parts.push_back(narrow<BFloat16>(flushed(x)).bits);
    x -= widen(BFloat16{parts.back()});
  }
  return parts;
}

std::vector<float> values(std::size_t count, std::uint64_t seed) {
  Values random(seed);
  std::vector<float> v(count);
  for (std::size_t i = 0; i < count; ++i) {
    v[i] = static_cast<float>(random() * std::ldexp(1.0, static_cast<int>(i * 7 % 61) - 30));
    if (i % 97 == 5) v[i] = 0;
    if (i % 89 == 7) v[i] = std::ldexp(v[i], -120);  // whose parts are denormal, or which is itself
  }
  return v;
}

std::vector<BFloat16> untouched(int64_t count) {
  return std::vector<BFloat16>(static_cast<std::size_t>(count), BFloat16{kUntouched});
}

// Whether lines of parts hold what `value(line, lane)` says, and memory beyond them is untouched.
template <class Value>
bool lines_hold(const std::vector<BFloat16>& got, int64_t lines, int64_t part_stride, int parts, int lanes,
                const Value& value) {
  std::vector<BFloat16> want = untouched(static_cast<int64_t>(got.size()));
  for (int64_t i = 0; i < lines; ++i)
    for (int l = 0; l < kTileLanes; ++l) {
      const auto of_value = parts_of(l < lanes ? value(i, l) : 0.f, parts);
      for (int p = 0; p < parts; ++p)
        want[static_cast<std::size_t>(p * part_stride + i * kTileLanes + l)].bits =
            of_value[static_cast<std::size_t>(p)];
    }
  return std::memcmp(got.data(), want.data(), got.size() * sizeof(BFloat16)) == 0;
}

void check_split(const cpu::TileKernels& k, int lanes, int64_t count, int parts) {
  const auto lines = values(static_cast<std::size_t>(count * kTileLanes), 1);
  const int64_t stride = count * kTileLanes + 32;
  auto got = untouched(parts * stride);
  k.split_lines({lines.data(), lanes, count, got.data(), stride, parts});
  CHECK(lines_hold(got, count, stride, parts, lanes,
                   [&](int64_t i, int l) { return lines[static_cast<std::size_t>(i * kTileLanes + l)]; }),
        "split_lines: lanes %d count %lld parts %d", lanes, static_cast<long long>(count), parts);
}

void check_turn(const cpu::TileKernels& k, int lanes, int64_t count, int parts) {
  const int64_t tiles = (count + kTileRows - 1) / kTileRows, pitch = tiles * kTileRows + 5;
  const auto rows = values(static_cast<std::size_t>(kTileLanes * pitch), 2);
  std::vector<int64_t> offset;  // the last lane first, neighbours a shift apart
  for (int l = 0; l < lanes; ++l) offset.push_back((kTileLanes - 1 - l) * pitch + l % 3);
  const int64_t stride = tiles * kTileElements + 32;
  auto got = untouched(parts * stride);
  k.turn_lines({rows.data(), offset.data(), lanes, count, got.data(), stride, parts});
  const auto value = [&](int64_t i, int l) {
    return rows[static_cast<std::size_t>(offset[static_cast<std::size_t>(l)] + i)];
  };
  CHECK(lines_hold(got, tiles * kTileRows, stride, parts, lanes, value),
        "turn_lines: lanes %d count %lld parts %d", lanes, static_cast<long long>(count), parts);
}

void check_pairs(const cpu::TileKernels& k, int parts) {
  const auto lines = values(kTileElements, 3);
  const int64_t stride = kTileElements + 64;
  auto got = untouched(parts * stride), want = got;
  k.pack_pairs({lines.data(), got.data(), stride, parts});
  for (int n = 0; n < kTileRows; ++n)
    for (int l = 0; l < kTileLanes; ++l) {
      const auto of_value = parts_of(lines[static_cast<std::size_t>(n * kTileLanes + l)], parts);
      for (int p = 0; p < parts; ++p)
        want[static_cast<std::size_t>(p * stride + l / 2 * kTileLanes + 2 * n + l % 2)].bits =
            of_value[static_cast<std::size_t>(p)];
    }
  CHECK(std::memcmp(got.data(), want.data(), got.size() * sizeof(BFloat16)) == 0, "pack_pairs: parts %d",
        parts);
}

// One element of C after TDPBF16PS: `a` holds a row of A, `b` row k of B from its column's pair on.
float multiply_tile(float c, const BFloat16* a, const BFloat16* b) {
  float temp[2] = {0, 0};
  for (int k = 0; k < kTileRows; ++k)
    for (int i = 0; i < 2; ++i)
      temp[i] =
          flushed(std::fma(flushed(widen(a[2 * k + i])), flushed(widen(b[k * kTileLanes + i])), temp[i]));
  const float sum = flushed(temp[0] + temp[1]);
  return flushed(flushed(c) + sum);
}

// The products of parts of one step, in their order; those that come before all others first.
struct PartProduct {
  int a, b;
  bool early;
};
std::vector<PartProduct> part_products(int parts) {
  if (parts == 1) return {{0, 0, true}};
  if (parts == 2) return {{0, 1, true}, {0, 0, true}, {1, 0, true}};
  return {{0, 2, true}, {0, 1, true}, {1, 1, true}, {1, 0, true}, {2, 0, true}, {0, 0, false}};
}

struct ChainSizes {
  std::vector<cpu::PositionPanel> panels;
  int64_t filters, steps;
  int parts;
  bool accumulate, pairs_outside;
};

void check_chain(const cpu::TileKernels& k, const ChainSizes& s, bool wild) {
  const int64_t pairs = (s.filters + kSide - 1) / kSide, step = s.parts * 2 * kTileElements;
  const auto panel_count = static_cast<int64_t>(s.panels.size());
  std::vector<int64_t> a_line;
  for (int64_t i = 0; i < s.steps; ++i) a_line.push_back((s.steps - 1 - i) * 3 + i % 2);
  const int64_t lines = s.panels.back().start + kSide + 3 * s.steps, a_part = lines * kTileLanes + 64;
  // bfloat16 values: plain ones, or of all sizes with denormals, infinities and what is no number among them.
  Values random(4);
  const auto fill = [&](std::vector<BFloat16>* v, bool part_sizes) {
    for (std::size_t i = 0; i < v->size(); ++i) {
      const double size = part_sizes ? std::ldexp(1.0, -8 * static_cast<int>(i % 3)) : 1.0;
      (*v)[i] = narrow<BFloat16>(static_cast<float>(random() * size));
      if (wild && i % 3 == 0) (*v)[i].bits = static_cast<std::uint16_t>(std::fabs(random()) * 0x8000);
    }
  };
  std::vector<BFloat16> a(static_cast<std::size_t>(s.parts * a_part)),
      b(static_cast<std::size_t>(pairs * s.steps * step));
  fill(&a, true);
  fill(&b, true);
  const std::vector<float> before = values(static_cast<std::size_t>(pairs * panel_count * kSide * kSide), 5);
  std::vector<float> c = before;
  k.multiply_chain({a.data(), a_part, a_line.data(), s.panels.data(), panel_count, b.data(), s.steps * step,
                    s.filters, s.steps, c.data(), s.parts, s.accumulate, s.pairs_outside});
  bool equal = true;
  for (int64_t n = 0; n < s.filters; ++n)
    for (int64_t panel = 0; panel < panel_count; ++panel)
      for (int64_t m = 0; m < s.panels[static_cast<std::size_t>(panel)].count; ++m) {
        float sum = 0;
        for (const bool early : {true, false})
          for (int64_t i = 0; i < s.steps; ++i)
            for (const PartProduct& p : part_products(s.parts)) {
              if (p.early != early) continue;
              const int64_t line =
                  s.panels[static_cast<std::size_t>(panel)].start + m + a_line[static_cast<std::size_t>(i)];
              const BFloat16* row = a.data() + p.a * a_part + line * kTileLanes;
              const BFloat16* column = b.data() + (n / kSide * s.steps + i) * step + p.b * 2 * kTileElements +
                                       n % kSide / kTileRows * kTileElements + n % kTileRows * 2;
              sum = multiply_tile(sum, row, column);
            }
        const auto at =
            static_cast<std::size_t>(((n / kSide * panel_count + panel) * kSide + m) * kSide + n % kSide);
        equal = equal && same(c[at], s.accumulate ? before[at] + sum : sum);
      }
  CHECK(equal, "multiply_chain: panels %zu filters %lld steps %lld parts %d accumulate %d outside %d wild %d",
        s.panels.size(), static_cast<long long>(s.filters), static_cast<long long>(s.steps), s.parts,
        s.accumulate, s.pairs_outside, wild);
}

void check_tiles(const cpu::KernelTable& table) {
  const cpu::TileKernels& k = *table.tiles;
  CHECK(table.gemm[0].nr == kSide, "the epilogues take panels of %d filters, not %d", table.gemm[0].nr,
        kSide);
  for (int parts = 1; parts <= kParts; ++parts) {
    for (const int lanes : {1, 15, 16, 17, 31, 32})
      for (const int64_t count : {1, 2, 16, 17, 40}) {
        check_split(k, lanes, count, parts);
        check_turn(k, lanes, count, parts);
      }
    check_pairs(k, parts);
    for (const int64_t filters : {1, 16, 17, 32, 33, 70})
      for (const int64_t steps : {1, 2, 5})
        for (const bool accumulate : {false, true})
          for (const bool outside : {false, true})
            check_chain(k,
                        {{{0, 32}, {32, 17}, {60, 16}, {77, 3}}, filters, steps, parts, accumulate, outside},
                        false);
    for (const int64_t steps : {1, 3}) check_chain(k, {{{0, 32}}, 32, steps, parts, false, false}, true);
  }
}

}  // namespace
}  // namespace fastconv::test

int main() {
  using namespace fastconv::test;
  std::string isas;
  for (const Isa& isa : runnable_isas()) {
    CHECK((isa.table->tiles != nullptr) == (isa.name == "amx"), "%s", isa.name.c_str());
    if (!isa.table->tiles) continue;
    check_tiles(*isa.table);
    isas += " " + isa.name;
  }
  return finish("tiles", isas);
}
