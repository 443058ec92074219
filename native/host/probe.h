// Roofs to measure kernels against: how fast this machine reads memory and multiplies, now. On a shared machine both
// drift within seconds, so probes are short and are taken between the measurements they are compared with.
#pragma once
#include <chrono>

#include "host/kernel-table.h"

namespace daysix {

struct ProbeOptions {
  const KernelTable& kernels;
  int threads;
  std::chrono::duration<double> time;
};

/// What all threads did together from their common start until the last of them was done.
struct Probed {
  double seconds;
  /// Bytes, or operations.
  double amount;
};

/// Memory to read; threads take slices in order from number `first` on, around its end.
struct ProbedMemory {
  static constexpr int64_t SLICE_BYTES = int64_t{1} << 22;

  const uint8_t* data;
  int64_t size;  // at least a slice
  int64_t first;
  /// Every thread reads all slices by itself, as ranks that each have all experts do.
  bool together;
};

Probed probeRead(const ProbeOptions& options, const ProbedMemory& memory);

Probed probeMultiply(const ProbeOptions& options, MultiplyKind kind);

}  // namespace daysix
