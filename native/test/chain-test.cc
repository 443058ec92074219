// The BF16 chain of one instruction set against its definition, bit for bit: random values, and every combination of
// values at the edges of BF16 and float32.
#include <array>
#include <cstdio>

#include "host/flush-denormals.h"
#include "operands.h"
#include "simd/chain.h"

namespace {

using namespace daysix::DAYSIX_ISA;

float valueOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// Denormals become zeros of their sign.
uint32_t flushed(uint32_t bits) { return bits & 0x7f800000u ? bits : bits & 0x80000000u; }

/// fma(a, b, c), whose sum long double holds exactly where it matters, flushed where its rounded exponent is too small.
float step(uint32_t a, uint32_t b, float c) {
  const auto exact = static_cast<long double>(valueOf(flushed(a))) * valueOf(flushed(b)) + valueOf(flushed(bitsOf(c)));
  const long double scaled = exact * 0x1p64L;
  const auto rounded = static_cast<float>(scaled);
  if (std::fabs(rounded) < 0x1p-62f) return std::copysign(0.0f, rounded);
  return static_cast<float>(exact);
}
float expected(uint32_t a, uint32_t b, float c) {
  return step(a << 16, b << 16, step(a & 0xffff0000u, b & 0xffff0000u, c));
}

bool same(float got, float wanted) { return wanted != wanted ? got != got : bitsOf(got) == bitsOf(wanted); }

/// 16 words of pairs and chains at a time.
class Checks {
 public:
  void add(uint32_t a, uint32_t b, uint32_t c) {
    a_[count_] = a;
    b_[count_] = b;
    c_[count_] = valueOf(c);
    if (++count_ == CHAINS) check();
  }

  int failures = 0;
  int64_t checked = 0;

 private:
  void check() {
    float lanes[CHAINS], splat[CHAINS];
    storeChains(lanes, chain(loadPairs(a_), loadPairs(b_), loadChains(c_)));
    storeChains(splat, chain(splatPairAt(a_), loadPairs(b_), loadChains(c_)));
    for (int i = 0; i < CHAINS; i++) {
      expect(lanes[i], a_[i], i);
      expect(splat[i], a_[0], i);
    }
    count_ = 0;
    checked += CHAINS;
  }
  void expect(float got, uint32_t a, int i) {
    const float wanted = expected(a, b_[i], c_[i]);
    if (same(got, wanted)) return;
    if (failures++ < 20) std::printf("FAILED a %08x b %08x c %a: %a, not %a\n", a, b_[i], c_[i], got, wanted);
  }

  uint32_t a_[CHAINS], b_[CHAINS];
  float c_[CHAINS];
  int count_ = 0;
};

void checkEdges(Checks& checks) {
  const uint32_t halves[] = {0x0000, 0x8000, 0x0001, 0x8001, 0x007f, 0x807f, 0x0080, 0x8080, 0x3f80, 0xbf80, 0x3f81,
                             0x1f80, 0x9f81, 0x1a40, 0x9a00, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7fc0, 0x5f80, 0xdf80};
  const uint32_t sums[] = {0x00000000, 0x80000000, 0x00000001, 0x807fffff, 0x00800000, 0x80800000, 0x00800001,
                           0x3f800000, 0xbf800001, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000};
  for (const uint32_t a : halves) {
    for (const uint32_t b : halves) {
      for (const uint32_t c : sums) {
        checks.add(a, b, c);
        checks.add(a << 16, b << 16, c);
        checks.add(a << 16 | 0x3f80, b << 16 | 0xbf80, c);
        checks.add(0x3f80 << 16 | a, b, c);
      }
    }
  }
}

/// A half whose exponent lies within `range` of 1's, downwards or around it.
uint32_t half(daysix::test::Random& random, int middle, int range) {
  const auto exponent = static_cast<uint32_t>(middle - range + random.below(2 * range + 1));
  return (static_cast<uint32_t>(random.bits()) & 0x807f) | exponent << 7;
}

void checkRandom(Checks& checks) {
  daysix::test::Random random(1);
  for (const auto [middle, range, sums] : {std::array{127, 3, 127}, {64, 4, 1}, {127, 20, 127}, {64, 60, 30}}) {
    for (int i = 0; i < 400000; i++) {
      const uint32_t a = half(random, middle, range) << 16 | half(random, middle, range);
      const uint32_t b = half(random, middle, range) << 16 | half(random, middle, range);
      const auto exponent = static_cast<uint32_t>(std::max(0, sums - range + random.below(2 * range + 1)));
      checks.add(a, b, (static_cast<uint32_t>(random.bits()) & 0x807fffff) | exponent << 23);
    }
  }
}

}  // namespace

int main() {
  const daysix::FlushDenormals flush;
  Checks checks;
  checkEdges(checks);
  checkRandom(checks);
  std::printf("%ld chains, %d failures\n", static_cast<long>(checks.checked), checks.failures);
  return checks.failures ? 1 : 0;
}
