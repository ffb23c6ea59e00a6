#include "core/padding.h"

#include "core/checked.h"

namespace fastconv {

void resolve_padding(const std::string& function, const PaddingSpec& spec, const int64_t (&input)[kAxes],
                     const int64_t (&kernel)[kAxes], const int64_t (&stride)[kAxes],
                     const int64_t (&dilation)[kAxes], int64_t (&before)[kAxes], int64_t (&after)[kAxes]) {
  using Kind = PaddingSpec::Kind;
  for (int i = 0; i < kAxes; ++i) {
    const int64_t reach =
        checked_product({function, "the dilated window"}, {dilation[i], kernel[i] - 1});  // window - 1
    before[i] = after[i] = 0;
    switch (spec.kind) {
      case Kind::pairs:
        before[i] = spec.before[i];
        after[i] = spec.after[i];
        break;
      case Kind::valid:
        break;
      case Kind::same: {
        const int64_t last =
            input[i] > 0 ? (input[i] - 1) / stride[i] * stride[i] : 0;  // start of the last window
        const int64_t total = last + reach + 1 > input[i] ? last + reach + 1 - input[i] : 0;
        before[i] = total / 2;
        after[i] = total - before[i];
        break;
      }
      case Kind::full:
        before[i] = after[i] = reach;
        break;
      case Kind::causal:
        before[i] = reach;
        break;
    }
  }
}

}  // namespace fastconv
