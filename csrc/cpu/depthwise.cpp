#include "cpu/depthwise.h"

#include <algorithm>

#include "core/integers.h"
#include "cpu/depthwise_lanes.h"
#include "cpu/depthwise_rows.h"
#include "cpu/packed_product.h"

namespace fastconv::cpu {
namespace {

// What a task takes at a time, for explain().
std::vector<Figure> figures_of(const RowsPlan& p) {
  return {{"positions", p.rows * p.columns}, {"channels", 1}};
}
std::vector<Figure> figures_of(const LanesPlan& p) {
  return {{"positions", p.rows * p.result.size[2]}, {"channels", p.width}};
}

template <class T>
class DepthwiseProduct : public Product {
 public:
  DepthwiseProduct(const Machine& machine, const std::vector<PixelGather>& gathers, const ImageView& result,
                   const FilterView& filters, bool by_channel)
      : machine_(machine), by_channel_(by_channel), kernel_taps_(filters.taps) {
    if (gathers.empty() || result.batch * product(result.size) == 0) return;
    const int64_t multiplier = filters.filters / (by_channel ? result.channels : gathers[0].source.channels);
    lanes_ = plan_lanes(machine, gathers, result, multiplier);
    if (!lanes_) rows_ = plan_rows(machine, gathers, filters.dtype);
  }

  void bind(void* source, void* result) override {
    if (lanes_) return lanes_->bind(source, result);
    for (RowsPlan& plan : rows_) plan.bind(source, result);
  }

  void run(const FilterView& filters, const Epilogue& epilogue) override {
    if (lanes_) return filter_lanes<T>(machine_, *lanes_, filters, epilogue);
    for (const RowsPlan& plan : rows_) filter_rows<T>(machine_, plan, filters, by_channel_, epilogue);
  }

  int64_t workspace_bytes() const override {
    if (lanes_) return cpu::workspace_bytes(machine_, *lanes_);
    int64_t most = 0;
    for (const RowsPlan& plan : rows_)
      most = std::max(most, cpu::workspace_bytes(machine_, plan, kernel_taps_));
    return most;
  }
  std::vector<Figure> figures() const override {
    if (lanes_) return figures_of(*lanes_);
    return rows_.empty() ? std::vector<Figure>{} : figures_of(rows_[0]);
  }

 private:
  const Machine machine_;
  const bool by_channel_;
  int64_t kernel_taps_;
  std::optional<LanesPlan> lanes_;
  std::vector<RowsPlan> rows_;  // where lanes can't serve
};

template <class T>
class DepthwiseImageProduct : public Product {
 public:
  DepthwiseImageProduct(const Machine& machine, const PixelGather& x, const FilterView& dw)
      : machine_(machine) {
    constexpr int64_t kWantedTasks = 64;
    lanes_ = plan_lanes(machine, {x}, x.result, dw.filters / x.source.channels);
    if (!lanes_) rows_ = std::move(plan_rows(machine, {x}, dw.dtype).front());
    width_ = lanes_ ? lanes_->width : 1;
    parts_ = ceil_div(dw.filters, width_);
    // The blocks of some filters are shared out into slices, as many as the problem asks for, whatever the
    // threads.
    const int64_t blocks = lanes_ ? lanes_->blocks : rows_.images() * rows_.blocks;
    slices_ = std::max<int64_t>(1, std::min(blocks, ceil_div(kWantedTasks, parts_)));
    taps_ = dw.taps;
  }

  void bind(void* source, void* result) override {
    if (lanes_) return lanes_->bind(source, result);
    rows_.bind(source, result);
  }

  void run(const FilterView& dw, const Epilogue&) override {
    const Buffer totals(total_bytes());
    if (lanes_) {
      correlate_lanes<T>(machine_, *lanes_, slices_, totals.as<double>());
    } else {
      correlate_rows<T>(machine_, rows_, dw, slices_, totals.as<double>());
    }
    // dw, filter by filter: the slices added in order.
    const Buffer line(taps_ * static_cast<int64_t>(sizeof(T)));
    for (int64_t k = 0; k < dw.filters; ++k) {
      const double* total = totals.as<double>() + k / width_ * slices_ * taps_ * width_ + k % width_;
      for (int64_t t = 0; t < taps_; ++t) {
        double sum = 0;
        for (int64_t i = 0; i < slices_; ++i) sum += total[(i * taps_ + t) * width_];
        line.as<T>()[t] = static_cast<T>(sum);
      }
      machine_.table->elementwise.narrow[static_cast<int>(dw.dtype)](
          line.data(), element(dw.data, dw.dtype, k * taps_), taps_);
    }
  }

  int64_t workspace_bytes() const override {
    return total_bytes() +
           (lanes_ ? cpu::workspace_bytes(machine_, *lanes_) : cpu::workspace_bytes(machine_, rows_, taps_));
  }
  std::vector<Figure> figures() const override { return lanes_ ? figures_of(*lanes_) : figures_of(rows_); }

 private:
  int64_t total_bytes() const {
    return parts_ * slices_ * taps_ * width_ * static_cast<int64_t>(sizeof(double));
  }

  const Machine machine_;
  std::optional<LanesPlan> lanes_;
  RowsPlan rows_;  // where lanes can't serve
  int64_t width_, parts_, slices_, taps_;
};

}  // namespace

std::unique_ptr<Product> depthwise_product(const Machine& machine, const std::vector<PixelGather>& gathers,
                                           const ImageView& result, const FilterView& filters,
                                           bool by_channel) {
  if (filters.dtype == Dtype::float64)
    return std::make_unique<DepthwiseProduct<double>>(machine, gathers, result, filters, by_channel);
  return std::make_unique<DepthwiseProduct<float>>(machine, gathers, result, filters, by_channel);
}

std::unique_ptr<Product> depthwise_image_product(const Machine& machine, const PixelGather& x,
                                                 const FilterView& dw) {
  if (dw.dtype == Dtype::float64) return std::make_unique<DepthwiseImageProduct<double>>(machine, x, dw);
  return std::make_unique<DepthwiseImageProduct<float>>(machine, x, dw);
}

}  // namespace fastconv::cpu
