#include "python/array.h"

#include <algorithm>

#include "core/checked.h"
#include "python/device_memory.h"
#include "python/dlpack.h"

namespace fastconv::python {
namespace {

[[noreturn]] void type_error(const std::string& text) { throw py::type_error(text); }
[[noreturn]] void value_error(const std::string& text) { throw py::value_error(text); }

std::string type_name(const py::handle& h) { return py::str(py::type::handle_of(h).attr("__name__")); }

Element element_of(const py::dtype& d) {
  switch (d.num()) {
    case py::detail::npy_api::NPY_FLOAT_:
      return Element::float32;
    case py::detail::npy_api::NPY_DOUBLE_:
      return Element::float64;
    case 23:
      return Element::float16;  // NPY_HALF
    default:
      break;
  }
  if (d.kind() == 'i' && d.itemsize() == 8) return Element::int64;
  if (d.itemsize() == 2 && std::string(py::str(d.attr("name"))) == "bfloat16") return Element::bfloat16;
  return Element::other;
}

Element element_of(const std::string& name) {
  for (int i = 0; i < kDtypeCount; ++i)
    if (name == name_of(static_cast<Dtype>(i))) return static_cast<Element>(i);
  return name == "int64" ? Element::int64 : Element::other;
}

void clear_type_error() {
  if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
  PyErr_Clear();
}

bool is_masked(const py::array& a) {
  if (Py_TYPE(a.ptr()) == py::detail::npy_api::get().PyArray_Type_) return false;
  return py::isinstance(a, py::module_::import("numpy.ma").attr("MaskedArray"));
}

bool native_order(const py::array& a) {
  const char order = a.dtype().byteorder();
  return order == '=' || order == '|';
}

bool whole_element_strides(const py::array& a) {
  const auto odd = static_cast<std::uintptr_t>(a.itemsize() - 1);  // items are of 2, 4 or 8 bytes
  if (reinterpret_cast<std::uintptr_t>(a.data()) & odd) return false;
  for (int i = 0; i < a.ndim(); ++i)
    if (static_cast<std::uintptr_t>(a.strides(i)) & odd) return false;
  return true;
}

OutOfMemory no_memory_for_copy(const Memory& m, std::int64_t bytes) {
  return OutOfMemory(std::string(m.function()) + ": could not get " + std::to_string(bytes) +
                     " bytes for a copy of " + m.name() + " of shape " + shape_text(m.shape()));
}

// What lies on the host, as a NumPy array.
py::array host_array(const py::object& object, const char* function, const char* name) {
  if (py::isinstance<py::array>(object)) {
    auto array = py::reinterpret_borrow<py::array>(object);
    if (is_masked(array)) {
      type_error(std::string(function) + ": " + name + " is a masked array, whose mask would be lost; " +
                 name + ".filled(0) would fit");
    }
    return array;
  }
  const std::string where = std::string(function) + ": " + name;
  if (py::hasattr(object, "__dlpack__")) return from_dlpack(object, where);
  type_error(where + " must be a NumPy array or an object with __dlpack__, got " + type_name(object));
}

}  // namespace

py::array as_numpy(const py::object& object, const char* function, const char* name) {
  Place::host().require(object, function, name);
  return host_array(object, function, name);
}

Memory::Memory(const py::object& object, const Place& place, const char* function, const char* name)
    : place_(&place), function_(function), name_(name) {
  place.require(object, function, name);
  if (place.on_host()) {
    owner_ = host_array(object, function, name);
    element_ = element_of(numpy().dtype());
    read_numpy();
    return;
  }
  DeviceMemory memory = device_memory(object, place, where());
  view_ = memory.array;
  regular_ = reinterpret_cast<std::uintptr_t>(view_.data) % static_cast<std::uintptr_t>(view_.itemsize) == 0;
  element_ = element_of(memory.dtype);
  writable_ = !memory.read_only;
  owner_ = std::move(memory.owner);
  dtype_name_ = std::move(memory.dtype);
}

void Memory::read_numpy() {
  const py::array& a = numpy();
  if (a.ndim() > kMostAxes) {
    value_error(where() + " has " + std::to_string(a.ndim()) + " axes, expected at most " +
                std::to_string(kMostAxes));
  }
  view_.data = const_cast<void*>(a.data());
  view_.itemsize = static_cast<int>(a.itemsize());
  view_.ndim = static_cast<int>(a.ndim());
  std::copy(a.shape(), a.shape() + a.ndim(), view_.shape);
  regular_ = native_order(a) && whole_element_strides(a);
  for (int i = 0; regular_ && i < view_.ndim; ++i) view_.stride[i] = a.strides(i) / view_.itemsize;
}

std::string Memory::dtype_text() const {
  return place_->on_host() ? std::string(py::str(numpy().dtype())) : dtype_name_;
}

std::int64_t Memory::elements() const {
  std::int64_t r = 1;
  for (int i = 0; i < view_.ndim; ++i) r *= view_.shape[i];
  return r;
}

bool Memory::c_contiguous() const {
  std::int64_t step = 1;
  bool nested = true;
  for (int i = view_.ndim; i-- > 0; step *= view_.shape[i])
    nested = nested && (view_.shape[i] == 1 || view_.stride[i] == step);
  return nested || step == 0;
}

Shape Memory::strides_in_bytes() const {
  if (place_->on_host()) return Shape(numpy().strides(), numpy().strides() + ndim());
  Shape strides(view_.stride, view_.stride + view_.ndim);
  for (auto& s : strides) s *= view_.itemsize;
  return strides;
}

bool Memory::writable() const { return place_->on_host() ? numpy().writeable() : writable_; }

void Memory::make_regular() {
  if (regular_) return;
  if (!place_->on_host()) {
    value_error(where() + " begins at an address that is no multiple of its elements' " +
                std::to_string(view_.itemsize) + " bytes");
  }
  const auto native = numpy().dtype().attr("newbyteorder")("=");
  try {
    owner_ = py::module_::import("numpy").attr("array")(numpy(), native, py::arg("order") = "C");
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_MemoryError)) throw;
    throw no_memory_for_copy(*this, numpy().nbytes());
  }
  read_numpy();
}

void Memory::make_contiguous() {
  if (c_contiguous()) return;
  StridedArray to = view_;
  set_c_order(&to);
  std::int64_t bytes = to.itemsize;
  for (int i = 0; i < to.ndim; ++i)
    if (!multiply_size(&bytes, to.shape[i])) SizeOf{where(), "a copy"}.too_large();
  Backend& backend = place_->backend();
  try {
    copy_ = backend.workspace(bytes);
  } catch (const std::bad_alloc&) {
    throw no_memory_for_copy(*this, bytes);
  }
  to.data = copy_.get();
  without_gil(function_, [&] { backend.copy(view_, to); });
  view_ = to;
}

Array::Array(const py::object& object, const Place& place, const char* function, const char* name)
    : Memory(object, place, function, name) {
  if (element() > Element::bfloat16) {
    const char kind = place.on_host() ? numpy_dtype().kind() : '?';
    const std::string text = where() + " has dtype " + dtype_text();
    if (kind == 'c') type_error(text + ", but complex numbers are not supported; its .real and .imag are");
    const bool converts = kind == 'i' || kind == 'u' || kind == 'b' || kind == 'f';
    type_error(text + ", expected float32, float64, float16 or bfloat16" +
               (converts ? std::string("; ") + name + ".astype(np.float32) would fit" : ""));
  }
  make_regular();
}

Array Array::contiguous() const {
  Array r = *this;
  r.make_contiguous();
  return r;
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
