// Checkpoint files as memory: each is mapped read-only, or copied, once in the process, however many ranks read it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "host/mapped-names.h"

namespace daysix {

/// Mapped memory, which the destructor unmaps.
struct Mapping {
  Mapping() = default;
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  uint8_t* data = nullptr;
  size_t size = 0;
};

/// How a file that is loaded becomes memory: mapped, or read by some threads into huge pages where the system has them.
struct WeightOptions {
  bool resident = false;
  int threads = 1;
};

/// A file's bytes; gone with the last owner.
class WeightFile {
 public:
  WeightFile(int descriptor, size_t size, const std::string& path, const WeightOptions& options);

  const uint8_t* data() const { return mapping_.data; }
  size_t size() const { return size_; }

 private:
  void map(int descriptor, const std::string& path);
  void copy(int descriptor, int threads);

  Mapping mapping_;
  /// Of a mapping, unnamed before it is unmapped.
  std::optional<MappedName> name_;
  size_t size_;
};

/// The files a backend and its streams read.
class WeightFiles {
 public:
  explicit WeightFiles(WeightOptions options = {}) : options_(options) {}
  /// Mapped, unless it was loaded. Both throw std::system_error naming the path.
  const WeightFile& open(const std::string& path) { return get(path, {}); }
  const WeightFile& load(const std::string& path) { return get(path, options_); }

 private:
  const WeightFile& get(const std::string& path, const WeightOptions& options);

  WeightOptions options_;
  std::unordered_map<std::string, std::shared_ptr<WeightFile>> files_;
};

/// The copies that the process holds now.
std::vector<std::shared_ptr<WeightFile>> residentFiles();

}  // namespace daysix
