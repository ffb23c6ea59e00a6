// Each operation of vec_<isa>.h against plain C++, on every table this machine can run.
#include <algorithm>
#include <limits>
#include <vector>

#include "check.h"
#include "guarded.h"
#include "runnable_isas.h"
#include "storage.h"

namespace fastconv::test {
namespace {

const char* isa_name = "";  // of the table under test, for messages

template <class T>
std::vector<T> interesting_values() {
  using L = std::numeric_limits<T>;
  std::vector<T> v = {0,
                      T(0.25),
                      T(0.5),
                      1,
                      T(1.5),
                      2,
                      T(2.5),
                      3,
                      T(1e-3),
                      T(0.3),
                      100,
                      T(1 / 3.0),
                      T(8388608.5),
                      T(1e10),
                      L::min(),
                      L::denorm_min(),
                      L::min() * T(0.75),
                      L::max(),
                      L::epsilon(),
                      L::infinity(),
                      L::quiet_NaN()};
  for (std::size_t i = 0, n = v.size(); i < n; ++i) v.push_back(-v[i]);
  Values random(1);
  for (int i = 0; i < 20; ++i) v.push_back(static_cast<T>(random() * 10));
  return v;
}

// Runs `operation` on whole vectors cut from the inputs (the last one filled up from the front) and checks
// every lane.
template <class T, int kInputs, class Operation, class Expected>
void check_lanes(const char* what, int lanes, const std::vector<T> (&in)[kInputs], Operation operation,
                 Expected expected) {
  const std::size_t size = in[0].size();
  std::vector<T> a[kInputs], r(static_cast<std::size_t>(lanes));
  for (std::size_t start = 0; start < size; start += static_cast<std::size_t>(lanes)) {
    for (int q = 0; q < kInputs; ++q) {
      a[q].clear();
      for (int i = 0; i < lanes; ++i) a[q].push_back(in[q][(start + static_cast<std::size_t>(i)) % size]);
    }
    operation(a, r.data());
    for (std::size_t i = 0; i < r.size(); ++i) {
      const T want = expected(a, i);
      CHECK(same(r[i], want), "%s %s(%.9g, %.9g, %.9g) lane %zu: got %.9g, expected %.9g", isa_name, what,
            static_cast<double>(a[0][i]), static_cast<double>(a[kInputs > 1 ? 1 : 0][i]),
            static_cast<double>(a[kInputs - 1][i]), i, static_cast<double>(r[i]), static_cast<double>(want));
    }
  }
}

template <class T, class Expected>
void check_unary(const char* what, int lanes, void (*f)(const T*, T*), const std::vector<T>& values,
                 Expected expected) {
  const std::vector<T> in[1] = {values};
  check_lanes<T, 1>(
      what, lanes, in, [&](auto& a, T* r) { f(a[0].data(), r); },
      [&](auto& a, std::size_t i) -> T { return expected(a[0][i]); });
}

// Every pair of values.
template <class T, class Expected>
void check_binary(const char* what, int lanes, void (*f)(const T*, const T*, T*), Expected expected) {
  const std::vector<T> values = interesting_values<T>();
  std::vector<T> in[2];
  for (const T x : values)
    for (const T y : values) in[0].push_back(x), in[1].push_back(y);
  check_lanes<T, 2>(
      what, lanes, in, [&](auto& a, T* r) { f(a[0].data(), a[1].data(), r); },
      [&](auto& a, std::size_t i) -> T { return expected(a[0][i], a[1][i]); });
}

template <class T, class Expected>
void check_ternary(const char* what, int lanes, void (*f)(const T*, const T*, const T*, T*),
                   Expected expected) {
  const std::vector<T> values = interesting_values<T>();
  std::vector<T> in[3];
  for (const T x : values)
    for (const T y : values)
      for (const T z : values) in[0].push_back(x), in[1].push_back(y), in[2].push_back(z);
  check_lanes<T, 3>(
      what, lanes, in, [&](auto& a, T* r) { f(a[0].data(), a[1].data(), a[2].data(), r); },
      [&](auto& a, std::size_t i) -> T { return expected(a[0][i], a[1][i], a[2][i]); });
}

template <class T>
void check_arithmetic(const VecArithmetic<T>& v, bool fused) {
  check_binary<T>("+", v.lanes, v.add, [](T a, T b) { return a + b; });
  check_binary<T>("-", v.lanes, v.subtract, [](T a, T b) { return a - b; });
  check_binary<T>("*", v.lanes, v.multiply, [](T a, T b) { return a * b; });
  check_binary<T>("/", v.lanes, v.divide, [](T a, T b) { return a / b; });
  check_binary<T>("min", v.lanes, v.min, [](T a, T b) { return a < b ? a : b; });
  check_binary<T>("max", v.lanes, v.max, [](T a, T b) { return a > b ? a : b; });
  check_binary<T>("copysign", v.lanes, v.copysign, [](T a, T b) { return std::copysign(a, b); });
  check_ternary<T>("fma", v.lanes, v.fma,
                   [&](T a, T b, T c) { return fused ? std::fma(a, b, c) : a * b + c; });
  check_ternary<T>("fnma", v.lanes, v.fnma,
                   [&](T a, T b, T c) { return fused ? std::fma(-a, b, c) : c - a * b; });

  const std::vector<T> values = interesting_values<T>();
  check_unary<T>("sqrt", v.lanes, v.sqrt, values, [](T a) { return std::sqrt(a); });
  check_unary<T>("abs", v.lanes, v.abs, values, [](T a) { return std::fabs(a); });
  std::vector<T> to_round = values;
  for (int i = -20; i <= 20; ++i) to_round.push_back(static_cast<T>(i) / 4);
  check_unary<T>("round", v.lanes, v.round, to_round, [](T a) { return std::rint(a); });
  std::vector<T> exponents;
  for (int n = std::numeric_limits<T>::min_exponent - 1; n < std::numeric_limits<T>::max_exponent; ++n)
    exponents.push_back(static_cast<T>(n));
  check_unary<T>("exp2_integer", v.lanes, v.exp2_integer, exponents,
                 [](T n) { return std::ldexp(T(1), static_cast<int>(n)); });
}

template <class T>
void check_masks(const VecArithmetic<T>& v) {
  check_binary<T>("select(a < b)", v.lanes, v.select_less, [](T a, T b) { return a < b ? a : b; });
  check_binary<T>("select(a == b)", v.lanes, v.select_equal, [](T a, T b) { return a == b ? a : b; });
  check_binary<T>("select(is_nan(a))", v.lanes, v.select_nan, [](T a, T b) { return std::isnan(a) ? a : b; });
  check_binary<T>("select(a < b | a == b)", v.lanes, v.select_less_or_equal,
                  [](T a, T b) { return a <= b ? a : b; });
  check_binary<T>("select(a < b & is_nan(a))", v.lanes, v.select_less_and_nan, [](T, T b) { return b; });
}

template <class T>
void check_memory(const VecArithmetic<T>& v) {
  const int lanes = v.lanes;
  const Guarded memory(4096);
  std::vector<T> r(static_cast<std::size_t>(lanes)), a(r.size());
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<T>(i + 1);
  v.zero(r.data());
  CHECK(std::count(r.begin(), r.end(), T(0)) == lanes && !std::signbit(r[0]), "%s zero", isa_name);
  v.all(T(3), r.data());
  CHECK(std::count(r.begin(), r.end(), T(3)) == lanes, "%s all", isa_name);
  for (int offset = 0; offset <= lanes; ++offset) {  // every alignment of an element
    T* p = memory.last<T>(lanes + offset);
    v.store(p, a.data());
    v.load(p, r.data());
    CHECK(r == a && std::equal(a.begin(), a.end(), p), "%s load or store at %d", isa_name, offset);
  }
  for (int count = 0; count <= lanes; ++count) {
    T* p = memory.last<T>(count);
    T* before = p - lanes;
    std::fill(before, p + count, T(-7));
    v.store_partial(p, count, a.data());
    CHECK(std::equal(p, p + count, a.begin()), "%s store_partial of %d", isa_name, count);
    CHECK(std::count(before, p, T(-7)) == lanes, "%s store_partial of %d wrote before", isa_name, count);
    v.load_partial(p, count, r.data());
    for (int i = 0; i < lanes; ++i) {
      const auto q = static_cast<std::size_t>(i);
      CHECK(same(r[q], i < count ? a[q] : T(0)), "%s load_partial of %d, lane %d", isa_name, count, i);
    }
    T* inside = memory.last<T>(2 * lanes);
    std::fill(inside, inside + 2 * lanes, T(-7));
    v.store_partial(inside, count, a.data());
    CHECK(std::count(inside + count, inside + 2 * lanes, T(-7)) == 2 * lanes - count,
          "%s store_partial of %d wrote beyond", isa_name, count);
  }
}

template <class T>
void check_whole_vectors(const VecArithmetic<T>& v) {
  const auto lanes = static_cast<std::size_t>(v.lanes);
  std::vector<T> a(lanes);
  for (std::size_t i = 0; i < lanes; ++i) a[i] = static_cast<T>(1 << i);
  CHECK(v.reduce_add(a.data()) == static_cast<T>((1 << lanes) - 1), "%s reduce_add", isa_name);
  std::vector<T> b(lanes), pairs(2 * lanes), again(2 * lanes);
  for (std::size_t i = 0; i < lanes; ++i) b[i] = -a[i];
  v.interleave(a.data(), b.data(), pairs.data(), pairs.data() + lanes);
  for (std::size_t i = 0; i < 2 * lanes; ++i)
    CHECK(pairs[i] == (i % 2 ? b : a)[i / 2], "%s interleave at %zu", isa_name, i);
  v.evens(pairs.data(), pairs.data() + lanes, again.data());
  v.odds(pairs.data(), pairs.data() + lanes, again.data() + lanes);
  for (std::size_t i = 0; i < 2 * lanes; ++i)
    CHECK(again[i] == (i < lanes ? a : b)[i % lanes], "%s evens and odds at %zu", isa_name, i);
  std::vector<T> square(lanes * lanes);
  for (std::size_t i = 0; i < square.size(); ++i) square[i] = static_cast<T>(i);
  v.transpose(square.data());
  for (std::size_t i = 0; i < lanes; ++i)
    for (std::size_t j = 0; j < lanes; ++j)
      CHECK(square[i * lanes + j] == static_cast<T>(j * lanes + i), "%s transpose at %zu, %zu", isa_name, i,
            j);
}

// Widening: all 65,536 bit patterns. Narrowing: every finite value, its midpoint to the next one and the
// floats on both sides of that midpoint, of both signs.
template <class S>
void check_half(const VecStorage<S>& v, int lanes) {
  const auto step = static_cast<std::size_t>(lanes);
  std::vector<S> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<std::uint16_t>(i);
  std::vector<float> wide(all.size());
  for (std::size_t i = 0; i < all.size(); i += step) v.load_as(&all[i], &wide[i]);
  for (std::size_t i = 0; i < all.size(); ++i)
    CHECK(same(wide[i], widen(all[i])) && std::signbit(wide[i]) == (i >= 32768),
          "%s load_as of %zx: got %.9g", isa_name, i, static_cast<double>(wide[i]));

  std::vector<float> values;
  for (std::uint16_t bits = 0; std::isfinite(widen(S{bits})); ++bits) {
    const float low = widen(S{bits}), high = widen(S{static_cast<std::uint16_t>(bits + 1)});
    // The format's infinity stands where its next number would.
    const double next = std::isinf(high) ? 2.0 * low - widen(S{static_cast<std::uint16_t>(bits - 1)}) : high;
    const auto middle = static_cast<float>((low + next) / 2);
    for (const float x : {low, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, INFINITY)}) {
      values.push_back(x);
      values.push_back(-x);
    }
  }
  for (const float x : interesting_values<float>()) values.push_back(x);
  values.resize((values.size() + step - 1) / step * step);
  std::vector<S> narrow_values(values.size());
  for (std::size_t i = 0; i < values.size(); i += step) v.store_as(&narrow_values[i], &values[i]);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const S want = narrow<S>(values[i]), got = narrow_values[i];
    CHECK(got.bits == want.bits || (std::isnan(values[i]) && std::isnan(widen(got))),
          "%s store_as of %.9g (%a): got %x, expected %x", isa_name, static_cast<double>(values[i]),
          static_cast<double>(values[i]), got.bits, want.bits);
  }
}

template <class S>
void check_partial_storage(const VecStorage<S>& v, int lanes) {
  const Guarded memory(4096);
  std::vector<float> a, r(static_cast<std::size_t>(lanes));
  for (int i = 0; i < lanes; ++i) a.push_back(static_cast<float>(i) + 1.5f);
  for (int count = 0; count <= lanes; ++count) {
    S* p = memory.last<S>(count);
    std::memset(p - lanes, 0x5a, sizeof(S) * static_cast<std::size_t>(lanes + count));
    v.store_partial_as(p, count, a.data());
    v.load_partial_as(p, count, r.data());
    for (int i = 0; i < lanes; ++i) {
      const auto q = static_cast<std::size_t>(i);
      CHECK(same(r[q], i < count ? a[q] : 0.0f), "%s partial store and load of %d, lane %d", isa_name, count,
            i);
    }
    S* inside = memory.last<S>(2 * lanes);
    std::memset(inside, 0x5a, sizeof(S) * 2 * static_cast<std::size_t>(lanes));
    v.store_partial_as(inside, count, a.data());
    const auto* bytes = reinterpret_cast<const unsigned char*>(inside + count);
    CHECK(std::count(bytes, reinterpret_cast<const unsigned char*>(inside + 2 * lanes), 0x5a) ==
              static_cast<std::ptrdiff_t>(sizeof(S)) * (2 * lanes - count),
          "%s store_partial_as of %d wrote beyond", isa_name, count);
  }
}

template <class T>
void check_type(const VecArithmetic<T>& v, bool fused) {
  check_memory(v);
  check_arithmetic(v, fused);
  check_masks(v);
  check_whole_vectors(v);
}

}  // namespace
}  // namespace fastconv::test

int main() {
  using namespace fastconv::test;
  std::string isas;
  for (const Isa& isa : runnable_isas()) {
    isa_name = isa.name.c_str();
    CHECK(isa.vec && vectors_of(isa.name) == isa.vec->isa && isa.name == isa.table->isa,
          "%s has its own table", isa_name);
    check_type(isa.vec->f32, isa.fused);
    check_type(isa.vec->f64, isa.fused);
    check_half(isa.vec->as_f16, isa.vec->f32.lanes);
    check_half(isa.vec->as_bf16, isa.vec->f32.lanes);
    check_partial_storage(isa.vec->as_f32, isa.vec->f32.lanes);
    check_partial_storage(isa.vec->as_f16, isa.vec->f32.lanes);
    check_partial_storage(isa.vec->as_bf16, isa.vec->f32.lanes);
    isas += " " + isa.name;
  }
  return finish("vectors", isas);
}
