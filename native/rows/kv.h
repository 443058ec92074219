// Rotary embedding and the KV cache's entries.
#pragma once
#include "rows/elementary.h"
#include "rows/rows.h"

namespace daysix::DAYSIX_ISA {

/// Cosines and sines of a position, `rope / 2` each, as rope.ts gives them bit for bit.
inline void rotationOf(float* cosines, float* sines, int half, const Rope& rope, int32_t position) {
  const double amplitude = rope.amplitude;
  for (int i = 0; i < half; i++) {
    const double angle = static_cast<float>(static_cast<double>(position) * rope.frequencies[i]);
    const SineAndCosine turn = sineAndCosine(angle);
    cosines[i] = static_cast<float>(turn.cosine * amplitude);
    sines[i] = static_cast<float>(turn.sine * amplitude);
  }
}

/// Turns pairs of values that are `Step` apart from pair to pair, and `other` within one.
template <int Step>
inline void rotatePairs(float* x, const float* cosines, const float* sines, int half, int other) {
  for (int i = 0; i < half; i++) {
    const float x0 = x[i * Step], x1 = x[i * Step + other];
    x[i * Step] = x0 * cosines[i] - x1 * sines[i];
    x[i * Step + other] = x1 * cosines[i] + x0 * sines[i];
  }
}

inline void rotate(float* x, const float* cosines, const float* sines, int half, bool interleaved) {
  if (interleaved) return rotatePairs<2>(x, cosines, sines, half, 1);
  rotatePairs<1>(x, cosines, sines, half, half);
}

inline void ropeQuery(const RopeQuery& c, Team& team) {
  const MlaShape& shape = c.shape;
  const int half = shape.rope / 2;
  const int64_t width = shape.nope + shape.rope;
  // An angle costs about as much as 16 rotated values.
  team.forkRanges(c.layout.rows, taskRows((int64_t{shape.heads} + 16) * shape.rope), [&](int64_t from, int64_t to,
                                                                                        Scratch& scratch) {
    auto* cosines = static_cast<float*>(scratch.reserve(2 * half * sizeof(float)));
    float* sines = cosines + half;
    for (int64_t row = from; row < to; row++) {
      rotationOf(cosines, sines, half, c.rope, c.layout.positions[row]);
      float* q = c.q + row * shape.heads * width + shape.nope;
      for (int head = 0; head < shape.heads; head++) rotate(q + head * width, cosines, sines, half, c.rope.interleaved);
    }
  });
}

/// The sequence that holds `row`.
inline int sequenceOf(const StepLayout& layout, int64_t row) {
  return static_cast<int>(std::upper_bound(layout.rowStarts, layout.rowStarts + layout.sequences + 1, row) -
                          layout.rowStarts) - 1;
}

/// The pool's entry that holds a row's own position.
inline int64_t entryOf(const StepLayout& layout, int64_t row) {
  const int32_t position = layout.positions[row];
  const int32_t* table = layout.pageTables + int64_t{sequenceOf(layout, row)} * layout.tableStride;
  return int64_t{table[position / PAGE_TOKENS]} * PAGE_TOKENS + position % PAGE_TOKENS;
}

template <Dtype gain>
inline void writeKvRows(const WriteKv& c, int64_t from, int64_t to, float* memory) {
  const int half = c.shape.rope / 2;
  const int64_t width = c.shape.latent + c.shape.rope;
  float* entry = memory;
  float* cosines = memory + width;
  float* sines = cosines + half;
  for (int64_t row = from; row < to; row++) {
    const float* x = c.x + row * width;
    rmsNormRow<gain>(entry, x, c.gain, c.epsilon);
    std::memcpy(entry + c.shape.latent, x + c.shape.latent, c.shape.rope * sizeof(float));
    rotationOf(cosines, sines, half, c.rope, c.layout.positions[row]);
    rotate(entry + c.shape.latent, cosines, sines, half, c.rope.interleaved);
    const int64_t at = entryOf(c.layout, row) * width;
    if (c.cache.format == Dtype::bf16) {
      uint16_t* out = static_cast<uint16_t*>(c.cache.values) + at;
      forVectors(width, [&](int64_t i, auto lanes) {
        storeBf16(out + i, loadValues<Dtype::f32>(entry, i, lanes), lanes);
      });
    } else {
      std::memcpy(static_cast<float*>(c.cache.values) + at, entry, width * sizeof(float));
    }
  }
}

/// Normalises the latent of each row, rotates its key and stores both where the row's page lies.
inline void writeKv(const WriteKv& c, Team& team) {
  const int64_t width = c.shape.latent + c.shape.rope;
  withDtype(c.gain.dtype, [&](auto gain) {
    team.forkRanges(c.layout.rows, taskRows(2 * width + 16 * c.shape.rope),
                    [&](int64_t from, int64_t to, Scratch& scratch) {
      auto* memory = static_cast<float*>(scratch.reserve((width + c.shape.rope) * sizeof(float)));
      writeKvRows<gain>(c, from, to, memory);
    });
  });
}

}  // namespace daysix::DAYSIX_ISA
