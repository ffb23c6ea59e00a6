#include "cpu/blocking.h"

#include <algorithm>
#include <cmath>

#include "core/integers.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr int64_t kWidestFilterBlock = 512;

// A tile's rows of A and panel of B share L1 with the accumulators passing by. Rows of A keep a line's
// distance from the pitch.
int64_t deepest_chunk(const GemmKernels& k, int64_t element_bytes, const CacheSizes& caches) {
  const int64_t fits = caches.l1 * 3 / 4 / ((k.mr + k.nr) * element_bytes);
  return std::clamp<int64_t>(fits, 32, k.row_pitch - 64 / element_bytes);
}
int64_t chunk_depth(const GemmKernels& k, int64_t element_bytes, int64_t total, const CacheSizes& caches) {
  return even_part(total, deepest_chunk(k, element_bytes, caches));
}

int64_t wanted_tasks(int threads) { return threads > 1 ? kTasksPerThread * threads : 1; }

void set_tiles(const GemmKernels& k, int64_t element_bytes, int64_t rows, const CacheSizes& caches,
               GemmBlocking* b) {
  b->chain = b->depth;
  b->tile_rows = static_cast<int>(even_part(std::min(b->rows, rows), k.mr));
  const int64_t part = std::max<int64_t>(b->tile_rows, caches.l2 / 4 / (b->depth * element_bytes));
  b->inner_rows = round_up(even_part(b->rows, part), b->tile_rows);
}

// Cuts blocks of positions x filters until there are `wanted` tasks, the longer side first: a task reads its
// filters once and packs its pixels once. `lines` is what lay_out_planes counts as filters.
void share_out(const GemmKernels& k, const PixelGather& g, int64_t filters, int64_t lines,
               int64_t least_filters, int64_t filter_step, int64_t wanted, int64_t products,
               PlaneBudget* budget, PlaneLayout* planes, int64_t* filter_block) {
  const int64_t least_positions = 4 * k.nr;
  const auto tasks = [&] { return products * planes->blocks * ceil_div(filters, *filter_block); };
  while (tasks() < wanted && (budget->positions > least_positions || *filter_block > least_filters)) {
    if (budget->positions > least_positions &&
        (planes->positions > *filter_block || *filter_block <= least_filters)) {
      budget->positions = std::min(budget->positions, planes->positions) / 2;
      *planes = lay_out_planes(g, k, lines, *budget);
    } else {
      *filter_block = round_up(*filter_block / 2, filter_step);
    }
  }
}

// Rows and columns of a block. Share out: fewer pixels a task first (they are packed once either way), then
// fewer filters.
void share_pixels(const GemmKernels& k, int64_t element_bytes, int64_t pixels, int64_t filters,
                  int64_t products, const CacheSizes& caches, int threads, GemmBlocking* b) {
  const int64_t quarter = caches.l2 / 4;
  b->cols = round_up(even_part(filters, kWidestFilterBlock), k.nr);
  const int64_t most_pixels =
      std::min(quarter / (b->depth * element_bytes), quarter / (std::min(b->cols, filters) * element_bytes));
  b->rows = std::max<int64_t>(k.mr, most_pixels / k.mr * k.mr);

  const int64_t wanted = wanted_tasks(threads);
  const auto tasks = [&] { return products * ceil_div(pixels, b->rows) * ceil_div(filters, b->cols); };
  while (tasks() < wanted && b->rows > 2 * k.mr)
    b->rows = std::max<int64_t>(2 * k.mr, round_up(b->rows / 2, k.mr));
  while (tasks() < wanted && b->cols > 4 * k.nr) b->cols = round_up(b->cols / 2, k.nr);
  b->rows = std::min(b->rows, round_up(even_part(pixels, b->rows), k.mr));
}

}  // namespace

int64_t short_chain(int64_t terms, int64_t most) {
  constexpr int64_t kLeast = 16;
  const auto root = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(terms))));
  return std::max<int64_t>(1, even_part(std::min(terms, most), std::max(root, kLeast)));
}

void set_chain(const GemmKernels& k, int64_t chain, int64_t rows, GemmBlocking* b) {
  constexpr int64_t kShort = 48;
  b->chain = chain;
  if (chain >= b->depth || chain > kShort || b->tile_rows <= k.short_chain_rows) return;
  // Taller tiles take 1.15 times as long a row, where the last of the lower ones are full.
  const int64_t lower = round_up(std::min(b->rows, rows), k.short_chain_rows);
  if (20 * lower <= 23 * std::min(b->rows, rows)) b->tile_rows = k.short_chain_rows;
}

GemmBlocking block_pixels_by_filters(const GemmKernels& k, int64_t element_bytes, int64_t pixels,
                                     int64_t filters, int64_t features, int64_t products,
                                     const CacheSizes& caches, int threads, const GemmBlocking* like) {
  GemmBlocking b;
  b.depth = chunk_depth(k, element_bytes, features, caches);
  if (like) {
    b.rows = like->rows;
    b.cols = like->cols;
  } else {
    share_pixels(k, element_bytes, pixels, filters, products, caches, threads, &b);
  }
  set_tiles(k, element_bytes, pixels, caches, &b);
  return b;
}

PlaneBlocking block_filters_by_planes(const GemmKernels& k, int64_t element_bytes, const PixelGather& g,
                                      int64_t filters, int64_t channels, int64_t products,
                                      const CacheSizes& caches, int threads, const PlaneBlocking* like) {
  constexpr int64_t kMostPositions = 1024, kLeastPositions = 256;
  PlaneBlocking p;
  GemmBlocking& b = p.gemm;
  // Whole channels, where a chunk has room for one.
  const int64_t taps = g.taps(), most = deepest_chunk(k, element_bytes, caches);
  b.depth =
      0 < taps && taps <= most ? taps * even_part(channels, most / taps) : even_part(channels * taps, most);
  if (like) {
    b.rows = like->gemm.rows;
    p.planes = same_planes(like->planes, g, k);
  } else {
    b.rows = round_up(even_part(filters, kWidestFilterBlock), k.mr);
    PlaneBudget budget;
    budget.channels = channels_of_chunk(b.depth, taps, channels);
    budget.elements = caches.l2 * 3 / 8 / element_bytes;
    budget.positions = std::clamp(caches.l2 / 4 / (std::min(b.rows, filters) * element_bytes),
                                  kLeastPositions, kMostPositions);

    p.planes = lay_out_planes(g, k, filters, budget);
    share_out(k, g, filters, filters, 4 * k.mr, k.mr, wanted_tasks(threads), products, &budget, &p.planes,
              &b.rows);
  }
  b.cols = round_up(p.planes.positions, k.nr);
  set_tiles(k, element_bytes, filters, caches, &b);
  return p;
}

WinogradBlocking block_winograd(const GemmKernels& k, int64_t element_bytes, const PixelGather& tiles,
                                int64_t streams, int64_t filters, int64_t channels, int64_t pieces,
                                int64_t products, bool pixels_are_rows, const CacheSizes& caches,
                                int threads) {
  WinogradBlocking w;
  GemmBlocking& b = w.gemm;
  w.channels = even_part(channels, deepest_chunk(k, element_bytes, caches) / pieces);
  b.depth = w.channels * pieces;
  const int64_t filter_step = pixels_are_rows ? k.nr : k.mr;
  // Mapped tiles and accumulators pass through L2 once a chunk whatever the block. What a block repeats is to
  // map its tiles for each block of filters and to read its filters for each block of tiles.
  constexpr int64_t kLeastPositions = 192, kLeastFilters = 256;
  const int64_t room = caches.l2 / (streams * element_bytes);
  PlaneBudget budget;
  budget.channels = w.channels;
  budget.elements = caches.l2 / element_bytes;
  budget.positions = std::max(room / std::max(filters, b.depth), kLeastPositions) / k.nr * k.nr;
  int64_t filter_block =
      round_up(even_part(filters, std::max(room / budget.positions, kLeastFilters)), filter_step);
  // Products as the layout counts them: with each element that a tile reads.
  const int64_t lines = ceil_div(filters * streams * pieces, tiles.taps());
  w.planes = lay_out_planes(tiles, k, lines, budget);
  share_out(k, tiles, filters, lines, 2 * filter_step, filter_step, wanted_tasks(threads), products, &budget,
            &w.planes, &filter_block);
  const int64_t positions = round_up(w.planes.positions, k.nr);
  b.rows = pixels_are_rows ? positions : filter_block;
  b.cols = pixels_are_rows ? filter_block : positions;
  set_tiles(k, element_bytes, b.rows, caches, &b);
  return w;
}

WinogradBlocking block_winograd_gradient(const GemmKernels& k, int64_t element_bytes,
                                         const PixelGather& tiles, int64_t filters, int64_t channels,
                                         const CacheSizes& caches) {
  constexpr int64_t kWidestBlock = 128;
  WinogradBlocking w;
  GemmBlocking& b = w.gemm;
  w.channels = k.nr;  // packed at a time
  b.rows = round_up(even_part(filters, kWidestBlock), k.mr);
  b.cols = round_up(even_part(channels, kWidestBlock), k.nr);
  const int64_t most = deepest_chunk(k, element_bytes, caches);
  w.planes = lay_out_planes(tiles, k, filters, {most, caches.l2 * 3 / 8 / element_bytes, k.nr, most});
  b.depth = w.planes.rows * w.planes.columns;
  set_tiles(k, element_bytes, filters, caches, &b);
  return w;
}

TileCost tile_cost(int64_t filters, int64_t channels, int64_t taps, int parts) {
  // Of a line: to copy it and split it, or to turn it over from planes and split it. A product takes 16
  // cycles for 16 positions and 16 filters.
  const double split = 5.0 * parts, copy = 10, turn = 14;
  const double products = static_cast<double>(tile_products(parts) * ceil_div(filters, kTileRows));
  const auto blocks = static_cast<double>(ceil_div(channels, kTileLanes)),
             gathered_blocks = static_cast<double>(ceil_div(channels * taps, kTileLanes));
  const double cycles = blocks * (static_cast<double>(taps) * products + copy + split),
               gathered = gathered_blocks * (products + turn + split);
  return gathered < cycles ? TileCost{gathered, true} : TileCost{cycles, false};
}

TileBlocking block_tiles(const GemmKernels& k, const PixelGather& g, int64_t filters, int64_t channels,
                         int parts, int64_t products, const CacheSizes& caches, int threads) {
  constexpr int64_t kMostPositions = 1024, kLeastPositions = 128;
  const int64_t most_steps = 64 >> (parts - 1);  // of a chain: the more exact, the shorter
  const int64_t taps = g.taps(), line_bytes = kTileLanes * 2 * parts;
  TileBlocking b;
  b.gathered = taps > 0 && tile_cost(filters, channels, taps, parts).gathered;
  b.block_steps = b.gathered ? 1 : taps;
  b.blocks = ceil_div(b.gathered ? channels * taps : channels, kTileLanes);
  b.chunk_blocks = even_part(b.blocks, most_steps / std::max<int64_t>(b.block_steps, 1));
  b.chain = even_part(b.chunk_blocks * b.block_steps, most_steps);
  b.filters = round_up(even_part(filters, kWidestFilterBlock), k.nr);
  b.pairs_outside = b.chain * parts * 2 * kTileElements * 2 <= caches.l1 / 2;

  PlaneBudget budget;
  budget.channels =
      b.gathered ? channels_of_chunk(b.chunk_blocks * kTileLanes, taps, channels) : b.chunk_blocks;
  budget.elements = caches.l2 / 4 / (b.gathered ? 4 : line_bytes);
  int64_t room = caches.l2 * 3 / 8 / (std::min(b.filters, round_up(filters, k.nr)) * 4);
  if (b.gathered) room = std::min(room, caches.l2 / 4 / (b.chunk_blocks * line_bytes));
  budget.positions = std::clamp(room, kLeastPositions, kMostPositions);
  // Products as the layout counts them: lines of FMAs, with copies that cost about twice as much.
  const int64_t lines = std::max<int64_t>(1, filters * tile_products(parts) / kTileLanes);
  b.planes = lay_out_planes(g, k, lines, budget);
  share_out(k, g, filters, lines, 2 * k.nr, k.nr, wanted_tasks(threads), products, &budget, &b.planes,
            &b.filters);
  return b;
}

int64_t channels_of_chunk(int64_t depth, int64_t taps, int64_t channels) {
  if (taps == 0) return 0;
  return std::min(channels, depth % taps == 0 ? depth / taps : depth / taps + 2);
}

WeightGradientBlocking block_weight_gradient(const GemmKernels& k, int64_t element_bytes, int64_t rows,
                                             int64_t cols, int64_t pixels, int64_t groups,
                                             const CacheSizes& caches) {
  constexpr int64_t kWantedTasks = 32, kLeastSlice = 2048, kMostSliceBytes = int64_t{16} << 20;
  WeightGradientBlocking w;
  GemmBlocking& b = w.gemm;
  b.depth = chunk_depth(k, element_bytes, pixels, caches);
  const int64_t side = caches.l2 * 3 / 8 / (b.depth * element_bytes);
  b.rows = round_up(even_part(rows, std::max<int64_t>(side, k.mr)), k.mr);
  b.cols = round_up(even_part(cols, std::max<int64_t>(side, k.nr)), k.nr);
  b.chain = b.depth;
  b.tile_rows = static_cast<int>(even_part(std::min(b.rows, rows), k.mr));
  b.inner_rows = b.rows;
  const int64_t tasks = groups * ceil_div(rows, b.rows) * ceil_div(cols, b.cols);
  const int64_t affordable = std::max<int64_t>(1, kMostSliceBytes / (groups * rows * cols * element_bytes));
  const int64_t slices = std::max<int64_t>(
      1, std::min({ceil_div(kWantedTasks, tasks), ceil_div(pixels, kLeastSlice), affordable}));
  w.slice_pixels = std::max<int64_t>(1, round_up(even_part(pixels, ceil_div(pixels, slices)), b.depth));
  w.slices = std::max<int64_t>(1, ceil_div(pixels, w.slice_pixels));
  return w;
}

}  // namespace fastconv::cpu
