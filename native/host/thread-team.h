// The fork-join team of one stream: the thread that forks, and helpers of its own.
#pragma once
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "host/team.h"
#include "host/wait.h"

namespace daysix {

class ThreadTeam final : public Team {
 public:
  explicit ThreadTeam(int threads);
  ~ThreadTeam() override;

  int threads() const override { return static_cast<int>(helpers_.size()) + 1; }
  void* shared(size_t bytes) override { return shared_.reserve(bytes); }

 protected:
  void fork(int64_t tasks, Task task, void* context) override;

 private:
  void help(int number);
  void takeTasks(Scratch& scratch);
  void fail(std::exception_ptr error);

  Scratch scratch_;
  Scratch shared_;
  Task task_ = nullptr;
  void* context_ = nullptr;
  std::atomic<int64_t> tasks_ = 0;
  /// Round of the fork, whether helpers may still enter it, and how many are inside. A helper that wakes late finds
  /// it closed, so the leader never waits for a thread that took no task.
  std::atomic<uint64_t> state_ = 0;
  alignas(64) std::atomic<int64_t> next_ = 0;
  std::atomic<bool> stopping_ = false;
  WaitPoint opened_;
  WaitPoint left_;
  std::mutex failureMutex_;
  std::exception_ptr failure_;
  std::vector<std::thread> helpers_;
};

}  // namespace daysix
