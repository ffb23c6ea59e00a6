#include "python/dlpack.h"

#include <vector>

#include "python/producer.h"

namespace fastconv::python {
namespace {

namespace py = pybind11;

struct DLManagedTensor {
  static constexpr const char *kName = "dltensor", *kUsedName = "used_dltensor";
  DLTensor tensor;
  void* manager;
  void (*deleter)(DLManagedTensor*);
  bool readable() const { return true; }
  auto access() const { return DlpackMemory::unknown; }
};

struct DLManagedTensorVersioned {
  static constexpr const char *kName = "dltensor_versioned", *kUsedName = "used_dltensor_versioned";
  std::uint32_t major, minor;
  void* manager;
  void (*deleter)(DLManagedTensorVersioned*);
  std::uint64_t flags;
  DLTensor tensor;
  // Another major version may lay out what follows its flags differently.
  bool readable() const { return major == 1; }
  auto access() const { return flags & 1 ? DlpackMemory::read_only : DlpackMemory::writable; }
};

py::dtype bfloat16_dtype(const std::string& where) {
  try {
    return py::dtype::from_args(py::module_::import("ml_dtypes").attr("bfloat16"));
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_ImportError)) throw;
    unreadable(where,
               "it holds bfloat16, which NumPy knows only with the package ml_dtypes; install it: "
               "pip install ml_dtypes");
  }
}

template <class Managed>
DlpackMemory take_over(const py::object& capsule, const std::string& where) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), Managed::kName));
  const py::capsule owner(managed, [](void* p) {
    auto* m = static_cast<Managed*>(p);
    if (m->deleter) m->deleter(m);
  });
  PyCapsule_SetName(capsule.ptr(), Managed::kUsedName);
  if (!managed->readable()) unreadable(where, "its DLPack version is not 1");
  return {&managed->tensor, owner, managed->access()};
}

// Producers older than version 1 do not know max_version.
py::object ask_for_capsule(const py::object& producer, const py::dict& keywords) {
  const py::object method = producer.attr("__dlpack__");
  try {
    return method(py::arg("max_version") = py::make_tuple(1, 0), **keywords);
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_TypeError)) throw;
  }
  return method(**keywords);
}

}  // namespace

DlpackDevice dlpack_device(const py::object& producer, const std::string& where) {
  return ask_producer(where, [&] {
    const py::tuple device(producer.attr("__dlpack_device__")());
    return DlpackDevice{py::cast<int>(device[0]), py::cast<int>(device[1])};
  });
}

DlpackMemory take_dlpack(const py::object& producer, const std::string& where, const py::dict& keywords) {
  return ask_producer(where, [&] {
    const py::object capsule = ask_for_capsule(producer, keywords);
    if (PyCapsule_IsValid(capsule.ptr(), DLManagedTensorVersioned::kName))
      return take_over<DLManagedTensorVersioned>(capsule, where);
    if (PyCapsule_IsValid(capsule.ptr(), DLManagedTensor::kName))
      return take_over<DLManagedTensor>(capsule, where);
    unreadable(where,
               "its __dlpack__ gave " + std::string(py::repr(capsule)) + ", expected a fresh DLPack capsule");
  });
}

std::string dlpack_dtype(const DLTensor& t, const std::string& where) {
  enum Code { kInt = 0, kUnsigned = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6 };
  const std::string bits = std::to_string(t.bits);
  if (t.lanes == 1 && t.bits >= 8 && (t.bits & (t.bits - 1)) == 0) {
    if (t.code == kBfloat && t.bits == 16) return "bfloat16";
    if ((t.code == kInt || t.code == kUnsigned) && t.bits <= 64)
      return (t.code == kInt ? "int" : "uint") + bits;
    if (t.code == kFloat && t.bits >= 16 && t.bits <= 64) return "float" + bits;
    if (t.code == kComplex && t.bits >= 64 && t.bits <= 128) return "complex" + bits;
    if (t.code == kBool && t.bits == 8) return "bool";
  }
  unreadable(where, "its elements have the DLPack type of code " + std::to_string(t.code) + ", " + bits +
                        " bits and " + std::to_string(t.lanes) +
                        " lanes, expected float32, float64, float16 or bfloat16");
}

py::array from_dlpack(const py::object& producer, const std::string& where) {
  const DlpackMemory memory = take_dlpack(producer, where, py::dict());
  const DLTensor& t = *memory.tensor;
  if (t.device_type != kDlpackCpu) {
    throw py::value_error(where + " lies on a DLPack device of kind " + std::to_string(t.device_type) +
                          ", expected the CPU");
  }
  const std::string name = dlpack_dtype(t, where);
  const py::dtype dtype = name == "bfloat16" ? bfloat16_dtype(where) : py::dtype(name);
  std::vector<py::ssize_t> shape(t.shape, t.shape + t.ndim), strides(shape.size());
  py::ssize_t step = dtype.itemsize();
  bool empty = false;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = t.strides ? t.strides[i] * dtype.itemsize() : step;
    step *= shape[i];
    empty = empty || shape[i] == 0;
  }
  if (!empty && !t.data) unreadable(where, "it has elements, but no memory");
  py::array array = empty ? py::array(dtype, shape)
                          : py::array(dtype, shape, strides, static_cast<const char*>(t.data) + t.byte_offset,
                                      memory.owner);
  if (memory.access != DlpackMemory::writable) array.attr("setflags")(py::arg("write") = false);
  return array;
}

}  // namespace fastconv::python
