// Generated code, and the process-wide cache of it.
//
// A kernel is found by a key that spells out everything baked into its instructions; pointers and run-time sizes travel in
// an argument struct, so two layers of the same form share code. Looking up takes a lock; generating happens outside it,
// once a key, whoever asks first, and the others wait for that one. The cache holds weak references: code lives as long as a
// kernel object uses it.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>

namespace octet::kernels {

class Assembler;

// Finished machine code, executable and no longer writable.
class Code {
 public:
  explicit Code(std::unique_ptr<Assembler> assembler);
  ~Code();
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  template <class F>
  F entry() const {
    return reinterpret_cast<F>(entry_);
  }
  size_t bytes() const { return bytes_; }

 private:
  std::unique_ptr<Assembler> assembler_;
  void (*entry_)();
  size_t bytes_;
};

// Builds a key field by field.
class CodeKey {
 public:
  explicit CodeKey(const char* family) : text_(family) { text_ += '\0'; }
  template <class T>
  CodeKey& add(T value) {
    static_assert(std::has_unique_object_representations_v<T> || std::is_enum_v<T>, "padding would make equal keys differ");
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::shared_ptr<const Code> cached_code(const CodeKey& key, const std::function<std::unique_ptr<Assembler>()>& generate);
// Kernels alive in the cache, for tests and `octet inspect`.
size_t cached_code_count();

}  // namespace octet::kernels
