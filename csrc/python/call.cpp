#include "python/call.h"

#include <atomic>
#include <cstdio>

#include "cpu/dispatch.h"
#include "cpu/parallel.h"

namespace fastconv::python {
namespace {

std::atomic<PyObject*> callback_object{nullptr};  // a strong reference, or null

}  // namespace

void set_verbose_callback(const py::object& callback) {
  PyObject* fresh = callback.is_none() ? nullptr : py::object(callback).release().ptr();
  Py_XDECREF(callback_object.exchange(fresh));
}

Call::Call(const char* function, const py::object& first, const char* name)
    : function_(function), logged_(callback_object.load() != nullptr), place_(first, function, name) {
  if (!logged_) return;
  text_ = function;
  start_ = std::chrono::steady_clock::now();
}

void Call::say(std::initializer_list<const Array*> arrays, const std::string& how) {
  for (const Array* a : arrays) text_ += std::string(" ") + a->name() + "=" + shape_text(a->shape());
  const std::string where = place_.on_host() ? std::string(cpu::active_table().isa) + ", " +
                                                   std::to_string(cpu::num_threads()) + " threads"
                                             : place_.text();
  text_ += std::string(" ") + name_of((*arrays.begin())->dtype()) + " " + how + " on " + where + ",";
}

Call::~Call() {
  PyObject* callback = logged_ ? callback_object.load() : nullptr;
  if (!callback || PyErr_Occurred()) return;
  const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start_;
  char time[32];
  std::snprintf(time, sizeof time, " %.3f ms", elapsed.count());
  try {
    py::reinterpret_borrow<py::object>(callback)(text_ + time);
  } catch (py::error_already_set& e) {  // a broken logger must not break the call
    e.discard_as_unraisable("fastconv's verbose callback");
  }
}

}  // namespace fastconv::python
