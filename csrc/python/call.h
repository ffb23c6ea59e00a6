// One call of a function: where its arrays lie, and a line for fastconv's logger, where FASTCONV_VERBOSE asks
// for it; one atomic load where it does not.
#pragma once

#include <chrono>
#include <initializer_list>
#include <string>

#include "python/array.h"

namespace fastconv::python {

// Lives for the length of a call, with the GIL held at both ends.
class Call {
 public:
  // The first array decides where the call is computed. The names must outlive the call.
  Call(const char* function, const py::object& first, const char* name);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  const char* function() const { return function_; }
  const Place& place() const { return place_; }
  Backend& backend() const { return place_.backend(); }
  Array read(const py::object& object, const char* name) const { return {object, place_, function_, name}; }

  // Whether to say() anything: what it is told costs time to write.
  bool logged() const { return logged_; }
  // The arrays with their shapes, the dtype of the first one, `how`, and what the call runs on.
  void say(std::initializer_list<const Array*> arrays, const std::string& how);

  // Does the work, while other Python threads run. A device has it queued then, unless the call is logged:
  // errors, and the time, shall be its own.
  template <class Work>
  void run(const Work& work) const {
    without_gil(function_, [&] {
      work();
      if (logged_) backend().wait(function_);
    });
  }

 private:
  const char* function_;
  bool logged_;
  std::chrono::steady_clock::time_point start_;
  std::string text_;
  Place place_;
};

void set_verbose_callback(const py::object& callback);

}  // namespace fastconv::python
