// Operands for the drivers here: random values in every format, and memory whose ends cannot be passed unnoticed.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "host/huge-pages.h"
#include "host/strips.h"

namespace daysix::test {

/// splitmix64
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  int below(int n) { return static_cast<int>(bits() % static_cast<uint64_t>(n)); }
  /// Roughly normal, of variance 1.
  float normal() {
    float sum = 0;
    for (int i = 0; i < 4; i++) sum += static_cast<float>(bits() >> 40) * 0x1p-24f - 0.5f;
    return sum * 1.7320508f;
  }

 private:
  uint64_t state_;
};

inline int bytesOf(Dtype dtype) { return formatOf(dtype).valueBytes; }

inline double valueOf(Dtype dtype, const uint8_t* code) {
  uint16_t half;
  if (dtype == Dtype::fp8) {
    const int exponent = *code >> 3 & 15, fraction = *code & 7;
    const double magnitude = exponent ? std::ldexp(8 + fraction, exponent - 10) : std::ldexp(fraction, -9);
    return *code & 0x80 ? -magnitude : magnitude;
  }
  if (dtype == Dtype::i8) return static_cast<int8_t>(*code);
  if (dtype == Dtype::f32) {
    float value;
    std::memcpy(&value, code, sizeof value);
    return value;
  }
  std::memcpy(&half, code, sizeof half);
  if (dtype == Dtype::bf16) {
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const double magnitude = exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24);
  return half & 0x8000 ? -magnitude : magnitude;
}

/// A random value in a format's own code. FP8 covers every finite code: zeros, denormals and ±448 too.
inline void drawCode(Dtype dtype, uint8_t* code, Random& random) {
  if (dtype == Dtype::fp8) {
    do *code = static_cast<uint8_t>(random.bits());
    while ((*code & 0x7f) == 0x7f);
    return;
  }
  if (dtype == Dtype::i8) {
    *code = static_cast<uint8_t>(random.below(255) - 127);
    return;
  }
  const float value = random.normal();
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (dtype == Dtype::f32) {
    std::memcpy(code, &bits, sizeof bits);
  } else if (dtype == Dtype::bf16) {
    const auto half = static_cast<uint16_t>(bits >> 16);
    std::memcpy(code, &half, sizeof half);
  } else {
    const auto half = static_cast<uint16_t>((random.bits() & 0x83ff) | static_cast<uint64_t>(random.below(17)) << 10);
    std::memcpy(code, &half, sizeof half);
  }
}

/// Bytes that end where the next page cannot be touched.
class GuardedBytes {
 public:
  explicit GuardedBytes(size_t size) : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    length_ = (size + page_ - 1) / page_ * page_ + page_;
    memory_ = static_cast<uint8_t*>(mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory_ == MAP_FAILED || mprotect(memory_ + length_ - page_, page_, PROT_NONE)) std::abort();
    data_ = memory_ + length_ - page_ - size;
  }
  ~GuardedBytes() { munmap(memory_, length_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  uint8_t* data() const { return data_; }

 private:
  const size_t page_;
  size_t length_;
  uint8_t* memory_;
  uint8_t* data_;
};

/// Zeros in huge pages, as streams' buffers lie: page walks would drown what benchmarks measure.
class HugeBytes {
 public:
  explicit HugeBytes(size_t size) : length_(size + 2 * HUGE_PAGE_BYTES) {
    void* memory = mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    memory_ = static_cast<uint8_t*>(memory);
    preferHugePages(memory_, length_);
    std::memset(data(), 0, size);
  }
  ~HugeBytes() { munmap(memory_, length_); }
  HugeBytes(const HugeBytes&) = delete;
  HugeBytes& operator=(const HugeBytes&) = delete;
  uint8_t* data() const { return memory_ + -reinterpret_cast<uintptr_t>(memory_) % HUGE_PAGE_BYTES; }

 private:
  const size_t length_;
  uint8_t* memory_;
};

/// A random weight at whatever alignment its size leaves before the guarded page.
class RandomWeight {
 public:
  RandomWeight(Dtype dtype, int64_t rows, int64_t columns, bool scaled, int pad, Random& random)
      : blocks_((columns + SCALE_BLOCK - 1) / SCALE_BLOCK),
        rowsOfScales_(std::max(1, formatOf(dtype).scaleRows)),
        scaleRows_((rows + rowsOfScales_ - 1) / rowsOfScales_),
        codes_(static_cast<size_t>(rows * columns * bytesOf(dtype) + pad)),
        scales_(static_cast<size_t>(scaleRows_ * blocks_ * 4 + pad)) {
    weight = {dtype, rows, columns, codes_.data(), scaled ? scales_.data() : nullptr};
    for (int64_t i = 0; i < rows * columns; i++) drawCode(dtype, codes_.data() + i * bytesOf(dtype), random);
    for (int64_t i = 0; i < scaleRows_ * blocks_; i++) {
      const float scale = 0.001f * (1.0f + static_cast<float>(random.below(1000)) * 0.01f);
      std::memcpy(scales_.data() + i * 4, &scale, 4);
    }
  }
  double code(int64_t row, int64_t column) const {
    return valueOf(weight.dtype, weight.data + (row * weight.columns + column) * bytesOf(weight.dtype));
  }
  float scale(int64_t row, int64_t column) const {
    if (!weight.scales) return 1.0f;
    float scale;
    std::memcpy(&scale, weight.scales + (row / rowsOfScales_ * blocks_ + column / SCALE_BLOCK) * 4, 4);
    return scale;
  }

  Weight weight;

 private:
  const int64_t blocks_, rowsOfScales_, scaleRows_;
  GuardedBytes codes_, scales_;
};

/// A weight's rows in strips, with nothing behind the last one.
class PackedWeight {
 public:
  explicit PackedWeight(const Weight& rows)
      : bytes_(static_cast<size_t>(stripsOf(rows) * stripBytes(rows))) {
    packStrips(bytes_.data(), {rows}, 0, stripsOf(rows));
    weight = rows;
    weight.data = bytes_.data();
    weight.layout = WeightLayout::strips;
  }

  Weight weight;

 private:
  GuardedBytes bytes_;
};

/// Random input rows.
class RandomRows {
 public:
  RandomRows(Dtype format, int64_t rows, int64_t columns, Random& random)
      : blocks_((columns + SCALE_BLOCK - 1) / SCALE_BLOCK),
        codes_(static_cast<size_t>(rows * columns * bytesOf(format))),
        scales_(static_cast<size_t>(rows * blocks_ * 4)) {
    operand = {format, columns, codes_.data(), reinterpret_cast<float*>(scales_.data())};
    for (int64_t i = 0; i < rows * columns; i++) drawCode(format, codes_.data() + i * bytesOf(format), random);
    for (int64_t i = 0; i < rows * blocks_; i++) {
      operand.scales[i] = 0.001f * (1.0f + static_cast<float>(random.below(1000)) * 0.01f);
    }
  }
  double code(int64_t row, int64_t column) const {
    return valueOf(operand.format, static_cast<uint8_t*>(operand.values) +
                                       (row * operand.columns + column) * bytesOf(operand.format));
  }
  float scale(int64_t row, int64_t column) const {
    return formatOf(operand.format).hasRowScales ? operand.scales[row * blocks_ + column / SCALE_BLOCK] : 1.0f;
  }
  /// The rows from `row` on, alone.
  Operand from(int64_t row) const {
    Operand rows = operand;
    rows.values = static_cast<uint8_t*>(rows.values) + row * operand.columns * bytesOf(operand.format);
    rows.scales += row * blocks_;
    return rows;
  }

  Operand operand;

 private:
  const int64_t blocks_;
  GuardedBytes codes_, scales_;
};

}  // namespace daysix::test
