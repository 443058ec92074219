#include "isa.h"

#include <stdexcept>

namespace daysix {

extern const KernelTable portableTable;
#if defined(__x86_64__)
extern const KernelTable avx512Table;
extern const KernelTable avx2Table;

namespace {

// __builtin_cpu_supports also asks whether the operating system keeps the registers.
bool hasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
bool hasAvx512() {
  return hasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("gfni");
}

}  // namespace
#endif

std::vector<const KernelTable*> supportedKernels() {
  std::vector<const KernelTable*> tables;
#if defined(__x86_64__)
  if (hasAvx512()) tables.push_back(&avx512Table);
  if (hasAvx2()) tables.push_back(&avx2Table);
#endif
  tables.push_back(&portableTable);
  return tables;
}

const KernelTable& kernelsFor(const std::string& instructionSet) {
  for (const KernelTable* table : supportedKernels())
    if (table->name == instructionSet) return *table;
  throw std::invalid_argument("this machine has no kernels for " + instructionSet);
}

}  // namespace daysix
