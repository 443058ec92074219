// Compiled once for each instruction set, which DAYSIX_ISA names.
#include "attention/attention.h"
#include "gemm/gemm.h"
#include "host/kernel-table.h"
#include "rows/kv.h"
#include "gemm/mla.h"
#include "gemm/probe-kernels.h"
#include "rows/quantize-weight.h"
#include "rows/route.h"
#include "rows/rows.h"
#include "rows/sample.h"

#define DAYSIX_STRING(text) #text
#define DAYSIX_NAME(isa) DAYSIX_STRING(isa)
#define DAYSIX_JOIN(a, b) a##b
#define DAYSIX_TABLE(isa) DAYSIX_JOIN(isa, Table)

namespace daysix {

namespace DAYSIX_ISA {

constexpr KernelTable table(const char* name, const KernelTable* fastDecode, const KernelTable* onVectors) {
  return {
      .name = name,
#define FIELD(type, name)
#define STRUCT(Name, ...)
#define OPERATION(name, Name, ...) .name = DAYSIX_ISA::name,
#define HOST_OPERATION(name, Name, ...)
#include "host/operations.h"
      .readBytes = readBytes,
      .peaks = {CODE_PEAK, PAIR_PEAK, FLOAT_PEAK},
      .fastDecode = fastDecode,
      .onVectors = onVectors,
  };
}

#if defined(DAYSIX_TILES)
template <TileUse Use>
constexpr KernelTable tableWith(const char* name) {
  KernelTable kernels = table(name, nullptr, nullptr);
  kernels.gemm = gemm<Use>;
  kernels.groupedGemm = groupedGemm<Use>;
  kernels.absorbQuery = absorbQuery<Use>;
  kernels.attention = attention<Use>;
  kernels.projectValue = projectValue<Use>;
  return kernels;
}
constexpr KernelTable withPairTiles(KernelTable kernels) {
  kernels.peaks[static_cast<int>(MultiplyKind::bf16)] = {"AMX-BF16", multiplyPairTiles};
  return kernels;
}
constexpr KernelTable FAST_DECODE =
    withPairTiles(tableWith<TileUse::notForSingleRows>(DAYSIX_NAME(DAYSIX_ISA) "-fast-decode"));
constexpr KernelTable ON_VECTORS_TABLE = tableWith<TileUse::never>(DAYSIX_NAME(DAYSIX_ISA) "-on-vectors");
constexpr const KernelTable *fastDecode = &FAST_DECODE, *onVectors = &ON_VECTORS_TABLE;
#else
constexpr const KernelTable *fastDecode = nullptr, *onVectors = nullptr;
constexpr KernelTable withPairTiles(const KernelTable& kernels) { return kernels; }
#endif

}  // namespace DAYSIX_ISA

extern const KernelTable DAYSIX_TABLE(DAYSIX_ISA);
constexpr KernelTable DAYSIX_TABLE(DAYSIX_ISA) =
    DAYSIX_ISA::withPairTiles(DAYSIX_ISA::table(DAYSIX_NAME(DAYSIX_ISA), DAYSIX_ISA::fastDecode, DAYSIX_ISA::onVectors));

}  // namespace daysix
