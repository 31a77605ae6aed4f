// SPDX-License-Identifier: Apache-2.0
#include "commands/signals.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>

#include "io/atomic_file.hpp"
#include "io/sigbus.hpp"

namespace t2v::commands {

namespace {

std::atomic<int> stop_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "used in a signal handler");

extern "C" void on_stop_signal(int signal) {
  int none = 0;
  if (stop_signal.compare_exchange_strong(none, signal)) return;
  io::AtomicFile::unlink_all_temporaries();
  _exit(signal == SIGINT ? exit_code(ErrorCode::interrupted) : exit_code(ErrorCode::terminated));
}

}  // namespace

void install_signal_handlers() {
  io::install_sigbus_handler();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler == SIG_IGN) continue;  // nohup, or a shell's background job
    action = {};
    action.sa_handler = on_stop_signal;
    action.sa_flags = SA_RESTART;
    sigaction(signal, &action, nullptr);
  }
}

bool stop_asked() noexcept { return stop_signal.load() != 0; }

ErrorCode stop_code() noexcept {
  const int signal = stop_signal.load();
  return signal == 0 || signal == SIGINT ? ErrorCode::interrupted : ErrorCode::terminated;
}

void throw_if_stopped() {
  if (stop_asked()) {
    throw Error(ErrorCode::interrupted, stop_code() == ErrorCode::terminated ? "terminated" : "interrupted");
  }
}

}  // namespace t2v::commands
