// AMX tiles: eight registers of 16 rows × 64 bytes, and the products of BF16 pairs and of INT8 values. Compiled where DAYSIX_TILES is set.
//
// DAYSIX_EMULATE_TILES computes the same bits in plain C++, so that the kernels on tiles are tested on machines without.
#pragma once
#include <cstdint>
#include <cstring>

#include "simd/vector.h"

namespace daysix::DAYSIX_ISA {

constexpr int TILE_LINES = 16;
constexpr int LINE_BYTES = 64;
constexpr int TILE_BYTES = TILE_LINES * LINE_BYTES;
/// BF16 values in a tile's line.
constexpr int LINE_VALUES = LINE_BYTES / 2;

#if defined(DAYSIX_EMULATE_TILES)

struct TileRegister {
  uint8_t lines[TILE_LINES][LINE_BYTES];
};
inline thread_local TileRegister tileRegisters[8];

class UseTiles {
 public:
  UseTiles() { std::memset(tileRegisters, 0, sizeof tileRegisters); }
};

template <int T>
inline void tileZero() {
  std::memset(&tileRegisters[T], 0, TILE_BYTES);
}

template <int T>
inline void tileLoad(const void* lines, int64_t stride) {
  for (int i = 0; i < TILE_LINES; i++) {
    std::memcpy(tileRegisters[T].lines[i], static_cast<const uint8_t*>(lines) + i * stride, LINE_BYTES);
  }
}

template <int T>
inline void tileStore(void* lines, int64_t stride) {
  for (int i = 0; i < TILE_LINES; i++) {
    std::memcpy(static_cast<uint8_t*>(lines) + i * stride, tileRegisters[T].lines[i], LINE_BYTES);
  }
}

/// As the processor: denormals count as zero, on the way in and out.
inline float flushDenormal(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

inline float bf16Half(uint32_t pair, int half) {
  const uint32_t bits = half ? pair & 0xffff0000u : pair << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return flushDenormal(value);
}

template <int C, int A, int B>
inline void tileMultiply() {
  for (int m = 0; m < TILE_LINES; m++) {
    uint32_t pairs[TILE_LINES];
    float out[TILE_LINES], sums[2][TILE_LINES] = {};
    std::memcpy(pairs, tileRegisters[A].lines[m], LINE_BYTES);
    std::memcpy(out, tileRegisters[C].lines[m], LINE_BYTES);
    for (int k = 0; k < TILE_LINES; k++) {
      uint32_t others[TILE_LINES];
      std::memcpy(others, tileRegisters[B].lines[k], LINE_BYTES);
      for (int n = 0; n < TILE_LINES; n++) {
        for (int half = 0; half < 2; half++) {
          sums[half][n] = flushDenormal(std::fma(bf16Half(pairs[k], half), bf16Half(others[n], half), sums[half][n]));
        }
      }
    }
    for (int n = 0; n < TILE_LINES; n++) {
      out[n] = flushDenormal(flushDenormal(out[n]) + flushDenormal(sums[0][n] + sums[1][n]));
    }
    std::memcpy(tileRegisters[C].lines[m], out, LINE_BYTES);
  }
}

/// C[m][n] += Σ over k of A[m][k] · B[k / 4][n][k % 4], of INT8 values and offset codes.
template <int C, int A, int B>
inline void tileMultiplyCodes() {
  for (int m = 0; m < TILE_LINES; m++) {
    int32_t out[TILE_LINES];
    std::memcpy(out, tileRegisters[C].lines[m], LINE_BYTES);
    for (int k = 0; k < LINE_BYTES; k++) {
      const auto a = static_cast<int8_t>(tileRegisters[A].lines[m][k]);
      const uint8_t* line = tileRegisters[B].lines[k / 4] + k % 4;
      for (int n = 0; n < TILE_LINES; n++) out[n] += a * line[n * 4];
    }
    std::memcpy(tileRegisters[C].lines[m], out, LINE_BYTES);
  }
}

#else

/// Shapes all eight tiles, for the thread it lives on.
class UseTiles {
 public:
  UseTiles() {
    struct alignas(64) {
      uint8_t palette = 1, startRow = 0, reserved[14] = {};
      uint16_t lineBytes[16] = {};
      uint8_t lines[16] = {};
    } shapes;
    for (int tile = 0; tile < 8; tile++) {
      shapes.lineBytes[tile] = LINE_BYTES;
      shapes.lines[tile] = TILE_LINES;
    }
    static_assert(sizeof shapes == 64);
    asm volatile("ldtilecfg %0" : : "m"(shapes));
  }
  ~UseTiles() { asm volatile("tilerelease"); }
  UseTiles(const UseTiles&) = delete;
  UseTiles& operator=(const UseTiles&) = delete;
};

template <int T>
inline void tileZero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(T));
}

template <int T>
inline void tileLoad(const void* lines, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(lines), "r"(stride), "i"(T) : "memory");
}

template <int T>
inline void tileStore(void* lines, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(lines), "r"(stride), "i"(T) : "memory");
}

/// C[m][n] += Σ over pairs k of A[m][k] · B[k][n]: the pairs' low halves are summed from zero by fused multiplies in
/// ascending k, so are their high halves, both sums are added, and that to C. Denormals count as zero.
template <int C, int A, int B>
inline void tileMultiply() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

/// C[m][n] += Σ over k of A[m][k] · B[k / 4][n][k % 4], of INT8 values and offset codes.
template <int C, int A, int B>
inline void tileMultiplyCodes() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

#endif

}  // namespace daysix::DAYSIX_ISA
