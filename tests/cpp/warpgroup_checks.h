// The checks of what only sm_90 has, for cuda_primitives_test.cpp.
#pragma once

#include <array>

#include "check.h"
#include "cuda/launch.h"
#include "device_array.h"
#include "warpgroup_product_kernels.h"

namespace fastconv::test {

using std::int64_t;

// A tensor whose elements are their places' numbers, with gaps between lines.
struct NumberedTensor {
  NumberedTensor(MapElement element, std::initializer_list<int64_t> sizes)
      : words(4096 * static_cast<int64_t>(sizes.size())) {
    mapped.data = words.data();
    mapped.element = element;
    mapped.axes = static_cast<int>(sizes.size());
    int64_t distance = size_of(element);
    int axis = 0;
    for (const int64_t size : sizes) {
      mapped.size[axis] = size;
      mapped.bytes[axis++] = distance;
      distance = (size * distance + 31) / 16 * 16;
    }
    CHECK(distance <= 4 * words.size(), "a tensor of %lld bytes", static_cast<long long>(distance));
    for (int64_t i = 0; i < words.size(); ++i)
      words[i] = element == MapElement::bits16 ? static_cast<std::uint32_t>((2 * i + 1) << 16 | 2 * i)
                                               : static_cast<std::uint32_t>(i);
  }
  // Zero outside.
  std::uint32_t at(const std::array<int64_t, 5>& place) const {
    int64_t byte = 0;
    for (int i = 0; i < mapped.axes; ++i) {
      if (place[static_cast<std::size_t>(i)] < 0 || place[static_cast<std::size_t>(i)] >= mapped.size[i])
        return 0;
      byte += place[static_cast<std::size_t>(i)] * mapped.bytes[i];
    }
    return static_cast<std::uint32_t>(byte / size_of(mapped.element));
  }

  DeviceArray<std::uint32_t> words;
  MappedTensor mapped;
};

// Element i of what a copy brought.
inline std::uint32_t brought(const DeviceArray<std::uint32_t>& result, MapElement element, Swizzle swizzle,
                             int64_t i) {
  int64_t byte = i * size_of(element);
  if (swizzle == Swizzle::bytes128) byte = (byte / 16 ^ byte / 128 % 8) * 16 + byte % 16;
  const std::uint32_t word = result[byte / 4];
  return element == MapElement::bits16 ? word >> byte % 4 * 8 & 0xffff : word;
}

template <int kAxes>
void check_copy_tile(MapElement element, Swizzle swizzle, std::initializer_list<int64_t> sizes,
                     const int (&box)[kMostMapAxes], const int (&at)[kAxes]) {
  using Kernel = CopyKernel<kAxes, false>;
  const NumberedTensor tensor(element, sizes);
  int64_t count = 1;
  for (int i = 0; i < kAxes; ++i) count *= box[i];
  const int64_t bytes = count * size_of(element);
  DeviceArray<std::uint32_t> result(bytes / 4);
  typename Kernel::Arguments arguments{
      map_tiles(tensor.mapped, box, swizzle), {}, {}, static_cast<int>(bytes), result.data()};
  for (int i = 0; i < kAxes; ++i) arguments.at[i] = at[i];
  launch<Kernel>(nullptr, 1, Kernel::kBarrierBytes + bytes, arguments);
  wait(nullptr);
  for (int64_t i = 0; i < count; ++i) {
    std::array<int64_t, 5> place{};
    int64_t rest = i;
    for (int axis = 0; axis < kAxes; ++axis) {
      place[static_cast<std::size_t>(axis)] = at[axis] + rest % box[axis];
      rest /= box[axis];
    }
    const std::uint32_t found = brought(result, element, swizzle, i), expected = tensor.at(place);
    CHECK(found == expected, "tile of %d axes, element %lld: %u, not %u", kAxes, static_cast<long long>(i),
          found, expected);
  }
}

// Pixels from the window's pixel `first` on.
template <int kAxes>
void check_copy_im2col(MapElement element, Swizzle swizzle, std::initializer_list<int64_t> sizes,
                       const Im2colWindow& window, int channel, int64_t first,
                       const int (&offset)[kAxes - 2]) {
  using Kernel = CopyKernel<kAxes, true>;
  const NumberedTensor tensor(element, sizes);
  const int64_t count = static_cast<int64_t>(window.channels) * window.pixels,
                bytes = count * size_of(element);
  DeviceArray<std::uint32_t> result(bytes / 4);
  // A pixel's place in the window, and its image.
  const auto place_of = [&](int64_t pixel) {
    std::array<int64_t, 5> place{};
    for (std::size_t i = 0; i < kAxes - 2; ++i) {
      const int64_t reach = tensor.mapped.size[i + 1] - 1 + window.upper[i] - window.lower[i];
      const int64_t width = reach / window.stride[i] + 1;
      place[i + 1] = window.lower[i] + pixel % width * window.stride[i];
      pixel /= width;
    }
    place[kAxes - 1] = pixel;
    return place;
  };
  typename Kernel::Arguments arguments{
      map_im2col(tensor.mapped, window, swizzle), {}, {}, static_cast<int>(bytes), result.data()};
  for (int i = 0; i < kAxes; ++i)
    arguments.at[i] = static_cast<int>(place_of(first)[static_cast<std::size_t>(i)]);
  arguments.at[0] = channel;
  for (int i = 0; i < kAxes - 2; ++i) arguments.offset[i] = offset[i];
  launch<Kernel>(nullptr, 1, Kernel::kBarrierBytes + bytes, arguments);
  wait(nullptr);
  for (int64_t i = 0; i < count; ++i) {
    auto place = place_of(first + i / window.channels);
    place[0] = channel + i % window.channels;
    for (std::size_t axis = 0; axis < kAxes - 2; ++axis) place[axis + 1] += offset[axis];
    const std::uint32_t found = brought(result, element, swizzle, i), expected = tensor.at(place);
    CHECK(found == expected, "im2col of %d axes, element %lld: %u, not %u", kAxes, static_cast<long long>(i),
          found, expected);
  }
}

inline void check_tensor_copies() {
  constexpr MapElement k16 = MapElement::bits16, k32 = MapElement::bits32;
  constexpr Swizzle kNone = Swizzle::none, kSwizzled = Swizzle::bytes128;
  check_copy_tile<2>(k16, kNone, {40, 9}, {24, 5}, {8, 2});
  check_copy_tile<2>(k16, kSwizzled, {100, 30}, {64, 20}, {50, 15});
  check_copy_tile<2>(k32, kSwizzled, {32, 11}, {32, 16}, {0, -3});
  check_copy_tile<3>(k32, kNone, {12, 7, 5}, {8, 3, 4}, {-2, 5, 3});
  check_copy_tile<3>(k16, kSwizzled, {80, 3, 9}, {64, 1, 24}, {64, 2, 0});
  check_copy_tile<4>(k16, kNone, {16, 5, 6, 3}, {8, 6, 2, 4}, {3, -1, 5, -1});

  check_copy_im2col<3>(k16, kSwizzled, {72, 30, 3}, {{-2}, {-1}, {1}, 64, 40}, 8, 9, {3});
  check_copy_im2col<3>(k32, kNone, {8, 30, 3}, {{-2}, {-1}, {3}, 8, 21}, 0, 4, {300});
  check_copy_im2col<4>(k16, kNone, {24, 9, 7, 3}, {{-1, -1}, {-1, -1}, {1, 1}, 16, 64}, 8, 17, {0, 0});
  check_copy_im2col<4>(k16, kNone, {24, 9, 7, 3}, {{-1, -1}, {-1, -1}, {1, 1}, 16, 64}, 8, 17, {2, 1});
  check_copy_im2col<4>(k16, kSwizzled, {64, 8, 7, 2}, {{-2, 0}, {-1, -3}, {2, 3}, 64, 12}, 0, 1, {4, 2});
  check_copy_im2col<4>(k32, kSwizzled, {40, 8, 6, 2}, {{0, -3}, {2, 3}, {3, 2}, 32, 50}, 32, 11, {0, 6});
  check_copy_im2col<5>(k16, kNone, {8, 5, 4, 3, 2}, {{-1, 0, -1}, {0, -1, 0}, {1, 2, 1}, 8, 70}, 0, 5,
                       {1, 1, 2});
}

inline void check_copy_rounds_to_tf32() {
  using Kernel = CopyKernel<2, false>;
  const float values[8] = {
      1 + 0x1p-11f, 1 + 0x1.8p-10f, 1 + 0x1.1p-11f, -1 - 0x1p-12f, 0.5f, 0, -0x1.fffp0f, 3};
  const float expected[8] = {1, 1 + 0x1p-9f, 1 + 0x1p-10f, -1, 0.5f, 0, -2, 3};
  DeviceArray<float> x(8);
  for (int i = 0; i < 8; ++i) x[i] = values[i];
  const MappedTensor tensor{x.data(), MapElement::rounded_to_tf32, 2, {8, 1}, {4, 32}};
  DeviceArray<std::uint32_t> result(8);
  launch<Kernel>(nullptr, 1, Kernel::kBarrierBytes + 32,
                 {map_tiles(tensor, {8, 1}, Swizzle::none), {0, 0}, {}, 32, result.data()});
  wait(nullptr);
  for (int i = 0; i < 8; ++i)
    CHECK(of_bits(result[i]) == expected[i], "%a is %a", static_cast<double>(values[i]),
          static_cast<double>(of_bits(result[i])));
}

template <class T, int kColumns, Major kA = Major::k, Major kB = Major::k>
void check_warpgroup_product() {
  using Kernel = WarpgroupProductKernel<T, kColumns, kA, kB>;
  constexpr int kM = Kernel::kM, kDepth = Kernel::kDepth;
  const Operand<T> a(kM * kDepth, 3), b(kColumns * kDepth, 4);
  DeviceArray<float> d(kM * kColumns);
  launch<Kernel>(nullptr, 1, Kernel::kSharedBytes, {a.array.data(), b.array.data(), d.data()});
  wait(nullptr);
  for (int m = 0; m < kM; ++m)
    for (int n = 0; n < kColumns; ++n) {
      float expected = 0;
      for (int k = 0; k < kDepth; ++k)
        expected += 2 * a[kA == Major::k ? m * kDepth + k : k * kM + m] *
                    b[kB == Major::k ? n * kDepth + k : k * kColumns + n];
      const float found = d[m * kColumns + n];
      CHECK(found == expected, "wgmma of %d columns, %d %d, [%d][%d]: %g, not %g", kColumns, kA == Major::mn,
            kB == Major::mn, m, n, static_cast<double>(found), static_cast<double>(expected));
    }
}

template <class T>
void check_majors() {
  check_warpgroup_product<T, 64, Major::mn, Major::k>();
  check_warpgroup_product<T, 128, Major::k, Major::mn>();
  check_warpgroup_product<T, 192, Major::mn, Major::mn>();
}

inline void check_warpgroup_products() {
  check_warpgroup_product<BFloat16, 8>();
  check_warpgroup_product<BFloat16, 24>();
  check_warpgroup_product<Float16, 128>();
  check_warpgroup_product<BFloat16, 256>();
  check_warpgroup_product<Tf32, 16>();
  check_warpgroup_product<Tf32, 96>();
  check_majors<BFloat16>();
  check_majors<Float16>();
}

// A convolution's sizes, W, H, D.
struct ConvolutionCase {
  int batch, channels, filters;
  int size[3], filter[3], before[3], after[3], stride[3], dilation[3];
};

template <class T, int kSpatial, int kColumns>
void check_convolution(const ConvolutionCase& c) {
  using Kernel = ConvolutionKernel<T, kSpatial, kColumns>;
  constexpr auto kElement = sizeof(T) == 2 ? MapElement::bits16 : MapElement::rounded_to_tf32;
  int out[3] = {1, 1, 1}, places = 1, taps = 1, pixels = c.batch;
  for (int i = 0; i < kSpatial; ++i) {
    out[i] = (c.size[i] + c.before[i] + c.after[i] - c.dilation[i] * (c.filter[i] - 1) - 1) / c.stride[i] + 1;
    places *= c.size[i];
    taps *= c.filter[i];
    pixels *= out[i];
  }
  const Operand<T> x(c.batch * places * c.channels, 5), filters(c.filters * taps * c.channels, 6);
  DeviceArray<float> y(static_cast<int64_t>(pixels) * c.filters);

  MappedTensor image{x.array.data(), kElement, kSpatial + 2, {c.channels}, {}};
  Im2colWindow window;
  window.channels = Kernel::kDepth;
  window.pixels = Kernel::kM;
  typename Kernel::Arguments a{};
  int64_t line = c.channels * static_cast<int64_t>(sizeof(T));
  for (int i = 0; i < 3; ++i) a.out[i] = a.filter[i] = a.stride[i] = a.dilation[i] = 1;
  for (int i = 0; i < kSpatial; ++i) {
    image.size[i + 1] = c.size[i];
    image.bytes[i + 1] = line;
    line *= c.size[i];
    window.lower[i] = -c.before[i];
    window.upper[i] = c.after[i] - c.dilation[i] * (c.filter[i] - 1);
    window.stride[i] = c.stride[i];
    a.out[i] = out[i];
    a.filter[i] = c.filter[i];
    a.lower[i] = window.lower[i];
    a.stride[i] = c.stride[i];
    a.dilation[i] = c.dilation[i];
  }
  image.size[kSpatial + 1] = c.batch;
  image.bytes[kSpatial + 1] = line;
  const int64_t of_tap = c.channels * static_cast<int64_t>(sizeof(T));
  const MappedTensor filter_tensor{
      filters.array.data(), kElement, 3, {c.channels, taps, c.filters}, {0, of_tap, taps * of_tap}};
  a.x = map_im2col(image, window, Swizzle::bytes128);
  a.filters = map_tiles(filter_tensor, {Kernel::kDepth, 1, kColumns}, Swizzle::bytes128);
  a.y = y.data();
  a.channels = c.channels;
  a.filter_count = c.filters;
  a.pixels = pixels;
  launch<Kernel>(nullptr, (pixels + Kernel::kM - 1) / Kernel::kM, Kernel::kSharedBytes, a);
  wait(nullptr);

  for (int pixel = 0; pixel < pixels; ++pixel)
    for (int f = 0; f < c.filters; ++f) {
      float expected = 0;
      for (int tap = 0; tap < taps; ++tap) {
        int rest = pixel, of_filter = tap, at = 0, distance = 1;
        bool inside = true;
        for (int i = 0; i < kSpatial; ++i) {
          const int place =
              rest % out[i] * c.stride[i] - c.before[i] + of_filter % c.filter[i] * c.dilation[i];
          inside = inside && place >= 0 && place < c.size[i];
          at += place * distance;
          distance *= c.size[i];
          rest /= out[i];
          of_filter /= c.filter[i];
        }
        if (!inside) continue;
        for (int k = 0; k < c.channels; ++k)
          expected += x[(rest * places + at) * c.channels + k] * filters[(f * taps + tap) * c.channels + k];
      }
      const float found = y[static_cast<int64_t>(pixel) * c.filters + f];
      CHECK(found == expected, "convolution in %d dimensions, pixel %d, filter %d: %g, not %g", kSpatial,
            pixel, f, static_cast<double>(found), static_cast<double>(expected));
    }
}

inline void check_convolutions() {
  const ConvolutionCase line{3, 72, 20, {50}, {5}, {4}, {2}, {2}, {3}};
  check_convolution<BFloat16, 1, 24>(line);
  const ConvolutionCase image{2, 40, 36, {11, 9}, {3, 2}, {1, 2}, {2, 0}, {1, 2}, {2, 1}};
  check_convolution<BFloat16, 2, 40>(image);
  check_convolution<Float16, 2, 40>(image);
  check_convolution<Tf32, 2, 40>(image);
  const ConvolutionCase volume{2, 64, 8, {6, 5, 4}, {3, 3, 2}, {1, 1, 0}, {1, 0, 1}, {1, 2, 1}, {1, 1, 2}};
  check_convolution<BFloat16, 3, 8>(volume);
}

}  // namespace fastconv::test
