// One instruction set's kernels. Each is compiled from the same sources into a namespace of its own.
#pragma once
#include "host/commands.h"
#include "host/team.h"

namespace daysix {

/// The most that some instructions do.
struct MultiplyPeak {
  const char* instructions;
  /// Products between registers, `rounds` times; the operations of all, of which a multiply-add is two.
  int64_t (*multiply)(int64_t rounds);
};

/// What is multiplied.
enum class MultiplyKind { int8, bf16, f32 };

struct KernelTable {
  const char* name;
#define FIELD(type, name)
#define STRUCT(Name, ...)
#define OPERATION(name, Name, ...) void (*name)(const Name&, Team&);
#define HOST_OPERATION(name, Name, ...)
#include "host/operations.h"
  uint64_t (*readBytes)(const uint8_t* data, int64_t size);
  MultiplyPeak peaks[3];  // by MultiplyKind
  /// The same kernels with faster single rows, whose bits differ from those of the same rows in company; null if none.
  const KernelTable* fastDecode;
  /// The same kernels without BF16 tiles, with the bits of every other instruction set; null where these have none.
  const KernelTable* onVectors;
};

}  // namespace daysix
