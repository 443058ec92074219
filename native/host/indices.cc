#include "host/indices.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace daysix {

namespace {

/// Throws unless array[index] is from `low` to `high`.
void check(const char* name, const int32_t* array, int64_t index, int64_t low, int64_t high) {
  const int32_t value = array[index];
  if (value >= low && value <= high) return;
  const std::string range = low < high ? std::to_string(low) + " to " + std::to_string(high) : std::to_string(high);
  throw std::out_of_range(std::string(name) + "[" + std::to_string(index) + "] is " + std::to_string(value) +
                          ", expected " + (high < low ? "none" : range));
}

/// Throws unless `count` values from `first` on are from 0 up to `limit`.
void checkBelow(const char* name, const int32_t* array, int64_t first, int64_t count, int64_t limit) {
  int wrong = 0;
  for (int64_t i = first; i < first + count; i++) wrong |= array[i] < 0 || array[i] >= limit;
  if (!wrong) return;
  for (int64_t i = first; i < first + count; i++) check(name, array, i, 0, limit - 1);
}

/// Throws unless starts [groups + 1] ascend within [0, rows].
void checkStarts(const char* name, const int32_t* starts, int64_t groups, int64_t rows) {
  for (int64_t i = 0; i <= groups; i++) check(name, starts, i, i ? starts[i - 1] : 0, rows);
}

/// Throws unless the rows' sequences, positions and pages lie in a pool of `pages`.
void checkLayout(const StepLayout& layout, int64_t pages) {
  const int64_t stride = layout.tableStride;
  checkStarts("rowStarts", layout.rowStarts, layout.sequences, layout.rows);
  check("rowStarts", layout.rowStarts, 0, 0, 0);
  check("rowStarts", layout.rowStarts, layout.sequences, layout.rows, layout.rows);
  checkBelow("positions", layout.positions, 0, layout.rows, stride * PAGE_TOKENS);
  for (int64_t s = 0; s < layout.sequences; s++) {
    const int32_t* from = layout.positions + layout.rowStarts[s];
    const int32_t* to = layout.positions + layout.rowStarts[s + 1];
    if (from == to) continue;
    checkBelow("pageTables", layout.pageTables, s * stride, *std::max_element(from, to) / PAGE_TOKENS + 1, pages);
  }
}

}  // namespace

void checkIndices(const Embed& c) { checkBelow("tokens", c.tokens, 0, c.rows, c.table.rows); }
void checkIndices(const GroupedGemm& c) { checkStarts("starts", c.starts, c.groups, c.rows); }
void checkIndices(const WriteKv& c) { checkLayout(c.layout, c.pages); }
void checkIndices(const Attention& c) { checkLayout(c.layout, c.pages); }
void checkIndices(const GroupRows& c) { checkBelow("ids", c.ids, 0, int64_t{c.rows} * c.topK, c.experts); }
void checkIndices(const DispatchRows& c) {
  checkBelow("ids", c.ids, 0, int64_t{c.rows} * c.shared.topK, c.experts);
}
void checkIndices(const Gather& c) { checkBelow("sources", c.sources, 0, c.rows, c.sourceRows); }
void checkIndices(const Combine& c) {
  checkBelow("places", c.places, 0, int64_t{c.rows} * c.topK, c.expertRowCount);
}

void checkIndices(const Sample& c) {
  for (int row = 0; row < c.rows; row++) {
    const double wanted = c.rules[row].likeliest;
    if (wanted >= 0 && wanted <= c.most && wanted <= c.usable) continue;
    throw std::out_of_range("row " + std::to_string(row) + " asks for " + std::to_string(std::llround(wanted)) +
                            " likeliest tokens, there is room for " + std::to_string(c.most) + " of " +
                            std::to_string(c.usable));
  }
}

}  // namespace daysix
