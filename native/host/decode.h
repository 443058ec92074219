// Commands as words, back to the structs of commands.h.
#pragma once
#include <string>
#include <vector>

#include "host/host-operations.h"

namespace daysix {

struct OperationDescription {
  const char* name;
  /// What each word after the operation's number holds: an argument, or a field of one as "argument.field".
  std::vector<std::string> words;
};

/// The operations in the order of their numbers.
const std::vector<OperationDescription>& operations();

/// Runs the command that `words` hold. Throws what the kernel throws, std::out_of_range for an index it may not follow.
void execute(const double* words, const HostContext& context);

}  // namespace daysix
