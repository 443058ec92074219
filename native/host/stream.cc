#include "host/stream.h"

#include <exception>
#include <utility>

#include "host/decode.h"
#include "host/flush-denormals.h"

namespace daysix {

namespace {

constexpr int64_t NOTHING = -1;

/// Another thread takes up to a tenth of this to wake.
constexpr auto SHORT_WORK = std::chrono::microseconds(300);

}  // namespace

Stream::Stream(StreamOptions options)
    : options_(std::move(options)),
      computeThreads_(options_.threads, options_.cores),
      team_(computeThreads_.count()),
      wait_([this] { return stopping_ || skips_; }),
      announced_(NOTHING),
      leader_([this] { run(); }) {}

Stream::~Stream() {
  stopping_ = true;
  work_.notify();
  wait_.interrupt();
  leader_.join();
}

void Stream::wake() {
  requested_ = true;
  // What is published until it is awake needs no second call.
  options_.ring.header->asleep = 0;
  work_.wake();
}

bool Stream::announce(uint32_t target) {
  const auto executed = [&] { return reached(options_.ring.header->executed.load(), target); };
  if (options_.atFence) {
    computeShortWork();
    if (executed()) return true;
    wake();
  }
  if (ComputeThreads::haveOwnCores() && spinUntil(executed)) return true;
  announced_ = target;
  return executed() && announced_.exchange(NOTHING) == target;
}

void Stream::waitForRoom() {
  const RingHeader& header = *options_.ring.header;
  const uint32_t target = header.published.load() - options_.ring.capacity + 1;
  wake();
  room_.sleepUntil([&] { return reached(header.executed.load(), target); });
}

std::string Stream::failure() {
  std::lock_guard lock(failureMutex_);
  return failure_;
}

void Stream::run() {
  for (;;) {
    awaitWork();
    if (stopping_) return;
    std::lock_guard lead(lead_);
    runCommands(Clock::time_point::max());
  }
}

/// Work that was short the last time is begun here; what turns out to be long goes on on the stream's thread.
void Stream::computeShortWork() {
  if (lastWork_.load() > SHORT_WORK) return;
  std::unique_lock lead(lead_, std::try_to_lock);
  if (lead) runCommands(Clock::now() + SHORT_WORK);
}

/// Runs commands in order until none is left or the time is over.
void Stream::runCommands(Clock::time_point until) {
  const FlushDenormals flush;
  RingHeader& header = *options_.ring.header;
  const auto began = Clock::now();
  uint32_t executed = header.executed.load();
  while (!stopping_ && executed != header.published.load() && Clock::now() < until) {
    if (!isSkipped(executed)) execute(executed);
    header.executed = ++executed;
    room_.notify();
    tell(executed);
  }
  lastWork_ = Clock::now() - began;
}

void Stream::awaitWork() {
  RingHeader& header = *options_.ring.header;
  const auto ready = [&] {
    const bool wanted = !options_.atFence || requested_.load();
    return stopping_.load() || (wanted && header.published.load() != header.executed.load());
  };
  if (!ready() && !waitAwake(ready)) {
    // Whoever published earlier may be late to wake it, and take back what a later sleep has told: each look tells it anew.
    work_.sleepUntil([&] {
      header.asleep = !options_.atFence;
      return ready();
    });
    header.asleep = 0;
  }
  requested_ = false;
}

void Stream::fail(const std::string& message) {
  {
    std::lock_guard lock(failureMutex_);
    if (failure_.empty()) failure_ = message;
    skips_ = true;
  }
  wait_.interrupt();
}

void Stream::reset() {
  {
    std::lock_guard lock(failureMutex_);
    failure_.clear();
    resumeAt_ = options_.ring.header->published.load();
    skips_ = true;
  }
  wait_.interrupt();
}

bool Stream::isSkipped(uint32_t number) {
  if (!skips_) return false;
  std::lock_guard lock(failureMutex_);
  if (failure_.empty() && reached(number, resumeAt_)) skips_ = false;
  return skips_;
}

void Stream::execute(uint32_t number) {
  try {
    daysix::execute(options_.ring.command(number), {options_.kernels, team_, wait_});
  } catch (const std::exception& error) {
    std::lock_guard lock(failureMutex_);
    // A reset has given the command up while it ran.
    if (skips_) return;
    skips_ = true;
    failure_ = operations()[static_cast<int>(*options_.ring.command(number))].name + std::string(": ") + error.what();
  }
}

void Stream::tell(uint32_t executed) {
  int64_t announced = announced_.load();
  if (announced == NOTHING || !reached(executed, static_cast<uint32_t>(announced))) return;
  if (announced_.compare_exchange_strong(announced, NOTHING)) options_.onExecuted();
}

}  // namespace daysix
