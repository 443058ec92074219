// Memory in pages of 2 MiB, which spare TLB misses where the system has them.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace daysix {

constexpr size_t HUGE_PAGE_BYTES = 2 << 20;

/// Asks for huge pages wherever a whole one lies in this memory. A system without huge pages gives small pages; the
/// system tells which there are.
inline void preferHugePages([[maybe_unused]] void* data, [[maybe_unused]] size_t size) {
#ifdef MADV_HUGEPAGE
  const auto first = reinterpret_cast<uintptr_t>(data);
  const uintptr_t from = (first + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
  const uintptr_t to = (first + size) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
  if (from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
#endif
}

}  // namespace daysix
