// W_UKᵀ times queries on tiles: the queries of 32 rows are the lines, the latent's values the columns, and neighbouring
// weight rows are interleaved as pairs. The sum is cut and promoted where weight rows that share scales end.
#pragma once
#include "gemm/product-tile.h"

namespace daysix::DAYSIX_ISA {

template <class Format>
class AbsorbedHeadOnTiles {
 public:
  AbsorbedHeadOnTiles(const AbsorbQuery& command, int head) : command_(command), shape_(command.shape), head_(head) {
    for (int j = 0; j < shape_.nope; j = endOfCut(j)) cuts_++;
  }

  /// Rows from up to to.
  void multiply(int64_t from, int64_t to, Scratch& scratch) {
    const UseTiles tiles;
    const int64_t weights = cuts_ * COLUMN_TILES * TILE_WORDS * sizeof(float);
    const int64_t queries = ceilDivide(to - from, STRIP_OUTPUTS) * cuts_ * STRIP_BYTES;
    auto* memory = static_cast<uint8_t*>(scratch.reserve(weights + queries));
    weights_ = reinterpret_cast<float*>(memory);
    queries_ = memory + weights;
    packQueries(from, to);
    for (int64_t column = 0; column < shape_.latent; column += COLUMNS) {
      decodeColumns(column);
      for (int64_t row = from; row < to; row += STRIP_OUTPUTS) {
        multiplyStrip(queriesOf((row - from) / STRIP_OUTPUTS, 0), row, to, column);
      }
    }
  }

 private:
  /// Columns decoded at once, in tiles of 16, and the words of a cut of one.
  static constexpr int COLUMN_TILES = 4;
  static constexpr int COLUMNS = COLUMN_TILES * TILE_LINES;
  static constexpr int TILE_WORDS = BLOCK_PAIRS * TILE_LINES;
  static constexpr int AHEAD_ROWS = 16;

  int64_t weightRow(int j) const { return static_cast<int64_t>(head_) * (shape_.nope + shape_.value) + j; }

  /// Where the sum that begins at weight row j is cut.
  int endOfCut(int j) const {
    const int64_t left = endOfScales(command_.kvB, weightRow(j)) - weightRow(j);
    return static_cast<int>(std::min<int64_t>({shape_.nope, j + SCALE_BLOCK, j + left}));
  }

  uint8_t* queriesOf(int64_t strip, int64_t cut) const { return queries_ + (strip * cuts_ + cut) * STRIP_BYTES; }
  float* weightsOf(int64_t cut, int tile) const { return weights_ + (cut * COLUMN_TILES + tile) * TILE_WORDS; }

  void packQueries(int64_t from, int64_t to) {
    for (int64_t row = from; row < from + roundUp(to - from, STRIP_OUTPUTS); row++) {
      const float* q = command_.q + (row * shape_.heads + head_) * (shape_.nope + shape_.rope);
      int64_t cut = 0;
      for (int j = 0; j < shape_.nope; j = endOfCut(j)) {
        uint8_t* line = queriesOf((row - from) / STRIP_OUTPUTS, cut++) + (row - from) % STRIP_OUTPUTS * LINE_BYTES;
        for (int step = 0; step < BLOCK_STEPS; step++) {
          const int at = j + step * LINE_VALUES;
          const int64_t left = row < to ? endOfCut(j) - at : 0;
          _mm512_store_si512(line, loadPairs<Dtype::f32>(reinterpret_cast<const uint8_t*>(q + at), left));
          line += STRIP_STEP_BYTES;
        }
      }
    }
  }

  /// STEP codes of weight row j, zeros past the latent or the cut.
  __m512i codesOf(int64_t column, int j, int end) const {
    const int64_t left = j < end ? shape_.latent - column : 0;
    if (left <= 0) return _mm512_setzero_si512();
    const uint8_t* codes = command_.kvB.data + (weightRow(j) * shape_.latent + column) * Format::BYTES;
    __builtin_prefetch(codes + AHEAD_ROWS * shape_.latent * Format::BYTES);
    return left >= Format::STEP ? Format::load(codes) : Format::load(codes, static_cast<int>(left));
  }

  void decodeColumns(int64_t column) {
    int64_t cut = 0;
    for (int j = 0; j < shape_.nope; j = endOfCut(j), cut++) {
      for (int pair = 0; pair < BLOCK_PAIRS; pair++) {
        for (int i = 0; i < COLUMNS / Format::STEP; i++) {
          __m512i even[Format::PAIRS], odd[Format::PAIRS];
          const int64_t from = column + i * Format::STEP;
          Format::toPairs(even, Format::spread(codesOf(from, j + 2 * pair, endOfCut(j))));
          Format::toPairs(odd, Format::spread(codesOf(from, j + 2 * pair + 1, endOfCut(j))));
          for (int k = 0; k < Format::PAIRS; k++) {
            float* line = weightsOf(cut, (i * Format::PAIRS + k) * 2) + pair * TILE_LINES;
            _mm512_store_si512(line, _mm512_unpacklo_epi16(even[k], odd[k]));
            _mm512_store_si512(line + TILE_WORDS, _mm512_unpackhi_epi16(even[k], odd[k]));
          }
        }
      }
    }
  }

  void multiplyStrip(const uint8_t* queries, int64_t row, int64_t to, int64_t column) const {
    alignas(64) float totals[COLUMN_TILES / 2][SUMS<2>] = {};
    Promotion<2> promotion;
    int64_t cut = 0;
    for (int j = 0; j < shape_.nope; j = endOfCut(j), cut++) {
      const Vec scale = splat(weightScale(command_.kvB, weightRow(j), column / SCALE_BLOCK));
      for (int half = 0; half < COLUMN_TILES / 2; half++) {
        const PackedBlock columns[] = {{weightsOf(cut, 2 * half), TILE_LINES},
                                       {weightsOf(cut, 2 * half + 1), TILE_LINES}};
        multiplyBlock(promotion.sums(), queries + cut * STRIP_BYTES, columns, [](int) {});
        promotion.add(totals[half], {scale, scale});
      }
    }
    promotion.finish();
    for (int half = 0; half < COLUMN_TILES / 2; half++) {
      for (int i = 0; i < 4; i++) {
        const float* tile = totals[half] + i * TILE_LINES * TILE_LINES;
        storeTile(tile, row + i / 2 * TILE_LINES, to, column + (2 * half + i % 2) * TILE_LINES);
      }
    }
  }

  void storeTile(const float* totals, int64_t row, int64_t to, int64_t column) const {
    const auto left = static_cast<int>(std::min<int64_t>(TILE_LINES, shape_.latent - column));
    if (left <= 0) return;
    for (int64_t i = 0; i < std::min<int64_t>(TILE_LINES, to - row); i++) {
      float* out = command_.out + ((row + i) * shape_.heads + head_) * shape_.latent;
      store(out + column, load(totals + i * TILE_LINES), left);
    }
  }

  const AbsorbQuery& command_;
  const MlaShape& shape_;
  const int head_;
  int64_t cuts_ = 0;
  float* weights_ = nullptr;    // [cut][COLUMN_TILES][pair of weight rows][16 columns]
  uint8_t* queries_ = nullptr;  // [strip][cut][STRIP_BYTES]
};

}  // namespace daysix::DAYSIX_ISA
