// The operations of kernels/stream.ts as plain data: what the stream's ring carries and the kernels take.
#pragma once
#include <atomic>

#include "host/formats.h"

namespace daysix {

enum class Scoring : int32_t { sigmoid, softmax };
enum class GateMethod : int32_t { noauxTc, groupLimitedGreedy, greedy };

/// How a linear weight lies: row after row, or as strips.h says.
enum class WeightLayout : int64_t { rows, strips };
/// What strips of INT4 weights hold beside codes: BF16 scales, or float32 ones; zero points, or 8 for all.
enum class Int4Strips : int64_t { bf16, f32, bf16ZeroPoints, f32ZeroPoints };

constexpr int PAGE_TOKENS = 64;
constexpr int KV_PIECE_TOKENS = 256;

/// How one row's token is chosen: a row of SamplingRows.rules in kernels/stream.ts.
struct SamplingRule { double temperature, topK, topP, minP, random, likeliest, repetition, presence, frequency; };
struct CountedToken { int32_t token, generated; };
/// Where a row's LogitAdjustments of kernels/stream.ts lie: addresses and counts, each a float64.
struct LogitAdjustments {
  double counted, distinct, proposed, proposals, biasTokens, biases, biasCount, allowed, allowedWords;
};

/// What all ranks do once in an exchange of rows.
enum class ExchangeAct : int32_t { dispatch, giveBack };
/// A line of SharedRows: first one for each act, with how often ranks have done it; then one for each rank, with how
/// often its bell was rung and how many rows it has dispatched.
struct alignas(64) ExchangeLine {
  std::atomic<uint32_t> count;
  int32_t rows;
};
constexpr int EXCHANGE_ACTS = 2;

#define FIELD(type, name) type name;
#define NATIVE_ONLY(type, name) type name = {};
#define STRUCT(Name, ...) \
  struct Name {           \
    __VA_ARGS__           \
  };
#define OPERATION(name, Name, ...) STRUCT(Name, __VA_ARGS__)
#include "host/operations.h"

// Calls visit(name, field) for each field that crosses the ring.
#define FIELD(type, name) visit(#name, x.name);
#define STRUCT(Name, ...)                          \
  template <typename Visit>                        \
  constexpr void visitFields(Name& x, Visit&& visit) { \
    __VA_ARGS__                                    \
  }
#define OPERATION(name, Name, ...) STRUCT(Name, __VA_ARGS__)
#include "host/operations.h"

/// Whether a type is written field by field.
template <typename T>
concept Composite = requires(T& x) { visitFields(x, [](const char*, auto&) {}); };

}  // namespace daysix
