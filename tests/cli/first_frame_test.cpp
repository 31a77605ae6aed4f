// SPDX-License-Identifier: Apache-2.0
// Text -> image -> video in one command: the real program on a tiny Stable Diffusion and a tiny Stable Video Diffusion.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <map>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/layers.hpp"
#include "cli/preflight.hpp"
#include "cli/run_program.hpp"
#include "io/config.hpp"
#include "io/image.hpp"
#include "support/lora_files.hpp"
#include "support/sd_checkpoint.hpp"
#include "support/svd_checkpoint.hpp"
#include "support/svd_file.hpp"
#include "t2v/error.hpp"

namespace t2v {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing_support::ProgramResult;
using testing_support::read_all;
using Words = std::vector<std::string>;

const std::string kProgram = testing_support::program_path();
constexpr const char* kPrompt = "a fox in the snow";

class FirstFrame : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string name = (fs::temp_directory_path() / "t2v-first-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    models_ = new fs::path(name);
    test::write_sd_folder(*models_ / "picture", "sd1", test::sd_golden()["runs"]["sd1"]["scheduler"]);
    test::sd_single_file("sd1").write(*models_ / "picture-file.safetensors");
    test::write_svd_checkpoint(*models_ / "video");
  }
  static void TearDownTestSuite() {
    fs::remove_all(*models_);
    delete models_;
  }
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "t2v-first-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    fs::create_directory(folder_ / "tmp");
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::string model(const std::string& name) { return (*models_ / name).string(); }
  std::string file(const std::string& name) const { return (folder_ / name).string(); }
  static Words with(Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  ProgramResult run(const Words& words) const {
    return testing_support::run_program(with({kProgram}, words),
                                        [this] { setenv("TMPDIR", (folder_ / "tmp").c_str(), 1); });
  }
  /// What a run is but for the model of its first frame and its output. 4 : 3, as the picture below.
  static Words video(const std::string& steps = "2") {
    return {"-m", model("video"), "-s", "7", "--size", "64x48", "--frames", "2", "--steps", steps, "-t", "1"};
  }
  static Words text_to_video(const std::string& image_model = "picture") {
    return with(video(), {"-p", kPrompt, "--first-frame-model", model(image_model), "--first-frame-steps", "3"});
  }
  std::vector<std::string> left_behind() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / "tmp")) names.push_back(entry.path().filename().string());
    return names;
  }

  static inline fs::path* models_ = nullptr;
  fs::path folder_;
};

TEST_F(FirstFrame, is_the_image_models_own_picture_and_the_video_is_the_one_made_from_it) {
  const ProgramResult whole =
      run(with(text_to_video(), {"--keep-first-frame", file("first.png"), "-o", file("a.y4m")}));
  ASSERT_EQ(whole.code, 0) << whole.err;
  // 72 x 56 have the video's shape and, of all multiples of 8, about the 64 x 64 pixels that the image model makes.
  EXPECT_THAT(whole.err, HasSubstr("first frame: picture: seed 7, 72x56, 3 steps of PNDMScheduler"));
  const Words own{"-m", model("picture"), "-p", kPrompt, "-s", "7", "--size", "72x56", "--steps", "3", "-t", "1"};
  ASSERT_EQ(run(with(own, {"-o", file("own.png")})).code, 0);
  const io::Image kept = io::load_image(file("first.png")), alone = io::load_image(file("own.png"));
  EXPECT_EQ(kept.width, 72);
  EXPECT_EQ(kept.height, 56);
  EXPECT_TRUE(kept.rgb == alone.rgb);
  const ProgramResult from_image = run(with(video(), {"--image", file("own.png"), "-o", file("b.y4m")}));
  ASSERT_EQ(from_image.code, 0) << from_image.err;
  EXPECT_TRUE(read_all(file("a.y4m")) == read_all(file("b.y4m")));
  EXPECT_THAT(left_behind(), ElementsAre());
}

TEST_F(FirstFrame, is_made_again_by_the_settings_in_the_video) {
  // A file does not say how large its pictures are; Stable Diffusion 1's are 512 x 512.
  const Words small{"--first-frame-size", "64x48"};
  ASSERT_EQ(run(with(text_to_video("picture-file.safetensors"), with(small, {"-o", file("a.mp4")}))).code, 0);
  const ProgramResult info = run({"info", file("a.mp4"), "--json"});
  const io::Json settings = io::parse_json(info.out, "info")["settings"];
  EXPECT_EQ(settings["first-frame-model"], "picture-file.safetensors");
  EXPECT_EQ(settings["first-frame-steps"], 3);
  EXPECT_EQ(settings["first-frame-size"], "64x48");
  EXPECT_EQ(settings["prompt"], kPrompt);
  EXPECT_FALSE(settings.contains("image"));
  EXPECT_EQ(settings["first_frame_hash"].get<std::string>().size(), settings["model_hash"].get<std::string>().size());
  const Words again{"--from", file("a.mp4"), "-m", model("video"), "-t", "1", "-o", file("b.mp4")};
  const ProgramResult moved = run(again);
  EXPECT_EQ(moved.code, 3) << "the file says which model, not where it is";
  const ProgramResult same = run(with(again, {"--first-frame-model", model("picture-file.safetensors")}));
  EXPECT_EQ(same.code, 0) << same.err;
  EXPECT_THAT(same.err, Not(HasSubstr("differs")));
  EXPECT_EQ(run({"compare", file("a.mp4"), file("b.mp4"), "--min-psnr", "99"}).code, 0);
  // Another image model makes another video, and says so.
  const ProgramResult other = run(with(again, {"-y", "--first-frame-model", model("picture")}));
  EXPECT_EQ(other.code, 0) << other.err;
  EXPECT_THAT(other.err, HasSubstr("picture: its content differs from the model that made the recorded run"));
}

TEST_F(FirstFrame, takes_size_sampler_guidance_and_loras_of_its_own) {
  test::TensorWriter lora;
  const std::string layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
  lora.add_formula(layer + ".lora_down.weight", {2, 64}, "down");
  lora.add_formula(layer + ".lora_up.weight", {64, 2}, "up");
  lora.write(file("style.safetensors"));
  const Words own{"--sampler", "euler", "--cfg-scale", "3", "--size", "64x64", "--steps", "2"};
  Words words = video();
  for (size_t i = 0; i < own.size(); i += 2) words = with(words, {"--first-frame-" + own[i].substr(2), own[i + 1]});
  words = with(words, {"-p", kPrompt, "--first-frame-model", model("picture"), "--lora", file("style.safetensors"),
                       "--keep-first-frame", file("first.png")});
  const ProgramResult whole = run(with(words, {"-o", file("a.y4m")}));
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_THAT(whole.err, HasSubstr("lora style.safetensors: matched 2 of 2 tensors"));
  ASSERT_EQ(run(with(own, {"-m", model("picture"), "-p", kPrompt, "-s", "7", "-t", "1", "--lora",
                           file("style.safetensors"), "-o", file("own.png")}))
                .code,
            0);
  EXPECT_TRUE(io::load_image(file("first.png")).rgb == io::load_image(file("own.png")).rgb);
}

TEST_F(FirstFrame, belongs_to_an_interrupted_run) {
  const Words words = with(video("60"), {"-p", kPrompt, "--first-frame-model", model("picture"), "--first-frame-steps",
                                         "2", "--keep-first-frame", file("first.png")});
  ASSERT_EQ(run(with(words, {"-o", file("whole.y4m")})).code, 0);
  fs::remove(file("first.png"));
  const std::string state = file("a.y4m.state.safetensors");
  Words command = with({kProgram}, with(words, {"-o", file("a.y4m"), "--checkpoint-every", "5", "-q"}));
  std::vector<char*> argv;
  for (auto& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    execv(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  while (!fs::exists(state) && waitpid(child, &status, WNOHANG) == 0) usleep(2000);
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  ASSERT_TRUE(fs::exists(state));
  ASSERT_TRUE(fs::exists(file("first.png")));
  const ProgramResult other = run({"--resume", state, "--first-frame-steps", "3"});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("wanted no flag that changes the result beside --resume"));
  const ProgramResult resumed = run({"--resume", state});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(read_all(file("a.y4m")) == read_all(file("whole.y4m")));
}

TEST_F(FirstFrame, is_part_of_the_plan) {
  const Words words =
      with(text_to_video(), {"--keep-first-frame", file("first.png"), "-o", file("a.mp4"), "--dry-run"});
  const ProgramResult text = run(words);
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_TRUE(text.out.starts_with("first frame\nmodel     picture (StableDiffusionPipeline)\npicture   72x56\n"))
      << text.out;
  EXPECT_THAT(text.out, HasSubstr("sampling  3 steps of PNDMScheduler, guidance 7.5, seed 7\n"));
  EXPECT_THAT(text.out, HasSubstr("writes    " + file("first.png") + "\n"));
  EXPECT_THAT(text.out, HasSubstr("\nvideo from it\nmodel     video (StableVideoDiffusionPipeline)\n"));
  EXPECT_THAT(text.out, HasSubstr("\ntogether  "));
  const ProgramResult json = run(with(words, {"--json"}));
  const io::Json plan = io::parse_json(json.out, "plan");
  const io::Json& image = plan["first_frame"];
  EXPECT_EQ(image["settings"]["pipeline"], "StableDiffusionPipeline");
  EXPECT_EQ(image["files"], io::Json::array({file("first.png")}));
  EXPECT_EQ(plan["files"], io::Json::array({file("a.mp4")}));
  EXPECT_GT(image["memory"]["weights"].get<int64_t>(), 0);
  EXPECT_GE(plan["memory"]["total_peak"].get<int64_t>(), image["memory"]["total_peak"].get<int64_t>());
  EXPECT_FALSE(fs::exists(file("first.png")));
  EXPECT_THAT(left_behind(), ElementsAre());
}

/// What `t2v info` and a dry run say of a model: its parameters as the golden's own manifest has them.
TEST_F(FirstFrame, and_video_models_are_told_and_planned_also_as_single_files) {
  test::write_svd_file_folder(folder_ / "folder");
  test::svd_single_file().write(folder_ / "svd.safetensors");
  const auto described = [&](const std::string& path) {
    const ProgramResult info = run({"info", path, "--json"});
    EXPECT_EQ(info.code, 0) << info.err;
    std::map<std::string, int64_t> parameters;
    const io::Json report = io::parse_json(info.out, "info");
    for (const auto& part : report["components"]) {
      if (part.contains("parameters")) parameters[part["name"]] = part["parameters"].get<int64_t>();
    }
    return std::pair{report["pipeline"].get<std::string>(), parameters};
  };
  const auto video = described(file("folder"));
  EXPECT_EQ(video.first, "StableVideoDiffusionPipeline");
  EXPECT_EQ(video.second.size(), 3U);
  EXPECT_EQ(video, described(file("svd.safetensors")));
  const auto picture = described(model("picture"));
  EXPECT_EQ(picture.first, "StableDiffusionPipeline");
  EXPECT_EQ(picture, described(model("picture-file.safetensors")));
  int64_t wanted = 0;
  for (const auto& [name, shape] : test::sd_manifest("sd1", "unet")) {
    wanted += std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
  }
  EXPECT_EQ(picture.second.at("unet"), wanted);

  const auto memory = [&](const std::string& video_model, const std::string& image_model) {
    const ProgramResult plan =
        run({"-m", video_model, "-p", "x", "--first-frame-model", model(image_model), "--first-frame-size", "64x64",
             "--size", "64x64", "--frames", "2", "-o", file("a.mp4"), "--dry-run", "--json", "-s", "1"});
    EXPECT_EQ(plan.code, 0) << plan.err;
    const io::Json report = io::parse_json(plan.out, "plan");
    return std::pair{report["memory"], report["first_frame"]["memory"]};
  };
  EXPECT_EQ(memory(file("folder"), "picture"), memory(file("svd.safetensors"), "picture-file.safetensors"));
}

TEST_F(FirstFrame, is_made_for_every_job_of_a_batch) {
  ASSERT_EQ(run(with(text_to_video(), {"-o", file("single.y4m")})).code, 0);
  const io::Json job{{"prompt", kPrompt},
                     {"first-frame-steps", 3},
                     {"first-frame-model", model("picture")},
                     {"keep-first-frame", file("first.png")}};
  const io::Json no_model{{"prompt", kPrompt}, {"first-frame-steps", 3}};
  test::write_text(file("jobs.jsonl"), job.dump() + "\n" + no_model.dump() + "\n");
  const ProgramResult planned = run(with({"batch", file("jobs.jsonl"), "-o", file("%d.y4m"), "--dry-run"}, video()));
  EXPECT_THAT(planned.out, HasSubstr("\"first_frame\":{\"settings\":"));
  EXPECT_FALSE(fs::exists(file("first.png")));
  const ProgramResult whole = run(with({"batch", file("jobs.jsonl"), "-o", file("%d.y4m")}, video()));
  EXPECT_EQ(whole.code, 8) << whole.err;
  EXPECT_TRUE(read_all(file("single.y4m")) == read_all(file("1.y4m")));
  EXPECT_TRUE(fs::exists(file("first.png")));
  EXPECT_THAT(whole.out, HasSubstr("\"job\":2,\"status\":\"failed\",\"exit_code\":2"));
  EXPECT_THAT(whole.out, HasSubstr("wanted --first-frame-model beside it"));
  // For all jobs at once, beside the job file.
  test::write_text(file("jobs.txt"), std::string(kPrompt) + "\na dog\n");
  const Words words =
      with({"batch", file("jobs.txt"), "-o", file("all-%d.y4m"), "--first-frame-model", model("picture")},
           with(video(), {"--first-frame-steps", "3"}));
  const ProgramResult all = run(words);
  EXPECT_EQ(all.code, 0) << all.err;
  EXPECT_TRUE(read_all(file("single.y4m")) == read_all(file("all-1.y4m")));
  EXPECT_FALSE(read_all(file("single.y4m")) == read_all(file("all-2.y4m")));
  EXPECT_THAT(left_behind(), ElementsAre());
}

TEST_F(FirstFrame, of_models_that_do_not_fit_is_refused_before_anything_is_computed) {
  const auto refused = [&](int code, const std::string& part, const Words& words) {
    const ProgramResult result = run(with(words, {"-o", file("a.mp4")}));
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(part));
    EXPECT_THAT(result.err, Not(HasSubstr("first frame:")));
    EXPECT_FALSE(fs::exists(file("a.mp4")));
  };
  const Words text{"-p", kPrompt, "--first-frame-model"};
  refused(
      2, "--first-frame-model: wanted a model that makes a picture from text, got video (StableVideoDiffusionPipeline)",
      with(video(), with(text, {model("video")})));
  refused(3, "nowhere", with(video(), with(text, {"nowhere"})));
  refused(4, "--first-frame-model: not taken by StableDiffusionPipeline (picture)",
          with({"-m", model("picture"), "--frames", "1"}, with(text, {model("picture")})));
  refused(2, "wanted --image, got a prompt\nhint: --first-frame-model MODEL makes the image",
          with(video(), {"-p", kPrompt}));
  refused(2, "--image: wanted the image that StableVideoDiffusionPipeline sets in motion", with(video(), {"-p", ""}));
  refused(2, "--prompt: wanted a text, got none", with(video(), {"--first-frame-model", model("picture")}));
  refused(2, "--width: wanted a multiple of 8", with(text_to_video(), {"--first-frame-size", "65x64"}));
  refused(2, "--motion-bucket", with(text_to_video(), {"--motion-bucket", "-1"}));
  refused(2, "wanted a video encoder", with(text_to_video(), {"--codec", "no-such-codec"}));
}

TEST_F(FirstFrame, has_flags_that_are_checked_without_the_engine) {
  const auto refusal = [&](const Words& words) {
    try {
      const auto verdict = cli::preflight(cli::parse(with({"-p", "x", "-o", file("a.mp4")}, words)));
      return verdict == cli::Verdict::run ? std::string("accepted") : std::string("skipped");
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  const Words model{"--first-frame-model", "m"};
  const std::string keep = "--keep-first-frame";
  EXPECT_EQ(refusal(with(model, {keep, file("f.png")})), "accepted");
  EXPECT_THAT(refusal({keep, file("f.png")}), HasSubstr("wanted --first-frame-model beside it"));
  EXPECT_THAT(refusal({"--first-frame-steps", "3"}), HasSubstr("wanted --first-frame-model beside it"));
  EXPECT_THAT(refusal(with(model, {keep, file("f.jpg")})), HasSubstr("wanted a name like first.png"));
  EXPECT_THAT(refusal(with(model, {keep, file("f%d.png")})), HasSubstr("wanted a name like first.png"));
  EXPECT_THAT(refusal(with(model, {keep, file("no/f.png")})), HasSubstr("wanted an existing folder"));
  EXPECT_THAT(refusal(with(model, {"--first-frame-steps", "0"})), HasSubstr("--first-frame-steps"));
  EXPECT_THAT(refusal(with(model, {"--first-frame-sampler", "best"})), HasSubstr("--first-frame-sampler"));
  EXPECT_THAT(refusal(with(model, {"--image", "i.png"})), HasSubstr("wanted one of them, got both"));
  test::write_text(file("f.png"), "there");
  EXPECT_THAT(refusal(with(model, {keep, file("f.png")})), HasSubstr("wanted a new file, got an existing one"));
  EXPECT_THAT(refusal(with(model, {keep, file("f.png"), "--skip-existing"})), HasSubstr("wanted a new file"));
  EXPECT_EQ(refusal(with(model, {keep, file("f.png"), "-y"})), "accepted");
  test::write_text(file("a.mp4"), "there");
  EXPECT_EQ(refusal(with(model, {keep, file("f.png"), "--skip-existing"})), "skipped");
}

}  // namespace
}  // namespace t2v
