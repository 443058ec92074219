#include "host/host-operations.h"
#include "host/indices.h"

namespace daysix {

void groupedMlp(const GroupedMlp& c, const HostContext& context) {
  const KernelTable& kernels = context.kernels;
  Team& team = context.team;
  const auto multiply = [&](StoredRows out, const Operand& x, const Weight* weights, int rows) {
    kernels.groupedGemm({out, x, weights, c.groups, c.starts, rows}, team);
  };
  checkIndices(GroupedGemm{c.out, c.sorted, c.gateWeights, c.groups, c.starts, c.most});
  const int pairs = c.starts[c.groups];
  if (pairs == 0) return;
  const Gather gather = {c.sorted, c.x, c.sources, pairs, c.xRows};
  checkIndices(gather);
  kernels.gather(gather, team);
  multiply({Dtype::f32, c.gate}, c.sorted, c.gateWeights, pairs);
  multiply({Dtype::f32, c.up}, c.sorted, c.upWeights, pairs);
  kernels.siluMultiply({c.gate, c.gate, c.up, pairs * c.product.columns}, team);
  kernels.quantize({c.product, c.gate, pairs, c.powerOfTwoScales}, team);
  multiply(c.out, c.product, c.downWeights, pairs);
}

}  // namespace daysix
