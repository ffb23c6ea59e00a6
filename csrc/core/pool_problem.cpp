#include "core/pool_problem.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "core/checked.h"
#include "core/integers.h"

namespace fastconv {
namespace {

[[noreturn]] void fail(const std::string& text) { throw std::invalid_argument(text); }

void require_positions(const std::string& function, const int64_t (&input)[kAxes]) {
  for (const int64_t size : input) {
    if (size < 1) fail(function + ": the input has a spatial axis of size 0, expected at least 1");
  }
}

std::string axis_text(int rank, int i) {
  return rank == 1 ? "" : " along spatial axis " + std::to_string(i - (kAxes - rank));
}

}  // namespace

Taps PoolAxis::taps(int64_t o) const {
  if (adaptive) {
    const int64_t first = o * input / output;
    return {first, ceil_div((o + 1) * input, output) - first};
  }
  const int64_t start = o * stride - before;
  if (start >= 0 && start + (kernel - 1) * dilation < input) return {start, kernel};
  const int64_t skipped = start < 0 ? ceil_div(-start, dilation) : 0;
  const int64_t end = std::min(kernel, start < input ? ceil_div(input - start, dilation) : 0);
  return {start + skipped * dilation, std::max<int64_t>(end - skipped, 0)};
}

Taps PoolAxis::inner_windows() const {
  if (adaptive) return {0, 0};
  const int64_t first = ceil_div(before, stride), room = input + before - ((kernel - 1) * dilation + 1);
  const int64_t end = room < 0 ? 0 : std::min(output, room / stride + 1);
  return {first, std::max<int64_t>(end - first, 0)};
}

bool PoolAxis::leaves_empty() const {
  const Taps inner = inner_windows();
  for (int64_t o = 0; o < output; ++o) {
    if (o == inner.first) o += inner.count;
    if (o < output && taps(o).count == 0) return true;
  }
  return false;
}

int64_t PoolAxis::counted(int64_t o) const {
  if (adaptive) return taps(o).count;
  const int64_t room =
      input + after - (o * stride - before);  // never negative: no window starts beyond the padding
  return std::min(kernel, ceil_div(room, dilation));
}

Taps PoolAxis::readers(int64_t i) const {
  if (adaptive) {
    const int64_t first = i * output / input;
    return {first, ceil_div((i + 1) * output, input) - first};
  }
  const int64_t at = i + before, reach = (kernel - 1) * dilation;
  const int64_t last = std::min(output - 1, at / stride);
  int64_t first = at > reach ? ceil_div(at - reach, stride) : 0;
  const int64_t step = reader_step();
  // Of `step` neighbouring windows one at most has a tap on i.
  const int64_t tried = std::min(last, first + step - 1);
  while (first <= tried && (at - first * stride) % dilation != 0) ++first;
  if (first > tried) return {0, 0};
  return {first, (last - first) / step + 1};
}

int64_t PoolAxis::reader_step() const { return adaptive ? 1 : dilation / std::gcd(dilation, stride); }

Taps PoolAxis::reader_range(int64_t begin, int64_t end) const {
  int64_t first, last;
  if (adaptive) {
    const Taps readers_of_last = readers(end - 1);
    first = readers(begin).first;
    last = readers_of_last.first + readers_of_last.count - 1;
  } else {
    const int64_t from = begin + before - (kernel - 1) * dilation;
    first = from > 0 ? ceil_div(from, stride) : 0;
    last = std::min(output - 1, (end - 1 + before) / stride);
  }
  return last < first ? Taps{0, 0} : Taps{first, last - first + 1};
}

void PoolAxis::reader_runs(int64_t begin, int64_t end, ReaderRun* runs) const {
  if (adaptive || dilation > 1) {
    for (int64_t i = begin; i < end; ++i) *runs++ = {readers(i), 1};
    return;
  }
  // Windows [first, started) hold position i; the next to end is `first`, the next to start is `started`.
  const int64_t at = begin + before;
  int64_t first = at >= kernel ? (at - kernel) / stride + 1 : 0, started = at / stride + 1;
  for (int64_t i = begin; i < end;) {
    const int64_t next_end = first * stride + kernel - before, next_start = started * stride - before;
    const int64_t next = std::min({end, next_end, next_start}), last = std::min(started, output);
    *runs++ = {first < last ? Taps{first, last - first} : Taps{0, 0}, next - i};
    if (next == next_end) ++first;
    if (next == next_start) ++started;
    i = next;
  }
}

bool PoolAxis::whole() const {
  return output == 1 && before == 0 && after == 0 && dilation == 1 && taps(0).count == input &&
         counted(0) == input;
}

int64_t PoolProblem::windows() const { return axis[0].output * axis[1].output * axis[2].output; }
int64_t PoolProblem::positions() const { return axis[0].input * axis[1].input * axis[2].input; }

int64_t PoolProblem::divisor(int i, int64_t o) const {
  if (divisor_override != 0) return i == 0 ? divisor_override : 1;
  const int64_t count = count_include_pad ? axis[i].counted(o) : axis[i].taps(o).count;
  return std::max<int64_t>(count, 1);
}

PoolProblem sliding_pool(const std::string& function, int rank, const int64_t (&input)[kAxes],
                         const int64_t (&kernel)[kAxes], const int64_t (&stride)[kAxes],
                         const PaddingSpec& padding, const int64_t (&dilation)[kAxes], bool ceil_mode) {
  require_positions(function, input);
  int64_t before[kAxes], after[kAxes];
  resolve_padding(function, padding, input, kernel, stride, dilation, before, after);
  PoolProblem problem;
  for (int i = 0; i < kAxes; ++i) {
    const int64_t window = (kernel[i] - 1) * dilation[i] + 1;  // checked by resolve_padding
    if (std::max(before[i], after[i]) >= window) {
      fail(function + ": padding of " + std::to_string(std::max(before[i], after[i])) + axis_text(rank, i) +
           ", expected less than the (dilated) window of " + std::to_string(window));
    }
    const int64_t room = input[i] + before[i] + after[i] - window;
    int64_t output = floor_div(room + (ceil_mode ? stride[i] - 1 : 0), stride[i]) + 1;
    if (ceil_mode && (output - 1) * stride[i] >= input[i] + before[i])
      --output;  // it would start in the padding
    if (output < 1) {
      fail(function + ": the (dilated) window of " + std::to_string(window) + axis_text(rank, i) +
           " does not fit into the padded input of " + std::to_string(input[i] + before[i] + after[i]));
    }
    problem.axis[i] = {input[i], output, kernel[i], stride[i], dilation[i], before[i], after[i], false};
  }
  return problem;
}

PoolProblem adaptive_pool(const std::string& function, const int64_t (&input)[kAxes],
                          const int64_t (&output)[kAxes]) {
  require_positions(function, input);
  PoolProblem problem;
  for (int i = 0; i < kAxes; ++i) {
    PoolAxis& axis = problem.axis[i];
    axis.input = input[i];
    axis.output = output[i];
    axis.adaptive = input[i] % output[i] != 0;
    if (axis.adaptive) {
      checked_product({function, "output_size times the input's size"}, {input[i] + 1, output[i] + 1});
    } else {
      axis.kernel = axis.stride = input[i] / output[i];
    }
  }
  return problem;
}

PoolProblem flattened(const PoolProblem& problem, int64_t planes) {
  PoolProblem flat = problem;
  for (PoolAxis& axis : flat.axis) axis = PoolAxis();
  PoolAxis& row = flat.axis[kAxes - 1];
  row.kernel = row.stride = problem.positions();
  row.input = planes * row.kernel;
  row.output = planes;
  return flat;
}

}  // namespace fastconv
