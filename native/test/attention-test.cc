// Attention of one instruction set against float64 with the same rounding points, and against itself: a (row, head)'s
// bits must not depend on the rows and heads beside it, the threads or the pages. Exits non-zero on a failure.
#include <cstdio>

#include "attention/attention.h"
#include "attention-case.h"
#include "test-team.h"

namespace {

using namespace daysix;
using namespace daysix::DAYSIX_ISA;
using test::AttentionCase;
using test::Sequence;

int failures = 0;

void expect(bool good, const char* what, const AttentionCase& c) {
  if (good) return;
  failures++;
  std::printf("FAILED %s: %d heads, latent %d + %d, %d rows, %s\n", what, c.shape.heads, c.shape.latent, c.shape.rope,
              c.rows, c.rounded ? "BF16" : "float32");
}

struct Output {
  std::vector<float> sums, lse;
  bool operator==(const Output& other) const {
    const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
      return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
    };
    return same(sums, other.sums) && same(lse, other.lse);
  }
};

/// Rows [from, to) of a case on `threads` threads; what later rows alone may see is NaN.
Output run(const AttentionCase& c, int threads, int from, int to) {
  AttentionCase own = c;
  StepLayout layout = own.layout();
  for (size_t s = 0; s < own.sequences.size(); s++) {
    const int last = std::min(to, c.rowStarts[s + 1]) - 1;
    if (last >= std::max(from, c.rowStarts[s])) {
      for (int t = c.positions[last] + 1; t < c.sequences[s].context; t++) std::fill_n(own.entry(s, t), c.width, NAN);
    }
  }
  for (int32_t& start : own.rowStarts) start = std::clamp(start, from, to) - from;
  layout.rows = to - from;
  layout.positions += from;
  std::vector<uint16_t> codes(c.rounded ? own.entries.size() : 0);
  for (size_t i = 0; i < codes.size(); i++) {
    codes[i] = std::isnan(own.entries[i]) ? 0x7fc0 : test::bf16Bits(own.entries[i]);
  }
  const int heads = c.shape.heads, latent = c.shape.latent, query = c.shape.nope + c.shape.rope;
  Output out{std::vector<float>(int64_t{layout.rows} * heads * latent, NAN),
             std::vector<float>(int64_t{layout.rows} * heads, NAN)};
  const auto rowsOf = [&](const std::vector<float>& values, int width) {
    return std::vector<float>(values.begin() + from * heads * width, values.begin() + to * heads * width);
  };
  const std::vector<float> absorbed = rowsOf(c.absorbed, latent), q = rowsOf(c.q, query);
  const StoredRows cache = c.rounded ? StoredRows{Dtype::bf16, codes.data()}
                                     : StoredRows{Dtype::f32, own.entries.data()};
  TestTeam team(threads);
  attention({out.sums.data(), absorbed.data(), q.data(), cache, c.shape, layout, c.rounded, 0, out.lse.data()}, team);
  return out;
}

/// One (row, head) in float64, rounded where the policy rounds; returns the log of the softmax's sum.
double oracle(std::vector<double>& out, AttentionCase& c, size_t sequence, int row, int head) {
  const MlaShape& shape = c.shape;
  const auto round = [&](float x) { return c.rounded ? test::roundBf16(x) : x; };
  const float* absorbed = c.absorbed.data() + (int64_t{row} * shape.heads + head) * shape.latent;
  const float* rotated = c.q.data() + (int64_t{row} * shape.heads + head) * (shape.nope + shape.rope) + shape.nope;
  out.assign(shape.latent, 0);
  double maximum = -INFINITY, total = 0;
  for (int start = 0; start <= c.positions[row]; start += KV_PIECE_TOKENS) {
    const int end = std::min(start + KV_PIECE_TOKENS, c.positions[row] + 1);
    std::vector<double> scores;
    for (int t = start; t < end; t++) {
      const float* entry = c.entry(sequence, t);
      double score = 0;
      for (int i = 0; i < shape.latent; i++) score += double{round(absorbed[i])} * entry[i];
      for (int i = 0; i < shape.rope; i++) score += double{round(rotated[i])} * entry[shape.latent + i];
      scores.push_back(score * shape.scale);
    }
    const double own = *std::max_element(scores.begin(), scores.end());
    const double most = std::max(maximum, own), earlier = std::exp(maximum - most), later = std::exp(own - most);
    total *= earlier;
    for (double& x : out) x *= earlier;
    for (int t = start; t < end; t++) {
      const double probability = std::exp(scores[t - start] - own);
      total += probability * later;
      const double weight = round(static_cast<float>(probability)) * later;
      for (int i = 0; i < shape.latent; i++) out[i] += weight * c.entry(sequence, t)[i];
    }
    maximum = most;
  }
  for (double& x : out) x /= total;
  return maximum + std::log(total);
}

void checkAgainstOracle(AttentionCase& c, const Output& output) {
  double error = 0, size = 0, lseError = 0;
  std::vector<double> expected;
  for (size_t s = 0; s < c.sequences.size(); s++) {
    for (int row = c.rowStarts[s]; row < c.rowStarts[s + 1]; row++) {
      for (int head = 0; head < c.shape.heads; head++) {
        const int64_t at = int64_t{row} * c.shape.heads + head;
        lseError = std::max(lseError, std::fabs(oracle(expected, c, s, row, head) - output.lse[at]));
        for (int i = 0; i < c.shape.latent; i++) {
          error += std::pow(output.sums[at * c.shape.latent + i] - expected[i], 2);
          size += expected[i] * expected[i];
        }
      }
    }
  }
  const double relative = std::sqrt(error / std::max(size, 1e-300));
  expect(relative <= (c.rounded ? 2e-3 : 1e-5), "agreement", c);
  expect(lseError <= 1e-5, "log-sum-exp", c);
  std::printf("%3d heads, %3d + %2d, %4d rows, %-8s relative L2 %.1e, lse %.1e\n", c.shape.heads, c.shape.latent,
              c.shape.rope, c.rows, c.rounded ? "BF16:" : "float32:", relative, lseError);
}

/// Rows [from, to) of a case's output.
Output rowsOf(const AttentionCase& c, const Output& whole, int from, int to) {
  const auto slice = [&](const std::vector<float>& values, int width) {
    return std::vector<float>(values.begin() + int64_t{from} * width, values.begin() + int64_t{to} * width);
  };
  return {slice(whole.sums, c.shape.heads * c.shape.latent), slice(whole.lse, c.shape.heads)};
}

/// Entries that are not finite reach whoever sees them, and nobody else in their block.
void checkSpoilt(AttentionCase c, const Output& whole) {
  for (size_t s = 0; s < c.sequences.size(); s++) {
    if (c.sequences[s].rows == 0) continue;
    float* entry = c.entry(s, c.sequences[s].context - 1);
    for (int i = 0; i < c.width; i++) entry[i] = i % 2 ? INFINITY : NAN;
  }
  const Output spoilt = run(c, 1, 0, c.rows);
  for (size_t s = 0; s < c.sequences.size(); s++) {
    if (c.sequences[s].rows == 0) continue;
    const int from = c.rowStarts[s], last = c.rowStarts[s + 1] - 1;
    expect(rowsOf(c, spoilt, from, last) == rowsOf(c, whole, from, last), "unseen entries", c);
    const Output seen = rowsOf(c, spoilt, last, last + 1);
    expect(std::all_of(seen.sums.begin(), seen.sums.end(), [](float x) { return std::isnan(x); }), "seen entries", c);
  }
}

/// The same rows with only some of their heads.
AttentionCase someHeads(const AttentionCase& c, int from, int to) {
  AttentionCase out = c;
  out.shape.heads = to - from;
  const auto pick = [&](const std::vector<float>& values, int width) {
    std::vector<float> picked;
    for (int row = 0; row < c.rows; row++) {
      const auto first = values.begin() + (int64_t{row} * c.shape.heads + from) * width;
      picked.insert(picked.end(), first, first + int64_t{to - from} * width);
    }
    return picked;
  };
  out.absorbed = pick(c.absorbed, c.shape.latent);
  out.q = pick(c.q, c.shape.nope + c.shape.rope);
  return out;
}

void check(MlaShape shape, bool rounded, const std::vector<Sequence>& sequences, uint64_t seed) {
  AttentionCase c(shape, rounded, sequences, 7, seed);
  const Output whole = run(c, 1, 0, c.rows);
  checkAgainstOracle(c, whole);
  for (int threads = 2; threads <= 3; threads++) expect(run(c, threads, 0, c.rows) == whole, "threads", c);
  const int step = std::max(1, c.rows / 12);
  for (int row = 0; row < c.rows; row += step) {
    expect(run(c, 1 + row % 3, row, row + 1) == rowsOf(c, whole, row, row + 1), "a row alone", c);
  }
  for (int from = 0, chunk = 2; from < c.rows; from += chunk, chunk += 3) {
    const int to = std::min(from + chunk, c.rows);
    expect(run(c, 2, from, to) == rowsOf(c, whole, from, to), "chunks", c);
  }
  checkSpoilt(c, whole);
  AttentionCase moved = c;
  moved.permute(seed + 1);
  expect(run(moved, 2, 0, c.rows) == whole, "pages", c);
  if (shape.heads > 1) {
    const int from = shape.heads / 3, to = std::min(shape.heads, from + 5);
    const AttentionCase some = someHeads(c, from, to);
    const Output part = run(some, 1, 0, c.rows);
    for (int row = 0; row < c.rows; row++) {
      const size_t count = (to - from) * shape.latent;
      expect(std::memcmp(part.sums.data() + row * count,
                         whole.sums.data() + (int64_t{row} * shape.heads + from) * shape.latent,
                         count * sizeof(float)) == 0, "heads", c);
    }
  }
}

}  // namespace

int main() {
  uint64_t seed = 1;
  const std::vector<Sequence> mixed = {{550, 3}, {9, 0}, {1, 1}, {64, 1}, {300, 9}, {770, 1}, {0, 0}, {257, 2}};
  const int heads[] = {1, 2, 3, 4, 5, 16, 17};
  const struct { int latent, rope; } sizes[] = {{24, 8}, {128, 32}, {100, 6}, {512, 64}};
  for (const bool rounded : {false, true}) {
    for (const auto& size : sizes) {
      for (const int n : heads) {
        if (size.latent == 512 && n % 16 != 0) continue;
        check({n, 12, size.rope, 16, size.latent, 0.05f}, rounded, mixed, seed++);
      }
    }
    check({128, 12, 64, 16, 512, 0.05f}, rounded, {{300, 1}, {40, 2}}, seed++);
    check({5, 12, 6, 16, 40, 0.3f}, rounded, {{700, 90}}, seed++);
    check({16, 12, 8, 16, 32, 0.3f}, rounded, {{3000, 1}, {2100, 1}}, seed++);
    check({4, 12, 8, 16, 24, 0.3f}, rounded, {{0, 0}, {0, 0}}, seed++);
    check({4, 12, 8, 16, 24, 0.3f}, rounded, {}, seed++);
  }
  std::printf("%s: %d failures\n", failures ? "FAILED" : "passed", failures);
  return failures != 0;
}
