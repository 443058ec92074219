// Checkpoint files as memory: each is mapped read-only once in the process, however many ranks read it.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

namespace daysix {

/// A file's bytes; unmapped when the last owner goes.
class MappedFile {
 public:
  MappedFile(int descriptor, size_t size, const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_;
};

/// The files a backend and its streams read.
class WeightFiles {
 public:
  /// Throws std::system_error naming the path.
  const MappedFile& map(const std::string& path);

 private:
  std::unordered_map<std::string, std::shared_ptr<MappedFile>> files_;
};

}  // namespace daysix
