#include "frontends/onnx/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "frontends/onnx/draft.h"
#include "octet/types.h"

namespace octet::onnx {

namespace {

std::string errno_text(int code) { return std::generic_category().message(code); }

uint64_t regular_size(int fd, const std::string& context) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) throw Error(ErrorCode::io, context + ": cannot be examined: " + errno_text(errno));
  if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::io, context + ": is not a regular file");
  return static_cast<uint64_t>(status.st_size);
}

// Bytes read; fewer than asked only at the end of the file.
size_t read_at(int fd, std::byte* out, size_t count, uint64_t offset, const std::string& context) {
  size_t done = 0;
  while (done < count) {
    const ssize_t got = ::pread(fd, out + done, count - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorCode::io, context + ": cannot be read: " + errno_text(errno));
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

int open_for_reading(const std::string& path) { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }

}  // namespace

std::string read_file(const std::string& path, uint64_t limit) {
  const int fd = open_for_reading(path);
  if (fd < 0) throw Error(ErrorCode::io, path + ": cannot be opened: " + errno_text(errno));
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{fd};
  const uint64_t size = regular_size(fd, path);
  if (size > limit)
    throw Error(ErrorCode::invalid_model, path + ": is " + std::to_string(size) + " bytes, expected at most " +
                                              std::to_string(limit) + "; larger models keep their weights in external data");
  std::string bytes(size, '\0');
  bytes.resize(read_at(fd, reinterpret_cast<std::byte*>(bytes.data()), bytes.size(), 0, path));
  return bytes;
}

ExternalFile::ExternalFile(const std::string& folder, const ExternalSlice& slice, const std::string& file,
                           const std::string& what)
    : offset_(slice.offset) {
  namespace fs = std::filesystem;
  const std::string shown = printable(slice.location);
  context_ = file + ": " + what + ": external data '" + shown + "'";
  const fs::path relative(slice.location);
  if (slice.location.empty() || slice.location.find('\0') != std::string::npos || relative.is_absolute())
    throw Error(ErrorCode::invalid_model, context_ + ": expected a path relative to the model's folder");
  for (const fs::path& part : relative)
    if (part == "..") throw Error(ErrorCode::invalid_model, context_ + ": leaves the model's folder; expected no '..'");

  std::error_code error;
  const fs::path root = fs::canonical(fs::path(folder), error);
  if (error) throw Error(ErrorCode::io, context_ + ": folder '" + folder + "' cannot be resolved: " + error.message());
  const fs::path target = fs::canonical(root / relative, error);
  if (error) throw Error(ErrorCode::io, context_ + ": cannot be resolved: " + error.message());
  const fs::path inside = target.lexically_relative(root);
  if (inside.empty() || *inside.begin() == "..")
    throw Error(ErrorCode::invalid_model,
                context_ + ": a symbolic link leaves the model's folder; expected a file inside it");

  fd_ = ::open(target.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd_ < 0) throw Error(ErrorCode::io, context_ + ": cannot be opened: " + errno_text(errno));
  try {
    const uint64_t size = regular_size(fd_, context_);
    if (slice.offset > size || slice.length > size - slice.offset)
      throw Error(ErrorCode::invalid_model, context_ + ": expected " + std::to_string(slice.length) + " bytes at offset " +
                                                std::to_string(slice.offset) + ", but the file has " + std::to_string(size) +
                                                " bytes");
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

ExternalFile::~ExternalFile() { ::close(fd_); }

void ExternalFile::read(std::span<std::byte> out) const {
  if (read_at(fd_, out.data(), out.size(), offset_, context_) != out.size())
    throw Error(ErrorCode::io, context_ + ": ended while it was read");
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  for (int attempt = 0; fd_ < 0; ++attempt) {
    beside_ = path_ + "." + std::to_string(::getpid()) + "." + std::to_string(attempt) + ".partial";
    fd_ = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && (errno != EEXIST || attempt == 100))
      throw Error(ErrorCode::io, path_ + ": cannot be written: " + errno_text(errno));
  }
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(beside_.c_str());
}

void AtomicFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw Error(ErrorCode::io, path_ + ": cannot be written: " + errno_text(errno));
    bytes.remove_prefix(static_cast<size_t>(put));
  }
}

void AtomicFile::commit() {
  const int fd = fd_;
  fd_ = -1;
  int failed = ::fsync(fd) != 0 ? errno : 0;
  if (::close(fd) != 0 && failed == 0) failed = errno;
  if (failed == 0 && std::rename(beside_.c_str(), path_.c_str()) != 0) failed = errno;
  if (failed == 0) return;
  ::unlink(beside_.c_str());
  throw Error(ErrorCode::io, path_ + ": cannot be written: " + errno_text(failed));
}

}  // namespace octet::onnx
