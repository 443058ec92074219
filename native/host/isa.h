// The instruction sets this build holds kernels for, chosen at run time by what the processor and its system support.
#pragma once
#include <string>
#include <vector>

#include "host/kernel-table.h"

namespace daysix {

/// Best first; never empty: portable is always among them. Emulated tiles, which only tests want, come last.
std::vector<const KernelTable*> supportedKernels();

/// Also by the name of their tables for fast decoding. Throws std::invalid_argument where this machine cannot run it.
const KernelTable& kernelsFor(const std::string& instructionSet);

}  // namespace daysix
