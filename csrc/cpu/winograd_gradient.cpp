// The weight gradient by Winograd's tiles: dw = G^T [ sum over tiles of (A dy A^T) * (B^T d B) ] G, with the
// sums of all pairs (filter, channel) as (m + 2)^2 matrix products whose reduction runs over the tiles.
#include <algorithm>

#include "core/integers.h"
#include "cpu/implicit_gemm.h"
#include "cpu/packed_product.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"
#include "cpu/value_range.h"
#include "cpu/winograd.h"
#include "cpu/winograd_tiles.h"

namespace fastconv::cpu {
namespace {

// Neighbours among a piece's taps that are neighbours in the kernel, too.
struct TapRun {
  int64_t first, count, kernel_tap;
};

struct ImagePiece {
  PixelGather tiles;
  PlaneLayout planes;
  std::vector<TapRun> taps;
};

struct ImageShape {
  int m;
  std::vector<ImagePiece> pieces;
  PixelGather dy_tiles;
  PlaneLayout dy_planes;
  WinogradBlocking blocking;  // rows are filters, columns channels
  int64_t taps, features;     // of a channel, of a filter
  int64_t slices, slice_blocks;

  int64_t streams() const { return int64_t{m + 2} * (m + 2); }
};

struct Scratch {
  float *planes, *dy, *x, *accumulators, *taps;
};

int64_t row_stride(const ImageShape& s, const GemmKernels& k) {
  return stream_stride(s.blocking.gemm.rows * k.row_pitch);
}
int64_t column_stride(const ImageShape& s) {
  return stream_stride(s.blocking.gemm.cols * s.blocking.gemm.depth);
}
int64_t sum_stride(const ImageShape& s) { return stream_stride(s.blocking.gemm.rows * s.blocking.gemm.cols); }

Scratch carve_scratch(Carver* carver, const ImageShape& s, const GemmKernels& k) {
  int64_t planes = s.dy_planes.copies() * s.dy_planes.elements * s.blocking.gemm.rows;
  for (const ImagePiece& piece : s.pieces)
    planes = std::max(planes, piece.planes.copies() * piece.planes.elements * k.nr);
  Scratch r;
  r.planes = carver->take<float>(planes);
  r.dy = carver->take<float>(s.streams() * row_stride(s, k));
  r.x = carver->take<float>(s.streams() * column_stride(s));
  r.accumulators = carver->take<float>(s.streams() * sum_stride(s));
  r.taps = carver->take<float>(kWinogradTaps * sum_stride(s));
  return r;
}

// A block of filters and channels, reduced over the blocks of tiles of one slice.
class GradientTask {
 public:
  GradientTask(const Machine& machine, const ImageShape& shape, const Scratch& scratch)
      : table_(*machine.table),
        kernels_(kernels_of<float>(table_)),
        maps_(table_.winograd[shape.m / 4]),
        s_(shape),
        scratch_(scratch),
        row_stride_(row_stride(shape, kernels_)),
        column_stride_(column_stride(shape)),
        sum_stride_(sum_stride(shape)) {
    for (int64_t i = 0; i < s_.streams(); ++i) sum_offsets_.push_back(i * sum_stride_);
  }

  // first_filter and first_channel count from the images' first; sums: dw[first_filter][first channel's
  // place].
  void run(int64_t first_filter, int64_t filters, int64_t first_channel, int64_t channels,
           const ImagePiece& piece, int64_t slice, float* sums) {
    const int64_t begin = slice * s_.slice_blocks,
                  end = std::min(begin + s_.slice_blocks, s_.blocking.planes.blocks);
    const GemmBlocking& b = s_.blocking.gemm;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t tiles = map_dy(block, first_filter, filters);
      map_x(block, first_channel, channels, piece, tiles);
      columns_.set_packed(channels, tiles, kernels_.nr);
      for (int64_t i = 0; i < s_.streams(); ++i)
        multiply_block<float>(kernels_, b, scratch_.dy + i * row_stride_, scratch_.x + i * column_stride_,
                              columns_, scratch_.accumulators + sum_offsets_[static_cast<std::size_t>(i)],
                              filters, tiles, block > begin);
    }
    write_taps(filters, channels, piece, sums);
  }

 private:
  // Rows: one for each filter, tiles side by side.
  int64_t map_dy(int64_t block, int64_t first_filter, int64_t filters) {
    const PlaneLayout& planes = s_.dy_planes;
    cut_into_segments(s_.dy_tiles, planes, block, &segments_);
    pack_planes(table_, s_.dy_tiles, planes, segments_, first_filter, filters, {}, scratch_.planes);
    const int64_t taps = int64_t{s_.m} * s_.m;
    offsets_.resize(static_cast<std::size_t>(taps));
    feature_offsets(planes, taps, 0, 0, taps, offsets_.data());
    int64_t tiles = 0;
    const auto map = [&](int64_t start, int64_t count) {
      maps_.output_adjoint({scratch_.planes + start, offsets_.data(), planes.copies() * planes.elements,
                            scratch_.dy + tiles, row_stride_, kernels_.row_pitch, filters, count});
      tiles += count;
    };
    if (planes.row_pieces == 1) {  // without halos, all rows are one
      map(0, positions_of(planes, segments_));
      return tiles;
    }
    for (const PixelSegment& s : segments_)
      for (int64_t row = 0; row < s.rows; ++row) map(s.start + row * planes.width(), s.columns);
    return tiles;
  }

  // Columns: panels of channels, one row for each tile.
  void map_x(int64_t block, int64_t first_channel, int64_t channels, const ImagePiece& piece, int64_t tiles) {
    const PixelGather& gather = piece.tiles;
    const PlaneLayout& planes = piece.planes;
    cut_into_segments(gather, planes, block, &segments_);
    offsets_.resize(static_cast<std::size_t>(s_.streams()));
    feature_offsets(planes, s_.streams(), 0, 0, s_.streams(), offsets_.data());
    const int64_t nr = kernels_.nr;
    for (int64_t& offset : offsets_) offset *= nr;
    for (int64_t c = 0; c < channels; c += nr) {
      pack_planes(table_, gather, planes, segments_, first_channel + c, std::min(nr, channels - c),
                  {nr, Zeroed::nothing}, scratch_.planes);
      float* to = scratch_.x + c * tiles;
      for (const PixelSegment& s : segments_)
        for (int64_t row = 0; row < s.rows; ++row) {
          maps_.input({scratch_.planes + (s.start + row * planes.width()) * nr, offsets_.data(), nr, to,
                       column_stride_, nr, s.columns, nr});
          to += s.columns * nr;
        }
    }
  }

  void write_taps(int64_t filters, int64_t channels, const ImagePiece& piece, float* sums) {
    const int64_t nr = kernels_.nr;
    maps_.filter_adjoint({scratch_.accumulators, sum_offsets_.data(), 0, scratch_.taps, sum_stride_, 0, 1,
                          ceil_div(channels, nr) * nr * filters});
    const auto copy = copy_of<float>(table_);
    for (int64_t c = 0; c < channels; c += nr)
      for (int64_t f = 0; f < filters; ++f)
        for (const TapRun& run : piece.taps)
          copy({scratch_.taps + run.first * sum_stride_ + c * filters + f * nr, 1, sum_stride_,
                sums + f * s_.features + c * s_.taps + run.kernel_tap, s_.taps, 1, std::min(nr, channels - c),
                run.count, false});
  }

  const KernelTable& table_;
  const GemmKernels& kernels_;
  const WinogradKernels& maps_;
  const ImageShape& s_;
  const Scratch scratch_;
  const int64_t row_stride_, column_stride_, sum_stride_;
  std::vector<int64_t> sum_offsets_, offsets_;
  std::vector<PixelSegment> segments_;
  Columns columns_;
};

std::vector<TapRun> runs_of_taps(const WinogradPiece& piece) {
  std::vector<TapRun> runs;
  for (int64_t t = 0; t < kWinogradTaps; ++t) {
    if (piece.tap[t] == kNoTap) continue;
    if (!runs.empty() && runs.back().first + runs.back().count == t &&
        runs.back().kernel_tap + runs.back().count == piece.tap[t])
      ++runs.back().count;
    else
      runs.push_back({t, 1, piece.tap[t]});
  }
  return runs;
}

ImageShape shape_of(const Machine& machine, int m, const PixelGather& x, int64_t groups) {
  const GemmKernels& k = kernels_of<float>(*machine.table);
  const ImageView& dy = x.result;
  ImageShape s;
  s.m = m;
  WinogradTiles tiles;
  tile_gather(x, m, &tiles);
  for (const WinogradPiece& piece : tiles.pieces)
    s.pieces.push_back({piece_gather(tiles, piece, m), {}, runs_of_taps(piece)});
  s.dy_tiles = own_tiles(dy, m);
  s.taps = x.taps();
  const int64_t channels = x.source.channels / groups;
  s.features = channels * s.taps;
  s.blocking = block_winograd_gradient(k, sizeof(float), s.pieces[0].tiles, dy.channels / groups, channels,
                                       machine.caches);
  for (ImagePiece& piece : s.pieces) piece.planes = same_blocks(s.blocking.planes, piece.tiles, k);
  set_chain(k, winograd_chain(m, s.blocking.gemm.depth), dy.channels / groups, &s.blocking.gemm);
  s.dy_planes = same_blocks(s.blocking.planes, s.dy_tiles, k);
  // Slices have sums of their own: as many as the problem (never the machine) needs to occupy many threads.
  constexpr int64_t kWantedTasks = 32, kMostSliceBytes = int64_t{16} << 20;
  const GemmBlocking& b = s.blocking.gemm;
  const int64_t tasks = groups * static_cast<int64_t>(s.pieces.size()) *
                        ceil_div(dy.channels / groups, b.rows) * ceil_div(channels, b.cols);
  const int64_t bytes = dy.channels * s.features * static_cast<int64_t>(sizeof(float));
  const int64_t blocks = s.blocking.planes.blocks;
  const int64_t slices =
      std::clamp<int64_t>(std::min(ceil_div(kWantedTasks, tasks), kMostSliceBytes / bytes), 1, blocks);
  s.slice_blocks = ceil_div(blocks, slices);
  s.slices = ceil_div(blocks, s.slice_blocks);
  return s;
}

class WinogradImageProduct : public Product {
 public:
  WinogradImageProduct(const Machine& machine, int m, PixelGather x, int64_t groups, const FilterView& dw)
      : machine_(machine),
        kernels_(kernels_of<float>(*machine.table)),
        groups_(groups),
        gather_(std::move(x)),
        shape_(shape_of(machine, m, gather_, groups)),
        sum_bytes_(SliceSums<float>::bytes(shape_.slices, dw)) {
    Carver measure;
    carve_scratch(&measure, shape_, kernels_);
    scratch_ = measure.used();
  }

  void bind(void* source, void* result) override {
    gather_.bind(source, result);
    for (ImagePiece& piece : shape_.pieces) piece.tiles.bind(source, result);
    shape_.dy_tiles.bind(result, nullptr);
  }

  void run(const FilterView& dw, const Epilogue& epilogue) override {
    if (images_out_of_range(machine_, gather_.source).empty() &&
        images_out_of_range(machine_, gather_.result).empty()) {
      multiply_tiles(dw);
    } else {
      image_product(machine_, gather_, groups_, dw)->run(dw, epilogue);
    }
  }

  int64_t workspace_bytes() const override { return sum_bytes_ + scratch_ * machine_.threads; }
  std::vector<Figure> figures() const override {
    std::vector<Figure> figures = figures_of(shape_.blocking.gemm);
    figures.push_back({"tile_outputs", shape_.m});
    figures.push_back({"slices", shape_.slices});
    return figures;
  }

 private:
  void multiply_tiles(const FilterView& dw) const {
    const ImageShape& s = shape_;
    const GemmBlocking& b = s.blocking.gemm;
    const Buffer workspace(scratch_ * machine_.threads);
    const SliceSums<float> sums(s.slices, dw);
    const int64_t filters = dw.filters / groups_, channels = dw.channels;
    const int64_t row_blocks = ceil_div(filters, b.rows), col_blocks = ceil_div(channels, b.cols);
    const auto pieces = static_cast<int64_t>(s.pieces.size());
    const double products = static_cast<double>(s.dy_tiles.pixels() * s.streams() * pieces) *
                            static_cast<double>(dw.filters * channels);
    parallel_for(groups_ * s.slices * pieces * row_blocks * col_blocks, 2 * kNsPerFlop * products,
                 machine_.threads, [&](int64_t task, int worker) {
                   Carver carver(workspace.as<char>() + worker * scratch_);
                   int64_t rest = task;
                   const auto next = [&rest](int64_t parts) {
                     const int64_t part = rest % parts;
                     rest /= parts;
                     return part;
                   };
                   const int64_t channel = next(col_blocks) * b.cols, filter = next(row_blocks) * b.rows;
                   const ImagePiece& piece = s.pieces[static_cast<std::size_t>(next(pieces))];
                   const int64_t slice = next(s.slices), group = rest;
                   float* to = sums.of(slice) + (group * filters + filter) * s.features + channel * s.taps;
                   GradientTask(machine_, s, carve_scratch(&carver, s, kernels_))
                       .run(group * filters + filter, std::min(b.rows, filters - filter),
                            group * channels + channel, std::min(b.cols, channels - channel), piece, slice,
                            to);
                 });
    sums.add_up(machine_);
  }

  const Machine machine_;
  const GemmKernels& kernels_;
  const int64_t groups_;
  PixelGather gather_;
  ImageShape shape_;
  const int64_t sum_bytes_;
  int64_t scratch_ = 0;
};

}  // namespace

std::unique_ptr<Product> winograd_image_product(const Machine& machine, int m, PixelGather x, int64_t groups,
                                                const FilterView& dw) {
  return std::make_unique<WinogradImageProduct>(machine, m, std::move(x), groups, dw);
}

}  // namespace fastconv::cpu
