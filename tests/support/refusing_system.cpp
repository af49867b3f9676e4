// Loaded before other libraries (LD_PRELOAD): the system refuses what environment variables name, as some clusters do.
//   REFUSE_FLOCK=ERRNO    flock(2) fails with this number
//   REFUSE_RECORDS=ERRNO  locks of fcntl(2) fail with it
//   REFUSE_THREADS=N      the process gets N threads besides its first one
//   REFUSE_SPACE=FILE     while FILE exists, no file below REFUSE_SPACE_IN can be written or flushed: no space is left
//   REFUSE_FLUSH=ERRNO    fsync(2) and fdatasync(2) fail with this number
//   REFUSE_FREE_ABOVE=N   file systems have at most N bytes free
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

int number(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? 0 : std::atoi(text);
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

int control(const char* name, int fd, int command, void* argument) {
  if (const int error = number("REFUSE_RECORDS");
      error != 0 && (command == F_SETLK || command == F_SETLKW || command == F_GETLK)) {
    errno = error;
    return -1;
  }
  return next<int(int, int, ...)>(name)(fd, command, argument);
}

/// fsync(2) or fdatasync(2).
int flush(const char* name, int fd, bool no_space) {
  if (const int error = no_space ? ENOSPC : number("REFUSE_FLUSH"); error != 0) {
    errno = error;
    return -1;
  }
  return next<int(int)>(name)(fd);
}

bool full(int fd) {
  const char *file = std::getenv("REFUSE_SPACE"), *folder = std::getenv("REFUSE_SPACE_IN");
  if (file == nullptr || folder == nullptr || ::access(file, F_OK) != 0) return false;
  char path[4096] = "";
  const ssize_t length = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path - 1);
  return length > 0 && std::strncmp(path, folder, std::strlen(folder)) == 0;
}

}  // namespace

extern "C" {

int flock(int fd, int operation) noexcept {
  if (const int error = number("REFUSE_FLOCK"); error != 0) {
    errno = error;
    return -1;
  }
  return next<int(int, int)>("flock")(fd, operation);
}

int fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return control("fcntl", fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return control("fcntl64", fd, command, argument);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) noexcept {
  static std::atomic<int> started{0};
  if (std::getenv("REFUSE_THREADS") != nullptr && started++ >= number("REFUSE_THREADS")) return EAGAIN;
  return next<int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>("pthread_create")(thread, attributes, start,
                                                                                                 argument);
}

int fsync(int fd) { return flush("fsync", fd, full(fd)); }

int fdatasync(int fd) { return flush("fdatasync", fd, full(fd)); }

ssize_t pwrite64(int fd, const void* data, std::size_t size, off64_t at) {
  if (full(fd)) {
    errno = ENOSPC;
    return -1;
  }
  return next<ssize_t(int, const void*, std::size_t, off64_t)>("pwrite64")(fd, data, size, at);
}

int statvfs64(const char* path, struct statvfs64* found) noexcept {
  const int result = next<int(const char*, struct statvfs64*)>("statvfs64")(path, found);
  if (std::getenv("REFUSE_FREE_ABOVE") != nullptr && result == 0)
    found->f_bavail =
        std::min<fsblkcnt64_t>(found->f_bavail, static_cast<fsblkcnt64_t>(number("REFUSE_FREE_ABOVE")) / found->f_frsize);
  return result;
}

int statvfs(const char* path, struct statvfs* found) noexcept {
  const int result = next<int(const char*, struct statvfs*)>("statvfs")(path, found);
  if (std::getenv("REFUSE_FREE_ABOVE") != nullptr && result == 0)
    found->f_bavail =
        std::min<fsblkcnt_t>(found->f_bavail, static_cast<fsblkcnt_t>(number("REFUSE_FREE_ABOVE")) / found->f_frsize);
  return result;
}

ssize_t write(int fd, const void* data, std::size_t size) {
  if (full(fd)) {
    errno = ENOSPC;
    return -1;
  }
  return next<ssize_t(int, const void*, std::size_t)>("write")(fd, data, size);
}

}  // extern "C"
