#include <cstdlib>
#include <new>
#include <utility>

#include "host/compute-threads.h"
#include "host/flush-denormals.h"
#include "host/thread-team.h"

namespace daysix {

namespace {

std::mutex threadsMutex;
std::atomic<int> runningThreads = 0;
std::atomic<int> usableCores = 1;

constexpr uint64_t INSIDE = 0x7fff;
constexpr uint64_t OPEN = 0x8000;
constexpr int ROUND_SHIFT = 16;

/// Whether a fork is open that comes after the one last seen.
bool isOpen(uint64_t state, uint64_t seen) { return (state & OPEN) && state >> ROUND_SHIFT != seen; }

template <typename Ready>
void waitUntil(WaitPoint& point, Ready ready) {
  if (waitAwake(ready)) return;
  point.sleepUntil(ready);
}

}  // namespace

ComputeThreads::ComputeThreads(int wanted, int cores) {
  std::lock_guard lock(threadsMutex);
  usableCores = cores;
  count_ = grantedThreads(wanted, runningThreads, cores);
  runningThreads += count_;
}

ComputeThreads::~ComputeThreads() { runningThreads -= count_; }

bool ComputeThreads::haveOwnCores() { return runningThreads.load() <= usableCores.load(); }

void* Scratch::reserve(size_t bytes) {
  if (bytes > size_) {
    const size_t size = (bytes + 63) / 64 * 64;
    std::free(memory_);
    memory_ = std::aligned_alloc(64, size);
    size_ = memory_ ? size : 0;
    if (!memory_) throw std::bad_alloc();
  }
  return memory_;
}

Scratch::~Scratch() { std::free(memory_); }

ThreadTeam::ThreadTeam(int threads) {
  for (int i = 1; i < threads; i++) helpers_.emplace_back([this, i] { help(i); });
}

ThreadTeam::~ThreadTeam() {
  stopping_ = true;
  opened_.notify();
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadTeam::fork(int64_t tasks, Task task, void* context) {
  if (tasks <= 1 || helpers_.empty()) {
    for (int64_t i = 0; i < tasks; i++) task(context, i, scratch_);
    return;
  }
  task_ = task;
  context_ = context;
  tasks_ = tasks;
  next_ = 0;
  const uint64_t round = (state_.load() >> ROUND_SHIFT) + 1;
  state_ = round << ROUND_SHIFT | OPEN;
  opened_.notify();
  takeTasks(scratch_);
  state_.fetch_and(~OPEN);
  waitUntil(left_, [this] { return (state_.load() & INSIDE) == 0; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

/// Of few tasks only the first helpers take some: each that enters keeps the leader waiting until it has left.
void ThreadTeam::help(int number) {
  const FlushDenormals flush;
  Scratch scratch;
  uint64_t seen = 0;
  for (;;) {
    waitUntil(opened_, [&] { return stopping_.load() || isOpen(state_.load(), seen); });
    if (stopping_) return;
    for (uint64_t state = state_.load(); isOpen(state, seen);) {
      const bool enters = number < tasks_.load();
      if (enters && !state_.compare_exchange_weak(state, state + 1)) continue;
      seen = state >> ROUND_SHIFT;
      if (!enters) break;
      takeTasks(scratch);
      state_.fetch_sub(1);
      left_.notify();
    }
  }
}

void ThreadTeam::takeTasks(Scratch& scratch) {
  try {
    const int64_t tasks = tasks_;
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < tasks;) task_(context_, i, scratch);
  } catch (...) {
    fail(std::current_exception());
  }
}

/// The fork rethrows the first failure; tasks that no thread has taken are skipped.
void ThreadTeam::fail(std::exception_ptr error) {
  next_ = tasks_.load();
  std::lock_guard lock(failureMutex_);
  if (!failure_) failure_ = error;
}

}  // namespace daysix
