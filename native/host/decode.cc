#include "host/decode.h"

#include <cstddef>
#include <iterator>
#include <type_traits>

#include "host/host-operations.h"
#include "host/indices.h"
#include "host/ring.h"

namespace daysix {

namespace {

/// Reads a command's fields from its words.
class Reader {
 public:
  explicit Reader(const double* words) : at_(words) {}

  template <typename T>
  void operator()(const char*, T& field) {
    if constexpr (Composite<T>) visitFields(field, *this);
    else if constexpr (std::is_pointer_v<T>) field = reinterpret_cast<T>(static_cast<uintptr_t>(*at_++));
    else if constexpr (std::is_same_v<T, bool>) field = *at_++ != 0;
    else if constexpr (std::is_enum_v<T>) field = static_cast<T>(static_cast<int>(*at_++));
    else field = static_cast<T>(*at_++);
  }

 private:
  const double* at_;
};

/// Names the words that a command's fields take.
struct Namer {
  std::vector<std::string>& words;
  std::string prefix;

  template <typename T>
  void operator()(const char* name, T& field) {
    if constexpr (Composite<T>) visitFields(field, Namer{words, prefix + name + "."});
    else words.push_back(prefix + name);
  }
};

template <typename Command>
OperationDescription describe(const char* name) {
  Command command = {};
  OperationDescription description = {name, {}};
  visitFields(command, Namer{description.words, ""});
  return description;
}

template <typename Command>
Command read(const double* words) {
  Command command = {};
  visitFields(command, Reader(words));
  checkIndices(command);
  return command;
}

template <typename Command, auto Kernel>
void run(const double* words, const HostContext& context) {
  (context.kernels.*Kernel)(read<Command>(words), context.team);
}

template <typename Command, auto Operation>
void runOnHost(const double* words, const HostContext& context) {
  Operation(read<Command>(words), context);
}

using Run = void (*)(const double*, const HostContext&);

constexpr Run RUNS[] = {
#define FIELD(type, name)
#define STRUCT(Name, ...)
#define OPERATION(name, Name, ...) run<Name, &KernelTable::name>,
#define HOST_OPERATION(name, Name, ...) runOnHost<Name, name>,
#include "host/operations.h"
};

struct CountWords {
  int& count;
  template <typename T>
  constexpr void operator()(const char*, T& field) {
    if constexpr (Composite<T>) visitFields(field, *this);
    else count++;
  }
};

template <typename Command>
constexpr bool fits() {
  Command command = {};
  int count = 1;
  visitFields(command, CountWords{count});
  return count <= COMMAND_WORDS;
}

#define FIELD(type, name)
#define STRUCT(Name, ...)
#define OPERATION(name, Name, ...) static_assert(fits<Name>(), "a command holds 32 words");
#include "host/operations.h"

}  // namespace

// TypeScript writes a list of weights as it lies here.
static_assert(sizeof(Weight) == 64 && offsetof(Weight, rows) == 8 && offsetof(Weight, int4) == 56);

const std::vector<OperationDescription>& operations() {
  static const std::vector<OperationDescription> all = {
#define FIELD(type, name)
#define STRUCT(Name, ...)
#define OPERATION(name, Name, ...) describe<Name>(#name),
#include "host/operations.h"
  };
  return all;
}

void execute(const double* words, const HostContext& context) {
  RUNS[static_cast<int>(words[0])](words + 1, context);
}

}  // namespace daysix
