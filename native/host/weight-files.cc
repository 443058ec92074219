#include "host/weight-files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <compare>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>

#include "host/huge-pages.h"

namespace daysix {

namespace {

/// Bytes that a thread reads at once.
constexpr size_t PIECE_BYTES = 16 << 20;

/// What a file was when it was opened: an inode's number is given again to the next file that is made.
struct FileId {
  explicit FileId(const struct stat& status, bool resident)
      : device(status.st_dev), inode(status.st_ino), size(status.st_size), resident(resident) {
#if defined(__APPLE__)
    const timespec &modified = status.st_mtimespec, &changed = status.st_ctimespec;
#else
    const timespec &modified = status.st_mtim, &changed = status.st_ctim;
#endif
    times = {modified.tv_sec, modified.tv_nsec, changed.tv_sec, changed.tv_nsec};
  }
  auto operator<=>(const FileId&) const = default;

  uint64_t device, inode, size;
  std::array<int64_t, 4> times;
  bool resident;
};

struct Registry {
  std::mutex mutex;
  std::map<FileId, std::weak_ptr<WeightFile>> files;
};

Registry& registry() {
  static Registry processWide;
  return processWide;
}

[[noreturn]] void fail(int error, const std::string& path = "") {
  throw std::system_error(error, std::generic_category(), path);
}

/// An open file, closed at the end of its scope; its memory outlives it.
struct OpenFile {
  explicit OpenFile(const std::string& path) : descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor < 0 || fstat(descriptor, &status) != 0) fail(errno, path);
  }
  ~OpenFile() {
    if (descriptor >= 0) close(descriptor);
  }

  int descriptor;
  struct stat status = {};
};

/// Reads all of [from, from + size) of a file; 0, or what went wrong.
int readBytes(int descriptor, uint8_t* to, size_t size, size_t from) {
  while (size > 0) {
    const ssize_t count = pread(descriptor, to, size, static_cast<off_t>(from));
    if (count < 0 && errno == EINTR) continue;
    // A file that ends early has been cut since it was opened.
    if (count <= 0) return count < 0 ? errno : EIO;
    to += count;
    from += count;
    size -= count;
  }
  return 0;
}

}  // namespace

Mapping::~Mapping() {
  if (data) munmap(data, size);
}

WeightFile::WeightFile(int descriptor, size_t size, const std::string& path, const WeightOptions& options)
    : size_(size) {
  if (size == 0) return;
  if (options.resident) copy(descriptor, options.threads);
  else map(descriptor, path);
}

void WeightFile::map(int descriptor, const std::string& path) {
  void* memory = mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) fail(errno);
  mapping_.data = static_cast<uint8_t*>(memory);
  mapping_.size = size_;
  // Where the page cache has such, what is read from now on comes in huge pages.
  preferHugePages(mapping_.data, size_);
  name_.emplace(mapping_.data, size_, path);
}

void WeightFile::copy(int descriptor, int threads) {
  const size_t whole = (size_ + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
  // One page more than needed: wherever the memory begins, enough whole pages lie in it.
  void* memory = mmap(nullptr, whole + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail(errno);
  auto* first = static_cast<uint8_t*>(memory);
  const size_t before = -reinterpret_cast<uintptr_t>(memory) % HUGE_PAGE_BYTES;
  if (before > 0) munmap(first, before);
  if (before < HUGE_PAGE_BYTES) munmap(first + before + whole, HUGE_PAGE_BYTES - before);
  mapping_.data = first + before;
  mapping_.size = whole;
  preferHugePages(mapping_.data, whole);

  std::atomic<size_t> next = 0;
  std::atomic<int> error = 0;
  const auto read = [&] {
    for (size_t from; error == 0 && (from = next.fetch_add(PIECE_BYTES)) < size_;) {
      const size_t size = std::min(PIECE_BYTES, size_ - from);
      if (const int failed = readBytes(descriptor, mapping_.data + from, size, from)) error = failed;
    }
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < threads; i++) helpers.emplace_back(read);
  read();
  for (std::thread& helper : helpers) helper.join();
  if (error != 0) fail(error);
  mprotect(mapping_.data, whole, PROT_READ);
}

const WeightFile& WeightFiles::get(const std::string& path, const WeightOptions& options) {
  std::shared_ptr<WeightFile>& file = files_[path];
  if (file) return *file;
  const OpenFile opened(path);
  const FileId id(opened.status, options.resident);
  std::lock_guard lock(registry().mutex);
  std::erase_if(registry().files, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<WeightFile>& known = registry().files[id];
  file = known.lock();
  if (file) return *file;
  try {
    known = file = std::make_shared<WeightFile>(opened.descriptor, opened.status.st_size, path, options);
  } catch (const std::system_error& error) {
    fail(error.code().value(), path);
  }
  return *file;
}

std::vector<std::shared_ptr<WeightFile>> residentFiles() {
  std::vector<std::shared_ptr<WeightFile>> held;
  std::lock_guard lock(registry().mutex);
  for (const auto& [id, known] : registry().files) {
    const auto file = known.lock();
    if (file && id.resident) held.push_back(file);
  }
  return held;
}

}  // namespace daysix
