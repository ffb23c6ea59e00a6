#include "cpu/elementwise.h"

#include "core/activation_names.h"
#include "core/tensor_view.h"
#include "cpu/dispatch.h"
#include "cpu/spans.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsStream = 0.3, kNsTranscendental = 1.5;  // for one element

double activation_ns(Activation kind) { return kind < Activation::sigmoid ? kNsStream : kNsTranscendental; }

}  // namespace

void activation(Activation kind, Dtype dtype, const void* x, void* y, int64_t count) {
  const auto kernel = active_table().elementwise.activation[static_cast<int>(dtype)];
  for_each_span(count, activation_ns(kind), [&](int64_t, int64_t start, int64_t length) {
    kernel(kind, element(x, dtype, start), element(y, dtype, start), length);
  });
}

void activation_grad(Activation kind, Dtype dtype, const void* dy, const void* x_or_y, void* dx,
                     int64_t count) {
  const auto kernel = active_table().elementwise.activation_grad[static_cast<int>(dtype)];
  const double ns = slope_needs_input(kind) ? kNsTranscendental : kNsStream;
  for_each_span(count, ns, [&](int64_t, int64_t start, int64_t length) {
    kernel(kind, element(dy, dtype, start), element(x_or_y, dtype, start), element(dx, dtype, start), length);
  });
}

void add(Activation kind, Dtype dtype, const void* a, const void* b, void* y, int64_t count) {
  const auto kernel = active_table().elementwise.add[static_cast<int>(dtype)];
  for_each_span(count, activation_ns(kind), [&](int64_t, int64_t start, int64_t length) {
    kernel(kind, element(a, dtype, start), element(b, dtype, start), element(y, dtype, start), length);
  });
}

void softmax(Dtype dtype, const void* x, void* y, int64_t rows, int64_t cols) {
  const auto kernel = active_table().softmax.softmax[static_cast<int>(dtype)];
  for_each_row_group(rows, cols, 2 * kNsTranscendental, [&](int64_t first, int64_t count) {
    kernel(element(x, dtype, first * cols), element(y, dtype, first * cols), count, cols);
  });
}

void softmax_grad(Dtype dtype, const void* dy, const void* y, void* dx, int64_t rows, int64_t cols) {
  const auto kernel = active_table().softmax.softmax_grad[static_cast<int>(dtype)];
  for_each_row_group(rows, cols, 2 * kNsStream, [&](int64_t first, int64_t count) {
    const int64_t at = first * cols;
    kernel(element(dy, dtype, at), element(y, dtype, at), element(dx, dtype, at), count, cols);
  });
}

void widen(Dtype dtype, const void* x, void* y, int64_t count) {
  const auto copy = active_table().copy_block[static_cast<int>(dtype)];
  for_each_span(count, kNsStream, [&](int64_t, int64_t start, int64_t length) {
    copy({element(x, dtype, start), 0, 1, element(y, compute_dtype(dtype), start), 0, 1, 1, length, false});
  });
}

void scale_mask(Dtype dtype, const void* x, const std::uint8_t* mask, double scale, void* y, int64_t count) {
  const auto kernel = active_table().elementwise.scale_mask[static_cast<int>(dtype)];
  for_each_span(count, kNsStream, [&](int64_t, int64_t start, int64_t length) {
    kernel(element(x, dtype, start), mask + start, scale, element(y, dtype, start), length);
  });
}

}  // namespace fastconv::cpu
