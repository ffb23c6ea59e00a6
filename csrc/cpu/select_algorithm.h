// Which route serves a call, and why not another: a pure function of the problem, the precision and the
// machine.
#pragma once

#include <string>
#include <vector>

#include "core/conv_problem.h"
#include "cpu/blocking.h"
#include "cpu/route_cost.h"

namespace fastconv::cpu {

enum class Algorithm : int { implicit_gemm, direct, winograd, tile_gemm };

const char* name_of(Algorithm a);

struct Machine {
  const KernelTable* table;
  CacheSizes caches;
  int threads;
  static Machine current();
};

// Why a route can't serve a call; false where it can. Words are made of it when somebody asks.
struct Refusal {
  const char* before = nullptr;
  int64_t number = -1;  // between the words, unless negative
  const char* after = "";

  explicit operator bool() const { return before != nullptr; }
  std::string text() const;
};

struct Plan {
  Algorithm algorithm;
  Machine machine;
  Precision precision;
  int winograd_tile;  // outputs of a tile along each axis, 0 where Winograd can't serve
  bool asked_for;     // by the caller, whatever it costs
  Refusal not_direct, not_winograd, not_tiles;

  std::vector<std::string> reasons() const;  // why no other route, for explain()
};

// requested: "auto" or the name of a route. std::invalid_argument where it is unknown or can't serve the
// call; `function` is for the message. The choice for a result of images never depends on the batch, so that
// an image's result does not either.
Plan select_algorithm(const std::string& function, const ConvProblem& p, Direction direction, Dtype dtype,
                      Precision precision, const std::string& requested, const Machine& machine);

}  // namespace fastconv::cpu
