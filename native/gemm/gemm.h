// Matrix products, dense and grouped (DeepGEMM's role).
#pragma once
#include <span>

#include "gemm/product-form.h"

namespace daysix::DAYSIX_ISA {

/// Products carried out together: their inputs are packed into memory all threads share, then their outputs are cut
/// into tasks of about the same cost, however different the products.
class ProductBatch {
 public:
  /// For up to `products` products of `rows` rows in all, packed rows counted once, which the batch may carry out in
  /// several rounds.
  ProductBatch(Team& team, const Forms& forms, const Weight& weight, int64_t products, int64_t rows)
      : team_(team), forms_(forms), words_(std::max(forms.one.packedWords(weight), forms.more.packedWords(weight))) {
    roundRows_ = std::min(rows, std::max(LARGE_PANEL.rows, roundDown(ROUND_BYTES / (words_ * 4), LARGE_PANEL.rows)));
    const int64_t entries = roundUp(products * sizeof(Entry), 64);
    auto* memory = static_cast<uint8_t*>(team.shared(entries + roundRows_ * words_ * sizeof(float) + READ_PAST));
    entries_ = reinterpret_cast<Entry*>(memory);
    packed_ = reinterpret_cast<float*>(memory + entries);
  }

  /// Adds products of the same rows, which are packed once, and cut where a round is full.
  void add(std::span<Product> products) {
    int64_t left = products[0].rows;
    const ProductForm& form = left == 1 ? forms_.one : forms_.more;
    while (left > 0) {
      const int64_t rows = std::min(left, roundRows_ - rows_);
      for (Product& product : products) {
        product.packed = packed_ + rows_ * words_;
        entries_[count_++] = {product, &form, &product == &products[0], 0, 0};
        entries_[count_ - 1].product.rows = rows;
        skipRows(product, rows);
      }
      left -= rows;
      rows_ += rows;
      if (rows_ == roundRows_) run();
    }
  }

  void add(Product product) { add(std::span(&product, 1)); }

  void run() {
    pack();
    multiply();
    count_ = 0;
    rows_ = 0;
  }

 private:
  struct Entry {
    Product product;
    const ProductForm* form;
    bool packs;  // or an entry before it does
    int64_t firstTask, taskOutputs;
  };
  static constexpr int64_t ROUND_BYTES = 16 << 20;
  /// Tiles read as many columns or lines as they have.
  static constexpr int64_t READ_PAST = 2048;
  /// Inputs one thread packs before it pays to ask for help.
  static constexpr int64_t SMALL_PACK = 32 << 10;
  static constexpr int64_t TASKS_PER_THREAD = 6;
  static constexpr int64_t TASK_COST = 6000;

  static int64_t roundDown(int64_t a, int64_t b) { return a / b * b; }

  static void skipRows(Product& product, int64_t rows) {
    product.rows -= rows;
    product.x.values += rows * product.x.stride * formatOf(product.x.format).valueBytes;
    if (product.x.scales) product.x.scales += rows * scaleColumns(*product.weight);
    product.out.values =
        static_cast<uint8_t*>(product.out.values) + rows * product.outStride * formatOf(product.out.format).valueBytes;
  }

  void pack() {
    int64_t tiles = 0;
    for (int64_t i = 0; i < count_; i++) {
      entries_[i].firstTask = tiles;
      if (entries_[i].packs) tiles += entries_[i].form->tilesOf(entries_[i].product.rows);
    }
    const int64_t tasks = rows_ * words_ <= SMALL_PACK ? 1 : std::min<int64_t>(tiles, team_.threads() * 4);
    team_.fork(tasks, [&](int64_t task, Scratch&) {
      const int64_t first = tiles * task / tasks, last = tiles * (task + 1) / tasks;
      int64_t entry = entryOf(first);
      for (int64_t tile = first; tile < last; tile++) {
        while (entry + 1 < count_ && entries_[entry + 1].firstTask <= tile) entry++;
        entries_[entry].form->packTile(entries_[entry].product, tile - entries_[entry].firstTask);
      }
    });
  }

  void multiply() {
    int64_t cost = 0;
    for (int64_t i = 0; i < count_; i++) cost += outputCost(entries_[i]) * entries_[i].product.outputs;
    const int64_t target = std::max(TASK_COST * COST_PER_NS, cost / (team_.threads() * TASKS_PER_THREAD));
    int64_t tasks = 0;
    for (int64_t i = 0; i < count_; i++) {
      Entry& entry = entries_[i];
      const int64_t outputs = ceilDivide(target, outputCost(entry));
      entry.taskOutputs = std::min(roundUp(outputs, entry.form->taskOutputs), entry.product.outputs);
      entry.firstTask = tasks;
      tasks += ceilDivide(entry.product.outputs, entry.taskOutputs);
    }
    team_.fork(tasks, [&](int64_t task, Scratch& scratch) {
      const Entry& entry = entries_[entryOf(task)];
      const int64_t from = (task - entry.firstTask) * entry.taskOutputs;
      entry.form->multiply(entry.product, from, std::min(entry.product.outputs, from + entry.taskOutputs), scratch);
    });
  }

  static constexpr int64_t COST_PER_NS = 100;
  static int64_t outputCost(const Entry& entry) { return entry.form->outputCost(entry.product); }

  /// The entry a task belongs to.
  int64_t entryOf(int64_t task) const {
    int64_t low = 0, high = count_;
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (entries_[middle].firstTask <= task ? low : high) = middle;
    }
    return low;
  }

  Team& team_;
  const Forms forms_;
  const int64_t words_;
  int64_t roundRows_, count_ = 0, rows_ = 0;
  Entry* entries_;
  float* packed_;
};

inline InputRows inputRows(const Operand& x, int64_t firstRow = 0) {
  const DtypeFormat& format = formatOf(x.format);
  const auto* values = static_cast<const uint8_t*>(x.values) + firstRow * x.columns * format.valueBytes;
  const float* scales = format.hasRowScales ? x.scales + firstRow * scaleBlocks(x.columns) : nullptr;
  return {x.format, values, x.columns, scales, false};
}

/// Rows of a product that are multiplied together: all or, where its outputs make fewer tasks than there are threads, fewer.
inline int64_t rowsTogether(const ProductForm& form, int64_t outputs, int64_t rows, int threads) {
  constexpr int64_t LEAST_ROWS = 96;
  const int64_t tasks = ceilDivide(outputs, form.taskOutputs);
  return tasks >= threads ? rows : std::max(LEAST_ROWS, ceilDivide(rows * tasks, 2 * threads));
}

template <TileUse Use = TileUse::always>
inline void gemm(const Gemm& command, Team& team) {
  const Weight& weight = command.weight;
  if (command.rows == 0 || weight.rows == 0) return;
  const Forms forms = formsOf<Use>(inputRows(command.x), weight);
  const Tiling pieces{command.rows, static_cast<int>(rowsTogether(forms.more, weight.rows, command.rows, team.threads()))};
  ProductBatch batch(team, forms, weight, pieces.count(), command.rows);
  for (int64_t piece = 0; piece < pieces.count(); piece++) {
    const int64_t row = pieces.first(piece);
    const StoredRows out = {Dtype::f32, command.out + row * weight.rows};
    batch.add({&weight, 0, weight.rows, inputRows(command.x, row), pieces.rowsOf(piece), out, weight.rows, nullptr});
  }
  batch.run();
}

template <TileUse Use = TileUse::always>
inline void groupedGemm(const GroupedGemm& command, Team& team) {
  const int32_t* starts = command.starts;
  const int64_t rows = command.groups ? starts[command.groups] - starts[0] : 0;
  if (rows == 0 || command.weights[0].rows == 0) return;
  const Weight& like = command.weights[0];
  const int64_t outputs = like.rows;
  const Forms forms = formsOf<Use>(inputRows(command.x), like);
  const int matrices = command.besideWeights ? 2 : 1;
  ProductBatch batch(team, forms, like, matrices * std::min<int64_t>(command.groups, rows), rows);
  for (int group = 0; group < command.groups; group++) {
    const int64_t from = starts[group], count = starts[group + 1] - from;
    const InputRows x = inputRows(command.x, from);
    const auto product = [&](const Weight* weights, StoredRows out) {
      out.values = static_cast<uint8_t*>(out.values) + from * outputs * formatOf(out.format).valueBytes;
      return Product{weights ? weights + group : nullptr, 0, outputs, x, count, out, outputs, nullptr};
    };
    Product products[] = {product(command.weights, command.out), product(command.besideWeights, command.beside)};
    batch.add(std::span(products, matrices));
  }
  batch.run();
}

}  // namespace daysix::DAYSIX_ISA
