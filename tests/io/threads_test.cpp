// SPDX-License-Identifier: Apache-2.0
// What several threads use at once: the table of mapped files that the SIGBUS handler reads, and the list of temporary
// files that signal handlers remove. ThreadSanitizer watches this test (tests/sanitized).
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "io/atomic_file.hpp"
#include "io/mmap_file.hpp"
#include "io_support.hpp"
#include "t2v/error.hpp"

namespace t2v::io {
namespace {

constexpr int kThreads = 4, kRounds = 50;

void in_threads(const std::function<void(int)>& work) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
  for (auto& thread : threads) thread.join();
}

TEST(Threads, files_are_mapped_and_left_side_by_side) {
  const test::TempFolder folder;
  const auto file = folder.write("a", "bytes");
  in_threads([&](int) {
    for (int round = 0; round < kRounds; ++round) {
      const auto mapped = MmapFile::open(file);
      EXPECT_EQ(mapped->bytes().size(), 5U);
      EXPECT_TRUE(mapped->unchanged());
    }
  });
}

TEST(Threads, files_are_written_and_dropped_side_by_side) {
  const test::TempFolder folder;
  in_threads([&](int thread) {
    for (int round = 0; round < kRounds; ++round) {
      const auto name = "f" + std::to_string(thread) + "_" + std::to_string(round);
      AtomicFile file(folder / name);
      if (round % 2 == 0) continue;  // dropped
      file.write("x");
      file.commit();
    }
  });
  EXPECT_EQ(folder.list().size(), size_t{kThreads * kRounds / 2});
}

/// The program's handler of a second signal, at any moment of other threads. The thread raises it for itself: gcc 12's
/// ThreadSanitizer now and then loses a signal to the whole process while its first thread starts or joins others.
TEST(Threads, Row52_the_handler_of_a_signal_removes_temporaries_beside_running_threads) {
  const test::TempFolder folder;
  for (int child = 0; child < 20; ++child) {
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      alarm(60);  // a signal that is lost fails here, not at the limit of the whole test
      std::signal(SIGUSR1, [](int) {
        AtomicFile::unlink_all_temporaries();
        _exit(0);
      });
      in_threads([&](int thread) {
        for (int round = 0;; ++round) {
          if (thread == 0 && round == child) std::raise(SIGUSR1);
          try {
            AtomicFile(folder / std::to_string(thread)).write("x");
          } catch (const Error&) {  // its temporary was taken away
          }
        }
      });
    }
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
}

}  // namespace
}  // namespace t2v::io
