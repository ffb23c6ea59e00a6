// Objects of other libraries that are asked for their memory.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace fastconv::python {

[[noreturn]] inline void unreadable(const std::string& where, const std::string& why) {
  throw pybind11::type_error(where + " can't be read as an array: " + why);
}

// Whatever the producer raises, if not that the program is to end, becomes a TypeError in its own words;
// `where` is function and argument.
template <class Ask>
auto ask_producer(const std::string& where, const Ask& ask) {
  namespace py = pybind11;
  try {
    return ask();
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_Exception) || e.matches(PyExc_MemoryError)) throw;
    const std::string words = py::str(e.value());
    const std::string type = py::str(e.type().attr("__name__"));
    const std::string text = where + " can't be read as an array: " + (words.empty() ? type : words);
    py::raise_from(e, PyExc_TypeError, text.c_str());
    throw py::error_already_set();
  } catch (const py::cast_error&) {
    unreadable(where, "it tells of its memory in values of unexpected types");
  }
}

}  // namespace fastconv::python
