// Compiled once for each instruction set, which DAYSIX_ISA names.
#include "attention/attention.h"
#include "gemm/gemm.h"
#include "host/kernel-table.h"
#include "rows/kv.h"
#include "gemm/mla.h"
#include "gemm/probe-kernels.h"
#include "rows/quantize.h"
#include "rows/route.h"
#include "rows/rows.h"
#include "rows/sample.h"

#define DAYSIX_STRING(text) #text
#define DAYSIX_NAME(isa) DAYSIX_STRING(isa)
#define DAYSIX_JOIN(a, b) a##b
#define DAYSIX_TABLE(isa) DAYSIX_JOIN(isa, Table)

namespace daysix {

namespace DAYSIX_ISA {

template <bool FastDecode>
constexpr KernelTable table(const char* name, const KernelTable* fastDecode) {
  return {
      .name = name,
      .embed = embed,
      .rmsNorm = rmsNorm,
      .add = add,
      .quantize = quantize,
      .quantizeWeight = quantizeWeight,
      .gemm = gemm<FastDecode>,
      .groupedGemm = groupedGemm<FastDecode>,
      .siluMultiply = siluMultiply,
      .ropeQuery = ropeQuery,
      .writeKv = writeKv,
      .absorbQuery = absorbQuery<FastDecode>,
      .attention = attention,
      .projectValue = projectValue<FastDecode>,
      .route = route,
      .groupRows = groupRows,
      .gather = gather,
      .combine = combine,
      .sample = sample,
      .readBytes = readBytes,
      .multiplyRegisters = multiplyRegisters,
      .fastDecode = fastDecode,
  };
}

#if defined(DAYSIX_TILES)
constexpr KernelTable FAST_DECODE = table<true>(DAYSIX_NAME(DAYSIX_ISA) "-fast-decode", nullptr);
constexpr const KernelTable* fastDecode = &FAST_DECODE;
#else
constexpr const KernelTable* fastDecode = nullptr;
#endif

}  // namespace DAYSIX_ISA

extern const KernelTable DAYSIX_TABLE(DAYSIX_ISA);
constexpr KernelTable DAYSIX_TABLE(DAYSIX_ISA) =
    DAYSIX_ISA::table<false>(DAYSIX_NAME(DAYSIX_ISA), DAYSIX_ISA::fastDecode);

}  // namespace daysix
