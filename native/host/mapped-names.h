// Which file lies at an address, for the one line that is left to say when a mapped file has become shorter.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace daysix {

/// While it lives, a fault in [data, data + size) ends the process with a line that names the file; any other is left to
/// whoever handled it before.
class MappedName {
 public:
  MappedName(const uint8_t* data, size_t size, const std::string& path);
  ~MappedName();
  MappedName(const MappedName&) = delete;
  MappedName& operator=(const MappedName&) = delete;

 private:
  int place_;
};

}  // namespace daysix
