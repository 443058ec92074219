// Vectors in plain C++, for any processor.
#pragma once

namespace daysix::DAYSIX_ISA {

/// Vectors that the registers hold, at the least.
constexpr int REGISTERS = 4;
struct Vec {
  float v[WIDTH];
};

template <typename F>
inline Vec lanes(F value) {
  Vec out;
  for (int i = 0; i < WIDTH; i++) out.v[i] = value(i);
  return out;
}
inline float bf16Value(uint16_t code) {
  const uint32_t bits = static_cast<uint32_t>(code) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float f16Value(uint16_t code) {
  const int exponent = code >> 10 & 31, fraction = code & 1023;
  const float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                          : exponent     ? std::ldexp(1024.0f + fraction, exponent - 25)
                                         : std::ldexp(static_cast<float>(fraction), -24);
  return code & 0x8000 ? -magnitude : magnitude;
}
struct Fp8Values {
  float of[256];
  Fp8Values() {
    for (int code = 0; code < 256; code++) {
      const int exponent = code >> 3 & 15, fraction = code & 7;
      const float magnitude = exponent == 15 && fraction == 7 ? NAN
                              : exponent ? std::ldexp(8.0f + fraction, exponent - 10)
                                         : std::ldexp(static_cast<float>(fraction), -9);
      of[code] = code & 0x80 ? -magnitude : magnitude;
    }
  }
};
inline float fp8Value(uint8_t code) {
  static const Fp8Values values;
  return values.of[code];
}
inline uint16_t bf16Code(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline uint8_t fp8Code(float x) {
  const float magnitude = std::fmin(std::fabs(x), 448.0f);
  const int sign = std::signbit(x) ? 0x80 : 0;
  if (magnitude < 0x1p-6f) return static_cast<uint8_t>(sign | static_cast<int>(std::nearbyint(magnitude * 512.0f)));
  uint32_t bits;
  std::memcpy(&bits, &magnitude, sizeof bits);
  return static_cast<uint8_t>(sign | (((bits + 0x7ffff + (bits >> 20 & 1)) >> 20) - ((127 - 7) << 3)));
}

inline Vec splat(float x) {
  return lanes([=](int) { return x; });
}
inline Vec load(const float* x, int n = WIDTH) {
  Vec out = {};
  std::memcpy(out.v, x, n * sizeof(float));
  return out;
}
inline void store(float* out, Vec a, int n = WIDTH) { std::memcpy(out, a.v, n * sizeof(float)); }
inline void stream(float* out, Vec a) { store(out, a); }

inline Vec operator+(Vec a, Vec b) {
  return lanes([&](int i) { return a.v[i] + b.v[i]; });
}
inline Vec operator-(Vec a, Vec b) {
  return lanes([&](int i) { return a.v[i] - b.v[i]; });
}
inline Vec operator*(Vec a, Vec b) {
  return lanes([&](int i) { return a.v[i] * b.v[i]; });
}
inline Vec operator/(Vec a, Vec b) {
  return lanes([&](int i) { return a.v[i] / b.v[i]; });
}
inline Vec max(Vec a, Vec b) {
  return lanes([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Vec min(Vec a, Vec b) {
  return lanes([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Vec abs(Vec a) {
  return lanes([&](int i) { return std::fabs(a.v[i]); });
}
/// a · b + c, rounded twice where there is no such instruction.
inline Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
/// 2^n of whole n from -127 on, whose lowest bits `bits` holds; zero for -127.
inline Vec powerOfTwo(Vec bits) {
  return lanes([&](int i) {
    uint32_t word;
    std::memcpy(&word, &bits.v[i], sizeof word);
    word = (word + 127) << 23;
    float power;
    std::memcpy(&power, &word, sizeof power);
    return power;
  });
}

inline Vec loadBf16(const uint16_t* x, int n = WIDTH) {
  uint16_t codes[WIDTH] = {};
  std::memcpy(codes, x, n * sizeof(uint16_t));
  return lanes([&](int i) { return bf16Value(codes[i]); });
}
inline Vec loadF16(const uint16_t* x, int n = WIDTH) {
  uint16_t codes[WIDTH] = {};
  std::memcpy(codes, x, n * sizeof(uint16_t));
  return lanes([&](int i) { return f16Value(codes[i]); });
}
inline Vec loadFp8(const uint8_t* x, int n = WIDTH) {
  return lanes([=](int i) { return i < n ? fp8Value(x[i]) : 0.0f; });
}
inline Vec loadI8(const int8_t* x, int n = WIDTH) {
  return lanes([=](int i) { return i < n ? static_cast<float>(x[i]) : 0.0f; });
}
inline void storeBf16(uint16_t* out, Vec a, int n = WIDTH) {
  for (int i = 0; i < n; i++) out[i] = bf16Code(a.v[i]);
}
inline void streamBf16(uint16_t* out, Vec a, Vec b) {
  storeBf16(out, a);
  storeBf16(out + WIDTH, b);
}
inline Vec roundToBf16(Vec a) {
  return lanes([&](int i) { return bf16Value(bf16Code(a.v[i])); });
}
/// e4m3 codes, to nearest even, saturating at ±448.
inline void storeFp8(uint8_t* out, Vec a, int n = WIDTH) {
  for (int i = 0; i < n; i++) out[i] = fp8Code(a.v[i]);
}

/// The nearest integers, ties to even, within ±127; zeros for what is no number.
inline void storeI8(int8_t* out, Vec a, int n = WIDTH) {
  for (int i = 0; i < n; i++) {
    const float x = std::fmin(127.0f, std::fmax(-127.0f, a.v[i]));
    out[i] = a.v[i] == a.v[i] ? static_cast<int8_t>(std::nearbyint(x)) : 0;
  }
}

/// Lane j and lane j + 8 added, then j and j + 4, j + 2, j + 1.
inline float sum(Vec a) {
  for (int half = WIDTH / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) a.v[i] = a.v[i] + a.v[i + half];
  }
  return a.v[0];
}
inline float maximum(Vec a) {
  float best = a.v[0];
  for (int i = 1; i < WIDTH; i++) best = best > a.v[i] ? best : a.v[i];
  return best;
}

}  // namespace daysix::DAYSIX_ISA
