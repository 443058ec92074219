// Loops whose index is a constant in every turn, so that arrays indexed by it stay in registers: compilers leave the
// arrays of unrolled loops in memory now and then.
#pragma once
#include <utility>

#define DAYSIX_INLINE inline __attribute__((always_inline))

namespace daysix::DAYSIX_ISA {

template <int N>
struct Constant {
  constexpr operator int() const { return N; }
};

/// Calls run(Constant<0>()) up to run(Constant<N - 1>()); run must be inlined: `[&](auto i) __attribute__((always_inline))`.
template <int N, typename Run>
DAYSIX_INLINE void each(Run&& run) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (run(Constant<I>()), ...);
  }(std::make_integer_sequence<int, N>());
}

}  // namespace daysix::DAYSIX_ISA
