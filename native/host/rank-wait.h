// How a stream waits for other ranks of its process, whose streams ring the bell that it hears.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "host/compute-threads.h"

namespace daysix {

class RankWait {
 public:
  /// `isGivenUp` says whether to wait no longer; interrupt() has a wait ask it.
  explicit RankWait(std::function<bool()> isGivenUp) : isGivenUp_(std::move(isGivenUp)) {}

  static void ring(std::atomic<uint32_t>& bell) {
    bell.fetch_add(1);
    bell.notify_all();
  }

  /// Waits until ready(), which is asked again whenever the bell has rung, or the wait is given up.
  template <typename Ready>
  void until(std::atomic<uint32_t>& bell, Ready&& ready) {
    const auto isOver = [&] { return ready() || isGivenUp_(); };
    bell_ = &bell;
    if (!waitAwake(isOver)) {
      for (uint32_t heard = bell.load(); !isOver(); heard = bell.load()) bell.wait(heard);
    }
    bell_ = nullptr;
  }

  /// To be called when what isGivenUp asks has changed.
  void interrupt() {
    if (std::atomic<uint32_t>* bell = bell_.load()) ring(*bell);
  }

 private:
  std::function<bool()> isGivenUp_;
  /// Heard by the wait that is under way.
  std::atomic<std::atomic<uint32_t>*> bell_ = nullptr;
};

}  // namespace daysix
