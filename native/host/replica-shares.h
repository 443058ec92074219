// How many of a sender's pairs each replica of an expert computes: balancing/replica-shares.ts's waterfill.
#pragma once
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace daysix {

class ReplicaShares {
 public:
  /// The replicas of expert e are places[starts[e]] up to places[starts[e + 1]], each on a rank of its own.
  ReplicaShares(const int32_t* starts, const int32_t* places, int experts, int slots, int ranks, int turn)
      : starts_(starts), places_(places), experts_(experts), slots_(slots), turn_(turn), loads_(ranks),
        shares_(starts[experts]) {}

  void share(const std::vector<int32_t>& pairs) {
    for (int expert = 0; expert < experts_; expert++) {
      const int replicas = replicasOf(expert);
      for (int i = 0; i < replicas; i++)
        shares_[starts_[expert] + i] = pairs[expert] / replicas + (turnOf(i, replicas) < pairs[expert] % replicas);
      addToLoads(expert, 1);
    }
    for (int sweep = 0; sweep < SWEEPS; sweep++)
      for (int expert = 0; expert < experts_; expert++) {
        if (replicasOf(expert) == 1 || pairs[expert] == 0) continue;
        addToLoads(expert, -1);
        pour(expert, pairs[expert]);
        addToLoads(expert, 1);
      }
  }

  /// The next place for a pair of the expert, which has as many as were shared.
  int32_t take(int expert) {
    int replica = starts_[expert];
    while (shares_[replica] == 0) replica++;
    shares_[replica]--;
    return places_[replica];
  }

 private:
  static constexpr int SWEEPS = 3;

  int replicasOf(int expert) const { return starts_[expert + 1] - starts_[expert]; }
  int turnOf(int replica, int replicas) const { return (replica + turn_) % replicas; }
  int32_t& loadOf(int expert, int replica) { return loads_[places_[starts_[expert] + replica] / slots_]; }

  void addToLoads(int expert, int sign) {
    for (int i = 0; i < replicasOf(expert); i++) loadOf(expert, i) += sign * shares_[starts_[expert] + i];
  }

  void pour(int expert, int32_t pairs) {
    const int replicas = replicasOf(expert);
    const auto level = [&](int i) { return loadOf(expert, lowest_[i]); };
    lowest_.resize(replicas);
    std::iota(lowest_.begin(), lowest_.end(), 0);
    std::sort(lowest_.begin(), lowest_.end(), [&](int a, int b) {
      const int difference = loadOf(expert, a) - loadOf(expert, b);
      return difference != 0 ? difference < 0 : turnOf(a, replicas) < turnOf(b, replicas);
    });
    int filled = 1;
    for (; filled < replicas && pairs >= (level(filled) - level(filled - 1)) * filled; filled++)
      pairs -= (level(filled) - level(filled - 1)) * filled;
    for (int i = 0; i < replicas; i++) {
      const int32_t share = level(filled - 1) - level(i) + pairs / filled + (i < pairs % filled);
      shares_[starts_[expert] + lowest_[i]] = i < filled ? share : 0;
    }
  }

  const int32_t* starts_;
  const int32_t* places_;
  const int experts_;
  const int slots_;
  const int turn_;
  /// Of each rank.
  std::vector<int32_t> loads_;
  /// Of each replica, in the order of places.
  std::vector<int32_t> shares_;
  /// Replicas of an expert, that on the least busy rank first.
  std::vector<int> lowest_;
};

}  // namespace daysix
