// The Node-API face of the kernels. One stream is one JavaScript object; commands do not pass through here but through
// the stream's ring.
#include <napi.h>

#include <memory>
#include <optional>
#include <thread>

#include "host/decode.h"
#include "host/freed-memory.h"
#include "host/huge-pages.h"
#include "host/isa.h"
#include "host/probe.h"
#include "host/stream.h"
#include "host/mapped-strips.h"

namespace daysix {

namespace {

/// Memory of a typed array, which may be shared; Napi::TypedArray knows unshared ones only.
void* dataOf(napi_env env, napi_value array, size_t* length = nullptr) {
  void* data = nullptr;
  if (napi_get_typedarray_info(env, array, nullptr, length, &data, nullptr, nullptr) != napi_ok)
    throw Napi::TypeError::New(env, "expected a typed array");
  return data;
}

Napi::Value address(const Napi::CallbackInfo& info) {
  const auto at = reinterpret_cast<uintptr_t>(dataOf(info.Env(), info[0]));
  return Napi::Number::New(info.Env(), static_cast<double>(at));
}

/// operations: { name, words }[]
Napi::Array operationList(Napi::Env env) {
  Napi::Array list = Napi::Array::New(env);
  for (const auto& operation : operations()) {
    Napi::Array words = Napi::Array::New(env);
    for (const std::string& word : operation.words) words[words.Length()] = Napi::String::New(env, word);
    Napi::Object entry = Napi::Object::New(env);
    entry["name"] = Napi::String::New(env, operation.name);
    entry["words"] = words;
    list[list.Length()] = entry;
  }
  return list;
}

/// preferHugePages(bytes)
void askForHugePages(const Napi::CallbackInfo& info) {
  size_t size = 0;
  void* data = dataOf(info.Env(), info[0], &size);
  preferHugePages(data, size);
}

int64_t fieldOf(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().Int64Value();
}

/// An AddonStripShape with its fields by name: a weight without an address.
Weight stripShape(const Napi::Object& shape) {
  return {
      .dtype = static_cast<Dtype>(fieldOf(shape, "dtype")),
      .rows = fieldOf(shape, "rows"),
      .columns = fieldOf(shape, "columns"),
      .data = nullptr,
      .scales = nullptr,
      .layout = WeightLayout::rows,
      .group = fieldOf(shape, "group"),
      .int4 = static_cast<Int4Strips>(fieldOf(shape, "int4")),
  };
}

StripSource stripSource(const Napi::Object& source) {
  const auto address = [&](const char* name) { return reinterpret_cast<const uint8_t*>(fieldOf(source, name)); };
  StripSource strips = {
      .rows = stripShape(source),
      .order = static_cast<Int4Order>(fieldOf(source, "order")),
      .scaleType = static_cast<Dtype>(fieldOf(source, "scaleType")),
      .zeroPoints = address("zeroPoints"),
      .zeroPointBias = fieldOf(source, "zeroPointBias"),
  };
  strips.rows.data = address("data");
  strips.rows.scales = address("scales");
  return strips;
}

/// stripBytes(shape): of all strips
Napi::Value allStripBytes(const Napi::CallbackInfo& info) {
  const Weight rows = stripShape(info[0].As<Napi::Object>());
  return Napi::Number::New(info.Env(), static_cast<double>(stripsOf(rows) * stripBytes(rows)));
}

/// Strips of a source from number `first` up to `last`, and the memory for them.
struct WantedStrips {
  WantedStrips(const Napi::CallbackInfo& info) : source(stripSource(info[1].As<Napi::Object>())) {
    size_t size = 0;
    out = static_cast<uint8_t*>(dataOf(info.Env(), info[0], &size));
    first = info[2].As<Napi::Number>().Int64Value();
    last = first + static_cast<int64_t>(size) / stripBytes(source.rows);
    if (first < 0 || last > stripsOf(source.rows)) throw Napi::RangeError::New(info.Env(), "no such strips");
  }

  StripSource source;
  uint8_t* out;
  int64_t first, last;
};

/// Packs strips of a mapped file on one of Node's threads for files.
class StripWorker : public Napi::AsyncWorker {
 public:
  explicit StripWorker(const Napi::CallbackInfo& info)
      : AsyncWorker(info.Env()), deferred_(Napi::Promise::Deferred::New(info.Env())), strips_(info) {
    memory_ = Napi::Persistent(info[0].As<Napi::Object>());
  }

  Napi::Promise packed() const { return deferred_.Promise(); }

 protected:
  void Execute() override { packMappedStrips(strips_.out, strips_.source, strips_.first, strips_.last); }
  void OnOK() override { deferred_.Resolve(Env().Undefined()); }

 private:
  Napi::Promise::Deferred deferred_;
  WantedStrips strips_;
  Napi::ObjectReference memory_;
};

/// packStripsLater(out, source, first): Promise
Napi::Value packStripsLater(const Napi::CallbackInfo& info) {
  auto worker = std::make_unique<StripWorker>(info);
  const Napi::Promise packed = worker->packed();
  // It deletes itself.
  worker.release()->Queue();
  return packed;
}

/// packStrips(out, source, threads): all of them
void packIntoStrips(const Napi::CallbackInfo& info) {
  size_t size = 0;
  auto* out = static_cast<uint8_t*>(dataOf(info.Env(), info[0], &size));
  const StripSource source = stripSource(info[1].As<Napi::Object>());
  const int64_t bytes = stripBytes(source.rows), count = stripsOf(source.rows);
  if (static_cast<int64_t>(size) < count * bytes) throw Napi::RangeError::New(info.Env(), "too little memory");
  const int64_t threads = std::min<int64_t>(count, info[2].As<Napi::Number>().Int64Value());
  const auto pack = [&](int64_t thread) {
    const int64_t from = count * thread / threads, to = count * (thread + 1) / threads;
    packStrips(out + from * bytes, source, from, to);
  };
  std::vector<std::thread> helpers;
  for (int64_t thread = 1; thread < threads; thread++) helpers.emplace_back(pack, thread);
  if (threads > 0) pack(0);
  for (std::thread& helper : helpers) helper.join();
}

Napi::Value threadsFor(const Napi::CallbackInfo& info) {
  const auto number = [&](int i) { return info[i].As<Napi::Number>().Int32Value(); };
  return Napi::Number::New(info.Env(), grantedThreads(number(0), number(1), number(2)));
}

ProbeOptions probeOptions(const Napi::Object& options) {
  const auto number = [&](const char* name) { return options.Get(name).As<Napi::Number>().DoubleValue(); };
  return {
      .kernels = kernelsFor(options.Get("instructionSet").As<Napi::String>()),
      .threads = static_cast<int>(number("threads")),
      .time = std::chrono::duration<double>(number("seconds")),
  };
}

Napi::Value probedObject(Napi::Env env, const Probed& probed) {
  Napi::Object result = Napi::Object::New(env);
  result["seconds"] = Napi::Number::New(env, probed.seconds);
  result["amount"] = Napi::Number::New(env, probed.amount);
  return result;
}

/// probeRead({ instructionSet, threads, seconds }, { address, size, first, together }): { seconds, amount }
Napi::Value readProbe(const Napi::CallbackInfo& info) {
  const Napi::Object memory = info[1].As<Napi::Object>();
  const auto number = [&](const char* name) { return memory.Get(name).As<Napi::Number>().Int64Value(); };
  const ProbedMemory probed = {
      .data = reinterpret_cast<const uint8_t*>(number("address")),
      .size = number("size"),
      .first = number("first"),
      .together = memory.Get("together").As<Napi::Boolean>(),
  };
  if (probed.size < ProbedMemory::SLICE_BYTES) throw Napi::RangeError::New(info.Env(), "too little memory to probe");
  return probedObject(info.Env(), probeRead(probeOptions(info[0].As<Napi::Object>()), probed));
}

/// probeMultiply({ instructionSet, threads, seconds }, kind): { seconds, amount }
Napi::Value multiplyProbe(const Napi::CallbackInfo& info) {
  const auto kind = static_cast<MultiplyKind>(info[1].As<Napi::Number>().Int32Value());
  return probedObject(info.Env(), probeMultiply(probeOptions(info[0].As<Napi::Object>()), kind));
}

/// multiplyInstructions(instructionSet): what multiplies most of each kind
Napi::Value multiplyInstructions(const Napi::CallbackInfo& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  for (const MultiplyPeak& peak : kernelsFor(info[0].As<Napi::String>()).peaks) {
    names[names.Length()] = Napi::String::New(info.Env(), peak.instructions);
  }
  return names;
}

Napi::Object memoryObject(Napi::Env env, const WeightFile& file) {
  Napi::Object result = Napi::Object::New(env);
  result["address"] = Napi::Number::New(env, static_cast<double>(reinterpret_cast<uintptr_t>(file.data())));
  result["size"] = Napi::Number::New(env, static_cast<double>(file.size()));
  return result;
}

/// residentFiles(): { address, size }[]
Napi::Value residentMemory(const Napi::CallbackInfo& info) {
  Napi::Array result = Napi::Array::New(info.Env());
  for (const auto& file : residentFiles()) result[result.Length()] = memoryObject(info.Env(), *file);
  return result;
}

/// new WeightFiles({ resident, threads }): the files of a backend.
class WeightFilesObject : public Napi::ObjectWrap<WeightFilesObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "WeightFiles",
                       {InstanceMethod<&WeightFilesObject::open>("open"),
                        InstanceMethod<&WeightFilesObject::load>("load")});
  }

  explicit WeightFilesObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    const Napi::Object options = info[0].As<Napi::Object>();
    files_ = std::make_shared<WeightFiles>(WeightOptions{
        .resident = options.Get("resident").As<Napi::Boolean>(),
        .threads = options.Get("threads").As<Napi::Number>().Int32Value(),
    });
  }

  const std::shared_ptr<WeightFiles>& files() const { return files_; }

 private:
  /// open(path), load(path): { address, size }
  Napi::Value open(const Napi::CallbackInfo& info) { return memoryObject(info.Env(), file(info, &WeightFiles::open)); }
  Napi::Value load(const Napi::CallbackInfo& info) { return memoryObject(info.Env(), file(info, &WeightFiles::load)); }

  const WeightFile& file(const Napi::CallbackInfo& info, const WeightFile& (WeightFiles::*get)(const std::string&)) {
    try {
      return ((*files_).*get)(info[0].As<Napi::String>());
    } catch (const std::exception& error) {
      throw Napi::Error::New(info.Env(), error.what());
    }
  }

  std::shared_ptr<WeightFiles> files_;
};

/// new Stream({ header, words, instructionSet, threads, cores, atFence, files, onExecuted })
class StreamObject : public Napi::ObjectWrap<StreamObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Stream",
                       {InstanceAccessor<&StreamObject::threads>("threads"),
                        InstanceAccessor<&StreamObject::failure>("failure"),
                        InstanceMethod<&StreamObject::reset>("reset"), InstanceMethod<&StreamObject::fail>("fail"),
                        InstanceMethod<&StreamObject::wake>("wake"),
                        InstanceMethod<&StreamObject::announce>("announce"),
                        InstanceMethod<&StreamObject::waitForRoom>("waitForRoom"),
                        InstanceMethod<&StreamObject::close>("close")});
  }

  explicit StreamObject(const Napi::CallbackInfo& info) : ObjectWrap(info), env_(info.Env()) {
    const Napi::Object options = info[0].As<Napi::Object>();
    const Napi::Object header = options.Get("header").As<Napi::Object>();
    const Napi::Object words = options.Get("words").As<Napi::Object>();
    // Without references of our own the buffers could be freed before this object's finalizer stops the stream.
    header_ = Napi::Persistent(header);
    words_ = Napi::Persistent(words);
    const auto count = [&](const char* name) { return options.Get(name).As<Napi::Number>().Int32Value(); };
    const Ring ring = {
        .header = static_cast<RingHeader*>(dataOf(env_, header)),
        .words = static_cast<const double*>(dataOf(env_, words)),
        .capacity = words.Get("length").As<Napi::Number>().Uint32Value() / COMMAND_WORDS,
    };
    const std::string instructionSet = options.Get("instructionSet").As<Napi::String>();
    onExecuted_ =
        Napi::ThreadSafeFunction::New(env_, options.Get("onExecuted").As<Napi::Function>(), "daysix stream", 0, 1);
    // Only a stream that is waited for keeps the process alive.
    onExecuted_.Unref(env_);
    try {
      stream_.emplace(StreamOptions{
          .ring = ring,
          .kernels = kernelsFor(instructionSet),
          .threads = count("threads"),
          .cores = count("cores"),
          .atFence = options.Get("atFence").As<Napi::Boolean>(),
          .files = WeightFilesObject::Unwrap(options.Get("files").As<Napi::Object>())->files(),
          .onExecuted = [this] { tell(); },
      });
    } catch (const std::exception& error) {
      onExecuted_.Release();
      throw Napi::Error::New(env_, error.what());
    }
    napi_add_env_cleanup_hook(env_, stop, this);
  }

  ~StreamObject() override { end(); }

 private:
  /// A worker that is terminated stops its streams while the memory they read is still there.
  static void stop(void* self) { static_cast<StreamObject*>(self)->stream_.reset(); }

  void end() {
    if (!stream_) return;
    napi_remove_env_cleanup_hook(env_, stop, this);
    stream_.reset();
    onExecuted_.Release();
  }

  Stream& stream() {
    if (!stream_) throw Napi::Error::New(env_, "the stream is closed");
    return *stream_;
  }

  /// On the stream's thread.
  void tell() {
    onExecuted_.NonBlockingCall([told = onExecuted_](Napi::Env env, Napi::Function callback) {
      told.Unref(env);
      callback.Call({});
    });
  }

  Napi::Value threads(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), stream().threads()); }
  Napi::Value failure(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), stream().failure()); }
  void reset(const Napi::CallbackInfo&) { stream().reset(); }
  void fail(const Napi::CallbackInfo& info) { stream().fail(info[0].As<Napi::String>()); }
  void wake(const Napi::CallbackInfo&) { stream().wake(); }
  void waitForRoom(const Napi::CallbackInfo&) { stream().waitForRoom(); }
  void close(const Napi::CallbackInfo&) { end(); }
  /// announce(target): true if commands up to it have run; otherwise onExecuted will be called.
  Napi::Value announce(const Napi::CallbackInfo& info) {
    const bool executed = stream().announce(info[0].As<Napi::Number>().Uint32Value());
    if (!executed) onExecuted_.Ref(info.Env());
    return Napi::Boolean::New(info.Env(), executed);
  }

  Napi::Env env_;
  Napi::ObjectReference header_;
  Napi::ObjectReference words_;
  Napi::ThreadSafeFunction onExecuted_;
  std::optional<Stream> stream_;
};

Napi::Object init(Napi::Env env, Napi::Object exports) {
  keepFreedMemory();
  Napi::Array instructionSets = Napi::Array::New(env), fastDecode = Napi::Array::New(env);
  for (const KernelTable* table : supportedKernels()) {
    instructionSets[instructionSets.Length()] = Napi::String::New(env, table->name);
    if (table->fastDecode) fastDecode[fastDecode.Length()] = Napi::String::New(env, table->name);
  }
  exports["operations"] = operationList(env);
  exports["instructionSets"] = instructionSets;
  exports["fastDecode"] = fastDecode;
  exports["address"] = Napi::Function::New<address>(env, "address");
  exports["preferHugePages"] = Napi::Function::New<askForHugePages>(env, "preferHugePages");
  exports["grantedThreads"] = Napi::Function::New<threadsFor>(env, "grantedThreads");
  exports["stripBytes"] = Napi::Function::New<allStripBytes>(env, "stripBytes");
  exports["packStrips"] = Napi::Function::New<packIntoStrips>(env, "packStrips");
  exports["packStripsLater"] = Napi::Function::New<packStripsLater>(env, "packStripsLater");
  exports["probeRead"] = Napi::Function::New<readProbe>(env, "probeRead");
  exports["probeMultiply"] = Napi::Function::New<multiplyProbe>(env, "probeMultiply");
  exports["multiplyInstructions"] = Napi::Function::New<multiplyInstructions>(env, "multiplyInstructions");
  exports["residentFiles"] = Napi::Function::New<residentMemory>(env, "residentFiles");
  exports["WeightFiles"] = WeightFilesObject::define(env);
  exports["Stream"] = StreamObject::define(env);
  return exports;
}

NODE_API_MODULE(daysix, init)

}  // namespace

}  // namespace daysix
