#include "host/strips.h"

#include <algorithm>
#include <cstring>

namespace daysix {

namespace {

/// A row's part of a block, in words with zeros behind its end.
struct RowBlock {
  uint32_t words[SCALE_BLOCK];
  float scale;
};

RowBlock readBlock(const Weight& weight, int64_t row, int64_t block) {
  RowBlock read = {};
  if (row >= weight.rows) return read;
  const int64_t bytes = formatOf(weight.dtype).valueBytes, from = block * SCALE_BLOCK;
  const int64_t count = std::min<int64_t>(SCALE_BLOCK, weight.columns - from);
  std::memcpy(read.words, weight.data + (row * weight.columns + from) * bytes, count * bytes);
  read.scale = 1;
  if (hasStripScales(weight.dtype) && weight.scales) {
    const int64_t at = row * scaleBlocks(weight.columns) + block;
    std::memcpy(&read.scale, weight.scales + at * sizeof read.scale, sizeof read.scale);
  }
  return read;
}

}  // namespace

void packStrips(uint8_t* out, const Weight& rows, int64_t first, int64_t last) {
  const int64_t words = stripWords(rows.dtype), blockBytes = stripBlockBytes(rows.dtype);
  const uint32_t offset = rows.dtype == Dtype::i8 ? 0x01010101u * CODE_OFFSET : 0;
  for (int64_t strip = first; strip < last; strip++) {
    for (int64_t block = 0; block < scaleBlocks(rows.columns); block++, out += blockBytes) {
      for (int i = 0; i < STRIP_ROWS; i++) {
        const RowBlock row = readBlock(rows, strip * STRIP_ROWS + i, block);
        auto* to = reinterpret_cast<uint32_t*>(out) + i;
        // Adding 128 to a code inverts its sign.
        for (int64_t word = 0; word < words; word++) to[word * STRIP_ROWS] = row.words[word] ^ offset;
        if (hasStripScales(rows.dtype)) std::memcpy(to + words * STRIP_ROWS, &row.scale, sizeof row.scale);
      }
    }
  }
}

}  // namespace daysix
