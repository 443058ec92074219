// Sampling, with the bits of src/kernels/sampling/choose.ts. A row's logits are read as whole numbers of the same order, its
// keys: whole numbers have maxima that compilers turn into vectors, and sort together with their tokens.
#pragma once
#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>

#include "rows/elementary.h"
#include "host/team.h"

namespace daysix::DAYSIX_ISA {

/// Values are summed in blocks of this many, each in lanes and one tree; the blocks in order.
constexpr int64_t SUM_BLOCK = 1024;
constexpr int SUM_LANES = 8;

/// Tokens that a scan for likelier ones looks at together.
constexpr int64_t SCAN = 128;

constexpr int32_t INFINITY_KEY = 0x7f800000;

/// Orders as its logit does, the two zeros alike, NaNs beyond the infinities.
inline int32_t keyOf(float logit) {
  const auto bits = std::bit_cast<int32_t>(logit + 0.0f);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}
inline float logitOf(int32_t key) { return std::bit_cast<float>(key ^ ((key >> 31) & 0x7fffffff)); }

inline double blockSum(const double* values, int64_t count) {
  double lanes[SUM_LANES] = {};
  int64_t i = 0;
  for (; i + SUM_LANES <= count; i += SUM_LANES)
    for (int lane = 0; lane < SUM_LANES; lane++) lanes[lane] += values[i + lane];
  for (int lane = 0; i < count; i++, lane++) lanes[lane] += values[i];
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

/// The place where the running sum of values passes a target, and the target less the values before that place. If the
/// sum never passes the target, the place of the last value that is not 0.
struct Passing {
  int64_t index = 0;
  double rest = 0;

  Passing(const double* values, int64_t count, double target) {
    double before = 0, reached = 0;
    for (int64_t i = 0; i < count && reached <= target; i++) {
      if (values[i] == 0) continue;
      index = i;
      before = reached;
      reached += values[i];
    }
    rest = target - before;
  }
};

/// Which tokens may come, 64 at a time: all, or those that a mask allows.
class AllowedTokens {
 public:
  static constexpr uint64_t ALL = ~uint64_t{0};
  static constexpr int64_t TOKENS = 64;

  AllowedTokens(const uint32_t* mask, int64_t words) : mask_(mask), words_(words) {}

  bool areAll() const { return mask_ == nullptr; }
  bool allow(int32_t token) const { return areAll() || (half(token / 32) >> (token % 32) & 1); }

  /// Bits of the tokens from `first` on, a multiple of 64.
  uint64_t from(int64_t first) const {
    return areAll() ? ALL : half(first / 32 + 1) << 32 | half(first / 32);
  }

 private:
  uint64_t half(int64_t word) const { return word < words_ ? mask_[word] : 0; }

  const uint32_t* mask_;
  const int64_t words_;
};

/// A sampler's arrays, each of a value for every token.
struct SamplerMemory {
  double* weights;
  double* sums;
  uint64_t* ranked;
  int32_t* keys;
  int32_t* tokens;
  int32_t* names;

  SamplerMemory(Scratch& scratch, int64_t size) {
    const size_t blocks = (size + SUM_BLOCK - 1) / SUM_BLOCK;
    weights = static_cast<double*>(
        scratch.reserve((2 * size + blocks) * sizeof(double) + 3 * size * sizeof(int32_t)));
    ranked = reinterpret_cast<uint64_t*>(weights + size);
    sums = reinterpret_cast<double*>(ranked + size);
    keys = reinterpret_cast<int32_t*>(sums + blocks);
    tokens = keys + size;
    names = tokens + size;
  }
};

/// Chooses tokens row by row, in memory for one row.
class Sampler {
 public:
  Sampler(const Sample& command, Scratch& scratch)
      : c_(command), usable_(command.usable), m_(scratch, usable_), size_(usable_) {}

  void choose(int64_t row) {
    const float* logits = c_.logits + row * c_.vocabSize;
    const LogitAdjustments& adjustments = c_.adjustments[row];
    const SamplingRule& rule = c_.rules[row];
    const AllowedTokens allowed(at<uint32_t>(adjustments.allowed), static_cast<int64_t>(adjustments.allowedWords));
    const auto wanted = static_cast<int64_t>(rule.likeliest);
    read(logits, wanted > 0 ? AllowedTokens(nullptr, 0) : allowed);
    if (wanted > 0 && bestToken() >= 0) findLikeliest(row, wanted);
    adjust(adjustments, rule, logits, allowed);
    if (allowed.areAll()) {
      c_.out.tokens[row] = chooseToken(rule);
      return;
    }
    keepAllowed(allowed);
    const int32_t place = size_ > 0 ? chooseToken(rule) : -1;
    c_.out.tokens[row] = place < 0 ? place : m_.names[place];
  }

 private:
  /// Makes keys of logits; where 64 tokens have none that may come, those are left out.
  void read(const float* logits, const AllowedTokens& allowed) {
    for (int64_t first = 0; first < usable_; first += AllowedTokens::TOKENS) {
      if (allowed.from(first) == 0) continue;
      const int64_t end = std::min(usable_, first + AllowedTokens::TOKENS);
      for (int64_t i = first; i < end; i++) m_.keys[i] = keyOf(logits[i]);
    }
  }

  /// Leaves only keys of tokens that may come, in their order, as if there were no others; and whose they are.
  void keepAllowed(const AllowedTokens& allowed) {
    size_ = 0;
    for (int64_t first = 0; first < usable_; first += AllowedTokens::TOKENS) {
      uint64_t bits = allowed.from(first);
      const int64_t count = std::min(usable_ - first, AllowedTokens::TOKENS);
      if (count < AllowedTokens::TOKENS) bits &= (uint64_t{1} << count) - 1;
      if (bits == AllowedTokens::ALL) {
        std::iota(m_.names + size_, m_.names + size_ + count, static_cast<int32_t>(first));
        std::memmove(m_.keys + size_, m_.keys + first, count * sizeof(int32_t));
        size_ += count;
        continue;
      }
      for (; bits != 0; bits &= bits - 1) {
        const int64_t token = first + std::countr_zero(bits);
        m_.names[size_] = static_cast<int32_t>(token);
        m_.keys[size_++] = m_.keys[token];
      }
    }
  }

  void findLikeliest(int64_t row, int64_t count) {
    rank(count);
    for (int64_t i = 0; i < count; i++) c_.out.likeliest[row * c_.most + i] = tokenOf(m_.ranked[i]);
    weigh(1, logitOf(m_.keys[tokenOf(m_.ranked[0])]));
    c_.out.sums[row] = total(size_);
  }

  void adjust(const LogitAdjustments& a, const SamplingRule& rule, const float* logits, const AllowedTokens& allowed) {
    penalise(at<CountedToken>(a.counted), a.distinct, rule, logits);
    penalise(at<CountedToken>(a.proposed), a.proposals, rule, logits);
    const auto* tokens = at<int32_t>(a.biasTokens);
    const auto* biases = at<double>(a.biases);
    for (int64_t i = 0; i < static_cast<int64_t>(a.biasCount); i++) {
      if (!isUsable(tokens[i]) || !allowed.allow(tokens[i])) continue;
      int32_t& key = m_.keys[tokens[i]];
      key = keyOf(static_cast<float>(logitOf(key) + biases[i]));
    }
  }

  /// Sets the keys of counted tokens, whatever they were.
  void penalise(const CountedToken* counted, double count, const SamplingRule& rule, const float* logits) {
    for (int64_t i = 0; i < static_cast<int64_t>(count); i++) {
      const auto [token, generated] = counted[i];
      if (!isUsable(token)) continue;
      const float x = logits[token];
      auto penalised = static_cast<float>(x > 0 ? x / rule.repetition : x * rule.repetition);
      if (generated > 0) penalised = static_cast<float>(penalised - (rule.presence + generated * rule.frequency));
      m_.keys[token] = keyOf(penalised);
    }
  }

  bool isUsable(int32_t token) const { return token >= 0 && token < usable_; }

  template <typename T>
  static const T* at(double address) {
    return reinterpret_cast<const T*>(static_cast<uintptr_t>(address));
  }

  int32_t chooseToken(const SamplingRule& rule) {
    const int32_t best = bestToken();
    if (best < 0 || rule.temperature == 0) return best;
    inverse_ = 1 / rule.temperature;
    largest_ = logitOf(m_.keys[best]);
    ranked_ = 0;
    if (rule.topK > 0 && rule.topK < size_) {
      rank(static_cast<int64_t>(rule.topK));
      keep(ranked_);
    } else {
      weigh(inverse_, largest_);
      std::iota(m_.tokens, m_.tokens + size_, 0);
      kept_ = size_;
    }
    if (rule.topP < 1) keep(nucleus(rule.topP * total(kept_)));
    if (rule.minP > 0) dropBelow(rule.minP);
    return m_.tokens[draw(rule.random)];
  }

  /// The first token of the largest key; −1 when a logit is NaN or the largest is infinite.
  int32_t bestToken() const {
    int32_t largest = m_.keys[0], least = m_.keys[0];
    for (int64_t i = 0; i < size_; i++) {
      largest = std::max(largest, m_.keys[i]);
      least = std::min(least, m_.keys[i]);
    }
    const int32_t negativeInfinity = keyOf(-std::numeric_limits<float>::infinity());
    if (largest >= INFINITY_KEY || least < negativeInfinity || largest == negativeInfinity) return -1;
    int64_t from = 0;
    while (!anyAbove(largest - 1, from, std::min(size_, from + SCAN))) from += SCAN;
    return static_cast<int32_t>(std::find(m_.keys + from, m_.keys + size_, largest) - m_.keys);
  }

  double weight(int32_t token) const { return exponential((logitOf(m_.keys[token]) - largest_) * inverse_); }

  /// Probabilities up to their sum, the likeliest's exactly 1.
  void weigh(double inverse, double largest) {
    for (int64_t i = 0; i < size_; i++) m_.weights[i] = exponential((logitOf(m_.keys[i]) - largest) * inverse);
  }

  /// Key and token as one number: likelier tokens are larger, the lower of equals.
  uint64_t rankOf(int64_t token) const {
    const uint32_t key = static_cast<uint32_t>(m_.keys[token]) ^ 0x80000000u;
    return static_cast<uint64_t>(key) << 32 | (0xffffffffu - static_cast<uint32_t>(token));
  }
  static int32_t tokenOf(uint64_t rank) { return static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(rank)); }

  static int32_t rankedKey(uint64_t rank) {
    return static_cast<int32_t>(static_cast<uint32_t>(rank >> 32) ^ 0x80000000u);
  }

  /// Ranks the `count` likeliest, likeliest first.
  void rank(int64_t count) {
    const std::greater<uint64_t> likelier;
    uint64_t* end = m_.ranked + count;
    for (int64_t i = 0; i < count; i++) m_.ranked[i] = rankOf(i);
    std::make_heap(m_.ranked, end, likelier);
    for (int64_t i = count; i < size_; i += SCAN) {
      const int64_t stop = std::min(size_, i + SCAN);
      if (!anyAbove(rankedKey(m_.ranked[0]), i, stop)) continue;
      for (int64_t token = i; token < stop; token++) {
        if (rankOf(token) < m_.ranked[0]) continue;
        std::pop_heap(m_.ranked, end, likelier);
        end[-1] = rankOf(token);
        std::push_heap(m_.ranked, end, likelier);
      }
    }
    std::sort(m_.ranked, end, likelier);
    ranked_ = count;
  }

  bool anyAbove(int32_t key, int64_t from, int64_t to) const {
    int32_t any = 0;
    for (int64_t i = from; i < to; i++) any |= m_.keys[i] > key;
    return any != 0;
  }

  /// Keeps the `count` likeliest, ranked already, in the order of tokens.
  void keep(int64_t count) {
    kept_ = count;
    std::transform(m_.ranked, m_.ranked + count, m_.tokens, tokenOf);
    std::sort(m_.tokens, m_.tokens + count);
    for (int64_t i = 0; i < count; i++) m_.weights[i] = weight(m_.tokens[i]);
  }

  /// How many of the kept tokens, likeliest first, reach a mass; ranks more and more tokens until the mass is reached.
  int64_t nucleus(double mass) {
    double reached = 0;
    for (int64_t i = 0; i < kept_; i++) {
      if (i == ranked_) rankMore();
      reached += weight(tokenOf(m_.ranked[i]));
      if (reached >= mass) return i + 1;
    }
    return kept_;
  }

  /// Sorting many tokens is faster than finding them one by one.
  void rankMore() {
    const int64_t more = std::max<int64_t>(64, 8 * ranked_);
    rank(more < kept_ / 8 ? more : kept_);
  }

  void dropBelow(double least) {
    int64_t kept = 0;
    for (int64_t i = 0; i < kept_; i++) {
      if (m_.weights[i] < least) continue;
      m_.tokens[kept] = m_.tokens[i];
      m_.weights[kept++] = m_.weights[i];
    }
    kept_ = kept;
  }

  double total(int64_t count) {
    double total = 0;
    for (int64_t from = 0; from < count; from += SUM_BLOCK) {
      const double sum = blockSum(m_.weights + from, std::min(SUM_BLOCK, count - from));
      m_.sums[from / SUM_BLOCK] = sum;
      total += sum;
    }
    return total;
  }

  /// The place at which the running sum of the kept weights passes `random` of their total.
  int64_t draw(double random) {
    const double target = random * total(kept_);
    const Passing block(m_.sums, (kept_ + SUM_BLOCK - 1) / SUM_BLOCK, target);
    const int64_t first = block.index * SUM_BLOCK;
    return first + Passing(m_.weights + first, std::min(SUM_BLOCK, kept_ - first), block.rest).index;
  }

  const Sample& c_;
  const int64_t usable_;
  SamplerMemory m_;
  /// How many there are to choose from; what follows calls their places tokens.
  int64_t size_;
  double inverse_ = 1;
  double largest_ = 0;
  /// How many of the likeliest are ranked.
  int64_t ranked_ = 0;
  /// Of `tokens` and `weights`.
  int64_t kept_ = 0;
};

inline void sample(const Sample& c, Team& team) {
  team.fork(c.rows, [&](int64_t row, Scratch& scratch) { Sampler(c, scratch).choose(row); });
}

}  // namespace daysix::DAYSIX_ISA
