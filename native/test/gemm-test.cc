// The matrix products of one instruction set against float64 of the same operands, and against themselves: a row's bits
// must not depend on the rows beside it, the threads or the alignment. Exits non-zero on a failure.
#include <cstdio>

#include "gemm/mla.h"
#include "operands.h"
#include "test-team.h"

namespace {

using namespace daysix;
using namespace daysix::DAYSIX_ISA;
using test::GuardedBytes;
using test::RandomRows;
using test::RandomWeight;

constexpr double TOLERANCE = 1e-6;
const Dtype WEIGHT_DTYPES[] = {Dtype::f32, Dtype::bf16, Dtype::f16, Dtype::fp8, Dtype::i8};
const Dtype INPUT_FORMATS[] = {Dtype::f32, Dtype::bf16, Dtype::fp8};
const char* const NAMES[] = {"f32", "bf16", "f16", "fp8", "i8"};

int failures = 0;

void expect(bool good, const char* what, const char* detail) {
  if (good) return;
  failures++;
  std::printf("FAILED %s: %s\n", what, detail);
}

/// Outputs in memory whose end is guarded.
struct Outputs {
  explicit Outputs(int64_t count) : count(count), bytes(static_cast<size_t>(count) * 4) {
    for (int64_t i = 0; i < count; i++) values()[i] = NAN;
  }
  float* values() const { return reinterpret_cast<float*>(bytes.data()); }
  int64_t count;
  GuardedBytes bytes;
};

/// The largest error as a share of the largest expected value.
double relativeError(const float* got, const std::vector<double>& expected) {
  double error = 0, largest = 1e-30;
  for (size_t i = 0; i < expected.size(); i++) {
    largest = std::max(largest, std::fabs(expected[i]));
    const double difference = std::fabs(got[i] - expected[i]);
    error = difference <= error ? error : difference;  // keeps a NaN
  }
  return error / largest;
}

/// Codes of rows [from, to) in float64.
template <typename Rows>
std::vector<double> decoded(const Rows& rows, int64_t from, int64_t to, int64_t columns) {
  std::vector<double> values;
  for (int64_t row = from; row < to; row++) {
    for (int64_t k = 0; k < columns; k++) values.push_back(rows.code(row, k));
  }
  return values;
}

std::vector<double> product(const RandomRows& x, int64_t rows, const RandomWeight& weight) {
  const auto [outputs, columns] = std::pair(weight.weight.rows, weight.weight.columns);
  const std::vector<double> inputs = decoded(x, 0, rows, columns), weights = decoded(weight, 0, outputs, columns);
  std::vector<double> expected(rows * outputs);
  for (int64_t row = 0; row < rows; row++) {
    for (int64_t n = 0; n < outputs; n++) {
      for (int64_t block = 0; block < columns; block += SCALE_BLOCK) {
        double sum = 0;
        for (int64_t k = block; k < std::min(block + SCALE_BLOCK, columns); k++) {
          sum += inputs[row * columns + k] * weights[n * columns + k];
        }
        const float scale = x.scale(row, block) * weight.scale(n, block);
        expected[row * outputs + n] += sum * scale;
      }
    }
  }
  return expected;
}

/// As a processor that flushes denormals rounds to float32.
float rounded(double x) {
  return std::fabs(x) < 0x1.ffffffp-127 ? static_cast<float>(std::copysign(0.0, x)) : static_cast<float>(x);
}

/// A chain of pairs, odd ones first, over [from, to).
template <typename Factor>
float chainOf(int64_t from, int64_t to, Factor&& product) {
  float sum = 0;
  for (int64_t k = from; k < to; k += 2) {
    if (k + 1 < to) sum = rounded(product(k + 1) + sum);
    sum = rounded(product(k) + sum);
  }
  return sum;
}
float promoted(float total, float sum, double rowScale, float weightScale) {
  return rounded(static_cast<double>(total) + rounded(static_cast<double>(sum) * rounded(rowScale * weightScale)));
}

/// What a product on the BF16 chain is defined as.
std::vector<float> chainProduct(const RandomRows& x, int64_t rows, const RandomWeight& weight) {
  const auto [outputs, columns] = std::pair(weight.weight.rows, weight.weight.columns);
  const std::vector<double> inputs = decoded(x, 0, rows, columns), weights = decoded(weight, 0, outputs, columns);
  std::vector<float> expected(rows * outputs);
  for (int64_t i = 0; i < rows * outputs; i++) {
    const int64_t row = i / outputs, n = i % outputs;
    const double *a = &inputs[row * columns], *w = &weights[n * columns];
    for (int64_t block = 0; block < columns; block += SCALE_BLOCK) {
      const float sum =
          chainOf(block, std::min(block + SCALE_BLOCK, columns), [&](int64_t k) { return a[k] * w[k]; });
      expected[i] = promoted(expected[i], sum, x.scale(row, block), weight.scale(n, block));
    }
  }
  return expected;
}

/// What a product of integers is defined as.
std::vector<float> integerProduct(const RandomRows& x, int64_t rows, const RandomWeight& weight) {
  const auto [outputs, columns] = std::pair(weight.weight.rows, weight.weight.columns);
  const std::vector<double> inputs = decoded(x, 0, rows, columns), weights = decoded(weight, 0, outputs, columns);
  std::vector<float> expected(rows * outputs);
  for (int64_t i = 0; i < rows * outputs; i++) {
    const double *a = &inputs[i / outputs * columns], *w = &weights[i % outputs * columns];
    for (int64_t block = 0; block < columns; block += SCALE_BLOCK) {
      double sum = 0;
      for (int64_t k = block; k < std::min(block + SCALE_BLOCK, columns); k++) sum += a[k] * w[k];
      const auto exact = static_cast<float>(sum);
      expected[i] = promoted(expected[i], exact, x.scale(i / outputs, block), weight.scale(i % outputs, block));
    }
  }
  return expected;
}

class Tests {
 public:
  void run() {
    for (const Dtype dtype : WEIGHT_DTYPES) {
      for (const Dtype format : INPUT_FORMATS) testDtypes(dtype, format);
    }
    testDtypes(Dtype::i8, Dtype::i8);
    testGemm(Dtype::i8, Dtype::i8, 33, 1153, 530);
    testGemm(Dtype::i8, Dtype::i8, 1400, 2047, 25);  // tasks of more than one group of strips
    testGemm(Dtype::fp8, Dtype::bf16, 65, 1153, 530);
    testGemm(Dtype::bf16, Dtype::bf16, 150, 700, 600);
    testGemm(Dtype::bf16, Dtype::fp8, 1, 1, 70000);
    testCodes();
    testGroups();
    testFastDecode();
    testMla();
  }

 private:
  void testDtypes(Dtype dtype, Dtype format) {
    const int64_t sizes[] = {1, 15, 16, 17, 127, 128, 129, 576};
    for (const int64_t outputs : sizes) {
      for (const int64_t columns : sizes) {
        if (outputs * columns < 1000 || outputs + columns == 129 + 576 || random_.below(4) == 0) {
          testGemm(dtype, format, outputs, columns, 17);
        }
      }
    }
    testGemm(dtype, format, 129, 1408, 33);
    testGemm(dtype, format, 131, 2047, 33);
    testGemm(dtype, format, 257, 2047, 100);
    testGemm(dtype, format, 2047, 129, 5);
  }

  void expectSame(const Outputs& got, const std::vector<float>& expected, const char* name) {
    expect(!std::memcmp(got.values(), expected.data(), expected.size() * sizeof(float)), name, "not the bits it is defined to have");
  }

  /// All rows at once against float64, then every smaller number of rows against those bits.
  void testGemm(Dtype dtype, Dtype format, int64_t outputs, int64_t columns, int rows) {
    char name[100];
    const bool scaled = formatOf(dtype).scaleRows > 0 && random_.below(4) > 0;
    const int pad = random_.below(4);
    std::snprintf(name, sizeof name, "gemm %s x %s%s, %d rows, %ld outputs, %ld inputs, pad %d", NAMES[(int)format],
                  NAMES[(int)dtype], scaled ? " scaled" : "", rows, (long)outputs, (long)columns, pad);
    const RandomWeight weight(dtype, outputs, columns, scaled, pad, random_);
    const RandomRows x(format, rows, columns, random_);
    const Outputs all(rows * outputs);
    gemm({all.values(), x.operand, weight.weight, rows}, one_);
    char detail[100];
    const double error = relativeError(all.values(), product(x, rows, weight));
    std::snprintf(detail, sizeof detail, "error %.3g", error);
    expect(error <= TOLERANCE, name, detail);
    worst_ = std::max(worst_, error);
    if (format == Dtype::i8) {
      expectSame(all, integerProduct(x, rows, weight), name);
    } else if (fitsChain(dtype, format, false)) {
      const Outputs onVectors(rows * outputs);
      gemm<TileUse::never>({onVectors.values(), x.operand, weight.weight, rows}, two_);
      expectSame(onVectors, chainProduct(x, rows, weight), name);
    }
    if (format == Dtype::i8 || (fitsChain(dtype, format, false) && dtype != Dtype::i8)) testStrips(x, rows, weight, name);
    for (const int some : {0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 32, 33, rows}) {
      if (some > rows) continue;
      const int from = random_.below(rows - some + 1);
      const Outputs part(some * outputs);
      gemm({part.values(), x.from(from), weight.weight, some}, some % 2 ? two_ : three_);
      std::snprintf(detail, sizeof detail, "other bits for %d rows from %d", some, from);
      expect(!std::memcmp(part.values(), all.values() + from * outputs, part.count * sizeof(float)), name, detail);
    }
  }

  /// A weight in strips gives the bits that its rows have on vectors.
  void testStrips(const RandomRows& x, int rows, const RandomWeight& weight, const char* name) {
    const test::PackedWeight packed(weight.weight);
    for (const int some : {1, 2, 3, 4, 5, 9, 16, 17, rows}) {
      if (some > rows) continue;
      const int from = random_.below(rows - some + 1);
      const Outputs expected(some * weight.weight.rows), got(some * weight.weight.rows);
      gemm<TileUse::never>({expected.values(), x.from(from), weight.weight, some}, one_);
      gemm({got.values(), x.from(from), packed.weight, some}, some % 2 ? two_ : three_);
      expect(!std::memcmp(got.values(), expected.values(), got.count * sizeof(float)), name, "other bits in strips");
    }
  }

  /// Every FP8 code by itself.
  void testCodes() {
    for (int code = 0; code < 256; code++) {
      const bool isNumber = (code & 0x7f) != 0x7f;
      for (const int k : {0, 5, 63, 64, 130}) {
        std::vector<uint8_t> codes(131, 0);
        codes[k] = static_cast<uint8_t>(code);
        std::vector<float> x(131 * 4, 1.0f);
        std::vector<uint16_t> halves(131 * 4, 0x3f80);
        const Weight weight = {Dtype::fp8, 1, 131, codes.data(), nullptr};
        for (const Operand& ones : {Operand{Dtype::f32, 131, x.data(), nullptr},
                                    Operand{Dtype::bf16, 131, halves.data(), nullptr}}) {
          float out[4];
          gemm({out, ones, weight, 4}, one_);
          const auto expected = static_cast<float>(test::valueOf(Dtype::fp8, &codes[k]));
          char detail[60];
          std::snprintf(detail, sizeof detail, "code %d at %d gives %g", code, k, out[0]);
          const bool isRight = isNumber ? out[0] == expected && out[3] == expected
                                        : std::isnan(out[0]) && std::isnan(out[3]);
          expect(isRight, "fp8 codes", detail);
        }
      }
    }
  }

  void testGroups() {
    const std::vector<int> sizes[] = {{0, 3, 0, 1, 130, 2, 0, 7, 4, 0}, {0, 0, 0}, {5}, {}, {1, 1, 1, 1, 1, 1, 1, 1}};
    for (const auto& counts : sizes) {
      for (const Dtype dtype : {Dtype::fp8, Dtype::bf16, Dtype::f32}) {
        for (const Dtype format : INPUT_FORMATS) testGrouped(counts, dtype, format);
      }
      testGrouped(counts, Dtype::i8, Dtype::i8);
    }
  }

  void testGrouped(const std::vector<int>& counts, Dtype dtype, Dtype format) {
    const int64_t outputs = 70, columns = 333;
    const int groups = static_cast<int>(counts.size());
    std::vector<int32_t> starts = {0};
    for (const int count : counts) starts.push_back(starts.back() + count);
    const int rows = starts.back();
    const RandomRows x(format, rows, columns, random_);
    std::vector<std::unique_ptr<RandomWeight>> weights;
    std::vector<Weight> handles;
    for (int g = 0; g < groups; g++) {
      weights.push_back(std::make_unique<RandomWeight>(dtype, outputs, columns, formatOf(dtype).scaleRows > 0, g % 4, random_));
      handles.push_back(weights.back()->weight);
    }
    const Outputs out(rows * outputs), single(rows * outputs);
    const GuardedBytes halves(static_cast<size_t>(rows * outputs) * 2);
    groupedGemm({{Dtype::f32, out.values()}, x.operand, handles.data(), groups, starts.data()}, two_);
    groupedGemm({{Dtype::bf16, halves.data()}, x.operand, handles.data(), groups, starts.data()}, three_);
    for (int g = 0; g < groups; g++) {
      gemm({single.values() + starts[g] * outputs, x.from(starts[g]), handles[g], counts[g]}, one_);
    }
    expect(!std::memcmp(out.values(), single.values(), out.count * 4), "grouped gemm", "other bits than by group");
    for (int64_t i = 0; i < out.count; i++) {
      uint16_t expected;
      storeBf16(&expected, splat(single.values()[i]), 1);
      if (!std::memcmp(&expected, halves.data() + i * 2, 2)) continue;
      expect(false, "grouped gemm", "BF16 rows differ");
      break;
    }
  }

  /// Single rows have the vectors' bits then; more have the same as ever.
  void testFastDecode() {
    const int rows = 4;
    const int64_t outputs = 70, columns = 333;
    const RandomWeight weight(Dtype::fp8, outputs, columns, true, 1, random_);
    const RandomRows x(Dtype::bf16, rows, columns, random_);
    const Outputs all(rows * outputs), fast(rows * outputs), single(outputs);
    gemm({all.values(), x.operand, weight.weight, rows}, one_);
    constexpr TileUse FAST = TileUse::notForSingleRows;
    gemm<FAST>({fast.values(), x.operand, weight.weight, rows}, two_);
    gemm<FAST>({single.values(), x.operand, weight.weight, 1}, two_);
    expect(!std::memcmp(fast.values(), all.values(), fast.count * 4), "fast decode", "other bits of several rows");
    expectSame(single, chainProduct(x, 1, weight), "fast decode");
    const int32_t starts[] = {0, 1, rows};
    const Weight weights[] = {weight.weight, weight.weight};
    groupedGemm<FAST>({{Dtype::f32, fast.values()}, x.operand, weights, 2, starts}, three_);
    expect(!std::memcmp(fast.values(), single.values(), single.count * 4), "fast decode", "other bits in a group");
    expect(!std::memcmp(fast.values() + outputs, all.values() + outputs, (rows - 1) * outputs * 4), "fast decode",
           "other bits in a group of more");
  }

  void testMla() {
    for (const Dtype dtype : {Dtype::fp8, Dtype::bf16}) {
      const MlaShape shape = {2, 130, 6, 140, 530, 1};
      testProjectValue(shape, dtype, true, 203);
      testAbsorbQuery(shape, dtype, true, 203);
    }
    const MlaShape shapes[] = {{16, 128, 64, 128, 512, 1}, {3, 128, 64, 128, 512, 1}, {2, 80, 16, 48, 200, 1},
                               {1, 1, 2, 1, 1, 1},         {5, 192, 64, 100, 97, 1}};
    for (const MlaShape& shape : shapes) {
      for (const Dtype dtype : {Dtype::fp8, Dtype::bf16, Dtype::f32, Dtype::i8}) {
        for (const bool round : {false, true}) {
          testProjectValue(shape, dtype, round, 17);
          testAbsorbQuery(shape, dtype, round, 17);
        }
      }
    }
  }

  double roundedTo(double x, bool round) {
    if (!round) return x;
    uint16_t code;
    storeBf16(&code, splat(static_cast<float>(x)), 1);
    return test::valueOf(Dtype::bf16, reinterpret_cast<uint8_t*>(&code));
  }

  void testProjectValue(const MlaShape& shape, Dtype dtype, bool round, int rows) {
    const int64_t perHead = shape.nope + shape.value;
    const RandomWeight kvB(dtype, shape.heads * perHead, shape.latent, formatOf(dtype).scaleRows > 0, random_.below(4), random_);
    const RandomRows x(Dtype::f32, rows * shape.heads, shape.latent, random_);
    const Outputs out(rows * shape.heads * shape.value);
    const auto* latents = static_cast<float*>(x.operand.values);
    projectValue({out.values(), latents, kvB.weight, shape, rows, round}, two_);
    std::vector<double> expected;
    std::vector<float> exact;
    for (int row = 0; row < rows; row++) {
      for (int head = 0; head < shape.heads; head++) {
        for (int v = 0; v < shape.value; v++) {
          double sum = 0;
          const int64_t output = head * perHead + shape.nope + v;
          for (int c = 0; c < shape.latent; c++) {
            sum += roundedTo(x.code(row * shape.heads + head, c), round) * kvB.code(output, c) * kvB.scale(output, c);
          }
          expected.push_back(sum);
          float total = 0;
          for (int64_t block = 0; block < shape.latent; block += SCALE_BLOCK) {
            const int64_t end = std::min<int64_t>(shape.latent, block + SCALE_BLOCK);
            const float part = chainOf(block, end, [&](int64_t c) {
              return roundedTo(x.code(row * shape.heads + head, c), round) * kvB.code(output, c);
            });
            total = promoted(total, part, 1, kvB.scale(output, block));
          }
          exact.push_back(total);
        }
      }
    }
    check("projectValue", shape, dtype, relativeError(out.values(), expected));
    const Outputs fast(out.count / rows), vectors(out.count);
    projectValue<TileUse::notForSingleRows>({fast.values(), latents, kvB.weight, shape, 1, round}, one_);
    projectValue<TileUse::never>({vectors.values(), latents, kvB.weight, shape, rows, round}, three_);
    expect(!std::memcmp(fast.values(), vectors.values(), fast.count * 4), "projectValue, fast decode", "not on vectors");
    if (fitsChain(dtype, Dtype::f32, round)) expectSame(vectors, exact, "projectValue");
    const int64_t width = shape.heads * shape.value;
    for (const int some : {1, 2, 3, 6, rows - 2}) {
      const int from = random_.below(rows - some + 1);
      const Outputs part(some * width);
      projectValue({part.values(), latents + from * shape.heads * shape.latent, kvB.weight, shape, some, round}, three_);
      expect(!std::memcmp(part.values(), out.values() + from * width, part.count * 4), "projectValue", "other bits");
    }
  }

  void testAbsorbQuery(const MlaShape& shape, Dtype dtype, bool round, int rows) {
    const int64_t perHead = shape.nope + shape.value;
    const RandomWeight kvB(dtype, shape.heads * perHead, shape.latent, formatOf(dtype).scaleRows > 0, random_.below(4), random_);
    const RandomRows q(Dtype::f32, rows * shape.heads, shape.nope + shape.rope, random_);
    const Outputs out(rows * shape.heads * shape.latent);
    const auto* queries = static_cast<float*>(q.operand.values);
    absorbQuery({out.values(), queries, kvB.weight, shape, rows, round}, two_);
    std::vector<double> expected;
    std::vector<float> exact;
    for (int row = 0; row < rows * shape.heads; row++) {
      for (int c = 0; c < shape.latent; c++) {
        double sum = 0;
        for (int j = 0; j < shape.nope; j++) {
          const int64_t weightRow = row % shape.heads * perHead + j;
          sum += roundedTo(q.code(row, j), round) * kvB.code(weightRow, c) * kvB.scale(weightRow, c);
        }
        expected.push_back(sum);
        const int64_t first = row % shape.heads * perHead;
        const int64_t cutRows = dtype == Dtype::i8 ? 1 : SCALE_BLOCK;
        float total = 0;
        for (int64_t j = 0; j < shape.nope;) {
          const int64_t end = std::min<int64_t>(shape.nope, j + cutRows - (first + j) % cutRows);
          const float part =
              chainOf(j, end, [&](int64_t i) { return roundedTo(q.code(row, i), round) * kvB.code(first + i, c); });
          total = promoted(total, part, 1, kvB.scale(first + j, c));
          j = end;
        }
        exact.push_back(total);
      }
    }
    check("absorbQuery", shape, dtype, relativeError(out.values(), expected));
    const Outputs fast(out.count / rows), vectors(out.count);
    absorbQuery<TileUse::notForSingleRows>({fast.values(), queries, kvB.weight, shape, 1, round}, one_);
    absorbQuery<TileUse::never>({vectors.values(), queries, kvB.weight, shape, rows, round}, three_);
    expect(!std::memcmp(fast.values(), vectors.values(), fast.count * 4), "absorbQuery, fast decode", "not on vectors");
    if (fitsChain(dtype, Dtype::f32, round)) expectSame(vectors, exact, "absorbQuery");
    const int64_t width = shape.heads * shape.latent;
    for (const int some : {1, 2, 3, 6, rows - 2}) {
      const int from = random_.below(rows - some + 1);
      const Outputs part(some * width);
      const int64_t before = from * shape.heads * (shape.nope + shape.rope);
      absorbQuery({part.values(), queries + before, kvB.weight, shape, some, round}, three_);
      expect(!std::memcmp(part.values(), out.values() + from * width, part.count * 4), "absorbQuery", "other bits");
    }
  }

  void check(const char* what, const MlaShape& shape, Dtype dtype, double error) {
    char detail[100];
    std::snprintf(detail, sizeof detail, "%s, %d heads, latent %d: error %.3g", NAMES[(int)dtype], shape.heads,
                  shape.latent, error);
    expect(error <= TOLERANCE, what, detail);
    worst_ = std::max(worst_, error);
  }

  test::Random random_{1};
  TestTeam one_{1}, two_{2}, three_{3};

 public:
  double worst_ = 0;
};

}  // namespace

int main() {
  Tests tests;
  tests.run();
  std::printf("%d failures, largest error %.3g\n", failures, tests.worst_);
  return failures ? 1 : 0;
}
