// The compute threads of one stream.
#pragma once
#include <cstddef>
#include <cstdint>

namespace daysix {

/// A thread's own memory, 64-byte aligned, kept between commands; grows to the most ever asked for.
class Scratch {
 public:
  /// Forgets the last use and returns `bytes` bytes, contents unset.
  void* reserve(size_t bytes);
  ~Scratch();

 private:
  void* memory_ = nullptr;
  size_t size_ = 0;
};

/// A fork-join team: the stream's thread leads, its helpers wait between forks. Tasks are handed out
/// dynamically, so a kernel's bits must not depend on which thread takes a task.
class Team {
 public:
  virtual ~Team() = default;
  virtual int threads() const = 0;
  /// Memory all threads may read and write, owned by the leader; valid until the next call.
  virtual void* shared(size_t bytes) = 0;

  /// Calls run(task, scratch) for each task in [0, tasks), the caller taking part; returns when all are done.
  /// One task, or one thread, runs on the caller without waking anyone.
  template <typename Run>
  void fork(int64_t tasks, Run&& run) {
    fork(tasks, [](void* context, int64_t task, Scratch& scratch) { (*static_cast<Run*>(context))(task, scratch); },
         const_cast<void*>(static_cast<const void*>(&run)));
  }

  /// Cuts [0, count) into a few ranges for each thread, each at least `least` long if count is, and calls
  /// run(from, to, scratch) for each range.
  template <typename Run>
  void forkRanges(int64_t count, int64_t least, Run&& run) {
    const int64_t most = threads() == 1 ? 1 : 4 * threads();
    const int64_t ranges = count < 2 * least ? (count > 0) : count / least < most ? count / least : most;
    fork(ranges, [&](int64_t range, Scratch& scratch) {
      run(count * range / ranges, count * (range + 1) / ranges, scratch);
    });
  }

 protected:
  using Task = void (*)(void* context, int64_t task, Scratch& scratch);
  virtual void fork(int64_t tasks, Task task, void* context) = 0;
};

}  // namespace daysix
