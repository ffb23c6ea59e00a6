// Whether values lie where sums of neighbours keep their bits: neither so large nor all so small that a map
// over several pixels would spoil what a product pixel by pixel keeps.
#pragma once

#include <vector>

#include "core/tensor_view.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

// The images the sum of whose squares does not lie between 2^-100 and 2^100: with a value that is not finite,
// or beyond 2^50, or with none above 2^-50.
std::vector<int64_t> images_out_of_range(const Machine& machine, const ImageView& images);
bool filters_in_range(const Machine& machine, const FilterView& filters);

}  // namespace fastconv::cpu
