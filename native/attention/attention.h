// Absorbed multi-head latent attention over paged KV: FlashMLA's role.
//
// The (row, head) pairs of a sequence are cut into blocks of lanes, and a block's context into pieces at fixed absolute
// positions. The thread that computes a block's first pieces folds them into the output at once. Where the whole block
// would keep other threads waiting, they compute its other pieces as tasks, which are folded afterwards, in order.
#pragma once
#include "attention/attention-vector.h"
#include "gemm/product-form.h"
#include "host/team.h"
#if defined(DAYSIX_TILES)
#include "attention/attention-tile.h"
#endif
#if defined(DAYSIX_DOTS)
#include "attention/attention-dot.h"
#endif

namespace daysix::DAYSIX_ISA {

struct QueryBlock {
  int sequence;
  /// (row, head) of lane 0, as row · heads + head.
  int64_t first;
  int lanes, context, pieces;
  /// Pieces its first task folds; each further one is a task.
  int folded;
  /// Among all partial results: its fold's, which those of the unfolded pieces follow.
  int64_t partials;

  bool isWhole() const { return folded == pieces; }
  int partialCount() const { return isWhole() ? 0 : 1 + pieces - folded; }
};

struct AttentionTask {
  int block;
  /// 0: fold the block's first pieces.
  int piece;
};

inline int piecesOf(int context) { return (context + KV_PIECE_TOKENS - 1) / KV_PIECE_TOKENS; }

/// Computes one command: holds its sizes and the plan's arrays. The kernel computes a piece's products.
template <class Kernel>
class AttentionRun {
 public:
  AttentionRun(const Attention& command, Team& team)
      : command_(command),
        team_(team),
        width_(command.shape.latent + command.shape.rope),
        stride_((command.shape.latent + STRIP - 1) / STRIP * STRIP),
        lanes_(Kernel::LANES),
        kernel_(width_) {
    const int64_t enough = team.threads() == 1 ? 1 : int64_t{2} * team.threads();
    while (lanes_ > Kernel::LEAST_LANES && countBlocks() < enough) lanes_ /= 2;
  }

  void run() {
    plan();
    team_.fork(tasks_, [this](int64_t index, Scratch& scratch) {
      const AttentionTask& task = taskList_[index];
      const QueryBlock& block = blocks_[task.block];
      if (task.piece == 0) {
        foldFirst(block, scratch);
      } else {
        const BlockMemory memory = begin(block, task.piece, scratch);
        attendPiece(block, task.piece, Piece{}, memory, partial(block, task.piece));
      }
    });
    if (partials_ == 0) return;
    constexpr int LANES = 4;
    team_.fork(blockCount_ * (Kernel::LANES / LANES), [this](int64_t task, Scratch&) {
      const QueryBlock& block = blocks_[task / (Kernel::LANES / LANES)];
      const int from = static_cast<int>(task % (Kernel::LANES / LANES)) * LANES;
      if (block.isWhole() || from >= block.lanes) return;
      const int to = std::min(from + LANES, block.lanes);
      const PieceResult fold = foldOf(block);
      for (int piece = block.folded; piece < block.pieces; piece++) {
        mergePiece(block, piece, partial(block, piece), fold, from, to);
      }
      finish(block, fold, from, to);
    });
  }

 private:
  /// Calls visit(sequence, first (row, head), lanes) for each block; the last rows, which see most, come first.
  template <typename Visit>
  void forEachBlock(Visit visit) const {
    const StepLayout& layout = command_.layout;
    for (int s = 0; s < layout.sequences; s++) {
      const int64_t from = int64_t{layout.rowStarts[s]} * command_.shape.heads;
      for (int64_t end = int64_t{layout.rowStarts[s + 1]} * command_.shape.heads; end > from;) {
        const int lanes = static_cast<int>(end - from < lanes_ ? end - from : lanes_);
        end -= lanes;
        visit(s, end, lanes);
      }
    }
  }

  int64_t countBlocks() const {
    int64_t count = 0;
    forEachBlock([&](int, int64_t, int) { count++; });
    return count;
  }

  int positionOf(int64_t rowHead) const { return command_.layout.positions[rowHead / command_.shape.heads]; }

  int contextOf(int64_t first, int lanes) const {
    int last = 0;
    for (int64_t at = first; at < first + lanes; at += command_.shape.heads) {
      if (positionOf(at) > last) last = positionOf(at);
    }
    return (positionOf(first + lanes - 1) > last ? positionOf(first + lanes - 1) : last) + 1;
  }

  static int64_t costOf(int lanes, int pieces) { return int64_t{wholeVectors(lanes)} * pieces; }

  /// Guided self-scheduling: a thread folds a whole block that is within its share of the work left. Of a larger block
  /// the thread folds seven eighths of a share and leaves the other pieces to free threads.
  int foldedPieces(int lanes, int pieces, int64_t costLeft) const {
    const int64_t share = costLeft / team_.threads();
    const int64_t cost = costOf(lanes, pieces);
    if (cost <= share || pieces == 1) return pieces;
    const int folded = static_cast<int>(pieces * share / cost * 7 / 8);
    return folded > 1 ? folded : 1;
  }

  void plan() {
    int64_t cost = 0;
    blockCount_ = tasks_ = partials_ = 0;
    forEachBlock([&](int, int64_t first, int lanes) { cost += costOf(lanes, piecesOf(contextOf(first, lanes))); });
    const auto visitPlanned = [&](auto visit) {
      int64_t left = cost;
      forEachBlock([&](int sequence, int64_t first, int lanes) {
        const int context = contextOf(first, lanes), pieces = piecesOf(context);
        visit(QueryBlock{sequence, first, lanes, context, pieces, foldedPieces(lanes, pieces, left), 0});
        left -= costOf(lanes, pieces);
      });
    };
    visitPlanned([&](const QueryBlock& block) {
      blockCount_++;
      tasks_ += 1 + block.pieces - block.folded;
      partials_ += block.partialCount();
    });
    allocate();
    int64_t blocks = 0, tasks = 0, partials = 0;
    visitPlanned([&](QueryBlock block) {
      block.partials = partials;
      taskList_[tasks++] = {static_cast<int>(blocks), 0};
      for (int piece = block.folded; piece < block.pieces; piece++) {
        taskList_[tasks++] = {static_cast<int>(blocks), piece};
      }
      partials += block.partialCount();
      blocks_[blocks++] = block;
    });
  }

  int64_t partialFloats() const { return int64_t{MAX_LANES} * 2 + int64_t{lanes_} * stride_; }

  void allocate() {
    const int64_t partialBytes = partials_ * partialFloats() * sizeof(float);
    const int64_t blockBytes = blockCount_ * sizeof(QueryBlock);
    auto* memory = static_cast<uint8_t*>(
        team_.shared(partialBytes + blockBytes + tasks_ * sizeof(AttentionTask)));
    results_ = reinterpret_cast<float*>(memory);
    blocks_ = reinterpret_cast<QueryBlock*>(memory += partialBytes);
    taskList_ = reinterpret_cast<AttentionTask*>(memory + blockBytes);
  }

  PieceResult resultAt(float* memory) const {
    return {memory, memory + MAX_LANES, memory + 2 * MAX_LANES, stride_};
  }
  /// What the tasks of a block that is not whole are folded into.
  PieceResult foldOf(const QueryBlock& block) const { return resultAt(results_ + block.partials * partialFloats()); }
  /// The result of a piece that is a task.
  PieceResult partial(const QueryBlock& block, int piece) const {
    return resultAt(results_ + (block.partials + 1 + piece - block.folded) * partialFloats());
  }

  /// Asks for a block's piece that is computed next, and gives a thread's memory with the block's queries in it, before
  /// that of `results` results.
  BlockMemory begin(const QueryBlock& block, int piece, Scratch& scratch, int results = 0) const {
    Prefetch(pieceOf(block, piece), {0, Kernel::AHEAD}, 1).step();
    const int lanes = wholeVectors(block.lanes);
    const int64_t queries = int64_t{kernel_.queryFloats()} * lanes;
    const int64_t scores = int64_t{SCORE_STRIDE} * lanes;
    const int64_t floats = Kernel::TILES + queries + scores + results * partialFloats();
    auto* memory = static_cast<float*>(scratch.reserve(floats * sizeof(float)));
    const BlockMemory out{memory + Kernel::TILES, memory + Kernel::TILES + queries, memory,
                          memory + Kernel::TILES + queries + scores};
    packQueries(block, out.queries);
    return out;
  }

  /// Lays the block's queries out as the kernel reads them.
  void packQueries(const QueryBlock& block, float* out) const {
    const MlaShape& shape = command_.shape;
    const int64_t queryWidth = shape.nope + shape.rope;
    kernel_.pack(out, {{command_.absorbed + block.first * shape.latent, shape.latent, shape.latent},
                       {command_.q + block.first * queryWidth + shape.nope, queryWidth, shape.rope},
                       block.lanes});
  }

  Visible visibleOf(const QueryBlock& block, int index, const Piece& piece) const {
    Visible visible;
    visible.lanes = block.lanes;
    visible.tokens = wholeSteps(piece.tokens, Kernel::TOKENS);
    for (int lane = 0; lane < wholeVectors(block.lanes); lane++) {
      const int seen = positionOf(block.first + std::min(lane, block.lanes - 1)) + 1 - index * KV_PIECE_TOKENS;
      visible.of[lane] = std::clamp(seen, 0, KV_PIECE_TOKENS);
    }
    return visible;
  }

  Piece pieceOf(const QueryBlock& block, int index) const {
    const StepLayout& layout = command_.layout;
    const int64_t entryBytes = int64_t{width_} * Kernel::VALUE_BYTES;
    const int tokens = std::clamp(block.context - index * KV_PIECE_TOKENS, 0, KV_PIECE_TOKENS);
    Piece piece{{}, tokens, width_, entryBytes, nullptr};
    for (int page = 0; page * PAGE_TOKENS < piece.tokens; page++) {
      const int64_t slot = int64_t{block.sequence} * layout.tableStride + index * PIECE_PAGES + page;
      const int64_t entry = int64_t{layout.pageTables[slot]} * PAGE_TOKENS;
      piece.pages[page] = static_cast<const uint8_t*>(command_.cache.values) + entry * entryBytes;
    }
    return piece;
  }

  /// `next`: the piece that the same thread computes afterwards, if known.
  void attendPiece(const QueryBlock& block, int index, const Piece& next, const BlockMemory& memory,
                   const PieceResult& out) const {
    Piece piece = pieceOf(block, index);
    piece.next = &next;
    const Visible visible = visibleOf(block, index, piece);
    kernel_.score(memory, piece, visible);
    softmaxPiece<Kernel>(memory, visible, command_.shape.scale, out);
    kernel_.sum(memory, piece, command_.shape.latent, visible, out);
  }

  void foldFirst(const QueryBlock& block, Scratch& scratch) const {
    const BlockMemory memory = begin(block, 0, scratch, 2);
    const PieceResult result = resultAt(memory.results);
    const PieceResult fold = block.isWhole() ? resultAt(memory.results + partialFloats()) : foldOf(block);
    for (int piece = 0; piece < block.folded; piece++) {
      const Piece next = piece + 1 < block.folded ? pieceOf(block, piece + 1) : Piece{};
      attendPiece(block, piece, next, memory, piece == 0 ? fold : result);
      if (piece > 0) mergePiece(block, piece, result, fold, 0, block.lanes);
    }
    if (block.isWhole()) finish(block, fold, 0, block.lanes);
  }

  /// What to add to the sums of `pieces` pieces. Which tokens past a lane's last a kernel multiplies with a probability of
  /// zero may decide the sign of a piece's sum that is zero: adding zero leaves +0, adding −0 leaves all as it is.
  static Vec settling(int pieces) { return splat(pieces == 1 ? 0.0f : -0.0f); }

  /// Merges lanes [from, to) of a piece that is not the first into a fold.
  void mergePiece(const QueryBlock& block, int piece, const PieceResult& result, const PieceResult& fold, int from,
                  int to) const {
    for (int lane = from; lane < to; lane++) {
      if (positionOf(block.first + lane) < piece * KV_PIECE_TOKENS) continue;
      float* sums = fold.sums + int64_t{lane} * stride_;
      const float* added = result.sums + int64_t{lane} * stride_;
      const float maximum = result.maximum[lane];
      float shrink;
      store(&shrink, exp(splat(-std::fabs(fold.maximum[lane] - maximum))), 1);
      const bool higher = maximum > fold.maximum[lane];
      const float earlier = higher ? shrink : 1, own = higher ? 1 : shrink;
      if (higher) fold.maximum[lane] = maximum;
      fold.total[lane] = fold.total[lane] * earlier + result.total[lane] * own;
      const Vec settled = settling(piece), zero = splat(0);
      for (int c = 0; c < stride_; c += WIDTH) {
        const Vec before = load(sums + c) + settled, after = load(added + c) + zero;
        store(sums + c, before * splat(earlier) + after * splat(own));
      }
    }
  }

  /// Divides lanes [from, to) by their softmax's sum. Asks for the lines of the output two lanes ahead.
  void finish(const QueryBlock& block, const PieceResult& fold, int from, int to) const {
    const int latent = command_.shape.latent;
    for (int lane = from; lane < to; lane++) {
      const Vec total = splat(fold.total[lane]), settled = settling(piecesOf(positionOf(block.first + lane) + 1));
      float* out = command_.out + (block.first + lane) * latent;
      forRestored(fold.sums + int64_t{lane} * stride_, latent, [&](int c, Vec sums, int lanes) {
        __builtin_prefetch(out + 2 * latent + c, 1);
        const Vec value = (sums + settled) / total;
        lanes == WIDTH ? store(out + c, value) : store(out + c, value, lanes);
      });
      if (command_.lse) {
        command_.lse[block.first + lane] =
            static_cast<float>(fold.maximum[lane] + std::log(static_cast<double>(fold.total[lane])));
      }
    }
  }

  /// Calls run(column, sums, lanes) for each vector of columns, in their own order.
  template <typename Run>
  static void forRestored(const float* sums, int latent, Run run) {
    for (int c = 0; c < latent; c += STRIP) {
      Vec v[STRIP / WIDTH];
      for (int i = 0; i < STRIP / WIDTH; i++) v[i] = load(sums + c + i * WIDTH);
      Kernel::restore(v);
      for (int i = 0; i < STRIP / WIDTH; i++) {
        const int at = c + i * WIDTH;
        if (at < latent) run(at, v[i], std::min(WIDTH, latent - at));
      }
    }
  }

  const Attention& command_;
  Team& team_;
  int width_, stride_, lanes_;
  Kernel kernel_;
  int64_t blockCount_, tasks_, partials_;
  float* results_;
  QueryBlock* blocks_;
  AttentionTask* taskList_;
};

template <class Kernel>
inline void attendWith(const Attention& command, Team& team) {
  AttentionRun<Kernel>(command, team).run();
}

template <TileUse Use = TileUse::always>
inline void attention(const Attention& command, Team& team) {
  if (command.layout.rows == 0) return;
  if (command.cache.format == Dtype::f32) return attendWith<VectorAttention<Dtype::f32>>(command, team);
#if defined(DAYSIX_TILES)
  if constexpr (Use != TileUse::never) return attendWith<TileAttention>(command, team);
#endif
#if defined(DAYSIX_DOTS)
  attendWith<DotAttention>(command, team);
#else
  attendWith<VectorAttention<Dtype::bf16>>(command, team);
#endif
}

}  // namespace daysix::DAYSIX_ISA
