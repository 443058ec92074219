// Everything that crosses the ring, once: the operations with their arguments, and the structs that arguments are made
// of. The including file defines STRUCT, OPERATION and FIELD: commands.h makes structs of them, kernel-table.h a table,
// decode.cc a reader of a command's words and the description that tells TypeScript where each argument's words lie.
//
// A new operation takes an entry here, a kernel of that name in the namespace of each instruction set (kernels.cc), and
// a method of NativeStream, which writes the arguments by name. indices.h checks indices that a kernel follows.
// A HOST_OPERATION is made of kernels, or of none: host-operations.h declares one function for all instruction sets.
#ifndef NATIVE_ONLY
#define NATIVE_ONLY(type, name)
#endif
#ifndef HOST_OPERATION
#define HOST_OPERATION OPERATION
#endif

/// A weight where its file is mapped. Linear weights are [rows, columns], row-major and of any alignment, or in strips.
STRUCT(Weight,
  FIELD(Dtype, dtype)
  FIELD(int64_t, rows)
  FIELD(int64_t, columns)
  FIELD(const uint8_t*, data)
  /// Where its format has some and they are not in strips: float32 [rows / scaleRows, scaleBlocks(columns)], any
  /// alignment; of INT4 [rows, columns / group].
  FIELD(const uint8_t*, scales)
  FIELD(WeightLayout, layout)
  FIELD(int64_t, group)  // inputs that share a scale, of INT4
  FIELD(Int4Strips, int4))

/// A matmul's input as the policy rounds it. [rows, columns]
STRUCT(Operand,
  FIELD(Dtype, format)  // f32, bf16, fp8 or i8
  FIELD(int64_t, columns)
  FIELD(void*, values)
  FIELD(float*, scales))  // where its format has some: [rows, scaleBlocks(columns)]

/// Rows kept between operations: float32 or BF16.
STRUCT(StoredRows,
  FIELD(Dtype, format)
  FIELD(void*, values))

STRUCT(MlaShape,
  FIELD(int, heads)
  FIELD(int, nope)
  FIELD(int, rope)
  FIELD(int, value)
  FIELD(int, latent)
  FIELD(float, scale))

STRUCT(Rope,
  FIELD(const float*, frequencies)  // [rope / 2]
  FIELD(float, amplitude)
  FIELD(bool, interleaved))

/// Which context each row of a step sees.
STRUCT(StepLayout,
  FIELD(int, rows)
  FIELD(int, sequences)
  FIELD(int, tableStride)
  FIELD(const int32_t*, positions)  // [rows]
  FIELD(const int32_t*, rowStarts)  // [sequences + 1]
  FIELD(const int32_t*, pageTables))  // [sequences, tableStride]; unused slots hold anything

STRUCT(GateRule,
  FIELD(int, experts)
  FIELD(int, topK)
  FIELD(Scoring, scoring)
  FIELD(GateMethod, method)
  FIELD(int, groups)
  FIELD(int, topGroups)
  FIELD(bool, normalise)
  FIELD(float, scale))

STRUCT(RowGroups,
  FIELD(int32_t*, starts)  // [experts + 1]
  FIELD(int32_t*, sources)  // [rows × topK]
  FIELD(int32_t*, places))  // [rows, topK]

/// What the ranks of a unit in one process share for a micro-batch, as one of them sees it.
STRUCT(SharedRows,
  FIELD(int, ranks)
  FIELD(int, own)
  FIELD(int, rows)  // of a rank, at most
  FIELD(int, topK)
  FIELD(int, turn)  // number of the exchange, which wraps around
  FIELD(ExchangeLine*, lines)  // [2 + ranks]
  FIELD(Operand, dispatched)  // [ranks × rows, hidden]
  FIELD(int32_t*, experts)  // physical ones: [ranks × rows, topK]
  FIELD(StoredRows, returned))  // [ranks × rows × topK, hidden]

STRUCT(SampledRows,
  FIELD(int32_t*, tokens)  // [rows]
  FIELD(double*, sums)  // [rows]
  FIELD(int32_t*, likeliest))  // [rows, most]

OPERATION(embed, Embed,
  FIELD(float*, out)
  FIELD(Weight, table)
  FIELD(const int32_t*, tokens)
  FIELD(int, rows))

OPERATION(rmsNorm, RmsNorm,
  FIELD(float*, out)
  FIELD(const float*, x)
  FIELD(Weight, gain)
  FIELD(float, epsilon)
  FIELD(int, rows))

OPERATION(add, Add,
  FIELD(float*, x)
  FIELD(const float*, y)
  FIELD(int64_t, count))

OPERATION(quantize, Quantize,
  FIELD(Operand, out)
  FIELD(const float*, x)
  FIELD(int, rows)
  FIELD(bool, powerOfTwoScales))

OPERATION(quantizeWeight, QuantizeWeight,
  FIELD(uint8_t*, values)  // rows of codes
  FIELD(float*, scales)  // one for each block
  FIELD(double*, errors)  // [rows, 2]
  FIELD(Operand, x)  // f32 or bf16
  FIELD(int, rows)
  FIELD(Dtype, dtype)
  FIELD(int, group)  // columns that share a scale
  FIELD(bool, powerOfTwoScales))

OPERATION(gemm, Gemm,
  FIELD(float*, out)
  FIELD(Operand, x)
  FIELD(Weight, weight)
  FIELD(int, rows))

/// Rows starts[g] up to starts[g + 1] of x, of which there are `rows`, times weights[g].
OPERATION(groupedGemm, GroupedGemm,
  FIELD(StoredRows, out)
  FIELD(Operand, x)
  FIELD(const Weight*, weights)
  FIELD(int, groups)
  FIELD(const int32_t*, starts)
  FIELD(int, rows)
  /// Where not null, other weights of the same sizes, which the same rows are multiplied with into `beside`.
  NATIVE_ONLY(const Weight*, besideWeights)
  NATIVE_ONLY(StoredRows, beside))

OPERATION(siluMultiply, SiluMultiply,
  FIELD(float*, out)
  FIELD(const float*, gate)
  FIELD(const float*, up)
  FIELD(int64_t, count))

OPERATION(ropeQuery, RopeQuery,
  FIELD(float*, q)
  FIELD(MlaShape, shape)
  FIELD(Rope, rope)
  FIELD(StepLayout, layout))

OPERATION(writeKv, WriteKv,
  FIELD(StoredRows, cache)
  FIELD(const float*, x)
  FIELD(Weight, gain)
  FIELD(float, epsilon)
  FIELD(MlaShape, shape)
  FIELD(Rope, rope)
  FIELD(StepLayout, layout)
  FIELD(int, pages))  // of the cache

OPERATION(absorbQuery, AbsorbQuery,
  FIELD(float*, out)
  FIELD(const float*, q)
  FIELD(Weight, kvB)
  FIELD(MlaShape, shape)
  FIELD(int, rows)
  FIELD(bool, roundInputs))  // to BF16 under the w8 policies, not at all under f32

OPERATION(attention, Attention,
  FIELD(float*, out)
  FIELD(const float*, absorbed)
  FIELD(const float*, q)
  FIELD(StoredRows, cache)
  FIELD(MlaShape, shape)
  FIELD(StepLayout, layout)
  FIELD(int, pages)  // of the cache
  /// Where not null, takes the natural logarithm of each softmax's sum. [rows, heads]
  NATIVE_ONLY(float*, lse))

OPERATION(projectValue, ProjectValue,
  FIELD(float*, out)
  FIELD(const float*, latentSum)
  FIELD(Weight, kvB)
  FIELD(MlaShape, shape)
  FIELD(int, rows)
  FIELD(bool, roundInputs))

OPERATION(route, Route,
  FIELD(int32_t*, ids)
  FIELD(float*, weights)
  FIELD(const float*, logits)
  FIELD(Weight, bias)
  FIELD(bool, hasBias)
  FIELD(GateRule, rule)
  FIELD(int, rows))

OPERATION(groupRows, GroupRows,
  FIELD(RowGroups, out)
  FIELD(const int32_t*, ids)
  FIELD(int, experts)
  FIELD(int, topK)
  FIELD(int, rows))

OPERATION(gather, Gather,
  FIELD(Operand, out)
  FIELD(Operand, x)
  FIELD(const int32_t*, sources)
  FIELD(int, rows)
  FIELD(int, sourceRows))  // of x

OPERATION(combine, Combine,
  FIELD(float*, out)
  FIELD(StoredRows, expertRows)
  FIELD(const float*, weights)
  FIELD(const int32_t*, places)
  FIELD(int, topK)
  FIELD(int, hidden)
  FIELD(int, rows)
  FIELD(int, expertRowCount))

OPERATION(sample, Sample,
  FIELD(SampledRows, out)
  FIELD(const float*, logits)  // [rows, vocabSize]
  FIELD(const SamplingRule*, rules)  // [rows]
  FIELD(const LogitAdjustments*, adjustments)  // [rows]
  FIELD(int, most)
  FIELD(int, vocabSize)
  FIELD(int, usable)
  FIELD(int, rows))

/// Puts the own rows where the other ranks read them, with the physical expert that each choice goes to: one of
/// replicas[replicaStarts[id]] up to replicas[replicaStarts[id + 1]], so that ranks get equally many.
HOST_OPERATION(dispatchRows, DispatchRows,
  FIELD(SharedRows, shared)
  FIELD(Operand, x)
  FIELD(const int32_t*, ids)  // [rows, topK]
  FIELD(int, rows)
  FIELD(int, experts)
  FIELD(const int32_t*, replicaStarts)  // [experts + 1]
  FIELD(const int32_t*, replicas)
  FIELD(int, slots)  // physical experts of a rank
  FIELD(double*, loads)  // counts each choice: [experts]
  FIELD(double*, rowsTo)  // and each row once for every rank it goes to: [ranks]
  FIELD(double*, bytesTo))  // [ranks]

/// Waits until all ranks have dispatched, or given back.
HOST_OPERATION(awaitRanks, AwaitRanks,
  FIELD(SharedRows, shared)
  FIELD(ExchangeAct, act))

/// Sorts what all ranks have dispatched to the own experts by expert, rows of ranks in order inside one.
HOST_OPERATION(groupArrived, GroupArrived,
  FIELD(SharedRows, shared)
  FIELD(int, slots)
  FIELD(int, most)  // pairs that there is memory for
  FIELD(int32_t*, starts)  // [slots + 1]
  FIELD(int32_t*, sources)  // row of the shared ones: [pairs]
  FIELD(int32_t*, homes))  // where the pair's output goes in the returned ones: [pairs]

/// Puts the own experts' outputs where their home ranks read them.
HOST_OPERATION(returnRows, ReturnRows,
  FIELD(SharedRows, shared)
  FIELD(StoredRows, outputs)  // [starts[slots], hidden]
  FIELD(int, slots)
  FIELD(const int32_t*, starts)
  FIELD(const int32_t*, homes)
  FIELD(double*, bytesTo))  // [ranks]

/// SwiGLU of rows sorted by expert. There are starts[groups] pairs, which an earlier operation counted.
HOST_OPERATION(groupedMlp, GroupedMlp,
  FIELD(StoredRows, out)  // [pairs, hidden]
  FIELD(Operand, x)
  FIELD(int, xRows)
  FIELD(const Weight*, gateWeights)  // [groups]
  FIELD(const Weight*, upWeights)
  FIELD(const Weight*, downWeights)
  FIELD(int, groups)
  FIELD(const int32_t*, starts)  // [groups + 1]
  FIELD(const int32_t*, sources)  // [pairs]
  FIELD(Operand, sorted)  // [pairs, hidden]
  FIELD(Operand, product)  // [pairs, width]
  FIELD(float*, gate)  // [pairs, width]
  FIELD(float*, up)
  FIELD(int, most)  // pairs that there is memory for
  FIELD(bool, powerOfTwoScales))

/// Writes the time when what was enqueued before has run: microseconds of the monotonic clock since `epoch`.
HOST_OPERATION(stamp, Stamp,
  FIELD(double*, at)
  FIELD(double, epoch))

#undef STRUCT
#undef OPERATION
#undef HOST_OPERATION
#undef FIELD
#undef NATIVE_ONLY
