// Exponentials, sines and cosines in float64 with the bits of src/kernels/elementary.ts, on every instruction set: of
// sums and products alone, never contracted, which compilers turn into vectors of them.
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

/// For x up to 0; 0 below −708.
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

constexpr double TWO_OVER_PI = 0.6366197723675814;
/// π/2 in parts of 27 bits; a whole number of 26 bits times one of them is exact.
constexpr double HALF_PI[] = {1.570796325802803, 9.920935739593517e-10, 5.721188709663575e-18, 1.6446256936324258e-26};

struct SineAndCosine {
  double sine, cosine;
};

/// Of an angle up to 2^26 either way.
inline SineAndCosine sineAndCosine(double angle) {
  const double rounded = angle * TWO_OVER_PI + ROUNDING;
  const double n = rounded - ROUNDING;
  const double x = angle - n * HALF_PI[0] - n * HALF_PI[1] - n * HALF_PI[2] - n * HALF_PI[3];
  const double z = x * x;
  double sum = 1.58969099521155010221e-10;
  sum = sum * z + -2.50507602534068634195e-8;
  sum = sum * z + 2.75573137070700676789e-6;
  sum = sum * z + -1.98412698298579493134e-4;
  sum = sum * z + 8.33333333332248946124e-3;
  sum = sum * z + -1.66666666666666324348e-1;
  const double sine = x + x * z * sum;
  sum = -1.13596475577881948265e-11;
  sum = sum * z + 2.08757232129817482790e-9;
  sum = sum * z + -2.75573143513906633035e-7;
  sum = sum * z + 2.48015872894767294178e-5;
  sum = sum * z + -1.38888888888741095749e-3;
  sum = sum * z + 4.16666666666666019037e-2;
  const double first = 1 - 0.5 * z;
  const double cosine = first + (1 - first - 0.5 * z + z * z * sum);
  // Each quarter of a turn they change places, and a sign; with masks, since branches keep loops from becoming vectors.
  const auto quarter = std::bit_cast<uint64_t>(rounded);
  const uint64_t isTurned = -(quarter & 1);
  const auto bitsOf = [&](double even, double odd, uint64_t half) {
    const uint64_t bits = (std::bit_cast<uint64_t>(even) & ~isTurned) | (std::bit_cast<uint64_t>(odd) & isTurned);
    return std::bit_cast<double>(bits ^ (half & 2) << 62);
  };
  return {bitsOf(sine, cosine, quarter), bitsOf(cosine, sine, quarter + 1)};
}

}  // namespace daysix::DAYSIX_ISA
