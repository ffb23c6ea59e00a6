// A line per call for fastconv's logger, where FASTCONV_VERBOSE asks for it; one atomic load where it does
// not.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "python/array.h"

namespace fastconv::python {

// Lives for the length of a call, with the GIL held at both ends. `describe` is called only where a line is
// wanted.
class CallLog {
 public:
  explicit CallLog(const char* function);
  ~CallLog();
  CallLog(const CallLog&) = delete;
  CallLog& operator=(const CallLog&) = delete;
  bool wanted() const { return wanted_; }
  void say(const std::string& text) { text_ += " " + text; }

 private:
  bool wanted_;
  std::string text_;
  std::chrono::steady_clock::time_point start_;
};

void set_verbose_callback(const py::object& callback);

}  // namespace fastconv::python
