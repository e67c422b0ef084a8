// Whole files in and out. A file is written beside its place and then renamed, so that nobody ever sees half of one.
#pragma once

#include <string>
#include <string_view>

namespace octet::tools {

// Throw Error io, naming the path and the system's reason.
std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view bytes);

// Throws Error io when a file could not be written at `path`; to be asked before long work whose result goes there.
void check_writable(const std::string& path);

// A fresh folder under TMPDIR (or /tmp), removed with all it holds at the end of its life.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace octet::tools
