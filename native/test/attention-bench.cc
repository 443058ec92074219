// Attention's time beside the machine's roofs, probed in turn with it: BF16 products in registers for about as long, as the
// instruction set computes them, and reads of memory. KV pages lie at random in a pool of 768 MB, of huge pages or not, as
// do queries and outputs. 20th percentiles over the rounds.
//
//   attention-bench [threads] [rounds] [huge pages: 0 or 1] [heads rows context sequences]
#include <sys/mman.h>

#include <chrono>
#include <cstdio>

#include "attention/attention.h"
#include "gemm/probe-kernels.h"
#include "host/huge-pages.h"
#include "attention-case.h"
#include "test-team.h"

namespace {

using namespace daysix;
using namespace daysix::DAYSIX_ISA;
using test::Sequence;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename Run>
double timeOf(Run&& run) {
  const double start = seconds();
  run();
  return seconds() - start;
}

volatile float sink;

/// About `flops` flops of BF16 products between registers; how many it were.
int64_t multiply(double flops) {
#if defined(DAYSIX_TILES)
  constexpr double STEP = TILE_LINES * TILE_LINES * LINE_VALUES * 2;
  return multiplyPairTiles(static_cast<int64_t>(flops / STEP) + 1);
#else
  constexpr double STEP = PROBE_CHAINS * CHAINS * 4;
  return multiplyPairs(static_cast<int64_t>(flops / STEP) + 1);
#endif
}

/// FLOP/s of all threads' products in registers.
double probePeak(Team& team, double flops) {
  std::atomic<int64_t> done{0};
  const double time = timeOf([&] {
    team.fork(team.threads(), [&](int64_t, Scratch&) { done += multiply(flops / team.threads()); });
  });
  return done / time;
}

double percentile(std::vector<double>& values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(values.size() * share)];
}

/// Memory of zeros, of huge pages or not.
template <typename Value>
class Pages {
 public:
  Pages(size_t count, bool huge) : bytes_(roundUp(count * sizeof(Value), HUGE_PAGE_BYTES)) {
    values_ = static_cast<Value*>(std::aligned_alloc(HUGE_PAGE_BYTES, bytes_));
    madvise(values_, bytes_, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    std::memset(values_, 0, bytes_);
  }
  ~Pages() { std::free(values_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  Value* data() { return values_; }

 private:
  size_t bytes_;
  Value* values_;
};

/// Reads `bytes` from each thread's own part of the pool.
double probeRead(Team& team, const uint16_t* pool, int64_t bytes, int64_t offset) {
  return timeOf([&] {
    team.fork(team.threads(), [&](int64_t task, Scratch&) {
      const auto* at = reinterpret_cast<const float*>(pool) + (offset + task * bytes) / 4;
      Vec sums[4] = {splat(0), splat(0), splat(0), splat(0)};
      for (int64_t i = 0; i < bytes / 4; i += 4 * WIDTH) {
        for (int line = 0; line < WIDTH * 16; line += 64) __builtin_prefetch(at + i + 256 + line / 4);
        for (int j = 0; j < 4; j++) sums[j] = sums[j] + load(at + i + j * WIDTH);
      }
      sink = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
    });
  });
}

struct Shape {
  int heads, rows, context, sequences;
};

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 15;
  const bool huge = argc > 3 && std::atoi(argv[3]);
  constexpr int LATENT = 512, ROPE = 64, ENTRY = LATENT + ROPE;
  constexpr int POOL_PAGES = 768 * 1024 * 1024 / (PAGE_TOKENS * ENTRY * 2);
  std::vector<Shape> shapes = {{12, 1, 512, 1},   {12, 512, 512, 1}, {16, 1, 512, 1},  {16, 1, 4096, 1},  {16, 1, 16384, 1},  {16, 1, 512, 8},
                               {16, 1, 4096, 8}, {128, 1, 512, 1},  {128, 1, 4096, 1},  {128, 1, 16384, 1},
                               {128, 1, 512, 8}, {16, 512, 512, 1}, {16, 512, 2048, 1}, {128, 64, 2048, 1},
                               {4, 1, 4096, 1}};
  if (argc > 7) shapes = {{std::atoi(argv[4]), std::atoi(argv[5]), std::atoi(argv[6]), std::atoi(argv[7])}};
  TestTeam team(threads);
  const size_t codes = size_t{POOL_PAGES} * PAGE_TOKENS * ENTRY;
  Pages<uint16_t> poolPages(codes, huge);
  uint16_t* pool = poolPages.data();
  test::Random random(1);
  for (size_t i = 0; i < codes; i++) pool[i] = static_cast<uint16_t>(0x3c00 | (random.bits() & 0x81ff));
  std::printf("%d threads\nheads  rows context seqs        us   GFLOP/s  of peak   GB/s  of read\n", threads);
  for (const Shape& s : shapes) {
    const int64_t rows = int64_t{s.rows} * s.sequences;
    const MlaShape shape{s.heads, 128, ROPE, 128, LATENT, 0.0721f};
    // Other queries and outputs in each round, as many as caches do not hold.
    const int64_t latents = rows * s.heads * LATENT, queries = rows * s.heads * (128 + ROPE);
    const int64_t sets = std::max<int64_t>(1, (int64_t{16} << 20) / latents);
    Pages<float> absorbed(sets * latents, huge), q(sets * queries, huge), out(sets * latents, huge);
    for (int64_t i = 0; i < sets * latents; i++) absorbed.data()[i] = random.normal();
    for (int64_t i = 0; i < sets * queries; i++) q.data()[i] = random.normal();
    std::vector<int32_t> positions, rowStarts{0};
    for (int i = 0; i < s.sequences; i++) {
      for (int row = 0; row < s.rows; row++) positions.push_back(s.context - s.rows + row);
      rowStarts.push_back(static_cast<int32_t>(positions.size()));
    }
    const int stride = s.context / PAGE_TOKENS;
    std::vector<int32_t> tables(int64_t{stride} * s.sequences);
    const StepLayout layout{static_cast<int>(rows), s.sequences,      stride,
                            positions.data(),       rowStarts.data(), tables.data()};
    double pairs = 0;
    for (const int position : positions) pairs += position + 1.0;
    const double flops = pairs * s.heads * 2 * (ENTRY + LATENT);
    std::vector<double> times, peaks, reads;
    constexpr int64_t READ = 4 << 20;
    for (int round = 0; round < rounds; round++) {
      for (int32_t& page : tables) page = random.below(POOL_PAGES);
      reads.push_back(probeRead(team, pool, READ, random.below(180) * READ));
      peaks.push_back(1 / probePeak(team, flops));
      const int64_t set = round % sets;
      const Attention command{out.data() + set * latents, absorbed.data() + set * latents, q.data() + set * queries,
                              {Dtype::bf16, pool}, shape, layout, 0, nullptr};
      times.push_back(timeOf([&] { attention(command, team); }));
    }
    const double time = percentile(times, 0.2), peak = 1 / percentile(peaks, 0.2);
    const double bytes = double(s.context) * s.sequences * ENTRY * 2;
    const double bandwidth = double(READ) * threads / percentile(reads, 0.2);
    std::printf("%5d %5d %7d %4d %9.0f %9.1f %7.1f%% %6.2f %7.1f%%\n", s.heads, s.rows, s.context, s.sequences,
                time * 1e6, flops / time * 1e-9, 100 * flops / time / peak, bytes / time * 1e-9,
                100 * bytes / time / bandwidth);
  }
}
