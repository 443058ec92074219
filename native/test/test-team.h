// A team of plain threads for the drivers here, which build without Node.
#pragma once
#include <atomic>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "host/flush-denormals.h"
#include "host/huge-pages.h"
#include "host/team.h"
#include "host/tile-permission.h"

namespace daysix {

inline void* Scratch::reserve(size_t bytes) {
  if (bytes > size_) {
    std::free(memory_);
    size_ = (bytes + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    memory_ = std::aligned_alloc(HUGE_PAGE_BYTES, size_);
    preferHugePages(memory_, size_);
  }
  return memory_;
}
inline Scratch::~Scratch() { std::free(memory_); }

class TestTeam final : public Team {
 public:
  explicit TestTeam(int threads) : scratch_(threads) {
    mayUseTiles();
    for (int i = 1; i < threads; i++) helpers_.emplace_back([this, i] { help(i); });
  }
  ~TestTeam() override {
    stopping_ = true;
    generation_++;
    for (auto& helper : helpers_) helper.join();
  }
  int threads() const override { return static_cast<int>(scratch_.size()); }
  void* shared(size_t bytes) override { return shared_.reserve(bytes); }
  using Team::fork;

 private:
  void fork(int64_t tasks, Task task, void* context) override {
    if (tasks <= 1 || helpers_.empty()) {
      const FlushDenormals flush;
      for (int64_t i = 0; i < tasks; i++) task(context, i, scratch_[0]);
      return;
    }
    task_ = task;
    context_ = context;
    tasks_ = tasks;
    next_ = 0;
    busy_ = static_cast<int>(helpers_.size());
    generation_++;
    work(0);
    while (busy_) pause();
  }
  void work(int thread) {
    const FlushDenormals flush;
    for (int64_t i; (i = next_++) < tasks_;) task_(context_, i, scratch_[thread]);
  }
  void help(int thread) {
    for (int64_t seen = 0;;) {
      for (int spins = 0; generation_ == seen; spins++) spins < 2000 ? pause() : std::this_thread::yield();
      seen++;
      if (stopping_) return;
      work(thread);
      busy_--;
    }
  }
  static void pause() { __builtin_ia32_pause(); }

  std::vector<Scratch> scratch_;
  Scratch shared_;
  std::vector<std::thread> helpers_;
  Task task_ = nullptr;
  void* context_ = nullptr;
  int64_t tasks_ = 0;
  std::atomic<int64_t> next_{0}, generation_{0};
  std::atomic<int> busy_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace daysix
