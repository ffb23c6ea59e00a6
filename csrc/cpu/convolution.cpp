#include "cpu/convolution.h"

#include <array>
#include <unordered_map>

#include "core/conv_as_gemm.h"
#include "core/fork_mutex.h"
#include "cpu/depthwise.h"
#include "cpu/implicit_gemm.h"
#include "cpu/tile_product.h"
#include "cpu/winograd.h"

namespace fastconv::cpu {
namespace {

// Everything that prepare() looks at, as numbers.
class CallKey {
 public:
  CallKey(const Plan& plan, const ConvProblem& p, Direction direction, const ImageView& x, const ImageView& y,
          const FilterView& w) {
    add(static_cast<int64_t>(plan.algorithm));
    add(plan.winograd_tile);
    add(static_cast<int64_t>(plan.precision));
    add(reinterpret_cast<std::intptr_t>(plan.machine.table));
    add(plan.machine.caches.l1);
    add(plan.machine.caches.l2);
    add(plan.machine.threads);
    add(static_cast<int64_t>(direction));
    add(p.batch);
    add(p.in_channels);
    add(p.out_channels);
    add(p.groups);
    add(static_cast<int64_t>(p.mode));
    for (const auto* axes : {&p.input, &p.kernel, &p.output, &p.stride, &p.dilation, &p.pad_before})
      for (const int64_t n : *axes) add(n);
    for (const ImageView* v : {&x, &y}) {
      add(static_cast<int64_t>(v->dtype));
      add(v->batch_stride);
      add(v->channel_stride);
      for (const int64_t n : v->stride) add(n);
    }
    add(static_cast<int64_t>(w.dtype));
  }
  bool operator==(const CallKey& other) const { return values_ == other.values_; }
  std::size_t hash() const {
    std::uint64_t h = 0;
    for (const int64_t v : values_) {
      h = (h ^ static_cast<std::uint64_t>(v)) * 0x9E3779B97F4A7C15u;
      h ^= h >> 29;
    }
    return static_cast<std::size_t>(h);
  }

 private:
  void add(int64_t value) { values_[count_++] = value; }

  std::size_t count_ = 0;
  std::array<int64_t, 44> values_{};
};

struct HashOfKey {
  std::size_t operator()(const CallKey& key) const { return key.hash(); }
};

struct PreparedCall {
  std::vector<std::unique_ptr<Product>> products;
  std::uint64_t used_at;
};

// Prepared calls that no thread runs, the latest kMostKept of them. A call takes its own out and brings it
// back; two threads with the same call have one each.
class KeptCalls {
 public:
  using Calls = std::unordered_multimap<CallKey, PreparedCall, HashOfKey>;

  Calls::node_type take(const CallKey& key) {
    const std::lock_guard<std::mutex> hold(lock_);
    return calls_.extract(key);
  }
  void give(Calls::node_type call) {
    const std::lock_guard<std::mutex> hold(lock_);
    call.mapped().used_at = ++clock_;
    calls_.insert(std::move(call));
    if (calls_.size() <= kMostKept) return;
    auto oldest = calls_.begin();
    for (auto it = calls_.begin(); it != calls_.end(); ++it)
      if (it->second.used_at < oldest->second.used_at) oldest = it;
    calls_.erase(oldest);
  }
  int64_t count() {
    const std::lock_guard<std::mutex> hold(lock_);
    return static_cast<int64_t>(calls_.size());
  }
  void clear() {
    const std::lock_guard<std::mutex> hold(lock_);
    calls_.clear();
  }

 private:
  static constexpr std::size_t kMostKept = 256;

  std::mutex& lock_ = make_fork_mutex();
  Calls calls_;
  std::uint64_t clock_ = 0;
};

// Never destroyed, as the pool of buffers is not.
KeptCalls& kept = *new KeptCalls;

// The tables of a call grow with its taps and its padding: those of long windows, which take far longer to
// run than to prepare, are not kept.
bool worth_keeping(const ConvProblem& p) {
  constexpr int64_t kMostEntries = 2048;
  int64_t entries = p.taps();
  for (int a = 0; a < kAxes; ++a) entries += p.kernel[a] * (p.pad_before[a] + p.pad_after[a] + 1);
  return entries <= kMostEntries;
}

void run(const Plan& plan, const ConvProblem& p, Direction direction, const ImageView& x, const ImageView& y,
         const FilterView& w, const Epilogue& epilogue) {
  const bool backward = direction == Direction::input_gradient;
  void *source = backward ? y.data : x.data, *result = backward ? x.data : y.data;
  const CallKey key(plan, p, direction, x, y, w);
  KeptCalls::Calls::node_type call = kept.take(key);
  if (call.empty()) {
    KeptCalls::Calls fresh;
    fresh.emplace(key, PreparedCall{prepare(plan, p, direction, x, y, w), 0});
    call = fresh.extract(fresh.begin());
  }
  for (const std::unique_ptr<Product>& product : call.mapped().products) {
    product->bind(source, result);
    product->run(w, epilogue);
  }
  if (worth_keeping(p)) kept.give(std::move(call));
}

}  // namespace

std::vector<std::unique_ptr<Product>> prepare(const Plan& plan, const ConvProblem& p, Direction direction,
                                              const ImageView& x, const ImageView& y, const FilterView& w) {
  const Machine& machine = plan.machine;
  const bool backward = direction == Direction::input_gradient;
  std::vector<std::unique_ptr<Product>> products;
  if (direction == Direction::weight_gradient) {
    PixelGather g = forward_gather(p, x, y);
    if (plan.algorithm == Algorithm::direct) {
      products.push_back(depthwise_image_product(machine, g, w));
    } else if (plan.algorithm == Algorithm::winograd && g.pixels() > 0) {
      products.push_back(winograd_image_product(machine, plan.winograd_tile, std::move(g), p.groups, w));
    } else {
      products.push_back(image_product(machine, std::move(g), p.groups, w));
    }
    return products;
  }
  std::vector<PixelGather> gathers;
  if (backward) {
    InputGradientGathers phases = input_gradient_gathers(p, y, x);
    gathers = std::move(phases.phases);
    if (phases.untouched)
      products.push_back(pixel_product(machine, {own_pixels(x, true)}, w, true, p.groups));
  } else {
    gathers.push_back(forward_gather(p, x, y));
  }
  if (plan.algorithm == Algorithm::direct) {
    products.push_back(depthwise_product(machine, gathers, backward ? x : y, w, backward));
  } else if (plan.algorithm == Algorithm::winograd) {
    for (PixelGather& g : gathers)
      if (g.pixels() > 0)
        products.push_back(
            winograd_product(machine, plan.winograd_tile, std::move(g), w, backward, p.groups));
  } else if (plan.algorithm == Algorithm::tile_gemm) {
    products.push_back(tile_product(machine, plan.precision, std::move(gathers), w, backward, p.groups));
  } else {
    products.push_back(pixel_product(machine, std::move(gathers), w, backward, p.groups));
  }
  return products;
}

void conv_forward(const Plan& plan, const ConvProblem& p, const ImageView& x, const FilterView& w,
                  const Epilogue& epilogue, const ImageView& y) {
  run(plan, p, Direction::forward, x, y, w, epilogue);
}

void conv_input_gradient(const Plan& plan, const ConvProblem& p, const ImageView& dy, const FilterView& w,
                         const Epilogue& epilogue, const ImageView& dx) {
  run(plan, p, Direction::input_gradient, dx, dy, w, epilogue);
}

void conv_weight_gradient(const Plan& plan, const ConvProblem& p, const ImageView& dy, const ImageView& x,
                          const FilterView& dw) {
  run(plan, p, Direction::weight_gradient, x, dy, dw, {});
}

int64_t kept_calls() { return kept.count(); }
void forget_calls() { kept.clear(); }

}  // namespace fastconv::cpu
