// Operands of tensor cores, in one form whatever the tensors' layout, dtype and padding: 16-bit elements,
//
//   image     [part][image][position, position, position][group][channel]
//   filters   [part][group][line][tap][channel]
//
// where a group's channels are filled up with zeros to a multiple of kPackedChannels, which a 16-byte copy
// brings. Of few channels, several may come from the taps of the last axis (ChannelPacking): a filter's row
// is then as good a reduction as its channels.
//
// A float32 is the sum of up to three bfloat16 parts, each the rest of those before it, rounded. Products of
// parts i and j with i + j < parts stand for the product of the numbers: their errors are 2^-8, 2^-16 and
// 2^-24 with 1, 2 and 3 parts. That holds for numbers which are finite and whose parts don't underflow, so
// packing also finds the largest (is_turn).
#pragma once

#include "cuda/kernels/gather.h"
#include "cuda/kernels/spans.h"
#include "cuda/kernels/values.h"

namespace fastconv::cuda {

constexpr int kPackedChannels = 8;
// Packed filters have room for so many more lines, so that a tile may read beyond the last.
constexpr int kLinesBeyond = 128;

// A group's channels as packed ones: tap * channels + channel for the first `taps` of the last axis' taps.
struct ChannelPacking {
  std::int64_t channels, taps, packed;
  Divisor by_channels;
};

// How numbers become elements.
struct Split {
  Dtype type;  // float16 or bfloat16
  int parts;
  std::int64_t part_step;  // elements
};

// The next part of what is left of a number.
FASTCONV_DEVICE std::uint16_t next_part(Dtype type, float* rest) {
  if (type == Dtype::float16) return to_float16(*rest).bits;
  const BFloat16 part = to_bfloat16(*rest);
  *rest -= widen(part);
  return part.bits;
}

// What a copy brings.
struct alignas(16) Piece {
  std::uint16_t bits[kPackedChannels];
};

// The parts of a piece's numbers.
FASTCONV_DEVICE void store_parts(const Split& split, const float* numbers, std::uint16_t* to) {
  float rest[kPackedChannels];
  FASTCONV_UNROLL
  for (int i = 0; i < kPackedChannels; ++i) rest[i] = numbers[i];
  for (int part = 0; part < split.parts; ++part) {
    Piece piece;
    FASTCONV_UNROLL
    for (int i = 0; i < kPackedChannels; ++i) piece.bits[i] = next_part(split.type, &rest[i]);
    *reinterpret_cast<Piece*>(to + part * split.part_step) = piece;
  }
}

// The largest magnitudes of what a product's two operands hold, as the bits of float32, which are in order:
// NaN above infinity above the rest. An image is looked at by itself where results belong to images.
struct Largest {
  const std::int32_t *images = nullptr, *others = nullptr;  // null: of what needs no look
  bool each_image = false;                                  // or one for all
};
constexpr std::int32_t kLeastSplit = (127 - 80) << 23, kMostSplit = (127 + 120) << 23;  // 2^-80, 2^120

FASTCONV_DEVICE bool is_carried(std::int32_t largest) {
  return largest == 0 || (largest >= kLeastSplit && largest < kMostSplit);
}

// Of two launches that would write the same results one has its turn: the one for operands that a split
// carries, or the one for others. So nobody need wait for the numbers.
struct Turn {
  Largest largest;
  bool split = true;
};
FASTCONV_DEVICE bool is_turn(const Turn& turn, std::int64_t image) {
  if (!turn.largest.images) return true;
  const bool carried = is_carried(turn.largest.images[turn.largest.each_image ? image : 0]) &&
                       is_carried(*turn.largest.others);
  return carried == turn.split;
}

// By all threads of a block.
FASTCONV_DEVICE void note_largest(std::int32_t* largest, std::int32_t bits) {
  for (int lane = kWarp / 2; lane > 0; lane /= 2) {
    const std::int32_t other = shuffle_xor(bits, lane);
    bits = bits < other ? other : bits;
  }
  if (thread_index() % kWarp == 0 && bits > 0) atomic_max(largest, bits);
}

// An axis of a packed image: position j is element j * step + offset of the source, and tap_step more for
// each of the taps that became channels.
struct PackedAxis {
  std::int64_t size, step, offset, tap_step;
  Divisor positions;
};

struct PackImageArguments {
  ImageView from;
  PaddingMode mode;
  PackedAxis axis[kAxes];
  ChannelPacking packing;
  Split split;
  std::uint16_t* to;
  std::int32_t* largest;                    // or null
  bool largest_of_each;                     // image
  std::int64_t groups, pixels;              // of an image
  std::int64_t channel_tiles, pixel_tiles;  // of a group, of an image
  bool channels_adjacent;                   // in the source, else pixels are
};

// A block packs kPixels pixels of an image by kChannels channels, through shared memory: read along the
// source's neighbours, written along its own.
struct PackImageKernel {
  using Arguments = PackImageArguments;
  static constexpr int kThreads = 256, kPixels = 32, kChannels = 64, kPitch = kChannels + 1;
  static constexpr std::int64_t kSharedBytes = kPixels * kPitch * sizeof(float);
  static_assert(kPixels * kChannels == kThreads * kPackedChannels);

  // The number at a packed channel of a group; zero in padding and beyond the channels.
  FASTCONV_DEVICE static float number(const Arguments& a, std::int64_t image, std::int64_t pixel,
                                      std::int64_t group, std::int64_t packed) {
    if (pixel >= a.pixels || packed >= a.packing.channels * a.packing.taps) return 0;
    const Quotient c = divide(packed, a.packing.by_channels);
    std::int64_t at = (group * a.packing.channels + c.remainder) * a.from.channel_stride;
    for (int axis = kAxes - 1; axis >= 0; --axis) {
      const PackedAxis& along = a.axis[axis];
      const Quotient q = divide(pixel, along.positions);
      const std::int64_t i = source_element(
          a.mode, q.remainder * along.step + along.offset + c.quotient * along.tap_step, along.size);
      if (i < 0) return 0;
      at += i * a.from.stride[axis];
      pixel = q.quotient;
    }
    return load<float>(a.from.dtype, a.from.data, at + image * a.from.batch_stride);
  }

  FASTCONV_DEVICE static void run(const Arguments& a) {
    auto* const tile = static_cast<float*>(shared_memory());
    std::int64_t b = block_index();
    const std::int64_t first_channel = b % a.channel_tiles * kChannels;
    b /= a.channel_tiles;
    const std::int64_t group = b % a.groups;
    b /= a.groups;
    const std::int64_t first_pixel = b % a.pixel_tiles * kPixels, image = b / a.pixel_tiles;
    std::int32_t largest = 0;
    for (int n = thread_index(); n < kPixels * kChannels; n += kThreads) {
      const int pixel = a.channels_adjacent ? n / kChannels : n % kPixels;
      const int channel = a.channels_adjacent ? n % kChannels : n / kPixels;
      const float value = number(a, image, first_pixel + pixel, group, first_channel + channel);
      const std::int32_t magnitude = bits_of(value) & 0x7fffffff;
      largest = largest < magnitude ? magnitude : largest;
      tile[pixel * kPitch + channel] = value;
    }
    barrier();
    if (a.largest) note_largest(a.largest + (a.largest_of_each ? image : 0), largest);
    constexpr int kPieces = kChannels / kPackedChannels;
    const int pixel = thread_index() / kPieces, channel = thread_index() % kPieces * kPackedChannels;
    if (first_pixel + pixel >= a.pixels || first_channel + channel >= a.packing.packed) return;
    const std::int64_t at = ((image * a.pixels + first_pixel + pixel) * a.groups + group) * a.packing.packed +
                            first_channel + channel;
    store_parts(a.split, tile + pixel * kPitch + channel, a.to + at);
  }
};

// One group's filters as lines of a product: line n begins at n * line_step, its channels are channel_step
// apart and its taps neighbours.
struct FilterLines {
  const void* data;
  Dtype dtype;
  std::int64_t group_step, line_step, channel_step;
};

struct PackFiltersKernel {
  struct Arguments {
    Gather gather;  // its taps are all of those of the pixels; of the last axis, packing.taps became channels
    FilterLines from;
    ChannelPacking packing;
    Split split;
    std::uint16_t* to;
    std::int32_t* largest;
    std::int64_t groups;
    Divisor by_packed, by_taps, by_lines;
  };
  static constexpr int kThreads = kSpanThreads;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const std::int64_t count = a.groups * a.by_lines.value * a.by_taps.value * a.by_packed.value;
    std::int32_t largest = 0;
    for_each_of_span(count, [&](std::int64_t i) {
      const Quotient element = divide(i, a.by_packed), row = divide(element.quotient, a.by_taps),
                     line = divide(row.quotient, a.by_lines);
      const Quotient channel = divide(element.remainder, a.packing.by_channels);
      float value = 0;
      if (channel.quotient < a.packing.taps) {
        const Tap tap = tap_at(a.gather, row.remainder * a.packing.taps + channel.quotient);
        value = load<float>(a.from.dtype, a.from.data,
                            line.quotient * a.from.group_step + line.remainder * a.from.line_step +
                                channel.remainder * a.from.channel_step + tap.kernel_tap);
      }
      const std::int32_t magnitude = bits_of(value) & 0x7fffffff;
      largest = largest < magnitude ? magnitude : largest;
      for (int part = 0; part < a.split.parts; ++part)
        a.to[part * a.split.part_step + i] = next_part(a.split.type, &value);
    });
    if (a.largest) note_largest(a.largest, largest);
  }
};

}  // namespace fastconv::cuda
