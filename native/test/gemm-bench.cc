// Times the matrix products of one instruction set beside two roofs probed in alternation with them: reading the same
// number of bytes with the same threads, and multiplying from registers. Inputs are BF16 where weights are FP8 or BF16,
// and INT8 where weights are.
//   gemm-bench [threads] [rows,…] [dtype: fp8 i8 bf16 f32, or i4 i4-128: in groups] [outputs,inputs,… or mla] [strips]
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <ctime>
#include <string>

#include "gemm/mla.h"
#include "gemm/probe-kernels.h"
#include "operands.h"
#include "test-team.h"

namespace {

using namespace daysix;
using namespace daysix::DAYSIX_ISA;

constexpr size_t POOL_BYTES = size_t{5} << 28;
/// Each kernel is timed until it has run this often and this long.
constexpr int RUNS = 9;
constexpr double SECONDS = 0.25;

/// One thread's own time, in which nothing else on its core counts, or the wall's.
clockid_t timer = CLOCK_MONOTONIC;

double now() {
  timespec time;
  clock_gettime(timer, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <typename Run>
double timed(Run&& run) {
  const double start = now();
  run();
  return now() - start;
}

/// The 20th percentile.
double low(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 5];
}

/// A file's worth of weights, larger than the caches; each slice is another one until the pool wraps.
class Pool {
 public:
  Pool() {
    test::Random random(1);
    for (size_t i = 0; i < POOL_BYTES; i += 8) {
      // As of trained weights, hardly any exponent is 0; none is NaN or infinite in any format.
      const uint64_t bits = (random.bits() & 0xbfbfbfbfbfbfbfbf) | 0x2020202020202020;
      std::memcpy(memory_.data() + i, &bits, 8);
    }
  }
  const uint8_t* next(size_t bytes) {
    if (at_ + bytes > POOL_BYTES) at_ = 0;
    const uint8_t* slice = memory_.data() + at_;
    at_ += (bytes + 63) / 64 * 64;
    return slice;
  }

 private:
  test::HugeBytes memory_{POOL_BYTES};
  size_t at_ = 0;
};

volatile float sink;

void readBytes(const uint8_t* data, int64_t bytes, Team& team) {
  const int64_t slice = roundUp(std::max<int64_t>(64 << 10, bytes / (6 * team.threads())), 256);
  team.fork(ceilDivide(bytes, slice), [&](int64_t task, Scratch&) {
    const int64_t from = task * slice, to = std::min(bytes, from + slice) / 256 * 256;
    Vec sums[4] = {splat(0), splat(0), splat(0), splat(0)};
    for (int64_t i = from; i < to; i += 256) {
      for (int j = 0; j < 256; j += 64) __builtin_prefetch(data + i + j + 1024);
      for (int j = 0; j < 256 / (WIDTH * 4); j++) {
        const Vec v = load(reinterpret_cast<const float*>(data + i + j * WIDTH * 4));
        sums[j % 4] = max(sums[j % 4], v);
      }
    }
    if (maximum(max(max(sums[0], sums[1]), max(sums[2], sums[3]))) == 12345.0f) sink = 1;
  });
}

using Probe = int64_t (*)(int64_t rounds);

/// Products between registers; returns their number of operations.
double multiplyBetween(Probe probe, double operations, Team& team) {
  const int64_t tasks = team.threads() * 4;
  const auto perRound = static_cast<double>(probe(1000)) / 1000;
  const auto rounds = static_cast<int64_t>(operations / static_cast<double>(tasks) / perRound) + 1;
  std::atomic<int64_t> done = 0;
  team.fork(tasks, [&](int64_t, Scratch&) { done += probe(rounds); });
  return static_cast<double>(done);
}

/// The peak that bounds products with weights of a dtype.
Probe peakOf(Dtype dtype) {
#if defined(DAYSIX_TILES)
  if (dtype == Dtype::i4) return multiplyCodes;
  return dtype == Dtype::i8 ? multiplyCodeTiles : multiplyPairTiles;
#else
  if (dtype == Dtype::i8 || dtype == Dtype::i4) return multiplyCodes;
  return formatOf(dtype).fitsBf16 ? multiplyPairs : multiplyFloats;
#endif
}

void report(const char* what, double bytes, double operations, const std::vector<double>& kernel,
            const std::vector<double>& read, const std::vector<double>& peakRate) {
  const double time = low(kernel);
  std::vector<double> rates = peakRate;
  std::sort(rates.begin(), rates.end());
  const double peak = rates[rates.size() * 4 / 5];
  std::printf("%-34s %8.3f ms  %6.1f GB/s of %5.1f = %3.0f %%  %7.1f GFLOP/s of %6.1f = %3.0f %%\n", what, time * 1e3,
              bytes / time / 1e9, bytes / low(read) / 1e9, 100 * low(read) / time, operations / time / 1e9, peak / 1e9,
              100 * operations / time / peak);
  std::fflush(stdout);
}

/// Times `kernel`, which reads `bytes` of weights in a span of them, in alternation with both probes.
template <typename Kernel>
void bench(const char* what, Pool& pool, Team& team, Probe peak, double bytes, double span, double operations,
           Kernel&& kernel) {
  std::vector<double> times, reads, peaks;
  const double start = now();
  for (int i = 0; i < RUNS || now() - start < SECONDS * 3; i++) {
    const uint8_t* slice = pool.next(static_cast<size_t>(bytes));
    reads.push_back(timed([&] { readBytes(slice, static_cast<int64_t>(bytes), team); }));
    slice = pool.next(static_cast<size_t>(span));
    times.push_back(timed([&] { kernel(slice); }));
    double done = 0;
    const double time = timed([&] { done = multiplyBetween(peak, std::clamp(operations, 2e7, 2e9), team); });
    peaks.push_back(done / time);
  }
  report(what, bytes, operations, times, reads, peaks);
}

struct Shape {
  int64_t outputs, inputs;
};

/// `count` values of rows: fives in INT8, or one half each.
class Rows {
 public:
  Rows(Dtype format, int64_t count) : bytes_(static_cast<size_t>(count * test::bytesOf(format))) {
    const float half = 0.5f;
    const int bytes = test::bytesOf(format);
    if (format == Dtype::i8) std::memset(bytes_.data(), 5, static_cast<size_t>(count));
    for (int64_t i = 0; format != Dtype::i8 && i < count; i++) {
      std::memcpy(bytes_.data() + i * bytes, reinterpret_cast<const uint8_t*>(&half) + sizeof half - bytes, bytes);
    }
  }
  void* data() const { return bytes_.data(); }
  float* floats() const { return static_cast<float*>(data()); }

 private:
  test::HugeBytes bytes_;
};

/// What rows are multiplied with weights of a dtype.
Dtype inputOf(Dtype dtype) {
  if (dtype == Dtype::i4) return Dtype::i8;
  return dtype == Dtype::f32 || dtype == Dtype::i8 ? dtype : Dtype::bf16;
}

/// Bytes of a weight's codes, and of what lies among them in strips.
int64_t bytesOf(const Weight& weight) {
  if (weight.layout == WeightLayout::strips) return stripsOf(weight) * stripBytes(weight);
  return weight.rows * weight.columns * test::bytesOf(weight.dtype);
}

void benchGemm(Pool& pool, Team& team, Dtype dtype, int64_t group, const Shape& shape, int rows, WeightLayout layout) {
  const auto [outputs, inputs] = shape;
  const Dtype format = inputOf(dtype);
  const Rows x(format, rows * inputs), out(Dtype::f32, rows * outputs);
  std::vector<float> rowScales(rows * scaleBlocks(inputs), 0.5f);
  const int64_t scaleRows = formatOf(dtype).scaleRows;
  std::vector<float> scales(scaleRows ? ceilDivide(outputs, scaleRows) * scaleBlocks(inputs) : 0, 0.5f);
  const auto* scaleBytes = scaleRows ? reinterpret_cast<const uint8_t*>(scales.data()) : nullptr;
  Weight weight = {dtype, outputs, inputs, nullptr, scaleBytes, layout, group, Int4Strips::bf16};
  const auto bytes = static_cast<double>(bytesOf(weight));
  char what[80];
  std::snprintf(what, sizeof what, "%d thr, M %4d, N %6ld, K %5ld%s", team.threads(), rows, (long)outputs, (long)inputs,
                layout == WeightLayout::strips ? ", strips" : "");
  const double operations = 2.0 * static_cast<double>(rows * outputs * inputs);
  bench(what, pool, team, peakOf(dtype), bytes, bytes, operations, [&](const uint8_t* data) {
    weight.data = data;
    gemm({out.floats(), {format, inputs, x.data(), rowScales.data()}, weight, rows}, team);
  });
}

/// Both halves of kv_b_proj, which is BF16 unless it is FP8.
void benchMla(Pool& pool, Team& team, Dtype dtype, int heads, int rows) {
  if (dtype != Dtype::fp8) dtype = Dtype::bf16;
  const MlaShape shape = {heads, 128, 64, 128, 512, 1};
  const int64_t latents = static_cast<int64_t>(rows) * heads * shape.latent;
  const Rows in(Dtype::f32, latents), out(Dtype::f32, latents);
  std::vector<float> scales(static_cast<size_t>(heads) * 2 * 4, 0.5f);
  const double products = heads * 128.0 * 512, bytes = products * test::bytesOf(dtype);
  const auto* scaleBytes = dtype == Dtype::fp8 ? reinterpret_cast<const uint8_t*>(scales.data()) : nullptr;
  const auto bench = [&](const char* name, auto&& run) {
    char what[80];
    std::snprintf(what, sizeof what, "%d thr, M %4d, %s, %d heads", team.threads(), rows, name, heads);
    ::bench(what, pool, team, peakOf(dtype), bytes, 2 * bytes, 2 * rows * products,
            [&](const uint8_t* data) { run(Weight{dtype, heads * 256, 512, data, scaleBytes}); });
  };
  bench("W_UK", [&](const Weight& kvB) { absorbQuery({out.floats(), in.floats(), kvB, shape, rows, true}, team); });
  bench("W_UV", [&](const Weight& kvB) { projectValue({out.floats(), in.floats(), kvB, shape, rows, true}, team); });
}

/// A layer's expert matrices [1408, 2048], each row with six of 64 at random.
void benchGrouped(Pool& pool, Team& team, Dtype dtype, int tokens) {
  constexpr int experts = 64, topK = 6;
  constexpr int64_t outputs = 1408, inputs = 2048;
  test::Random random(7);
  std::vector<int> counts(experts);
  for (int token = 0; token < tokens; token++) {
    std::vector<bool> taken(experts);
    for (int k = 0; k < topK;) {
      const int expert = random.below(experts);
      if (taken[expert]) continue;
      taken[expert] = true;
      counts[expert]++;
      k++;
    }
  }
  std::vector<int32_t> starts = {0};
  int active = 0;
  for (const int count : counts) {
    starts.push_back(starts.back() + count);
    active += count > 0;
  }
  const Rows x(inputOf(dtype), starts.back() * inputs), out(Dtype::f32, starts.back() * outputs);
  std::vector<float> rowScales(starts.back() * scaleBlocks(inputs), 0.5f);
  std::vector<float> scales(outputs * scaleBlocks(inputs), 0.5f);
  const auto* scaleBytes = formatOf(dtype).scaleRows ? reinterpret_cast<const uint8_t*>(scales.data()) : nullptr;
  const double bytes = static_cast<double>(active * outputs * inputs * test::bytesOf(dtype));
  char what[80];
  std::snprintf(what, sizeof what, "%d thr, %d tokens, %d of 64 experts", team.threads(), tokens, active);
  const double operations = 2.0 * static_cast<double>(starts.back() * outputs * inputs);
  bench(what, pool, team, peakOf(dtype), bytes, bytes, operations, [&](const uint8_t* data) {
    std::vector<Weight> weights;
    for (const int count : counts) {
      weights.push_back({dtype, outputs, inputs, data, scaleBytes});
      if (count) data += outputs * inputs * test::bytesOf(dtype);
    }
    groupedGemm({{Dtype::f32, out.data()}, {inputOf(dtype), inputs, x.data(), rowScales.data()}, weights.data(), experts,
                 starts.data()}, team);
  });
}

std::vector<int64_t> numbers(const char* text) {
  std::vector<int64_t> out;
  for (char* end; *text; text = *end ? end + 1 : end) out.push_back(std::strtol(text, &end, 10));
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const auto rows = numbers(argc > 2 ? argv[2] : "1,2,4,8,16,32,128,512");
  const std::string dtype = argc > 3 ? argv[3] : "fp8";
  const char* const models = "1408,2048,2048,1408,10944,2048,2048,10944,102400,2048,2048,7168,7168,2048";
  const bool isMla = argc > 4 && !std::strcmp(argv[4], "mla");
  const auto sizes = numbers(isMla ? "" : argc > 4 ? argv[4] : models);
  if (threads == 1) timer = CLOCK_THREAD_CPUTIME_ID;
  Pool pool;
  TestTeam team(threads);
  const int64_t group = dtype == "i4-128" ? 128 : 32;
  const Dtype format = dtype == "fp8"    ? Dtype::fp8
                       : dtype == "i8"   ? Dtype::i8
                       : dtype[0] == 'i' ? Dtype::i4
                       : dtype == "bf16" ? Dtype::bf16
                                         : Dtype::f32;
  for (size_t i = 0; i + 1 < sizes.size(); i += 2) {
    const Shape shape = {sizes[i], sizes[i + 1]};
    for (const int64_t count : rows) {
      const auto bench = [&](auto layout) { benchGemm(pool, team, format, group, shape, static_cast<int>(count), layout); };
      if (format != Dtype::i4) bench(WeightLayout::rows);
      if (argc > 5) bench(WeightLayout::strips);
    }
  }
  if (argc > 4 && sizes.size() > 1) return 0;
  for (const int64_t count : rows) {
    if (!isMla) benchGrouped(pool, team, format, static_cast<int>(count));
  }
  for (const int64_t count : rows) benchMla(pool, team, format, 12, static_cast<int>(count));
}
