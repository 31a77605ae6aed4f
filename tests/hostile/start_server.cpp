// SPDX-License-Identifier: Apache-2.0
// Loaded before t2v (LD_PRELOAD): the program's main() runs in a fork for every command line that
// comes in, with the engine's libraries opened once before. Most of a refusal's 0.3 s is opening
// them, which hundreds of cases would pay again.
//
// Standard input: a request's length, 4 bytes, then its words, each with a zero behind it: the files
// for standard output and standard error, the seconds it may take, the arguments. Standard output:
// a line with its wait status, processor time in microseconds and peak memory in kB.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using Main = int (*)(int, char**, char**);
Main program_main = nullptr;

void require(bool fact, const char* what) {
  if (fact) return;
  std::perror(what);
  _exit(99);
}

/// False at the end of the input.
bool read_all(void* to, size_t size) {
  auto* at = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t got = read(0, at, size);
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

std::vector<std::string> read_request() {
  uint32_t size = 0;
  if (!read_all(&size, sizeof size)) _exit(0);
  std::string bytes(size, '\0');
  require(read_all(bytes.data(), size), "request");
  std::vector<std::string> words;
  for (size_t at = 0; at < size; at += words.back().size() + 1) words.emplace_back(bytes.c_str() + at);
  require(words.size() >= 3, "request");
  return words;
}

void redirect(const char* file, int flags, int as) {
  const int fd = open(file, flags, 0600);
  require(fd >= 0 && dup2(fd, as) == as, file);
  close(fd);
}

[[noreturn]] void run(std::vector<std::string>& words, char* name, char** environment) {
  redirect("/dev/null", O_RDONLY, 0);
  redirect(words[0].c_str(), O_WRONLY | O_CREAT | O_TRUNC, 1);
  redirect(words[1].c_str(), O_WRONLY | O_CREAT | O_TRUNC, 2);
  alarm(static_cast<unsigned>(std::atoi(words[2].c_str())));
  std::vector<char*> arguments{name};
  for (size_t i = 3; i < words.size(); ++i) arguments.push_back(words[i].data());
  arguments.push_back(nullptr);
  exit(program_main(static_cast<int>(arguments.size() - 1), arguments.data(), environment));
}

int serve(int, char** argv, char** environment) {
  const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  if (!dlopen((folder / "libt2v.so").c_str(), RTLD_NOW | RTLD_LOCAL)) {
    std::fprintf(stderr, "%s\n", dlerror());
    _exit(99);
  }
  while (true) {
    std::vector<std::string> words = read_request();
    const pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) run(words, argv[0], environment);
    int status = 0;
    rusage usage{};
    require(wait4(child, &status, 0, &usage) == child, "wait4");
    const auto microseconds = [](const timeval& time) { return time.tv_sec * 1'000'000L + time.tv_usec; };
    dprintf(1, "%d %ld %ld\n", status, microseconds(usage.ru_utime) + microseconds(usage.ru_stime), usage.ru_maxrss);
  }
}

}  // namespace

/// In place of the C library's, which gets serve() as the program's main().
extern "C" __attribute__((visibility("default"))) int __libc_start_main(Main main, int argc, char** argv,
                                                                        void (*init)(), void (*fini)(),
                                                                        void (*rtld_fini)(), void* stack_end) {
  using Start = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);
  const auto start = reinterpret_cast<Start>(dlsym(RTLD_NEXT, "__libc_start_main"));
  require(start != nullptr, "__libc_start_main");
  unsetenv("LD_PRELOAD");
  program_main = main;
  return start(&serve, argc, argv, init, fini, rtld_fini, stack_end);
}
