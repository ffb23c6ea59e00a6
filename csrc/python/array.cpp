#include "python/array.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "core/backend.h"
#include "core/checked.h"
#include "python/dlpack.h"

namespace fastconv::python {
namespace {

// Smaller results are better off with NumPy's own allocator.
constexpr std::int64_t kPoolWorthBytes = 64 << 10;

[[noreturn]] void type_error(const std::string& text) { throw py::type_error(text); }
[[noreturn]] void value_error(const std::string& text) { throw py::value_error(text); }

std::string type_name(const py::handle& h) { return py::str(py::type::handle_of(h).attr("__name__")); }

bool read_dtype(const py::dtype& d, Dtype* out) {
  switch (d.num()) {
    case py::detail::npy_api::NPY_FLOAT_:
      *out = Dtype::float32;
      return true;
    case py::detail::npy_api::NPY_DOUBLE_:
      *out = Dtype::float64;
      return true;
    case 23:
      *out = Dtype::float16;
      return true;  // NPY_HALF
    default:
      break;
  }
  if (d.itemsize() == 2 && std::string(py::str(d.attr("name"))) == "bfloat16") {
    *out = Dtype::bfloat16;
    return true;
  }
  return false;
}

void clear_type_error() {
  if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
  PyErr_Clear();
}

bool is_masked(const py::array& a) {
  if (Py_TYPE(a.ptr()) == py::detail::npy_api::get().PyArray_Type_) return false;
  return py::isinstance(a, py::module_::import("numpy.ma").attr("MaskedArray"));
}

// Where strides nest, as those of all slices and transpositions do, no two elements share memory.
bool may_overlap_itself(const py::array& a) {
  std::vector<std::pair<py::ssize_t, py::ssize_t>> axes;  // distance between elements, their number
  for (int i = 0; i < a.ndim(); ++i) {
    if (a.shape(i) == 0) return false;
    if (a.shape(i) > 1) axes.emplace_back(std::abs(a.strides(i)), a.shape(i));
  }
  std::sort(axes.begin(), axes.end());
  py::ssize_t extent = a.itemsize();
  for (const auto& [distance, count] : axes) {
    if (distance < extent) return true;
    extent += (count - 1) * distance;
  }
  return false;
}

bool whole_element_strides(const py::array& a) {
  const auto odd = static_cast<std::uintptr_t>(a.itemsize() - 1);  // items are of 2, 4 or 8 bytes
  if (reinterpret_cast<std::uintptr_t>(a.data()) & odd) return false;
  for (int i = 0; i < a.ndim(); ++i)
    if (static_cast<std::uintptr_t>(a.strides(i)) & odd) return false;
  return true;
}

// The same values, C-contiguous, aligned and in native byte order.
py::array copied(const py::array& a, const char* function, const char* name) {
  const auto native = a.dtype().attr("newbyteorder")("=");
  try {
    return py::cast<py::array>(py::module_::import("numpy").attr("array")(a, native, py::arg("order") = "C"));
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_MemoryError)) throw;
    throw OutOfMemory(std::string(function) + ": could not get " + std::to_string(a.nbytes()) +
                      " bytes for a copy of " + name + " of shape " +
                      shape_text(Shape(a.shape(), a.shape() + a.ndim())));
  }
}

}  // namespace

py::array as_numpy(const py::object& object, const char* function, const char* name) {
  if (py::isinstance<py::array>(object)) {
    auto array = py::reinterpret_borrow<py::array>(object);
    if (is_masked(array)) {
      type_error(std::string(function) + ": " + name + " is a masked array, whose mask would be lost; " +
                 name + ".filled(0) would fit");
    }
    return array;
  }
  const std::string where = std::string(function) + ": " + name;
  if (py::hasattr(object, "__cuda_array_interface__")) cuda::require(where.c_str());
  if (py::hasattr(object, "__dlpack__")) return from_dlpack(object, where);
  type_error(where + " must be a NumPy array or an object with __dlpack__, got " + type_name(object));
}

Array::Array(const py::object& object, const char* function, const char* name)
    : array_(as_numpy(object, function, name)), function_(function), name_(name) {
  py::dtype d = array_.dtype();
  if (!read_dtype(d, &dtype_)) {
    const char kind = d.kind();
    const std::string where = std::string(function) + ": " + name + " has dtype " + std::string(py::str(d));
    if (kind == 'c') type_error(where + ", but complex numbers are not supported; its .real and .imag are");
    const bool converts = kind == 'i' || kind == 'u' || kind == 'b' || kind == 'f';
    type_error(where + ", expected float32, float64, float16 or bfloat16" +
               (converts ? std::string("; ") + name + ".astype(np.float32) would fit" : ""));
  }
  const char order = d.byteorder();
  if ((order != '=' && order != '|') || !whole_element_strides(array_))
    array_ = copied(array_, function, name);
}

Array Array::contiguous() const {
  Array r = *this;
  if (!c_contiguous()) r.array_ = copied(array_, function_, name_);
  return r;
}

py::array new_array(const std::string& function, const Shape& shape, const py::dtype& dtype) {
  const auto what = [&] { return "the result of shape " + shape_text(shape); };
  std::int64_t bytes = dtype.itemsize();
  for (const auto n : shape)
    if (!multiply_size(&bytes, n)) SizeOf{function, what().c_str()}.too_large();
  if (bytes < kPoolWorthBytes) return py::array(dtype, shape);
  std::unique_ptr<Buffer> buffer;
  try {
    buffer = std::make_unique<Buffer>(bytes);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(function + ": could not get " + std::to_string(bytes) + " bytes for " + what());
  }
  void* data = buffer->data();
  py::capsule owner(buffer.release(), [](void* p) { delete static_cast<Buffer*>(p); });
  return py::array(dtype, shape, data, owner);
}

py::array read_out(const py::object& out, const Shape& shape, Dtype type, const char* function) {
  const std::string where = std::string(function) + ": out";
  if (!py::isinstance<py::array>(out)) type_error(where + " must be a NumPy array, got " + type_name(out));
  auto given = as_numpy(out, function, "out");
  Dtype given_type;
  if (!read_dtype(given.dtype(), &given_type) || given_type != type) {
    type_error(where + " has dtype " + std::string(py::str(given.dtype())) + ", expected " + name_of(type));
  }
  const Shape given_shape(given.shape(), given.shape() + given.ndim());
  if (given_shape != shape) {
    value_error(where + " has shape " + shape_text(given_shape) + ", expected " + shape_text(shape));
  }
  if (!given.writeable()) value_error(where + " is read-only");
  if (may_overlap_itself(given)) {
    const Shape strides(given.strides(), given.strides() + given.ndim());
    value_error(where + " has strides of " + shape_text(strides) +
                " bytes, with which its elements share memory; expected an array that has a place for each");
  }
  return given;
}

Result::Result(const py::object& out, const Shape& shape, const py::dtype& dtype, Dtype type,
               const char* function, std::initializer_list<const Array*> inputs)
    : out_(py::none()), dtype_(type) {
  if (out.is_none()) {
    target_ = new_array(function, shape, dtype);
    return;
  }
  const py::array given = read_out(out, shape, type, function);
  out_ = out;
  const char order = given.dtype().byteorder();
  const bool direct =
      (given.flags() & py::array::c_style) && (order == '=' || order == '|') && whole_element_strides(given);
  bool shared = false;
  if (direct) {
    const auto may_share = py::module_::import("numpy").attr("may_share_memory");
    for (const Array* a : inputs) shared = shared || (a && py::cast<bool>(may_share(given, a->object())));
  }
  copy_back_ = !direct || shared;
  target_ = copy_back_ ? new_array(function, shape, dtype) : given;
}

py::object Result::finish() {
  if (out_.is_none()) return std::move(target_);
  if (copy_back_) out_[py::ellipsis()] = target_;
  return out_;
}

void require_same_dtype(const char* function, const Array& a, const Array& b) {
  if (a.dtype() == b.dtype()) return;
  type_error(std::string(function) + ": " + a.name() + " has dtype " + name_of(a.dtype()) + ", but " +
             b.name() + " has " + name_of(b.dtype()) + "; all arrays of one call share one dtype");
}

std::string shape_text(const Shape& shape) {
  std::string s = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + (shape.size() == 1 ? ",)" : ")");
}

bool read_channels_last(const std::string& function, const py::object& value) {
  if (py::isinstance<py::str>(value)) {
    const auto text = py::cast<std::string>(value);
    if (text == "channels_first") return false;
    if (text == "channels_last") return true;
  }
  value_error(function + ": data_format is " + std::string(py::repr(value)) +
              ", expected 'channels_first' or 'channels_last'");
}

bool read_flag(const std::string& function, const char* name, const py::object& value) {
  if (PyBool_Check(value.ptr())) return value.ptr() == Py_True;
  const std::string type = type_name(value);
  if (type == "bool" || type == "bool_") return py::cast<bool>(value.attr("__bool__")());  // NumPy's
  type_error(function + ": " + name + " must be a bool, got " + std::string(py::repr(value)));
}

bool is_sequence(const py::handle& value) {
  if (!py::isinstance<py::sequence>(value) || py::isinstance<py::str>(value)) return false;
  if (PySequence_Size(value.ptr()) >= 0) return true;
  clear_type_error();  // an array of no axis has no length
  return false;
}

std::int64_t read_int(const char* function, const char* name, const py::handle& value) {
  py::object index;
  if (PyIndex_Check(value.ptr()) && !PyBool_Check(value.ptr()))
    index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) {
    clear_type_error();  // all arrays have __index__, and most refuse
    type_error(std::string(function) + ": " + name + " must be made of integers, got " +
               std::string(py::repr(value)));
  }
  int overflow = 0;
  const long long v = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow || v > kLargestBytes || v < -kLargestBytes) {
    value_error(std::string(function) + ": " + name + " has the value " + std::string(py::str(index)) +
                ", which is too large");
  }
  return v;
}

std::int64_t read_size(const char* function, const char* name, const py::handle& value, std::int64_t least) {
  const std::int64_t v = read_int(function, name, value);
  if (v < least) {
    value_error(std::string(function) + ": " + name + " has the value " + std::to_string(v) +
                ", expected at least " + std::to_string(least));
  }
  return v;
}

void read_axes(const char* function, const char* name, const py::object& value, int rank, std::int64_t least,
               std::int64_t fill, std::int64_t (&axes)[kAxes]) {
  for (auto& a : axes) a = fill;
  if (!is_sequence(value)) {
    const std::int64_t v = read_size(function, name, value, least);
    for (int i = kAxes - rank; i < kAxes; ++i) axes[i] = v;
    return;
  }
  const auto sequence = py::reinterpret_borrow<py::sequence>(value);
  if (static_cast<int>(sequence.size()) != rank) {
    value_error(std::string(function) + ": " + name + " has " + std::to_string(sequence.size()) +
                " values, expected " + std::to_string(rank) + " (one for each spatial axis) or a single int");
  }
  for (int i = 0; i < rank; ++i)
    axes[kAxes - rank + i] = read_size(function, name, py::object(sequence[i]), least);
}

Shape read_shape(const char* function, const char* name, const py::object& value) {
  if (!is_sequence(value)) {
    type_error(std::string(function) + ": " + name + " must be a sequence of ints, got " +
               std::string(py::repr(value)));
  }
  Shape shape;
  for (const auto item : py::reinterpret_borrow<py::sequence>(value)) {
    shape.push_back(read_int(function, name, item));
    if (shape.back() < 0) {
      value_error(std::string(function) + ": " + name + " is " + std::string(py::repr(value)) +
                  ", expected no negative sizes");
    }
  }
  return shape;
}

ImageView image_view(const Array& a, const char* function, int rank, bool channels_last, bool* batched) {
  if (a.ndim() != rank + 2 && a.ndim() != rank + 1) {
    static const char* const first[] = {"(N, C, L)", "(N, C, H, W)", "(N, C, D, H, W)"};
    static const char* const last[] = {"(N, L, C)", "(N, H, W, C)", "(N, D, H, W, C)"};
    value_error(std::string(function) + ": " + a.name() + " has shape " + shape_text(a.shape()) +
                ", expected " + (channels_last ? last : first)[rank - 1] + ", with or without N");
  }
  *batched = a.ndim() == rank + 2;
  const int offset = *batched ? 1 : 0;
  ImageView v;
  v.data = a.data();
  v.dtype = a.dtype();
  v.batch = *batched ? a.size(0) : 1;
  v.batch_stride = *batched ? a.stride(0) : 0;
  const int channel_axis = channels_last ? a.ndim() - 1 : offset;
  v.channels = a.size(channel_axis);
  v.channel_stride = a.stride(channel_axis);
  for (int i = 0; i < rank; ++i) {
    const int axis = offset + i + (channels_last ? 0 : 1);
    v.size[kAxes - rank + i] = a.size(axis);
    v.stride[kAxes - rank + i] = a.stride(axis);
  }
  return v;
}

ImageView contiguous_image(void* data, Dtype dtype, std::int64_t batch, std::int64_t channels,
                           const std::int64_t (&size)[kAxes], bool channels_last) {
  ImageView v;
  v.data = data;
  v.dtype = dtype;
  v.batch = batch;
  v.channels = channels;
  std::int64_t stride = channels_last ? channels : 1;
  for (int i = kAxes - 1; i >= 0; --i) {
    v.size[i] = size[i];
    v.stride[i] = stride;
    stride *= size[i];
  }
  v.channel_stride = channels_last ? 1 : stride;
  v.batch_stride = channels_last ? stride : stride * channels;
  return v;
}

Shape image_shape(std::int64_t batch, std::int64_t channels, const std::int64_t (&size)[kAxes], int rank,
                  bool channels_last, bool batched) {
  Shape s;
  s.reserve(kAxes + 2);
  if (batched) s.push_back(batch);
  if (!channels_last) s.push_back(channels);
  s.insert(s.end(), size + kAxes - rank, size + kAxes);
  if (channels_last) s.push_back(channels);
  return s;
}

}  // namespace fastconv::python
