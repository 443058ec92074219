// A piece's two products over entries that are widened to float32, a tile at a time, small enough for L1, once for all
// lanes: over a float32 cache, and over a BF16 cache on processors without vdpbf16ps.
//
// Both products are the same one: lines of the left factor, one for each lane (queries, probabilities), times a tile of
// STRIP columns (tokens, for which entries are turned; an entry's own columns). A BF16 chain takes each pair's odd value
// first. Lanes' lines and tiles lie in the chain's order, so that the loops just ascend.
#pragma once
#include <bit>

#include "attention/attention-piece.h"
#include "simd/chain.h"

namespace daysix::DAYSIX_ISA {

#if !defined(DAYSIX_DOTS)
/// Each pair's values trade places.
inline Vec swapPairs(Vec x) {
#if defined(__AVX512F__)
  return {_mm512_permute_ps(x.v, 0xb1)};
#elif defined(__AVX2__)
  return {_mm256_permute_ps(x.low, 0xb1), _mm256_permute_ps(x.high, 0xb1)};
#else
  float values[WIDTH];
  store(values, x);
  for (int i = 0; i < WIDTH; i += 2) std::swap(values[i], values[i + 1]);
  return load(values);
#endif
}

/// Even values and odd ones take turns.
inline void interleave(Vec* strip) {
#if defined(__AVX512F__)
  const __m512 even = strip[0].v, odd = strip[1].v;
  const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  strip[0].v = _mm512_permutex2var_ps(even, first, odd);
  strip[1].v = _mm512_permutex2var_ps(even, _mm512_add_epi32(first, _mm512_set1_epi32(8)), odd);
#elif defined(__AVX2__)
  const auto take = [](__m256 even, __m256 odd) {
    const __m256 low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
    return Vec{_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31)};
  };
  const Vec even = strip[0], odd = strip[1];
  strip[0] = take(even.low, odd.low);
  strip[1] = take(even.high, odd.high);
#else
  float values[STRIP];
  for (int i = 0; i < WIDTH; i++) values[2 * i] = strip[0].v[i], values[2 * i + 1] = strip[1].v[i];
  for (int i = 0; i < STRIP / WIDTH; i++) strip[i] = load(values + i * WIDTH);
#endif
}
#endif

/// Four words of each of 16 lines, `stride` bytes apart, become four vectors.
inline void turnWords(Vec (&out)[4], const uint8_t* words, int64_t stride) {
  const auto line = [&](int i) { return reinterpret_cast<const float*>(words + i * stride); };
#if defined(__AVX512F__)
  // Each quarter of a vector takes a line's words: lines i, i + 4, i + 8 and i + 12.
  __m512 lines[4], pairs[4];
  for (int i = 0; i < 4; i++) {
    __m512 quarters = _mm512_castps128_ps512(_mm_loadu_ps(line(i)));
    quarters = _mm512_insertf32x4(quarters, _mm_loadu_ps(line(i + 4)), 1);
    quarters = _mm512_insertf32x4(quarters, _mm_loadu_ps(line(i + 8)), 2);
    lines[i] = _mm512_insertf32x4(quarters, _mm_loadu_ps(line(i + 12)), 3);
  }
  for (int i = 0; i < 4; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(lines[i], lines[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(lines[i], lines[i + 1]);
  }
  for (int i = 0; i < 2; i++) {
    out[2 * i].v = _mm512_shuffle_ps(pairs[i], pairs[2 + i], 0x44);
    out[2 * i + 1].v = _mm512_shuffle_ps(pairs[i], pairs[2 + i], 0xee);
  }
#elif defined(__AVX2__)
  const auto turnEight = [&](int first, __m256(&turned)[4]) {
    // Each half of a vector takes a line's words: lines i and i + 4.
    __m256 lines[4], pairs[4];
    for (int i = 0; i < 4; i++) {
      const __m256 half = _mm256_castps128_ps256(_mm_loadu_ps(line(first + i)));
      lines[i] = _mm256_insertf128_ps(half, _mm_loadu_ps(line(first + i + 4)), 1);
    }
    for (int i = 0; i < 4; i += 2) {
      pairs[i] = _mm256_unpacklo_ps(lines[i], lines[i + 1]);
      pairs[i + 1] = _mm256_unpackhi_ps(lines[i], lines[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
      turned[2 * i] = _mm256_shuffle_ps(pairs[i], pairs[2 + i], 0x44);
      turned[2 * i + 1] = _mm256_shuffle_ps(pairs[i], pairs[2 + i], 0xee);
    }
  };
  __m256 low[4], high[4];
  turnEight(0, low);
  turnEight(8, high);
  for (int i = 0; i < 4; i++) out[i] = {low[i], high[i]};
#else
  for (int i = 0; i < 4; i++) {
    float values[WIDTH];
    for (int j = 0; j < WIDTH; j++) std::memcpy(values + j, line(j) + i, sizeof(float));
    out[i] = load(values);
  }
#endif
}

/// How entries of a dtype are read, and how a chain goes on with one value.
template <Dtype D>
struct EntryFormat;

/// Products and sums are rounded one by one, values in ascending order.
template <>
struct EntryFormat<Dtype::f32> {
  using Value = float;
  static constexpr int placeOf(int i) { return i; }
  static Vec inOrder(Vec x) { return x; }
  static Vec round(Vec x) { return x; }
  /// Half of a strip.
  DAYSIX_INLINE static Chains halfOf(const Value* values, int half) { return loadChains(values + half * WIDTH); }
  static void restore(Vec*) {}
  /// STRIP values of 16 tokens, `stride` bytes apart, become lines of a tile.
  static void turn(float* tile, const Value* values, int64_t stride) {
    for (int i = 0; i < STRIP; i += 4, tile += 4 * STRIP) {
      Vec turned[4];
      turnWords(turned, reinterpret_cast<const uint8_t*>(values + i), stride);
      for (int j = 0; j < 4; j++) store(tile + j * STRIP, turned[j]);
    }
  }
  DAYSIX_INLINE static Chains splat(float x) { return splatChains(x); }
  DAYSIX_INLINE static Chains load16(const float* x) { return loadChains(x); }
  DAYSIX_INLINE static void store16(float* out, Chains x) { storeChains(out, x); }
  DAYSIX_INLINE static Chains step(Chains sum, Chains a, Chains b) { return sum + a * b; }
};

#if !defined(DAYSIX_DOTS)
/// Product and sum are rounded together, of each pair the odd value first.
template <>
struct EntryFormat<Dtype::bf16> {
  using Value = uint16_t;
  static constexpr int placeOf(int i) { return i ^ 1; }
  static Vec inOrder(Vec x) { return swapPairs(x); }
  static Vec round(Vec x) { return roundToBf16(x); }
  /// A strip's even values, or its odd ones.
  DAYSIX_INLINE static Half halfOf(const Value* values, int half) {
    return half ? oddHalf(loadWords(values)) : evenHalf(loadWords(values));
  }
  static void restore(Vec* strip) { interleave(strip); }
  /// Turned as pairs, which are then widened.
  static void turn(float* tile, const Value* values, int64_t stride) {
    for (int i = 0; i < STRIP; i += 8, tile += 8 * STRIP) {
      Vec turned[4];
      turnWords(turned, reinterpret_cast<const uint8_t*>(values + i), stride);
      for (int j = 0; j < 4; j++) {
        const PairWords pairs = std::bit_cast<PairWords>(turned[j]);
        store16(tile + 2 * j * STRIP, oddHalf(pairs));
        store16(tile + (2 * j + 1) * STRIP, evenHalf(pairs));
      }
    }
  }
  DAYSIX_INLINE static Half splat(float x) { return splatHalf(x); }
  DAYSIX_INLINE static Half load16(const float* x) { return loadHalf(x); }
  DAYSIX_INLINE static void store16(float* out, Half x) { storeChains(out, Chains{x}); }
  DAYSIX_INLINE static Chains step(Chains sum, Half a, Half b) { return addProducts(a, b, sum); }
};
#endif

template <Dtype D>
class VectorAttention {
  using Format = EntryFormat<D>;
  using Value = typename Format::Value;

 public:
  static constexpr int VALUE_BYTES = sizeof(Value);
  /// Lanes of a block, and of one cut for more threads.
  static constexpr int LANES = 96, LEAST_LANES = 12;
  /// Tokens computed together.
  static constexpr int TOKENS = STRIP;
  /// The other half follows while scores are computed; while sums are, the next piece's first half.
  static constexpr int AHEAD = KV_PIECE_TOKENS / 2;
  /// An entry's values whose share in the scores is added at a time.
  static constexpr int DEPTH = 192;
  static constexpr int TILES = std::max(DEPTH, KV_PIECE_TOKENS) * STRIP;

  explicit VectorAttention(int width) : width_(width) {}

  /// Of values in the chain's order: [parts of DEPTH, lanes, DEPTH] of all.
  int queryFloats() const { return wholeSteps(width_, DEPTH); }

  void pack(float* out, const LaneQueries& queries) const {
    for (int lane = 0; lane < queries.lanes; lane++) {
      for (int value = 0; value < wholeSteps(width_, 2); value += WIDTH) {
        float* to = out + (int64_t{value / DEPTH} * queries.lanes + lane) * DEPTH + value % DEPTH;
        store(to, Format::inOrder(Format::round(loadQuery(queries, lane, value))));
      }
    }
  }

  void score(const BlockMemory& memory, const Piece& piece, const Visible& visible) const {
    const int64_t steps = int64_t{width_} * visible.tokens / STRIP * rowsOf(visible);
    Prefetch rest(piece, {AHEAD, KV_PIECE_TOKENS}, steps * 3 / 4);
    for (int from = 0; from < visible.tokens; from += STRIP) {
      for (int column = 0; column < width_; column += DEPTH) {
        const int depth = std::min(DEPTH, wholeSteps(width_, 2) - column);
        turnEntries(memory.tiles, piece, from, column, depth);
        const float* queries = memory.queries + int64_t{column} * visible.lanes;
        forRows(visible, [&](auto rows, int lane, int seen) {
          if (seen <= from) return;
          const Product product{memory.scores + lane * SCORE_STRIDE + from, SCORE_STRIDE, queries + lane * DEPTH,
                                memory.tiles, depth, column == 0};
          multiply<rows, DEPTH>(product, rest.take(depth));
        });
      }
    }
  }

  static void keepProbabilities(float* scores, int token, Vec probabilities) {
    store(scores + token, Format::inOrder(Format::round(probabilities)));
  }

  void sum(const BlockMemory& memory, const Piece& piece, int latent, const Visible& visible,
           const PieceResult& out) const {
    const Tokens seen = visible.range(0, visible.lanes);
    Prefetch next(*piece.next, {0, AHEAD}, int64_t{wholeSteps(latent, STRIP)} * visible.tokens / STRIP * rowsOf(visible));
    for (int column = 0; column < latent; column += STRIP) {
      const Strip strip{&piece, column * VALUE_BYTES, column + STRIP <= width_ ? seen.from / 2 * 2 : 0};
      for (int t = strip.tokens; t < wholeSteps(seen.to, 2); t++) widenSettled(memory.tiles, piece, t, column);
      forRows(visible, [&](auto rows, int lane, int tokens) {
        const Product product{out.sums + int64_t{lane} * out.stride + column, out.stride,
                              memory.scores + lane * SCORE_STRIDE, memory.tiles, wholeSteps(tokens, 2), true};
        multiply<rows, SCORE_STRIDE>(product, next.take(product.count), lane == 0 ? &strip : nullptr);
      });
    }
  }

  static void restore(Vec* strip) { Format::restore(strip); }

 private:
  /// Lanes multiplied together, and vectors of a strip: their chains fill the registers beside what they are multiplied
  /// with, of 32 registers or 16 that are half as wide.
#if defined(__AVX512F__)
  static constexpr int ROWS = 12, VECTORS = 2;
#else
  static constexpr int ROWS = 6, VECTORS = 1;
#endif

  /// `count` steps of some lanes' chains: values of theirs times a tile's lines.
  struct Product {
    float* out;
    int stride;
    const float* left;
    float* tile;
    int count;
    bool first;
  };

  /// The piece's first tokens, which all lanes see, and where in their entries a strip lies.
  struct Strip {
    const Piece* piece;
    int offset, tokens;
  };

  /// A lane's values from `value` on, zeros behind the last.
  static Vec loadQuery(const LaneQueries& queries, int lane, int value) {
    const LaneQueries::Part &absorbed = queries.absorbed, &rotated = queries.rotated;
    const int inRotated = value - absorbed.count;
    if (inRotated + WIDTH <= 0) return loadPart(absorbed, lane, value);
    if (inRotated >= 0 && inRotated + WIDTH <= rotated.count) return loadPart(rotated, lane, inRotated);
    float values[WIDTH] = {};
    for (int i = 0; i < std::min(WIDTH, absorbed.count + rotated.count - value); i++) {
      const int at = inRotated + i;
      values[i] = at < 0 ? absorbed.values[lane * absorbed.stride + value + i] : rotated.values[lane * rotated.stride + at];
    }
    return load(values);
  }

  /// Asks for what lies some lanes ahead.
  static Vec loadPart(const LaneQueries::Part& part, int lane, int value) {
    constexpr int LANES_AHEAD = 4;
    const float* values = part.values + lane * part.stride + value;
    __builtin_prefetch(values + LANES_AHEAD * part.stride);
    return load(values);
  }

  /// Turns `columns` values of STRIP tokens into lines, zeros behind an entry's last.
  void turnEntries(float* tile, const Piece& piece, int from, int column, int columns) const {
    for (int t = 0; t < STRIP; t += WIDTH) {
      const uint8_t* entries = piece.at(from + t) + column * VALUE_BYTES;
      for (int c = 0; c < columns; c += STRIP, entries += STRIP * VALUE_BYTES) {
        const int n = width_ - column - c;
        if (n >= STRIP) {
          Format::turn(tile + c * STRIP + t, reinterpret_cast<const Value*>(entries), piece.entryBytes);
        } else {
          Value copy[WIDTH * STRIP] = {};
          for (int i = 0; i < WIDTH; i++) std::memcpy(copy + i * STRIP, entries + i * piece.entryBytes, n * VALUE_BYTES);
          Format::turn(tile + c * STRIP + t, copy, STRIP * VALUE_BYTES);
        }
      }
    }
  }

  /// Widens a strip of a token that not all of the lanes see into its place's line, with zeros behind the entry's last
  /// value and in the place of what is not finite.
  void widenSettled(float* tile, const Piece& piece, int token, int column) const {
    const auto* values = reinterpret_cast<const Value*>(piece.at(token)) + column;
    Value copy[STRIP] = {};
    if (column + STRIP > width_) values = static_cast<Value*>(std::memcpy(copy, values, (width_ - column) * VALUE_BYTES));
    for (int half = 0; half < STRIP / WIDTH; half++) {
      const Vec value = std::bit_cast<Vec>(Format::halfOf(values, half)), zero = splat(0);
      const Vec spoilt = value + value * zero;
      store(tile + Format::placeOf(token) * STRIP + half * WIDTH, min(spoilt, zero) + max(spoilt, zero));
    }
  }

  /// Calls run(rows, lane, seen) for lanes from `lane` on, `rows` of them at a time, of which one sees `seen` tokens.
  template <int Rows = ROWS, typename Run>
  static void forRows(const Visible& visible, Run run, int lane = 0) {
    for (; lane + Rows <= visible.lanes; lane += Rows) run(Constant<Rows>(), lane, visible.range(lane, Rows).to);
    if constexpr (Rows > 1) forRows<static_cast<int>(std::bit_floor(Rows - 1u))>(visible, run, lane);
  }

  static int rowsOf(const Visible& visible) { return (visible.lanes + ROWS - 1) / ROWS; }

  template <int M, int STRIDE>
  static void multiply(const Product& product, Prefetch::Steps ahead, const Strip* strip = nullptr) {
    for (int vector = 0; vector < STRIP / WIDTH; vector += VECTORS) {
      multiplyVectors<M, STRIDE>(product, vector, vector == 0 ? ahead : Prefetch::Steps{}, strip);
    }
  }

  /// Lanes' lines are STRIDE floats apart. Tokens of a strip are widened on the way, into the tile's lines as well. Not
  /// inlined, so that the loops' registers are their own.
  template <int M, int STRIDE>
  [[gnu::noinline]] static void multiplyVectors(const Product& product, int vector, Prefetch::Steps ahead,
                                                const Strip* strip) {
    constexpr int N = VECTORS;
    Chains sums[M * N];
    const auto sumsOf = [&](int i) { return product.out + i / N * int64_t{product.stride} + (vector + i % N) * WIDTH; };
    each<M * N>([&](auto i) __attribute__((always_inline)) {
      sums[i] = product.first ? splatChains(0) : loadChains(sumsOf(i));
    });
    using Right = decltype(Format::splat(0));
    const auto step = [&](const float* left, const Right(&right)[N]) __attribute__((always_inline)) {
      if (ahead.at) __builtin_prefetch(ahead.at, 0, 2), ahead.at += ahead.pace;
      each<M>([&](auto m) __attribute__((always_inline)) {
        const auto value = Format::splat(left[m * STRIDE]);
        each<N>([&](auto n) __attribute__((always_inline)) {
          sums[m * N + n] = Format::step(sums[m * N + n], value, right[n]);
        });
      });
    };
    const float* left = product.left;
    float* line = product.tile + vector * WIDTH;
    for (int t = 0; strip && t < strip->tokens;) {
      const uint8_t* entry = strip->piece->at(t) + strip->offset;
      const int64_t bytes = strip->piece->entryBytes;
      for (const int end = std::min(strip->tokens, t + PAGE_TOKENS); t < end; t += 2, entry += 2 * bytes) {
        each<2>([&](auto i) __attribute__((always_inline)) {
          const auto* values = reinterpret_cast<const Value*>(entry + Format::placeOf(i) * bytes);
          Right right[N];
          each<N>([&](auto n) __attribute__((always_inline)) {
            right[n] = Format::halfOf(values, vector + n);
            Format::store16(line + n * WIDTH, right[n]);
          });
          step(left, right);
          left++, line += STRIP;
        });
      }
    }
    for (const float* end = product.left + product.count; left < end; left++, line += STRIP) {
      Right right[N];
      each<N>([&](auto n) __attribute__((always_inline)) { right[n] = Format::load16(line + n * WIDTH); });
      step(left, right);
    }
    each<M * N>([&](auto i) __attribute__((always_inline)) { storeChains(sumsOf(i), sums[i]); });
  }

  int width_;
};

}  // namespace daysix::DAYSIX_ISA
