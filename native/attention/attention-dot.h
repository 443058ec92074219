// A piece's two products with vdpbf16ps over a BF16 cache.
//
// Scores multiply pairs of values of 16 lanes' queries with a pair that is broadcast from where the entry lies. Sums
// interleave two tokens' entries and multiply them with pairs of probabilities. Each output is one chain: over a query's
// pairs, and over the pairs of tokens from the piece's start.
#pragma once
#include "attention/attention-pairs.h"
#include "simd/chain.h"

namespace daysix::DAYSIX_ISA {

/// The piece's entries of two tokens, STRIP columns of them in pairs.
struct TokenPairs {
  Pairs low, high;
};

class DotAttention {
 public:
  static constexpr int VALUE_BYTES = sizeof(uint16_t);
  /// Lanes of a block, and of one cut for more threads.
  static constexpr int LANES = 128, LEAST_LANES = 2 * WIDTH;
  /// Tokens computed together.
  static constexpr int TOKENS = 16;
  /// Tokens that are fetched before they are multiplied.
  static constexpr int AHEAD = TOKENS;
  /// The last value of entries whose width is odd, in a pair with zero.
  static constexpr int TILES = TOKENS;

  explicit DotAttention(int width) : width_(width), depths_((width + STRIP - 1) / STRIP) {}

  /// Of pairs: [lane vectors, depths, WIDTH, WIDTH] of all.
  int queryFloats() const { return depths_ * WIDTH; }

  void pack(float* out, const LaneQueries& queries) const { packQueryPairs(out, depths_, queries); }

  void score(const BlockMemory& memory, const Piece& piece, const Visible& visible) const {
    int lane = 0;
    for (; lane + WIDTH < visible.lanes; lane += 2 * WIDTH) scoreLanes<2>(memory, piece, visible, lane);
    if (lane < visible.lanes) scoreLanes<1>(memory, piece, visible, lane);
  }

  static void keepProbabilities(float* scores, int token, Vec probabilities) {
    storeBf16Probabilities(scores, token, probabilities);
  }

  void sum(const BlockMemory& memory, const Piece& piece, int latent, const Visible& visible,
           const PieceResult& out) const {
    for (int column = 0; column < latent; column += STRIP) {
      for (int lane = 0, count; lane < visible.lanes; lane += count) {
        count = summedLanes(visible.lanes - lane);
        const float* probabilities = memory.scores + lane * SCORE_STRIDE;
        float* sums = out.sums + int64_t{lane} * out.stride + column;
        withSummed(count, [&](auto lanes) {
          sumLanes<lanes>(sums, out.stride, piece, column, probabilities, visible.range(lane, lanes));
        });
      }
    }
  }

  static void restore(Vec*) {}

 private:
  /// Scores of N vectors of lanes, whose queries stay in the first cache while entries pass by.
  template <int N>
  void scoreLanes(const BlockMemory& memory, const Piece& piece, const Visible& visible, int lane) const {
    constexpr int AT_ONCE = TOKENS / N;
    const float* queries = memory.queries + int64_t{lane} * queryFloats();
    for (int from = 0; from < visible.tokens; from += TOKENS) {
      const uint8_t* ahead = lane == 0 ? piece.ahead(from + AHEAD) : nullptr;
      Vec squares[N][TOKENS];
      for (int first = 0; first < TOKENS; first += AT_ONCE) {
        Chains sums[N][AT_ONCE];
        each<N * AT_ONCE>([&](auto i) __attribute__((always_inline)) { sums[i / AT_ONCE][i % AT_ONCE] = splatChains(0); });
        scorePairs(sums, piece.at(from + first), piece.entryBytes, queries, width_ / 2, ahead);
        if (ahead) ahead += width_ / 2 * LINE_OF<N>;
        if (width_ % 2) scoreLast(sums, memory.tiles, piece, from + first, queries + width_ / 2 * WIDTH);
        each<N * AT_ONCE>([&](auto i) __attribute__((always_inline)) {
          squares[i / AT_ONCE][first + i % AT_ONCE] = {sums[i / AT_ONCE][i % AT_ONCE].v};
        });
      }
      for (int n = 0; n < N; n++) {
        transpose(squares[n]);
        float* scores = memory.scores + (lane + n * WIDTH) * SCORE_STRIDE + from;
        for (int i = 0; i < WIDTH; i++) store(scores + i * SCORE_STRIDE, squares[n][i]);
      }
    }
  }

  /// The part of a line that is asked for with each pair.
  template <int N>
  static constexpr int LINE_OF = CACHE_LINE / N;

  /// Adds `pairs` pairs' products, asking for what lies ahead with each.
  template <int N, int T>
  DAYSIX_INLINE void scorePairs(Chains (&sums)[N][T], const uint8_t* entries, int64_t stride, const float* queries,
                                int pairs, const uint8_t* ahead) const {
    for (int pair = 0; pair < pairs; pair++, entries += sizeof(PackedPair), queries += WIDTH) {
      if (ahead) __builtin_prefetch(ahead + pair * LINE_OF<N>);
      Pairs query[N];
      each<N>([&](auto n) __attribute__((always_inline)) { query[n] = loadPairs(queries + n * WIDTH * queryFloats()); });
      each<T>([&](auto t) __attribute__((always_inline)) {
        const Pairs entry = splatPairAt(entries + t * stride);
        each<N>([&](auto n) __attribute__((always_inline)) { sums[n][t] = chain(query[n], entry, sums[n][t]); });
      });
    }
  }

  /// The value behind an entry's last one is another's.
  template <int N, int T>
  void scoreLast(Chains (&sums)[N][T], float* tile, const Piece& piece, int from, const float* queries) const {
    std::memset(tile, 0, T * sizeof(float));
    for (int t = 0; t < T; t++) {
      std::memcpy(tile + t, piece.at(from + t) + (width_ - 1) * VALUE_BYTES, VALUE_BYTES);
    }
    scorePairs(sums, reinterpret_cast<const uint8_t*>(tile), sizeof(float), queries, 1, nullptr);
  }

  /// How many of the lanes left are summed together. Twelve fill the registers; of sixteen, eight and eight cost less than
  /// twelve and four.
  static int summedLanes(int left) {
    if (left > 16 || (left > 8 && left <= 12)) return 12;
    return left > 4 ? 8 : 4;
  }
  template <typename Run>
  static void withSummed(int lanes, Run&& run) {
    if (lanes == 12) return run(Constant<12>());
    lanes == 8 ? run(Constant<8>()) : run(Constant<4>());
  }

  /// Sums STRIP columns from `column` on for M lanes.
  template <int M>
  void sumLanes(float* out, int stride, const Piece& piece, int column, const float* probabilities, Tokens seen) const {
    Chains sums[2 * M];
    each<2 * M>([&](auto i) __attribute__((always_inline)) { sums[i] = splatChains(0); });
    const int common = column + STRIP <= width_ ? seen.from / 2 * 2 : 0;
    for (int t = 0; t < common; t += 2) {
      const uint8_t* entry = piece.at(t) + column * VALUE_BYTES;
      addTokens<M>(sums, tokenPairs(loadWords(entry), loadWords(entry + piece.entryBytes)), probabilities + t / 2);
    }
    for (int t = common; t < seen.to; t += 2) {
      const PairWords even = settled(piece.at(t), column), odd = settled(piece.at(t + 1), column);
      addTokens<M>(sums, tokenPairs(even, odd), probabilities + t / 2);
    }
    storeSums<M>(out, stride, sums);
  }

  /// A lane's pair of probabilities is a word.
  template <int M>
  DAYSIX_INLINE static void addTokens(Chains (&sums)[2 * M], TokenPairs entries, const float* probabilities) {
    each<M>([&](auto m) __attribute__((always_inline)) {
      const Pairs probability = splatPairAt(probabilities + m * SCORE_STRIDE);
      sums[m] = chain(probability, entries.low, sums[m]);
      sums[M + m] = chain(probability, entries.high, sums[M + m]);
    });
  }

  DAYSIX_INLINE static TokenPairs tokenPairs(PairWords even, PairWords odd) {
    return {{_mm512_unpacklo_epi16(even.v, odd.v)}, {_mm512_unpackhi_epi16(even.v, odd.v)}};
  }

  template <int M>
  DAYSIX_INLINE static void storeSums(float* out, int stride, const Chains (&sums)[2 * M]) {
    each<M>([&](auto m) __attribute__((always_inline)) {
      const auto [first, last] = inColumnOrder(sums[m].v, sums[M + m].v);
      storeChains(out + m * stride, {first.v});
      storeChains(out + m * stride + WIDTH, {last.v});
    });
  }

  /// STRIP columns of an entry, with zeros behind its last and in the place of what is not finite: not all of the lanes
  /// see it.
  PairWords settled(const uint8_t* entry, int column) const {
    const int columns = std::min(STRIP, width_ - column);
    return {finiteOrZero(loadLine(entry + column * VALUE_BYTES, columns))};
  }

  int width_, depths_;
};

}  // namespace daysix::DAYSIX_ISA
