// The compute threads of all streams of this process, counted so that together they stay within the cores.
#pragma once
#include <algorithm>

#include "host/wait.h"

namespace daysix {

/// Threads a new stream gets: one always, the rest only from cores that no thread runs on.
constexpr int grantedThreads(int wanted, int running, int cores) {
  return 1 + std::clamp(cores - running - 1, 0, std::max(0, wanted - 1));
}

/// A stream's share of the cores, given back when destroyed.
class ComputeThreads {
 public:
  ComputeThreads(int wanted, int cores);
  ~ComputeThreads();
  ComputeThreads(const ComputeThreads&) = delete;
  ComputeThreads& operator=(const ComputeThreads&) = delete;

  int count() const { return count_; }
  /// Whether every compute thread of the process has a core of its own, so that spinning takes none from another.
  static bool haveOwnCores();

 private:
  int count_;
};

/// Waits for a moment without sleeping, since waking takes longer than what a small model's step leaves between two commands;
/// whether it is ready. Where compute threads outnumber the cores, nobody does.
template <typename Ready>
bool waitAwake(Ready&& ready) {
  return ComputeThreads::haveOwnCores() && (spinUntil(ready) || yieldUntil(ready));
}

}  // namespace daysix
