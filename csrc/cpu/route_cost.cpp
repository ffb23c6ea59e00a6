#include "cpu/route_cost.h"

#include <cmath>

#include "core/integers.h"
#include "cpu/blocking.h"
#include "cpu/winograd_tiles.h"

namespace fastconv::cpu {
namespace {

// Measured on AVX2 (Zen 3) as ratios to the micro-kernel's rate; other instruction sets widen both alike. Of
// one tile and channel: to pack and map what it reads; to map and store what it writes. Of a filter's 3x3: to
// map it, or its gradient back.
struct MapCosts {
  double read, write, filter;
};
MapCosts map_costs(int m) { return m == 2 ? MapCosts{120, 100, 300} : MapCosts{700, 600, 600}; }

constexpr double kLoadOfPixels = 1.5;                       // what a shifted pixel costs that few sums share
constexpr double kAddToSums = 3;                            // to add one sum of a chain to those before it
constexpr double kChain = 32;                               // terms summed up before they are added
constexpr double kFilterBlock = 256, kGradientBlock = 128;  // tiles are mapped again for each block
constexpr double kImagesPerFilters = 4;  // filters are mapped once a call, of unknown batch
constexpr double kGradientMaps = 1.6;    // the weight gradient's maps transpose besides
constexpr double kPieceLoss = 1.14;      // tiles of several pieces have wider halos, and more chunks

constexpr double kMultiplyAddsPerCycle = 32;  // of AVX-512, which all machines with tiles have
constexpr double kTileLoss = 1.25;            // halos, ends of panels, and loads that a product waits for

double tiles_of(const int64_t (&size)[kAxes], int m) {
  const auto columns = static_cast<double>(ceil_div(size[2], m));
  return static_cast<double>(size[0] * ceil_div(size[1], m)) * (columns + 0.5);  // and half a column of halo
}

// The sides of the product: terms to sum up over, sums for each pixel.
struct Sides {
  double terms, sums;
};
Sides sides_of(const ConvProblem& p, Direction direction) {
  const auto c = static_cast<double>(p.channels_per_group()), k = static_cast<double>(p.filters_per_group());
  return direction == Direction::input_gradient ? Sides{k, c} : Sides{c, k};
}

}  // namespace

int64_t winograd_pieces(const ConvProblem& p) {
  return p.kernel[0] * winograd_stretches(p.kernel[1], p.stride[1]) *
         winograd_stretches(p.kernel[2], p.stride[2]);
}

int64_t winograd_tiles(const ConvProblem& p, int m) {
  return p.batch * p.output[0] * ceil_div(p.output[1], m) * ceil_div(p.output[2], m);
}

double product_cost(const ConvProblem& p, Direction direction) {
  const double pairs = static_cast<double>(p.channels_per_group() * p.filters_per_group() * p.taps());
  const double cost = pairs * static_cast<double>(product(p.output));
  if (direction == Direction::weight_gradient) return cost * static_cast<double>(p.batch);
  return cost * (1 + kLoadOfPixels / sides_of(p, direction).sums);
}

double winograd_cost(const ConvProblem& p, Direction direction, int m) {
  const Sides side = sides_of(p, direction);
  const MapCosts map = map_costs(m);
  const double streams = (m + 2.0) * (m + 2.0), pieces = static_cast<double>(winograd_pieces(p));
  const double pairs = side.terms * side.sums * pieces;
  const double loss = pieces > static_cast<double>(p.kernel[0]) ? kPieceLoss : 1;
  if (direction == Direction::weight_gradient) {
    const double maps = pieces * (side.terms * std::ceil(side.sums / kGradientBlock) * map.read +
                                  side.sums * std::ceil(side.terms / kGradientBlock) * map.write);
    const double tile = streams * pairs * (1 + kAddToSums / kChain) * loss + kGradientMaps * maps;
    return static_cast<double>(winograd_tiles(p, m)) * tile + pairs * map.filter;
  }
  const double terms = side.terms * pieces;
  const double tile = streams * (pairs + side.sums * std::ceil(terms / kChain) * kAddToSums) * loss +
                      terms * std::ceil(side.sums / kFilterBlock) * map.read + side.sums * map.write;
  const auto& size = direction == Direction::forward ? p.output : p.input;
  return tiles_of(size, m) * tile + pairs * map.filter / kImagesPerFilters;
}

double tile_gemm_cost(const ConvProblem& p, Direction direction, int parts) {
  const Sides side = sides_of(p, direction);
  const bool forward = direction == Direction::forward;
  // The phases of a stride share out the taps among the input's pixels.
  const int64_t taps = forward ? p.taps() : ceil_div(p.taps(), product(p.stride));
  const auto positions = static_cast<double>(product(forward ? p.output : p.input));
  const auto terms = static_cast<int64_t>(side.terms), sums = static_cast<int64_t>(side.sums);
  const double position = tile_cost(sums, terms, taps, parts).cycles;
  // A line of filters is copied, split and turned over.
  const double lines = side.sums * static_cast<double>(p.taps() * ceil_div(terms, kTileLanes));
  const double filters = lines * (16 + 10.0 * parts) / kImagesPerFilters;
  return kMultiplyAddsPerCycle * (kTileLoss * positions * position + filters);
}

}  // namespace fastconv::cpu
