#include "cuda/tensor_copy.h"

#include <array>

namespace fastconv::cuda::emulation {
namespace {

using Place = std::array<std::int64_t, kMostMapAxes>;

constexpr std::size_t kSwizzleBytes = 128, kPieceBytes = 16, kPatternLines = 8;

void require(bool condition, const char* rule) {
  if (!condition) throw std::logic_error(std::string("a bulk copy: ") + rule);
}

// To the nearest, ties to even (PTX ISA, "Tensor Dimension, size and format"); NaN stays.
void round_to_tf32(unsigned char* at) {
  std::uint32_t bits;
  std::memcpy(&bits, at, sizeof bits);
  const bool finite = (bits & 0x7f800000) != 0x7f800000;
  if (finite) bits = (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu;
  std::memcpy(at, &bits, sizeof bits);
}

// Writes one element after another.
class Destination {
 public:
  Destination(const TensorMap& map, std::uint32_t address) : map_(map), address_(address) {}

  void write(const Place& place) {
    std::uint32_t address = address_;
    if (map_.swizzled) address ^= address / kSwizzleBytes % kPatternLines * kPieceBytes;
    unsigned char* const to = shared_bytes(address, map_.element_bytes, map_.element_bytes);
    std::int64_t from = 0;
    bool inside = true;
    for (std::size_t i = 0; i < map_.axes; ++i) {
      inside = inside && place[i] >= 0 && place[i] <= map_.size[i];
      from += place[i] * map_.bytes[i];
    }
    if (inside) {
      std::memcpy(to, map_.data + from, map_.element_bytes);
      if (map_.rounds_to_tf32) round_to_tf32(to);
    } else {
      std::memset(to, 0, map_.element_bytes);
    }
    address_ += map_.element_bytes;
  }

 private:
  const TensorMap& map_;
  std::uint32_t address_;
};

// The elements of a box, the first axis' next to each other.
void write_tile(Destination* to, const TensorMap& map, const Place& at, Place* place, int axis) {
  const auto i = static_cast<std::size_t>(axis);
  for (std::int64_t j = 0; j < map.box[i]; ++j) {
    (*place)[i] = at[i] + j;
    if (axis == 0) {
      to->write(*place);
    } else {
      write_tile(to, map, at, place, axis - 1);
    }
  }
}

// Channels of pixel after pixel (PTX ISA, "Im2col mode").
void write_column(Destination* to, const TensorMap& map, const Place& at, const Place& offset) {
  const std::size_t spatial = map.axes - 2u;
  Place base = at;
  for (int pixel = 0; pixel < map.box[1]; ++pixel) {
    Place place = base;
    for (std::size_t i = 1; i <= spatial; ++i) place[i] += offset[i - 1];
    for (int channel = 0; channel < map.box[0]; ++channel, ++place[0]) to->write(place);
    std::size_t axis = 1;
    for (; axis <= spatial; ++axis) {
      base[axis] += map.stride[axis - 1];
      if (base[axis] <= map.size[axis] + std::int64_t{map.upper[axis - 1]}) break;
      base[axis] = map.lower[axis - 1];
    }
    if (axis > spatial) ++base[axis];
  }
}

// Starts a copy of `bytes` that `write` does.
template <class Write>
void start(void* to, const TensorMap& map, Mbarrier* done, int bytes, const Write& write) {
  require(reinterpret_cast<std::uintptr_t>(&map) % alignof(TensorMap) == 0, "a map is aligned");
  const std::uint32_t address = shared_address(to);
  const auto count = static_cast<std::size_t>(bytes);
  std::memset(shared_bytes(address, count, kSwizzleBytes), kPoison, count);
  read_mbarrier(done);
  defer(done, [=, &map] {
    Destination destination(map, address);
    write(&destination);
    complete_bytes(done, bytes);
  });
}

}  // namespace

void copy_tile(void* to, const TensorMap& map, Mbarrier* done, const int* at, int axes) {
  require(!map.im2col && axes == map.axes, "the map is of tiles of so many axes");
  Place from{};
  int bytes = map.element_bytes;
  for (int i = 0; i < axes; ++i) {
    from[static_cast<std::size_t>(i)] = at[i];
    bytes *= map.box[i];
  }
  start(to, map, done, bytes, [=, &map](Destination* d) {
    Place place{};
    write_tile(d, map, from, &place, axes - 1);
  });
}

void copy_im2col(void* to, const TensorMap& map, Mbarrier* done, const int* at, const int* offset, int axes) {
  require(map.im2col && axes == map.axes, "the map is im2col of so many axes");
  const int offset_limit = axes == 3 ? 1 << 16 : axes == 4 ? 1 << 8 : 1 << 5;
  Place from{}, offsets{};
  for (int i = 0; i < axes; ++i) from[static_cast<std::size_t>(i)] = at[i];
  for (int i = 0; i < axes - 2; ++i) {
    require(offset[i] >= 0 && offset[i] < offset_limit, "an offset is out of range");
    require(at[i + 1] >= map.lower[i] && at[i + 1] <= map.size[i + 1] + std::int64_t{map.upper[i]},
            "it begins within the window");
    offsets[static_cast<std::size_t>(i)] = offset[i];
  }
  start(to, map, done, map.element_bytes * map.box[0] * map.box[1],
        [=, &map](Destination* d) { write_column(d, map, from, offsets); });
}

}  // namespace fastconv::cuda::emulation
