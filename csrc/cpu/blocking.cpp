#include "cpu/blocking.h"

#include <algorithm>

namespace fastconv::cpu {
namespace {

constexpr int64_t kTasksPerThread = 4;  // so that an uneven machine still finishes together
constexpr int64_t kWidestFilterBlock = 512;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Equal parts of `total`, none above `most`.
int64_t even_part(int64_t total, int64_t most) {
  return total <= 0 ? 1 : ceil_div(total, ceil_div(total, std::max<int64_t>(most, 1)));
}

// A tile's rows of A and panel of B share L1 with the accumulators passing by. Rows of A keep a line's
// distance from the pitch.
int64_t chunk_depth(const GemmKernels& k, int64_t element_bytes, int64_t total, const CacheSizes& caches) {
  const int64_t fits = caches.l1 * 3 / 4 / ((k.mr + k.nr) * element_bytes);
  return even_part(total, std::clamp<int64_t>(fits, 32, k.row_pitch - 64 / element_bytes));
}

}  // namespace

GemmBlocking block_pixels_by_filters(const GemmKernels& k, int64_t element_bytes, int64_t pixels,
                                     int64_t filters, int64_t features, bool pixels_are_rows,
                                     int64_t products, const CacheSizes& caches, int threads) {
  GemmBlocking b;
  b.depth = chunk_depth(k, element_bytes, features, caches);
  const int64_t quarter = caches.l2 / 4;
  const int64_t filter_unit = pixels_are_rows ? k.nr : k.mr;
  const int64_t pixel_unit = pixels_are_rows ? k.mr : k.nr;
  int64_t filter_block = round_up(even_part(filters, kWidestFilterBlock), filter_unit);
  const int64_t most_pixels = std::min(quarter / (b.depth * element_bytes),
                                       quarter / (std::min(filter_block, filters) * element_bytes));
  int64_t pixel_block = std::max(pixel_unit, most_pixels / pixel_unit * pixel_unit);

  // Share out: fewer pixels a task first (they are packed once either way), then fewer filters.
  const int64_t wanted = threads > 1 ? kTasksPerThread * threads : 1;
  const auto tasks = [&] {
    return products * ceil_div(pixels, pixel_block) * ceil_div(filters, filter_block);
  };
  while (tasks() < wanted && pixel_block > 2 * pixel_unit)
    pixel_block = std::max(2 * pixel_unit, round_up(pixel_block / 2, pixel_unit));
  while (tasks() < wanted && filter_block > 4 * filter_unit)
    filter_block = round_up(filter_block / 2, filter_unit);
  pixel_block = std::min(pixel_block, round_up(even_part(pixels, pixel_block), pixel_unit));

  b.rows = pixels_are_rows ? pixel_block : filter_block;
  b.cols = pixels_are_rows ? filter_block : pixel_block;
  b.tile_rows = static_cast<int>(even_part(std::min(b.rows, pixels_are_rows ? pixels : filters), k.mr));
  b.inner_rows =
      std::max<int64_t>(b.tile_rows, quarter / (k.row_pitch * element_bytes) / b.tile_rows * b.tile_rows);
  return b;
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
