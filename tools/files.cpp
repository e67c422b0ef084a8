#include "tools/files.h"

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "octet/types.h"

namespace octet::tools {
namespace {

namespace fs = std::filesystem;

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw Error(ErrorCode::io, path + ": " + what + ": " + std::strerror(errno));
}

std::string beside(const std::string& path) { return path + ".part" + std::to_string(::getpid()); }

}  // namespace

std::string read_file(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) throw Error(ErrorCode::io, path + ": is a folder, expected a file");
  File file(std::fopen(path.c_str(), "rb"));
  if (!file) fail(path, "cannot be read");
  std::string bytes;
  char buffer[1 << 16];
  while (const size_t n = std::fread(buffer, 1, sizeof(buffer), file.get())) bytes.append(buffer, n);
  if (std::ferror(file.get())) fail(path, "cannot be read");
  return bytes;
}

void check_writable(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) throw Error(ErrorCode::io, path + ": cannot be written: it is a folder");
  const std::string part = beside(path);
  File file(std::fopen(part.c_str(), "wb"));
  if (!file) fail(path, "cannot be written");
  file.reset();
  std::remove(part.c_str());
}

void write_file(const std::string& path, std::string_view bytes) {
  check_writable(path);
  const std::string part = beside(path);
  File file(std::fopen(part.c_str(), "wb"));
  if (!file) fail(path, "cannot be written");
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size();
  if (!written || std::fclose(file.release()) != 0 || std::rename(part.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    std::remove(part.c_str());
    errno = reason;
    fail(path, "cannot be written");
  }
}

TemporaryFolder::TemporaryFolder() {
  const char* base = std::getenv("TMPDIR");
  path_ = std::string(base && *base ? base : "/tmp") + "/octet-XXXXXX";
  if (!::mkdtemp(path_.data())) fail(path_, "no temporary folder can be made");
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace octet::tools
