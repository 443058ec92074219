#include <chrono>

#include "host/host-operations.h"

namespace daysix {

void stamp(const Stamp& c, const HostContext&) {
  const std::chrono::duration<double, std::micro> now = std::chrono::steady_clock::now().time_since_epoch();
  *c.at = now.count() - c.epoch;
}

}  // namespace daysix
