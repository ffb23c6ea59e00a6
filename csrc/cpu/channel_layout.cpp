#include "cpu/channel_layout.h"

#include <algorithm>

#include "core/integers.h"
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

// Columns: narrow rows that lie end to end are one wide row that holds each channel several times.
int64_t rows_at_once(const ChannelLayout& l) {
  const bool foldable = l.columns && l.image_stride == l.channels && 0 < l.channels && l.channels < kNarrow;
  return foldable ? ceil_div(kNarrow, l.channels) : 1;
}

// Many short planes: the planes of one image are one row, whose columns are summed over the images first.
bool planes_as_columns(const ChannelLayout& l) {
  return !l.columns && l.space < kShortPlane && l.images >= kManyImages && l.channel_stride == l.space;
}

// How the channels of a piece lie in a row of columns: column o * inner + i belongs to channel i where the
// layout is one of columns (folded `outer` times), to channel o where planes are taken as columns.
struct ColumnOrder {
  bool channel_inside;
  int64_t outer, inner;

  ColumnOrder(const ChannelLayout& l, const ChannelPiece& p)
      : channel_inside(l.columns),
        outer(l.columns ? rows_at_once(l) : p.channels),
        inner(l.columns ? p.channels : l.space) {}
  int64_t columns() const { return outer * inner; }
  template <class Body>
  void for_each(const Body& body) const {  // body(column, channel)
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < inner; ++i) body(o * inner + i, channel_inside ? i : o);
  }
};

bool by_columns(const ChannelLayout& layout) { return layout.columns || planes_as_columns(layout); }

// The blocks of a piece: body(offset, rows, row stride, columns).
template <class Body>
void for_each_block(const ChannelLayout& l, const ChannelPiece& p, const Body& body) {
  const int64_t start = p.image * l.image_stride + p.channel * l.channel_stride + p.offset;
  if (!by_columns(l)) {
    for (int64_t n = 0; n < p.images; ++n)
      body(start + n * l.image_stride, p.channels, l.channel_stride, p.length);
    return;
  }
  const ColumnOrder order(l, p);
  const int64_t fold = rows_at_once(l), whole = p.images / fold, rest = p.images % fold;
  body(start, whole, fold * l.image_stride, order.columns());
  if (rest) body(start + whole * fold * l.image_stride, 1, 0, rest * order.inner);
}

// One value for each row or column of the blocks, from one for each channel of the piece.
template <class T>
void spread(const ChannelLayout& layout, const ChannelPiece& piece, const double* of_channel, T* values) {
  if (by_columns(layout)) {
    ColumnOrder(layout, piece).for_each([&](int64_t j, int64_t c) {
      values[j] = static_cast<T>(of_channel[c]);
    });
  } else {
    for (int64_t c = 0; c < piece.channels; ++c) values[c] = static_cast<T>(of_channel[c]);
  }
}

const void* at_offset(const void* data, Dtype dtype, int64_t offset) {
  return data ? element(data, dtype, offset) : nullptr;
}

template <class T>
void reduce(ReductionKernels kernels, Dtype dtype, const ChannelLayout& layout, const ChannelPiece& piece,
            const void* first, const void* second, const double* centre, double* sum, double* product) {
  T centres[kMostColumns], sums[kMostColumns], products[kMostColumns];
  if (centre) spread(layout, piece, centre, centres);
  const bool columns = by_columns(layout);
  const ColumnOrder order(layout, piece);
  if (columns) {
    std::fill(sums, sums + order.columns(), T(0));
    std::fill(products, products + order.columns(), T(0));
  }
  for_each_block(layout, piece, [&](int64_t at, int64_t rows, int64_t row_stride, int64_t cols) {
    kernels[columns][static_cast<int>(dtype)]({at_offset(first, dtype, at), at_offset(second, dtype, at),
                                               rows, row_stride, cols, centre ? centres : nullptr,
                                               columns ? static_cast<void*>(sums) : sum,
                                               columns ? static_cast<void*>(products) : product});
  });
  if (columns) {
    order.for_each([&](int64_t j, int64_t c) {
      sum[c] += static_cast<double>(sums[j]);
      if (product) product[c] += static_cast<double>(products[j]);
    });
  }
}

template <class T>
void map(MapKernels kernels, Dtype dtype, const ChannelLayout& layout, const ChannelPiece& piece,
         const void* dy, const void* x, void* out, const ChannelCoefficients& coefficients) {
  T centre[kMostColumns], scale[kMostColumns], shift[kMostColumns], slope[kMostColumns];
  spread(layout, piece, coefficients.centre + piece.channel, centre);
  spread(layout, piece, coefficients.scale + piece.channel, scale);
  spread(layout, piece, coefficients.shift + piece.channel, shift);
  if (coefficients.slope) spread(layout, piece, coefficients.slope + piece.channel, slope);
  for_each_block(layout, piece, [&](int64_t at, int64_t rows, int64_t row_stride, int64_t cols) {
    kernels[by_columns(layout)][static_cast<int>(dtype)](
        {at_offset(dy, dtype, at), at_offset(x, dtype, at), element(out, dtype, at), rows, row_stride, cols,
         centre, scale, shift, slope, coefficients.activation});
  });
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
  chunks_ = groups_ == 0 ? 0 : image_parts_ * plane_parts_;
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
  const auto of_type = dtype == Dtype::float64 ? reduce<double> : reduce<float>;
  of_type(kernels, dtype, layout, piece, first, second, centre, sum, product);
}

void map_piece(MapKernels kernels, Dtype dtype, const ChannelLayout& layout, const ChannelPiece& piece,
               const void* dy, const void* x, void* out, const ChannelCoefficients& coefficients) {
  const auto of_type = dtype == Dtype::float64 ? map<double> : map<float>;
  of_type(kernels, dtype, layout, piece, dy, x, out, coefficients);
}

}  // namespace fastconv::cpu
