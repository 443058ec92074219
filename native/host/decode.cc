#include "host/decode.h"

#include <cstddef>
#include <iterator>

namespace daysix {

namespace {

/// Reads a command's words in the order in which src/kernels/native-stream.ts writes them.
class Reader {
 public:
  explicit Reader(const double* words) : at_(words) {}

  int64_t count() { return static_cast<int64_t>(*at_++); }
  int integer() { return static_cast<int>(*at_++); }
  float number() { return static_cast<float>(*at_++); }
  bool flag() { return *at_++ != 0; }
  template <typename Enum>
  Enum choice() {
    return static_cast<Enum>(integer());
  }
  template <typename T>
  T* array() {
    return reinterpret_cast<T*>(static_cast<uintptr_t>(*at_++));
  }

  Weight weight() {
    return {choice<Dtype>(), count(), count(), array<const uint8_t>(), array<const uint8_t>()};
  }
  Operand operand() { return {choice<Dtype>(), count(), array<void>(), array<float>()}; }
  StoredRows storedRows() { return {choice<Dtype>(), array<void>()}; }
  MlaShape mlaShape() { return {integer(), integer(), integer(), integer(), integer(), number()}; }
  Rope rope() { return {array<const float>(), number(), flag()}; }
  StepLayout layout() {
    return {integer(), integer(), integer(), array<const int32_t>(), array<const int32_t>(), array<const int32_t>()};
  }
  GateRule gateRule() {
    return {integer(), integer(), choice<Scoring>(), choice<GateMethod>(), integer(), integer(), flag(), number()};
  }
  RowGroups rowGroups() { return {array<int32_t>(), array<int32_t>(), array<int32_t>()}; }

 private:
  const double* at_;
};

// The fields of a braced list are read from left to right.
Embed embed(Reader r) { return {r.array<float>(), r.weight(), r.array<const int32_t>(), r.integer()}; }
RmsNorm rmsNorm(Reader r) {
  return {r.array<float>(), r.array<const float>(), r.weight(), r.number(), r.integer()};
}
Add add(Reader r) { return {r.array<float>(), r.array<const float>(), r.count()}; }
Quantize quantize(Reader r) { return {r.operand(), r.array<const float>(), r.integer(), r.flag()}; }
QuantizeWeight quantizeWeight(Reader r) {
  return {r.array<uint8_t>(), r.array<float>(), r.operand(), r.integer(), r.flag()};
}
Gemm gemm(Reader r) { return {r.array<float>(), r.operand(), r.weight(), r.integer()}; }
GroupedGemm groupedGemm(Reader r) {
  return {r.storedRows(), r.operand(), r.array<const Weight>(), r.integer(), r.array<const int32_t>()};
}
SiluMultiply siluMultiply(Reader r) {
  return {r.array<float>(), r.array<const float>(), r.array<const float>(), r.count()};
}
RopeQuery ropeQuery(Reader r) { return {r.array<float>(), r.mlaShape(), r.rope(), r.layout()}; }
WriteKv writeKv(Reader r) {
  return {r.storedRows(), r.array<const float>(), r.weight(), r.number(), r.mlaShape(), r.rope(), r.layout()};
}
AbsorbQuery absorbQuery(Reader r) {
  return {r.array<float>(), r.array<const float>(), r.weight(), r.mlaShape(), r.integer(), r.flag()};
}
Attention attention(Reader r) {
  return {r.array<float>(), r.array<const float>(), r.array<const float>(), r.storedRows(),
          r.mlaShape(),     r.layout(),             r.flag()};
}
ProjectValue projectValue(Reader r) {
  return {r.array<float>(), r.array<const float>(), r.weight(), r.mlaShape(), r.integer(), r.flag()};
}
Route route(Reader r) {
  return {r.array<int32_t>(), r.array<float>(), r.array<const float>(), r.weight(),
          r.flag(),           r.gateRule(),     r.integer()};
}
GroupRows groupRows(Reader r) {
  return {r.rowGroups(), r.array<const int32_t>(), r.integer(), r.integer(), r.integer()};
}
Gather gather(Reader r) { return {r.operand(), r.operand(), r.array<const int32_t>(), r.integer()}; }
Combine combine(Reader r) {
  return {r.array<float>(), r.storedRows(), r.array<const float>(), r.array<const int32_t>(),
          r.integer(),      r.integer(),    r.integer()};
}
Sample sample(Reader r) {
  return {{r.array<int32_t>(), r.array<double>(), r.array<int32_t>()},
          r.array<const float>(),
          r.array<const SamplingRule>(),
          r.array<const int32_t>(),
          r.array<const LogitAdjustment>(),
          r.integer(),
          r.integer(),
          r.integer(),
          r.integer()};
}

using Run = void (*)(Reader, const KernelTable&, Team&);

/// One kernel called with its decoded command.
template <auto Kernel, auto decode>
void call(Reader reader, const KernelTable& kernels, Team& team) {
  (kernels.*Kernel)(decode(reader), team);
}

constexpr Run RUNS[] = {
    call<&KernelTable::embed, embed>,
    call<&KernelTable::rmsNorm, rmsNorm>,
    call<&KernelTable::add, add>,
    call<&KernelTable::quantize, quantize>,
    call<&KernelTable::quantizeWeight, quantizeWeight>,
    call<&KernelTable::gemm, gemm>,
    call<&KernelTable::groupedGemm, groupedGemm>,
    call<&KernelTable::siluMultiply, siluMultiply>,
    call<&KernelTable::ropeQuery, ropeQuery>,
    call<&KernelTable::writeKv, writeKv>,
    call<&KernelTable::absorbQuery, absorbQuery>,
    call<&KernelTable::attention, attention>,
    call<&KernelTable::projectValue, projectValue>,
    call<&KernelTable::route, route>,
    call<&KernelTable::groupRows, groupRows>,
    call<&KernelTable::gather, gather>,
    call<&KernelTable::combine, combine>,
    call<&KernelTable::sample, sample>,
};

}  // namespace

// TypeScript writes a list of weights as it lies here.
static_assert(sizeof(Weight) == 40 && offsetof(Weight, rows) == 8 && offsetof(Weight, scales) == 32);

const char* const OPERATIONS[] = {"embed",       "rmsNorm",   "add",          "quantize", "quantizeWeight", "gemm",
                                  "groupedGemm", "siluMultiply", "ropeQuery", "writeKv",  "absorbQuery",    "attention",
                                  "projectValue", "route",    "groupRows",    "gather",   "combine",        "sample",
                                  nullptr};
static_assert(std::size(RUNS) + 1 == std::size(OPERATIONS));

void execute(const double* words, const KernelTable& kernels, Team& team) {
  RUNS[static_cast<int>(words[0])](Reader(words + 1), kernels, team);
}

}  // namespace daysix
