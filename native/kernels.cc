// Compiled once for each instruction set, which DAYSIX_ISA names.
#include "attention.h"
#include "gemm.h"
#include "kernel-table.h"
#include "kv.h"
#include "mla.h"
#include "probe-kernels.h"
#include "quantize.h"
#include "route.h"
#include "rows.h"
#include "sample.h"

#define DAYSIX_STRING(text) #text
#define DAYSIX_NAME(isa) DAYSIX_STRING(isa)
#define DAYSIX_JOIN(a, b) a##b
#define DAYSIX_TABLE(isa) DAYSIX_JOIN(isa, Table)

namespace daysix {

extern const KernelTable DAYSIX_TABLE(DAYSIX_ISA);
constexpr KernelTable DAYSIX_TABLE(DAYSIX_ISA) = {
    .name = DAYSIX_NAME(DAYSIX_ISA),
    .embed = DAYSIX_ISA::embed,
    .rmsNorm = DAYSIX_ISA::rmsNorm,
    .add = DAYSIX_ISA::add,
    .quantize = DAYSIX_ISA::quantize,
    .quantizeWeight = DAYSIX_ISA::quantizeWeight,
    .gemm = DAYSIX_ISA::gemm,
    .groupedGemm = DAYSIX_ISA::groupedGemm,
    .siluMultiply = DAYSIX_ISA::siluMultiply,
    .ropeQuery = DAYSIX_ISA::ropeQuery,
    .writeKv = DAYSIX_ISA::writeKv,
    .absorbQuery = DAYSIX_ISA::absorbQuery,
    .attention = DAYSIX_ISA::attention,
    .projectValue = DAYSIX_ISA::projectValue,
    .route = DAYSIX_ISA::route,
    .groupRows = DAYSIX_ISA::groupRows,
    .gather = DAYSIX_ISA::gather,
    .combine = DAYSIX_ISA::combine,
    .sample = DAYSIX_ISA::sample,
    .readBytes = DAYSIX_ISA::readBytes,
    .multiplyRegisters = DAYSIX_ISA::multiplyRegisters,
};

}  // namespace daysix
