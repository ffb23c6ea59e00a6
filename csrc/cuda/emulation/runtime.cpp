// The CUDA runtime's twin: the "device" is the host, a stream does its work at once.
#include "cuda/runtime.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace fastconv::cuda {
namespace {

constexpr unsigned char kPoison = 0xff;  // new memory holds NaN patterns
constexpr std::size_t kAlignment = 256;

int capability() {
  const char* text = std::getenv("FASTCONV_EMULATED_CAPABILITY");
  return text ? std::atoi(text) : 90;
}

}  // namespace

const Device& device(int ordinal) {
  static const Device device = {0, capability(), 4, 227 << 10, 50 << 20, "emulated"};
  (void)ordinal;
  return device;
}

CurrentDevice::CurrentDevice(int ordinal) : before_(ordinal) {}
CurrentDevice::~CurrentDevice() = default;

void* allocate(std::int64_t bytes, Stream) {
  const auto size = (static_cast<std::size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, size ? size : kAlignment);
  if (!memory) throw std::bad_alloc();
  return std::memset(memory, kPoison, size);
}

void give_back(void* memory, Stream) { std::free(memory); }

void fill_zeros(void* memory, std::int64_t bytes, Stream) {
  std::memset(memory, 0, static_cast<std::size_t>(bytes));
}

void wait(Stream) {}

}  // namespace fastconv::cuda
