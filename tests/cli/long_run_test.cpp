// SPDX-License-Identifier: Apache-2.0
// The real program on a tiny real checkpoint: runs that are stopped, run out of disk, lose their reader, and go on.
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/run_program.hpp"
#include "io/config.hpp"
#include "support/tiny_checkpoint.hpp"

namespace t2v {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing_support::ProgramResult;
using testing_support::read_all;

const std::string kProgram = testing_support::program_path();

class LongRun : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "t2v-long-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    const io::Json golden = test::pipelines_golden();
    test::write_tiny_checkpoint(folder_ / "model", golden, golden["runs"]["default"]["scheduler"]);
    fs::create_directory(folder_ / "out");
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string out(const std::string& name) const { return (folder_ / "out" / name).string(); }
  std::vector<std::string> listing() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / "out")) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  /// A run of `steps` steps with a fixed seed.
  std::vector<std::string> line(const std::string& output, int steps) const {
    return {kProgram,
            "-m",
            (folder_ / "model").string(),
            "-p",
            "it's a \"test\"",
            "-s",
            "7",
            "--size",
            "32x32",
            "--frames",
            "2",
            "--steps",
            std::to_string(steps),
            "-o",
            output,
            "--sampler",
            "dpmpp_2m_sde",
            "-t",
            "1"};
  }
  static std::vector<std::string> with(std::vector<std::string> words, std::initializer_list<std::string> more) {
    words.insert(words.end(), more);
    return words;
  }
  /// Starts the program with its words on standard error going to a file.
  static pid_t start(const std::vector<std::string>& command, const std::string& err) {
    std::vector<char*> argv;
    for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      dup2(open("/dev/null", O_RDWR), 0);
      dup2(open("/dev/null", O_RDWR), 1);
      dup2(open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
      execv(argv[0], argv.data());
      _exit(127);
    }
    return child;
  }
  static int wait_for(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  static bool wait_until_exists(const std::string& file, pid_t child) {
    while (!fs::exists(file)) {
      if (waitpid(child, nullptr, WNOHANG) != 0) return fs::exists(file);
      usleep(2000);
    }
    return true;
  }
  /// The command in `text` after `mark`, run by a shell that finds the program as `t2v`.
  ProgramResult run_hint(const std::string& text, const std::string& mark) const {
    const size_t at = text.find(mark);
    if (at == std::string::npos) return {.code = -1, .out = {}, .err = text};
    std::string command = text.substr(at + mark.size());
    command = command.substr(0, command.find('\n'));
    return testing_support::run_program({"/bin/sh", "-c", "t2v() { '" + kProgram + "' \"$@\"; }; " + command});
  }

  fs::path folder_;
};

TEST_F(LongRun, Row52_an_interrupted_run_continues_to_the_same_bytes) {
  constexpr int kSteps = 150;
  ASSERT_EQ(testing_support::run_program(line(out("whole.mp4"), kSteps)).code, 0);
  const std::string state = out("a.mp4.state.safetensors"), err = (folder_ / "err").string();
  for (const int signal : {SIGINT, SIGTERM, SIGKILL}) {
    const pid_t child = start(with(line(out("a.mp4"), kSteps), {"--checkpoint-every", "20"}), err);
    ASSERT_TRUE(wait_until_exists(state, child)) << read_all(err);
    kill(child, signal);
    const int code = wait_for(child);
    EXPECT_EQ(code, signal == SIGINT ? 130 : signal == SIGTERM ? 143 : 137);
    ASSERT_TRUE(fs::exists(state));
    EXPECT_FALSE(fs::exists(out("a.mp4")));
    const auto info = testing_support::run_program({kProgram, "info", state});
    EXPECT_THAT(info.out, HasSubstr("unfinished run")) << info.err;
    EXPECT_THAT(info.out, HasSubstr("t2v --resume " + state));
    // From another folder, and where the program says it itself, with its own words.
    const ProgramResult resumed =
        signal == SIGKILL ? testing_support::run_program({kProgram, "--resume", state}, [] { (void)!chdir("/"); })
                          : run_hint(read_all(err), "continue with: ");
    EXPECT_EQ(resumed.code, 0) << resumed.err << read_all(err);
    EXPECT_TRUE(read_all(out("a.mp4")) == read_all(out("whole.mp4")));
    EXPECT_THAT(listing(), ElementsAre("a.mp4", "whole.mp4")) << "the state is gone after success";
    fs::remove(out("a.mp4"));
  }
}

TEST_F(LongRun, Row52_what_shortcuts_keep_between_steps_is_resumed_too) {
  const auto quick = [&](const std::string& file) {
    return with(line(out(file), 60), {"--cfg-scale", "2", "--cfg-until", "0.9", "--deepcache", "3"});
  };
  ASSERT_EQ(testing_support::run_program(quick("whole.mp4")).code, 0);
  const std::string state = out("a.mp4.state.safetensors"), err = (folder_ / "err").string();
  // Every 7th: between two steps that run all layers.
  const pid_t child = start(with(quick("a.mp4"), {"--checkpoint-every", "7"}), err);
  ASSERT_TRUE(wait_until_exists(state, child)) << read_all(err);
  kill(child, SIGKILL);
  EXPECT_EQ(wait_for(child), 137);
  const ProgramResult resumed = testing_support::run_program({kProgram, "--resume", state});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(read_all(out("a.mp4")) == read_all(out("whole.mp4")));
}

TEST_F(LongRun, a_state_goes_only_with_its_model_its_flags_and_its_version) {
  const std::string state = out("a.mp4.state.safetensors"), err = (folder_ / "err").string();
  const pid_t child = start(with(line(out("a.mp4"), 999), {"--checkpoint-every", "1"}), err);
  ASSERT_TRUE(wait_until_exists(state, child)) << read_all(err);
  kill(child, SIGINT);
  EXPECT_EQ(wait_for(child), 130);
  const auto resume = [&](std::initializer_list<std::string> more) {
    return testing_support::run_program(with({kProgram, "--resume", state}, more));
  };
  const auto other = resume({"--steps", "3"});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("--steps: wanted no flag that changes the result beside --resume"));
  const auto decoded = testing_support::run_program({kProgram, "decode", state, "-o", out("b.mp4")});
  EXPECT_EQ(decoded.code, 3);
  EXPECT_THAT(decoded.err, HasSubstr("hint: this run is not finished: t2v --resume"));

  const std::string config = (folder_ / "model/scheduler/scheduler_config.json").string();
  const std::string original = read_all(config);
  std::ofstream(config) << original << " ";
  const auto model = resume({});
  EXPECT_EQ(model.code, 3);
  EXPECT_THAT(model.err, HasSubstr("wanted the model that the run began with"));
  std::ofstream(config) << original;

  std::string bytes = read_all(state);
  const size_t version = bytes.find("t2v\\\":\\\"");
  ASSERT_NE(version, std::string::npos);
  bytes[version + 8] = '9';
  std::ofstream(state, std::ios::binary) << bytes;
  const auto versions = resume({});
  EXPECT_EQ(versions.code, 4);
  EXPECT_THAT(versions.err, HasSubstr("got one of t2v 9"));
}

TEST_F(LongRun, Row54_a_full_disk_ends_with_the_command_that_finishes_the_run) {
  ASSERT_EQ(testing_support::run_program(line(out("whole.y4m"), 2)).code, 0);
  const std::string small = out("small");
  fs::create_directory(small);
  const bool is_mounted = ::geteuid() == 0 && mount("none", small.c_str(), "tmpfs", 0, "size=16k") == 0;
  // Where no small disk can be had, the limit of a file's size ends the writing; the latents are far smaller than both.
  const auto limit = [&] {
    if (is_mounted) return;
    const rlimit size{3000, 3000};
    setrlimit(RLIMIT_FSIZE, &size);
  };
  std::vector<std::string> words = line(is_mounted ? small + "/a.y4m" : out("a.y4m"), 2);
  *(std::find(words.begin(), words.end(), "--frames") + 1) = is_mounted ? "30" : "2";
  const std::string latents = out("l.safetensors");
  const ProgramResult failed = testing_support::run_program(with(words, {"--save-latents", latents}), limit);
  if (is_mounted) umount(small.c_str());
  fs::remove_all(small);
  EXPECT_EQ(failed.code, 6) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr("the denoised latents are safe; finish with: t2v decode " + latents));
  if (is_mounted) return;
  const ProgramResult finished = run_hint(failed.err, "finish with: ");
  EXPECT_EQ(finished.code, 0) << finished.err;
  EXPECT_TRUE(read_all(out("a.y4m")) == read_all(out("whole.y4m")));
}

TEST_F(LongRun, Row55_the_named_command_makes_the_identical_video_after_the_disk_failed) {
  for (const char* name : {"a.mp4", "a.gif"}) {
    const auto words = with(line(out(name), 2), {"--keep-latents"});
    ASSERT_EQ(testing_support::run_program(words).code, 0);
    const std::string want = read_all(out(name));
    fs::remove(out(name));
    fs::remove(out(name) + ".latents.safetensors");
    const auto largest = static_cast<rlim_t>(want.size() - 100);
    const ProgramResult failed = testing_support::run_program(words, [&] {
      const rlimit size{largest, largest};
      setrlimit(RLIMIT_FSIZE, &size);
    });
    EXPECT_EQ(failed.code, 6) << failed.err;
    EXPECT_THAT(listing(), ElementsAre(std::string(name) + ".latents.safetensors"));
    const ProgramResult finished = run_hint(failed.err, "finish with: ");
    EXPECT_EQ(finished.code, 0) << finished.err << failed.err;
    EXPECT_TRUE(read_all(out(name)) == want) << name;
    fs::remove(out(name));
    fs::remove(out(name) + ".latents.safetensors");
  }
}

TEST_F(LongRun, Row59_Row61_standard_output_is_pure_video_and_its_reader_may_leave) {
  const auto words = line("-", 2);
  const ProgramResult whole = testing_support::run_program(words);
  EXPECT_EQ(whole.code, 0) << whole.err;
  EXPECT_TRUE(whole.out.starts_with("YUV4MPEG2 W32 H32 "));
  // The header line, then for each frame FRAME and 32 x 32 pixels in 4:2:0.
  EXPECT_EQ(whole.out.size(), whole.out.find('\n') + 1 + 2 * (6 + 32 * 32 * 3 / 2));
  const ProgramResult left = testing_support::run_program(with(words, {"--frames", "40", "-q"}), [] {
    int ends[2];
    if (pipe(ends) != 0) _exit(99);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
  });
  EXPECT_EQ(left.code, 141);
  EXPECT_EQ(left.err, "");
  EXPECT_THAT(listing(), ElementsAre());
}

TEST_F(LongRun, Row80_Row81_Row82_a_poor_environment_changes_nothing) {
  const auto words = with(line(out("a.y4m"), 1), {"-y", "-q"});
  ASSERT_EQ(testing_support::run_program(words).code, 0);
  const std::string want = read_all(out("a.y4m"));
  const std::vector<std::function<void()>> environments{[] { setenv("LC_ALL", "de_DE.UTF-8", 1); },
                                                        [] {
                                                          setenv("LC_ALL", "C", 1);
                                                          setenv("TZ", "Asia/Kathmandu", 1);
                                                        },
                                                        [] {
                                                          unsetenv("HOME");
                                                          unsetenv("PATH");
                                                        },
                                                        [] {
                                                          const rlimit few{32, 32};
                                                          setrlimit(RLIMIT_NOFILE, &few);
                                                        },
                                                        [] {
                                                          const rlimit small{512 << 10, 512 << 10};
                                                          setrlimit(RLIMIT_STACK, &small);
                                                        },
                                                        [] {
                                                          close(0);
                                                          close(1);
                                                          close(2);
                                                        }};
  for (size_t i = 0; i < environments.size(); ++i) {
    fs::remove(out("a.y4m"));
    const ProgramResult result = testing_support::run_program(words, environments[i]);
    EXPECT_EQ(result.code, 0) << "environment " << i << ": " << result.err;
    EXPECT_TRUE(read_all(out("a.y4m")) == want) << "environment " << i;
  }
}

TEST_F(LongRun, Row50_too_little_memory_ends_with_exit_code_5_and_no_file) {
  const std::vector<std::string> words{kProgram,   "-m",         (folder_ / "model").string(),
                                       "-p",       "a",          "-s",
                                       "7",        "--size",     "1024x1024",
                                       "--frames", "64",         "--steps",
                                       "1",        "-t",         "1",
                                       "-o",       out("a.mp4"), "-q"};
  const ProgramResult result = testing_support::run_program(words, [] {
    const rlimit small{1'500'000'000, 1'500'000'000};
    setrlimit(RLIMIT_AS, &small);
  });
  EXPECT_EQ(result.code, 5) << result.err;
  EXPECT_THAT(result.err, HasSubstr("out of memory"));
  EXPECT_THAT(result.err, HasSubstr("hint: try fewer --frames"));
  EXPECT_THAT(listing(), ElementsAre());
}

TEST_F(LongRun, Row78_the_number_of_threads_changes_no_byte) {
  std::string first;
  for (const char* threads : {"1", "2", "3"}) {
    const auto words = with(line(out("a.y4m"), 3), {"-y", "-q", "-t", threads});
    ASSERT_EQ(testing_support::run_program(words).code, 0);
    const std::string bytes = read_all(out("a.y4m"));
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << threads << " threads";
  }
}

TEST_F(LongRun, Row58_many_processes_on_one_output_leave_one_whole_file) {
  const auto words = with(line(out("a.y4m"), 1), {"-q"});
  ASSERT_EQ(testing_support::run_program(words).code, 0);
  const std::string want = read_all(out("a.y4m"));
  fs::remove(out("a.y4m"));
  fs::remove(out("a.y4m.json"));  // its settings, which the format itself can't hold
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) children.push_back(start(words, (folder_ / "err").string()));
  int done = 0;
  for (const pid_t child : children) {
    const int code = wait_for(child);
    EXPECT_TRUE(code == 0 || code == 6) << code;
    done += code == 0;
  }
  EXPECT_EQ(done, 1) << "without -y the first one to finish wins";
  EXPECT_TRUE(read_all(out("a.y4m")) == want);
  EXPECT_THAT(listing(), ElementsAre("a.y4m", "a.y4m.json"));
}

TEST_F(LongRun, latents_beside_a_video_are_refused_because_nothing_would_look_at_them) {
  const std::string latents = (folder_ / "l.safetensors").string();
  ASSERT_EQ(testing_support::run_program(with(line(out("in.y4m"), 2), {"--save-latents", latents})).code, 0);
  EXPECT_EQ(testing_support::run_program(with(line(out("a.y4m"), 2), {"--init-latents", latents})).code, 0);
  EXPECT_EQ(testing_support::run_program(with(line(out("b.y4m"), 2), {"--video", out("in.y4m")})).code, 0);
  const ProgramResult both = testing_support::run_program(
      with(line(out("c.y4m"), 2), {"--video", out("in.y4m"), "--init-latents", latents, "--dry-run"}));
  EXPECT_EQ(both.code, 2);
  EXPECT_THAT(both.err, HasSubstr("--init-latents: wanted a run from noise, got --video"));
}

TEST_F(LongRun, an_eta_that_the_sampler_does_not_know_is_told_once) {
  const std::string told = "--eta: wanted a sampler that takes it (ddim, tcd), got ";
  const ProgramResult other = testing_support::run_program(with(line(out("a.y4m"), 1), {"--eta", "0.5"}));
  EXPECT_EQ(other.code, 0) << other.err;
  const size_t first = other.err.find(told + "DPMSolverMultistepScheduler: it changes nothing");
  EXPECT_NE(first, std::string::npos) << other.err;
  EXPECT_EQ(other.err.find(told, first + 1), std::string::npos) << other.err;
  for (const auto& quiet : {std::vector<std::string>{"--eta", "0.5", "--sampler", "ddim"}, {"--eta", "0"}}) {
    std::vector<std::string> words = line(out("b.y4m"), 1);
    words.insert(words.end(), quiet.begin(), quiet.end());
    words.emplace_back("-y");
    EXPECT_EQ(testing_support::run_program(words).err.find(told), std::string::npos);
  }
}

TEST_F(LongRun, Row90_a_dry_run_writes_nothing) {
  const ProgramResult plan = testing_support::run_program(with(line(out("a.mp4"), 2), {"--dry-run", "--json"}));
  EXPECT_EQ(plan.code, 0);
  EXPECT_TRUE(io::parse_json(plan.out, "plan")["memory"]["total_peak"].is_number());
  EXPECT_THAT(listing(), ElementsAre());
}

}  // namespace
}  // namespace t2v
