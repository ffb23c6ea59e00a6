#include "cpu/filter_forms.h"

#include <algorithm>
#include <list>
#include <optional>
#include <unordered_map>
#include <utility>

#include "core/fork_mutex.h"
#include "core/integers.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

struct HashOfFingerprint {
  std::size_t operator()(const Fingerprint& f) const { return static_cast<std::size_t>(f.low); }
};

// The latest filters that were met, by a sample of them, and the forms of those that were met again.
class KeptForms {
 public:
  struct Entry {
    Fingerprint sample, content;  // content: of what the form was made of
    FilterForm form;
    int64_t bytes;
  };

  // What is known of such filters; without a value the first time.
  std::optional<Entry> meet(const Fingerprint& sample) {
    FilterForm dropped;  // goes back to the pool, which has a lock of its own, without this one
    const std::lock_guard<std::mutex> hold(lock_);
    const auto place = places_.find(sample);
    if (place != places_.end()) {
      entries_.splice(entries_.begin(), entries_, place->second);
      return entries_.front();
    }
    entries_.push_front({sample, {}, nullptr, 0});
    places_[sample] = entries_.begin();
    if (entries_.size() > kMostMet) dropped = drop(std::prev(entries_.end()));
    return std::nullopt;
  }

  void keep(Entry entry) {
    std::vector<FilterForm> dropped;
    const std::lock_guard<std::mutex> hold(lock_);
    const auto place = places_.find(entry.sample);
    if (place == places_.end()) return;
    bytes_ += entry.bytes - place->second->bytes;
    std::swap(*place->second, entry);
    dropped.push_back(std::move(entry.form));
    while (bytes_ > limit_) dropped.push_back(drop(std::prev(entries_.end())));
  }

  void set_limit(int64_t bytes) {
    const std::lock_guard<std::mutex> hold(lock_);
    limit_ = bytes;
  }
  int64_t limit() {
    const std::lock_guard<std::mutex> hold(lock_);
    return limit_;
  }
  int64_t bytes() {
    const std::lock_guard<std::mutex> hold(lock_);
    return bytes_;
  }
  void clear() {
    std::list<Entry> dropped;
    const std::lock_guard<std::mutex> hold(lock_);
    dropped.swap(entries_);
    places_.clear();
    bytes_ = 0;
  }

 private:
  static constexpr std::size_t kMostMet = 4096;

  using Place = std::list<Entry>::iterator;

  FilterForm drop(Place entry) {
    FilterForm form = std::move(entry->form);
    bytes_ -= entry->bytes;
    places_.erase(entry->sample);
    entries_.erase(entry);
    return form;
  }

  std::mutex& lock_ = make_fork_mutex();
  std::list<Entry> entries_;  // the latest first
  std::unordered_map<Fingerprint, Place, HashOfFingerprint> places_;
  int64_t bytes_ = 0, limit_ = int64_t{1} << 28;
};

// Never destroyed, as the pool of buffers is not.
KeptForms& forms = *new KeptForms;

int64_t bytes_of(const FilterView& w) { return w.filters * w.channels * w.taps * size_of(w.dtype); }

// Of some lines all over the filters: a training step changes them all.
Fingerprint sample_of(const FilterView& w, const Fingerprint& layout) {
  constexpr int64_t kLines = 16, kLineBytes = 64;
  const char* data = static_cast<const char*>(w.data);
  const int64_t last = bytes_of(w) - kLineBytes;
  Fingerprint sample = layout;
  for (int64_t i = 0; i < kLines; ++i)
    sample = fingerprint(data + last * i / (kLines - 1), static_cast<std::size_t>(kLineBytes), sample);
  return sample;
}

// In pieces, so that threads share them out.
Fingerprint content_of(const Machine& machine, const FilterView& w) {
  constexpr int64_t kPiece = 1 << 17;
  constexpr double kNsPerByte = 0.1;
  const int64_t bytes = bytes_of(w), pieces = ceil_div(bytes, kPiece);
  std::vector<Fingerprint> parts(static_cast<std::size_t>(pieces));
  parallel_for(pieces, kNsPerByte * static_cast<double>(bytes), machine.threads, [&](int64_t i, int) {
    parts[static_cast<std::size_t>(i)] =
        fingerprint(static_cast<const char*>(w.data) + i * kPiece,
                    static_cast<std::size_t>(std::min(kPiece, bytes - i * kPiece)));
  });
  return fingerprint(parts.data(), parts.size() * sizeof(Fingerprint));
}

FilterForm make_form(const FormPlan& plan, const MakeForm& make) {
  const auto form = std::make_shared<const Buffer>(plan.bytes);
  return make(form->data()) ? form : nullptr;
}

}  // namespace

FormPlan plan_form(const Machine& machine, const FormLayout& layout, int64_t bytes, double multiply_adds) {
  // To make a form takes as long as some 30 multiply-adds for each element of the filters.
  constexpr double kMostMultiplyAdds = 1500;
  constexpr int64_t kFewElements = 8192;
  const FilterView& w = layout.filters;
  FormPlan plan;
  plan.bytes = bytes;
  plan.kept = multiply_adds <= kMostMultiplyAdds && bytes <= forms.limit() / 4 &&
              w.filters * w.channels * w.taps >= kFewElements;
  if (!plan.kept) return plan;
  const int64_t numbers[] = {reinterpret_cast<std::intptr_t>(machine.table),
                             w.filters,
                             w.channels,
                             w.taps,
                             static_cast<int64_t>(w.dtype),
                             layout.by_channel,
                             layout.groups};
  plan.layout = fingerprint(layout.others.data(), layout.others.size() * sizeof(int64_t),
                            fingerprint(numbers, sizeof numbers));
  return plan;
}

FilterForm kept_form(const Machine& machine, const FormPlan& plan, const FilterView& filters,
                     const MakeForm& make) {
  if (!plan.kept) return nullptr;
  const Fingerprint sample = sample_of(filters, plan.layout);
  const std::optional<KeptForms::Entry> met = forms.meet(sample);
  if (!met) return nullptr;
  const Fingerprint content = content_of(machine, filters);
  if (met->form && met->content == content) return met->form;
  FilterForm form = make_form(plan, make);
  if (form) forms.keep({sample, content, form, plan.bytes});
  return form;
}

FilterForm form_of(const Machine& machine, const FormPlan& plan, const FilterView& filters,
                   const MakeForm& make) {
  FilterForm kept = kept_form(machine, plan, filters, make);
  return kept ? kept : make_form(plan, make);
}

void limit_kept_forms(int64_t bytes) { forms.set_limit(bytes); }
int64_t kept_form_bytes() { return forms.bytes(); }
void forget_forms() { forms.clear(); }

}  // namespace fastconv::cpu
