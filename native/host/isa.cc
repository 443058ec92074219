#include "host/isa.h"

#include <stdexcept>

#include "host/tile-permission.h"

namespace daysix {

extern const KernelTable portableTable;
#if defined(__x86_64__)
extern const KernelTable avx512bf16Table;
extern const KernelTable avx512Table;
extern const KernelTable avx2Table;
#if defined(__linux__)
extern const KernelTable amxTable;
#endif

namespace {

// __builtin_cpu_supports also asks whether the operating system keeps the registers.
bool hasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
bool hasAvx512() {
  return hasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("gfni");
}
bool hasAvx512Bf16() { return hasAvx512() && __builtin_cpu_supports("avx512bf16"); }

}  // namespace
#endif

std::vector<const KernelTable*> supportedKernels() {
  std::vector<const KernelTable*> tables = {&portableTable};
#if defined(__x86_64__)
  if (hasAvx2()) tables.insert(tables.begin(), &avx2Table);
  if (hasAvx512()) tables.insert(tables.begin(), &avx512Table);
  if (hasAvx512Bf16()) tables.insert(tables.begin(), &avx512bf16Table);
#if defined(__linux__) && defined(DAYSIX_EMULATE_TILES)
  if (hasAvx512Bf16()) tables.push_back(&amxTable);
#elif defined(__linux__)
  if (hasAvx512Bf16() && mayUseTiles()) tables.insert(tables.begin(), &amxTable);
#endif
#endif
  return tables;
}

const KernelTable& kernelsFor(const std::string& instructionSet) {
  for (const KernelTable* table : supportedKernels()) {
    if (table->name == instructionSet) return *table;
    if (table->fastDecode && table->fastDecode->name == instructionSet) return *table->fastDecode;
    if (std::string(table->name) + "-on-vectors" == instructionSet) return table->onVectors ? *table->onVectors : *table;
  }
  throw std::invalid_argument("this machine has no kernels for " + instructionSet);
}

}  // namespace daysix
