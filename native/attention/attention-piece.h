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

#include "gemm/weight-format.h"

namespace daysix::DAYSIX_ISA {

/// Of any kernel's blocks.
constexpr int MAX_LANES = 128;
constexpr int PIECE_PAGES = KV_PIECE_TOKENS / PAGE_TOKENS;
/// Columns of the sums that are computed together.
constexpr int STRIP = 2 * WIDTH;

/// n lanes, filled up to whole vectors.
inline int wholeVectors(int n) { return (n + WIDTH - 1) / WIDTH * WIDTH; }

/// A piece of a sequence's context where it lies in the pool, and the piece to be computed after it.
struct Piece {
  const uint8_t* pages[PIECE_PAGES];
  int tokens, width;
  int64_t entryBytes;
  const Piece* next;

  const uint8_t* at(unsigned token) const {
    return pages[token / PAGE_TOKENS] + static_cast<int64_t>(token % PAGE_TOKENS) * entryBytes;
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

/// How much of a piece each lane sees, and how much any does, in the kernel's steps.
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

/// Entries on their way from memory while others are computed with.
class Prefetch {
 public:
  /// Spreads a piece's tokens, as far as it has them, over `steps` steps.
  Prefetch(const Piece& piece, Tokens tokens, int64_t steps)
      : piece_(&piece), left_{tokens.from, std::min(tokens.to, piece.tokens)} {
    if (left_.from < left_.to) each_ = ((left_.to - left_.from) * piece.entryBytes / LINE / steps + 1) * LINE;
    nextPage();
  }

  void step() {
    for (int64_t left = each_; left > 0 && at_ < end_;) {
      const uint8_t* to = std::min(at_ + left, end_);
      left -= to - at_;
      for (; at_ < to; at_ += LINE) __builtin_prefetch(at_, 0, 2);
      if (at_ >= end_) nextPage();
    }
  }

 private:
  static constexpr int LINE = 64;

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

}  // namespace daysix::DAYSIX_ISA
