// A rank's stream of compute: runs the commands of its ring, in order, on a thread of its own that leads a team. A
// stream that computes at fences leaves short work to the thread that waits for it.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "host/compute-threads.h"
#include "host/kernel-table.h"
#include "host/rank-wait.h"
#include "host/ring.h"
#include "host/thread-team.h"
#include "host/wait.h"
#include "host/weight-files.h"

namespace daysix {

struct StreamOptions {
  Ring ring;
  const KernelTable& kernels;
  int threads;
  int cores;
  /// Commands wait until somebody waits for them.
  bool atFence;
  /// Keeps in memory what commands point to.
  std::shared_ptr<WeightFiles> files;
  /// Called on the stream's thread once an announced command has run.
  std::function<void()> onExecuted;
};

/// The methods are called by the one thread that writes to the ring.
class Stream {
 public:
  explicit Stream(StreamOptions options);
  /// Waits for the command that is running and skips the rest.
  ~Stream();

  int threads() const { return computeThreads_.count(); }
  /// Has the stream's thread run what is published.
  void wake();
  /// Waits a moment for the commands before number `target`, or runs them; whether they have run. Otherwise
  /// onExecuted will be called when they have.
  bool announce(uint32_t target);
  /// Blocks until the ring has a free slot.
  void waitForRoom();
  /// What the first failed operation said; empty if none failed. Operations after a failed one do not run.
  std::string failure();
  /// Has the stream fail as if an operation had: a wait for other ranks ends, and later commands do not run.
  void fail(const std::string& message);
  /// Skips what is in the ring and forgets a failure; later commands run.
  void reset();

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  void computeShortWork();
  void runCommands(Clock::time_point until);
  void awaitWork();
  bool isSkipped(uint32_t number);
  void execute(uint32_t number);
  void tell(uint32_t executed);

  StreamOptions options_;
  ComputeThreads computeThreads_;
  ThreadTeam team_;
  WaitPoint work_;
  WaitPoint room_;
  /// Held by the thread that runs commands.
  std::mutex lead_;
  /// Whether the stream's thread is to run what is published, where commands wait for a fence.
  std::atomic<bool> requested_ = false;
  /// Time that the last commands took which ran one after another.
  std::atomic<Clock::duration> lastWork_ = Clock::duration::zero();
  std::atomic<bool> stopping_ = false;
  /// Whether there may be commands to skip: after a failure all of them, after a reset those before `resumeAt_`.
  std::atomic<bool> skips_ = false;
  /// Interrupted when either of the two is set.
  RankWait wait_;
  /// The command whose execution is to be told, or NOTHING.
  std::atomic<int64_t> announced_;
  std::mutex failureMutex_;
  std::string failure_;
  uint32_t resumeAt_ = 0;
  std::thread leader_;
};

}  // namespace daysix
