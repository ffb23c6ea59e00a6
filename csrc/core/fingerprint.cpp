#include "core/fingerprint.h"

#include <algorithm>
#include <cstring>

namespace fastconv {
namespace {

__extension__ using Wide = unsigned __int128;

// The halves of a product with all bits of both factors in it. The constants are random odd numbers.
constexpr std::uint64_t kKeys[] = {0xC2B2AE3D27D4EB4Fu, 0x9E3779B97F4A7C15u, 0xA0761D6478BD642Fu,
                                   0xE7037ED1A0B428DBu, 0x8EBC6AF09C88C6E3u, 0x589965CC75374CC3u,
                                   0x1D8E4E27C47D124Fu, 0xEB44ACCAB455D165u};
std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

constexpr int kLanes = 4, kBlockBytes = 16 * kLanes;

// Each lane is a polynomial in an odd number whose coefficients are products of neighbours.
void add_block(const char* block, std::uint64_t (&lane)[kLanes]) {
  std::uint64_t word[2 * kLanes];
  std::memcpy(word, block, sizeof word);
  for (int i = 0; i < kLanes; ++i)
    lane[i] = lane[i] * kKeys[1] + mix(word[2 * i] ^ kKeys[2 * i], word[2 * i + 1] ^ kKeys[2 * i + 1]);
}

}  // namespace

Fingerprint fingerprint(const void* data, std::size_t bytes, const Fingerprint& before) {
  const char* at = static_cast<const char*>(data);
  std::uint64_t lane[kLanes] = {before.low, before.high, bytes, ~before.low};
  std::size_t left = bytes;
  for (; left >= kBlockBytes; at += kBlockBytes, left -= kBlockBytes) add_block(at, lane);
  if (left > 0) {
    char last[kBlockBytes] = {};
    std::copy(at, at + left, last);
    add_block(last, lane);
  }
  return {mix(lane[0] ^ kKeys[4], lane[1] ^ kKeys[5]) ^ mix(lane[2] ^ kKeys[6], lane[3] ^ kKeys[7]),
          mix(lane[0] ^ kKeys[0], lane[2] ^ kKeys[3]) + mix(lane[1] ^ kKeys[2], lane[3] ^ kKeys[1])};
}

}  // namespace fastconv
