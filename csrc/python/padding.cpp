#include "python/padding.h"

namespace fastconv::python {
namespace {

[[noreturn]] void padding_error(const char* function, const py::handle& value, const std::string& expected) {
  throw py::value_error(std::string(function) + ": padding is " + std::string(py::repr(value)) +
                        ", expected " + expected);
}

std::int64_t read_amount(const char* function, const py::handle& padding, const py::handle& value) {
  const std::int64_t v = read_int(function, "padding", value);
  if (v < 0) padding_error(function, padding, "no negative values");
  return v;
}

PaddingSpec::Kind read_word(const char* function, const py::object& value, int rank) {
  using Kind = PaddingSpec::Kind;
  const auto word = py::cast<std::string>(value);
  if (word == "valid") return Kind::valid;
  if (word == "same") return Kind::same;
  if (word == "full") return Kind::full;
  if (word == "causal" && rank == 1) return Kind::causal;
  padding_error(function, value,
                rank == 1 ? "'valid', 'same', 'full', 'causal' or numbers"
                          : "'valid', 'same', 'full' or numbers ('causal' is for 1-D)");
}

}  // namespace

PaddingSpec read_padding(const char* function, const py::object& value, int rank) {
  PaddingSpec spec;
  if (py::isinstance<py::str>(value)) {
    spec.kind = read_word(function, value, rank);
    return spec;
  }
  if (!is_sequence(value)) {
    const std::int64_t v = read_amount(function, value, value);
    for (int i = kAxes - rank; i < kAxes; ++i) spec.before[i] = spec.after[i] = v;
    return spec;
  }
  const auto axes = py::reinterpret_borrow<py::sequence>(value);
  if (static_cast<int>(axes.size()) != rank) {
    const bool bare_pair = rank == 1 && axes.size() == 2 && !is_sequence(axes[0]) && !is_sequence(axes[1]);
    if (bare_pair) {
      const std::string pair =
          "(" + std::string(py::str(axes[0])) + ", " + std::string(py::str(axes[1])) + ")";
      padding_error(function, value, "an int or one pair for the one spatial axis: (" + pair + ",)");
    }
    padding_error(function, value,
                  std::to_string(rank) +
                      " values (an int or a (before, after) pair for each spatial "
                      "axis) or a single int");
  }
  for (int i = 0; i < rank; ++i) {
    const int axis = kAxes - rank + i;
    const py::object amount = axes[i];
    if (!is_sequence(amount)) {
      spec.before[axis] = spec.after[axis] = read_amount(function, value, amount);
      continue;
    }
    const auto pair = py::reinterpret_borrow<py::sequence>(amount);
    if (pair.size() != 2) padding_error(function, value, "pairs (before, after)");
    spec.before[axis] = read_amount(function, value, py::object(pair[0]));
    spec.after[axis] = read_amount(function, value, py::object(pair[1]));
  }
  return spec;
}

}  // namespace fastconv::python
