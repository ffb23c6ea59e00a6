// The contract between drivers (compiled once) and kernels (compiled once per instruction set): plain structs
// of arguments and of function pointers. Strides and counts are in elements. "Compute type" is double for
// float64 and float for everything else; arrays indexed by Dtype take storage of that type.
//
// A micro-kernel knows nothing of convolution. It multiplies packed panels:
//
//   A: rows of `depth` elements, row m at a + m * row_pitch          (broadcast along a row of the tile)
//   B: nr columns, element (k, n) at b + b_offset[k] + n             (vectors of nr)
//   C: accumulators of one column panel, element (m, n) at c + m * nr + n
//
//          nr columns                C[m][n] = (accumulate ? C[m][n] : 0) + sum over k < depth of A[m][k] *
//          B[k][n]
//        +-----------+
//   row  | . . . . . |  <- a[m][0..depth)   depth <= row_pitch; lanes past the last real column may hold
//   anything
//        +-----------+
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/taps.h"

namespace fastconv::cpu {

using std::int64_t;

enum class Activation : int { none, relu, relu6, leaky_relu, sigmoid, tanh, gelu, silu };

// dst(i, j) = src(i, j), or += with `add`, for i < rows, j < cols; dst is of the compute type.
struct BlockCopy {
  const void* src;
  int64_t src_row_stride, src_col_stride;
  void* dst;
  int64_t dst_row_stride, dst_col_stride;
  int64_t rows, cols;
  bool add;
};

// Lines of contiguous elements turned over into elements of nr lanes: dst[offset[j]] + c = element j of line
// c < lines, for j < count.
struct TurnedCopy {
  const void* src;
  int64_t line_stride;
  int lines;  // at most nr
  int64_t count;
  void* dst;
  const int64_t* offset;
};

struct PanelProduct {
  const void* a;
  const void* b;
  const int64_t* b_offset;
  void* c;
  int64_t rows, depth;
  int tile_rows;  // rows of A taken at a time, 1 <= tile_rows <= mr
  int columns;    // real columns of this panel, 1 <= columns <= nr
  bool accumulate;
};

// Neighbouring columns of one panel, at most nr: row m of them lies at c + from + m * nr, and at out + to +
// row_offset[m], `step` apart. Their biases start at col_bias + column.
struct StorePiece {
  int64_t from, to, column;
  int count;
};

// Writes a block of accumulators, row by row and piece by piece: activation(c + row_bias[m] + col_bias[n]),
// rounded to the storage type. Columns in no piece are dropped. A null bias counts as zero.
struct BlockStore {
  const void* c;
  int64_t rows;
  void* out;
  const int64_t* row_offset;
  const StorePiece* pieces;
  int64_t piece_count, step;
  const void* row_bias;
  const void* col_bias;
  Activation activation;
};

// The same turned over: column n < columns of row m, at c + m * nr + n, goes to out + n * column_stride + m *
// row_step.
struct TurnedStore {
  const void* c;
  int64_t rows;
  int columns;  // at most nr
  void* out;
  int64_t row_step, column_stride;
  const void* col_bias;
  Activation activation;
};

struct PositionRun {
  int64_t start, count;
};

// Depthwise filtering of one line of positions: tap t reads from lines[t]. filter: count may run up to whole
// vectors, lines and `out` have room; sums are added up from chains of at most `chain` taps.
struct DepthwiseLine {
  const void* const* lines;
  int64_t taps, chain;
  const void* weights;  // one each tap
  int64_t count;
  void* out;  // filter: count sums. correlate: a vector of partial sums each tap; added to
  bool accumulate;
  // correlate only: what the lines are multiplied by, laid out as filter's `out`, and the positions that
  // count.
  const void* values;
  const PositionRun* runs;
  int64_t run_count;
};

// The same for rows of `count` positions of nr neighbouring channels each: position j lies at j * out_step of
// `out` or `values`, its tap t at source + tap_offset[t] + j * step; a row on, row_step and out_row_step
// further.
struct DepthwiseLanes {
  const void* source;
  const int64_t* tap_offset;
  int64_t taps, chain, count, step, out_step;
  int64_t rows, row_step, out_row_step;
  const void* weights;  // filter: nr each tap
  const void* values;   // correlate
  void* out;            // filter: sums. correlate: nr each tap; added to
};

struct DepthwiseKernels {
  void (*filter_row)(const DepthwiseLine&);  // out[j] (+)= sum over t of weights[t] * lines[t][j]
  void (*correlate_row)(
      const DepthwiseLine&);  // out[t] += sum over the runs' j of values[j] * lines[t][j], lane by lane
  void (*filter_lanes)(const DepthwiseLanes&);
  void (*correlate_lanes)(const DepthwiseLanes&);
  int lanes;  // of a vector
};

struct GemmKernels {
  int mr, nr;
  int row_pitch;
  void (*multiply_panel)(const PanelProduct&);
};

// One of Winograd's linear maps on matrices whose elements are streams (see kernels/winograd_transform.h).
// Line l of input stream i starts at in + in_offset[i] + l * in_line; of output stream o at out + o *
// out_stride + l
// * out_line. `count` elements of each line are mapped, and what fills up the last vector: there is room for
// it.
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

// A block of rows of contiguous elements in which every row ("planes") or every column is a channel. Adds,
// for each channel, to `sum` and `product` (see kernels/channel_reduction.h for the terms): double for
// planes, of the compute type for columns. `second` and `product` are null where the term has none; `centre`
// is of the compute type, null is zero.
struct ChannelReduction {
  const void* first;
  const void* second;
  int64_t rows, row_stride, cols;
  const void* centre;
  void* sum;
  void* product;
};

// The same block, mapped with coefficients of each channel in the compute type (see kernels/channel_map.h);
// `dy` and `slope` are for the gradient.
struct ChannelMap {
  const void* dy;
  const void* x;
  void* out;
  int64_t rows, row_stride, cols;
  const void* centre;
  const void* scale;
  const void* shift;
  const void* slope;
};

// Arrays of two are indexed by layout: [0] planes, [1] columns.
struct ChannelKernels {
  void (*sum[2][kDtypeCount])(const ChannelReduction&);
  void (*moments[2][kDtypeCount])(const ChannelReduction&);
  void (*gradient[2][kDtypeCount])(const ChannelReduction&);
  void (*normalise[2][kDtypeCount])(const ChannelMap&);
  void (*normalise_grad[2][kDtypeCount])(const ChannelMap&);
};

// Local response normalisation of a block of `rows` x `cols`, rows row_stride apart in memory; the terms that
// a window sums lie in `terms`, of the compute type, `step` apart from channel to channel (see
// kernels/response_norm.h).
struct ResponseNormBlock {
  const void* x;
  const void* dy;
  const void* y;
  void* scale;
  void* out;
  int64_t rows, row_stride, cols;
  void* terms;
  int64_t step, before, window;  // channels of the window: all, and those before the element's own
  double alpha, beta, k;         // alpha is that of each term: divided by the nominal size
};

struct ResponseNormKernels {
  void (*normalise[kDtypeCount])(const ResponseNormBlock&);
  void (*gradient[kDtypeCount])(const ResponseNormBlock&);
};

// Maps of `count` contiguous elements.
struct ElementwiseKernels {
  void (*activation[kDtypeCount])(Activation kind, const void* x, void* y, int64_t count);
  void (*activation_grad[kDtypeCount])(Activation kind, const void* dy, const void* x_or_y, void* dx,
                                       int64_t count);
  void (*scale_mask[kDtypeCount])(const void* x, const std::uint8_t* mask, double scale, void* y,
                                  int64_t count);
  void (*narrow[kDtypeCount])(const void* compute, void* storage, int64_t count);
};

// What the loss of a row is made of; shifted means: less the row's largest logit.
struct CrossEntropyTerms {
  double sum_exp, sum,
      target;  // over the shifted logits: sum of exponentials, sum (with smoothing only), the label's
};

struct CrossEntropyRows {  // gradient = (softmax(logits) - target) * scale
  const void* logits;
  void* gradient;
  const int64_t* labels;  // 0 <= label < cols
  CrossEntropyTerms* terms;
  int64_t rows, cols;
  double smoothing, scale;
};

struct SoftmaxKernels {  // of contiguous rows
  void (*softmax[kDtypeCount])(const void* x, void* y, int64_t rows, int64_t cols);
  void (*softmax_grad[kDtypeCount])(const void* dy, const void* y, void* dx, int64_t rows, int64_t cols);
  void (*cross_entropy[kDtypeCount])(const CrossEntropyRows&);
};

// Return the sum of the elements' losses; the gradient by each prediction is multiplied by `scale`.
struct LossKernels {
  double (*binary_cross_entropy[kDtypeCount])(const void* logits, const void* targets, void* gradient,
                                              double scale, int64_t count);
  double (*squared_error[kDtypeCount])(const void* prediction, const void* target, void* gradient,
                                       double scale, int64_t count);
};

// Optimiser steps on `count` contiguous elements, in place; the settings are PyTorch's.
struct SgdStep {
  void* param;
  const void* grad;
  void* velocity;  // null without momentum
  double lr, momentum, weight_decay;
  bool nesterov;
};
struct RmspropStep {
  void* param;
  const void* grad;
  void* square_avg;
  void* velocity;  // null without momentum
  double lr, alpha, eps, weight_decay, momentum;
};
struct AdamStep {
  void* param;
  const void* grad;
  void* m;
  void* v;
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;
  double correction1, root2;  // 1 - beta1^step, sqrt(1 - beta2^step)
};

struct OptimiserKernels {  // [0] float, [1] double; from `start` on
  void (*sgd[2])(const SgdStep&, int64_t start, int64_t count);
  void (*rmsprop[2])(const RmspropStep&, int64_t start, int64_t count);
  void (*adam[2])(const AdamStep&, int64_t start, int64_t count);
};

enum class PoolOperation : int { max, mean, power };  // power: (sum |x|^p)^(1/p)
constexpr int kPoolOperations = 3;

// Parts of output rows of a pool: the same `columns` output columns of each line. Window j holds the input
// columns taps[j].first, + step, ... of each of its line's rows, which point at column 0 and come in the
// order of the plane: row k begins at its flat position row_position[k]. No rows, or no taps, is an empty
// window.
struct PoolLine {
  const void* const* rows;
  const int64_t* row_position;
  int64_t row_count;
  double divisor;  // mean: of the rows ...
  void* y;
  int64_t* indices;  // max: flat positions of the maxima, or null; -1 where a window is empty
};

struct PoolLines {
  const PoolLine* lines;
  int64_t line_count;
  const Taps* taps;  // but sliding
  int64_t columns, step;
  int64_t start, stride, kernel,
      input;  // sliding: window j is kernel taps from column start + j * stride on; input columns
  int64_t x_pitch, y_pitch, channels;  // lanes: elements from column to column of input and result
  const void* divisor;  // mean: ... times that of each output column, of the compute type; else null
  double p;
  void* scratch;
};

// Rows of windows of planes that are all alike, without the numbers of maxima: the same `columns` windows of
// each. Row i of [begin, end) is row i % row_count of the list, in plane i / row_count; its input rows begin
// at `from`, its results at `to`, both counted from the plane's first element.
struct PoolRow {
  const int64_t* from;
  int64_t from_count;
  double divisor;  // mean: of the rows ...
  int64_t to;
};

struct PoolRows {
  const void* x;
  void* y;
  int64_t from_plane, to_plane;  // elements from plane to plane
  const PoolRow* rows;
  int64_t row_count, begin, end;
  int64_t start, stride, step, kernel, input, columns;  // as in PoolLines; 1 <= stride <= 4
  int64_t readable;                                     // elements of x that may be read, needed or not
  bool dense;                                           // results follow each other in memory from row to row
  const void* divisor;  // mean: ... times that of each column, whole vectors of the compute type; else null
  bool scaled;          // all divisors are powers of two, and their reciprocals stand in their places
  double p;
  void* scratch;         // `lines` lines of the compute type, `pitch` apart, with room for
  int64_t lines, pitch;  // what windows reach into that whole vectors of results would have
};

// Parts of rows of the gradient at a pool's input: sums over the windows that hold each of `columns` input
// columns.
//   mean     dx = sum of w * dy, w = row_weight[k] * column_weight[o]
//   power    dx = sign(x) |x|^(p-1) * sum of w * dy / y^(p-1), and 0 where x or y is 0
// The windows are columns readers.first, + step, ... of each of the output rows dy[k] and y[k]; all are among
// the `windows` from first_window on. Rows point at window 0, column_weight at first_window.
struct PoolGradientLine {
  const void* const* dy;
  const void* const* y;  // power
  const double* row_weight;
  int64_t row_count;
  const void* x;  // power: the input row
  void* dx;
};

struct PoolGradientLines {
  const PoolGradientLine* lines;
  int64_t line_count;
  const void* column_weight;  // of the compute type
  int64_t first_window, windows;
  int64_t columns, step;
  const ReaderRun* runs;
  int64_t dy_pitch, dx_pitch, channels;  // lanes: elements from column to column
  double p;
  void* scratch;
};

// Rows of the same gradients in planes that are all alike, for windows of stride 1, or of stride 2 undilated:
// tap t of window (start + i - t * dilation) / stride lies on input column i < `columns`. Rows are counted
// and listed as in PoolRows; `from` are those of dy and y, `to` is that of dx and x.
struct PoolGradientRow {
  const int64_t* from;
  const double* weight;
  int64_t from_count, to;
};

struct PoolGradientRows {
  const void* dy;
  const void* y;  // power
  const void* x;
  void* dx;
  int64_t from_plane, to_plane;
  const PoolGradientRow* rows;
  int64_t row_count, begin, end;
  // All readers are among `windows` from first_window on; column_weight begins there, and has a vector more.
  // The lines in the scratch begin with window `low`.
  int64_t first_window, windows, low;
  const void* column_weight;
  int64_t start, stride, kernel, dilation, columns;
  bool dense;
  double p;
  void* scratch;
  int64_t lines, pitch;
};

// target[indices[o * pitch + c] * pitch + c] += values[o * pitch + c] for o < count, c < channels, onto
// zeros. False, with the target undefined, where an index is not in [0, positions).
struct PoolScatter {
  const void* values;
  const int64_t* indices;
  int64_t count, channels, pitch;
  void* target;
  int64_t positions;
  bool stream;    // the target, with channels == pitch, is larger than the caches
  void* scratch;  // float16, bfloat16 and stream: positions * channels sums
};

struct PoolKernels {
  // Four ways to walk over windows, each for all operations and dtypes; see
  // kernels/pool_{rows,sliding,window,lanes}.h.
  void (*rows[kPoolOperations][kDtypeCount])(const PoolRows&);
  void (*sliding[kPoolOperations][kDtypeCount])(const PoolLines&);
  void (*window[kPoolOperations][kDtypeCount])(const PoolLines&);
  void (*lanes[kPoolOperations][kDtypeCount])(const PoolLines&);
  // [0] mean, [1] power; see kernels/pool_gradient{,_rows}.h.
  void (*gradient_rows[2][kDtypeCount])(const PoolGradientRows&);
  void (*gradient_runs[2][kDtypeCount])(const PoolGradientLines&);
  void (*gradient_lanes[2][kDtypeCount])(const PoolGradientLines&);
  bool (*scatter_add[kDtypeCount])(const PoolScatter&);
};

// Products on tiles: 16 rows of 64 bytes, read as pairs of bfloat16. A float32 value is a sum of up to three
// bfloat16 parts, the largest first; a product of two is the sum of the largest products of their parts
// (kernels/tile_product.h tells which). A *line* is kTileLanes values: channels of a position, or features.
constexpr int kTileLanes = 32, kTileRows = 16, kTileElements = kTileLanes * kTileRows, kMostTileParts = 3;

// Lines into parts: part p of line i lies at parts + p * part_stride + i * kTileLanes. Lanes from `lanes` on
// are zero there.
struct LineSplit {
  const float* lines;
  int lanes;
  int64_t count;
  BFloat16* parts;
  int64_t part_stride;
  int part_count;
};

// The same where lane l of line i lies at rows + offset[l] + i. Whole tiles of lines are read and written.
struct LineTurn {
  const float* rows;
  const int64_t* offset;
  int lanes;
  int64_t count;
  BFloat16* parts;
  int64_t part_stride;
  int part_count;
};

// Rows of values, whose largest magnitude is asked for as the bits of a float: as integers these are in the
// order of the magnitudes, infinities and NaN above all numbers.
struct MagnitudeRows {
  const float* values;
  int64_t rows, row_stride, count;
};

// Sixteen lines of filters into a tile for each part: row r holds elements 2r and 2r + 1 of each line, side
// by side.
struct PairPack {
  const float* lines;
  BFloat16* tiles;
  int64_t part_stride;
  int part_count;
};

// Neighbouring positions, at most 2 * kTileRows.
struct PositionPanel {
  int64_t start;
  int count;
};

// For each panel of positions and each pair of tiles of filters:
//
//   C[m][n] (+)= sum over steps s and lanes l of A[a_line[s] + start + m][l] * B[s][l][n]
//
//   A: parts a_part elements apart, each of lines of kTileLanes
//   B: [pair][step][part][two tiles], pairs b_pair elements apart
//   C: [pair][panel][32 rows][32 filters]; rows and filters beyond the real ones may hold anything
struct TileChain {
  const BFloat16* a;
  int64_t a_part;
  const int64_t* a_line;
  const PositionPanel* panels;
  int64_t panel_count;
  const BFloat16* b;
  int64_t b_pair;
  int64_t filters, steps;
  float* c;
  int parts;
  bool accumulate;
  bool pairs_outside;  // the order of the loops: B's pair or A's panel stays in the nearest cache
};

struct TileKernels {
  std::uint32_t (*largest_magnitude)(const MagnitudeRows&);
  void (*split_lines)(const LineSplit&);
  void (*turn_lines)(const LineTurn&);
  void (*pack_pairs)(const PairPack&);
  void (*multiply_chain)(const TileChain&);
};

struct KernelTable {
  const char* isa;
  GemmKernels gemm[2];  // [0] float, [1] double
  void (*copy_block[kDtypeCount])(const BlockCopy&);
  void (*copy_turned[kDtypeCount])(const TurnedCopy&);
  void (*store_block[kDtypeCount])(const BlockStore&);
  void (*store_turned[kDtypeCount])(const TurnedStore&);
  DepthwiseKernels depthwise[2];
  WinogradKernels winograd[2];  // tiles of 2 and of 4 outputs; float
  PoolKernels pool;
  double (*fma_loop[2])(int64_t iterations);  // runs independent chains of fma; returns the FLOPs done
  ChannelKernels channel;
  ResponseNormKernels response_norm;
  ElementwiseKernels elementwise;
  SoftmaxKernels softmax;
  LossKernels loss;
  OptimiserKernels optimiser;
  const TileKernels* tiles;  // null where there are none
};

}  // namespace fastconv::cpu
