// One instruction set's kernels. Each is compiled from the same sources into a namespace of its own.
#pragma once
#include "host/commands.h"
#include "host/team.h"

namespace daysix {

struct KernelTable {
  const char* name;
#define FIELD(type, name)
#define STRUCT(Name, ...)
#define OPERATION(name, Name, ...) void (*name)(const Name&, Team&);
#define HOST_OPERATION(name, Name, ...)
#include "host/operations.h"
  uint64_t (*readBytes)(const uint8_t* data, int64_t size);
  int64_t (*multiplyRegisters)(int64_t rounds);
  /// The same kernels with faster single rows, whose bits differ from those of the same rows in company; null if none.
  const KernelTable* fastDecode;
  /// The same kernels without BF16 tiles, with the bits of every other instruction set; null where these have none.
  const KernelTable* onVectors;
};

}  // namespace daysix
