// Small planes of many channels: rows of few pixels would leave vectors half empty, so nr channels at a time
// are turned over into lanes, where any window is as good as any other, and the results are turned back.
#pragma once

#include <algorithm>
#include <vector>

#include "core/buffer_pool.h"
#include "core/integers.h"
#include "cpu/kernel_table.h"
#include "cpu/parallel.h"
#include "cpu/pool_tasks.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

struct TurnedMemory {  // of a worker
  char* tables;
  void* in[3];  // planes of nr lanes in the compute type
  void* out;
  int64_t* indices;
};

// An image of one plane of lanes, as the kernels and their drivers see it.
inline ImageView turned_view(const ImageView& v, int64_t width) {
  ImageView r = v;
  r.data = nullptr;
  r.dtype = compute_dtype(v.dtype);
  r.batch = 1;
  r.channels = width;
  r.channel_stride = 1;
  for (int64_t a = kAxes - 1, stride = width; a >= 0; stride *= v.size[a--]) r.stride[a] = stride;
  r.batch_stride = r.stride[0] * v.size[0];
  return r;
}

class TurnedPlanes {
 public:
  TurnedPlanes(const Machine& machine, std::vector<ImageView> in, const ImageView& out)
      : machine_(machine), in_(std::move(in)), out_(out) {
    const Dtype compute = compute_dtype(out.dtype);
    width_ = machine.table->gemm[compute == Dtype::float64].nr;
    item_ = size_of(compute);
  }

  int64_t width() const { return width_; }

  // Whether rows are short, planes one line each and small enough for the cache, and channels as many as
  // lanes.
  bool pay() const {
    constexpr int64_t kLongRow = 64;
    int64_t elements = product(out_.size), longest_row = out_.size[2];
    bool lines = one_line(out_);
    for (const ImageView& v : in_) {
      elements += product(v.size);
      longest_row = std::max(longest_row, v.size[2]);
      lines = lines && one_line(v);
    }
    return lines && longest_row < kLongRow && 2 * out_.channels > width_ &&
           elements * width_ * item_ <= machine_.caches.l2 / 2;
  }

  // prepare(memory) is called once a task, then make(memory) for each of its parts of the channels: `in` is
  // ready, `out` (and `indices`, where the argument is not null) to be made.
  template <class Number, class Prepare, class Make>
  void run(Number* indices, int64_t table_bytes, double elements, const Prepare& prepare,
           const Make& make) const {
    constexpr int64_t kMostTogether = 16;
    constexpr double kNsPerElement = 0.25;
    ScratchLayout layout;
    const int64_t tables_at = layout.add(table_bytes), results = product(out_.size);
    int64_t longest = results, in_at[3];
    for (std::size_t i = 0; i < in_.size(); ++i) {
      const int64_t count = product(in_[i].size);
      in_at[i] = layout.add(count * width_ * item_);
      longest = std::max(longest, count);
    }
    const int64_t out_at = layout.add(results * width_ * item_);
    const int64_t indices_at = layout.add(indices ? results * width_ * 8 : 0);
    std::vector<int64_t> offsets(static_cast<std::size_t>(longest));
    for (int64_t j = 0; j < longest; ++j) offsets[static_cast<std::size_t>(j)] = j * width_;

    const int64_t parts = ceil_div(out_.channels, width_);
    const int64_t together =
        parts_of_task(out_.batch * parts, machine_.threads, std::min(parts, kMostTogether));
    const int64_t tasks = ceil_div(parts, together);
    const Buffer memory(layout.bytes() * machine_.threads);
    parallel_for(out_.batch * tasks, elements * kNsPerElement, machine_.threads,
                 [&](int64_t task, int worker) {
                   char* scratch = memory.as<char>() + worker * layout.bytes();
                   TurnedMemory m{scratch + tables_at, {}, scratch + out_at, nullptr};
                   for (std::size_t i = 0; i < in_.size(); ++i) m.in[i] = scratch + in_at[i];
                   if (indices) m.indices = reinterpret_cast<int64_t*>(scratch + indices_at);
                   prepare(m);
                   const int64_t first = task % tasks * together, image = task / tasks;
                   for (int64_t part = first; part < std::min(first + together, parts); ++part) {
                     const int64_t channel = part * width_;
                     const auto real = static_cast<int>(std::min(width_, out_.channels - channel));
                     for (std::size_t i = 0; i < in_.size(); ++i)
                       machine_.table->copy_turned[static_cast<int>(in_[i].dtype)](
                           {plane(in_[i], image, channel), in_[i].channel_stride, real, product(in_[i].size),
                            m.in[i], offsets.data()});
                     make(m);
                     machine_.table->store_turned[static_cast<int>(out_.dtype)](
                         {m.out, results, real, plane(out_, image, channel), 1, out_.channel_stride, nullptr,
                          Activation::none});
                     if (!indices) continue;
                     Number* to = indices + image * out_.batch_stride + channel * out_.channel_stride;
                     for (int64_t c = 0; c < real; ++c, to += out_.channel_stride)
                       for (int64_t o = 0; o < results; ++o)
                         to[o] = static_cast<Number>(m.indices[o * width_ + c]);
                   }
                 });
  }

 private:
  static bool one_line(const ImageView& v) {
    return v.stride[2] == 1 && (v.size[1] == 1 || v.stride[1] == v.size[2]) &&
           (v.size[0] == 1 || v.stride[0] == v.size[1] * v.size[2]);
  }
  static void* plane(const ImageView& v, int64_t image, int64_t channel) {
    return element(v.data, v.dtype, image * v.batch_stride + channel * v.channel_stride);
  }

  const Machine machine_;
  const std::vector<ImageView> in_;
  const ImageView out_;
  int64_t width_, item_;
};

}  // namespace fastconv::cpu
