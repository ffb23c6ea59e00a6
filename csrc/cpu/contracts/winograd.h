// Winograd transforms.
#pragma once

#include <cstdint>

namespace fastconv::cpu {

using std::int64_t;

// One of Winograd's linear maps on matrices whose elements are streams (see kernels/winograd_transform.h).
// Line l starts at in + in_offset[i] + l * in_line in input stream i, at out + o * out_stride + l * out_line
// in output stream o. `count` elements of each line are mapped, and what fills up the last vector: there is
// room for it.
struct WinogradStreams {
  const void* in;
  const int64_t* in_offset;
  int64_t in_line;
  void* out;
  int64_t out_stride, out_line;
  int64_t lines, count;
};

struct WinogradKernels {
  void (*input)(const WinogradStreams&);   // tile^2 -> tile^2, tile = m + 2
  void (*filter)(const WinogradStreams&);  // 3^2 -> tile^2
  void (*output)(const WinogradStreams&);  // tile^2 -> m^2
  // The same for panels of accumulators, lines of nr tiles each (in_line and count are nr): row i of the m^2
  // outputs is one line of m * nr neighbours at out + i * out_stride, in panels out_line apart, whose lines
  // are nr apart.
  void (*output_panel)(const WinogradStreams&);
  void (*output_adjoint)(const WinogradStreams&);  // m^2 -> tile^2
  void (*filter_adjoint)(const WinogradStreams&);  // tile^2 -> 3^2
};

}  // namespace fastconv::cpu
