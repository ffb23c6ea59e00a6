#include "python/dlpack.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/backend.h"

namespace fastconv::python {
namespace {

namespace py = pybind11;

// The structures of the specification's C API.
struct DLTensor {
  void* data;
  std::int32_t device_type, device_id;
  std::int32_t ndim;
  std::uint8_t code, bits;
  std::uint16_t lanes;
  std::int64_t *shape, *strides;  // in elements; strides may be null, for C order
  std::uint64_t byte_offset;
};

struct DLManagedTensor {
  static constexpr const char *kName = "dltensor", *kUsedName = "used_dltensor";
  DLTensor tensor;
  void* manager;
  void (*deleter)(DLManagedTensor*);
  bool readable() const { return true; }
  bool read_only() const { return true; }
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
  bool read_only() const { return flags & 1; }
};

[[noreturn]] void unreadable(const std::string& where, const std::string& why) {
  throw py::type_error(where + " can't be read as a NumPy array: " + why);
}

void require_cpu(const std::string& where, const py::object& kind) {
  constexpr int kCpu = 1, kCuda = 2;
  if (kind.equal(py::int_(kCuda))) cuda::require(where.c_str());
  if (!kind.equal(py::int_(kCpu))) {
    throw py::value_error(where + " lies on a DLPack device of kind " + std::string(py::str(kind)) +
                          ", expected the CPU");
  }
}

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

py::dtype element_dtype(const DLTensor& t, const std::string& where) {
  enum Code { kInt = 0, kUnsigned = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6 };
  const std::string bytes = std::to_string(t.bits / 8);
  if (t.lanes == 1 && t.bits % 8 == 0) {
    if (t.code == kBfloat && t.bits == 16) return bfloat16_dtype(where);
    if ((t.code == kInt || t.code == kUnsigned) && t.bits <= 64)
      return py::dtype((t.code == kInt ? "i" : "u") + bytes);
    if (t.code == kFloat && t.bits >= 16 && t.bits <= 64) return py::dtype("f" + bytes);
    if (t.code == kComplex && t.bits >= 64 && t.bits <= 128) return py::dtype("c" + bytes);
    if (t.code == kBool && t.bits == 8) return py::dtype("bool");
  }
  unreadable(where, "its elements have the DLPack type of code " + std::to_string(t.code) + ", " +
                        std::to_string(t.bits) + " bits and " + std::to_string(t.lanes) +
                        " lanes, expected float32, float64, float16 or bfloat16");
}

py::array view_of(const DLTensor& t, const py::capsule& owner, const std::string& where) {
  require_cpu(where, py::int_(t.device_type));
  const py::dtype dtype = element_dtype(t, where);
  std::vector<py::ssize_t> shape(t.shape, t.shape + t.ndim), strides(shape.size());
  py::ssize_t step = dtype.itemsize();
  bool empty = false;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = t.strides ? t.strides[i] * dtype.itemsize() : step;
    step *= shape[i];
    empty = empty || shape[i] == 0;
  }
  if (empty) return py::array(dtype, shape);
  if (!t.data) unreadable(where, "it has elements, but no memory");
  return py::array(dtype, shape, strides, static_cast<const char*>(t.data) + t.byte_offset, owner);
}

template <class Managed>
py::array take_over(const py::object& capsule, const std::string& where) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), Managed::kName));
  const py::capsule owner(managed, [](void* p) {
    auto* m = static_cast<Managed*>(p);
    if (m->deleter) m->deleter(m);
  });
  PyCapsule_SetName(capsule.ptr(), Managed::kUsedName);
  if (!managed->readable()) unreadable(where, "its DLPack version is not 1");
  py::array array = view_of(managed->tensor, owner, where);
  if (managed->read_only()) array.attr("setflags")(py::arg("write") = false);
  return array;
}

// Producers older than version 1 know no keywords.
py::object ask(const py::object& producer) {
  const py::object method = producer.attr("__dlpack__");
  try {
    return method(py::arg("max_version") = py::make_tuple(1, 0));
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_TypeError)) throw;
  }
  return method();
}

}  // namespace

py::array from_dlpack(const py::object& producer, const std::string& where) {
  try {
    if (py::hasattr(producer, "__dlpack_device__"))
      require_cpu(where, py::tuple(producer.attr("__dlpack_device__")())[0]);
    const py::object capsule = ask(producer);
    if (PyCapsule_IsValid(capsule.ptr(), DLManagedTensorVersioned::kName))
      return take_over<DLManagedTensorVersioned>(capsule, where);
    if (PyCapsule_IsValid(capsule.ptr(), DLManagedTensor::kName))
      return take_over<DLManagedTensor>(capsule, where);
    unreadable(where,
               "its __dlpack__ gave " + std::string(py::repr(capsule)) + ", expected a fresh DLPack capsule");
  } catch (py::error_already_set& e) {  // whatever the producer raised, if not that the program is to end
    if (!e.matches(PyExc_Exception) || e.matches(PyExc_MemoryError)) throw;
    const std::string words = py::str(e.value());
    const std::string type = py::str(e.type().attr("__name__"));
    const std::string text = where + " can't be read as a NumPy array: " + (words.empty() ? type : words);
    py::raise_from(e, PyExc_TypeError, text.c_str());
    throw py::error_already_set();
  }
}

}  // namespace fastconv::python
