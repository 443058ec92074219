// A piece's two products on AMX's tiles, over a BF16 cache, with queries and probabilities rounded to BF16.
//
// Scores are the entries where they lie, 16 tokens × 32 values, times pairs of values × 16 lanes. Sums are 16 lanes of
// 32 tokens' probabilities times pairs of tokens × 16 columns: a strip of the entries is paired in L1, once for all
// lanes. Tiles sum over the whole width and over all tokens of a piece, in order.
#pragma once
#include <type_traits>

#include "attention/attention-pairs.h"
#include "simd/tile.h"

namespace daysix::DAYSIX_ISA {

constexpr int TILE_FLOATS = TILE_BYTES / sizeof(float);

/// One or two tiles in memory: lines `stride` bytes apart, the second tile `step` bytes behind the first.
struct TilePair {
  const void* first;
  int64_t stride, step;
  const void* second() const { return static_cast<const char*>(first) + step; }
};

/// M × N tiles of sums in tiles 0 to 3; a product's factors pass through the others.
template <int M, int N>
struct TileSums {
  static void clear() {
    tileZero<0>();
    tileZero<1>();
    tileZero<2>();
    tileZero<3>();
  }

  static void add(const TilePair& left, const TilePair& right) {
    tileLoad<4>(left.first, left.stride);
    tileLoad<6>(right.first, right.stride);
    tileMultiply<0, 4, 6>();
    if constexpr (N == 2) {
      tileLoad<7>(right.second(), right.stride);
      tileMultiply<1, 4, 7>();
    }
    if constexpr (M == 2) {
      tileLoad<5>(left.second(), left.stride);
      tileMultiply<2, 5, 6>();
    }
    if constexpr (M == 2 && N == 2) tileMultiply<3, 5, 7>();
  }

  /// Lines `stride` floats apart, tiles `down` and `across`.
  static void store(float* out, int64_t stride, int64_t down, int64_t across) {
    const int64_t bytes = stride * sizeof(float);
    tileStore<0>(out, bytes);
    if constexpr (N == 2) tileStore<1>(out + across, bytes);
    if constexpr (M == 2) tileStore<2>(out + down, bytes);
    if constexpr (M == 2 && N == 2) tileStore<3>(out + down + across, bytes);
  }
};

/// VectorAttention's constants and operations.
class TileAttention {
 public:
  static constexpr int VALUE_BYTES = sizeof(uint16_t);
  /// Many lanes share the pairing and the reading of entries.
  static constexpr int LANES = 128, LEAST_LANES = 64;
  static constexpr int TOKENS = LINE_VALUES;
  /// The other half follows while scores are computed; while sums are, the next piece's first half.
  static constexpr int AHEAD = KV_PIECE_TOKENS / 2;
  /// A strip of a piece's entries in pairs of tokens: two tiles for each TOKENS.
  static constexpr int TILES = KV_PIECE_TOKENS / TOKENS * 2 * TILE_FLOATS;

  explicit TileAttention(int width) : whole_(width / LINE_VALUES), depths_((width + LINE_VALUES - 1) / LINE_VALUES) {}

  /// Of pairs: [lane vectors, depths, LINE_VALUES / 2, WIDTH] of all.
  int queryFloats() const { return depths_ * LINE_VALUES / 2; }

  void pack(float* out, const LaneQueries& queries) const { packQueryPairs(out, depths_, queries); }

  static void keepProbabilities(float* scores, int token, Vec probabilities) {
    storeBf16Probabilities(scores, token, probabilities);
  }

  void score(const BlockMemory& memory, const Piece& piece, const Visible& visible) const {
    const UseTiles use;
    const int lanes = wholeVectors(visible.lanes) / WIDTH;
    const int steps = visible.tokens / TOKENS * ((lanes + 1) / 2) * depths_;
    Prefetch rest(piece, {AHEAD, KV_PIECE_TOKENS}, steps * 3 / 4);
    for (int from = 0; from < visible.tokens; from += TOKENS) {
      if (whole_ < depths_) padLastDepth(memory.tiles, piece, from);
      forPairs(lanes, [&](int tile, auto count) {
        using Sums = TileSums<2, count>;
        const float* queries = memory.queries + int64_t{tile} * depths_ * TILE_FLOATS;
        Sums::clear();
        for (int depth = 0; depth < depths_; depth++) {
          rest.step();
          const TilePair inPage{piece.at(from) + depth * LINE_BYTES, piece.entryBytes, TILE_LINES * piece.entryBytes};
          const TilePair padded{memory.tiles, LINE_BYTES, TILE_BYTES};
          Sums::add(depth < whole_ ? inPage : padded,
                    {queries + depth * TILE_FLOATS, LINE_BYTES, int64_t{depths_} * TILE_BYTES});
        }
        float* scores = memory.scores + tile * WIDTH * SCORE_STRIDE + from;
        Sums::store(scores, SCORE_STRIDE, WIDTH, WIDTH * SCORE_STRIDE);
        // Tiles of tokens × lanes become lanes × tokens where they lie.
        for (int i = 0; i < count; i++, scores += WIDTH * SCORE_STRIDE) {
          for (int t = 0; t < TOKENS; t += WIDTH) transposeSquare(scores + t, SCORE_STRIDE, scores + t, SCORE_STRIDE);
        }
      });
    }
  }

  void sum(const BlockMemory& memory, const Piece& piece, int latent, const Visible& visible,
           const PieceResult& out) const {
    const UseTiles use;
    const int lanes = wholeVectors(visible.lanes) / WIDTH;
    const int steps = visible.tokens / TOKENS;
    Prefetch next(*piece.next, {0, AHEAD}, (latent + STRIP - 1) / STRIP * steps);
    for (int column = 0; column < latent; column += STRIP) {
      for (int i = 0; i < steps; i++) {
        next.step();
        pairEntries(memory.tiles + i * 2 * TILE_FLOATS, piece, i * TOKENS, column);
      }
      forPairs(lanes, [&](int tile, auto count) {
        using Sums = TileSums<count, 2>;
        const float* probabilities = memory.scores + tile * WIDTH * SCORE_STRIDE;
        Sums::clear();
        for (int i = 0; i < steps; i++) {
          Sums::add({probabilities + i * WIDTH, SCORE_STRIDE * sizeof(float), WIDTH * SCORE_STRIDE * sizeof(float)},
                    {memory.tiles + i * 2 * TILE_FLOATS, LINE_BYTES, TILE_BYTES});
        }
        Sums::store(out.sums + int64_t{tile} * WIDTH * out.stride + column, out.stride, WIDTH * out.stride, WIDTH);
      });
    }
  }

  static void restore(Vec* strip) {
    const auto [first, last] = inColumnOrder(strip[0].v, strip[1].v);
    strip[0] = first;
    strip[1] = last;
  }

 private:
  /// Calls run(tile, count) for two lane tiles at a time, and for one left over.
  template <typename Run>
  static void forPairs(int lanes, Run run) {
    int tile = 0;
    for (; tile + 2 <= lanes; tile += 2) run(tile, std::integral_constant<int, 2>());
    if (tile < lanes) run(tile, std::integral_constant<int, 1>());
  }

  /// Copies what of TOKENS entries fills no line, with zeros behind.
  void padLastDepth(float* tiles, const Piece& piece, int from) const {
    for (int t = 0; t < TOKENS; t++) {
      const uint8_t* values = piece.at(from + t) + whole_ * LINE_BYTES;
      _mm512_store_si512(tiles + t * WIDTH, loadLine(values, piece.width % LINE_VALUES));
    }
  }

  /// A strip of TOKENS entries as two tiles of pairs of tokens. A value that is not finite becomes zero: lanes that may
  /// not see the value multiply it by zero, and lanes that may see the value have NaN among their scores already.
  static void pairEntries(float* out, const Piece& piece, int from, int column) {
    const int columns = std::min(STRIP, piece.width - column);
    const uint8_t* values = piece.at(from) + column * VALUE_BYTES;
    for (int pair = 0; pair < TOKENS / 2; pair++, out += WIDTH, values += 2 * piece.entryBytes) {
      const __m512i even = finiteOrZero(loadLine(values, columns));
      const __m512i odd = finiteOrZero(loadLine(values + piece.entryBytes, columns));
      _mm512_store_si512(out, _mm512_unpacklo_epi16(even, odd));
      _mm512_store_si512(out + TILE_FLOATS, _mm512_unpackhi_epi16(even, odd));
    }
  }

  /// Lines that an entry fills, and that it takes.
  int whole_, depths_;
};

}  // namespace daysix::DAYSIX_ISA
