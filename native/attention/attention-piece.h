// Attention of a block of query heads over one piece of a sequence's context, as two matrix products and a softmax
// between them. A lane is one (row, head); lanes never meet, so that a query's bits do not depend on which others share
// its block.
//
//   scores[lane, token] = query[lane, :] · entry[token, :]          lanes × tokens, over the entry's width
//   sums[lane, column]  = probability[lane, token] · entry[token, column]   lanes × columns, over tokens
//
// The products are a kernel's own: attention-vector.h, attention-tile.h.
#pragma once
#include <algorithm>

#include "host/commands.h"
#include "simd/vector.h"

namespace daysix::DAYSIX_ISA {

/// Of any kernel's blocks.
constexpr int MAX_LANES = 128;
constexpr int PIECE_PAGES = KV_PIECE_TOKENS / PAGE_TOKENS;
/// From a lane's scores of a piece to the next lane's, so that they do not crowd in a few sets of L1.
constexpr int SCORE_STRIDE = KV_PIECE_TOKENS + WIDTH;
/// Columns of the sums that are computed together.
constexpr int STRIP = 2 * WIDTH;
constexpr int CACHE_LINE = 64;

inline int wholeSteps(int n, int step) { return (n + step - 1) / step * step; }
/// n lanes, filled up to whole vectors.
inline int wholeVectors(int n) { return wholeSteps(n, WIDTH); }

/// Lines of 16 values become columns; lines `stride` floats apart, in the same place or another.
inline void transposeSquare(const float* in, int64_t stride, float* out, int64_t outStride) {
  Vec square[WIDTH];
  for (int i = 0; i < WIDTH; i++) square[i] = load(in + i * stride);
  transpose(square);
  for (int i = 0; i < WIDTH; i++) store(out + i * outStride, square[i]);
}

/// A piece of a sequence's context where it lies in the pool, and the piece to be computed after it.
struct Piece {
  const uint8_t* pages[PIECE_PAGES];
  int tokens, width;
  int64_t entryBytes;
  const Piece* next;

  const uint8_t* at(unsigned token) const {
    return pages[token / PAGE_TOKENS] + static_cast<int64_t>(token % PAGE_TOKENS) * entryBytes;
  }
  /// Where a token lies that follows soon, in this piece or the next; null where there is none.
  const uint8_t* ahead(int token) const {
    if (token < tokens) return at(token);
    const int further = token - KV_PIECE_TOKENS;
    return further >= 0 && further < next->tokens ? next->at(further) : nullptr;
  }
};

/// Tokens of a piece.
struct Tokens {
  int from, to;
};

/// The queries of a block's lanes.
struct LaneQueries {
  /// `count` values of each lane, lanes `stride` apart.
  struct Part {
    const float* values;
    int64_t stride;
    int count;
  };
  Part absorbed, rotated;
  int lanes;
};

/// What one thread computes a block in.
struct BlockMemory {
  /// As the kernel packs them.
  float* queries;
  /// [lanes in whole vectors, SCORE_STRIDE]; later the probabilities as the kernel keeps them, each lane's in its place.
  float* scores;
  /// The kernel's own, for entries on their way.
  float* tiles;
  /// Behind: results of pieces.
  float* results;
};

/// How much of a piece each lane sees, and how much any does, in the kernel's steps. Lanes that fill up the last vector
/// see what the last lane does.
struct Visible {
  int lanes, tokens;
  int of[MAX_LANES];

  /// What all of `count` lanes see, and what any of them does.
  Tokens range(int lane, int count) const {
    Tokens seen{of[lane], of[lane]};
    for (int i = 1; i < count; i++) seen = {std::min(seen.from, of[lane + i]), std::max(seen.to, of[lane + i])};
    return seen;
  }
};

/// What a piece gives each lane: the maximum of its scores, Σ e^(score − maximum) and, beside it,
/// Σ e^(score − maximum) · latent. sums is [lanes, stride].
struct PieceResult {
  float* maximum;
  float* total;
  float* sums;
  int stride;
};

/// Entries on their way from memory while others are computed with.
class Prefetch {
 public:
  /// Spreads a piece's tokens, as far as it has them, over `steps` steps.
  Prefetch(const Piece& piece, Tokens tokens, int64_t steps)
      : piece_(&piece), left_{tokens.from, std::min(tokens.to, piece.tokens)} {
    if (left_.from < left_.to) pace_ = ((left_.to - left_.from) * piece.entryBytes + steps - 1) / steps;
    nextPage();
  }

  /// Asks for a step's lines.
  void step() {
    for (int64_t left = wholeSteps(static_cast<int>(pace_), CACHE_LINE); left > 0 && at_ < end_;) {
      const uint8_t* to = std::min(at_ + left, end_);
      left -= to - at_;
      for (; at_ < to; at_ += CACHE_LINE) __builtin_prefetch(at_, 0, 2);
      if (at_ >= end_) nextPage();
    }
  }

  /// For whoever asks himself: the i-th of the next `steps` steps is for what lies at i · pace.
  struct Steps {
    const uint8_t* at = nullptr;
    int64_t pace = 0;
  };
  Steps take(int steps) {
    if (at_ >= end_) return {};
    const Steps taken{at_, pace_};
    at_ += steps * pace_;
    if (at_ >= end_) nextPage();
    return taken;
  }

 private:
  void nextPage() {
    at_ = end_;
    if (left_.from >= left_.to) return;
    const int to = std::min(left_.to, (left_.from / PAGE_TOKENS + 1) * PAGE_TOKENS);
    at_ = piece_->at(left_.from);
    end_ = at_ + (to - left_.from) * piece_->entryBytes;
    left_.from = to;
  }

  const Piece* piece_;
  /// Beyond this page's.
  Tokens left_;
  const uint8_t* at_ = nullptr;
  const uint8_t* end_ = nullptr;
  int64_t pace_ = 0;
};

/// Scales a lane's scores and gives their maximum. A score that is not finite becomes NaN, so that an entry that is not
/// finite spoils whoever sees it, even with a probability of zero.
inline float scaleScores(float* scores, int seen, float scale) {
  Vec best = splat(-INFINITY);
  for (int t = 0; t < seen; t += WIDTH) {
    const Vec score = load(scores + t) * splat(scale);
    store(scores + t, score + score * splat(0));
    for (int unseen = seen; unseen < t + WIDTH; unseen++) scores[unseen] = -INFINITY;
    best = max(best, load(scores + t));
  }
  return maximum(best);
}

/// Turns a lane's scores into probabilities relative to their maximum, zeros behind what it sees. Token t is added to
/// one of 16 partial sums, which a tree adds at the end.
template <class Kernel>
inline void softmaxLane(float* scores, int seen, int tokens, float scale, float* maximum, float* total) {
  *maximum = scaleScores(scores, seen, scale);
  const Vec best = splat(*maximum);
  Vec sums = splat(0);
  int t = 0;
  for (; t < seen; t += WIDTH) {
    const Vec probabilities = exp(load(scores + t) - best);
    sums = sums + probabilities;
    Kernel::keepProbabilities(scores, t, probabilities);
  }
  for (; t < tokens; t += WIDTH) Kernel::keepProbabilities(scores, t, splat(0));
  *total = sum(sums);
}

template <class Kernel>
inline void softmaxPiece(const BlockMemory& memory, const Visible& visible, float scale, const PieceResult& out) {
  for (int lane = 0; lane < visible.lanes; lane++) {
    softmaxLane<Kernel>(memory.scores + lane * SCORE_STRIDE, visible.of[lane], visible.tokens, scale,
                        out.maximum + lane, out.total + lane);
  }
}

}  // namespace daysix::DAYSIX_ISA
