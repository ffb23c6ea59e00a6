// The CPU behind the interface that all back ends share.
#pragma once

#include "core/backend.h"

namespace fastconv::cpu {

Backend& backend();

}  // namespace fastconv::cpu
