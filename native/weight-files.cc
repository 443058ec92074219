#include "weight-files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <mutex>
#include <system_error>
#include <utility>

namespace daysix {

namespace {

using FileId = std::pair<uint64_t, uint64_t>;

struct Registry {
  std::mutex mutex;
  std::map<FileId, std::weak_ptr<MappedFile>> mapped;
};

Registry& registry() {
  static Registry processWide;
  return processWide;
}

[[noreturn]] void fail(const std::string& path) { throw std::system_error(errno, std::generic_category(), path); }

/// An open file, closed at the end of its scope; a mapping outlives it.
struct OpenFile {
  explicit OpenFile(const std::string& path) : descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor < 0 || fstat(descriptor, &status) != 0) fail(path);
  }
  ~OpenFile() {
    if (descriptor >= 0) close(descriptor);
  }

  int descriptor;
  struct stat status = {};
};

}  // namespace

MappedFile::MappedFile(int descriptor, size_t size, const std::string& path) : size_(size) {
  if (size == 0) return;
  void* memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) fail(path);
  data_ = static_cast<const uint8_t*>(memory);
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<uint8_t*>(data_), size_);
}

const MappedFile& WeightFiles::map(const std::string& path) {
  std::shared_ptr<MappedFile>& file = files_[path];
  if (file) return *file;
  const OpenFile opened(path);
  const FileId id(opened.status.st_dev, opened.status.st_ino);
  std::lock_guard lock(registry().mutex);
  std::weak_ptr<MappedFile>& known = registry().mapped[id];
  file = known.lock();
  if (!file) known = file = std::make_shared<MappedFile>(opened.descriptor, opened.status.st_size, path);
  return *file;
}

}  // namespace daysix
