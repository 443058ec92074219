// Streams without Node: commands written as TypeScript writes them, by one thread or several, on arrays that end where
// their blocks do, so that the sanitizers see every access. Exits non-zero on a failure.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "host/decode.h"
#include "host/isa.h"
#include "host/stream.h"
#include "host/thread-team.h"

namespace {

using namespace daysix;

int failures = 0;

void expect(bool good, const char* what) {
  if (good) return;
  failures++;
  std::printf("FAILED %s\n", what);
}

/// A weight's rows as they lie, as an operation's argument.
struct WeightRows {
  int dtype, rows, columns;
  const void* data;
  const void* scales;
};

/// The other end of a ring.
class Producer {
 public:
  static constexpr uint32_t CAPACITY = 64;

  Producer(const KernelTable& kernels, int threads)
      : words_(CAPACITY * COMMAND_WORDS),
        stream_(std::make_unique<Stream>(StreamOptions{.ring = {&header_, words_.data(), CAPACITY},
                                                       .kernels = kernels,
                                                       .threads = threads,
                                                       .cores = 3,
                                                       .atFence = false,
                                                       .files = std::make_shared<WeightFiles>(),
                                                       .onExecuted = [this] { told(); }})) {}

  template <typename... Words>
  void enqueue(const char* operation, Words... words) {
    const uint32_t number = header_.published.load();
    if (!reached(header_.executed.load(), number - CAPACITY + 1)) stream_->waitForRoom();
    double* command = words_.data() + (number % CAPACITY) * COMMAND_WORDS;
    double* at = command;
    *at++ = numberOf(operation);
    (put(at, words), ...);
    const size_t wanted = operations()[numberOf(operation)].words.size();
    expect(at - command == static_cast<int64_t>(1 + wanted), operation);
    header_.published = number + 1;
    if (header_.asleep.load()) stream_->wake();
  }

  /// What JavaScript's done does; the failure.
  std::string done() {
    if (!stream_->announce(header_.published.load())) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return told_; });
      told_ = false;
    }
    return stream_->failure();
  }

  void fail(const std::string& message) { stream_->fail(message); }
  void reset() { stream_->reset(); }
  void close() { stream_.reset(); }

 private:
  template <typename Value>
  static void put(double*& at, Value value) {
    *at++ = word(value);
  }
  static void put(double*& at, const WeightRows& weight) {
    for (const int value : {weight.dtype, weight.rows, weight.columns}) *at++ = value;
    for (const void* address : {weight.data, weight.scales}) *at++ = word(address);
    // In rows, and not INT4.
    for (int i = 0; i < 3; i++) *at++ = 0;
  }
  static double word(double value) { return value; }
  static double word(int value) { return value; }
  static double word(const void* address) { return static_cast<double>(reinterpret_cast<uintptr_t>(address)); }
  static int numberOf(const std::string& operation) {
    int number = 0;
    while (operations()[number].name != operation) number++;
    return number;
  }

  void told() {
    std::lock_guard lock(mutex_);
    told_ = true;
    changed_.notify_one();
  }

  RingHeader header_ = {};
  std::vector<double> words_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool told_ = false;
  std::unique_ptr<Stream> stream_;
};

std::vector<float> ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; i++) values[i] = std::sin(static_cast<float>(i)) * 3;
  return values;
}

bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || !std::memcmp(a.data(), b.data(), a.size() * sizeof(float)));
}

constexpr int F32 = 0, BF16 = 1, FP8 = 3;

/// Rows of logits, each with another rule: their tokens, sums and likeliest tokens, one after the other.
std::vector<float> runSample(Producer& producer, const std::vector<float>& logits, int rows, int columns) {
  const int most = std::min(columns, 3);
  std::vector<double> rules, sums(rows);
  std::vector<int32_t> tokens(rows), likeliest(rows * most);
  std::vector<CountedToken> counted(rows), proposed(rows);
  std::vector<LogitAdjustments> adjustments(rows);
  const std::vector<uint32_t> mask{0xffffffff, 0x80000001};
  const double bias = -1;
  const int32_t beyond = columns;
  const auto word = [](const auto& value) { return static_cast<double>(reinterpret_cast<uintptr_t>(&value)); };
  for (int row = 0; row < rows; row++) {
    counted[row] = {row % columns, 1};
    proposed[row] = {(row + 1) % columns, row % 2};
    const int32_t& biased = row % 3 ? counted[row].token : beyond;
    adjustments[row] = {word(counted[row]), 1, word(proposed[row]), row % 2 * 1.0, word(biased), word(bias), 1, 0, 0};
    if (row % 4 == 3) adjustments[row].allowed = word(mask[0]), adjustments[row].allowedWords = mask.size();
    for (const double value : {row % 5 ? 0.7 : 0.0, row % 4 * 1.0, row % 3 ? 0.9 : 1.0, row % 2 * 0.01, row / 400.0,
                               row % 2 * 1.0 * most, 2.0, 0.5, 0.25}) {
      rules.push_back(value);
    }
  }
  producer.enqueue("sample", tokens.data(), sums.data(), likeliest.data(), logits.data(), rules.data(),
                   adjustments.data(), most, columns, columns, rows);
  expect(producer.done().empty(), "sampling runs");
  std::vector<float> all(tokens.begin(), tokens.end());
  all.insert(all.end(), sums.begin(), sums.end());
  all.insert(all.end(), likeliest.begin(), likeliest.end());
  return all;
}

/// Every operation on rows, on `rows` rows of `columns` values; all outputs one after the other.
std::vector<float> runRows(Producer& producer, int rows, int columns) {
  const int count = rows * columns, blocks = (columns + 127) / 128;
  const std::vector<float> x = ramp(count);
  // A weight at an odd address.
  std::vector<uint8_t> bytes(1 + 4 * 9 * columns);
  std::memcpy(bytes.data() + 1, ramp(9 * columns).data(), 4 * 9 * columns);
  const void* none = nullptr;
  const WeightRows weight = {F32, 9, columns, bytes.data() + 1, none};
  const WeightRows gain = {F32, 1, columns, weight.data, none};
  std::vector<int32_t> tokens(rows), places(rows * 2), starts(5), ids(rows * 2), sources(rows * 2), chosen(rows * 3);
  for (int i = 0; i < rows; i++) tokens[i] = i % 9;
  for (int i = 0; i < rows * 2; i++) ids[i] = i % 4;
  std::vector<float> embedded(count), normed(count), product(count), combined(count), outputs(rows * 9), gates(rows * 3);
  std::vector<uint16_t> halves(count);
  std::vector<uint8_t> codes(count), gathered(count);
  std::vector<float> scales(rows * blocks), gatheredScales(rows * blocks);

  producer.enqueue("embed", embedded.data(), weight, tokens.data(), rows);
  producer.enqueue("add", embedded.data(), x.data(), count);
  producer.enqueue("rmsNorm", normed.data(), embedded.data(), gain, 1e-6, rows);
  producer.enqueue("siluMultiply", product.data(), normed.data(), x.data(), count);
  producer.enqueue("quantize", BF16, columns, halves.data(), none, product.data(), rows, 0);
  producer.enqueue("quantize", FP8, columns, codes.data(), scales.data(), product.data(), rows, 0);
  producer.enqueue("gather", FP8, columns, gathered.data(), gatheredScales.data(), FP8, columns, codes.data(),
                   scales.data(), places.data(), rows, rows);
  producer.enqueue("gemm", outputs.data(), FP8, columns, codes.data(), scales.data(), weight, rows);
  producer.enqueue("route", chosen.data(), gates.data(), outputs.data(), WeightRows{}, 0, 9, 3, 1, 2, 1, 1, 1, 1.0,
                   rows);
  producer.enqueue("groupRows", starts.data(), sources.data(), places.data(), ids.data(), 4, 2, rows);
  std::vector<float> twice = ramp(2 * count);
  std::vector<float> weights = ramp(2 * rows);
  producer.enqueue("combine", combined.data(), F32, twice.data(), weights.data(), places.data(), 2, columns, rows, 2 * rows);
  expect(producer.done().empty(), "rows run");

  std::vector<float> all;
  for (const auto* part : {&embedded, &normed, &product, &combined, &outputs, &gates}) {
    all.insert(all.end(), part->begin(), part->end());
  }
  for (const uint16_t half : halves) all.push_back(half);
  for (const uint8_t code : gathered) all.push_back(code);
  const std::vector<float> sampled = runSample(producer, x, rows, columns);
  all.insert(all.end(), sampled.begin(), sampled.end());
  return all;
}

void testRows(const KernelTable& kernels) {
  Producer one(kernels, 1), two(kernels, 2);
  for (const auto [rows, columns] : {std::array{0, 5}, {1, 1}, {3, 131}, {5, 576}, {400, 640}}) {
    const std::vector<float> expected = runRows(one, rows, columns);
    const std::vector<float> actual = runRows(two, rows, columns);
    expect(sameBits(actual, expected), "one thread and two give the same bits");
  }
}

/// More commands than the ring holds, while its thread sleeps now and then.
void testRing(const KernelTable& kernels) {
  Producer producer(kernels, 1);
  std::vector<float> x(3), ones(3, 1.0f);
  for (int i = 0; i < 3000; i++) {
    producer.enqueue("add", x.data(), ones.data(), 3);
    if (i % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (i % 37 == 0) expect(producer.done().empty() && x[2] == static_cast<float>(i + 1), "done sees what was enqueued");
  }
  producer.done();
  expect(x[0] == 3000, "every command runs");
}

/// Ends streams at any moment: the running command finishes, the rest is skipped.
void testEnds(const KernelTable& kernels) {
  std::vector<float> x(300'000), ones(300'000, 1.0f);
  for (int round = 0; round < 40; round++) {
    Producer producer(kernels, 2);
    for (int i = 0; i < 30; i++) producer.enqueue("add", x.data(), ones.data(), 300'000);
    std::this_thread::sleep_for(std::chrono::microseconds(37 * round));
    producer.close();
  }
  expect(x[0] == x[299'999], "a command runs whole or not at all");
}

/// After a failure nothing runs, and after a reset what is enqueued later.
void testFailure(const KernelTable& kernels) {
  Producer producer(kernels, 2);
  std::vector<float> x(8), ones(8, 1.0f);
  const int32_t token = 3;
  const void* none = nullptr;
  for (int round = 0; round < 40; round++) {
    producer.enqueue("embed", x.data(), WeightRows{F32, 3, 8, ones.data(), none}, &token, 1);
    producer.enqueue("add", x.data(), ones.data(), 8);
    if (round % 2) expect(producer.done().find("embed") == 0 && x[0] == round, "nothing runs after a failure");
    producer.reset();
    producer.enqueue("add", x.data(), ones.data(), 8);
    expect(producer.done().empty() && x[0] == round + 1, "a stream that was reset runs again");
  }
}

/// Indices that earlier operations have written lead nowhere but to a failure.
void testIndices(const KernelTable& kernels) {
  Producer producer(kernels, 2);
  std::vector<float> x(8), out(8);
  const void* none = nullptr;
  const std::array<int32_t, 2> wild = {1 << 30, -(1 << 30)};
  const auto fails = [&](const char* what) {
    expect(producer.done().find(what) == 0, what);
    producer.reset();
  };
  producer.enqueue("embed", out.data(), WeightRows{F32, 2, 4, x.data(), none}, wild.data(), 2);
  fails("embed: tokens[0] is 1073741824, expected 0 to 1");
  producer.enqueue("gather", F32, 4, out.data(), none, F32, 4, x.data(), none, wild.data() + 1, 1, 2);
  fails("gather: sources[0] is -1073741824, expected 0 to 1");
  producer.enqueue("combine", out.data(), F32, x.data(), x.data(), wild.data(), 2, 4, 1, 2);
  fails("combine: places[0] is 1073741824, expected 0 to 1");
  producer.enqueue("groupRows", none, none, none, wild.data(), 4, 2, 1);
  fails("groupRows: ids[0] is 1073741824, expected 0 to 3");
  producer.enqueue("groupedGemm", F32, out.data(), F32, 4, x.data(), none, none, 1, wild.data(), 2);
  fails("groupedGemm: starts[0] is 1073741824, expected 0 to 2");
}

/// One rank's end of an exchange: rows of a unit of three ranks with one expert each, two choices of a row.
class Exchanger {
 public:
  static constexpr int RANKS = 3, ROWS = 2, TOP_K = 2, HIDDEN = 5, PAIRS = ROWS * TOP_K;

  struct Memory {
    std::array<ExchangeLine, EXCHANGE_ACTS + RANKS> lines = {};
    std::vector<float> dispatched = std::vector<float>(RANKS * ROWS * HIDDEN);
    std::vector<int32_t> experts = std::vector<int32_t>(RANKS * PAIRS);
    std::vector<float> returned = std::vector<float>(RANKS * PAIRS * HIDDEN);
  };

  Exchanger(const KernelTable& kernels, Memory& memory, int own)
      : producer(kernels, 1), memory_(memory), own_(own), outputs_(RANKS * PAIRS * HIDDEN, static_cast<float>(own)) {}

  void enqueue(int turn) {
    const void* none = nullptr;
    exchange("dispatchRows", turn, F32, HIDDEN, x_.data(), none, ids_.data(), ROWS, RANKS, replicaStarts_.data(),
             replicas_.data(), 1, loads_.data(), rowsTo_.data(), bytesTo_.data());
    exchange("awaitRanks", turn, 0);
    exchange("groupArrived", turn, 1, RANKS * PAIRS, starts_.data(), sources_.data(), homes_.data());
    exchange("returnRows", turn, F32, outputs_.data(), 1, starts_.data(), homes_.data(), bytesTo_.data());
    exchange("awaitRanks", turn, 1);
    producer.enqueue("add", sum_.data(), memory_.returned.data() + own_ * PAIRS * HIDDEN, PAIRS * HIDDEN);
  }

  /// What came home in `turns` exchanges: each expert's outputs are its rank's number.
  bool holds(int turns) const {
    for (int i = 0; i < PAIRS * HIDDEN; i++)
      if (sum_[i] != static_cast<float>(turns * ids_[i / HIDDEN])) return false;
    return true;
  }

  Producer producer;

 private:
  template <typename... Words>
  void exchange(const char* operation, int turn, Words... words) {
    const void* none = nullptr;
    producer.enqueue(operation, RANKS, own_, ROWS, TOP_K, turn, memory_.lines.data(), F32, HIDDEN,
                     memory_.dispatched.data(), none, memory_.experts.data(), F32, memory_.returned.data(), words...);
  }

  Memory& memory_;
  int own_;
  std::vector<float> x_ = ramp(ROWS * HIDDEN), outputs_, sum_ = std::vector<float>(PAIRS * HIDDEN);
  std::vector<int32_t> ids_ = {0, 2, 1, 2}, replicaStarts_ = {0, 1, 2, 3}, replicas_ = {0, 1, 2}, starts_ = {0, 0};
  std::vector<int32_t> sources_ = std::vector<int32_t>(RANKS * PAIRS), homes_ = sources_;
  std::vector<double> loads_ = std::vector<double>(RANKS), rowsTo_ = loads_, bytesTo_ = loads_;
};

/// Ranks exchange rows over and over, through the wrap of the count, each at its own pace.
void testExchange(const KernelTable& kernels) {
  constexpr int TURNS = 300, FIRST = -TURNS / 2;
  Exchanger::Memory memory;
  for (int act = 0; act < EXCHANGE_ACTS; act++) memory.lines[act].count = static_cast<uint32_t>(FIRST * Exchanger::RANKS);
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < Exchanger::RANKS; rank++) {
    ranks.emplace_back([&, rank] {
      Exchanger exchanger(kernels, memory, rank);
      for (int turn = 0; turn < TURNS; turn++) {
        exchanger.enqueue(FIRST + turn + 1);
        if (turn % (40 + 30 * rank) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      expect(exchanger.producer.done().empty() && exchanger.holds(TURNS), "rows come home from their experts");
    });
  }
  for (std::thread& rank : ranks) rank.join();
}

/// A rank that waits for others in vain, until its stream fails, is reset or ends.
void testExchangeEnds(const KernelTable& kernels) {
  for (int round = 0; round < 60; round++) {
    Exchanger::Memory memory;
    Exchanger exchanger(kernels, memory, 1);
    Producer& producer = exchanger.producer;
    exchanger.enqueue(1);
    std::this_thread::sleep_for(std::chrono::microseconds(17 * round));
    if (round % 3 == 0) {
      producer.fail("rank 2 is lost");
      expect(producer.done() == "rank 2 is lost" && exchanger.holds(0), "a wait ends with the failure");
    }
    if (round % 3 < 2) {
      producer.reset();
      float x = 1;
      producer.enqueue("add", &x, &x, 1);
      expect(producer.done().empty() && x == 2, "a stream that gave up a wait runs again");
    }
    producer.close();
  }
}

/// Streams of several threads share their count of the cores.
void testTogether(const KernelTable& kernels) {
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 3; rank++) {
    ranks.emplace_back([&] {
      for (int round = 0; round < 10; round++) {
        Producer producer(kernels, 2);
        runRows(producer, 20, 600);
      }
    });
  }
  for (std::thread& rank : ranks) rank.join();
}

/// Ranks that open a file at once get one copy of it, read by several threads.
void testResidentFile() {
  std::vector<uint8_t> bytes((40 << 20) + 5);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 24);
  const std::string name = "daysix-resident-" + std::to_string(getpid());
  const std::string path = std::filesystem::temp_directory_path() / name;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  expect(file && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size(), "a file is written");
  if (file) std::fclose(file);
  {
    std::vector<WeightFiles> files(3, WeightFiles({.resident = true, .threads = 3}));
    std::vector<const WeightFile*> opened(files.size());
    std::vector<std::thread> ranks;
    for (size_t i = 0; i < files.size(); i++) ranks.emplace_back([&, i] { opened[i] = &files[i].load(path); });
    for (std::thread& rank : ranks) rank.join();
    expect(opened[0] == opened[1] && opened[1] == opened[2], "a file is copied once");
    expect(std::equal(bytes.begin(), bytes.end(), opened[0]->data()), "a copy holds every byte");
    expect(residentFiles().size() == 1, "a copy is known");
  }
  expect(residentFiles().empty(), "a copy goes with its last owner");
  std::remove(path.c_str());
}

void testFewTasks() {
  constexpr int THREADS = 4;
  ThreadTeam threads(THREADS);
  Team& team = threads;
  for (int tasks = 1; tasks <= THREADS; tasks++) {
    std::mutex mutex;
    std::set<std::thread::id> took;
    std::atomic<int> done = 0;
    for (int round = 0; round < 200; round++) {
      team.fork(tasks, [&](int64_t, Scratch&) {
        done++;
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        std::lock_guard lock(mutex);
        took.insert(std::this_thread::get_id());
      });
    }
    expect(done == 200 * tasks, "each task runs once");
    expect(took.size() <= static_cast<size_t>(tasks), "as many threads as there are tasks take some, always the same");
    expect(tasks == 1 || took.size() > 1, "helpers take tasks");
  }
}

}  // namespace

int main() {
  testFewTasks();
  static_assert(grantedThreads(4, 0, 8) == 4 && grantedThreads(4, 6, 8) == 2 && grantedThreads(4, 9, 8) == 1);
  for (const KernelTable* kernels : supportedKernels()) {
    testRows(*kernels);
    testRing(*kernels);
    testEnds(*kernels);
    testFailure(*kernels);
    testIndices(*kernels);
    testTogether(*kernels);
    testExchange(*kernels);
    testExchangeEnds(*kernels);
  }
  testResidentFile();
  std::printf("%d failures\n", failures);
  return failures ? 1 : 0;
}
