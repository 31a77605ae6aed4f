// SPDX-License-Identifier: Apache-2.0
// The real program, as far as it goes without the engine: exit codes, the exact error lines, what
// is on which stream.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/run_program.hpp"

namespace t2v {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;
using testing_support::ProgramResult;

ProgramResult t2v(std::vector<std::string> arguments, const std::function<void()>& in_child = {},
                  const std::string& input = {}) {
  arguments.insert(arguments.begin(), testing_support::program_path());
  return testing_support::run_program(arguments, in_child, input);
}

/// One error line, at most one hint line, nothing on standard output.
void expect_error(const ProgramResult& result, int code, const std::string& line, const std::string& hint = {}) {
  EXPECT_EQ(result.code, code) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "t2v: error: " + line + "\n" + (hint.empty() ? "" : "hint: " + hint + "\n"));
}

class Program : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "t2v-cli-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string file(const std::string& name) const { return (folder_ / name).string(); }
  std::string existing(const std::string& name) const {
    std::ofstream(folder_ / name) << "old";
    return file(name);
  }
  fs::path folder_;
};

TEST_F(Program, answers_at_once_without_the_engine) {
  for (const std::vector<std::string>& line : std::vector<std::vector<std::string>>{{"--help"},
                                                                                    {"--version"},
                                                                                    {"--list-samplers"},
                                                                                    {"--list-devices"},
                                                                                    {"--print-man"},
                                                                                    {"--print-completion", "zsh"},
                                                                                    {"--print-flag-table"},
                                                                                    {"help"},
                                                                                    {"batch", "--help"},
                                                                                    {"info", "--help"},
                                                                                    {"-h", "-p", "-"}}) {
    const ProgramResult result = t2v(line);
    EXPECT_EQ(result.code, 0) << line.front();
    EXPECT_GT(result.out.size(), 5U);
    EXPECT_EQ(result.err, "");
  }
}

TEST_F(Program, help_takes_less_than_twenty_milliseconds) {
  double best = 1;
  for (int i = 0; i < 20; ++i) best = std::min(best, t2v({"--help"}).seconds);
  EXPECT_LT(best,
            0.020);  // the bound is the contract's; the best of many, because tests run beside each other
}

TEST_F(Program, help_loads_neither_libtorch_nor_libav) {
  const ProgramResult result = t2v({"--help"}, [] { setenv("LD_DEBUG", "files", 1); });
  EXPECT_THAT(result.err, HasSubstr("libstdc++"));  // the loader's trace is there
  for (const char* library : {"libtorch", "libc10", "libav", "libt2v.so", "libswscale"}) {
    EXPECT_THAT(result.err, Not(HasSubstr(library)));
  }
}

TEST_F(Program, errors_are_one_line_and_a_hint) {
  expect_error(t2v({"--stpes", "4"}), 2, "unknown option --stpes", "did you mean '--steps'?");
  expect_error(t2v({"-o", file("a.mp4")}), 2, "--prompt: wanted a text, got none",
               "for example: t2v --prompt \"a red circle moving to the right\" -o out.mp4");
  expect_error(t2v({}), 2, "--prompt: wanted a text, got none",
               "for example: t2v --prompt \"a red circle moving to the right\" -o out.mp4");
  expect_error(t2v({"-p", "x"}), 2, "--output: wanted a file name, got none", "add -o out.mp4");
  expect_error(t2v({"-p", "x", "-o", "a\nb.xyz"}), 2,
               "--output: a\\nb.xyz: wanted one of .mp4 .m4v .mov .mkv .webm .gif .webp .y4m .png, got .xyz",
               "--format NAME chooses the format whatever the name");
  expect_error(t2v({"--steps", "0"}), 2, "--steps: wanted a whole number from 1 to 10000, got '0'",
               "the nearest legal value is 1");
}

TEST_F(Program, json_logs_carry_the_exit_code) {
  const ProgramResult result = t2v({"--log-format", "json", "--stpes", "4"});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.err,
            "{\"event\":\"error\",\"exit_code\":2,\"message\":\"unknown option "
            "--stpes\",\"hint\":\"did you mean '--steps'?\"}\n");
}

TEST_F(Program, Row57_an_existing_output_is_refused_and_left_alone) {
  const std::string path = existing("a.mp4");
  expect_error(t2v({"-p", "x", "-o", path}), 6, "--output: " + path + ": wanted a new file, got an existing one",
               "-y replaces it, --skip-existing leaves it");
  EXPECT_EQ(testing_support::read_all(path), "old");
  const ProgramResult skipped = t2v({"-p", "x", "-o", path, "--skip-existing"});
  EXPECT_EQ(skipped.code, 0);
  EXPECT_EQ(testing_support::read_all(path), "old");
  existing("f0000.png");
  EXPECT_EQ(t2v({"-p", "x", "-o", file("f%04d.png")}).code, 6);
}

TEST_F(Program, Row56_places_that_can_not_be_written_end_the_run_before_it_starts) {
  expect_error(t2v({"-p", "x", "-o", file("none/a.mp4")}), 6,
               "--output: " + file("none/a.mp4") + ": wanted an existing folder, got " + file("none"),
               "mkdir -p " + file("none"));
  fs::create_directory(folder_ / "dir.mp4");
  EXPECT_EQ(t2v({"-p", "x", "-o", file("dir.mp4"), "-y"}).code, 6);
  EXPECT_EQ(t2v({"-p", "x", "-o", "/dev/full", "--format", "mp4", "-y"}).code, 6);
  EXPECT_EQ(t2v({"-p", "x", "-o", file("a.mp4"), "--save-latents", file("none/l.safetensors")}).code, 6);
  EXPECT_EQ(t2v({"-p", "x", "-o", file("a.mp4"), "--save-latents", file("a.mp4")}).code, 2);
}

TEST_F(Program, missing_inputs_are_named) {
  const std::string none = file("none.png");
  for (const char* flag : {"--image", "--video", "--init-latents", "--vae", "--text-encoder", "--unet",
                           "--motion-module", "--lora", "--from"}) {
    const ProgramResult result = t2v({"-p", "x", "-o", file("a.mp4"), flag, none});
    EXPECT_EQ(result.code, 3) << flag;
    EXPECT_THAT(result.err, HasSubstr(std::string("t2v: error: ") + flag + ": " + none)) << flag;
  }
  EXPECT_EQ(t2v({"info", none}).code, 3);
  EXPECT_EQ(t2v({"compare", none, none}).code, 3);
  EXPECT_EQ(t2v({"decode", none, "-o", file("a.mp4")}).code, 3);
  EXPECT_EQ(t2v({"batch", none, "-o", file("%d.mp4")}).code, 3);
  EXPECT_EQ(t2v({"--config", none}).code, 3);
  EXPECT_EQ(t2v({"--prompt-file", none}).code, 3);
}

TEST_F(Program, Row59_standard_output_that_went_away_is_quiet) {
  const ProgramResult result = t2v({"--help"}, [] {
    int ends[2];
    if (pipe(ends) != 0) _exit(99);
    close(ends[0]);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[1]);
  });
  EXPECT_EQ(result.code, 141);
  EXPECT_EQ(result.err, "");
}

TEST_F(Program, a_full_disk_behind_standard_output_is_an_output_error) {
  const ProgramResult full = t2v({"--help"}, [] { dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO); });
  EXPECT_EQ(full.code, 6);
}

TEST_F(Program, Row81_closed_descriptors_do_no_harm) {
  EXPECT_EQ(t2v({"--version"},
                [] {
                  close(0);
                  close(1);
                  close(2);
                })
                .code,
            0);
  EXPECT_EQ(t2v({"--stpes"},
                [] {
                  close(0);
                  close(1);
                  close(2);
                })
                .code,
            2);
}

TEST_F(Program, a_prompt_comes_from_standard_input) {
  // The output is refused after the prompt was read: no engine is needed to see that both worked.
  const std::string path = existing("a.mp4");
  EXPECT_EQ(t2v({"-p", "-", "-o", path}, {}, "a prompt\n").code, 6);
  EXPECT_EQ(t2v({"-p", "-", "-o", path}, {}, std::string((1U << 20) + 1, 'a')).code, 2);
}

TEST_F(Program, Row80_works_in_a_comma_locale) {
  const std::string path = existing("a.mp4");
  EXPECT_EQ(t2v({"-p", "x", "--eta", "0.5", "-o", path}, [] { setenv("LC_ALL", "de_DE.UTF-8", 1); }).code, 6);
  EXPECT_EQ(t2v({"-p", "x", "--eta", "0,5", "-o", path}, [] { setenv("LC_ALL", "de_DE.UTF-8", 1); }).code, 2);
}

}  // namespace
}  // namespace t2v
