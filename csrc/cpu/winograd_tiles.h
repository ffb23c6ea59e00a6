// The pixels that Winograd's tiles read, as a gather of their own, and the pieces of 3x3 that a kernel falls
// into.
//
// Along an axis, taps that lie a step of the window apart form a line, one for each phase of the stride, and
// each line falls into stretches of three taps. A stretch from one axis with one from the other is a piece: a
// kernel of 3x3 at stride 1 for itself. A 5x5 has four of them, of which three are filled up with zeros, an
// 11x11 at stride 4 sixteen; what they make is added up before it is mapped back, as over channels.
#pragma once

#include <vector>

#include "core/conv_as_gemm.h"
#include "core/integers.h"

namespace fastconv::cpu {

constexpr int64_t kWinogradTaps = 9;  // of a piece
constexpr int64_t kMostPieces = 128;  // of a kernel: the micro-kernel's rows have room for no more
constexpr int64_t kNoTap = -1;        // in a piece

struct WinogradPiece {
  int64_t tap[kWinogradTaps];  // the kernel's, or kNoTap, in the order of the elements that they meet
  int64_t first;  // of the (m + 2) x (m + 2) elements that it reads, as a tap of the tiles' gather
};

struct WinogradTiles {
  PixelGather gather;  // of step m times the window's; its taps are all elements that a tile reads
  int64_t row = 0;     // from an element of a tile to the one below
  std::vector<WinogradPiece> pieces;  // of one outer tap after the other
};

// Cuts a gather into tiles of m x m positions. False where its taps can't share the elements they read.
bool tile_gather(const PixelGather& g, int m, WinogradTiles* tiles);

// What one piece reads of them: its (m + 2) x (m + 2) elements.
PixelGather piece_gather(const WinogradTiles& tiles, const WinogradPiece& piece, int m);

// Stretches along an axis of the kernel.
int64_t winograd_stretches(int64_t taps, int64_t stride);

// An image's own pixels as tiles: m x m of them together.
PixelGather own_tiles(const ImageView& image, int m);

// Terms of a chain of additions. The maps cost some of the bits, and shorter chains win them back; tiles of 4
// do not aim at the last bits.
inline int64_t winograd_chain(int m, int64_t depth) { return m == 2 ? even_part(depth, 32) : depth; }

// Elements from one stream to the next, of so many each: an odd number of cache lines, since a map writes to
// all its streams in turn, which must not meet in one set of L1.
constexpr int64_t stream_stride(int64_t elements) { return (ceil_div(elements, 16) | 1) * 16; }

}  // namespace fastconv::cpu
