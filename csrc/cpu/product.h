// A product of images and filters, prepared for arrays of given shapes and strides: its gathers, blocking and
// tables. Calls that differ in nothing but their data use the same one, one after the other.
#pragma once

#include <memory>
#include <vector>

#include "core/tensor_view.h"
#include "cpu/kernel_table.h"

namespace fastconv::cpu {

// Added to a result's channels before the activation; of the filters' dtype, null for none. Images may be of
// the compute type where the filters are of a storage type: sums that no caller sees need not be rounded.
struct Epilogue {
  const void* bias = nullptr;
  int64_t bias_stride = 1;
  Activation activation = Activation::none;
};

// One number of a product's blocking, for explain().
struct Figure {
  const char* name;
  int64_t value;
};

class Product {
 public:
  Product() = default;
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  virtual ~Product() = default;

  // Where the images lie: those that are gathered, and those whose pixels the gather is for.
  virtual void bind(void* source, void* result) = 0;
  // Writes the result from source and filters; a weight gradient writes the filters and has no epilogue.
  virtual void run(const FilterView& filters, const Epilogue& epilogue) = 0;
  virtual int64_t workspace_bytes() const = 0;
  virtual std::vector<Figure> figures() const = 0;
};

}  // namespace fastconv::cpu
