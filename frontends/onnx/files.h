// Files: whole reads of regular files, reads confined to a folder, and writes that appear at once or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace octet::onnx {

// Throws Error io naming the path; invalid_model when it is larger than `limit`.
std::string read_file(const std::string& path, uint64_t limit);

// Part of a file named inside a model. `out` is filled completely or an Error naming `file` and `what` is thrown.
struct ExternalSlice {
  std::string location;
  uint64_t offset = 0;
  uint64_t length = 0;
};
// Opens `slice.location` inside `folder`, confined to it with symbolic links resolved, and checks that the slice lies in the
// file. The size check is apart from the read so that nothing is allocated for a slice that is not there.
class ExternalFile {
 public:
  ExternalFile(const std::string& folder, const ExternalSlice& slice, const std::string& file, const std::string& what);
  ~ExternalFile();
  ExternalFile(const ExternalFile&) = delete;
  ExternalFile& operator=(const ExternalFile&) = delete;
  void read(std::span<std::byte> out) const;  // slice.length bytes

 private:
  int fd_ = -1;
  uint64_t offset_;
  std::string context_;
};

// A file that comes into being under its name at commit(), complete; without commit nothing is left behind.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(std::string_view bytes);
  void commit();

 private:
  std::string path_;
  std::string beside_;
  int fd_ = -1;
};

}  // namespace octet::onnx
