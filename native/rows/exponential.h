// e^x in float64 with the bits of src/kernels/exponential.ts, on every instruction set.
#pragma once
#include <bit>
#include <cstdint>

namespace daysix::DAYSIX_ISA {

constexpr double LOG2_E = 1.4426950408889634;
/// ln 2 in two parts; a whole number of at most 11 bits times the first is exact.
constexpr double LN2_HIGH = 6.93147180369123816e-1;
constexpr double LN2_LOW = 1.90821492927058770e-10;
/// Added and taken away again it leaves the nearest whole number, in whose low bits it stands meanwhile.
constexpr double ROUNDING = 0x1.8p52;

/// For x up to 0; 0 below −708. Sums and products alone, never contracted, which compilers turn into vectors of them.
inline double exponential(double x) {
  const double rounded = x * LOG2_E + ROUNDING;
  const double n = rounded - ROUNDING;
  const double rest = x - n * LN2_HIGH - n * LN2_LOW;
  double sum = 1.0 / 6227020800;
  sum = sum * rest + 1.0 / 479001600;
  sum = sum * rest + 1.0 / 39916800;
  sum = sum * rest + 1.0 / 3628800;
  sum = sum * rest + 1.0 / 362880;
  sum = sum * rest + 1.0 / 40320;
  sum = sum * rest + 1.0 / 5040;
  sum = sum * rest + 1.0 / 720;
  sum = sum * rest + 1.0 / 120;
  sum = sum * rest + 1.0 / 24;
  sum = sum * rest + 1.0 / 6;
  sum = sum * rest + 1.0 / 2;
  sum = sum * rest + 1.0;
  sum = sum * rest + 1.0;
  const double power = std::bit_cast<double>((std::bit_cast<uint64_t>(rounded) + 1023) << 52);
  // A mask, not a branch, which would keep a loop from becoming vectors.
  const uint64_t kept = x >= -708 ? ~uint64_t{0} : 0;
  return std::bit_cast<double>(std::bit_cast<uint64_t>(sum * power) & kept);
}

}  // namespace daysix::DAYSIX_ISA
