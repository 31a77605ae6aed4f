// SPDX-License-Identifier: Apache-2.0
// What is kept of a run that can't be finished, and that black video is never handed out.
#include <sys/resource.h>
#include <sys/wait.h>

#include "cli/command_fixture.hpp"
#include "commands/kept_work.hpp"
#include "io/config.hpp"

namespace t2v {
namespace {

namespace fs = std::filesystem;
using io::Json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing_support::CommandResult;
using testing_support::read_all;

using KeptWork = testing_support::CommandTest;

std::string decode_line(const std::vector<std::string>& arguments) {
  return commands::decode_command(cli::parse(arguments), "l.safetensors");
}

TEST(DecodeCommand, repeats_what_shapes_the_file_and_is_quoted_for_the_shell) {
  EXPECT_EQ(decode_line({"-p", "x", "-o", "a.mp4"}), "t2v decode l.safetensors -o a.mp4");
  EXPECT_EQ(decode_line({"-p",
                         "x",
                         "-o",
                         "it's $HOME.mp4",
                         "-m",
                         "my model",
                         "--crf",
                         "30",
                         "--fps",
                         "24000/1001",
                         "-y",
                         "--no-metadata",
                         "--decode-chunk",
                         "1",
                         "--vae-tiling",
                         "--dtype",
                         "fp16",
                         "--steps",
                         "3",
                         "-q",
                         "--progress",
                         "json",
                         "--vae",
                         "v"}),
            "t2v decode l.safetensors -o 'it'\\''s $HOME.mp4' --model 'my model' --vae v --fps 24000/1001 "
            "--decode-chunk 1 --vae-tiling --crf 30 --overwrite --no-metadata --dtype fp16");
  EXPECT_EQ(decode_line({"-p", "x", "-o", "-"}), "t2v decode l.safetensors -o -");
  EXPECT_EQ(commands::decode_command(cli::parse({"-p", "x", "-o", "a.mp4"}), "-l.safetensors"),
            "t2v decode ./-l.safetensors -o a.mp4");
}

TEST_F(KeptWork, Row54_the_named_command_makes_the_identical_video_after_a_failure) {
  for (const char* name : {"it's a.mp4", "b.mkv", "c.gif", "d.webm"}) {
    std::vector<std::string> line{"-p", "x y",           "-s", "5", "-o", file(name), "--frames", "7", "--fps",
                                  "12", "--keep-latents"};
    ASSERT_EQ(run(line).code, 0);
    const std::string want = read_all(file(name));
    fs::remove(file(name));
    fs::remove(file(name) + ".latents.safetensors");
    world_.before_decode = [] { throw std::bad_alloc(); };
    const CommandResult failed = run(line);
    world_.before_decode = {};
    EXPECT_EQ(failed.code, 5);
    const std::string mark = "finish with: ";
    ASSERT_THAT(failed.err, HasSubstr("the denoised latents are safe; " + mark + "t2v decode "));
    std::string command = failed.err.substr(failed.err.find(mark) + mark.size());
    command = command.substr(0, command.find('\n'));
    // Through a shell, as a user would run it, to see that the words survive.
    const auto words = testing_support::run_program({"/bin/sh", "-c", "t2v() { printf '%s\\n' \"$@\"; }; " + command});
    std::istringstream lines(words.out);
    std::vector<std::string> arguments;
    for (std::string word; std::getline(lines, word);) arguments.push_back(word);
    const CommandResult finished = run(arguments);
    EXPECT_EQ(finished.code, 0) << finished.err;
    EXPECT_TRUE(read_all(file(name)) == want) << name << ": " << command;
  }
}

TEST_F(KeptWork, keep_latents_leaves_them_beside_the_output) {
  ASSERT_EQ(run({"-p", "x", "-o", file("a.mp4"), "--keep-latents"}).code, 0);
  EXPECT_THAT(listing(), ElementsAre("a.mp4", "a.mp4.latents.safetensors"));
  ASSERT_EQ(run({"-p", "x", "-o", file("f%02d.png"), "--keep-latents"}).code, 0);
  const std::string beside = file("f%02d.png.latents.safetensors");
  EXPECT_TRUE(fs::exists(beside));
  EXPECT_THAT(run({"info", beside}).out, HasSubstr("latents")) << "a name like frames is no video";
  ASSERT_EQ(run({"-p", "x", "-o", file("b.mp4")}).code, 0);
  EXPECT_FALSE(fs::exists(file("b.mp4.latents.safetensors"))) << "a short run that did not ask leaves nothing";
}

TEST_F(KeptWork, Row56_latents_find_another_place_when_their_folder_goes_away) {
  fs::create_directory(file("there"));
  world_.before_denoise = [this] { fs::remove_all(file("there")); };
  const fs::path before = fs::current_path();
  fs::create_directory(file("here"));
  fs::current_path(file("here"));
  const CommandResult result = run({"-p", "x", "-s", "3", "-o", file("there/a.mp4"), "--keep-latents"});
  fs::current_path(before);
  EXPECT_EQ(result.code, 6) << result.err;
  EXPECT_TRUE(fs::exists(file("here/a.mp4.latents.safetensors"))) << result.err;
  EXPECT_THAT(result.err, HasSubstr("finish with: t2v decode a.mp4.latents.safetensors -o "));
}

TEST_F(KeptWork, Row55_a_file_size_limit_ends_with_an_error_and_keeps_the_old_output) {
  write_file("a.y4m", "old");
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);  // as the program does
    const rlimit limit{20000, 20000};
    setrlimit(RLIMIT_FSIZE, &limit);
    dup2(open(file("err").c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    log::setup(-1, false);
    _exit(commands::run_command(
        cli::parse({"-p", "x", "-o", file("a.y4m"), "-y", "-q", "--frames", "50", "--keep-latents"}),
        testing_support::fake_tools(world_)));
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 6);
  EXPECT_EQ(read_all(file("a.y4m")), "old");
  EXPECT_THAT(read_all(file("err")), HasSubstr("finish with: t2v decode "));
  EXPECT_THAT(listing(), ElementsAre("a.y4m", "a.y4m.latents.safetensors", "err"));
}

TEST_F(KeptWork, Row44_a_black_video_is_never_written) {
  world_.black = true;
  write_file("a.mp4", "old");
  const CommandResult result = run({"-p", "x", "-o", file("a.mp4"), "-y"});
  EXPECT_EQ(result.code, 7);
  EXPECT_THAT(result.err, HasSubstr("t2v: error: numbers went wrong: decode: wanted a picture, got nothing but black"));
  EXPECT_EQ(read_all(file("a.mp4")), "old");
  EXPECT_THAT(listing(), ElementsAre("a.mp4"));
}

TEST_F(KeptWork, Row79_the_same_command_twice_gives_the_same_bytes) {
  for (const char* name : {"a.mp4", "a.mkv", "a.webm", "a.gif", "a.webp", "a.y4m"}) {
    ASSERT_EQ(run({"-p", "x", "-s", "4", "-o", file(name)}).code, 0);
    const std::string first = read_all(file(name));
    ASSERT_EQ(run({"-p", "x", "-s", "4", "-o", file(name), "-y"}).code, 0);
    // The record holds no time and no path; -y is not a setting.
    EXPECT_TRUE(read_all(file(name)) == first) << name;
  }
}

TEST_F(KeptWork, Row76_no_folder_of_the_user_is_recorded) {
  fs::create_directory(file("private"));
  ASSERT_EQ(run({"-p", "x", "-o", file("private/a.mp4"), "--save-latents", file("private/l.safetensors")}).code, 0);
  for (const char* name : {"private/a.mp4", "private/l.safetensors"})
    EXPECT_THAT(read_all(file(name)), Not(HasSubstr(folder_.string()))) << name;
}

TEST_F(KeptWork, Row83_resume_makes_again_what_was_changed_without_asking_for_y) {
  const std::string jobs = write_file("jobs.txt", "a\nb\n");
  const std::vector<std::string> videos{"batch", jobs, "-o", file("%d.y4m"), "--resume"};
  ASSERT_EQ(run(videos).code, 0);
  const std::string want = read_all(file("2.y4m"));
  write_file("2.y4m", want.substr(0, want.size() / 2));
  EXPECT_THAT(run(videos).out, HasSubstr("\"job\":2,\"status\":\"done\""));
  EXPECT_EQ(read_all(file("2.y4m")).size(), want.size());

  const std::string lines = write_file("frames.jsonl", R"({"prompt":"a","output":")" + file("f%02d.png") + "\"}\n");
  ASSERT_EQ(run({"batch", lines, "--resume"}).code, 0);
  EXPECT_THAT(run({"batch", lines, "--resume"}).out, HasSubstr("skipped"));
  fs::remove(file("f03.png"));
  EXPECT_THAT(run({"batch", lines, "--resume"}).out, HasSubstr("\"status\":\"done\"")) << "the last frame counts too";
  EXPECT_TRUE(fs::exists(file("f03.png")));
}

}  // namespace
}  // namespace t2v
