// SPDX-License-Identifier: Apache-2.0
// When the output can't be written: the right error, and never a broken file under the final name.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "media_support.hpp"

namespace t2v::media::test {
namespace {

constexpr const char* kFiles[] = {"a.mp4", "a.mov", "a.mkv", "a.webm", "a.gif", "a.webp", "a.y4m", "a%03d.png"};

/// Frames that do not compress.
Picture noise(int64_t width, int64_t height, uint32_t seed) {
  Picture picture = gradient(width, height, 0);
  for (uint8_t& value : picture.rgb) value = static_cast<uint8_t>((seed = seed * 1664525 + 1013904223) >> 24);
  return picture;
}

void write_noise(const fs::path& path, const VideoSpec& spec, int frames) {
  auto sink = open_sink(path, spec);
  for (int i = 0; i < frames; ++i) sink->write(noise(spec.width, spec.height, static_cast<uint32_t>(i)).view());
  sink->finish();
}

/// Runs `action` in a child process; its exit code is the Error's, 0 without one, 99 for anything
/// else.
int exit_code_of(const std::function<void()>& action) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      action();
      ::_exit(0);
    } catch (const Error& error) {
      ::_exit(exit_code(error.code()));
    } catch (...) {
      ::_exit(99);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void expect_no_whole_file(const TempFolder& folder, const std::string& name) {
  for (const std::string& left : folder.names()) {
    // Of a sequence, the frames that were finished stay; they are whole.
    if (name.find('%') != std::string::npos && left.ends_with(".png") && left[0] != '.') {
      std::vector<uint8_t> rgb;
      EXPECT_TRUE(open_video(folder / left)->next(rgb)) << left;
      continue;
    }
    ADD_FAILURE() << name << " left " << left;
  }
}

TEST(Failures, Row70_no_frames_is_an_error_and_leaves_no_file) {
  for (const char* name : kFiles) {
    TempFolder folder;
    auto sink = open_sink(folder / name, spec_of(32, 32));
    error_of(ErrorCode::output, [&] { sink->finish(); });
    sink.reset();
    EXPECT_TRUE(folder.names().empty()) << name;
  }
}

TEST(Failures, without_finish_nothing_appears) {
  for (const char* name : kFiles) {
    TempFolder folder;
    {
      auto sink = open_sink(folder / name, spec_of(32, 32));
      for (int i = 0; i < 5; ++i) sink->write(gradient(32, 32, i).view());
    }
    expect_no_whole_file(folder, name);
  }
}

TEST(Failures, Row57_an_existing_file_is_refused_at_open_and_kept) {
  for (const char* name : kFiles) {
    TempFolder folder;
    write_clip(folder / name, spec_of(32, 32), 2);
    const fs::path one = std::string_view(name) == "a%03d.png" ? folder / "a000.png" : folder / name;
    const auto before = read_bytes(one);
    const std::string message = error_of(ErrorCode::output, [&] { open_sink(folder / name, spec_of(32, 32)); });
    EXPECT_NE(message.find("--overwrite"), std::string::npos) << message;
    EXPECT_TRUE(read_bytes(one) == before) << name;
  }
}

TEST(Failures, Row57_overwriting_is_atomic) {
  TempFolder folder;
  VideoSpec spec = spec_of(32, 32);
  write_clip(folder / "a.mp4", spec, 2);
  const auto before = read_bytes(folder / "a.mp4");
  spec.overwrite = true;
  auto sink = open_sink(folder / "a.mp4", spec);
  for (int i = 0; i < 9; ++i) sink->write(gradient(32, 32, i).view());
  EXPECT_TRUE(read_bytes(folder / "a.mp4") == before);
  sink->finish();
  EXPECT_FALSE(read_bytes(folder / "a.mp4") == before);
}

TEST(Failures, Row56_a_place_that_can_not_be_written_is_refused_at_open) {
  TempFolder folder;
  std::ofstream(folder / "file") << "x";
  for (const char* name : kFiles) {
    error_of(ErrorCode::output, [&] { open_sink(folder / "missing" / name, spec_of(32, 32)); });
    error_of(ErrorCode::output, [&] { open_sink(folder / "file" / name, spec_of(32, 32)); });
  }
  fs::create_directory(folder / "folder.mp4");
  error_of(ErrorCode::output, [&] { open_sink(folder / "folder.mp4", spec_of(32, 32)); });
  error_of(ErrorCode::output, [&] { open_sink(folder / (std::string(300, 'n') + ".mp4"), spec_of(32, 32)); });
}

TEST(Failures, Row56_a_read_only_folder_is_refused_at_open) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  TempFolder folder;
  fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec);
  for (const char* name : kFiles) error_of(ErrorCode::output, [&] { open_sink(folder / name, spec_of(32, 32)); });
  fs::permissions(folder.path(), fs::perms::owner_all);
}

TEST(Failures, Row55_a_file_size_limit_is_an_output_error_not_a_signal) {
  for (const char* name : kFiles) {
    TempFolder folder;
    const int code = exit_code_of([&] {
      const rlimit limit{2000, 2000};
      ::setrlimit(RLIMIT_FSIZE, &limit);
      write_noise(folder / name, spec_of(64, 64), 20);
    });
    EXPECT_EQ(code, exit_code(ErrorCode::output)) << name;
    expect_no_whole_file(folder, name);
  }
}

TEST(Failures, Row54_a_full_disk_is_an_output_error_at_any_point) {
  TempFolder folder;
  if (::geteuid() != 0 || ::mount("none", folder.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "needs the right to mount a small file system";
  }
  for (const char* name : kFiles) {
    for (const int frames : {1, 4, 60}) {
      const int code = exit_code_of([&] { write_noise(folder / name, spec_of(160, 160), frames); });
      if (frames == 60 || code != 0) {  // 60 frames of noise fit in no format; one frame may
        EXPECT_EQ(code, exit_code(ErrorCode::output)) << name;
        expect_no_whole_file(folder, name);
      }
      for (const std::string& left : folder.names()) fs::remove(folder / left);
    }
  }
  ::umount(folder.path().c_str());
}

TEST(Failures, Row54_a_full_device_is_an_output_error) {
  for (const char* format : {"y4m", "mkv", "mp4", "gif", "png", "webm"}) {
    VideoSpec spec = spec_of(64, 64);
    spec.format = format;
    error_of(ErrorCode::output, [&] { write_noise("/dev/full", spec, 8); });
  }
}

TEST(Failures, Row59_a_closed_pipe_is_its_own_error) {
  for (const char* format : {"y4m", "mkv", "mp4", "gif", "webm"}) {
    const int code = exit_code_of([&] {
      int ends[2];
      if (::pipe(ends) != 0) ::_exit(98);
      ::dup2(ends[1], STDOUT_FILENO);
      ::close(ends[0]);
      ::close(ends[1]);
      VideoSpec spec = spec_of(64, 64);
      spec.format = format;
      write_noise("-", spec, 50);
    });
    EXPECT_EQ(code, exit_code(ErrorCode::pipe_closed)) << format;
  }
}

TEST(StandardOutput, Row61_carries_whole_streams) {
  for (const char* format : {"y4m", "mp4", "mov", "mkv", "webm", "gif"}) {
    TempFolder folder;
    const fs::path file = folder / (std::string("stream.") + format);
    const int code = exit_code_of([&] {
      int ends[2];
      if (::pipe(ends) != 0) ::_exit(98);
      ::dup2(ends[1], STDOUT_FILENO);
      ::close(ends[1]);
      std::thread reader([&] {
        std::ofstream out(file, std::ios::binary);
        char buffer[4096];
        for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) out.write(buffer, got);
      });
      VideoSpec spec = spec_of(64, 48, {24, 1});
      spec.format = format;
      write_clip("-", spec, 30);
      ::close(STDOUT_FILENO);
      reader.join();
    });
    ASSERT_EQ(code, 0) << format;
    const auto video = open_video(file);
    EXPECT_NEAR(video->info().start_seconds, 0, 1e-9) << format;
    std::vector<uint8_t> rgb;
    int count = 0;
    while (video->next(rgb)) ++count;
    EXPECT_EQ(count, 30) << format;
  }
}

TEST(StandardOutput, webp_is_refused) {
  VideoSpec spec = spec_of(32, 32);
  spec.format = "webp";
  const int code = exit_code_of([&] {
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, STDOUT_FILENO);
    open_sink("-", spec);
  });
  EXPECT_EQ(code, exit_code(ErrorCode::usage));
}

TEST(StandardOutput, Row60_a_terminal_is_refused) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || ::grantpt(terminal) != 0 || ::unlockpt(terminal) != 0) GTEST_SKIP() << "no pseudo terminal here";
  const std::string name = ::ptsname(terminal);
  const int code = exit_code_of([&] {
    const int end = ::open(name.c_str(), O_RDWR | O_NOCTTY);
    if (end < 0) ::_exit(98);
    ::dup2(end, STDOUT_FILENO);
    open_sink("-", spec_of(32, 32));
  });
  ::close(terminal);
  EXPECT_EQ(code, exit_code(ErrorCode::usage));
}

TEST(Failures, Row53_a_killed_process_leaves_no_final_file) {
  for (const char* name : {"a.mp4", "a.mkv", "a.gif", "a.webp"}) {
    for (int trial = 0; trial < 6; ++trial) {
      TempFolder folder;
      const pid_t child = ::fork();
      if (child == 0) {
        auto sink = open_sink(folder / name, spec_of(96, 96));
        for (int64_t i = 0;; ++i) sink->write(gradient(96, 96, i).view());
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(3 + 17 * trial));
      ::kill(child, SIGKILL);
      int status = 0;
      ::waitpid(child, &status, 0);
      EXPECT_FALSE(fs::exists(folder / name)) << name;
      // The next run to the same place clears what the dead one left.
      write_clip(folder / name, spec_of(32, 32), 2);
      EXPECT_EQ(folder.names().size(), 1U) << name;
    }
  }
}

}  // namespace
}  // namespace t2v::media::test
