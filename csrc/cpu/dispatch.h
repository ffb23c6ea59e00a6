// The choice of a kernel table: the best instruction set of the machine, capped by the variable FASTCONV_ISA.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernel_table.h"

namespace fastconv::cpu {

// The active table. The first call reads FASTCONV_ISA (scalar, avx2, avx512, amx or neon): a cap, so that a
// set above the machine's own means the machine's best. An unknown name throws std::invalid_argument.
const KernelTable& active_table();

// Names of the tables that can run here, the lowest first.
std::vector<std::string> available_isas();

// Makes a table of available_isas() the active one. Calls already running keep theirs.
void set_isa(const std::string& name);

}  // namespace fastconv::cpu
