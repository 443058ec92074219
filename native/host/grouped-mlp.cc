#include "host/host-operations.h"
#include "host/indices.h"

namespace daysix {

void groupedMlp(const GroupedMlp& c, const HostContext& context) {
  const KernelTable& kernels = context.kernels;
  Team& team = context.team;
  checkIndices(GroupedGemm{c.out, c.sorted, c.gateWeights, c.groups, c.starts, c.most});
  const int pairs = c.starts[c.groups];
  if (pairs == 0) return;
  const Gather gather = {c.sorted, c.x, c.sources, pairs, c.xRows};
  checkIndices(gather);
  kernels.gather(gather, team);
  const StoredRows gate = {Dtype::f32, c.gate}, up = {Dtype::f32, c.up};
  kernels.groupedGemm({gate, c.sorted, c.gateWeights, c.groups, c.starts, pairs, c.upWeights, up}, team);
  kernels.siluMultiply({c.gate, c.gate, c.up, pairs * c.product.columns}, team);
  kernels.quantize({c.product, c.gate, pairs, c.powerOfTwoScales}, team);
  kernels.groupedGemm({c.out, c.product, c.downWeights, c.groups, c.starts, pairs}, team);
}

}  // namespace daysix
