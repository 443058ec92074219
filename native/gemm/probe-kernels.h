// What a machine can do at most, in the words of one instruction set: reading memory and multiplying.
#pragma once
#include <cstring>
#include <iterator>

#include "gemm/product-integer.h"
#include "host/kernel-table.h"
#if defined(DAYSIX_TILES)
#include "simd/tile.h"
#endif

namespace daysix::DAYSIX_ISA {

/// Reads `size` bytes in order, asking for them as far ahead as the products of few rows do; a value of all of them.
inline uint64_t readBytes(const uint8_t* data, int64_t size) {
  constexpr int LINE = 64, LINES = 4;
  typedef uint64_t Line __attribute__((vector_size(LINE)));
  Line sums[LINES] = {};
  for (int64_t at = 0; at + LINES * LINE <= size; at += LINES * LINE) {
    for (int i = 0; i < LINES; i++) {
      __builtin_prefetch(data + at + i * LINE + PREFETCH_BYTES);
      Line line;
      std::memcpy(&line, data + at + i * LINE, LINE);
      sums[i] ^= line;
    }
  }
  const Line all = (sums[0] ^ sums[1]) ^ (sums[2] ^ sums[3]);
  uint64_t value = 0;
  for (int i = 0; i < LINE / 8; i++) value ^= all[i];
  return value;
}

/// Sums that do not wait for each other, more than any core's units have in flight.
constexpr int PROBE_CHAINS = VECTORS_OF_STRIP == 1 ? 16 : 6;

/// Keeps all values, or the compiler would leave out what they are made of.
template <typename Value, int Count>
inline void readAll(const Value (&values)[Count]) {
  volatile Value kept;
  for (const Value& value : values) kept = value;
  static_cast<void>(kept);
}

/// `rounds` steps of PROBE_CHAINS vectors of BF16 chains; the operations of all.
inline int64_t multiplyPairs(int64_t rounds) {
  // Through a volatile, or the compiler would take constants from memory in every product.
  const volatile uint32_t ones = 0x3f803f80;
  const uint32_t word = ones;
  const Pairs a = splatPairAt(&word), b = splatPairAt(&word);
  Chains sums[PROBE_CHAINS];
  for (int i = 0; i < PROBE_CHAINS; i++) sums[i] = splatChains(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; round++) {
    each<PROBE_CHAINS>([&](auto i) __attribute__((always_inline)) { sums[i] = chain(a, b, sums[i]); });
  }
  float all[PROBE_CHAINS * CHAINS];
  for (int i = 0; i < PROBE_CHAINS; i++) storeChains(all + i * CHAINS, sums[i]);
  readAll(all);
  return rounds * PROBE_CHAINS * CHAINS * 4;
}

/// `rounds` steps of PROBE_CHAINS vectors of INT8 sums; the operations of all.
inline int64_t multiplyCodes(int64_t rounds) {
  alignas(64) static const uint32_t codes[DOT_LANES] = {0x81828384};
  static const int8_t values[4] = {1, -2, 3, -4};
  const OffsetCodes weights = loadOffsetCodes(codes);
  const FourValues four = splatFour(values);
  DotSums sums[PROBE_CHAINS];
  // Not the same ones, of which the compiler would make one.
  for (int i = 0; i < PROBE_CHAINS; i++) sums[i] = splatSums(i);
  for (int64_t round = 0; round < rounds; round++) {
    each<PROBE_CHAINS>([&](auto i) __attribute__((always_inline)) { sums[i] = addDots(sums[i], weights, four); });
  }
  int32_t all[PROBE_CHAINS * DOT_LANES];
  std::memcpy(all, sums, sizeof all);
  readAll(all);
  return rounds * PROBE_CHAINS * DOT_LANES * 8;
}

/// Sums that do not wait for each other, as many as the registers hold; more than any core's units have in flight.
constexpr int PROBE_SUMS = REGISTERS == 32 ? 24 : 6;

/// `rounds` fused multiply-adds of each of PROBE_SUMS vectors; the floating-point operations of all.
inline int64_t multiplyFloats(int64_t rounds) {
  Vec sums[PROBE_SUMS];
  for (int i = 0; i < PROBE_SUMS; i++) sums[i] = splat(static_cast<float>(i));
  const Vec factor = splat(0.5f), summand = splat(1.0f);
  for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 24
    for (int i = 0; i < PROBE_SUMS; i++) sums[i] = fma(sums[i], factor, summand);
  }
  Vec total = sums[0];
  for (int i = 1; i < PROBE_SUMS; i++) total = total + sums[i];
  // Read through a volatile, or the compiler would leave the products out.
  const volatile float result = sum(total);
  static_cast<void>(result);
  return rounds * PROBE_SUMS * WIDTH * 2;
}

#if defined(DAYSIX_TILES)

/// `rounds` products of INT8 tiles into four sums by turns; the operations of all.
inline int64_t multiplyCodeTiles(int64_t rounds) {
  const UseTiles tiles;
  for (int64_t round = 0; round < rounds; round += 4) {
    tileMultiplyCodes<0, 4, 6>();
    tileMultiplyCodes<1, 4, 7>();
    tileMultiplyCodes<2, 5, 6>();
    tileMultiplyCodes<3, 5, 7>();
  }
  return roundUp(rounds, 4) * TILE_LINES * TILE_LINES * LINE_BYTES * 2;
}

/// `rounds` products of BF16 tiles into four sums by turns; the floating-point operations of all.
inline int64_t multiplyPairTiles(int64_t rounds) {
  const UseTiles tiles;
  alignas(LINE_BYTES) uint16_t ones[TILE_BYTES / 2];
  std::fill(std::begin(ones), std::end(ones), 0x3f80);
  tileLoad<4>(ones, LINE_BYTES);
  tileLoad<5>(ones, LINE_BYTES);
  tileLoad<6>(ones, LINE_BYTES);
  tileLoad<7>(ones, LINE_BYTES);
  constexpr int SUMS = 4;
  for (int64_t round = 0; round < rounds; round += SUMS) {
    tileMultiply<0, 4, 6>();
    tileMultiply<1, 4, 7>();
    tileMultiply<2, 5, 6>();
    tileMultiply<3, 5, 7>();
  }
  return roundUp(rounds, SUMS) * TILE_LINES * TILE_LINES * LINE_VALUES * 2;
}

#endif

#if defined(__AVX512F__) || defined(__AVX2__)
constexpr MultiplyPeak FLOAT_PEAK = {"FP32 FMA", multiplyFloats};
#else
constexpr MultiplyPeak FLOAT_PEAK = {"C++", multiplyFloats};
#endif
#if defined(DAYSIX_DOTS)
constexpr MultiplyPeak PAIR_PEAK = {"vdpbf16ps", multiplyPairs};
#else
constexpr MultiplyPeak PAIR_PEAK = {FLOAT_PEAK.instructions, multiplyPairs};
#endif
#if defined(DAYSIX_TILES)
constexpr MultiplyPeak CODE_PEAK = {"AMX-INT8", multiplyCodeTiles};
#elif defined(__AVX512VNNI__)
constexpr MultiplyPeak CODE_PEAK = {"VNNI", multiplyCodes};
#elif defined(__AVX2__)
constexpr MultiplyPeak CODE_PEAK = {"vpmaddubsw", multiplyCodes};
#else
constexpr MultiplyPeak CODE_PEAK = {"C++", multiplyCodes};
#endif

}  // namespace daysix::DAYSIX_ISA
