// Strips made of weights in mapped files.
#pragma once
#include "host/strips.h"

namespace daysix {

/// As packStrips; the system reads the codes ahead, and they are no memory of the process afterwards.
void packMappedStrips(uint8_t* out, const StripSource& source, int64_t first, int64_t last);

}  // namespace daysix
