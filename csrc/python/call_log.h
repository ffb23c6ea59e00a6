// A line per call for fastconv's logger, where FASTCONV_VERBOSE asks for it; one atomic load where it does
// not.
#pragma once

#include <chrono>
#include <initializer_list>
#include <string>

#include "python/array.h"

namespace fastconv::python {

// Lives for the length of a call, with the GIL held at both ends.
class CallLog {
 public:
  explicit CallLog(const char* function);
  ~CallLog();
  CallLog(const CallLog&) = delete;
  CallLog& operator=(const CallLog&) = delete;
  // Whether to say() anything: what it is told costs time to write.
  bool wanted() const { return wanted_; }
  // The arrays with their shapes, the dtype of the first one, `how`, and what the call runs on.
  void say(std::initializer_list<const Array*> arrays, const std::string& how);

 private:
  bool wanted_;
  std::string text_;
  std::chrono::steady_clock::time_point start_;
};

void set_verbose_callback(const py::object& callback);

}  // namespace fastconv::python
