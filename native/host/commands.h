// The operations of kernels/stream.ts as plain data: what the stream's ring carries and the kernels take.
#pragma once
#include <cstdint>

namespace daysix {

enum class Dtype : int32_t { f32, bf16, f16, fp8 };

constexpr int SCALE_BLOCK = 128;
constexpr int PAGE_TOKENS = 64;
constexpr int KV_PIECE_TOKENS = 256;

/// A weight where its file is mapped; any alignment. Linear weights are [rows, columns], row-major.
struct Weight {
  Dtype dtype;
  int64_t rows, columns;
  const uint8_t* data;
  const uint8_t* scales;  // of an FP8 weight: float32 [ceil(rows / 128), ceil(columns / 128)], any alignment
};

/// A matmul's input as the policy rounds it. [rows, columns]
struct Operand {
  Dtype format;  // f32, bf16 or fp8
  int64_t columns;
  void* values;
  float* scales;  // of fp8: [rows, ceil(columns / 128)]
};

/// Rows kept between operations: float32 or BF16.
struct StoredRows {
  Dtype format;
  void* values;
};

struct MlaShape {
  int heads, nope, rope, value, latent;
  float scale;
};

struct Rope {
  const float* frequencies;  // [rope / 2]
  float amplitude;
  bool interleaved;
};

/// Which context each row of a step sees.
struct StepLayout {
  int rows, sequences, tableStride;
  const int32_t* positions;   // [rows]
  const int32_t* rowStarts;   // [sequences + 1]
  const int32_t* pageTables;  // [sequences, tableStride]; unused slots hold anything
};

enum class Scoring : int32_t { sigmoid, softmax };
enum class GateMethod : int32_t { noauxTc, groupLimitedGreedy, greedy };

struct GateRule {
  int experts, topK;
  Scoring scoring;
  GateMethod method;
  int groups, topGroups;
  bool normalise;
  float scale;
};

struct RowGroups {
  int32_t* starts;   // [experts + 1]
  int32_t* sources;  // [rows × topK]
  int32_t* places;   // [rows, topK]
};

/// How one row's token is chosen: a row of SamplingRows.rules in kernels/stream.ts.
struct SamplingRule { double temperature, topK, topP, minP, random, likeliest; };
/// A logit x becomes x / factor, or x · factor where it is not above 0, and then takes the addend.
struct LogitAdjustment { double token, factor, addend; };
struct SampledRows {
  int32_t* tokens;     // [rows]
  double* sums;        // [rows]
  int32_t* likeliest;  // [rows, most]
};

struct Embed { float* out; Weight table; const int32_t* tokens; int rows; };
struct RmsNorm { float* out; const float* x; Weight gain; float epsilon; int rows; };
struct Add { float* x; const float* y; int64_t count; };
struct Quantize { Operand out; const float* x; int rows; bool powerOfTwoScales; };
/// values: [rows, x.columns]; scales: [ceil(rows / 128), ceil(x.columns / 128)]; x is f32 or bf16.
struct QuantizeWeight { uint8_t* values; float* scales; Operand x; int rows; bool powerOfTwoScales; };
struct Gemm { float* out; Operand x; Weight weight; int rows; };
/// Rows starts[g] up to starts[g + 1] of x times weights[g]; starts is read when the command runs.
struct GroupedGemm { StoredRows out; Operand x; const Weight* weights; int groups; const int32_t* starts; };
struct SiluMultiply { float* out; const float* gate; const float* up; int64_t count; };
struct RopeQuery { float* q; MlaShape shape; Rope rope; StepLayout layout; };
struct WriteKv { StoredRows cache; const float* x; Weight gain; float epsilon; MlaShape shape; Rope rope; StepLayout layout; };
/// `roundInputs`: BF16 under the w8 policies, none under f32.
struct AbsorbQuery { float* out; const float* q; Weight kvB; MlaShape shape; int rows; bool roundInputs; };
struct Attention {
  float* out;
  const float* absorbed;
  const float* q;
  StoredRows cache;
  MlaShape shape;
  StepLayout layout;
  bool roundInputs;
  /// Where not null, takes the natural logarithm of each softmax's sum. [rows, heads]
  float* lse = nullptr;
};
struct ProjectValue { float* out; const float* latentSum; Weight kvB; MlaShape shape; int rows; bool roundInputs; };
struct Route { int32_t* ids; float* weights; const float* logits; Weight bias; bool hasBias; GateRule rule; int rows; };
struct GroupRows { RowGroups out; const int32_t* ids; int experts, topK, rows; };
struct Gather { Operand out; Operand x; const int32_t* sources; int rows; };
struct Combine { float* out; StoredRows expertRows; const float* weights; const int32_t* places; int topK, hidden, rows; };
struct Sample {
  SampledRows out;
  const float* logits;  // [rows, vocabSize]
  const SamplingRule* rules;
  const int32_t* starts;  // [rows + 1]
  const LogitAdjustment* adjustments;
  int most, vocabSize, usable, rows;
};

}  // namespace daysix
