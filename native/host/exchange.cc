// Rows between the ranks of a unit that share a process: no rank copies what another can read where it lies.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "host/host-operations.h"
#include "host/replica-shares.h"
#include "host/ring.h"

namespace daysix {

namespace {

/// Bytes that are worth another thread.
constexpr int64_t LEAST_BYTES = 64 << 10;

/// What the act's count is when all ranks have done it in this exchange.
uint32_t allOf(const SharedRows& shared) { return static_cast<uint32_t>(shared.turn) * shared.ranks; }

ExchangeLine& lineOf(const SharedRows& shared, int rank) { return shared.lines[EXCHANGE_ACTS + rank]; }

/// Tells that this rank has done its part. The last one wakes the others, and wakes each once.
void tell(const SharedRows& shared, ExchangeAct act) {
  if (shared.lines[static_cast<int>(act)].count.fetch_add(1) + 1 != allOf(shared)) return;
  for (int rank = 0; rank < shared.ranks; rank++)
    if (rank != shared.own) RankWait::ring(lineOf(shared, rank).count);
}

int64_t firstRow(const SharedRows& shared, int rank) { return static_cast<int64_t>(rank) * shared.rows; }

void copyRows(const SharedRows& shared, const Operand& x, int rows, Team& team) {
  const int64_t values = x.columns * formatOf(x.format).valueBytes;
  const int64_t scales = formatOf(x.format).hasRowScales ? scaleBlocks(x.columns) : 0;
  const int64_t first = firstRow(shared, shared.own);
  team.forkRanges(rows, 1 + LEAST_BYTES / values, [&](int64_t from, int64_t to, Scratch&) {
    std::memcpy(static_cast<uint8_t*>(shared.dispatched.values) + (first + from) * values,
                static_cast<const uint8_t*>(x.values) + from * values, (to - from) * values);
    if (scales == 0) return;
    std::copy(x.scales + from * scales, x.scales + to * scales, shared.dispatched.scales + (first + from) * scales);
  });
}

/// Bytes of a row with its scales.
int64_t rowBytes(const Operand& x) {
  const DtypeFormat& format = formatOf(x.format);
  return x.columns * format.valueBytes + (format.hasRowScales ? scaleBlocks(x.columns) * sizeof(float) : 0);
}

}  // namespace

void dispatchRows(const DispatchRows& c, const HostContext& context) {
  const SharedRows& shared = c.shared;
  copyRows(shared, c.x, c.rows, context.team);
  int32_t* physical = shared.experts + firstRow(shared, shared.own) * shared.topK;
  const auto rankOf = [&](int64_t pair) { return physical[pair] / c.slots; };
  std::vector<int32_t> pairs(c.experts);
  for (int64_t pair = 0; pair < int64_t{c.rows} * shared.topK; pair++) pairs[c.ids[pair]]++;
  ReplicaShares replicas(c.replicaStarts, c.replicas, c.experts, c.slots, shared.ranks, shared.own);
  replicas.share(pairs);
  for (int expert = 0; expert < c.experts; expert++) c.loads[expert] += pairs[expert];
  for (int64_t row = 0; row < c.rows; row++) {
    const int64_t first = row * shared.topK;
    for (int64_t pair = first; pair < first + shared.topK; pair++) {
      physical[pair] = replicas.take(c.ids[pair]);
      const int rank = rankOf(pair);
      if (std::any_of(physical + first, physical + pair, [&](int32_t other) { return other / c.slots == rank; })) continue;
      c.rowsTo[rank]++;
      if (rank != shared.own) c.bytesTo[rank] += rowBytes(c.x);
    }
  }
  lineOf(shared, shared.own).rows = c.rows;
  tell(shared, ExchangeAct::dispatch);
}

void awaitRanks(const AwaitRanks& c, const HostContext& context) {
  const std::atomic<uint32_t>& done = c.shared.lines[static_cast<int>(c.act)].count;
  context.wait.until(lineOf(c.shared, c.shared.own).count, [&] { return reached(done.load(), allOf(c.shared)); });
}

void groupArrived(const GroupArrived& c, const HostContext& context) {
  const SharedRows& shared = c.shared;
  const int first = shared.own * c.slots;
  // Calls visit(slot, pair) for each pair that goes to an own expert.
  const auto forPairs = [&](auto&& visit) {
    for (int rank = 0; rank < shared.ranks; rank++) {
      const int64_t from = firstRow(shared, rank) * shared.topK;
      const int64_t to = from + static_cast<int64_t>(lineOf(shared, rank).rows) * shared.topK;
      for (int64_t pair = from; pair < to; pair++) {
        const int slot = shared.experts[pair] - first;
        if (slot >= 0 && slot < c.slots) visit(slot, pair);
      }
    }
  };
  context.team.fork(1, [&](int64_t, Scratch& scratch) {
    std::fill_n(c.starts, c.slots + 1, 0);
    forPairs([&](int slot, int64_t) { c.starts[slot + 1]++; });
    for (int slot = 0; slot < c.slots; slot++) c.starts[slot + 1] += c.starts[slot];
    if (c.starts[c.slots] > c.most)
      throw std::out_of_range(std::to_string(c.starts[c.slots]) + " pairs arrived, there is room for " +
                              std::to_string(c.most));
    auto* next = static_cast<int32_t*>(scratch.reserve(c.slots * sizeof(int32_t)));
    std::copy_n(c.starts, c.slots, next);
    forPairs([&](int slot, int64_t pair) {
      const int32_t place = next[slot]++;
      c.sources[place] = static_cast<int32_t>(pair / shared.topK);
      c.homes[place] = static_cast<int32_t>(pair);
    });
  });
}

void returnRows(const ReturnRows& c, const HostContext& context) {
  const SharedRows& shared = c.shared;
  const int pairs = c.starts[c.slots];
  const int64_t bytes = shared.dispatched.columns * formatOf(c.outputs.format).valueBytes;
  context.team.forkRanges(pairs, 1 + LEAST_BYTES / bytes, [&](int64_t from, int64_t to, Scratch&) {
    for (int64_t i = from; i < to; i++)
      std::memcpy(static_cast<uint8_t*>(shared.returned.values) + c.homes[i] * bytes,
                  static_cast<const uint8_t*>(c.outputs.values) + i * bytes, bytes);
  });
  for (int i = 0; i < pairs; i++) {
    const int rank = c.homes[i] / (shared.rows * shared.topK);
    if (rank != shared.own) c.bytesTo[rank] += bytes;
  }
  tell(shared, ExchangeAct::giveBack);
}

}  // namespace daysix
