// The ring through which TypeScript hands commands to a stream; src/kernels/native/command-ring.ts is its other end.
#pragma once
#include <atomic>
#include <cstdint>

namespace daysix {

/// Words of a command: the operation's number, then its arguments. Every word is a float64, in which an address fits.
constexpr int COMMAND_WORDS = 32;

/// Counts of commands, which wrap around. A slot is free again once its command has run.
struct RingHeader {
  /// Commands written, by TypeScript.
  alignas(64) std::atomic<uint32_t> published;
  /// Commands run, by the stream.
  alignas(64) std::atomic<uint32_t> executed;
  /// Whether the stream's thread sleeps and must be woken after publishing.
  alignas(64) std::atomic<uint32_t> asleep;
};
static_assert(sizeof(RingHeader) == 192);

struct Ring {
  RingHeader* header;
  /// [capacity, COMMAND_WORDS]
  const double* words;
  /// A power of two.
  uint32_t capacity;

  const double* command(uint32_t number) const { return words + (number & (capacity - 1)) * COMMAND_WORDS; }
};

/// Whether a wrapping count has come to `target`.
inline bool reached(uint32_t count, uint32_t target) { return static_cast<int32_t>(count - target) >= 0; }

}  // namespace daysix
