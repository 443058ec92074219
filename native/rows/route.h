// The gate: which experts a row goes to, and rows sorted by expert.
#pragma once
#include "rows/rows.h"

namespace daysix::DAYSIX_ISA {

/// The `count` best of a row's candidates, found one value at a time; equal values keep the lower index first.
struct Best {
  int* indices;
  int count;
  int found = 0;

  void offer(const float* values, int index) {
    int place = found;
    while (place > 0 && values[index] > values[indices[place - 1]]) place--;
    if (place >= count) return;
    if (found < count) found++;
    for (int i = found - 1; i > place; i--) indices[i] = indices[i - 1];
    indices[place] = index;
  }
};

inline void sigmoidScores(float* out, const float* logits, int experts) {
  forVectors(experts, [&](int64_t i, auto lanes) {
    const Vec x = loadValues<Dtype::f32>(logits, i, lanes);
    storeValues(out, i, splat(1) / (splat(1) + exp(splat(0) - x)), lanes);
  });
}

inline void softmaxScores(float* out, const float* logits, int experts) {
  float largest = logits[0];
  for (int e = 1; e < experts; e++) largest = std::max(largest, logits[e]);
  forVectors(experts, [&](int64_t i, auto lanes) {
    storeValues(out, i, exp(loadValues<Dtype::f32>(logits, i, lanes) - splat(largest)), lanes);
  });
  Vec sums = splat(0);
  forVectors(experts, [&](int64_t i, auto lanes) { sums = sums + loadValues<Dtype::f32>(out, i, lanes); });
  const Vec divisor = splat(sum(sums));
  forVectors(experts, [&](int64_t i, auto lanes) {
    storeValues(out, i, loadValues<Dtype::f32>(out, i, lanes) / divisor, lanes);
  });
}

/// Chooses experts row by row, in memory for one row.
class Gate {
 public:
  Gate(const Route& command, Scratch& scratch) : c_(command), rule_(command.rule) {
    const size_t experts = rule_.experts, groups = rule_.groups;
    auto* memory = static_cast<float*>(
        scratch.reserve((3 * experts + 2 * groups) * sizeof(float) + (rule_.topK + 2 + groups) * sizeof(int)));
    scores_ = memory;
    choice_ = scores_ + experts;
    bias_ = choice_ + experts;
    groupScores_ = bias_ + experts;
    kept_ = groupScores_ + groups;
    best_ = reinterpret_cast<int*>(kept_ + groups);
    std::fill_n(bias_, experts, 0.0f);
    if (!command.hasBias) return;
    withDtype(command.bias.dtype, [&](auto dtype) {
      forVectors(experts, [&](int64_t i, auto lanes) {
        storeValues(bias_, i, loadValues<dtype>(command.bias.data, i, lanes), lanes);
      });
    });
  }

  void choose(int64_t row) {
    const float* logits = c_.logits + row * rule_.experts;
    if (rule_.scoring == Scoring::sigmoid) sigmoidScores(scores_, logits, rule_.experts);
    else softmaxScores(scores_, logits, rule_.experts);
    for (int e = 0; e < rule_.experts; e++) choice_[e] = scores_[e] + bias_[e];
    if (rule_.method != GateMethod::greedy) maskGroups();
    Best best{best_, rule_.topK};
    for (int e = 0; e < rule_.experts; e++) best.offer(choice_, e);
    int32_t* ids = c_.ids + row * rule_.topK;
    std::copy_n(best_, rule_.topK, ids);
    std::sort(ids, ids + rule_.topK);
    weigh(c_.weights + row * rule_.topK, ids);
  }

 private:
  /// A choice's weight is its score without the bias, normalised over the choices where asked.
  void weigh(float* out, const int32_t* ids) {
    float total = 0;
    for (int j = 0; j < rule_.topK; j++) total += scores_[ids[j]];
    const float divisor = rule_.normalise ? static_cast<float>(static_cast<double>(total) + 1e-20) : 1.0f;
    for (int j = 0; j < rule_.topK; j++) out[j] = scores_[ids[j]] / divisor * rule_.scale;
  }

  /// Experts outside the best groups can no longer be chosen.
  void maskGroups() {
    const int size = rule_.experts / rule_.groups;
    for (int g = 0; g < rule_.groups; g++) {
      Best best{best_, rule_.method == GateMethod::noauxTc ? 2 : 1};
      for (int i = 0; i < size; i++) best.offer(choice_ + g * size, i);
      groupScores_[g] = 0;
      for (int i = 0; i < best.found; i++) groupScores_[g] += choice_[g * size + best_[i]];
    }
    Best groups{best_, rule_.topGroups};
    for (int g = 0; g < rule_.groups; g++) groups.offer(groupScores_, g);
    std::fill_n(kept_, rule_.groups, 0.0f);
    for (int i = 0; i < groups.found; i++) kept_[best_[i]] = 1;
    for (int g = 0; g < rule_.groups; g++)
      if (kept_[g] == 0) std::fill_n(choice_ + g * size, size, -INFINITY);
  }

  const Route& c_;
  const GateRule& rule_;
  float* scores_;
  float* choice_;
  float* bias_;
  float* groupScores_;
  float* kept_;
  int* best_;
};

inline void route(const Route& c, Team& team) {
  // A score costs about as much as 16 values copied.
  const int64_t least = taskRows(static_cast<int64_t>(c.rule.experts) * 16);
  team.forkRanges(c.rows, least, [&](int64_t from, int64_t to, Scratch& scratch) {
    Gate gate(c, scratch);
    for (int64_t row = from; row < to; row++) gate.choose(row);
  });
}

/// A counting sort, rows ascending inside an expert.
inline void groupRows(const GroupRows& c, Team& team) {
  const int64_t pairs = static_cast<int64_t>(c.rows) * c.topK;
  team.fork(1, [&](int64_t, Scratch& scratch) {
    int32_t* starts = c.out.starts;
    std::fill_n(starts, c.experts + 1, 0);
    for (int64_t pair = 0; pair < pairs; pair++) starts[c.ids[pair] + 1]++;
    for (int e = 0; e < c.experts; e++) starts[e + 1] += starts[e];
    auto* next = static_cast<int32_t*>(scratch.reserve(c.experts * sizeof(int32_t)));
    std::copy_n(starts, c.experts, next);
    for (int64_t pair = 0; pair < pairs; pair++) {
      const int32_t place = next[c.ids[pair]]++;
      c.out.sources[place] = static_cast<int32_t>(pair / c.topK);
      c.out.places[pair] = place;
    }
  });
}

}  // namespace daysix::DAYSIX_ISA
