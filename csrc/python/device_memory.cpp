#include "python/device_memory.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "python/dlpack.h"
#include "python/producer.h"

namespace fastconv::python {
namespace {

constexpr const char* kInterface = "__cuda_array_interface__";

StridedArray strided_array(std::size_t axes, const std::string& where) {
  if (axes > kMostAxes) {
    throw py::value_error(where + " has " + std::to_string(axes) + " axes, expected at most " +
                          std::to_string(kMostAxes));
  }
  StridedArray array{};
  array.ndim = static_cast<int>(axes);
  return array;
}

DeviceMemory from_dlpack_on_device(const py::object& object, const Place& place, const std::string& where) {
  py::dict keywords;
  keywords["stream"] = place.stream() ? place.stream() : 1;  // DLPack's name of the default stream
  const DlpackMemory memory = take_dlpack(object, where, keywords);
  const DLTensor& t = *memory.tensor;
  DeviceMemory r{strided_array(static_cast<std::size_t>(t.ndim), where), dlpack_dtype(t, where),
                 memory.access == DlpackMemory::read_only, memory.owner};
  r.array.data = t.data ? static_cast<char*>(t.data) + t.byte_offset : nullptr;
  r.array.itemsize = t.bits / 8;
  std::copy(t.shape, t.shape + t.ndim, r.array.shape);
  if (t.strides) {
    std::copy(t.strides, t.strides + t.ndim, r.array.stride);
  } else {
    set_c_order(&r.array);
  }
  return r;
}

DeviceMemory from_interface(const py::object& object, const Place& place, const std::string& where) {
  const auto given = py::cast<py::dict>(object.attr(kInterface));
  const auto get = [&](const char* key) -> py::object {
    return given.contains(key) ? py::object(given[key]) : py::none();
  };
  const py::object version = get("version"), strides = get("strides"), stream = get("stream");
  if (!version.equal(py::int_(2)) && !version.equal(py::int_(3))) {
    unreadable(where, "the version of its " + std::string(kInterface) + " is " +
                          std::string(py::repr(version)) + ", expected 2 or 3");
  }
  if (!get("mask").is_none()) unreadable(where, "it has a mask, which would be lost");
  const auto dtype = py::dtype::from_args(get("typestr"));
  if (!py::cast<bool>(dtype.attr("isnative"))) unreadable(where, "its byte order is not the device's");

  const auto shape = py::cast<Shape>(get("shape"));
  const auto data = py::cast<std::pair<std::uintptr_t, bool>>(get("data"));
  DeviceMemory r{strided_array(shape.size(), where), py::str(dtype.attr("name")), data.second, object};
  r.array.data = reinterpret_cast<void*>(data.first);
  r.array.itemsize = static_cast<int>(dtype.itemsize());
  std::copy(shape.begin(), shape.end(), r.array.shape);
  set_c_order(&r.array);
  if (!strides.is_none()) {
    const auto bytes = py::cast<Shape>(strides);
    if (bytes.size() != shape.size()) unreadable(where, "it has not one stride for each axis");
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] % dtype.itemsize() != 0) unreadable(where, "its strides are no whole numbers of elements");
      r.array.stride[i] = bytes[i] / dtype.itemsize();
    }
  }
  if (!stream.is_none()) place.wait_for(py::cast<std::uintptr_t>(stream), where);
  return r;
}

bool speaks_dlpack(const py::object& object) {
  return py::hasattr(object, "__dlpack__") && py::hasattr(object, "__dlpack_device__");
}

}  // namespace

int device_of(const py::object& object, const std::string& where) {
  if (!speaks_dlpack(object)) return py::hasattr(object, kInterface) ? kSomeDevice : kHost;
  const DlpackDevice device = dlpack_device(object, where);
  if (device.kind == kDlpackCpu) return kHost;
  if (device.kind == kDlpackCuda || device.kind == kDlpackCudaManaged) return device.number;
  throw py::value_error(where + " lies on a DLPack device of kind " + std::to_string(device.kind) +
                        ", expected the CPU or a CUDA device");
}

py::object library_of(const py::object& object, const std::string& where) {
  return py::module_::import("fastconv._device_arrays").attr("library_of")(object, where);
}

DeviceMemory device_memory(const py::object& object, const Place& place, const std::string& where) {
  if (speaks_dlpack(object)) return from_dlpack_on_device(object, place, where);
  return ask_producer(where, [&] { return from_interface(object, place, where); });
}

}  // namespace fastconv::python
