// SPDX-License-Identifier: Apache-2.0
#include "io/atomic_file.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>

#include "io_support.hpp"

namespace t2v::test {
namespace {

using io::AtomicFile;
using io::IfExists;

TEST(AtomicFile, nothing_is_visible_before_commit_and_nothing_remains_without) {
  TempFolder folder;
  {
    AtomicFile file(folder / "out.mp4");
    file.write("half");
    EXPECT_FALSE(std::filesystem::exists(folder / "out.mp4"));
    EXPECT_EQ(folder.list().size(), 1u);
    EXPECT_TRUE(folder.list()[0].starts_with(".out.mp4."));
    EXPECT_TRUE(folder.list()[0].ends_with(".part"));
  }
  EXPECT_TRUE(folder.list().empty());
  AtomicFile file(folder / "out.mp4");
  file.write("whole");
  AtomicFile moved = std::move(file);
  moved.commit();
  EXPECT_EQ(read_all(folder / "out.mp4"), "whole");
  EXPECT_EQ(folder.list(), std::vector<std::string>{"out.mp4"});
}

TEST(AtomicFile, Row57_an_existing_file_is_refused_or_replaced) {
  TempFolder folder;
  folder.write("a", "old");
  expect_bad([&] { AtomicFile(folder / "a", IfExists::refuse); }, "got one that exists", ErrorCode::output);
  AtomicFile file(folder / "a", IfExists::replace);
  file.write("new");
  EXPECT_EQ(read_all(folder / "a"), "old");
  file.commit();
  EXPECT_EQ(read_all(folder / "a"), "new");
}

TEST(AtomicFile, Row58_of_two_writers_the_second_is_refused_and_leaves_nothing) {
  TempFolder folder;
  AtomicFile first(folder / "a", IfExists::refuse), second(folder / "a", IfExists::refuse);
  first.write("first");
  second.write("second");
  first.commit();
  expect_bad([&] { second.commit(); }, "got one that exists", ErrorCode::output);
  second.discard();
  EXPECT_EQ(read_all(folder / "a"), "first");
  EXPECT_EQ(folder.list(), std::vector<std::string>{"a"});
}

TEST(AtomicFile, Row56_places_that_cannot_be_written_fail_at_once) {
  TempFolder folder;
  const auto refuse = [](const std::filesystem::path& path, const std::string& part) {
    expect_bad([&] { AtomicFile file(path); }, part, ErrorCode::output);
  };
  refuse(folder / "none/a", "does not exist");
  refuse(folder.path(), "got a folder");
  refuse(folder.path().string() + "/", "got a folder");
  refuse(folder.write("plain", "") / "a", "");
  refuse(folder / std::string(300, 'a'), "at most 255");
  refuse("/dev/null", "device, pipe");
  AtomicFile longest(folder / std::string(255, 'a'));
  longest.commit();
  EXPECT_TRUE(std::filesystem::exists(folder / std::string(255, 'a')));
}

TEST(AtomicFile, Row53_leftovers_of_dead_processes_are_removed_and_others_kept) {
  TempFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    auto* file = new AtomicFile(folder / "out.mp4");
    file->write("x");
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_EQ(folder.list().size(), 1u);
  folder.write(".out.mp4.notes.part", "mine");
  folder.write(".other.mp4.1-x.part", "mine");
  AtomicFile alive(folder / "out.mp4");
  EXPECT_EQ(folder.list().size(), 3u);
  AtomicFile again(folder / "out.mp4");
  EXPECT_EQ(folder.list().size(), 4u);
  EXPECT_TRUE(std::filesystem::exists(alive.temp_path()));
}

TEST(AtomicFile, a_link_is_followed_not_replaced) {
  TempFolder folder;
  folder.write("real/file", "old");
  std::filesystem::create_symlink("real/file", folder / "link");
  AtomicFile file(folder / "link");
  file.write("new");
  file.commit();
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(read_all(folder / "real/file"), "new");
}

TEST(AtomicFile, Row55_a_file_size_limit_is_an_output_error) {
  TempFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    int code = 0;
    try {
      AtomicFile file(folder / "a");
      file.write(std::string(5000, 'x'));
      file.commit();
    } catch (const Error& error) {
      code = exit_code(error.code());
    }
    _exit(code);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 6);
  EXPECT_TRUE(folder.list().empty());
}

TEST(AtomicFile, temporaries_can_be_removed_from_a_signal_handler) {
  TempFolder folder;
  AtomicFile a(folder / "a"), b(folder / "b");
  AtomicFile::unlink_all_temporaries();
  EXPECT_TRUE(folder.list().empty());
}

}  // namespace
}  // namespace t2v::test
