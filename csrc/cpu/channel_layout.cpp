#include "cpu/channel_layout.h"

#include <algorithm>
#include <vector>

#include "core/tensor_view.h"

namespace fastconv::cpu {
namespace {

constexpr int64_t kRun = 4096;           // elements that lie and are read together, where there are as many
constexpr int64_t kPiece = 32768;        // elements of a piece, roughly
constexpr int64_t kMostOfPlane = 65536;  // elements of a plane in a piece
constexpr int64_t kMostImages = 64, kLeastRows = 64, kMostRows = 256;
constexpr int64_t kNarrow = 64;         // fewer channels in a row than this are taken several rows at a time
constexpr int64_t kMostColumns = 1024;  // accumulators of a piece, for which the first-level cache has room
constexpr int64_t kShortPlane = 256, kManyImages = 8;

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Columns: narrow rows that lie end to end are one wide row that holds each channel several times.
int64_t rows_at_once(const ChannelLayout& l) {
  return l.columns && l.image_stride == l.channels && l.channels < kNarrow ? ceil_div(kNarrow, l.channels)
                                                                           : 1;
}

// Many short planes: the planes of one image are one row, whose columns are summed over the images first.
bool planes_as_columns(const ChannelLayout& l) {
  return !l.columns && l.space < kShortPlane && l.images >= kManyImages && l.channel_stride == l.space;
}

// Sums of columns, column (o, i) of outer * inner ones belonging to channel i (layout of columns) or o (of
// planes).
template <class T>
void reduce_columns(ReductionKernels kernels, Dtype dtype, const ChannelLayout& layout,
                    const ChannelPiece& piece, const void* first, const void* second, const double* centre,
                    double* sum, double* product) {
  const int64_t fold = rows_at_once(layout);
  const int64_t outer = layout.columns ? fold : piece.channels,
                inner = layout.columns ? piece.channels : layout.space;
  const auto channel = [&](int64_t o, int64_t i) { return layout.columns ? i : o; };
  T c[kMostColumns], s[kMostColumns], t[kMostColumns];
  std::fill(s, s + outer * inner, T(0));
  std::fill(t, t + outer * inner, T(0));
  for (int64_t o = 0; centre && o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) c[o * inner + i] = static_cast<T>(centre[channel(o, i)]);
  const int64_t start = piece.image * layout.image_stride + piece.channel * layout.channel_stride;
  const auto add = [&](int64_t image, int64_t rows, int64_t cols) {
    const int64_t at = start + image * layout.image_stride;
    kernels[1][static_cast<int>(dtype)]({element(first, dtype, at),
                                         second ? element(second, dtype, at) : nullptr, rows,
                                         fold * layout.image_stride, cols, centre ? c : nullptr, s, t});
  };
  const int64_t whole = piece.images / fold, rest = piece.images % fold;
  add(0, whole, outer * inner);
  if (rest) add(whole * fold, 1, rest * inner);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      sum[channel(o, i)] += static_cast<double>(s[o * inner + i]);
      if (product) product[channel(o, i)] += static_cast<double>(t[o * inner + i]);
    }
}

template <class T>
void reduce_planes(ReductionKernels kernels, Dtype dtype, const ChannelLayout& layout,
                   const ChannelPiece& piece, const void* first, const void* second, const double* centre,
                   double* sum, double* product) {
  T c[ChannelPieces::kMostChannels];
  if (centre) std::transform(centre, centre + piece.channels, c, [](double x) { return static_cast<T>(x); });
  for (int64_t n = piece.image; n < piece.image + piece.images; ++n) {
    const int64_t at = n * layout.image_stride + piece.channel * layout.channel_stride + piece.offset;
    kernels[0][static_cast<int>(dtype)](
        {element(first, dtype, at), second ? element(second, dtype, at) : nullptr, piece.channels,
         layout.channel_stride, piece.length, centre ? c : nullptr, sum, product});
  }
}

}  // namespace

ChannelLayout contiguous_layout(int64_t batch, int64_t channels, int64_t space, bool channels_last) {
  if (channels_last || space == 1) return {true, batch * space, channels, 1, channels, 1};
  return {false, batch, channels, space, channels * space, space};
}

ChannelPieces::ChannelPieces(const ChannelLayout& layout) : layout_(layout) {
  const int64_t channels = std::max<int64_t>(layout.channels, 1), space = std::max<int64_t>(layout.space, 1);
  if (layout.columns) {
    length_ = 1;
    group_ = std::min(channels, kMostChannels);
    const int64_t fold = rows_at_once(layout);
    images_ = fold * std::clamp(kPiece / (fold * group_), kLeastRows, kMostRows);
  } else {
    length_ = std::min(space, kMostOfPlane);
    group_ = std::clamp<int64_t>((planes_as_columns(layout) ? kMostColumns : kRun) / length_, 1,
                                 std::min(channels, kMostChannels));
    images_ = std::clamp<int64_t>(kPiece / (group_ * length_), 1, kMostImages);
  }
  groups_ = ceil_div(layout.channels, group_);
  image_parts_ = ceil_div(layout.images, images_);
  plane_parts_ = ceil_div(layout.space, length_);
  chunks_ = image_parts_ * plane_parts_;
}

ChannelPiece ChannelPieces::operator[](int64_t task) const {
  const int64_t chunk = task / groups_, channel = task % groups_ * group_;
  const int64_t image = chunk / plane_parts_ * images_, offset = chunk % plane_parts_ * length_;
  return {chunk,
          image,
          std::min(images_, layout_.images - image),
          channel,
          std::min(group_, layout_.channels - channel),
          offset,
          std::min(length_, layout_.space - offset)};
}

int64_t ChannelPieces::elements_of_chunk(int64_t chunk) const {
  const ChannelPiece piece = (*this)[chunk * groups_];
  return piece.images * piece.length;
}

void reduce_piece(ReductionKernels kernels, Dtype dtype, const ChannelLayout& layout,
                  const ChannelPiece& piece, const void* first, const void* second, const double* centre,
                  double* sum, double* product) {
  const bool wide = dtype == Dtype::float64;
  const auto reduce = layout.columns || planes_as_columns(layout)
                          ? (wide ? reduce_columns<double> : reduce_columns<float>)
                          : (wide ? reduce_planes<double> : reduce_planes<float>);
  reduce(kernels, dtype, layout, piece, first, second, centre, sum, product);
}

}  // namespace fastconv::cpu
