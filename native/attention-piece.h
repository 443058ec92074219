// Attention of a block of query heads over one piece of a sequence's context, as two matrix products and a softmax
// between them. A lane of a vector is one (row, head); lanes never meet, so that a query's bits do not depend on which
// others share its block.
//
//   scores[token, lane]  = entry[token, :] · query[:, lane]        tokens × lanes, over the entry's width
//   sums[lane, column]   = probability[token, lane] · entry[token, column]   lanes × columns, over tokens
//
// Entries are widened to float32 a tile at a time, small enough for L1, once for all lanes.
#pragma once
#include <algorithm>

#include "commands.h"
#include "vector.h"

namespace daysix::DAYSIX_ISA {

constexpr int MAX_LANES = 64;
constexpr int MAX_LANE_VECTORS = MAX_LANES / WIDTH;
constexpr int PIECE_PAGES = KV_PIECE_TOKENS / PAGE_TOKENS;
/// Rows and vectors of the register tile both products compute in.
constexpr int REGISTER_ROWS = WIDTH / 2;
constexpr int REGISTER_VECTORS = 2;
/// The scores' tile of entries: [SCORE_TOKENS, SCORE_DEPTH].
constexpr int SCORE_TOKENS = 32;
constexpr int SCORE_DEPTH = 128;
/// Depth computed between two steps of prefetching.
constexpr int PREFETCH_DEPTH = 16;
/// The sums' tile of entries: [SUM_TOKENS, STRIP].
constexpr int SUM_TOKENS = 128;
constexpr int STRIP = REGISTER_VECTORS * WIDTH;

/// n lanes or columns, filled up to whole vectors.
inline int wholeVectors(int n) { return (n + WIDTH - 1) / WIDTH * WIDTH; }

inline Vec loadEntry(const float* x) { return load(x); }
inline Vec loadEntry(const float* x, int n) { return load(x, n); }
inline Vec loadEntry(const uint16_t* x) { return loadBf16(x); }
inline Vec loadEntry(const uint16_t* x, int n) { return loadBf16(x, n); }

/// A piece of a sequence's context where it lies in the pool, and the first page of the next one to be computed.
template <typename Entry>
struct Piece {
  const Entry* pages[PIECE_PAGES];
  const Entry* next;
  int width;

  const Entry* at(int token) const {
    return pages[token / PAGE_TOKENS] + static_cast<int64_t>(token % PAGE_TOKENS) * width;
  }
};

/// What one thread computes a block in.
struct BlockMemory {
  /// [depths of SCORE_DEPTH, lane vectors, SCORE_DEPTH, WIDTH]
  float* queries;
  /// [lane vectors, KV_PIECE_TOKENS, WIDTH]
  float* scores;
  float* tile;
};

/// How much of a piece each lane sees, and how much any does.
struct Visible {
  int lanes, tokens;
  int of[MAX_LANES];
};

/// What a piece gives each lane: the maximum of its scores, Σ e^(score − maximum) and, beside it,
/// Σ e^(score − maximum) · latent. sums is [lanes, stride].
struct PieceResult {
  float* maximum;
  float* total;
  float* sums;
  int stride;
};

template <int columns, typename Entry>
inline void widenRow(float* out, const Entry* entry) {
#pragma GCC unroll 8
  for (int c = 0; c < columns; c += WIDTH) store(out + c, loadEntry(entry + c));
}

template <typename Entry>
inline void widenRow(float* out, const Entry* entry, int columns) {
  int c = 0;
  for (; c + WIDTH <= columns; c += WIDTH) store(out + c, loadEntry(entry + c));
  if (c < columns) store(out + c, loadEntry(entry + c, columns - c));
}

/// Widens `columns` ≤ stride columns of tokens [from, to); tile rows are `stride` long, and zeros fill a row's last
/// vector.
template <int stride, typename Entry>
inline void widen(float* tile, const Piece<Entry>& piece, int from, int to, int column, int columns) {
  while (from < to) {
    const int end = std::min(to, (from / PAGE_TOKENS + 1) * PAGE_TOKENS);
    const Entry* entry = piece.at(from) + column;
    if (columns == stride) {
      for (; from < end; from++, tile += stride, entry += piece.width) widenRow<stride>(tile, entry);
    } else {
      for (; from < end; from++, tile += stride, entry += piece.width) widenRow(tile, entry, columns);
    }
  }
}

/// Entries on their way from memory while others are computed with.
class Prefetch {
 public:
  /// Spreads `bytes` bytes over `steps` steps.
  Prefetch(const void* from, int64_t bytes, int64_t steps)
      : at_(static_cast<const char*>(from)), lines_(from ? bytes / LINE + 1 : 0), each_(lines_ / steps + 1) {}

  void step() {
    for (int64_t i = 0; i < each_ && lines_ > 0; i++, lines_--, at_ += LINE) __builtin_prefetch(at_, 0, 2);
  }

 private:
  static constexpr int LINE = 64;
  const char* at_;
  int64_t lines_, each_;
};

/// sums[m][n] += Σ_k a[m · rowStride + k · stepA] · b[k · stepB + n · vectorStride], k ascending.
template <int rowStride, int stepA, int stepB, int vectorStride, int M, int N>
[[gnu::always_inline]] inline void accumulate(Vec (&sums)[M][N], const float* a, const float* b, int depth) {
  for (int k = 0; k < depth; k++, a += stepA, b += stepB) {
    Vec right[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) right[n] = load(b + n * vectorStride);
#pragma GCC unroll 16
    for (int m = 0; m < M; m++) {
      const Vec left = splat(a[m * rowStride]);
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) sums[m][n] = fma(left, right[n], sums[m][n]);
    }
  }
}

/// Loads a register tile whose rows and vectors lie `rowStride` and `vectorStride` apart, or clears it.
template <int M, int N>
[[gnu::always_inline]] inline void loadRegisters(Vec (&tile)[M][N], const float* from, int64_t rowStride,
                                            int64_t vectorStride, bool clear) {
#pragma GCC unroll 16
  for (int m = 0; m < M; m++) {
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) tile[m][n] = clear ? splat(0) : load(from + m * rowStride + n * vectorStride);
  }
}

template <int M, int N>
[[gnu::always_inline]] inline void storeRegisters(float* out, int64_t rowStride, int64_t vectorStride,
                                             const Vec (&tile)[M][N]) {
#pragma GCC unroll 16
  for (int m = 0; m < M; m++) {
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) store(out + m * rowStride + n * vectorStride, tile[m][n]);
  }
}

/// Adds one depth's products to the scores of `tokens` tokens and N lane vectors, M tokens at a time.
template <int M, int N>
inline void scoreTokens(float* scores, const float* tile, const float* queries, int tokens, int depth, bool first,
                        Prefetch& prefetch) {
  while (tokens >= M) {
    Vec sums[M][N];
    loadRegisters(sums, scores, WIDTH, KV_PIECE_TOKENS * WIDTH, first);
    for (int k = 0; k < depth; k += PREFETCH_DEPTH) {
      prefetch.step();
      accumulate<SCORE_DEPTH, 1, WIDTH, SCORE_DEPTH * WIDTH>(sums, tile + k, queries + k * WIDTH,
                                                             std::min(PREFETCH_DEPTH, depth - k));
    }
    storeRegisters(scores, WIDTH, KV_PIECE_TOKENS * WIDTH, sums);
    scores += M * WIDTH;
    tile += M * SCORE_DEPTH;
    tokens -= M;
  }
  if constexpr (M > 1) {
    if (tokens > 0) scoreTokens<M / 2, N>(scores, tile, queries, tokens, depth, first, prefetch);
  }
}

/// scores = entries · queries, for all visible tokens and all lanes.
template <typename Entry>
void scorePiece(const BlockMemory& memory, const Piece<Entry>& piece, const Visible& visible) {
  const int vectors = wholeVectors(visible.lanes) / WIDTH;
  for (int from = 0; from < visible.tokens; from += SCORE_TOKENS) {
    const int tokens = std::min(SCORE_TOKENS, visible.tokens - from);
    const int ahead = from + SCORE_TOKENS;
    Prefetch prefetch(ahead < visible.tokens ? piece.at(ahead) : piece.next,
                      int64_t{SCORE_TOKENS} * piece.width * sizeof(Entry),
                      int64_t{piece.width} * vectors * tokens / (PREFETCH_DEPTH * REGISTER_ROWS * REGISTER_VECTORS) + 1);
    for (int column = 0; column < piece.width; column += SCORE_DEPTH) {
      const int depth = std::min(SCORE_DEPTH, piece.width - column);
      widen<SCORE_DEPTH>(memory.tile, piece, from, from + tokens, column, depth);
      const float* queries = memory.queries + static_cast<int64_t>(column) * vectors * WIDTH;
      for (int v = 0; v < vectors; v += REGISTER_VECTORS) {
        float* scores = memory.scores + (v * KV_PIECE_TOKENS + from) * WIDTH;
        const float* lanes = queries + v * SCORE_DEPTH * WIDTH;
        if (v + REGISTER_VECTORS <= vectors) {
          scoreTokens<REGISTER_ROWS, REGISTER_VECTORS>(scores, memory.tile, lanes, tokens, depth, column == 0,
              prefetch);
        } else {
          scoreTokens<REGISTER_ROWS * REGISTER_VECTORS, 1>(scores, memory.tile, lanes, tokens, depth, column == 0,
              prefetch);
        }
      }
    }
  }
}

/// Turns one lane vector's scores into probabilities relative to their maximum, as the latent sum takes them.
inline void softmaxLanes(float* scores, int tokens, float scale, bool round, float* maximum, float* total) {
  Vec best = splat(-INFINITY);
  for (int t = 0; t < tokens; t++) {
    const Vec score = load(scores + t * WIDTH) * splat(scale);
    store(scores + t * WIDTH, score);
    best = max(best, score);
  }
  const Vec reference = max(best, splat(-3e38f));
  Vec sum = splat(0);
  for (int t = 0; t < tokens; t++) {
    const Vec probability = exp(load(scores + t * WIDTH) - reference);
    sum = sum + probability;
    store(scores + t * WIDTH, round ? roundToBf16(probability) : probability);
  }
  store(maximum, best);
  store(total, sum);
}

inline void softmaxPiece(const BlockMemory& memory, const Visible& visible, float scale, bool round,
                         const PieceResult& out) {
  for (int lane = 0; lane < visible.lanes; lane++) {
    float* scores = memory.scores + lane / WIDTH * KV_PIECE_TOKENS * WIDTH + lane % WIDTH;
    for (int t = visible.of[lane]; t < visible.tokens; t++) scores[t * WIDTH] = -INFINITY;
  }
  for (int lane = 0; lane < visible.lanes; lane += WIDTH) {
    softmaxLanes(memory.scores + lane * KV_PIECE_TOKENS, visible.tokens, scale, round, out.maximum + lane,
                 out.total + lane);
  }
}

template <int M>
inline int leastOf(const int* counts) {
  int least = counts[0];
  for (int m = 1; m < M; m++) least = std::min(least, counts[m]);
  return least;
}

/// Tokens of a piece whose strip lies in the tile.
struct Tokens {
  int from, to;
};

/// Adds tokens to M lanes' sums over N vectors of columns; token 0 begins the sums.
template <int M, int N>
inline void sumTokens(float* sums, int stride, const float* probabilities, const float* tile, Tokens tokens) {
  if (tokens.from >= tokens.to && tokens.from > 0) return;
  Vec acc[M][N];
  loadRegisters(acc, sums, stride, WIDTH, tokens.from == 0);
  accumulate<1, WIDTH, STRIP, WIDTH>(acc, probabilities + tokens.from * WIDTH, tile, tokens.to - tokens.from);
  storeRegisters(sums, stride, WIDTH, acc);
}

/// Sums a tile for lanes [lane, end), which share a vector, M at a time: first the tokens that all M see, then each
/// lane's own, since what a lane may not see may hold NaN.
template <int M, int N>
inline void sumLanes(const PieceResult& out, const BlockMemory& memory, const Visible& visible, int lane, int end,
                     int column, Tokens tokens) {
  for (; lane + M <= end; lane += M) {
    const float* probabilities = memory.scores + lane / WIDTH * KV_PIECE_TOKENS * WIDTH + lane % WIDTH;
    float* sums = out.sums + static_cast<int64_t>(lane) * out.stride + column;
    const int common = std::clamp(leastOf<M>(visible.of + lane), tokens.from, tokens.to);
    sumTokens<M, N>(sums, out.stride, probabilities, memory.tile, {tokens.from, common});
    for (int m = 0; m < M; m++) {
      sumTokens<1, N>(sums + m * out.stride, out.stride, probabilities + m,
                      memory.tile + (common - tokens.from) * STRIP, {common, std::min(visible.of[lane + m], tokens.to)});
    }
  }
  if constexpr (M > 1) {
    if (lane < end) sumLanes<M / 2, N>(out, memory, visible, lane, end, column, tokens);
  }
}

/// sums = probabilities · latents, for all lanes and columns.
template <typename Entry>
void sumPiece(const BlockMemory& memory, const Piece<Entry>& piece, int latent, const Visible& visible,
              const PieceResult& out) {
  for (int from = 0; from < visible.tokens; from += SUM_TOKENS) {
    const Tokens tokens{from, std::min(from + SUM_TOKENS, visible.tokens)};
    for (int column = 0; column < latent; column += STRIP) {
      const int columns = std::min(STRIP, latent - column);
      widen<STRIP>(memory.tile, piece, tokens.from, tokens.to, column, columns);
      for (int lane = 0; lane < visible.lanes; lane += WIDTH) {
        const int end = std::min(lane + WIDTH, visible.lanes);
        if (columns > WIDTH) {
          sumLanes<REGISTER_ROWS, REGISTER_VECTORS>(out, memory, visible, lane, end, column, tokens);
        } else {
          sumLanes<REGISTER_ROWS, 1>(out, memory, visible, lane, end, column, tokens);
        }
      }
    }
  }
}

}  // namespace daysix::DAYSIX_ISA
