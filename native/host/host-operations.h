// The operations that are the same for all instruction sets.
#pragma once
#include "host/kernel-table.h"
#include "host/rank-wait.h"

namespace daysix {

/// What an operation computes with.
struct HostContext {
  const KernelTable& kernels;
  Team& team;
  RankWait& wait;
};

#define FIELD(type, name)
#define STRUCT(Name, ...)
#define OPERATION(name, Name, ...)
#define HOST_OPERATION(name, Name, ...) void name(const Name&, const HostContext&);
#include "host/operations.h"

}  // namespace daysix
