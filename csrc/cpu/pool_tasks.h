// How pools are cut into tasks: rows of all planes, and of long rows or many channels a part each.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/buffer_pool.h"
#include "core/tensor_view.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {

// One worker's parts of a block of scratch memory, each on cache lines of its own.
class ScratchLayout {
 public:
  int64_t add(int64_t bytes) {
    const int64_t at = bytes_;
    bytes_ += (bytes + 63) / 64 * 64;
    return at;
  }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_ = 0;
};

struct RowPart {
  int64_t plane, row;
  int64_t column, columns;  // first one and number
  int64_t channel, channels;
};

struct RowTasks {
  int64_t planes, rows, columns, channels;  // rows of a plane; channels: lanes, else 1
  int64_t column_block, channel_block = 0, rows_per_task = 0;

  // `elements` that a whole call touches set the size of a task.
  RowTasks(int64_t planes_, int64_t rows_, int64_t columns_, int64_t column_block_, int64_t channels_,
           double elements, int threads)
      : planes(planes_), rows(rows_), columns(columns_), channels(channels_), column_block(column_block_) {
    constexpr double kElementsPerTask = 32768;
    constexpr int64_t kLeastChannels = 64;
    const int64_t all_rows = planes * rows, blocks = (columns + column_block - 1) / column_block;
    channel_block = channels;
    const int64_t wanted = 4 * threads;  // tasks, so that workers end together
    if (all_rows * blocks < wanted && channels > kLeastChannels) {
      const int64_t parts = (wanted + all_rows * blocks - 1) / (all_rows * blocks);
      const int64_t share = (channels + parts - 1) / parts;
      channel_block = (share + kLeastChannels - 1) / kLeastChannels * kLeastChannels;
    }
    const double per_row = elements / static_cast<double>(all_rows * blocks * channel_blocks());
    rows_per_task = std::max<int64_t>(1, static_cast<int64_t>(kElementsPerTask / std::max(per_row, 1.0)));
  }

  int64_t column_blocks() const { return (columns + column_block - 1) / column_block; }
  int64_t channel_blocks() const { return (channels + channel_block - 1) / channel_block; }

  // prepare(worker, part) is called once a task with its columns and channels, then make(worker, part) for
  // every row.
  template <class Prepare, class Make>
  void run(double work_ns, int threads, const Prepare& prepare, const Make& make) const {
    const int64_t all_rows = planes * rows, row_tasks = (all_rows + rows_per_task - 1) / rows_per_task;
    parallel_for(row_tasks * column_blocks() * channel_blocks(), work_ns, threads,
                 [&](int64_t task, int worker) {
                   RowPart part;
                   const int64_t begin = task % row_tasks * rows_per_task, block = task / row_tasks;
                   part.column = block % column_blocks() * column_block;
                   part.columns = std::min(column_block, columns - part.column);
                   part.channel = block / column_blocks() * channel_block;
                   part.channels = std::min(channel_block, channels - part.channel);
                   prepare(worker, part);
                   part.plane = begin / rows;
                   part.row = begin % rows;
                   for (int64_t n = std::min(rows_per_task, all_rows - begin); n > 0; --n) {
                     make(worker, part);
                     if (++part.row == rows) {
                       part.row = 0;
                       ++part.plane;
                     }
                   }
                 });
  }
};

// Planes of lanes are images; other planes are channels.
inline int64_t plane_count(const ImageView& v, bool lanes) {
  return lanes ? v.batch : v.batch * v.channels;
}
inline int64_t plane_offset(const ImageView& v, bool lanes, int64_t plane) {
  if (lanes) return plane * v.batch_stride;
  return plane / v.channels * v.batch_stride + plane % v.channels * v.channel_stride;
}

}  // namespace fastconv::cpu
