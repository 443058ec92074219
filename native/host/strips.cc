#include "host/mapped-strips.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace daysix {

namespace {

template <typename T>
T valueAt(const uint8_t* values, int64_t index) {
  T value;
  std::memcpy(&value, values + index * static_cast<int64_t>(sizeof value), sizeof value);
  return value;
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

/// Inputs that a block has.
int64_t inputsOf(const Weight& weight, int64_t block) {
  return blockWidth(weight.columns, block * SCALE_BLOCK);
}

int64_t bytesOfCodes(Dtype dtype, int64_t codes) { return codes * stripWords(dtype) * 4 / SCALE_BLOCK; }

/// Of codes that lie row after row.
const uint8_t* rowCodes(const StripSource& source, int64_t row, int64_t input) {
  const Weight& weight = source.rows;
  const bool isInt4 = weight.dtype == Dtype::i4;
  const int64_t code = isInt4 ? Int4Places(source).code(row, input) : row * weight.columns + input;
  return weight.data + bytesOfCodes(weight.dtype, code);
}

/// Copies a row's codes of a block, which begins with `from`, in words that are zeros behind its end.
void copyCodes(uint32_t* words, const StripSource& source, int64_t row, int64_t from, int64_t inputs) {
  const Weight& weight = source.rows;
  std::fill_n(words, stripWords(weight.dtype), 0);
  if (source.order == Int4Order::gptq) {
    const int64_t count = (inputs + INT4_CODES - 1) / INT4_CODES, first = from / INT4_CODES;
    for (int64_t i = 0; i < count; i++) words[i] = valueAt<uint32_t>(weight.data, (first + i) * weight.rows + row);
  } else if (source.order == Int4Order::awq) {
    const Int4Places places(source);
    for (int64_t i = 0; i < inputs; i++) {
      words[i / INT4_CODES] |= nibbleAt(weight.data, places.code(row, from + i)) << 4 * (i % INT4_CODES);
    }
  } else {
    const int64_t codes = weight.dtype == Dtype::i4 ? (inputs + INT4_CODES - 1) / INT4_CODES * INT4_CODES : inputs;
    std::memcpy(words, rowCodes(source, row, from), bytesOfCodes(weight.dtype, codes));
  }
}

/// Rows side by side: [word][16], each word inverted where `flip` has bits.
void turnWords(uint8_t* out, const uint8_t* const (&rows)[STRIP_ROWS], int count, int64_t words, uint32_t flip) {
  for (int64_t word = 0; word < words; word++, out += STRIP_ROWS * 4) {
    uint32_t line[STRIP_ROWS] = {};
    const auto read = [&](int i) { line[i] = valueAt<uint32_t>(rows[i], word) ^ flip; };
    // The whole line is much the most common, and much faster when its length is known.
    if (count == STRIP_ROWS) for (int i = 0; i < STRIP_ROWS; i++) read(i);
    else for (int i = 0; i < count; i++) read(i);
    std::memcpy(out, line, sizeof line);
  }
}

void writeCodes(uint8_t* out, const StripSource& source, int64_t first, int count, int64_t block) {
  const Weight& weight = source.rows;
  const int64_t inputs = inputsOf(weight, block), from = block * SCALE_BLOCK;
  const bool inPlace = source.order == Int4Order::rows && inputs == SCALE_BLOCK;
  uint32_t copies[STRIP_ROWS][SCALE_BLOCK];
  const uint8_t* rows[STRIP_ROWS];
  for (int i = 0; i < count; i++) {
    if (!inPlace) copyCodes(copies[i], source, first + i, from, inputs);
    rows[i] = inPlace ? rowCodes(source, first + i, from) : reinterpret_cast<const uint8_t*>(copies[i]);
  }
  // Adding 128 to a code inverts its sign.
  const uint32_t flip = weight.dtype == Dtype::i8 ? 0x01010101u * CODE_OFFSET : 0;
  turnWords(out, rows, count, stripWords(weight.dtype), flip);
}

void writeInt4Scales(uint8_t* out, const StripSource& source, int64_t first, int count, int64_t block) {
  const Weight& weight = source.rows;
  const Int4Places places(source);
  const bool isBf16 = hasBf16Scales(weight.int4);
  uint8_t* zeroPoints = out + int4ScaleBytes(weight.group, weight.int4);
  for (int64_t input = 0; input < inputsOf(weight, block); input += weight.group) {
    const int64_t group = (block * SCALE_BLOCK + input) / weight.group;
    for (int i = 0; i < count; i++) {
      const int64_t at = input / weight.group * STRIP_ROWS + i;
      const float scale = scaleAt(weight.scales, source.scaleType, places.scale(first + i, group));
      const auto bits = std::bit_cast<uint32_t>(scale) >> (isBf16 ? 16 : 0);
      std::memcpy(out + at * (isBf16 ? 2 : 4), &bits, isBf16 ? 2 : 4);
      if (!source.zeroPoints) continue;
      const int64_t stored = nibbleAt(source.zeroPoints, places.zeroPoint(first + i, group));
      zeroPoints[at] = static_cast<uint8_t>(stored + source.zeroPointBias);
    }
  }
}

void writeScales(uint8_t* out, const Weight& weight, int64_t first, int count, int64_t block) {
  for (int i = 0; i < count; i++) {
    const int64_t at = (first + i) * scaleBlocks(weight.columns) + block;
    const float scale = weight.scales ? valueAt<float>(weight.scales, at) : 1;
    std::memcpy(out + i * sizeof scale, &scale, sizeof scale);
  }
}

/// Bytes of a row's codes; of those in words of GPTQ and AWQ, of all codes of one input, or of eight.
int64_t rowBytesOf(const StripSource& source) {
  const auto words = [](int64_t codes) { return (codes + INT4_CODES - 1) / INT4_CODES * 4; };
  const Weight& weight = source.rows;
  if (source.order == Int4Order::gptq) return weight.rows * 4;
  if (source.order == Int4Order::awq) return words(weight.rows);
  return weight.dtype == Dtype::i4 ? words(weight.columns) : bytesOfCodes(weight.dtype, weight.columns);
}

/// Advises about the pages of a mapping that hold the codes of some strips; all of a weight whose rows are spread.
void adviseCodes(const StripSource& source, int64_t first, int64_t last, int advice) {
  const Weight& weight = source.rows;
  const bool isSpread = source.order != Int4Order::rows;
  const int64_t all = source.order == Int4Order::gptq ? (weight.columns + INT4_CODES - 1) / INT4_CODES
                      : isSpread                      ? weight.columns
                                                      : weight.rows;
  const int64_t from = isSpread ? 0 : first * STRIP_ROWS, to = isSpread ? all : std::min(all, last * STRIP_ROWS);
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(weight.data + from * rowBytesOf(source)) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(weight.data + to * rowBytesOf(source));
  madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace

void packMappedStrips(uint8_t* out, const StripSource& source, int64_t first, int64_t last) {
  adviseCodes(source, first, last, MADV_WILLNEED);
  packStrips(out, source, first, last);
  adviseCodes(source, first, last, MADV_DONTNEED);
}

void packStrips(uint8_t* out, const StripSource& source, int64_t first, int64_t last) {
  const Weight& weight = source.rows;
  const int64_t blocks = scaleBlocks(weight.columns), blockBytes = stripBytes(weight) / blocks;
  const int64_t codeBytes = stripCodeBytes(weight.dtype);
  for (int64_t strip = first; strip < last; strip++) {
    const int64_t row = strip * STRIP_ROWS;
    const int count = static_cast<int>(std::min<int64_t>(STRIP_ROWS, weight.rows - row));
    for (int64_t block = 0; block < blocks; block++, out += blockBytes) {
      writeCodes(out, source, row, count, block);
      std::memset(out + codeBytes, 0, blockBytes - codeBytes);
      if (weight.dtype == Dtype::i4) writeInt4Scales(out + codeBytes, source, row, count, block);
      else if (hasStripScales(weight.dtype)) writeScales(out + codeBytes, weight, row, count, block);
    }
  }
}

}  // namespace daysix
