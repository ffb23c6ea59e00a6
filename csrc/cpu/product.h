// A product of images and filters, prepared for arrays of given shapes and strides: its gathers, blocking and
// tables. Calls that differ in nothing but their data use the same one, one after the other.
#pragma once

#include <memory>
#include <vector>

#include "core/product_kind.h"
#include "core/tensor_view.h"
#include "cpu/kernel_table.h"

namespace fastconv::cpu {

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
