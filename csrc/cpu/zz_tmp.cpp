#include "cpu/channel_sums.h"
#include "cpu/elementwise.h"
namespace fastconv::cpu {
void channel_sums(const ImageView&, void*) {}
void activation_gradient(Activation, Dtype, const void*, const void*, void*, int64_t) {}
}
