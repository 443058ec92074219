// The operations of kernels/stream.ts as plain data: what the stream's ring carries and the kernels take.
#pragma once
#include "host/formats.h"

namespace daysix {

enum class Scoring : int32_t { sigmoid, softmax };
enum class GateMethod : int32_t { noauxTc, groupLimitedGreedy, greedy };

constexpr int PAGE_TOKENS = 64;
constexpr int KV_PIECE_TOKENS = 256;

/// How one row's token is chosen: a row of SamplingRows.rules in kernels/stream.ts.
struct SamplingRule { double temperature, topK, topP, minP, random, likeliest, repetition, presence, frequency; };
struct CountedToken { int32_t token, generated; };
/// Where a row's LogitAdjustments of kernels/stream.ts lie: addresses and counts, each a float64.
struct LogitAdjustments { double counted, distinct, proposed, proposals, biasTokens, biases, biasCount; };

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
