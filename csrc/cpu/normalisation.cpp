#include "cpu/normalisation.h"

#include <algorithm>
#include <vector>

#include "core/buffer_pool.h"
#include "cpu/dispatch.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerElement = 0.3;
constexpr int64_t kFirstRows = 8, kFirstElements = 1024;  // of a piece, for its shift; at least a 64th of it

double work_ns(const ChannelLayout& layout) { return kNsPerElement * static_cast<double>(layout.elements()); }

// Zeroed sums of each chunk and channel: kSums rows of `channels` for every chunk.
template <int kSums>
class Partials {
 public:
  Partials(int64_t chunks, int64_t channels) : channels_(channels), memory_(chunks * kSums * channels * 8) {
    std::fill_n(memory_.as<double>(), chunks * kSums * channels, 0.0);
  }
  double* at(int64_t chunk, int which, int64_t channel = 0) const {
    return memory_.as<double>() + (chunk * kSums + which) * channels_ + channel;
  }

 private:
  int64_t channels_;
  Buffer memory_;
};

ChannelPiece first_part(const ChannelPiece& piece, const ChannelLayout& layout) {
  ChannelPiece first = piece;
  const bool single = !layout.columns && piece.length >= kFirstElements / kFirstRows;
  first.images = std::min<int64_t>(piece.images, single ? 1 : std::max(kFirstRows, piece.images / 64));
  first.length = std::min(piece.length, kFirstElements);
  return first;
}

}  // namespace

void channel_moments(const ChannelLayout& layout, Dtype dtype, const void* x, double* mean,
                     double* variance) {
  const KernelTable& table = active_table();
  const ChannelPieces pieces(layout);
  const int64_t channels = layout.channels;
  enum { kShift, kSum, kSquares };
  const Partials<3> parts(pieces.chunks(), channels);
  parallel_for(pieces.count(), work_ns(layout), num_threads(), [&](int64_t task, int) {
    const ChannelPiece piece = pieces[task], first = first_part(piece, layout);
    double* shift = parts.at(piece.chunk, kShift, piece.channel);
    reduce_piece(table.channel.sum, dtype, layout, first, x, nullptr, nullptr, shift, nullptr);
    for (int64_t c = 0; c < piece.channels; ++c) {
      const double s = shift[c] / static_cast<double>(first.images * first.length);
      shift[c] = dtype == Dtype::float64
                     ? s
                     : static_cast<double>(static_cast<float>(s));  // what the kernel will see
    }
    reduce_piece(table.channel.moments, dtype, layout, piece, x, nullptr, shift,
                 parts.at(piece.chunk, kSum, piece.channel), parts.at(piece.chunk, kSquares, piece.channel));
  });

  const double total = static_cast<double>(std::max<int64_t>(layout.images * layout.space, 1));
  std::fill_n(mean, channels, 0.0);
  std::fill_n(variance, channels, 0.0);
  for (int64_t k = 0; k < pieces.chunks(); ++k) {
    const double n = static_cast<double>(pieces.elements_of_chunk(k));
    const double *shift = parts.at(k, kShift), *sum = parts.at(k, kSum);
    for (int64_t c = 0; c < channels; ++c) mean[c] += (n * shift[c] + sum[c]) / total;
  }
  for (int64_t k = 0; k < pieces.chunks(); ++k) {
    const double n = static_cast<double>(pieces.elements_of_chunk(k));
    const double *shift = parts.at(k, kShift), *sum = parts.at(k, kSum), *squares = parts.at(k, kSquares);
    for (int64_t c = 0; c < channels; ++c) {
      const double d = shift[c] - mean[c];  // sum of (x - mean)^2, from the sums of x - shift
      variance[c] += (squares[c] + d * (2 * sum[c] + n * d)) / total;
    }
  }
  for (int64_t c = 0; c < channels; ++c) variance[c] = variance[c] < 0 ? 0 : variance[c];
}

void normalise(const ChannelLayout& layout, Dtype dtype, const void* x, const double* mean,
               const double* scale, const double* shift, Activation activation, void* y) {
  const KernelTable& table = active_table();
  const ChannelPieces pieces(layout);
  parallel_for(pieces.count(), work_ns(layout), num_threads(), [&](int64_t task, int) {
    map_piece(table.channel.normalise, dtype, layout, pieces[task], nullptr, x, y,
              {mean, scale, shift, nullptr, activation});
  });
}

void batch_norm_grad(const ChannelLayout& layout, Dtype dtype, const BatchNormGradient& g) {
  const KernelTable& table = active_table();
  const ChannelPieces pieces(layout);
  const int64_t channels = layout.channels;
  const Partials<2> parts(pieces.chunks(), channels);
  parallel_for(pieces.count(), work_ns(layout), num_threads(), [&](int64_t task, int) {
    const ChannelPiece piece = pieces[task];
    reduce_piece(table.channel.gradient, dtype, layout, piece, g.dy, g.x, g.mean + piece.channel,
                 parts.at(piece.chunk, 0, piece.channel), parts.at(piece.chunk, 1, piece.channel));
  });
  std::fill_n(g.dbias, channels, 0.0);
  std::fill_n(g.dweight, channels, 0.0);
  for (int64_t k = 0; k < pieces.chunks(); ++k)
    for (int64_t c = 0; c < channels; ++c) {
      g.dbias[c] += parts.at(k, 0)[c];
      g.dweight[c] += parts.at(k, 1)[c] * g.inv_std[c];
    }

  const std::vector<double> zeros(static_cast<std::size_t>(channels), 0.0);
  std::vector<double> scale(zeros), slope(zeros), shift(zeros);
  const double total = static_cast<double>(std::max<int64_t>(layout.images * layout.space, 1));
  for (std::size_t c = 0; c < scale.size(); ++c) {
    scale[c] = g.weight[c] * g.inv_std[c];
    slope[c] = -scale[c] * g.inv_std[c] * g.dweight[c] / total;
    shift[c] = -scale[c] * g.dbias[c] / total;
  }
  if (!g.training) {
    normalise(layout, dtype, g.dy, zeros.data(), scale.data(), zeros.data(), Activation::none, g.dx);
    return;
  }
  parallel_for(pieces.count(), work_ns(layout), num_threads(), [&](int64_t task, int) {
    map_piece(table.channel.normalise_grad, dtype, layout, pieces[task], g.dy, g.x, g.dx,
              {g.mean, scale.data(), shift.data(), slope.data()});
  });
}

}  // namespace fastconv::cpu
