// The instruction sets this build holds kernels for, chosen at run time by what the processor and its system support.
#pragma once
#include <string>
#include <vector>

#include "host/kernel-table.h"

namespace daysix {

/// Best first; never empty: portable is always among them. Emulated tiles, which only tests want, come last.
std::vector<const KernelTable*> supportedKernels();

/// Also by `name-fast-decode` where there are kernels for that, and by `name-on-vectors`, which leaves BF16 tiles out.
/// Throws std::invalid_argument where this machine cannot run it.
const KernelTable& kernelsFor(const std::string& instructionSet);

}  // namespace daysix
