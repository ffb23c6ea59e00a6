// What a pool makes of the elements of a window.
#pragma once

namespace fastconv {

enum class PoolOperation : int { max, mean, power };  // power: (sum |x|^p)^(1/p)
constexpr int kPoolOperations = 3;

}  // namespace fastconv
