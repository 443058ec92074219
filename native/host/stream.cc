#include "host/stream.h"

#include <exception>
#include <utility>

#include "host/decode.h"

namespace daysix {

namespace {

constexpr int64_t NOTHING = -1;

}  // namespace

Stream::Stream(StreamOptions options)
    : options_(std::move(options)),
      computeThreads_(options_.threads, options_.cores),
      team_(computeThreads_.count()),
      announced_(NOTHING),
      leader_([this] { run(); }) {}

Stream::~Stream() {
  stopping_ = true;
  work_.notify();
  leader_.join();
}

bool Stream::announce(uint32_t target) {
  const auto executed = [&] { return reached(options_.ring.header->executed.load(), target); };
  if (ComputeThreads::haveOwnCores() && spinUntil(executed)) return true;
  announced_ = target;
  return executed() && announced_.exchange(NOTHING) == target;
}

void Stream::waitForRoom() {
  const RingHeader& header = *options_.ring.header;
  const uint32_t target = header.published.load() - options_.ring.capacity + 1;
  room_.sleepUntil([&] { return reached(header.executed.load(), target); });
}

std::string Stream::failure() {
  std::lock_guard lock(failureMutex_);
  return failure_;
}

void Stream::run() {
  RingHeader& header = *options_.ring.header;
  for (uint32_t executed = header.executed.load();;) {
    awaitCommand(executed);
    if (stopping_) return;
    if (!isSkipped(executed)) execute(executed);
    header.executed = ++executed;
    room_.notify();
    tell(executed);
  }
}

void Stream::awaitCommand(uint32_t executed) {
  RingHeader& header = *options_.ring.header;
  const auto ready = [&] { return stopping_.load() || header.published.load() != executed; };
  if (ready() || (ComputeThreads::haveOwnCores() && spinUntil(ready))) return;
  header.asleep = 1;
  work_.sleepUntil(ready);
  header.asleep = 0;
}

void Stream::reset() {
  std::lock_guard lock(failureMutex_);
  failure_.clear();
  resumeAt_ = options_.ring.header->published.load();
  skips_ = true;
}

bool Stream::isSkipped(uint32_t number) {
  if (!skips_) return false;
  std::lock_guard lock(failureMutex_);
  if (failure_.empty() && reached(number, resumeAt_)) skips_ = false;
  return skips_;
}

void Stream::execute(uint32_t number) {
  try {
    daysix::execute(options_.ring.command(number), options_.kernels, team_);
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
