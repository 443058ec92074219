// Attention of one instruction set against its definition, step by step, bit for bit; on tiles, which sum in an order of
// their own, roughly. And against itself: a (row, head)'s bits must not depend on the rows and heads beside it, the
// threads or the pages. Exits non-zero on a failure.
#include <cstdio>

#include "attention/attention.h"
#include "attention-case.h"
#include "test-team.h"

namespace {

using namespace daysix;
using namespace daysix::DAYSIX_ISA;
using test::AttentionCase;
using test::Sequence;

enum class Kind { float32, bf16, tiles };
constexpr const char* NAMES[] = {"float32", "BF16", "tiles"};

int failures = 0;

void expect(bool good, const char* what, const AttentionCase& c, Kind kind) {
  if (good) return;
  failures++;
  std::printf("FAILED %s: %d heads, latent %d + %d, %d rows, %s\n", what, c.shape.heads, c.shape.latent, c.shape.rope,
              c.rows, NAMES[static_cast<int>(kind)]);
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
Output run(const AttentionCase& c, Kind kind, int threads, int from, int to) {
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
  const Attention command{out.sums.data(), absorbed.data(), q.data(), cache, c.shape, layout, 0, out.lse.data()};
  kind == Kind::tiles ? attention(command, team) : attention<TileUse::never>(command, team);
  return out;
}

/// The nearest float32, zero where it would be a denormal.
float rounded(double x) {
  return std::fabs(x) < 0x1.ffffffp-127 ? static_cast<float>(std::copysign(0.0, x)) : static_cast<float>(x);
}

/// One step of a chain: of two BF16 values rounded with the sum, of two float32 values first by itself.
float add(const AttentionCase& c, float sum, float a, float b) {
  a = rounded(a);
  b = rounded(b);
  return c.rounded ? rounded(double{a} * b + sum) : rounded(double{sum} + rounded(double{a} * b));
}

/// Which of a chain's n terms comes i-th: of BF16 pairs the odd one first.
int placeOf(const AttentionCase& c, int i, int n) { return c.rounded && (i ^ 1) < n ? i ^ 1 : i; }

float exponential(float x) {
  float out[WIDTH];
  store(out, exp(splat(x)));
  return out[0];
}

/// One (row, head) of a case.
class Oracle {
 public:
  Oracle(AttentionCase& c, size_t sequence, int row, int head) : c_(c), sequence_(sequence), out(c.shape.latent) {
    const MlaShape& shape = c.shape;
    const auto round = [&](float x) { return c.rounded ? test::roundBf16(x) : x; };
    const int64_t rowHead = int64_t{row} * shape.heads + head;
    for (int i = 0; i < shape.latent; i++) query_.push_back(round(c.absorbed[rowHead * shape.latent + i]));
    for (int i = 0; i < shape.rope; i++) {
      query_.push_back(round(c.q[rowHead * (shape.nope + shape.rope) + shape.nope + i]));
    }
    for (int start = 0; start <= c.positions[row]; start += KV_PIECE_TOKENS) {
      addPiece(start, std::min(KV_PIECE_TOKENS, c.positions[row] + 1 - start));
    }
    for (float& x : out) x = rounded(double{x} / total_);
  }

  double lse() const { return maximum_ + std::log(static_cast<double>(total_)); }

 private:
  void addPiece(int start, int tokens) {
    std::vector<float> scores(tokens), sums(c_.shape.latent);
    for (int t = 0; t < tokens; t++) {
      for (int i = 0; i < c_.width; i++) {
        const int at = placeOf(c_, i, c_.width);
        scores[t] = add(c_, scores[t], query_[at], c_.entry(sequence_, start + t)[at]);
      }
      scores[t] = rounded(double{scores[t]} * c_.shape.scale);
    }
    const float own = *std::max_element(scores.begin(), scores.end());
    float parts[16] = {};
    for (int t = 0; t < tokens; t++) {
      scores[t] = exponential(rounded(double{scores[t]} - own));
      parts[t % 16] = rounded(double{parts[t % 16]} + scores[t]);
      if (c_.rounded) scores[t] = test::roundBf16(scores[t]);
    }
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; i++) parts[i] = rounded(double{parts[i]} + parts[i + half]);
    }
    for (int i = 0; i < tokens; i++) {
      const int t = placeOf(c_, i, tokens);
      for (int c = 0; c < c_.shape.latent; c++) sums[c] = add(c_, sums[c], scores[t], c_.entry(sequence_, start + t)[c]);
    }
    merge(own, parts[0], sums);
  }

  void merge(float own, float total, const std::vector<float>& sums) {
    const float maximum = std::max(maximum_, own);
    const float before = exponential(rounded(double{maximum_} - maximum)), after = exponential(rounded(double{own} - maximum));
    const auto both = [&](float x, float y) {
      return rounded(double{rounded(double{x} * before)} + rounded((double{y} + 0.0) * after));
    };
    maximum_ = maximum;
    total_ = both(total_, total);
    for (int c = 0; c < c_.shape.latent; c++) out[c] = both(out[c], sums[c]);
  }

  AttentionCase& c_;
  size_t sequence_;
  std::vector<float> query_;
  float maximum_ = -INFINITY, total_ = 0;

 public:
  std::vector<float> out;
};

void checkAgainstOracle(AttentionCase& c, Kind kind, const Output& output) {
  double error = 0, size = 0, lseError = 0;
  int64_t different = 0;
  for (size_t s = 0; s < c.sequences.size(); s++) {
    for (int row = c.rowStarts[s]; row < c.rowStarts[s + 1]; row++) {
      for (int head = 0; head < c.shape.heads; head++) {
        const Oracle expected(c, s, row, head);
        const int64_t at = int64_t{row} * c.shape.heads + head;
        lseError = std::max(lseError, std::fabs(expected.lse() - output.lse[at]));
        for (int i = 0; i < c.shape.latent; i++) {
          const float actual = output.sums[at * c.shape.latent + i];
          different += std::memcmp(&actual, &expected.out[i], sizeof actual) != 0;
          error += std::pow(actual - expected.out[i], 2);
          size += std::pow(expected.out[i], 2);
        }
      }
    }
  }
  const double relative = std::sqrt(error / std::max(size, 1e-300));
  expect(kind == Kind::tiles ? relative <= 2e-3 : different == 0, "agreement", c, kind);
  expect(lseError <= 1e-5, "log-sum-exp", c, kind);
  std::printf("%3d heads, %3d + %2d, %4d rows, %-7s %lld values differ, relative L2 %.1e\n", c.shape.heads,
              c.shape.latent, c.shape.rope, c.rows, NAMES[static_cast<int>(kind)], static_cast<long long>(different),
              relative);
}

/// Rows [from, to) of a case's output.
Output rowsOf(const AttentionCase& c, const Output& whole, int from, int to) {
  const auto slice = [&](const std::vector<float>& values, int width) {
    return std::vector<float>(values.begin() + int64_t{from} * width, values.begin() + int64_t{to} * width);
  };
  return {slice(whole.sums, c.shape.heads * c.shape.latent), slice(whole.lse, c.shape.heads)};
}

/// Entries with values that are not finite reach whoever sees them, though their score be -infinity, and nobody else in
/// their block.
void checkSpoilt(AttentionCase c, Kind kind, const Output& whole, float value) {
  for (size_t s = 0; s < c.sequences.size(); s++) {
    if (c.sequences[s].rows > 0) c.entry(s, c.sequences[s].context - 1)[0] = value;
  }
  const Output spoilt = run(c, kind, 1, 0, c.rows);
  for (size_t s = 0; s < c.sequences.size(); s++) {
    if (c.sequences[s].rows == 0) continue;
    const int from = c.rowStarts[s], last = c.rowStarts[s + 1] - 1;
    expect(rowsOf(c, spoilt, from, last) == rowsOf(c, whole, from, last), "unseen entries", c, kind);
    const Output seen = rowsOf(c, spoilt, last, last + 1);
    expect(std::all_of(seen.sums.begin(), seen.sums.end(), [](float x) { return std::isnan(x); }), "seen entries", c,
           kind);
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

void check(MlaShape shape, Kind kind, const std::vector<Sequence>& sequences, uint64_t seed) {
  AttentionCase c(shape, kind != Kind::float32, sequences, 7, seed);
  const Output whole = run(c, kind, 1, 0, c.rows);
  checkAgainstOracle(c, kind, whole);
  for (int threads = 2; threads <= 3; threads++) expect(run(c, kind, threads, 0, c.rows) == whole, "threads", c, kind);
  const int step = std::max(1, c.rows / 12);
  for (int row = 0; row < c.rows; row += step) {
    expect(run(c, kind, 1 + row % 3, row, row + 1) == rowsOf(c, whole, row, row + 1), "a row alone", c, kind);
  }
  for (int from = 0, chunk = 2; from < c.rows; from += chunk, chunk += 3) {
    const int to = std::min(from + chunk, c.rows);
    expect(run(c, kind, 2, from, to) == rowsOf(c, whole, from, to), "chunks", c, kind);
  }
  for (const float value : {NAN, INFINITY}) checkSpoilt(c, kind, whole, value);
  AttentionCase moved = c;
  moved.permute(seed + 1);
  expect(run(moved, kind, 2, 0, c.rows) == whole, "pages", c, kind);
  if (shape.heads > 1) {
    const int from = shape.heads / 3, to = std::min(shape.heads, from + 5);
    const AttentionCase some = someHeads(c, from, to);
    const Output part = run(some, kind, 1, 0, c.rows);
    for (int row = 0; row < c.rows; row++) {
      const size_t count = (to - from) * shape.latent;
      expect(std::memcmp(part.sums.data() + row * count,
                         whole.sums.data() + (int64_t{row} * shape.heads + from) * shape.latent,
                         count * sizeof(float)) == 0, "heads", c, kind);
    }
  }
}

}  // namespace

int main() {
  uint64_t seed = 1;
  const std::vector<Sequence> mixed = {{550, 3}, {9, 0}, {1, 1}, {64, 1}, {300, 9}, {770, 1}, {0, 0}, {257, 2}};
  const int heads[] = {1, 2, 3, 4, 5, 16, 17};
  const struct { int latent, rope; } sizes[] = {{24, 8}, {128, 32}, {100, 6}, {25, 6}, {512, 64}};
    std::vector<Kind> kinds = {Kind::float32, Kind::bf16};
#if defined(DAYSIX_TILES)
  kinds.push_back(Kind::tiles);
#endif
  for (const Kind kind : kinds) {
    for (const auto& size : sizes) {
      for (const int n : heads) {
        if (size.latent == 512 && n % 16 != 0) continue;
        check({n, 12, size.rope, 16, size.latent, 0.05f}, kind, mixed, seed++);
      }
    }
    check({128, 12, 64, 16, 512, 0.05f}, kind, {{300, 1}, {40, 2}}, seed++);
    check({5, 12, 6, 16, 40, 0.3f}, kind, {{700, 90}}, seed++);
    check({16, 12, 8, 16, 32, 0.3f}, kind, {{3000, 1}, {2100, 1}}, seed++);
    check({4, 12, 8, 16, 24, 0.3f}, kind, {{0, 0}, {0, 0}}, seed++);
    check({4, 12, 8, 16, 24, 0.3f}, kind, {}, seed++);
  }
  std::printf("%s: %d failures\n", failures ? "FAILED" : "passed", failures);
  return failures != 0;
}
