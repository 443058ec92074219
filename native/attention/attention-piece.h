// Attention of a block of query heads over one piece of a sequence's context, as two matrix products and a softmax
// between them. A lane of a vector is one (row, head); lanes never meet, so that a query's bits do not depend on which
// others share its block.
//
//   scores[token, lane]  = entry[token, :] · query[:, lane]        tokens × lanes, over the entry's width
//   sums[lane, column]   = probability[token, lane] · entry[token, column]   lanes × columns, over tokens
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
/// Columns of the sums that are computed together.
constexpr int STRIP = 2 * WIDTH;
constexpr int CACHE_LINE = 64;

inline int wholeSteps(int n, int step) { return (n + step - 1) / step * step; }
/// n lanes, filled up to whole vectors.
inline int wholeVectors(int n) { return wholeSteps(n, WIDTH); }

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

/// The queries of a lane vector, of which `lanes` are there.
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
  /// [lane vectors, KV_PIECE_TOKENS, WIDTH]
  float* scores;
  /// The kernel's own, for entries on their way.
  float* tiles;
};

/// How much of a piece each lane sees, and how much any does, in the kernel's steps. Lanes that fill up the last vector
/// see what the last lane does.
struct Visible {
  int lanes, tokens;
  int of[MAX_LANES];

  /// What all of `count` lanes see, and what any of them does.
  Tokens range(int lane, int count) const {
    const auto [least, most] = std::minmax_element(of + lane, of + lane + count);
    return {*least, *most};
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
    if (left_.from < left_.to) each_ = ((left_.to - left_.from) * piece.entryBytes / CACHE_LINE / steps + 1) * CACHE_LINE;
    nextPage();
  }

  void step() {
    for (int64_t left = each_; left > 0 && at_ < end_;) {
      const uint8_t* to = std::min(at_ + left, end_);
      left -= to - at_;
      for (; at_ < to; at_ += CACHE_LINE) __builtin_prefetch(at_, 0, 2);
      if (at_ >= end_) nextPage();
    }
  }

 private:
  void nextPage() {
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
  int64_t each_ = 0;
};

/// Scales one lane vector's scores. A score that is not finite becomes NaN, so that an entry that is not finite spoils whoever
/// sees it, even with a probability of zero.
inline void scaleScores(float* scores, int tokens, float scale) {
  for (int t = 0; t < tokens; t++) {
    const Vec score = load(scores + t * WIDTH) * splat(scale);
    store(scores + t * WIDTH, score + score * splat(0));
  }
}

/// Turns one lane vector's scores into probabilities relative to their maximum. A lane's sum goes over its tokens as any
/// row's does: token t is added to one of 16 partial sums, which a tree adds at the end.
template <class Kernel>
inline void softmaxLanes(float* scores, int tokens, float* maximum, float* total) {
  constexpr int PARTS = 16;
  static_assert(Kernel::TOKENS % PARTS == 0);
  Vec best = splat(-INFINITY);
  for (int t = 0; t < tokens; t++) best = max(best, load(scores + t * WIDTH));
  Vec sums[PARTS];
  for (Vec& sum : sums) sum = splat(0);
  for (int t = 0; t < tokens; t += PARTS) {
    for (int i = 0; i < PARTS; i += 2) {
      const Vec even = exp(load(scores + (t + i) * WIDTH) - best);
      const Vec odd = exp(load(scores + (t + i + 1) * WIDTH) - best);
      sums[i] = sums[i] + even;
      sums[i + 1] = sums[i + 1] + odd;
      Kernel::keepProbabilities(scores, t + i, even, odd);
    }
  }
  for (int half = PARTS / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) sums[i] = sums[i] + sums[i + half];
  }
  store(maximum, best);
  store(total, sums[0]);
}

template <class Kernel>
inline void softmaxPiece(const BlockMemory& memory, const Visible& visible, float scale, const PieceResult& out) {
  for (int lane = 0; lane < visible.lanes; lane += WIDTH) {
    float* scores = memory.scores + lane * KV_PIECE_TOKENS;
    scaleScores(scores, visible.tokens, scale);
    for (int i = 0; i < WIDTH; i++) {
      for (int t = visible.of[lane + i]; t < visible.tokens; t++) scores[t * WIDTH + i] = -INFINITY;
    }
    softmaxLanes<Kernel>(scores, visible.tokens, out.maximum + lane, out.total + lane);
  }
}

}  // namespace daysix::DAYSIX_ISA
