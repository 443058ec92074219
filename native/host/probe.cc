#include "host/probe.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

namespace daysix {

namespace {

using Time = std::chrono::steady_clock;

/// Calls work(thread) on every thread, again and again until the time is over, and adds up what it returns.
Probed repeat(const ProbeOptions& options, const std::function<double(int)>& work) {
  std::atomic<int> waiting = options.threads;
  std::vector<double> amounts(options.threads);
  std::vector<Time::time_point> starts(options.threads), ends(options.threads);
  const auto run = [&](int thread) {
    waiting--;
    while (waiting > 0) std::this_thread::yield();
    const Time::time_point start = Time::now();
    Time::time_point now;
    double amount = 0;
    do {
      amount += work(thread);
      now = Time::now();
    } while (now - start < options.time);
    amounts[thread] = amount;
    starts[thread] = start;
    ends[thread] = now;
  };
  std::vector<std::thread> helpers;
  for (int thread = 1; thread < options.threads; thread++) helpers.emplace_back(run, thread);
  run(0);
  for (std::thread& helper : helpers) helper.join();
  double amount = 0;
  for (const double each : amounts) amount += each;
  const auto [start, end] = std::pair(*std::min_element(starts.begin(), starts.end()),
                                      *std::max_element(ends.begin(), ends.end()));
  return {std::chrono::duration<double>(end - start).count(), amount};
}

}  // namespace

Probed probeRead(const ProbeOptions& options, const ProbedMemory& memory) {
  const int64_t slices = memory.size / ProbedMemory::SLICE_BYTES;
  std::vector<std::atomic<int64_t>> next(memory.together ? options.threads : 1);
  for (auto& each : next) each = memory.first;
  return repeat(options, [&](int thread) -> double {
    const int64_t slice = next[memory.together ? thread : 0].fetch_add(1, std::memory_order_relaxed) % slices;
    const volatile uint64_t value =
        options.kernels.readBytes(memory.data + slice * ProbedMemory::SLICE_BYTES, ProbedMemory::SLICE_BYTES);
    static_cast<void>(value);
    return ProbedMemory::SLICE_BYTES;
  });
}

Probed probeMultiply(const ProbeOptions& options, MultiplyKind kind) {
  constexpr int64_t ROUNDS = 20'000;
  const MultiplyPeak& peak = options.kernels.peaks[static_cast<int>(kind)];
  return repeat(options, [&](int) { return static_cast<double>(peak.multiply(ROUNDS)); });
}

}  // namespace daysix
