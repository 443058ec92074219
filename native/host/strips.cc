#include "host/strips.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace daysix {

namespace {

/// A row's part of a block, in words with zeros behind its end.
struct RowBlock {
  uint32_t words[SCALE_BLOCK] = {};
  float scales[SCALE_BLOCK / 32] = {};
  uint8_t zeroPoints[SCALE_BLOCK / 32] = {};
};

template <typename T>
T valueAt(const uint8_t* values, int64_t index) {
  T value;
  std::memcpy(&value, values + index * static_cast<int64_t>(sizeof value), sizeof value);
  return value;
}

RowBlock readBlock(const Weight& weight, int64_t row, int64_t block) {
  RowBlock read;
  const int64_t bytes = formatOf(weight.dtype).valueBytes, from = block * SCALE_BLOCK;
  const int64_t count = std::min<int64_t>(SCALE_BLOCK, weight.columns - from);
  std::memcpy(read.words, weight.data + (row * weight.columns + from) * bytes, count * bytes);
  // Adding 128 to a code inverts its sign.
  if (weight.dtype == Dtype::i8) for (uint32_t& word : read.words) word ^= 0x01010101u * CODE_OFFSET;
  const bool hasScales = hasStripScales(weight.dtype) && weight.scales;
  read.scales[0] = hasScales ? valueAt<float>(weight.scales, row * scaleBlocks(weight.columns) + block) : 1;
  return read;
}

float halfValue(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                          : exponent     ? std::ldexp(static_cast<float>(1024 + fraction), exponent - 25)
                                         : std::ldexp(static_cast<float>(fraction), -24);
  return half & 0x8000 ? -magnitude : magnitude;
}

float scaleAt(const uint8_t* scales, Dtype type, int64_t index) {
  if (type == Dtype::f32) return valueAt<float>(scales, index);
  const auto half = valueAt<uint16_t>(scales, index);
  return type == Dtype::bf16 ? std::bit_cast<float>(static_cast<uint32_t>(half) << 16) : halfValue(half);
}

/// Where a checkpoint keeps an INT4 weight's codes, zero points and scales: numbers in matrices whose rows are whole words.
class Int4Places {
 public:
  explicit Int4Places(const StripSource& source)
      : order_(source.order),
        outputs_(source.rows.rows),
        outputCodes_(wholeWords(source.rows.rows)),
        inputCodes_(wholeWords(source.rows.columns)),
        groups_((source.rows.columns + source.rows.group - 1) / source.rows.group) {}

  int64_t code(int64_t output, int64_t input) const {
    if (order_ == Int4Order::rows) return output * inputCodes_ + input;
    if (order_ == Int4Order::awq) return input * outputCodes_ + inAwqWord(output);
    return (input / INT4_CODES * outputs_ + output) * INT4_CODES + input % INT4_CODES;
  }
  int64_t zeroPoint(int64_t output, int64_t group) const {
    if (order_ == Int4Order::awq) return group * outputCodes_ + inAwqWord(output);
    if (order_ == Int4Order::gptq) return group * outputCodes_ + output;
    return (output / INT4_CODES * groups_ + group) * INT4_CODES + output % INT4_CODES;
  }
  int64_t scale(int64_t output, int64_t group) const {
    return order_ == Int4Order::rows ? output * groups_ + group : group * outputs_ + output;
  }

 private:
  static int64_t wholeWords(int64_t codes) { return (codes + INT4_CODES - 1) / INT4_CODES * INT4_CODES; }
  static int64_t inAwqWord(int64_t output) {
    constexpr int PLACES[] = {0, 4, 1, 5, 2, 6, 3, 7};
    return output - output % INT4_CODES + PLACES[output % INT4_CODES];
  }

  Int4Order order_;
  int64_t outputs_, outputCodes_, inputCodes_, groups_;
};

uint32_t nibbleAt(const uint8_t* codes, int64_t index) { return codes[index / 2] >> 4 * (index % 2) & 15; }

RowBlock readInt4Block(const StripSource& source, int64_t row, int64_t block) {
  RowBlock read;
  const Weight& weight = source.rows;
  const Int4Places places(source);
  const int64_t from = block * SCALE_BLOCK, count = std::min<int64_t>(SCALE_BLOCK, weight.columns - from);
  if (source.order == Int4Order::rows) {
    const int64_t bytes = (count + INT4_CODES - 1) / INT4_CODES * 4;
    std::memcpy(read.words, weight.data + places.code(row, from) / 2, bytes);
  } else {
    for (int64_t i = 0; i < count; i++) {
      read.words[i / INT4_CODES] |= nibbleAt(weight.data, places.code(row, from + i)) << 4 * (i % INT4_CODES);
    }
  }
  for (int64_t i = 0; i < count; i += weight.group) {
    const int64_t group = (from + i) / weight.group, at = i / weight.group;
    read.scales[at] = scaleAt(weight.scales, source.scaleType, places.scale(row, group));
    if (!source.zeroPoints) continue;
    const int64_t stored = nibbleAt(source.zeroPoints, places.zeroPoint(row, group));
    read.zeroPoints[at] = static_cast<uint8_t>(stored + source.zeroPointBias);
  }
  return read;
}

/// Writes lane i of a block.
void writeBlock(uint8_t* out, int i, const Weight& weight, const RowBlock& row) {
  const bool isInt4 = weight.dtype == Dtype::i4, isBf16 = isInt4 && hasBf16Scales(weight.int4);
  for (int64_t word = 0; word < stripWords(weight.dtype); word++, out += STRIP_ROWS * 4) {
    std::memcpy(out + i * 4, &row.words[word], sizeof row.words[word]);
  }
  if (!hasStripScales(weight.dtype)) return;
  const int64_t groups = isInt4 ? SCALE_BLOCK / weight.group : 1, bytes = isBf16 ? 2 : 4;
  for (int64_t group = 0; group < groups; group++, out += STRIP_ROWS * bytes) {
    const auto bits = std::bit_cast<uint32_t>(row.scales[group]) >> (isBf16 ? 16 : 0);
    std::memcpy(out + i * bytes, &bits, bytes);
  }
  if (!isInt4 || !hasZeroPoints(weight.int4)) return;
  for (int64_t group = 0; group < groups; group++) out[group * STRIP_ROWS + i] = row.zeroPoints[group];
}

}  // namespace

void packStrips(uint8_t* out, const StripSource& source, int64_t first, int64_t last) {
  const Weight& rows = source.rows;
  const int64_t blocks = scaleBlocks(rows.columns), blockBytes = stripBytes(rows) / blocks;
  for (int64_t strip = first; strip < last; strip++) {
    for (int64_t block = 0; block < blocks; block++, out += blockBytes) {
      std::memset(out, 0, blockBytes);
      for (int i = 0; i < STRIP_ROWS; i++) {
        const int64_t row = strip * STRIP_ROWS + i;
        if (row >= rows.rows) break;
        writeBlock(out, i, rows, rows.dtype == Dtype::i4 ? readInt4Block(source, row, block) : readBlock(rows, row, block));
      }
    }
  }
}

}  // namespace daysix
