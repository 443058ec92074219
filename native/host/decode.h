// Commands as words, back to the structs of commands.h.
#pragma once
#include "host/kernel-table.h"

namespace daysix {

/// Names of the operations in the order of their numbers, null at the end.
extern const char* const OPERATIONS[];

/// Runs the command that `words` hold. Throws what the kernel throws.
void execute(const double* words, const KernelTable& kernels, Team& team);

}  // namespace daysix
