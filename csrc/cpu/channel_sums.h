#pragma once
#include "core/tensor_view.h"
namespace fastconv::cpu {
void channel_sums(const ImageView& dy, void* db);
}
