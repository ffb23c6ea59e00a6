// What a route costs, roughly, so that routes can be compared: multiply-adds, and other work counted as the
// multiply-adds that fit into its time. Pure functions of one image of the problem (the weight gradient: of
// all).
#pragma once

#include "core/conv_problem.h"
#include "core/product_kind.h"

namespace fastconv::cpu {

// The implicit matrix product.
double product_cost(const ConvProblem& p, Direction direction);

// Winograd's tiles of m x m outputs, m = 2 or 4; the problem is one that they serve.
double winograd_cost(const ConvProblem& p, Direction direction, int m);

// Products on tiles of values in so many parts: forward or input gradient.
double tile_gemm_cost(const ConvProblem& p, Direction direction, int parts);

// Pieces of 3x3 that Winograd's tiles cut a kernel into.
int64_t winograd_pieces(const ConvProblem& p);

// Tiles of all images: what the weight gradient of winograd sums up over.
int64_t winograd_tiles(const ConvProblem& p, int m);

}  // namespace fastconv::cpu
