#pragma once
#include "cpu/kernel_table.h"
namespace fastconv::cpu {
void activation_gradient(Activation kind, Dtype dtype, const void* dy, const void* x_or_y, void* dx, int64_t count);
}
