#include "cpu/winograd.h"

#include <algorithm>
#include <iterator>

#include "core/integers.h"
#include "cpu/filter_forms.h"
#include "cpu/implicit_gemm.h"
#include "cpu/packed_product.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"
#include "cpu/value_range.h"
#include "cpu/winograd_tiles.h"

namespace fastconv::cpu {
namespace {

// How a product is cut.
struct WinogradShape {
  int m;
  bool pixels_are_rows;
  WinogradTiles tiles;
  WinogradBlocking blocking;
  int64_t channels, lines;  // of one group

  int64_t pieces() const { return static_cast<int64_t>(tiles.pieces.size()); }

  int64_t streams() const { return int64_t{m + 2} * (m + 2); }
};

struct Scratch {
  float *planes, *mapped, *accumulators, *outputs;
  int64_t* row_offsets;
};

int64_t panels_of_block(const WinogradShape& s, const GemmKernels& k) {
  return ceil_div(s.blocking.planes.positions, k.nr);
}
// Elements from one product to the next: of mapped tiles, and of accumulators.
int64_t mapped_stride(const WinogradShape& s, const GemmKernels& k) {
  const GemmBlocking& b = s.blocking.gemm;
  return stream_stride(s.pixels_are_rows ? b.rows * k.row_pitch : panels_of_block(s, k) * k.nr * b.depth);
}
int64_t accumulator_stride(const WinogradShape& s) {
  return stream_stride(s.blocking.gemm.rows * s.blocking.gemm.cols);
}

// Channels side by side (pixels_are_rows), with room for whole vectors; else 0.
int64_t plane_lanes(const WinogradShape& s, const GemmKernels& k) {
  return s.pixels_are_rows ? round_up(s.blocking.channels, k.nr) : 0;
}

Scratch carve_scratch(Carver* carver, const WinogradShape& s, const GemmKernels& k) {
  const PlaneLayout& planes = s.blocking.planes;
  const int64_t lanes = plane_lanes(s, k);
  Scratch r;
  r.planes = carver->take<float>((lanes ? lanes : s.blocking.channels) * planes.copies() * planes.elements);
  r.mapped = carver->take<float>(s.streams() * mapped_stride(s, k));
  r.accumulators = carver->take<float>(s.streams() * accumulator_stride(s));
  r.outputs = carver->take<float>(int64_t{s.m} * s.m * accumulator_stride(s));
  r.row_offsets = carver->take<int64_t>(s.blocking.gemm.rows);
  return r;
}

// Mapped filters lie [group][chunk][product][lines x depth].
struct MappedFilters {
  float* data;
  int64_t chunks, product, chunk;  // elements of a product, of a chunk's products

  const float* of(int64_t group, int64_t index) const { return data + (group * chunks + index) * chunk; }
};

int64_t chunk_channels(const WinogradShape& s, int64_t chunk) {
  return std::min(s.blocking.channels, s.channels - chunk * s.blocking.channels);
}

MappedFilters lay_out_filters(const WinogradShape& s, const GemmKernels& k, float* data) {
  MappedFilters f;
  f.data = data;
  f.chunks = ceil_div(s.channels, s.blocking.channels);
  f.product = stream_stride(s.pixels_are_rows ? round_up(s.lines, k.nr) * s.blocking.gemm.depth
                                              : s.lines * k.row_pitch);
  f.chunk = s.streams() * f.product;
  return f;
}

void map_filters(const Machine& machine, const WinogradShape& s, const FilterView& w, bool by_channel,
                 int64_t groups, const MappedFilters& mapped) {
  const GemmKernels& k = kernels_of<float>(*machine.table);
  const int64_t step = s.pixels_are_rows ? k.nr : 4 * k.mr, blocks = ceil_div(s.lines, step);
  // A stream for each tap of the kernel, and one of zeros: [line][channel] or [channel][line].
  const int64_t lanes = round_up(s.blocking.channels, k.nr), stream = stream_stride(step * lanes);
  const int64_t streams = w.taps + 1;
  const Buffer workspace(machine.threads * streams * stream * static_cast<int64_t>(sizeof(float)));
  const int64_t filter_step = w.channels * w.taps;
  const int64_t line_step = by_channel ? w.taps : filter_step,
                channel_step = by_channel ? filter_step : w.taps;
  const auto copy = machine.table->copy_block[static_cast<int>(w.dtype)];
  const double work = kNsPerElement * static_cast<double>(groups * s.lines * s.channels * w.taps);
  parallel_for(groups * mapped.chunks * blocks, work, machine.threads, [&](int64_t task, int worker) {
    const int64_t group = task / (mapped.chunks * blocks), chunk = task / blocks % mapped.chunks;
    const int64_t first = task % blocks * step, lines = std::min(step, s.lines - first);
    const int64_t channels = chunk_channels(s, chunk), depth = channels * s.pieces();
    float* taps = workspace.as<float>() + worker * streams * stream;
    std::fill_n(taps + w.taps * stream, stream, 0.0f);
    const char* from = element(static_cast<const void*>(w.data), w.dtype,
                               group * (w.filters / groups) * filter_step + first * line_step +
                                   chunk * s.blocking.channels * channel_step);
    if (s.pixels_are_rows) {
      for (int64_t c = 0; c < channels; ++c)
        copy({element(from, w.dtype, c * channel_step), line_step, 1, taps + c * k.nr, 1, stream, lines,
              w.taps, false});
    } else {
      for (int64_t l = 0; l < lines; ++l)
        copy({element(from, w.dtype, l * line_step), channel_step, 1, taps + l * lanes, 1, stream, channels,
              w.taps, false});
    }
    float* to = mapped.data + (group * mapped.chunks + chunk) * mapped.chunk +
                first * (s.pixels_are_rows ? depth : k.row_pitch);
    for (const WinogradPiece& piece : s.tiles.pieces) {
      int64_t offsets[kWinogradTaps];
      for (int64_t t = 0; t < kWinogradTaps; ++t)
        offsets[t] = (piece.tap[t] == kNoTap ? w.taps : piece.tap[t]) * stream;
      // What fills up the last vector lies where the next piece comes, or behind the row.
      if (s.pixels_are_rows) {
        machine.table->winograd[s.m / 4].filter(
            {taps, offsets, 0, to, mapped.product, 0, 1, channels * k.nr});
        to += channels * k.nr;
      } else {
        machine.table->winograd[s.m / 4].filter(
            {taps, offsets, lanes, to, mapped.product, k.row_pitch, lines, channels});
        to += channels;
      }
    }
  });
}

// One block of tiles times one block of filters of one group.
class TileTask {
 public:
  TileTask(const Machine& machine, const WinogradShape& shape, const PixelGather& g,
           const MappedFilters& filters, const Epilogue& epilogue, const float* bias, const Scratch& scratch)
      : table_(*machine.table),
        kernels_(kernels_of<float>(table_)),
        maps_(table_.winograd[shape.m / 4]),
        s_(shape),
        planes_(shape.blocking.planes),
        result_(g.result),
        outputs_{g.axis[1].positions, g.axis[2].positions},
        mapped_filters_(filters),
        epilogue_(epilogue),
        bias_(bias),
        scratch_(scratch),
        mapped_stride_(mapped_stride(shape, kernels_)),
        lanes_(plane_lanes(shape, kernels_)) {}

  void run(int64_t group, int64_t block, int64_t first_filter, int64_t filters) {
    first_channel_ = group * s_.lines + first_filter;
    filters_ = filters;
    cut_into_segments(s_.tiles.gather, planes_, block, &segments_);
    list_lines();
    list_elements();
    const GemmBlocking& b = s_.blocking.gemm;
    for (int64_t chunk = 0; chunk < mapped_filters_.chunks; ++chunk) {
      const int64_t channels = chunk_channels(s_, chunk), depth = channels * s_.pieces();
      map_tiles(group * s_.channels + chunk * s_.blocking.channels, channels, depth);
      const float* filter =
          mapped_filters_.of(group, chunk) + first_filter * (s_.pixels_are_rows ? depth : kernels_.row_pitch);
      set_columns(depth);
      for (int64_t i = 0; i < s_.streams(); ++i) {
        const float* tiles = scratch_.mapped + i * mapped_stride_;
        const float* mapped = filter + i * mapped_filters_.product;
        multiply_block<float>(kernels_, b, s_.pixels_are_rows ? tiles : mapped,
                              s_.pixels_are_rows ? mapped : tiles, columns_,
                              scratch_.accumulators + i * accumulator_stride(s_), rows(), depth, chunk > 0);
      }
    }
    s_.pixels_are_rows ? store_rows() : store_columns();
  }

 private:
  struct TileRow {  // tiles side by side: in the planes, as rows of the product, their outputs
    int64_t start, count, row;
    int64_t output[2], result;  // place of the first output along the inner axes, and its address
  };

  int64_t rows() const { return s_.pixels_are_rows ? tiles_ : filters_; }

  void list_lines() {
    tile_rows_.clear();
    tiles_ = 0;
    for (const PixelSegment& s : segments_)
      for (int64_t r = 0; r < s.rows; ++r) {
        const int64_t out1 = s_.m * (s.position[1] + r), out2 = s_.m * s.position[2];
        tile_rows_.push_back({s.start + r * planes_.width(),
                              s.columns,
                              tiles_,
                              {out1, out2},
                              s.image * result_.batch_stride + s.position[0] * result_.stride[0] +
                                  out1 * result_.stride[1] + out2 * result_.stride[2]});
        tiles_ += s.columns;
      }
    if (!s_.pixels_are_rows) panels_of(planes_, segments_, kernels_.nr, &panels_);
  }

  // Where in the planes each piece finds the elements that it reads.
  void list_elements() {
    const int64_t all = s_.tiles.gather.taps(), side = s_.m + 2, step = lanes_ ? lanes_ : 1;
    std::vector<int64_t> place(static_cast<std::size_t>(all));
    feature_offsets(planes_, all, 0, 0, all, place.data());
    offsets_.clear();
    for (const WinogradPiece& piece : s_.tiles.pieces)
      for (int64_t i = 0; i < side; ++i)
        for (int64_t j = 0; j < side; ++j)
          offsets_.push_back(step * place[static_cast<std::size_t>(piece.first + i * s_.tiles.row + j)]);
  }

  // Packs the tiles' pixels for some channels and maps them; element (piece, channel) is the reduction.
  void map_tiles(int64_t first_channel, int64_t channels, int64_t depth) {
    pack_planes(table_, s_.tiles.gather, planes_, segments_, first_channel, channels,
                {lanes_, Zeroed::nothing}, scratch_.planes);
    for (int64_t piece = 0; piece < s_.pieces(); ++piece) {
      const int64_t* offsets = offsets_.data() + piece * s_.streams();
      if (s_.pixels_are_rows) {
        for (const TileRow& t : tile_rows_)
          maps_.input({scratch_.planes + t.start * lanes_, offsets, lanes_,
                       scratch_.mapped + t.row * kernels_.row_pitch + piece * channels, mapped_stride_,
                       kernels_.row_pitch, t.count, channels});
      } else {
        float* to = scratch_.mapped + piece * channels * kernels_.nr;
        for (const ColumnPanel& panel : panels_) {
          maps_.input({scratch_.planes + panel.start, offsets, planes_.copies() * planes_.elements, to,
                       mapped_stride_, kernels_.nr, channels, panel.columns});
          to += depth * kernels_.nr;
        }
      }
    }
  }

  void set_columns(int64_t depth) {
    if (s_.pixels_are_rows) return columns_.set_packed(filters_, depth, kernels_.nr);
    columns_.set_packed(static_cast<int64_t>(panels_.size()) * kernels_.nr, depth, kernels_.nr);
    for (std::size_t i = 0; i < panels_.size(); ++i) columns_.panels[i].columns = panels_[i].columns;
  }

  const int64_t* accumulator_offsets() {
    accumulator_offsets_.clear();
    for (int64_t i = 0; i < s_.streams(); ++i) accumulator_offsets_.push_back(i * accumulator_stride(s_));
    return accumulator_offsets_.data();
  }

  void store(const float* outputs, int64_t rows, const int64_t* row_offset, int64_t base, int64_t step,
             const float* row_bias, const float* col_bias) {
    table_.store_block[static_cast<int>(result_.dtype)](
        {outputs, rows, element(result_.data, result_.dtype, base), row_offset, pieces_.data(),
         static_cast<int64_t>(pieces_.size()), step, row_bias, col_bias, epilogue_.activation});
  }

  // Filters are rows; the m outputs of a tile's row lie side by side, panel after panel.
  void store_columns() {
    const int64_t nr = kernels_.nr, m = s_.m, row_of_outputs = m * accumulator_stride(s_);
    const int64_t* offsets = accumulator_offsets();
    for (std::size_t i = 0; i < panels_.size(); ++i) {
      const int64_t at = static_cast<int64_t>(i) * filters_ * nr;
      maps_.output_panel({scratch_.accumulators + at, offsets, nr, scratch_.outputs + m * at, row_of_outputs,
                          filters_ * nr, filters_, nr});
    }
    for (int64_t i = 0; i < filters_; ++i)
      scratch_.row_offsets[i] = (first_channel_ + i) * result_.channel_stride;
    const int64_t step = result_.stride[2];
    for (int64_t i = 0; i < m; ++i) {
      pieces_.clear();
      std::size_t panel = 0;
      for (const TileRow& t : tile_rows_) {
        if (t.output[0] + i >= outputs_[0]) continue;
        const int64_t count = std::min(m * t.count, outputs_[1] - t.output[1]);
        const int64_t to = t.result + i * result_.stride[1];
        for (int64_t done = 0; done < count;) {
          const int64_t position = t.start + done / m;
          while (position >= panels_[panel].start + panels_[panel].columns) ++panel;
          const int64_t lane = (position - panels_[panel].start) * m + done % m;
          const int64_t taken = std::min({panels_[panel].columns * m - lane, nr - lane % nr, count - done});
          const int64_t from = (static_cast<int64_t>(panel) * m + lane / nr) * filters_ * nr + lane % nr;
          pieces_.push_back({from, to + done * step, 0, static_cast<int>(taken)});
          done += taken;
        }
      }
      store(scratch_.outputs + i * row_of_outputs, filters_, scratch_.row_offsets, 0, step,
            bias_ ? bias_ + first_channel_ : nullptr, nullptr);
    }
  }

  // Tiles are rows; each of their m x m outputs is a matrix of its own.
  void store_rows() {
    const int64_t nr = kernels_.nr, m = s_.m, stride = accumulator_stride(s_);
    maps_.output({scratch_.accumulators, accumulator_offsets(), 0, scratch_.outputs, stride, 0, 1,
                  ceil_div(filters_, nr) * nr * tiles_});
    pieces_.clear();
    for (int64_t n = 0; n < filters_; n += nr)
      pieces_.push_back({n * tiles_, (first_channel_ + n) * result_.channel_stride, n,
                         static_cast<int>(std::min(nr, filters_ - n))});
    for (const TileRow& t : tile_rows_) {
      for (int64_t i = 0; i < t.count; ++i) scratch_.row_offsets[i] = i * m * result_.stride[2];
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < m; ++j) {
          const int64_t tiles = std::min(t.count, ceil_div(outputs_[1] - t.output[1] - j, m));
          if (t.output[0] + i >= outputs_[0] || tiles <= 0) continue;
          store(scratch_.outputs + (i * m + j) * stride + t.row * nr, tiles, scratch_.row_offsets,
                t.result + i * result_.stride[1] + j * result_.stride[2], result_.channel_stride, nullptr,
                bias_ ? bias_ + first_channel_ : nullptr);
        }
    }
  }

  const KernelTable& table_;
  const GemmKernels& kernels_;
  const WinogradKernels& maps_;
  const WinogradShape& s_;
  const PlaneLayout& planes_;
  const ImageView& result_;
  const int64_t outputs_[2];
  const MappedFilters& mapped_filters_;
  const Epilogue& epilogue_;
  const float* bias_;
  const Scratch scratch_;
  const int64_t mapped_stride_, lanes_;
  int64_t first_channel_ = 0, filters_ = 0, tiles_ = 0;
  std::vector<PixelSegment> segments_;
  std::vector<TileRow> tile_rows_;
  std::vector<ColumnPanel> panels_;
  std::vector<int64_t> offsets_, accumulator_offsets_;
  std::vector<StorePiece> pieces_;
  Columns columns_;
};

WinogradShape shape_of(const Machine& machine, int m, const PixelGather& g, const FilterView& filters,
                       bool by_channel, int64_t groups) {
  const GemmKernels& k = kernels_of<float>(*machine.table);
  WinogradShape s;
  s.m = m;
  s.pixels_are_rows = channels_adjacent(g.result);
  tile_gather(g, m, &s.tiles);
  s.channels = g.source.channels / groups;
  s.lines = by_channel ? filters.channels : filters.filters / groups;
  s.blocking = block_winograd(k, sizeof(float), s.tiles.gather, s.streams(), s.lines, s.channels, s.pieces(),
                              groups, s.pixels_are_rows, machine.caches, machine.threads);
  GemmBlocking& b = s.blocking.gemm;
  set_chain(k, winograd_chain(m, b.depth), s.pixels_are_rows ? b.rows : s.lines, &b);
  return s;
}

class WinogradProduct : public Product {
 public:
  WinogradProduct(const Machine& machine, int m, PixelGather g, const FilterView& filters, bool by_channel,
                  int64_t groups)
      : machine_(machine),
        kernels_(kernels_of<float>(*machine.table)),
        by_channel_(by_channel),
        groups_(groups),
        gather_(std::move(g)),
        shape_(shape_of(machine, m, gather_, filters, by_channel, groups)) {
    Carver measure;
    carve_scratch(&measure, shape_, kernels_);
    scratch_ = measure.used();
    form_ = plan_form(machine, form_layout(filters), mapped_bytes(),
                      static_cast<double>(shape_.tiles.gather.pixels() * shape_.streams() * shape_.pieces()) /
                          static_cast<double>(filters.taps));
  }

  void bind(void* source, void* result) override {
    gather_.bind(source, result);
    shape_.tiles.gather.bind(source, result);
  }

  void run(const FilterView& filters, const Epilogue& epilogue) override {
    const auto map = [&](void* to) {
      if (!filters_in_range(machine_, filters)) return false;
      map_filters(machine_, shape_, filters, by_channel_, groups_, mapped_at(to));
      return true;
    };
    const FilterForm mapped = form_of(machine_, form_, filters, map);
    if (!mapped) return multiply_pixels(gather_, filters, epilogue);
    const std::vector<int64_t> others = images_out_of_range(machine_, gather_.source);
    if (static_cast<int64_t>(others.size()) < gather_.source.batch)
      multiply_tiles(mapped_at(mapped->data()), epilogue);
    for (const int64_t n : others) {
      PixelGather one = gather_;
      one.source.batch = one.result.batch = 1;
      one.source.data = element(gather_.source.data, gather_.source.dtype, n * gather_.source.batch_stride);
      one.result.data = element(gather_.result.data, gather_.result.dtype, n * gather_.result.batch_stride);
      multiply_pixels(one, filters, epilogue);
    }
  }

  int64_t workspace_bytes() const override { return mapped_bytes() + scratch_ * machine_.threads; }
  std::vector<Figure> figures() const override {
    std::vector<Figure> figures = figures_of(shape_.blocking.gemm);
    figures.push_back({"tile_outputs", shape_.m});
    return figures;
  }

 private:
  void multiply_pixels(const PixelGather& g, const FilterView& filters, const Epilogue& epilogue) const {
    pixel_product(machine_, {g}, filters, by_channel_, groups_)->run(filters, epilogue);
  }

  void multiply_tiles(const MappedFilters& mapped, const Epilogue& epilogue) const {
    const WinogradShape& s = shape_;
    const Buffer workspace(scratch_ * machine_.threads);
    const WideBias<float> bias(*machine_.table, epilogue, gather_.result.dtype, groups_ * s.lines);
    const int64_t filter_block = s.pixels_are_rows ? s.blocking.gemm.cols : s.blocking.gemm.rows;
    const int64_t filter_blocks = ceil_div(s.lines, filter_block), blocks = s.blocking.planes.blocks;
    const double tiles = static_cast<double>(s.tiles.gather.pixels() * s.streams()),
                 depth = static_cast<double>(s.channels * s.pieces());
    parallel_for(groups_ * blocks * filter_blocks,
                 2 * kNsPerFlop * tiles * depth * static_cast<double>(groups_ * s.lines), machine_.threads,
                 [&](int64_t task, int worker) {
                   Carver carver(workspace.as<char>() + worker * scratch_);
                   const int64_t first = task % filter_blocks * filter_block;
                   TileTask(machine_, s, gather_, mapped, epilogue, bias.data,
                            carve_scratch(&carver, s, kernels_))
                       .run(task / (filter_blocks * blocks), task / filter_blocks % blocks, first,
                            std::min(filter_block, s.lines - first));
                 });
  }

  MappedFilters mapped_at(void* data) const {
    return lay_out_filters(shape_, kernels_, static_cast<float*>(data));
  }

  // All that map_filters looks at.
  FormLayout form_layout(const FilterView& filters) const {
    const WinogradShape& s = shape_;
    std::vector<int64_t> numbers{s.m,     s.pixels_are_rows,   s.channels,
                                 s.lines, s.blocking.channels, s.blocking.gemm.depth};
    for (const WinogradPiece& piece : s.tiles.pieces)
      numbers.insert(numbers.end(), std::begin(piece.tap), std::end(piece.tap));
    return {filters, by_channel_, groups_, std::move(numbers)};
  }

  int64_t mapped_bytes() const {
    const MappedFilters mapped = mapped_at(nullptr);
    return groups_ * mapped.chunks * mapped.chunk * static_cast<int64_t>(sizeof(float));
  }

  const Machine machine_;
  const GemmKernels& kernels_;
  const bool by_channel_;
  const int64_t groups_;
  PixelGather gather_;
  WinogradShape shape_;
  int64_t scratch_ = 0;
  FormPlan form_;
};

}  // namespace

std::unique_ptr<Product> winograd_product(const Machine& machine, int m, PixelGather g,
                                          const FilterView& filters, bool by_channel, int64_t groups) {
  return std::make_unique<WinogradProduct>(machine, m, std::move(g), filters, by_channel, groups);
}

}  // namespace fastconv::cpu
