// Threads, instruction sets, the memory pool, and the measured roofs.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>

#include "core/buffer_pool.h"
#include "cpu/backend.h"
#include "cpu/convolution.h"
#include "cpu/cpu_features.h"
#include "cpu/dispatch.h"
#include "cpu/filter_forms.h"
#include "cpu/parallel.h"
#include "python/array.h"
#include "python/backend_factory.h"

namespace fastconv::python {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double measure_fma_rate(const std::string& dtype, double seconds) {
  if (dtype != "float32" && dtype != "float64") {
    throw py::value_error("measure_fma_rate: dtype_name is '" + dtype + "', expected 'float32' or 'float64'");
  }
  const auto loop = cpu::active_table().fma_loop[dtype == "float64"];
  const py::gil_scoped_release release;
  double best = 0;
  for (const double end = seconds_now() + seconds; seconds_now() < end;) {
    const double start = seconds_now();
    const double flops = loop(100000);
    best = std::max(best, flops / (seconds_now() - start));
  }
  return best;
}

double measure_copy_rate(std::int64_t bytes, double seconds) {
  if (bytes < 4096)
    throw py::value_error("measure_copy_rate: bytes is " + std::to_string(bytes) +
                          ", expected at least 4096");
  const py::gil_scoped_release release;
  const Buffer from(bytes), to(bytes);
  std::memset(from.data(), 1, static_cast<std::size_t>(bytes));
  std::memset(to.data(), 1, static_cast<std::size_t>(bytes));
  const int threads = cpu::num_threads();
  const std::int64_t share = bytes / threads;
  double best = 0;
  for (const double end = seconds_now() + seconds; seconds_now() < end;) {
    const double start = seconds_now();
    cpu::parallel_for(threads, 1e9, threads, [&](std::int64_t task, int) {
      std::memcpy(to.as<char>() + task * share, from.as<char>() + task * share,
                  static_cast<std::size_t>(share));
    });
    best = std::max(best, 2.0 * static_cast<double>(share * threads) / (seconds_now() - start));
  }
  return best;
}

int read_thread_count(const std::string& function, const py::object& n) {
  const std::int64_t count = read_int(function.c_str(), "n", n);
  if (count < 1 || count > cpu::kMostThreads) {
    throw py::value_error(function + ": n is " + std::to_string(count) +
                          ", expected a number of threads from 1 to " + std::to_string(cpu::kMostThreads));
  }
  return static_cast<int>(count);
}

py::dict config() {
  const cpu::CpuFeatures& f = cpu::cpu_features();
  py::dict features, caches, d;
  features["avx2_fma_f16c"] = f.avx2_fma_f16c;
  features["avx512"] = f.avx512;
  features["neon"] = f.neon;
  caches["l1"] = f.l1_bytes;
  caches["l2"] = f.l2_bytes;
  caches["l3"] = f.l3_bytes;
  d["version"] = FASTCONV_VERSION;
  d["compiler"] = __VERSION__;
  d["cpu"] = f.model_name;
  d["features"] = features;
  d["caches"] = caches;
  d["isa"] = cpu::active_table().isa;
  d["isas"] = cpu::available_isas();
  d["threads"] = cpu::num_threads();
  return d;
}

py::dict cache_info() {
  const PoolStatistics s = pool_statistics();
  py::dict d;
  d["bytes_in_use"] = s.bytes_in_use;
  d["bytes_cached"] = s.bytes_cached;
  d["blocks_in_use"] = s.blocks_in_use;
  d["blocks_cached"] = s.blocks_cached;
  d["limit_bytes"] = s.limit_bytes;
  d["hits"] = s.hits;
  d["misses"] = s.misses;
  d["calls_kept"] = cpu::kept_calls();
  d["filter_bytes_kept"] = cpu::kept_form_bytes();
  return d;
}

}  // namespace

void bind_runtime(py::module_& m) {
  const std::int64_t memory = cpu::usable_memory();
  set_pool_limits(memory / 4, memory);
  cpu::limit_kept_forms(memory / 16);
  cpu::active_table();  // an unknown FASTCONV_ISA fails at import, not in the middle of a call
  m.def("set_num_threads",
        [](const py::object& n) { cpu::set_num_threads(read_thread_count("set_num_threads", n)); });
  m.def("hold_num_threads", [](const py::object& n) {
    cpu::hold_num_threads(n.is_none() ? std::nullopt : std::optional(read_thread_count("threads", n)));
  });
  m.def("get_num_threads", &cpu::num_threads);
  m.def("as_array", [](const std::string& function, const std::string& name, const py::object& value) {
    return Array(value, function.c_str(), name.c_str()).numpy();
  });
  m.def("isa", [] { return std::string(cpu::active_table().isa); });
  m.def("available_isas", [] { return py::tuple(py::cast(cpu::available_isas())); });
  m.def("set_isa", &cpu::set_isa);
  m.def("config", &config);
  m.def("use_cuda_module", &use_cuda_module);
  m.attr("cpu_backend") = py::capsule(&cpu::backend(), kCpuBackend);
  m.def("clear_cache", [] {
    cpu::forget_calls();
    cpu::forget_forms();
    clear_pool();
  });
  m.def("cache_info", &cache_info);
  m.def("measure_fma_rate", &measure_fma_rate);
  m.def("measure_copy_rate", &measure_copy_rate);
}

}  // namespace fastconv::python
