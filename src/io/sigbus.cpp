// SPDX-License-Identifier: Apache-2.0
#include "io/sigbus.hpp"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "io/atomic_file.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

struct Mapping {
  std::atomic<uintptr_t> begin{0};  // 0: the slot is free; kTaken: being filled
  std::atomic<uintptr_t> end{0};
  std::atomic<const char*> path{nullptr};
};
constexpr uintptr_t kTaken = 1;

std::array<Mapping, 1024> mappings;
struct sigaction previous_action;

void say(const char* text) noexcept {
  const ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
  static_cast<void>(ignored);
}

// Only async-signal-safe calls below.
void on_sigbus(int, siginfo_t* info, void*) noexcept {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const auto& mapping : mappings) {
    const uintptr_t begin = mapping.begin.load();
    if (begin <= kTaken || address < begin || address >= mapping.end.load()) continue;
    const char* path = mapping.path.load();
    say("t2v: error: bad file: ");
    say(path ? path : "a mapped file");
    say(": wanted all of its bytes, got a file that was cut short or became unreadable while in "
        "use\n");
    say("hint: leave model files alone during a run, and check the disk\n");
    AtomicFile::unlink_all_temporaries();
    _exit(exit_code(ErrorCode::bad_input));
  }
  sigaction(SIGBUS, &previous_action, nullptr);  // returning repeats the fault under the old action
}

}  // namespace

void install_sigbus_handler() {
  struct sigaction action {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  struct sigaction current {};
  sigaction(SIGBUS, nullptr, &current);
  if ((current.sa_flags & SA_SIGINFO) && current.sa_sigaction == on_sigbus) return;
  sigaction(SIGBUS, &action, &previous_action);
}

int watch_mapping(const void* begin, size_t size, const char* path) noexcept {
  for (size_t i = 0; i < mappings.size(); ++i) {
    uintptr_t free_slot = 0;
    if (!mappings[i].begin.compare_exchange_strong(free_slot, kTaken)) continue;
    mappings[i].path = path;
    mappings[i].end = reinterpret_cast<uintptr_t>(begin) + size;
    mappings[i].begin = reinterpret_cast<uintptr_t>(begin);
    return static_cast<int>(i);
  }
  return -1;
}

void forget_mapping(int slot) noexcept {
  if (slot < 0) return;
  auto& mapping = mappings[static_cast<size_t>(slot)];
  mapping.begin = kTaken;
  mapping.path = nullptr;
  mapping.end = 0;
  mapping.begin = 0;
}

}  // namespace t2v::io
