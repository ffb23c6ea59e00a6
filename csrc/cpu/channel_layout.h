// How the elements of every channel lie in memory, and how they are cut into pieces of work whose shape
// depends on the tensor alone: sums over a channel are formed piece by piece and merged in the order of the
// chunks, so that they come out the same with every number of threads.
#pragma once

#include "cpu/kernel_table.h"

namespace fastconv::cpu {

// Planes: element s of image n and channel c lies at n * image_stride + c * channel_stride + s, s < space.
// Columns: each of `images` rows holds one element of every channel at n * image_stride + c (space is 1).
struct ChannelLayout {
  bool columns = false;
  int64_t images = 0, channels = 0, space = 1;
  int64_t image_stride = 0, channel_stride = 0;

  int64_t elements() const { return images * channels * space; }
};

// The layout of a C-contiguous (N, C, space) or (N, space, C) tensor.
ChannelLayout contiguous_layout(int64_t batch, int64_t channels, int64_t space, bool channels_last);

// A piece of work: the elements [offset, offset + length) of some planes, or some rows and columns.
struct ChannelPiece {
  int64_t chunk;  // which part of each channel's elements
  int64_t image, images, channel, channels, offset, length;
};

class ChannelPieces {
 public:
  static constexpr int64_t kMostChannels = 512;  // of one piece

  explicit ChannelPieces(const ChannelLayout& layout);

  int64_t count() const { return chunks_ * groups_; }
  int64_t chunks() const { return chunks_; }
  ChannelPiece operator[](int64_t task) const;
  int64_t elements_of_chunk(int64_t chunk) const;  // of one channel

 private:
  ChannelLayout layout_;
  int64_t group_, images_, length_;  // channels, images and elements of a plane in a piece
  int64_t groups_, image_parts_, plane_parts_, chunks_;
};

// Adds a piece's terms to sum[c] and product[c], c < piece.channels, with one of the reductions of
// ChannelKernels. The pointers are those of the whole tensors; `second` and `product` are null where the term
// has none, `centre` is null or holds one value for each channel of the piece, which is rounded to the
// compute type.
using ReductionKernels = void (*const (&)[2][kDtypeCount])(const ChannelReduction&);
void reduce_piece(ReductionKernels kernels, Dtype dtype, const ChannelLayout& layout,
                  const ChannelPiece& piece, const void* first, const void* second, const double* centre,
                  double* sum, double* product);

// Maps a piece with one of the maps of ChannelKernels; the coefficients hold one value for each channel of
// the tensor.
struct ChannelCoefficients {
  const double* centre;
  const double* scale;
  const double* shift;
  const double* slope;  // null where the map has none
  Activation activation = Activation::none;
};
using MapKernels = void (*const (&)[2][kDtypeCount])(const ChannelMap&);
void map_piece(MapKernels kernels, Dtype dtype, const ChannelLayout& layout, const ChannelPiece& piece,
               const void* dy, const void* x, void* out, const ChannelCoefficients& coefficients);

}  // namespace fastconv::cpu
