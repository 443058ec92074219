// Whether AMX's tiles may be used: by the processor, its system and, as Linux has it, this process.
#pragma once
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace daysix {

#if defined(__x86_64__) && defined(__linux__)

/// The first call asks Linux for all threads of the process, present and future.
inline bool mayUseTiles() {
  static const bool may = [] {
    constexpr unsigned OSXSAVE = 1u << 27, TILE_STATE = 3u << 17, BF16_TILES_AND_INT8 = 1u << 22 | 1u << 24 | 1u << 25;
    constexpr long REQUEST_STATE = 0x1023, TILE_DATA = 18;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE)) return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & BF16_TILES_AND_INT8) != BF16_TILES_AND_INT8) return false;
    asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a & TILE_STATE) == TILE_STATE && syscall(SYS_arch_prctl, REQUEST_STATE, TILE_DATA) == 0;
  }();
  return may;
}

#else

inline bool mayUseTiles() { return false; }

#endif

}  // namespace daysix
