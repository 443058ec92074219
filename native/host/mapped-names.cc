#include "host/mapped-names.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <mutex>

namespace daysix {

namespace {

/// What a signal handler can read without a lock: `data` is set last, and taken away first.
struct Entry {
  std::atomic<const uint8_t*> data = nullptr;
  size_t size = 0;
  char path[1024] = {};
};

/// More files than a checkpoint has; what finds no place is not named.
constexpr int PLACES = 1024;
Entry entries[PLACES];
std::mutex mutex;
struct sigaction before = {};

/// A line put together without allocating.
class Line {
 public:
  Line& text(const char* from) {
    while (*from && length_ < sizeof text_) text_[length_++] = *from++;
    return *this;
  }
  Line& number(uint64_t value) {
    char digits[21];
    char* at = digits + sizeof digits;
    *--at = 0;
    do *--at = static_cast<char>('0' + value % 10);
    while (value /= 10);
    return text(at);
  }
  void print() const {
    for (size_t done = 0; done < length_;) {
      const ssize_t count = write(STDERR_FILENO, text_ + done, length_ - done);
      if (count <= 0) return;
      done += count;
    }
  }

 private:
  char text_[sizeof Entry::path + 256];
  size_t length_ = 0;
};

[[noreturn]] void endFor(const Entry& entry, uint64_t at) {
  Line line;
  line.text("daysix: ").text(entry.path);
  struct stat now = {};
  if (stat(entry.path, &now) == 0 && static_cast<uint64_t>(now.st_size) < entry.size) {
    line.text(" has become shorter while it was in use: ").number(now.st_size).text(" bytes instead of ");
    line.number(entry.size).text("\n");
  } else {
    line.text(" cannot be read at byte ").number(at).text(" any more\n");
  }
  line.print();
  _exit(1);
}

/// Calls nothing that is not safe in a signal handler.
void onBusError(int signal, siginfo_t* info, void* context) {
  const auto* address = static_cast<const uint8_t*>(info->si_addr);
  // Of a signal that somebody sent there is no address.
  const bool isAccess = info->si_code > 0;
  for (const Entry& entry : entries) {
    const uint8_t* data = entry.data.load(std::memory_order_acquire);
    if (isAccess && data && address >= data && address < data + entry.size) endFor(entry, address - data);
  }
  if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(signal);
  } else {
    std::signal(signal, SIG_DFL);
    raise(signal);
  }
}

void watch() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = onBusError;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &before);
  });
}

}  // namespace

MappedName::MappedName(const uint8_t* data, size_t size, const std::string& path) : place_(0) {
  watch();
  std::lock_guard lock(mutex);
  while (place_ < PLACES && entries[place_].data) place_++;
  if (place_ == PLACES) return;
  Entry& entry = entries[place_];
  entry.size = size;
  const size_t length = std::min(path.size(), sizeof entry.path - 1);
  std::memcpy(entry.path, path.data(), length);
  entry.path[length] = 0;
  entry.data.store(data, std::memory_order_release);
}

MappedName::~MappedName() {
  std::lock_guard lock(mutex);
  if (place_ < PLACES) entries[place_].data.store(nullptr, std::memory_order_release);
}

}  // namespace daysix
