// Indices that kernels follow are checked before a kernel runs: earlier operations may have written them.
// src/kernels/reference/indices.ts says the same of the same indices.
#pragma once
#include "host/commands.h"

namespace daysix {

/// Most operations follow no indices.
template <typename Command>
void checkIndices(const Command&) {}

// These throw std::out_of_range, which names the argument.
void checkIndices(const Embed& command);
void checkIndices(const GroupedGemm& command);
void checkIndices(const WriteKv& command);
void checkIndices(const Attention& command);
void checkIndices(const GroupRows& command);
void checkIndices(const DispatchRows& command);
void checkIndices(const Gather& command);
void checkIndices(const Combine& command);
void checkIndices(const Sample& command);

}  // namespace daysix
