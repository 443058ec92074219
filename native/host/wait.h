// Waiting for another thread: spin for a moment, then sleep. The changing thread stores the change with sequential
// consistency before it looks for sleepers; the waiting thread announces its sleep before it looks for the change again.
// So either the changing thread sees the sleeper or the waiting thread sees the change.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace daysix {

constexpr auto SPIN_TIME = std::chrono::microseconds(20);
constexpr auto YIELD_TIME = std::chrono::microseconds(200);

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Spins until ready() or the time is over; whether it is ready.
template <typename Ready>
bool spinUntil(Ready&& ready) {
  const auto end = std::chrono::steady_clock::now() + SPIN_TIME;
  do {
    for (int i = 0; i < 16; i++) {
      if (ready()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

/// After spinning in vain: looks again and again for a while, and lets any other thread of this core go first.
template <typename Ready>
bool yieldUntil(Ready&& ready) {
  const auto end = std::chrono::steady_clock::now() + YIELD_TIME;
  do {
    if (ready()) return true;
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

/// Where threads sleep until a condition that they check has changed.
class WaitPoint {
 public:
  template <typename Ready>
  void sleepUntil(Ready&& ready) {
    std::unique_lock lock(mutex_);
    sleepers_.fetch_add(1);
    changed_.wait(lock, ready);
    sleepers_.fetch_sub(1);
  }

  /// Tells sleepers, if there are any, to look again.
  void notify() {
    if (sleepers_.load() > 0) wake();
  }

  void wake() {
    { std::lock_guard lock(mutex_); }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> sleepers_ = 0;
};

}  // namespace daysix
