// A piece's two products over entries that are widened to float32, a tile at a time, small enough for L1, once for all
// lanes: over a float32 cache, and over a BF16 cache on processors without vdpbf16ps.
//
// A BF16 chain takes each pair's odd value first. Tiles, queries and probabilities lie in the chain's order, so that the
// loops just ascend.
#pragma once
#include "attention/attention-piece.h"
#include "simd/chain.h"

namespace daysix::DAYSIX_ISA {

#if !defined(DAYSIX_DOTS)
/// STRIP values as float32, in their own order or each pair's odd value first.
template <bool oddFirst>
inline void widenBf16(float* out, const uint16_t* values) {
#if defined(__AVX512F__)
  const __m512i line = _mm512_loadu_si512(values);
  const __m512i ascending = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i order = oddFirst ? _mm512_xor_si512(ascending, _mm512_set1_epi32(1)) : ascending;
  for (int half = 0; half < 2; half++) {
    // A value's place among the line's, in the upper half of each word.
    const __m512i places = _mm512_slli_epi32(_mm512_add_epi32(order, _mm512_set1_epi32(half * WIDTH)), 16);
    _mm512_storeu_si512(out + half * WIDTH, _mm512_maskz_permutexvar_epi16(0xaaaaaaaa, places, line));
  }
#elif defined(__AVX2__)
  // Bytes of four values for each half of a vector, zeros below.
  const __m256i order = oddFirst ? _mm256_setr_epi32(0x0302ffff, 0x0100ffff, 0x0706ffff, 0x0504ffff, 0x0b0affff, 0x0908ffff, 0x0f0effff, 0x0d0cffff)
                                 : _mm256_setr_epi32(0x0100ffff, 0x0302ffff, 0x0504ffff, 0x0706ffff, 0x0908ffff, 0x0b0affff, 0x0d0cffff, 0x0f0effff);
  for (int i = 0; i < STRIP; i += 8) {
    const __m256i eight = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values + i)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm256_shuffle_epi8(eight, order));
  }
#else
  for (int i = 0; i < STRIP; i++) out[i] = bf16Value(values[oddFirst ? i ^ 1 : i]);
#endif
}
#endif

/// How entries of a dtype are read, and how a chain goes on with one value.
template <Dtype D>
struct EntryFormat;

/// Products and sums are rounded one by one, values in ascending order.
template <>
struct EntryFormat<Dtype::f32> {
  using Value = float;
  static constexpr int placeOf(int i) { return i; }
  static Vec round(Vec x) { return x; }
  static bool isFinite(Value x) { return std::isfinite(x); }
  template <bool>
  static void widen(float* out, const Value* values) {
    for (int i = 0; i < STRIP; i += WIDTH) store(out + i, load(values + i));
  }
  DAYSIX_INLINE static Chains splat(float x) { return splatChains(x); }
  DAYSIX_INLINE static Chains load16(const float* x) { return loadChains(x); }
  DAYSIX_INLINE static Chains step(Chains sum, Chains a, Chains b) { return sum + a * b; }
};

#if !defined(DAYSIX_DOTS)
/// Product and sum are rounded together, of each pair the odd value first.
template <>
struct EntryFormat<Dtype::bf16> {
  using Value = uint16_t;
  static constexpr int placeOf(int i) { return i ^ 1; }
  static Vec round(Vec x) { return roundToBf16(x); }
  static bool isFinite(Value x) { return (x & 0x7f80) != 0x7f80; }
  template <bool oddFirst>
  static void widen(float* out, const Value* values) { widenBf16<oddFirst>(out, values); }
  DAYSIX_INLINE static Half splat(float x) { return splatHalf(x); }
  DAYSIX_INLINE static Half load16(const float* x) { return loadHalf(x); }
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
  static constexpr int LANES = 128, LEAST_LANES = 2 * WIDTH;
  /// Tokens computed together.
  static constexpr int TOKENS = 16;
  /// Tokens that are fetched before they are multiplied.
  static constexpr int AHEAD = 2 * TOKENS;
  /// Of the scores: [SCORE_TOKENS, DEPTH]; of the sums: [SUM_TOKENS, STRIP].
  static constexpr int SCORE_TOKENS = 32, DEPTH = 128, SUM_TOKENS = 128;
  static constexpr int TILES = std::max(SCORE_TOKENS * DEPTH, SUM_TOKENS * STRIP);

  explicit VectorAttention(int width) : width_(width) {}

  /// Of values in the chain's order: [lane vectors, even width, WIDTH] of all.
  int queryFloats() const { return wholeSteps(width_, 2); }

  void pack(float* out, int vector, const LaneQueries& queries) const {
    out += int64_t{vector} * queryFloats() * WIDTH;
    if (width_ % 2) store(out + Format::placeOf(width_) * WIDTH, splat(0));
    packPart(out, queries.absorbed, 0, queries.lanes);
    packPart(out, queries.rotated, queries.absorbed.count, queries.lanes);
  }

  void score(const BlockMemory& memory, const Piece& piece, const Visible& visible) const {
    for (int from = 0; from < visible.tokens; from += SCORE_TOKENS) {
      const Tokens tokens{from, std::min(from + SCORE_TOKENS, visible.tokens)};
      for (int column = 0; column < width_; column += DEPTH) {
        const int depth = std::min(DEPTH, queryFloats() - column);
        widenTile<true>(memory.tiles, DEPTH, piece, tokens, column, depth);
        for (int lane = 0; lane < visible.lanes;) {
          const Scoring scoring{memory.scores + (lane * KV_PIECE_TOKENS + from * WIDTH), memory.tiles,
                                memory.queries + int64_t{lane} * queryFloats() + column * WIDTH, column, depth};
          const Piece* ahead = lane == 0 ? &piece : nullptr;
          if (lane + WIDTH < visible.lanes) {
            scoreTokens<SCORE_ROWS, 2>(scoring, tokens, ahead);
            lane += 2 * WIDTH;
          } else {
            scoreTokens<2 * SCORE_ROWS, 1>(scoring, tokens, ahead);
            lane += WIDTH;
          }
        }
      }
    }
  }

  static void keepProbabilities(float* scores, int token, Vec even, Vec odd) {
    store(scores + Format::placeOf(token) * WIDTH, Format::round(even));
    store(scores + Format::placeOf(token + 1) * WIDTH, Format::round(odd));
  }

  void sum(const BlockMemory& memory, const Piece& piece, int latent, const Visible& visible,
           const PieceResult& out) const {
    for (int column = 0; column < latent; column += STRIP) {
      for (int from = 0; from < visible.tokens; from += SUM_TOKENS) {
        const int to = std::min(from + SUM_TOKENS, visible.tokens);
        widenTokens(memory.tiles, piece, visible, {from, to}, column);
        for (int lane = 0; lane < visible.lanes; lane += WIDTH) {
          const float* probabilities = memory.scores + (lane * KV_PIECE_TOKENS + from * WIDTH);
          float* sums = out.sums + int64_t{lane} * out.stride + column;
          for (int i = 0; i < std::min(WIDTH, visible.lanes - lane); i += SUM_ROWS) {
            const int seen = std::clamp(wholeSteps(visible.range(lane + i, SUM_ROWS).to, 2), from, to);
            sumTile(sums + int64_t{i} * out.stride, out.stride, memory.tiles, probabilities + i, seen - from, from == 0);
          }
        }
      }
    }
  }

  static void restore(Vec*) {}

 private:
  /// Chains in registers beside what they are multiplied with, of 32 registers or 16 that are half as wide.
#if defined(__AVX512F__)
  static constexpr int SCORE_ROWS = 8, SUM_ROWS = 8;
#else
  static constexpr int SCORE_ROWS = 2, SUM_ROWS = 2;
#endif

  /// A tile's share in some lanes' scores.
  struct Scoring {
    float* scores;
    const float* values;
    const float* queries;
    int column, depth;
  };

  /// Packs values that are a query's `first` and on.
  static void packPart(float* out, const LaneQueries::Part& part, int first, int lanes) {
    for (int from = 0; from < part.count; from += WIDTH) {
      const int n = std::min(WIDTH, part.count - from);
      Vec square[WIDTH];
      for (int i = 0; i < WIDTH; i++) {
        square[i] = Format::round(i < lanes ? load(part.values + i * part.stride + from, n) : splat(0));
      }
      transpose(square);
      for (int i = 0; i < n; i++) store(out + Format::placeOf(first + from + i) * WIDTH, square[i]);
    }
  }

  /// Widens `columns` columns of tokens, in the chain's order if so wished, zeros behind an entry's last.
  template <bool inChainOrder>
  void widenTile(float* tile, int stride, const Piece& piece, Tokens tokens, int column, int columns) const {
    for (int t = tokens.from; t < tokens.to; t++, tile += stride) {
      const auto* values = reinterpret_cast<const Value*>(piece.at(t)) + column;
      int c = 0;
      for (; c < columns && column + c + STRIP <= width_; c += STRIP) Format::template widen<inChainOrder>(tile + c, values + c);
      if (c < columns) widenSettled<inChainOrder>(tile + c, values + c, width_ - column - c, false);
    }
  }

  /// Widens a strip's first n values, with zeros behind and in the place of what is not finite, if so wished.
  template <bool inChainOrder>
  static void widenSettled(float* out, const Value* values, int n, bool finite) {
    Value copy[STRIP] = {};
    for (int i = 0; i < std::min(n, STRIP); i++) copy[i] = finite && !Format::isFinite(values[i]) ? Value{} : values[i];
    Format::template widen<inChainOrder>(out, copy);
  }

  /// Widens a strip of tokens into the lines of their places. Of those that not all of the lanes see, nothing that is
  /// not finite.
  void widenTokens(float* tile, const Piece& piece, const Visible& visible, Tokens tokens, int column) const {
    const int common = visible.range(0, visible.lanes).from / 2 * 2;
    for (int t = tokens.from; t < tokens.to; t++) {
      const auto* values = reinterpret_cast<const Value*>(piece.at(t)) + column;
      float* line = tile + (Format::placeOf(t) - tokens.from) * STRIP;
      if (t < common && column + STRIP <= width_) Format::template widen<false>(line, values);
      else widenSettled<false>(line, values, width_ - column, true);
    }
  }

  /// Adds a tile's products to its tokens' scores with N lane vectors, M tokens at a time. Asks for as much of what is
  /// `AHEAD` tokens ahead in a piece, if there is one.
  template <int M, int N>
  void scoreTokens(Scoring tile, Tokens tokens, const Piece* piece) const {
    for (int token = tokens.from; token < tokens.to; token += M) {
      const uint8_t* ahead = piece ? piece->ahead(token + AHEAD) : nullptr;
      scoreTile<M, N>(tile, int64_t{queryFloats()} * WIDTH, ahead ? ahead + tile.column * M * VALUE_BYTES : nullptr);
      tile.scores += M * WIDTH;
      tile.values += M * DEPTH;
    }
  }

  /// Not inlined, so that the loop's registers are its own.
  template <int M, int N>
  [[gnu::noinline]] static void scoreTile(const Scoring& tile, int64_t vector, const uint8_t* ahead) {
    Chains sums[M * N];
    const auto scoresOf = [&](int i) { return tile.scores + (i / N + i % N * KV_PIECE_TOKENS) * WIDTH; };
    each<M * N>([&](auto i) __attribute__((always_inline)) {
      sums[i] = tile.column == 0 ? splatChains(0) : loadChains(scoresOf(i));
    });
    const float* values = tile.values;
    const float* query = tile.queries;
    for (const float* end = values + tile.depth; values < end; values++, query += WIDTH) {
      if (ahead) __builtin_prefetch(ahead, 0, 2), ahead += M * VALUE_BYTES;
      decltype(Format::splat(0)) queries[N];
      each<N>([&](auto n) __attribute__((always_inline)) { queries[n] = Format::load16(query + n * vector); });
      each<M>([&](auto m) __attribute__((always_inline)) {
        const auto value = Format::splat(values[m * DEPTH]);
        each<N>([&](auto n) __attribute__((always_inline)) {
          sums[m * N + n] = Format::step(sums[m * N + n], value, queries[n]);
        });
      });
    }
    each<M * N>([&](auto i) __attribute__((always_inline)) { storeChains(scoresOf(i), sums[i]); });
  }

  /// Adds tokens' products to SUM_ROWS lanes' sums over a strip.
  static void sumTile(float* out, int stride, const float* tile, const float* probabilities, int tokens, bool first) {
    Chains sums[SUM_ROWS * 2];
    const auto sumsOf = [&](int i) { return out + i / 2 * stride + i % 2 * WIDTH; };
    each<SUM_ROWS * 2>([&](auto i) __attribute__((always_inline)) {
      sums[i] = first ? splatChains(0) : loadChains(sumsOf(i));
    });
    for (int t = 0; t < tokens; t++, tile += STRIP, probabilities += WIDTH) {
      const auto low = Format::load16(tile), high = Format::load16(tile + WIDTH);
      each<SUM_ROWS>([&](auto m) __attribute__((always_inline)) {
        const auto probability = Format::splat(probabilities[m]);
        sums[2 * m] = Format::step(sums[2 * m], probability, low);
        sums[2 * m + 1] = Format::step(sums[2 * m + 1], probability, high);
      });
    }
    each<SUM_ROWS * 2>([&](auto i) __attribute__((always_inline)) { storeChains(sumsOf(i), sums[i]); });
  }

  int width_;
};

}  // namespace daysix::DAYSIX_ISA
