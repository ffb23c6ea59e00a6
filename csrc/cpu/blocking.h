// Loop sizes of the matrix products: pure functions of the problem, the tile and the caches.
//
// A task holds one block of the result in accumulators and walks the reduction in chunks of `depth`. The
// depth decides the order of the additions, so it depends on nothing but the reduction's length and the
// machine: neither the batch nor the number of threads changes a bit of the result. The other sizes only
// share out the work.
#pragma once

#include "cpu/kernel_table.h"
#include "cpu/pixel_planes.h"

namespace fastconv::cpu {

struct CacheSizes {
  int64_t l1, l2;
};

struct GemmBlocking {
  int64_t depth;       // of one chunk, at most kernels.row_pitch
  int64_t chain;       // of so many terms at most are the sums that are added up
  int64_t rows, cols;  // of a task's block of the result
  int64_t inner_rows;  // rows of A that stay in L2 while the columns of B pass
  int tile_rows;       // rows of A that the micro-kernel takes at a time
};

// Terms of a chain, at most `most`, for a sum of so many, where chains of `most` would be too long: a BLAS
// takes products with a single line for products with a vector, and adds those up in many short chains. So do
// the depthwise kernels.
int64_t short_chain(int64_t terms, int64_t most);

// Cuts a block's sums into chains of so many terms, and its tiles as suits that; it may have fewer rows than
// a block has room for.
void set_chain(const GemmKernels& kernels, int64_t chain, int64_t rows, GemmBlocking* blocking);

// pixels (rows) x filters, with the filters packed beforehand and the pixels in each task: blocks are wide in
// filters, and small problems are cut finer so that each of `threads` threads finds work. `products` such
// products run together. `like`, unless null: another such product, whose blocks this one shares.
GemmBlocking block_pixels_by_filters(const GemmKernels& kernels, int64_t element_bytes, int64_t pixels,
                                     int64_t filters, int64_t features, int64_t products,
                                     const CacheSizes& caches, int threads, const GemmBlocking* like);

// The same with filters as rows and pixels as columns, in planes that are laid out to fit.
struct PlaneBlocking {
  GemmBlocking gemm;
  PlaneLayout planes;
};
PlaneBlocking block_filters_by_planes(const GemmKernels& kernels, int64_t element_bytes, const PixelGather& g,
                                      int64_t filters, int64_t channels, int64_t products,
                                      const CacheSizes& caches, int threads, const PlaneBlocking* like);

// Winograd's products: `streams` of them in each task, all over the same block of tiles and filters, whose
// accumulators share L2. Chunks hold whole channels, each `pieces` times.
struct WinogradBlocking {
  GemmBlocking gemm;
  int64_t channels;  // of a chunk
  PlaneLayout planes;
};
WinogradBlocking block_winograd(const GemmKernels& kernels, int64_t element_bytes, const PixelGather& tiles,
                                int64_t streams, int64_t filters, int64_t channels, int64_t pieces,
                                int64_t products, bool pixels_are_rows, const CacheSizes& caches,
                                int threads);

// Winograd's weight gradient: filters x channels, reduced over tiles, `depth` of them in a block of the
// planes.
WinogradBlocking block_winograd_gradient(const GemmKernels& kernels, int64_t element_bytes,
                                         const PixelGather& tiles, int64_t filters, int64_t channels,
                                         const CacheSizes& caches);

// Products on tiles (cpu/tile_product.h): the reduction is cut into lines of kTileLanes. A line is a block of
// channels, and each tap of it a step; or, `gathered`, it is of features, taps and channels together, and one
// step, where channels would leave too many lanes empty. The numbers of steps decide the order of the
// additions and depend on the reduction alone.
struct TileBlocking {
  bool gathered;
  int64_t blocks, block_steps;  // blocks of lines; steps of each
  int64_t chunk_blocks;         // packed at a time
  int64_t chain;                // steps that are summed up from zero
  int64_t filters;              // of a task's block
  bool pairs_outside;           // a pair of tiles of filters stays in L1
  PlaneLayout planes;

  int64_t steps() const { return blocks * block_steps; }
};
TileBlocking block_tiles(const GemmKernels& kernels, const PixelGather& g, int64_t filters, int64_t channels,
                         int parts, int64_t products, const CacheSizes& caches, int threads);

// Cycles that the tiles and the packing of pixels take for each position, and whether lines are gathered.
struct TileCost {
  double cycles;
  bool gathered;
};
TileCost tile_cost(int64_t filters, int64_t channels, int64_t taps, int parts);
constexpr int tile_products(int parts) { return parts * (parts + 1) / 2; }

// Channels that a chunk of the reduction touches, where features are numbered channel by channel.
int64_t channels_of_chunk(int64_t depth, int64_t taps, int64_t channels);

// filters x features, reduced over pixels; both sides are packed in each task. `slices` cuts the pixels into
// parts with sums of their own, added up in order at the end: as many as the problem (never the machine)
// needs to occupy many threads.
struct WeightGradientBlocking {
  GemmBlocking gemm;
  int64_t slices, slice_pixels;
};
WeightGradientBlocking block_weight_gradient(const GemmKernels& kernels, int64_t element_bytes, int64_t rows,
                                             int64_t cols, int64_t pixels, int64_t groups,
                                             const CacheSizes& caches);

}  // namespace fastconv::cpu
