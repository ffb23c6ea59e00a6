// Kept forms of filters: what tells contents apart, and the bounds of what is kept.
#include "cpu/filter_forms.h"

#include <cstring>
#include <random>
#include <set>
#include <utility>

#include "check.h"

namespace fastconv::test {
namespace {

using cpu::FilterForm;
using cpu::FormPlan;
using std::int64_t;

using Words = std::pair<std::uint64_t, std::uint64_t>;
Words words_of(const std::vector<float>& values, std::size_t bytes) {
  const Fingerprint f = fingerprint(values.data(), bytes);
  return {f.low, f.high};
}

// Changes that a weak hash would miss: of one bit, of signs in pairs, of order, of length.
void check_fingerprints() {
  std::mt19937 random(1);
  std::vector<float> values(256);
  for (float& v : values) v = std::normal_distribution<float>()(random);
  const std::size_t bytes = values.size() * sizeof(float);
  std::set<Words> seen{words_of(values, bytes)};
  const auto check_new = [&](const std::vector<float>& changed, std::size_t length, const char* what) {
    CHECK(seen.insert(words_of(changed, length)).second, "%s", what);
  };
  for (std::size_t at = 0; at < values.size(); ++at)
    for (std::uint32_t bit = 0; bit < 32; ++bit) {
      std::vector<float> changed = values;
      std::uint32_t word;
      std::memcpy(&word, &changed[at], sizeof word);
      word ^= 1u << bit;
      std::memcpy(&changed[at], &word, sizeof word);
      check_new(changed, bytes, "a bit");
    }
  for (std::size_t a = 0; a < values.size(); a += 5)
    for (std::size_t b = a + 1; b < values.size(); ++b) {
      std::vector<float> signs = values, order = values;
      signs[a] = -signs[a];
      signs[b] = -signs[b];
      std::swap(order[a], order[b]);
      check_new(signs, bytes, "two signs");
      check_new(order, bytes, "two elements exchanged");
    }
  for (std::size_t length = 0; length < bytes; ++length) check_new(values, length, "a shorter piece");
  const std::vector<float> zeros(256);
  for (std::size_t length = 1; length < bytes; ++length) check_new(zeros, length, "zeros");
}

struct Filters {
  std::vector<float> values;
  FilterView view;

  explicit Filters(float value) : values(64 * 64 * 9, value) {
    view.data = values.data();
    view.filters = view.channels = 64;
    view.taps = 9;
  }
};

// A form is the filters' first value, and the number of times that one was made.
struct Maker {
  cpu::Machine machine = cpu::Machine::current();
  int made = 0;

  bool is_right(const FormPlan& plan, const Filters& filters) {
    const FilterForm form = cpu::form_of(machine, plan, filters.view, [&](void* to) {
      ++made;
      *static_cast<float*>(to) = filters.values[0];
      return true;
    });
    return form && *form->as<float>() == filters.values[0];
  }
};

FormPlan plan_of(const Filters& filters, int64_t bytes, int64_t layout = 1) {
  return cpu::plan_form(cpu::Machine::current(), {filters.view, false, 1, {layout}}, bytes, 100);
}

void check_made_twice_at_most() {
  cpu::forget_forms();
  Maker maker;
  Filters filters(1);
  const FormPlan plan = plan_of(filters, 4096);
  for (int i = 0; i < 5; ++i) CHECK(maker.is_right(plan, filters), "call %d", i);
  CHECK(maker.made == 2 && cpu::kept_form_bytes() == 4096, "made %d times", maker.made);
  CHECK(maker.is_right(plan_of(filters, 4096, 2), filters) && maker.made == 3,
        "another layout, another form");
  filters.values[777] = 2;  // between the samples
  CHECK(maker.is_right(plan, filters) && maker.made == 4, "made %d times", maker.made);
  CHECK(maker.is_right(plan, filters) && maker.made == 4, "kept in the place of the one before");
  CHECK(cpu::kept_form_bytes() == 4096, "%lld bytes", static_cast<long long>(cpu::kept_form_bytes()));
  CHECK(!cpu::form_of(maker.machine, plan_of(filters, 4096, 3), filters.view, [](void*) { return false; }),
        "filters without such a form");
}

void check_bounds() {
  constexpr int64_t kForm = 1 << 20, kLimit = 10 * kForm + 5;
  cpu::forget_forms();
  cpu::limit_kept_forms(kLimit);
  Maker maker;
  for (int round = 0; round < 3; ++round)
    for (int i = 0; i < 50; ++i) {
      Filters filters(static_cast<float>(i));
      const FormPlan plan = plan_of(filters, kForm);
      CHECK(maker.is_right(plan, filters) && maker.is_right(plan, filters), "filters %d", i);
      CHECK(cpu::kept_form_bytes() <= kLimit, "%lld bytes", static_cast<long long>(cpu::kept_form_bytes()));
    }
  const int before = maker.made;
  for (int i = 45; i < 50; ++i) {
    const Filters filters(static_cast<float>(i));
    CHECK(maker.is_right(plan_of(filters, kForm), filters), "filters %d", i);
  }
  CHECK(maker.made == before, "the latest are kept");
  const Filters filters(1);
  CHECK(!plan_of(filters, kLimit).kept, "a form that would drive out most others");
  cpu::forget_forms();
  CHECK(cpu::kept_form_bytes() == 0 && pool_statistics().blocks_in_use == 0, "memory given back");
}

}  // namespace
}  // namespace fastconv::test

int main() {
  using namespace fastconv::test;
  check_fingerprints();
  check_made_twice_at_most();
  check_bounds();
  return finish("forms of filters");
}
