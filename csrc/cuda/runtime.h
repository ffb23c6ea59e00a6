// What drivers ask of the CUDA runtime: memory and copies in a stream's order, and the sizes of a device. Its
// twin for the CPU is emulation/runtime.cpp. Errors are std::runtime_error, or std::bad_alloc.
#pragma once

#include <cstdint>
#include <string>

namespace fastconv::cuda {

struct Device {
  int ordinal = 0;
  int capability = 0;  // 90 for 9.0
  int multiprocessors = 1;
  std::int64_t shared_bytes = 48 << 10;  // that a block can have
  std::int64_t cache_bytes = 0;          // level 2
  std::string name;
};

// Of the first call on; kept for the process's life.
const Device& device(int ordinal);

// Makes a device the calling thread's for as long as this lives.
class CurrentDevice {
 public:
  explicit CurrentDevice(int ordinal);
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int before_;
};

using Stream = void*;

void* allocate(std::int64_t bytes, Stream stream);
void give_back(void* memory, Stream stream);
void fill_zeros(void* memory, std::int64_t bytes, Stream stream);
void wait(Stream stream);

// Memory of a stream, given back in its order.
class StreamMemory {
 public:
  StreamMemory(std::int64_t bytes, Stream stream) : data_(allocate(bytes, stream)), stream_(stream) {}
  ~StreamMemory() { give_back(data_, stream_); }
  StreamMemory(const StreamMemory&) = delete;
  StreamMemory& operator=(const StreamMemory&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
  Stream stream_;
};

}  // namespace fastconv::cuda
