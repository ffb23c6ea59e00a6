// Which route serves a call, and why not another: a pure function of the problem, the precision and the
// machine.
#pragma once

#include <string>
#include <vector>

#include "core/conv_problem.h"
#include "cpu/blocking.h"
#include "cpu/route_cost.h"

namespace fastconv::cpu {

enum class Precision : int { highest, high, medium };
enum class Algorithm : int { implicit_gemm, direct, winograd };

const char* name_of(Algorithm a);

struct Machine {
  const KernelTable* table;
  CacheSizes caches;
  int threads;
  static Machine current();
};

struct Plan {
  Algorithm algorithm;
  Machine machine;
  int winograd_tile;                 // outputs of a tile along each axis
  std::vector<std::string> reasons;  // why no faster route, for explain()
};

// requested: "auto" or the name of a route. std::invalid_argument where it is unknown or can't serve the
// call; `function` is for the message. The choice for a result of images never depends on the batch, so that
// an image's result does not either.
Plan select_algorithm(const std::string& function, const ConvProblem& p, Direction direction, Dtype dtype,
                      Precision precision, const std::string& requested, const Machine& machine);

}  // namespace fastconv::cpu
