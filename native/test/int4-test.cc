// Products with INT4 weights, as rows and as strips made of every order that checkpoints have, against their definition.
// Exits non-zero on a failure.
#include <cstdio>

#include "gemm/gemm.h"
#include "operands.h"
#include "test-team.h"

namespace {

using namespace daysix;
using namespace daysix::DAYSIX_ISA;
using test::GuardedBytes;
using test::RandomRows;

int failures = 0;

/// As a processor that flushes denormals rounds to float32.
float rounded(double x) {
  return std::fabs(x) < 0x1.ffffffp-127 ? static_cast<float>(std::copysign(0.0, x)) : static_cast<float>(x);
}

int64_t wholeWords(int64_t codes) { return (codes + 7) / 8 * 8; }

/// A weight in an order of checkpoints, and what its codes are worth.
class RandomInt4 {
 public:
  RandomInt4(Int4Order order, int64_t outputs, int64_t inputs, int64_t group, Dtype scaleType, bool zeroPoints,
             test::Random& random)
      : outputs(outputs), inputs(inputs), group(group), groups((inputs + group - 1) / group) {
    source.order = order;
    source.scaleType = scaleType;
    source.zeroPointBias = zeroPoints && order == Int4Order::gptq;
    const bool bf16 = scaleType == Dtype::bf16;
    const Int4Strips kinds[] = {bf16 ? Int4Strips::bf16 : Int4Strips::f32,
                                bf16 ? Int4Strips::bf16ZeroPoints : Int4Strips::f32ZeroPoints};
    codes_.resize(wholeWords(outputs) * wholeWords(inputs) / 2);
    zeroPoints_.resize(wholeWords(outputs) * wholeWords(groups) / 2);
    for (uint8_t& byte : codes_) byte = static_cast<uint8_t>(random.bits());
    for (uint8_t& byte : zeroPoints_) byte = static_cast<uint8_t>(random.bits());
    for (int64_t i = 0; i < outputs * groups; i++) {
      // A BF16 value and a half.
      scales.push_back(static_cast<float>(1 + random.below(127)) * (random.below(2) ? 0x1p-10f : -0x1p-12f));
      uint32_t bits;
      std::memcpy(&bits, &scales.back(), sizeof bits);
      const auto upper = static_cast<uint16_t>(bits >> 16);
      stored_.insert(stored_.end(), reinterpret_cast<const uint8_t*>(&upper), reinterpret_cast<const uint8_t*>(&upper) + 2);
    }
    source.rows = {.dtype = Dtype::i4,
                   .rows = outputs,
                   .columns = inputs,
                   .data = codes_.data(),
                   .scales = bf16 ? stored_.data() : reinterpret_cast<const uint8_t*>(scales.data()),
                   .layout = WeightLayout::rows,
                   .group = group,
                   .int4 = kinds[zeroPoints]};
    if (zeroPoints) source.zeroPoints = zeroPoints_.data();
  }

  int value(int64_t output, int64_t input) const {
    const int64_t g = input / group;
    int64_t code = 0, zero = 0;
    constexpr int AWQ[] = {0, 4, 1, 5, 2, 6, 3, 7};
    const int64_t inWord = output / 8 * 8 + AWQ[output % 8];
    switch (source.order) {
      case Int4Order::rows:
        code = output * wholeWords(inputs) + input;
        zero = (output / 8 * groups + g) * 8 + output % 8;
        break;
      case Int4Order::gptq:
        code = (input / 8 * outputs + output) * 8 + input % 8;
        zero = g * wholeWords(outputs) + output;
        break;
      case Int4Order::awq:
        code = input * wholeWords(outputs) + inWord;
        zero = g * wholeWords(outputs) + inWord;
    }
    const int zeroPoint = source.zeroPoints ? nibble(zeroPoints_, zero) + static_cast<int>(source.zeroPointBias) : 8;
    return nibble(codes_, code) - zeroPoint;
  }
  float scale(int64_t output, int64_t g) const {
    return scales[source.order == Int4Order::rows ? output * groups + g : g * outputs + output];
  }

  const int64_t outputs, inputs, group, groups;
  StripSource source;
  std::vector<float> scales;

 private:
  static int nibble(const std::vector<uint8_t>& codes, int64_t index) { return codes[index / 2] >> 4 * (index % 2) & 15; }

  std::vector<uint8_t> codes_, zeroPoints_, stored_;
};

std::vector<float> product(const RandomRows& x, int64_t rows, const RandomInt4& weight) {
  std::vector<float> expected;
  for (int64_t row = 0; row < rows; row++) {
    for (int64_t n = 0; n < weight.outputs; n++) {
      float total = 0;
      for (int64_t block = 0; block < weight.inputs; block += SCALE_BLOCK) {
        float part = 0;
        const int64_t end = std::min(block + SCALE_BLOCK, weight.inputs);
        for (int64_t k = block; k < end; k += weight.group) {
          double sum = 0;
          for (int64_t i = k; i < std::min(k + weight.group, end); i++) sum += x.code(row, i) * weight.value(n, i);
          part = rounded(static_cast<double>(part) + rounded(sum * static_cast<double>(weight.scale(n, k / weight.group))));
        }
        total = rounded(static_cast<double>(total) + rounded(static_cast<double>(part) * static_cast<double>(x.scale(row, block))));
      }
      expected.push_back(total);
    }
  }
  return expected;
}

class Tests {
 public:
  void run() {
    for (const Int4Order order : {Int4Order::rows, Int4Order::gptq, Int4Order::awq}) {
      for (const int64_t group : {32, 128}) {
        for (const Dtype scales : {Dtype::f32, Dtype::bf16}) {
          for (const bool zeroPoints : {false, true}) {
            // GPTQ and AWQ have whole words of both.
            test(RandomInt4(order, 8, group, group, scales, zeroPoints, random_));
            test(RandomInt4(order, 72, 384, group, scales, zeroPoints, random_));
            if (group == 32) test(RandomInt4(order, 40, 416, group, scales, zeroPoints, random_));
          }
        }
      }
    }
    for (const int64_t group : {32, 128}) {
      test(RandomInt4(Int4Order::rows, 1, 7, group, Dtype::f32, false, random_));
      test(RandomInt4(Int4Order::rows, 35, 257, group, Dtype::f32, false, random_));
      test(RandomInt4(Int4Order::rows, 130, 1100, group, Dtype::f32, true, random_));
    }
  }

 private:
  void test(const RandomInt4& weight) {
    const StripSource& source = weight.source;
    Weight strips = source.rows;
    const GuardedBytes bytes(static_cast<size_t>(stripsOf(strips) * stripBytes(strips)));
    const int64_t half = stripsOf(strips) / 2;
    packStrips(bytes.data(), source, 0, half);
    packStrips(bytes.data() + half * stripBytes(strips), source, half, stripsOf(strips));
    strips.data = bytes.data();
    strips.layout = WeightLayout::strips;
    compare(weight, strips, "strips");
    if (source.order == Int4Order::rows && source.scaleType == Dtype::f32 && !source.zeroPoints)
      compare(weight, source.rows, "rows");
  }

  void compare(const RandomInt4& weight, const Weight& given, const char* layout) {
    constexpr int ROWS = 30;
    const RandomRows x(Dtype::i8, ROWS, weight.inputs, random_);
    const std::vector<float> expected = product(x, ROWS, weight);
    for (const int some : {1, 2, 3, 4, 5, 11, 12, 13, 16, 17, ROWS}) {
      const int from = random_.below(ROWS - some + 1);
      const GuardedBytes out(static_cast<size_t>(some * weight.outputs * 4));
      gemm({reinterpret_cast<float*>(out.data()), x.from(from), given, some}, some % 2 ? two_ : one_);
      if (!std::memcmp(out.data(), expected.data() + from * weight.outputs, some * weight.outputs * 4)) continue;
      failures++;
      std::printf("FAILED %s, order %d, group %ld, strips %d, %ld outputs, %ld inputs, %d rows\n", layout,
                  static_cast<int>(weight.source.order), static_cast<long>(weight.group),
                  static_cast<int>(given.int4), static_cast<long>(weight.outputs), static_cast<long>(weight.inputs), some);
    }
  }

  test::Random random_{1};
  TestTeam one_{1}, two_{2};
};

}  // namespace

int main() {
  Tests().run();
  std::printf("%d failures\n", failures);
  return failures ? 1 : 0;
}
