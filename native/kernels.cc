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

constexpr KernelTable table(const char* name, const KernelTable* fastDecode) {
  return {
      .name = name,
#define FIELD(type, name)
#define STRUCT(Name, ...)
#define OPERATION(name, Name, ...) .name = DAYSIX_ISA::name,
#define HOST_OPERATION(name, Name, ...)
#include "host/operations.h"
      .readBytes = readBytes,
      .multiplyRegisters = multiplyRegisters,
      .fastDecode = fastDecode,
  };
}

#if defined(DAYSIX_TILES)
constexpr KernelTable fastDecodeTable() {
  KernelTable kernels = table(DAYSIX_NAME(DAYSIX_ISA) "-fast-decode", nullptr);
  kernels.gemm = gemm<true>;
  kernels.groupedGemm = groupedGemm<true>;
  kernels.absorbQuery = absorbQuery<true>;
  kernels.projectValue = projectValue<true>;
  return kernels;
}
constexpr KernelTable FAST_DECODE = fastDecodeTable();
constexpr const KernelTable* fastDecode = &FAST_DECODE;
#else
constexpr const KernelTable* fastDecode = nullptr;
#endif

}  // namespace DAYSIX_ISA

extern const KernelTable DAYSIX_TABLE(DAYSIX_ISA);
constexpr KernelTable DAYSIX_TABLE(DAYSIX_ISA) =
    DAYSIX_ISA::table(DAYSIX_NAME(DAYSIX_ISA), DAYSIX_ISA::fastDecode);

}  // namespace daysix
