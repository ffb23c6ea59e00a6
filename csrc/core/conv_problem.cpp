#include "core/conv_problem.h"

#include <stdexcept>

#include "core/checked.h"

namespace fastconv {
namespace {

using std::to_string;

[[noreturn]] void fail(const std::string& text) { throw std::invalid_argument(text); }

std::string tuple_text(const std::vector<int64_t>& v) {
  std::string s = "(";
  for (std::size_t i = 0; i < v.size(); ++i) s += (i ? ", " : "") + to_string(v[i]);
  return s + ")";
}

const char* axis_name(int rank, int axis) {
  static const char* const names[] = {"depth", "height", "width"};
  return rank == 1 ? "length" : names[axis];
}

// w's shape is (first, second, *kernel) in both kinds of convolution.
void check_filter_shape(const ConvArguments& a, const char* meaning) {
  if (static_cast<int>(a.filter_shape.size()) != a.rank + 2) {
    fail(a.function + ": w has shape " + tuple_text(a.filter_shape) + ", expected " + to_string(a.rank + 2) +
         " dimensions: " + meaning);
  }
  for (std::size_t i = 0; i < a.filter_shape.size(); ++i) {
    if (a.filter_shape[i] < 1) {
      fail(a.function + ": w has shape " + tuple_text(a.filter_shape) + ", expected sizes of at least 1");
    }
  }
  if (a.groups < 1) fail(a.function + ": groups is " + to_string(a.groups) + ", expected at least 1");
  if (a.channels < 1) fail(a.function + ": x has no channels");
}

void check_divisible(const ConvArguments& a, int64_t filters, const char* what) {
  if (filters % a.groups) {
    fail(a.function + ": " + what + " of w is " + to_string(filters) +
         ", which groups=" + to_string(a.groups) + " does not divide");
  }
}

ConvProblem common_part(const ConvArguments& a) {
  ConvProblem p;
  p.rank = a.rank;
  p.batch = a.batch;
  p.groups = a.groups;
  p.mode = a.mode;
  for (int i = 0; i < kAxes; ++i) {
    p.stride[i] = a.stride[i];
    p.dilation[i] = a.dilation[i];
    if (i >= kAxes - a.rank) p.kernel[i] = a.filter_shape[static_cast<std::size_t>(i - (kAxes - a.rank) + 2)];
  }
  return p;
}

int64_t window_extent(const ConvArguments& a, const ConvProblem& p, int axis) {
  return checked_product({a.function, "the dilated kernel"}, {p.dilation[axis], p.kernel[axis] - 1}) + 1;
}

void check_padding_mode(const ConvArguments& a, const ConvProblem& p, int axis) {
  const int64_t most = p.mode == PaddingMode::reflect ? p.input[axis] - 1 : p.input[axis];
  if (p.mode != PaddingMode::reflect && p.mode != PaddingMode::circular) return;
  const int64_t pad = p.pad_before[axis] > p.pad_after[axis] ? p.pad_before[axis] : p.pad_after[axis];
  if (pad > most) {
    fail(a.function + ": padding of " + to_string(pad) + " along the " + axis_name(a.rank, axis) +
         " is too large for padding_mode='" + (p.mode == PaddingMode::reflect ? "reflect" : "circular") +
         "': an input of " + to_string(p.input[axis]) + " allows at most " + to_string(most));
  }
}

void check_sizes(const ConvArguments& a, const ConvProblem& p) {
  checked_product({a.function, "the input"}, {8, p.batch, p.in_channels, p.input[0], p.input[1], p.input[2]});
  checked_product({a.function, "the output"},
                  {8, p.batch, p.out_channels, p.output[0], p.output[1], p.output[2]});
  checked_product({a.function, "the reduction"}, {8, p.in_channels, p.kernel[0], p.kernel[1], p.kernel[2]});
  checked_product({a.function, "the filters"}, {8, p.out_channels, p.channels_per_group(), p.taps()});
}

}  // namespace

ConvProblem make_conv_problem(const ConvArguments& a) {
  check_filter_shape(a, "(filters, channels / groups, *kernel)");
  const int64_t filters = a.filter_shape[0], reads = a.filter_shape[1];
  check_divisible(a, filters, "the number of filters");
  if (checked_product({a.function, "w"}, {reads, a.groups}) != a.channels) {
    std::string text = a.function + ": x has " + to_string(a.channels) + " channels, but w of shape " +
                       tuple_text(a.filter_shape) + " with groups=" + to_string(a.groups) + " reads " +
                       to_string(reads * a.groups);
    if (a.channels % reads == 0 && filters % (a.channels / reads) == 0) {
      text += "; groups=" + to_string(a.channels / reads) + " would fit";
    }
    fail(text);
  }
  ConvProblem p = common_part(a);
  p.in_channels = a.channels;
  p.out_channels = filters;
  for (int i = 0; i < kAxes; ++i) {
    p.input[i] = a.size[i];
    if (p.input[i] < 1) fail(a.function + ": x is empty along the " + axis_name(a.rank, i));
  }
  resolve_padding(a.function, a.padding, p.input, p.kernel, p.stride, p.dilation, p.pad_before, p.pad_after);
  for (int i = kAxes - a.rank; i < kAxes; ++i) {
    const int64_t extent = window_extent(a, p, i);
    check_padding_mode(a, p, i);
    const int64_t padded = p.input[i] + p.pad_before[i] + p.pad_after[i];
    if (padded < extent) {
      fail(a.function + ": the kernel covers " + to_string(extent) + " elements along the " +
           axis_name(a.rank, i) + ", but the padded input has " + to_string(padded));
    }
    p.output[i] = (padded - extent) / p.stride[i] + 1;
  }
  check_sizes(a, p);
  return p;
}

ConvProblem make_conv_transpose_problem(const ConvArguments& a) {
  check_filter_shape(a, "(channels, filters / groups, *kernel)");
  if (a.filter_shape[0] != a.channels) {
    fail(a.function + ": x has " + to_string(a.channels) + " channels, but w of shape " +
         tuple_text(a.filter_shape) + " reads " + to_string(a.filter_shape[0]));
  }
  check_divisible(a, a.filter_shape[0], "the number of input channels");
  ConvProblem p = common_part(a);
  p.in_channels = checked_product({a.function, "w"}, {a.filter_shape[1], a.groups});
  p.out_channels = a.channels;
  const int64_t unit[kAxes] = {1, 1, 1};
  const bool same = a.padding.kind == PaddingSpec::Kind::same;
  if (!same)
    resolve_padding(a.function, a.padding, unit, p.kernel, unit, p.dilation, p.pad_before, p.pad_after);
  for (int i = kAxes - a.rank; i < kAxes; ++i) {
    p.output[i] = a.size[i];
    if (p.output[i] < 1) fail(a.function + ": x is empty along the " + axis_name(a.rank, i));
    const int64_t extra = a.output_padding[i], extent = window_extent(a, p, i);
    if (extra >= p.stride[i] && extra >= p.dilation[i]) {
      fail(a.function + ": output_padding of " + to_string(extra) + " along the " + axis_name(a.rank, i) +
           " must be smaller than the stride (" + to_string(p.stride[i]) + ") or the dilation (" +
           to_string(p.dilation[i]) + ")");
    }
    const int64_t spread =
        checked_product({a.function, "the result"}, {p.output[i] - 1, p.stride[i]}) + extent;
    if (same) {
      p.input[i] = checked_product({a.function, "the result"}, {p.output[i], p.stride[i]});
      const int64_t surplus = spread > p.input[i] ? spread - p.input[i] : 0;
      p.pad_before[i] = surplus / 2;
      p.pad_after[i] = surplus - surplus / 2;
      continue;
    }
    p.input[i] = spread + extra - p.pad_before[i] - p.pad_after[i];
    if (p.input[i] < 1) {
      fail(a.function + ": padding leaves a result of " + to_string(p.input[i]) + " elements along the " +
           axis_name(a.rank, i) + ", expected at least 1");
    }
  }
  check_sizes(a, p);
  return p;
}

}  // namespace fastconv
