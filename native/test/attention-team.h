// A team of threads for the attention test and bench: helpers spin between forks.
#pragma once
#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>
#include "../team.h"

namespace daysix {

void* Scratch::reserve(size_t bytes) {
  bytes = (bytes + 63) / 64 * 64;
  if (bytes > size_) {
    std::free(memory_);
    memory_ = std::aligned_alloc(64, bytes);
    size_ = bytes;
  }
  return memory_;
}
Scratch::~Scratch() { std::free(memory_); }

class SpinningTeam : public Team {
 public:
  explicit SpinningTeam(int threads) : scratch_(threads) {
    for (int i = 1; i < threads; i++) helpers_.emplace_back([this, i] { help(scratch_[i]); });
  }
  ~SpinningTeam() override {
    stop_ = true;
    for (auto& helper : helpers_) helper.join();
  }
  int threads() const override { return static_cast<int>(scratch_.size()); }
  void* shared(size_t bytes) override { return shared_.reserve(bytes); }
  using Team::fork;

 protected:
  void fork(int64_t tasks, Task task, void* context) override {
    task_ = task;
    context_ = context;
    tasks_ = tasks;
    next_ = 0;
    running_ = static_cast<int>(helpers_.size());
    generation_++;
    work(scratch_[0]);
    while (running_ > 0) std::this_thread::yield();
  }

 private:
  void work(Scratch& scratch) {
    for (int64_t task; (task = next_++) < tasks_;) task_(context_, task, scratch);
  }
  void help(Scratch& scratch) {
    for (int seen = 0; !stop_;) {
      if (generation_ == seen) {
        __builtin_ia32_pause();
        continue;
      }
      seen++;
      work(scratch);
      running_--;
    }
  }

  std::vector<Scratch> scratch_;
  Scratch shared_;
  std::vector<std::thread> helpers_;
  Task task_ = nullptr;
  void* context_ = nullptr;
  int64_t tasks_ = 0;
  std::atomic<int64_t> next_{0};
  std::atomic<int> running_{0}, generation_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace daysix
