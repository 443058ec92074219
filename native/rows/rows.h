// The operations on rows: what a layer does between its matmuls. Each row or value is computed on its own.
#pragma once
#include <algorithm>

#include "host/team.h"
#include "gemm/weight-format.h"

namespace daysix::DAYSIX_ISA {

/// Values worth a task of their own: about 20 µs of reading and writing.
constexpr int64_t TASK_VALUES = 64 * 1024;

inline int64_t taskRows(int64_t columns) { return std::max<int64_t>(1, TASK_VALUES / std::max<int64_t>(1, columns)); }

/// Calls run(at, lanes) for each vector of `count` values; only the last may have fewer than WIDTH lanes.
template <typename Run>
inline void forVectors(int64_t count, Run&& run) {
  int64_t i = 0;
  for (; i + WIDTH <= count; i += WIDTH) run(i, std::integral_constant<int, WIDTH>());
  if (i < count) run(i, static_cast<int>(count - i));
}

template <typename Lanes>
constexpr bool isWhole = !std::is_same_v<Lanes, int>;

template <Dtype D, typename Lanes>
inline Vec loadValues(const void* codes, int64_t at, Lanes lanes) {
  const uint8_t* from = static_cast<const uint8_t*>(codes) + at * formatOf(D).valueBytes;
  if constexpr (isWhole<Lanes>) return loadCodes<D>(from);
  else return loadCodes<D>(from, lanes);
}
template <typename Lanes>
inline void storeValues(float* out, int64_t at, Vec values, Lanes lanes) {
  if constexpr (isWhole<Lanes>) store(out + at, values);
  else store(out + at, values, lanes);
}

inline void embed(const Embed& c, Team& team) {
  const Weight& table = c.table;
  withDtype(table.dtype, [&](auto dtype) {
    team.forkRanges(c.rows, taskRows(table.columns), [&](int64_t from, int64_t to, Scratch&) {
      for (int64_t row = from; row < to; row++) {
        const uint8_t* codes = table.data + c.tokens[row] * table.columns * formatOf(dtype).valueBytes;
        float* out = c.out + row * table.columns;
        forVectors(table.columns, [&](int64_t i, auto lanes) {
          storeValues(out, i, loadValues<dtype>(codes, i, lanes), lanes);
        });
      }
    });
  });
}

/// Σ x²
inline float sumOfSquares(const float* x, int64_t count) {
  Vec sums = splat(0);
  forVectors(count, [&](int64_t i, auto lanes) {
    const Vec values = loadValues<Dtype::f32>(x, i, lanes);
    sums = sums + values * values;
  });
  return sum(sums);
}

/// out = gain ⊙ x / sqrt(mean(x²) + epsilon), for one row of gain's width.
template <Dtype D>
inline void rmsNormRow(float* out, const float* x, const Weight& gain, float epsilon) {
  const float mean = sumOfSquares(x, gain.columns) / static_cast<float>(gain.columns);
  const Vec inverse = splat(1.0f / std::sqrt(mean + epsilon));
  forVectors(gain.columns, [&](int64_t i, auto lanes) {
    const Vec normed = loadValues<Dtype::f32>(x, i, lanes) * inverse;
    storeValues(out, i, loadValues<D>(gain.data, i, lanes) * normed, lanes);
  });
}

inline void rmsNorm(const RmsNorm& c, Team& team) {
  const int64_t columns = c.gain.columns;
  withDtype(c.gain.dtype, [&](auto dtype) {
    team.forkRanges(c.rows, taskRows(columns), [&](int64_t from, int64_t to, Scratch&) {
      for (int64_t row = from; row < to; row++)
        rmsNormRow<dtype>(c.out + row * columns, c.x + row * columns, c.gain, c.epsilon);
    });
  });
}

inline void add(const Add& c, Team& team) {
  team.forkRanges(c.count, TASK_VALUES, [&](int64_t from, int64_t to, Scratch&) {
    forVectors(to - from, [&](int64_t i, auto lanes) {
      const Vec x = loadValues<Dtype::f32>(c.x + from, i, lanes);
      storeValues(c.x + from, i, x + loadValues<Dtype::f32>(c.y + from, i, lanes), lanes);
    });
  });
}

inline void siluMultiply(const SiluMultiply& c, Team& team) {
  team.forkRanges(c.count, TASK_VALUES / 4, [&](int64_t from, int64_t to, Scratch&) {
    forVectors(to - from, [&](int64_t i, auto lanes) {
      const Vec gate = loadValues<Dtype::f32>(c.gate + from, i, lanes);
      const Vec silu = gate / (splat(1) + exp(splat(0) - gate));
      storeValues(c.out + from, i, silu * loadValues<Dtype::f32>(c.up + from, i, lanes), lanes);
    });
  });
}

inline void gather(const Gather& c, Team& team) {
  const int64_t rowBytes = c.x.columns * formatOf(c.x.format).valueBytes;
  const int64_t blocks = scaleBlocks(c.x.columns);
  team.forkRanges(c.rows, taskRows(c.x.columns), [&](int64_t from, int64_t to, Scratch&) {
    for (int64_t row = from; row < to; row++) {
      const int64_t source = c.sources[row];
      std::memcpy(static_cast<uint8_t*>(c.out.values) + row * rowBytes,
                  static_cast<const uint8_t*>(c.x.values) + source * rowBytes, rowBytes);
      if (formatOf(c.x.format).hasRowScales)
        std::memcpy(c.out.scales + row * blocks, c.x.scales + source * blocks, blocks * sizeof(float));
    }
  });
}

/// Σ weight · expert row, product and sum each rounded, in ascending choice: the reference's bits.
template <Dtype D>
inline void combineRow(const Combine& c, int64_t row) {
  const int32_t* places = c.places + row * c.topK;
  const float* weights = c.weights + row * c.topK;
  const uint8_t* values = static_cast<const uint8_t*>(c.expertRows.values);
  const int64_t rowBytes = static_cast<int64_t>(c.hidden) * formatOf(D).valueBytes;
  float* out = c.out + row * c.hidden;
  forVectors(c.hidden, [&](int64_t i, auto lanes) {
    Vec total = splat(0);
    for (int j = 0; j < c.topK; j++)
      total = total + splat(weights[j]) * loadValues<D>(values + places[j] * rowBytes, i, lanes);
    storeValues(out, i, total, lanes);
  });
}

inline void combine(const Combine& c, Team& team) {
  const int64_t least = taskRows(static_cast<int64_t>(c.hidden) * (c.topK + 1));
  withDtype(c.expertRows.format, [&](auto dtype) {
    team.forkRanges(c.rows, least, [&](int64_t from, int64_t to, Scratch&) {
      for (int64_t row = from; row < to; row++) combineRow<dtype>(c, row);
    });
  });
}

}  // namespace daysix::DAYSIX_ISA
