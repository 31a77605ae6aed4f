// SPDX-License-Identifier: Apache-2.0
// What generate, decode, info and compare do around a model.
#include <algorithm>
#include <map>
#include <new>

#include <c10/util/Exception.h>

#include "cli/command_fixture.hpp"
#include "commands/settings.hpp"
#include "io/config.hpp"

namespace t2v {
namespace {

using io::Json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing_support::CommandResult;

using Commands = testing_support::CommandTest;

Json parsed(const std::string& text) { return io::parse_json(text, "test"); }

std::vector<Json> json_lines(const std::string& text) {
  std::vector<Json> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(parsed(line));
  return lines;
}

TEST_F(Commands, generate_writes_the_file_and_prints_seed_and_size) {
  const CommandResult result = run({"-p", "a cat", "-o", file("a.mp4"), "-s", "42"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("seed 42, 32x32, 4 frames at 8 fps, 3 steps of DDIMScheduler, cpu fp32"));
  EXPECT_THAT(listing(), ElementsAre("a.mp4"));
}

TEST_F(Commands, progress_json_gives_steps_and_a_last_done_event) {
  const CommandResult result = run({"-p", "x", "-o", file("a.mp4"), "-s", "42", "--progress", "json", "-q"});
  const auto events = json_lines(result.err);
  ASSERT_EQ(events.size(), 3U + 4U + 1U) << result.err;
  EXPECT_EQ(events[1]["event"], "step");
  EXPECT_EQ(events[1]["stage"], "denoise");
  EXPECT_EQ(events[1]["index"], 1);
  EXPECT_EQ(events[1]["count"], 3);
  EXPECT_TRUE(events[1]["seconds"].is_number());
  EXPECT_GT(events[1]["peak_rss_bytes"].get<int64_t>(), 1000000);
  const Json& done = events.back();
  EXPECT_EQ(done["event"], "done");
  EXPECT_EQ(done["output"], file("a.mp4"));
  EXPECT_EQ(done["seed"], 42);
  for (const char* stage : {"load", "text", "denoise", "decode", "encode", "total"}) {
    EXPECT_TRUE(done["seconds"][stage].is_number()) << stage;
  }
  EXPECT_GE(done["peak_rss_bytes"], events[1]["peak_rss_bytes"]);
}

TEST_F(Commands, progress_json_keeps_every_line_an_object_warnings_too) {
  const CommandResult result = run({"-p", "caf\xe9", "-o", file("a.mp4"), "-s", "42", "--progress", "json"});
  EXPECT_EQ(result.code, 0);
  const auto events = json_lines(result.err);  // throws for a line that is none
  const auto is_warning = [](const Json& event) { return event["event"] == "log" && event["level"] == "warning"; };
  const auto warning = std::find_if(events.begin(), events.end(), is_warning);
  ASSERT_NE(warning, events.end()) << result.err;
  EXPECT_THAT((*warning)["message"].get<std::string>(), HasSubstr("UTF-8"));
  EXPECT_EQ(events.back()["event"], "done");
}

TEST_F(Commands, Row92_the_video_records_its_settings_and_from_runs_them_again) {
  ASSERT_EQ(run({"-p", "a \"cat\"", "-n", "blurry", "-o", file("a.mp4"), "-s", "42", "--cfg", "7.5", "--frames", "3",
                 "--fps", "12.5"})
                .code,
            0);
  const Json info = parsed(run({"info", file("a.mp4"), "--json"}).out);
  const Json& settings = info["settings"];
  EXPECT_EQ(settings["schema"], commands::kSettingsSchema);
  EXPECT_EQ(settings["prompt"], "a \"cat\"");
  EXPECT_EQ(settings["negative-prompt"], "blurry");
  EXPECT_EQ(settings["seed"], 42);
  EXPECT_EQ(settings["cfg-scale"], 7.5);
  EXPECT_EQ(settings["frames"], 3);
  EXPECT_EQ(settings["fps"], "25/2");
  EXPECT_EQ(settings["model"], "fake");
  EXPECT_EQ(settings["model_hash"], "hash-1");
  EXPECT_EQ(settings["device"], "cpu");
  EXPECT_EQ(settings["ai_generated"], true);

  const CommandResult again = run({"--from", file("a.mp4"), "-o", file("b.mp4"), "--cfg", "2"});
  ASSERT_EQ(again.code, 0) << again.err;
  Json other = parsed(run({"info", file("b.mp4"), "--json"}).out)["settings"];
  EXPECT_EQ(other["cfg-scale"], 2);
  other["cfg-scale"] = 7.5;
  EXPECT_EQ(other, settings);

  world_.hash = "hash-2";
  EXPECT_THAT(run({"--from", file("a.mp4"), "-o", file("c.mp4")}).err, HasSubstr("its content differs"));
}

TEST_F(Commands, loras_are_recorded_with_their_content_and_from_tells_a_change) {
  const std::string style = write_file("style.safetensors", "-");
  const std::string asked = style + ":0.5";
  const CommandResult plan = run({"-p", "x", "-o", file("a.mp4"), "--lora", asked, "--dry-run"});
  EXPECT_THAT(plan.out, HasSubstr("style.safetensors, weight 0.5, matched 6 of 8 tensors"));
  ASSERT_EQ(run({"-p", "x", "-o", file("a.mp4"), "--lora", asked, "--save-latents", file("l.safetensors")}).code, 0);
  const Json settings = parsed(run({"info", file("a.mp4"), "--json"}).out)["settings"];
  EXPECT_EQ(settings["lora"], Json::array({"style.safetensors:0.5"}));
  EXPECT_EQ(settings["lora_hash"], Json::array({"lora-1"}));

  // A record names the file; where it lies is said again, or found by its name in $T2V_MODELS.
  const CommandResult again = run({"--from", file("a.mp4"), "-o", file("b.mp4"), "--lora", asked});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.err, Not(HasSubstr("differs")));
  EXPECT_EQ(run({"--from", file("a.mp4"), "-o", file("c.mp4")}).code, 3);
  setenv("T2V_MODELS", folder_.c_str(), 1);
  EXPECT_EQ(run({"--from", file("a.mp4"), "-o", file("c.mp4")}).code, 0);
  world_.lora_hash = "lora-2";
  EXPECT_THAT(run({"--from", file("a.mp4"), "-o", file("d.mp4")}).err,
              HasSubstr("style.safetensors: its content differs from the LoRA of the recorded run"));
  unsetenv("T2V_MODELS");

  // The decoder knows nothing of LoRAs: their files may be gone, and the record still names them.
  std::filesystem::remove(style);
  ASSERT_EQ(run({"decode", file("l.safetensors"), "-o", file("e.mp4")}).code, 0);
  const Json decoded = parsed(run({"info", file("e.mp4"), "--json"}).out)["settings"];
  EXPECT_EQ(decoded["lora"], settings["lora"]);
  EXPECT_EQ(decoded["lora_hash"], settings["lora_hash"]);
}

TEST_F(Commands, prompts_by_frame_are_planned_recorded_and_run_again) {
  const std::vector<std::string> asked{"-p",       "a",  "--prompt-at", "2:b", "--prompt-syntax",
                                       "weighted", "-o", file("a.mp4")};
  std::vector<std::string> planned = asked;
  planned.emplace_back("--dry-run");
  EXPECT_THAT(run(planned).out, HasSubstr("from frame 2: b"));
  ASSERT_EQ(run(asked).code, 0);
  ASSERT_EQ(run({"--from", file("a.mp4"), "-o", file("b.mp4")}).code, 0);
  const Json settings = parsed(run({"info", file("b.mp4"), "--json"}).out)["settings"];
  EXPECT_EQ(settings["prompt-at"], Json::array({"2:b"}));
  EXPECT_EQ(settings["prompt-syntax"], "weighted");
}

TEST_F(Commands, info_says_what_a_lora_is) {
  const std::string saved = std::string(T2V_TEST_DATA) + "/golden/lora/saved.safetensors";
  const Json report = parsed(run({"info", saved, "--json"}).out);
  EXPECT_EQ(report["kind"], "lora");
  EXPECT_EQ(report["naming"], "PEFT");
  EXPECT_EQ(report["ranks"], Json::array({2}));
  EXPECT_EQ(report["alphas"], Json::array({5.0}));
  EXPECT_EQ(report["modules"]["unet"], 18);
  EXPECT_EQ(report["tensors"], 36);
  EXPECT_EQ(report["made_for"], "a model with text of width 32");
  EXPECT_THAT(run({"info", saved}).out, HasSubstr("PEFT"));
}

TEST_F(Commands, a_run_whose_frames_were_enlarged_runs_again_the_same) {
  world_.display_scale = 2;
  ASSERT_EQ(run({"-p", "x", "-o", file("a.mp4"), "-s", "1"}).code, 0);
  ASSERT_EQ(run({"--from", file("a.mp4"), "-o", file("b.mp4")}).code, 0);
  EXPECT_EQ(testing_support::read_all(file("a.mp4")), testing_support::read_all(file("b.mp4")));
  const Json report = parsed(run({"info", file("b.mp4"), "--json"}).out);
  EXPECT_EQ(report["width"], 64);
  EXPECT_EQ(report["settings"]["frame_size"], "64x64");
}

TEST_F(Commands, no_metadata_leaves_no_settings) {
  ASSERT_EQ(run({"-p", "secret", "-o", file("a.mp4"), "--no-metadata"}).code, 0);
  EXPECT_THAT(testing_support::read_all(file("a.mp4")), Not(HasSubstr("secret")));
  const CommandResult from = run({"--from", file("a.mp4"), "-o", file("b.mp4")});
  EXPECT_EQ(from.code, 3);
  EXPECT_THAT(from.err, HasSubstr("a.mp4: wanted settings recorded by t2v, got none"));
}

TEST_F(Commands, from_drops_encoder_settings_that_the_new_format_has_not) {
  ASSERT_EQ(run({"-p", "x", "-o", file("a.mp4"), "--crf", "30", "--preset", "fast"}).code, 0);
  const CommandResult gif = run({"--from", file("a.mp4"), "-o", file("b.gif")});
  EXPECT_EQ(gif.code, 0) << gif.err;
}

TEST_F(Commands, a_random_seed_is_printed_and_stored) {
  const CommandResult result = run({"-p", "x", "-o", file("a.mp4")});
  const int64_t seed = parsed(run({"info", file("a.mp4"), "--json"}).out)["settings"]["seed"];
  EXPECT_THAT(result.err, HasSubstr("seed " + std::to_string(seed) + ","));
}

TEST_F(Commands, saved_latents_finish_into_the_same_video) {
  ASSERT_EQ(run({"-p", "x", "-s", "9", "-o", file("a.y4m"), "--save-latents", file("l.safetensors")}).code, 0);
  const Json info = parsed(run({"info", file("l.safetensors"), "--json"}).out);
  EXPECT_EQ(info["kind"], "latents");
  EXPECT_EQ(info["shape"], Json::parse("[1,4,4,4,4]"));
  EXPECT_EQ(info["settings"]["seed"], 9);
  const CommandResult decoded = run({"decode", file("l.safetensors"), "-o", file("b.y4m")});
  ASSERT_EQ(decoded.code, 0) << decoded.err;
  EXPECT_EQ(world_.denoised, 1);
  EXPECT_EQ(world_.parts, Parts::decoder) << "decoding needs no denoising network in memory";
  EXPECT_EQ(testing_support::read_all(file("a.y4m")), testing_support::read_all(file("b.y4m")));
  EXPECT_EQ(run({"compare", file("a.y4m"), file("b.y4m"), "--min-psnr", "60"}).code, 0);
  EXPECT_THAT(run({"compare", file("l.safetensors"), file("l.safetensors")}).out, HasSubstr("max difference 0\n"));
}

TEST_F(Commands, compare_says_by_exit_code_whether_the_limit_is_met) {
  ASSERT_EQ(run({"-p", "x", "-s", "9", "-o", file("a.y4m")}).code, 0);
  ASSERT_EQ(run({"-p", "x", "-s", "90", "-o", file("b.y4m")}).code, 0);
  ASSERT_EQ(run({"-p", "x", "-s", "9", "-o", file("c.y4m"), "--frames", "3"}).code, 0);
  EXPECT_EQ(run({"compare", file("a.y4m"), file("b.y4m")}).code, 0);
  EXPECT_EQ(run({"compare", file("a.y4m"), file("b.y4m"), "--min-psnr", "30"}).code, 1);
  EXPECT_EQ(run({"compare", file("a.y4m"), file("c.y4m"), "--min-psnr", "30"}).code, 1) << "frames are missing";
  const Json report = parsed(run({"compare", file("a.y4m"), file("b.y4m"), "--json"}).out);
  EXPECT_EQ(report["frames"].size(), 4U);
  EXPECT_LT(report["psnr"].get<double>(), 30);
}

TEST_F(Commands, doctor_names_the_encoders_that_are_here_and_those_it_used) {
  const CommandResult text = run({"doctor"});
  EXPECT_EQ(text.code, 0) << text.out << text.err;
  EXPECT_THAT(text.out, HasSubstr("ok    video encoders: "));
  EXPECT_THAT(text.out, HasSubstr("ok    attention on cuda: "));
  EXPECT_THAT(text.out, HasSubstr("ok    writes gif: gif, 8 frames of 64x64, "));
  const Json report = parsed(run({"doctor", "--json"}).out);
  std::map<std::string, std::string> results;
  for (const Json& check : report["checks"]) results[check["check"]] = check["result"];
  const std::string here = results["video encoders"].substr(0, results["video encoders"].find(';')) + " ";
  for (const char* format : {"mp4", "webm", "gif", "webp"}) {
    const std::string result = results[std::string("writes ") + format];
    const std::string encoder = result.substr(0, result.find(", 8 frames of 64x64, "));
    EXPECT_THAT(here, HasSubstr(encoder + " ")) << format << ": " << result;
  }
}

TEST_F(Commands, a_failed_decode_leaves_latents_and_names_the_command_that_finishes) {
  world_.before_decode = [] { throw std::bad_alloc(); };
  const CommandResult failed =
      run({"-p", "x", "-s", "5", "-o", file("a b.mp4"), "--save-latents", file("l.safetensors"), "-q"});
  EXPECT_EQ(failed.code, 5);
  EXPECT_EQ(failed.err, "t2v: error: out of memory\nhint: the denoised latents are safe; finish with: t2v decode " +
                            file("l.safetensors") + " -o '" + file("a b.mp4") + "'\n");
  EXPECT_THAT(listing(), ElementsAre("l.safetensors"));
  world_.before_decode = {};
  EXPECT_EQ(run({"decode", file("l.safetensors"), "-o", file("a b.mp4")}).code, 0);
}

TEST_F(Commands, Row49_failures_of_the_engine_have_their_exit_codes) {
  const auto code_of = [&](const std::function<void()>& fail) {
    world_.before_denoise = fail;
    const int code = run({"-p", "x", "-o", file("a.mp4"), "-q"}).code;
    EXPECT_THAT(listing(), ElementsAre());
    return code;
  };
  EXPECT_EQ(code_of([] { throw std::bad_alloc(); }), 5);
  EXPECT_EQ(code_of([] { throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, "CUDA out of memory"); }), 5);
  EXPECT_EQ(code_of([] {
              throw c10::Error({__func__, __FILE__, __LINE__}, "DefaultCPUAllocator: can't allocate memory");
            }),
            5);
  EXPECT_EQ(code_of([] { throw c10::Error({__func__, __FILE__, __LINE__}, "shape mismatch"); }), 1);
  EXPECT_EQ(code_of([] { throw std::runtime_error("odd"); }), 1);
  EXPECT_EQ(code_of([] { throw 3; }), 1);
  EXPECT_EQ(code_of([] { throw Error(ErrorCode::numbers, "NaN at step 3"); }), 7);
  EXPECT_EQ(code_of([] { throw Error(ErrorCode::interrupted, "interrupted"); }), 130);
}

TEST_F(Commands, Row49_every_way_a_device_runs_out_of_memory_is_exit_code_5) {
  // As libtorch 2.11.0 words them, the first with its advice about kernels.
  for (const char* words :
       {"CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in the documentation\nCompile with "
        "`TORCH_USE_CUDA_DSA`",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"}) {
    world_.before_decode = [&] { throw c10::Error({__func__, __FILE__, __LINE__}, words); };
    const CommandResult result = run({"-p", "x", "-o", file("a.mp4"), "-q", "--keep-latents"});
    EXPECT_EQ(result.code, 5) << result.err;
    EXPECT_THAT(result.err, Not(HasSubstr("TORCH_USE_CUDA_DSA")));
    EXPECT_THAT(result.err, HasSubstr("t2v decode"));  // the work is not lost
  }
}

TEST_F(Commands, Row51_a_device_that_is_lost_or_too_old_is_no_bug_of_ours) {
  for (const char* words : {"CUDA error: no kernel image is available for execution on the device",
                            "CUDA error: uncorrectable ECC error encountered\nmore"}) {
    world_.before_denoise = [&] { throw c10::Error({__func__, __FILE__, __LINE__}, words); };
    const CommandResult result = run({"-p", "x", "-o", file("a.mp4"), "-q"});
    EXPECT_EQ(result.code, 5) << result.err;
    EXPECT_THAT(result.err, HasSubstr("--device cpu"));
  }
  world_.before_denoise = [] {
    throw c10::Error({__func__, __FILE__, __LINE__}, "CUDA error: an illegal memory access was encountered");
  };
  EXPECT_EQ(run({"-p", "x", "-o", file("a.mp4"), "-q"}).code, 1);
}

TEST_F(Commands, Row49_Row50_a_plan_above_the_free_memory_is_told_before_the_run) {
  world_.peak_bytes = 900'000'000'000'000;
  const CommandResult result = run({"-p", "x", "-o", file("a.mp4")});
  EXPECT_EQ(result.code, 0) << result.err;  // a warning only: what is free is a guess of the system's
  EXPECT_THAT(result.err, HasSubstr("the run needs about 900 TB of memory on cpu"));
  EXPECT_THAT(result.err, HasSubstr("--decode-chunk 1"));
}

TEST_F(Commands, Row90_a_dry_run_prints_the_plan_and_writes_nothing) {
  const CommandResult text =
      run({"-p", "x", "-o", file("a.mp4"), "--save-latents", file("l.safetensors"), "--dry-run"});
  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(text.out, HasSubstr("32x32, 4 frames at 8 fps"));
  EXPECT_THAT(text.out, HasSubstr("4 kB"));
  const Json plan = parsed(run({"-p", "x", "-o", file("a.mp4"), "--dry-run", "--json"}).out);
  EXPECT_EQ(plan["memory"]["total_peak"], 4000);
  EXPECT_EQ(plan["settings"]["steps"], 3);
  EXPECT_EQ(plan["files"][0], file("a.mp4"));
  EXPECT_THAT(listing(), ElementsAre());
  EXPECT_EQ(world_.loaded, 0);
}

TEST_F(Commands, Row75_settings_of_a_hostile_file_are_a_bad_file) {
  const auto y4m = write_file("a.gif.json", "{\"steps\": 1e99}");
  for (const char* settings : {"{\"steps\": 1e99}", "{\"steps\": {}}", "[]", "{\"fps\": \"nan\"}"}) {
    const auto invocation = cli::parse({"--from", y4m, "-o", file("b.mp4")});
    try {
      commands::with_settings(invocation, settings, "a.mp4");
      ADD_FAILURE() << settings;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input) << settings;
    }
  }
}

TEST_F(Commands, bytes_that_are_no_text_are_replaced_in_the_prompt) {
  const CommandResult result = run({"-p", "a\xFF", "-o", file("a.mp4")});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.err, HasSubstr("wanted UTF-8"));
  EXPECT_EQ(parsed(run({"info", file("a.mp4"), "--json"}).out)["settings"]["prompt"], "a\xEF\xBF\xBD");
}

}  // namespace
}  // namespace t2v
