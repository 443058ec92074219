// One instruction set's kernels. Each is compiled from the same sources into a namespace of its own.
#pragma once
#include "host/commands.h"
#include "host/team.h"

namespace daysix {

struct KernelTable {
  const char* name;
  void (*embed)(const Embed&, Team&);
  void (*rmsNorm)(const RmsNorm&, Team&);
  void (*add)(const Add&, Team&);
  void (*quantize)(const Quantize&, Team&);
  void (*quantizeWeight)(const QuantizeWeight&, Team&);
  void (*gemm)(const Gemm&, Team&);
  void (*groupedGemm)(const GroupedGemm&, Team&);
  void (*siluMultiply)(const SiluMultiply&, Team&);
  void (*ropeQuery)(const RopeQuery&, Team&);
  void (*writeKv)(const WriteKv&, Team&);
  void (*absorbQuery)(const AbsorbQuery&, Team&);
  void (*attention)(const Attention&, Team&);
  void (*projectValue)(const ProjectValue&, Team&);
  void (*route)(const Route&, Team&);
  void (*groupRows)(const GroupRows&, Team&);
  void (*gather)(const Gather&, Team&);
  void (*combine)(const Combine&, Team&);
  void (*sample)(const Sample&, Team&);
  uint64_t (*readBytes)(const uint8_t* data, int64_t size);
  int64_t (*multiplyRegisters)(int64_t rounds);
  /// The same with faster single rows, whose bits are not those of the same rows in company; null where it is the same.
  const KernelTable* fastDecode;
};

}  // namespace daysix
