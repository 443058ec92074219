// Sequences in scattered pages for the attention drivers: entries nobody wrote are NaN, unused table slots garbage.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "operands.h"

namespace daysix::test {

/// Rows are a sequence's last ones.
struct Sequence {
  int context, rows;
};

inline float roundBf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

inline uint16_t bf16Bits(float x) {
  const float rounded = roundBf16(x);
  uint32_t bits;
  std::memcpy(&bits, &rounded, sizeof bits);
  return static_cast<uint16_t>(bits >> 16);
}

/// One step's queries and its sequences' context. `spare` pages more than are used.
struct AttentionCase {
  AttentionCase(MlaShape shape, bool rounded, std::vector<Sequence> sequences, int spare, uint64_t seed)
      : shape(shape), rounded(rounded), sequences(sequences), width(shape.latent + shape.rope) {
    Random random(seed);
    int used = 0;
    tableStride = 2;
    rowStarts = {0};
    for (const Sequence& s : sequences) {
      used += pagesOf(s);
      tableStride = std::max(tableStride, pagesOf(s) + 2);
      for (int i = s.context - s.rows; i < s.context; i++) positions.push_back(i);
      rowStarts.push_back(static_cast<int32_t>(positions.size()));
    }
    pages = used + spare;
    rows = static_cast<int>(positions.size());
    place(random);
    entries.resize(int64_t{pages} * PAGE_TOKENS * width, NAN);
    for (size_t s = 0; s < sequences.size(); s++) {
      for (int t = 0; t < sequences[s].context; t++) {
        for (int c = 0; c < width; c++) entry(s, t)[c] = draw(random, c);
      }
    }
    absorbed.resize(int64_t{rows} * shape.heads * shape.latent);
    q.resize(int64_t{rows} * shape.heads * (shape.nope + shape.rope));
    for (float& x : absorbed) x = random.normal();
    for (float& x : q) x = random.normal();
  }

  static int pagesOf(const Sequence& s) { return (s.context + PAGE_TOKENS - 1) / PAGE_TOKENS; }

  /// Moves every page to another place in the pool.
  void permute(uint64_t seed) {
    const std::vector<float> before = entries;
    const std::vector<int32_t> old = pageTables;
    Random random(seed);
    place(random);
    std::fill(entries.begin(), entries.end(), NAN);
    const int64_t size = int64_t{PAGE_TOKENS} * width;
    for (size_t s = 0; s < sequences.size(); s++) {
      for (int p = 0; p < pagesOf(sequences[s]); p++) {
        const size_t slot = s * tableStride + p;
        std::copy_n(before.begin() + old[slot] * size, size, entries.begin() + pageTables[slot] * size);
      }
    }
  }

  float* entry(size_t sequence, int t) {
    const int64_t page = pageTables[sequence * tableStride + t / PAGE_TOKENS];
    return entries.data() + (page * PAGE_TOKENS + t % PAGE_TOKENS) * width;
  }

  StepLayout layout() const {
    return {rows,           static_cast<int>(sequences.size()), tableStride, positions.data(), rowStarts.data(),
            pageTables.data()};
  }

  MlaShape shape;
  bool rounded;
  std::vector<Sequence> sequences;
  int width, rows, pages, tableStride;
  std::vector<int32_t> positions, rowStarts, pageTables;
  std::vector<float> entries, absorbed, q;

 private:
  void place(Random& random) {
    std::vector<int32_t> order(pages);
    std::iota(order.begin(), order.end(), 0);
    for (int i = pages - 1; i > 0; i--) std::swap(order[i], order[random.below(i + 1)]);
    pageTables.resize(sequences.size() * tableStride);
    for (int32_t& slot : pageTables) slot = static_cast<int32_t>(random.bits());
    int next = 0;
    for (size_t s = 0; s < sequences.size(); s++) {
      for (int p = 0; p < pagesOf(sequences[s]); p++) pageTables[s * tableStride + p] = order[next++];
    }
  }

  /// Some columns are so small that their values or their products are denormals.
  float draw(Random& random, int column) const {
    const float x = random.normal() * (column % 13 == 5 ? 1e-38f : 1.0f);
    return rounded ? roundBf16(x) : x;
  }
};

}  // namespace daysix::test
