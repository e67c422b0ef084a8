// octet: INT8 inference of ONNX models on x86 CPUs.
//
//   octet::Model model = octet::Model::load("model.onnx");   // parsed, optimized; weights packed once; share it between threads
//   octet::Session session(model, {.threads = 2});           // arena and workspaces; one per concurrent caller
//   session.set_input("x", view);
//   session.run();
//   octet::TensorView y = session.output("y");               // valid until the next run
//
// Errors a user can cause throw octet::Error. The same model and input give the same bits on every ISA, with any number of
// threads, in every run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "octet/types.h"

namespace octet {

std::string_view version();

struct ModelOptions {
  // "reference", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "amx"; empty: the best this CPU has, capped by OCTET_ISA.
  // An unknown or unsupported name throws Error invalid_argument.
  std::string isa;
  std::vector<std::string> disabled_passes;
};

// An input or output as the model declares it.
struct ValueInfo {
  std::string name;
  DType dtype = DType::undefined;
  Shape shape;                       // -1 where the model leaves a dimension open
  std::vector<std::string> symbols;  // the open dimensions' names, "" elsewhere
};

class ModelImpl;

class Model {
 public:
  static Model load(const std::string& path, const ModelOptions& options = {});
  explicit Model(std::shared_ptr<ModelImpl> impl) : impl_(std::move(impl)) {}

  const std::vector<ValueInfo>& inputs() const;
  const std::vector<ValueInfo>& outputs() const;
  std::string_view isa() const;
  // Bytes of weights that inference reads: packed by the plans made so far (on the reference ISA: the constants as they are).
  size_t weight_bytes() const;
  ModelImpl& impl() const { return *impl_; }

 private:
  std::shared_ptr<ModelImpl> impl_;
};

struct SessionOptions {
  int threads = 0;       // 0: physical cores allowed by affinity and cgroup
  bool profile = false;  // take the time of every step
  // Decoders: the keys and values seen stay in the session, updated in place. Inputs past_key_values.N.* and outputs
  // present.N.* are the session's affair then; input_ids holds the new tokens only, attention_mask [batch, cache_length() +
  // new tokens].
  bool keep_cache = false;
};

// One step of a plan, in order of execution.
struct StepInfo {
  std::string node;    // the ONNX node it came from
  std::string op;      // "octet.Conv"
  std::string kernel;  // "conv u8s8 avx2 8x8 bins"; "eval" for an operator's scalar form
  std::string type;    // type of its first output
  std::string why;     // why it stayed in float or unfused; empty when nothing was declined
  bool int8 = false;
  double gmac = 0;   // multiply-accumulates, in 1e9
  size_t bytes = 0;  // read and written, weights included
  double ms = 0;     // median over the profiled runs
};

class Session {
 public:
  explicit Session(const Model& model, const SessionOptions& options = {});
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // Copies. The shape may differ from the last one where the model leaves dimensions open; the plan for each combination of
  // shapes is made once. Throws Error invalid_argument naming the input, what was given and what was expected.
  void set_input(std::string_view name, const TensorView& value);
  // Makes the plan for the shapes set (else the first run does). Throws when an input is missing.
  void prepare();
  void run();
  // Dense row-major, owned by the session.
  TensorView output(std::string_view name) const;
  TensorView output(size_t index) const;
  // The input's own memory, to be filled in place after prepare(); same shape until the next set_input.
  TensorView input(std::string_view name);

  // With keep_cache: how many tokens are in the cache. set_cache_length forgets those behind `length`, 0 all of them; it
  // throws Error invalid_argument when there are fewer.
  int64_t cache_length() const;
  void set_cache_length(int64_t length);

  int threads() const;
  size_t arena_bytes() const;
  // In order of execution; behind a step that runs graphs of its own (a branch, a loop's body) stand the steps of those that ran
  // last, named "step/inner step".
  std::vector<StepInfo> steps() const;

 private:
  friend struct SessionValues;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet
