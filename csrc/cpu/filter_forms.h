// Filters in the form that a product reads them in, packed or mapped. Who infers meets the same filters in
// call after call: their form is made once then, and kept.
//
// A kept form is known by what it was made of: a fingerprint of the filters' bytes, and of what its layout
// follows from. So nobody needs to say when filters change, and those changed in place are never taken for
// what they were. To read them for that costs about a tenth of making the form; a sample tells first whether
// they were met before at all. So a training step, which never meets filters twice in one direction, neither
// reads them nor keeps anything.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/buffer_pool.h"
#include "core/fingerprint.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

// What all forms that one product makes have in common.
struct FormPlan {
  int64_t bytes = 0;
  Fingerprint layout;
  bool kept = false;
};

// What its maker looks at, besides the filters' elements: all that says what lies where in a form.
struct FormLayout {
  FilterView filters;  // their sizes and dtype
  bool by_channel;
  int64_t groups;
  std::vector<int64_t> others;
};

// multiply_adds: what a call does with each element of the filters; where that is much, the form costs little
// beside it and is not kept.
FormPlan plan_form(const Machine& machine, const FormLayout& layout, int64_t bytes, double multiply_adds);

// Writes a form to memory; false where such filters have none.
using MakeForm = std::function<bool(void*)>;
using FilterForm = std::shared_ptr<const Buffer>;

// The form of these filters, if they have one; else null.
FilterForm form_of(const Machine& machine, const FormPlan& plan, const FilterView& filters,
                   const MakeForm& make);
// The same only if it is kept, or from now on is.
FilterForm kept_form(const Machine& machine, const FormPlan& plan, const FilterView& filters,
                     const MakeForm& make);

void limit_kept_forms(int64_t bytes);
int64_t kept_form_bytes();
void forget_forms();

}  // namespace fastconv::cpu
