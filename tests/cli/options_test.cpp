// SPDX-License-Identifier: Apache-2.0
// The option table and what is made from it, without running the program.
#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/documents.hpp"
#include "cli/layers.hpp"
#include "cli/option_table.hpp"
#include "cli/preflight.hpp"
#include "cli/samplers.hpp"
#include "cli/values.hpp"
#include "t2v/error.hpp"

namespace t2v::cli {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

/// The error that `run` throws; fails the test when it throws none.
template <typename Run>
Error error_of(Run&& run) {
  try {
    run();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorCode::internal, ""};
}

std::filesystem::path write_temp(const std::string& name, const std::string& text) {
  const auto file = std::filesystem::path(testing::TempDir()) / name;
  std::ofstream(file, std::ios::binary) << text;
  return file;
}

TEST(Values, Row47_integers_name_range_and_nearest_legal_value) {
  EXPECT_EQ(parse_integer("--steps", "25", 1, 1000), 25);
  const Error error = error_of([] { parse_integer("--steps", "0", 1, 1000); });
  EXPECT_EQ(error.code(), ErrorCode::usage);
  EXPECT_STREQ(error.what(), "--steps: wanted a whole number from 1 to 1000, got '0'");
  EXPECT_EQ(error.hint(), "the nearest legal value is 1");
  EXPECT_EQ(error_of([] { parse_integer("--steps", "99999999999999999999999", 1, 1000); }).hint(),
            "the nearest legal value is 1000");
}

TEST(Values, Row47_numbers_refuse_what_is_no_finite_number) {
  for (const char* text : {"nan", "NaN", "inf", "-inf", "1e400", "", " ", "1,5", "0x10", "1.5x", "--", "1 2"}) {
    EXPECT_EQ(error_of([&] { parse_number("--eta", text, 0, 1); }).code(), ErrorCode::usage) << text;
    EXPECT_EQ(error_of([&] { parse_integer("--steps", text, 1, 100); }).code(), ErrorCode::usage) << text;
    EXPECT_EQ(error_of([&] { parse_rational("--fps", text, 0.01, 240); }).code(), ErrorCode::usage) << text;
  }
}

TEST(Values, Row69_rates_are_exact) {
  const auto rate = [](const char* text) { return parse_rational("--fps", text, 0.01, 240); };
  EXPECT_EQ(rate("24000/1001"), (Rational{24000, 1001}));
  EXPECT_EQ(rate("23.976"), (Rational{24000, 1001}));
  EXPECT_EQ(rate("23.98"), (Rational{24000, 1001}));
  EXPECT_EQ(rate("29.97"), (Rational{30000, 1001}));
  EXPECT_EQ(rate("59.94"), (Rational{60000, 1001}));
  EXPECT_EQ(rate("12.5"), (Rational{25, 2}));
  EXPECT_EQ(rate("8"), (Rational{8, 1}));
  EXPECT_EQ(rate("48/2"), (Rational{24, 1}));
  EXPECT_EQ(rate("24.0"), (Rational{24, 1}));
  for (const char* text : {"0", "-1", "1/0", "241", "1e6", "1/2/3", "24000/-1001", "9999999999/9999999998"}) {
    EXPECT_EQ(error_of([&] { rate(text); }).code(), ErrorCode::usage) << text;
  }
}

TEST(Values, Row80_a_comma_locale_changes_nothing) {
  const char* old = std::setlocale(LC_ALL, "de_DE.UTF-8");
  if (!old) old = std::setlocale(LC_ALL, "de_DE");
  EXPECT_DOUBLE_EQ(parse_number("--eta", "0.5", 0, 1), 0.5);
  EXPECT_EQ(number_text(0.5), "0.5");
  EXPECT_EQ(parse_rational("--fps", "12.5", 0.01, 240), (Rational{25, 2}));
  std::setlocale(LC_ALL, "C");
}

TEST(Samplers, names_of_other_tools_are_known_and_others_get_a_suggestion) {
  EXPECT_EQ(parse_sampler("--sampler", "DPMPP-2M"), "dpmpp_2m");
  EXPECT_EQ(parse_sampler("--sampler", "EulerDiscreteScheduler"), "euler");
  EXPECT_EQ(parse_sampler("--sampler", "euler_ancestral"), "euler_a");
  EXPECT_EQ(error_of([] { parse_sampler("--sampler", "eulr"); }).hint(), "did you mean 'euler'?");
}

TEST(CommandLine, every_name_and_its_underscore_form_reach_the_same_option) {
  for (const auto& option : options()) {
    for (const auto& command : commands()) {
      if (!(option.commands & bit(command.command))) continue;
      auto names = split_words(option.aliases);
      names.insert(names.begin(), "--" + std::string(option.name));
      for (std::string name : names) {
        std::vector<std::string> line{std::string(command.name)};
        if (name.starts_with("--")) std::replace(name.begin() + 2, name.end(), '-', '_');
        line.push_back(name);
        if (!option.value.empty()) line.emplace_back("1");
        for (size_t i = 0; i < command.min_operands; ++i) line.emplace_back("operand");
        const CommandLine parsed = read_command_line(line);
        ASSERT_EQ(parsed.given.size(), 1U) << name;
        EXPECT_EQ(parsed.given.front().name, option.name) << name;
      }
    }
  }
}

TEST(CommandLine, values_may_look_like_flags) {
  const Invocation invocation = parse({"-p", "--weird", "--seed", "-1", "-n", "", "-o", "a.mp4", "-W512", "-H", "320"});
  EXPECT_EQ(invocation.request.prompt, "--weird");
  EXPECT_FALSE(invocation.request.seed.has_value());
  EXPECT_EQ(invocation.request.negative_prompt, "");
  EXPECT_EQ(invocation.request.width, 512);
  EXPECT_EQ(parse({"--prompt=", "-o", "a.mp4"}).request.prompt, "");
  EXPECT_EQ(parse({"--prompt=a=b, [c]", "-o", "a.mp4"}).request.prompt, "a=b, [c]");
  EXPECT_EQ(parse({"--prompt", "[a, b]", "-o", "a.mp4"}).request.prompt, "[a, b]");
}

TEST(CommandLine, the_last_of_two_values_wins_and_loras_add_up) {
  const Invocation invocation = parse({"--steps", "3", "--steps=4", "--lora", "a.safetensors", "--lora", "dir:b:0.5"});
  EXPECT_EQ(invocation.request.steps, 4);
  ASSERT_EQ(invocation.load.loras.size(), 2U);
  EXPECT_EQ(invocation.load.loras[0], (std::pair<std::string, double>{"a.safetensors", 1.0}));
  EXPECT_EQ(invocation.load.loras[1], (std::pair<std::string, double>{"dir:b", 0.5}));
}

TEST(CommandLine, generate_is_the_default_command) {
  EXPECT_EQ(parse({"-p", "x"}).command, Command::generate);
  EXPECT_EQ(parse({"generate", "-p", "x"}).command, Command::generate);
  EXPECT_EQ(parse({"info", "x"}).command, Command::info);
}

TEST(CommandLine, mistakes_are_usage_errors_with_a_way_out) {
  struct Row {
    std::vector<std::string> line;
    std::string message, hint;
  };
  const std::vector<Row> rows{
      {{"--stpes", "4"}, "unknown option --stpes", "did you mean '--steps'?"},
      {{"--num_infrence_steps", "4"}, "unknown option --num_infrence_steps", "did you mean '--num-inference-steps'?"},
      {{"--steps"}, "--steps: wanted N, got nothing", ""},
      {{"a", "cat"}, "unexpected argument 'a'", "after --prompt"},
      {{"--steps", "3", "info"}, "unexpected argument 'info'", "a command comes first: t2v info ..."},
      {{"info"}, "info: wanted PATH, got nothing", "usage: t2v info PATH"},
      {{"info", "a", "b"}, "unexpected argument 'b'", ""},
      {{"info", "a", "--steps", "3"}, "--steps: wanted an option of `t2v info`", ""},
      {{"--size", "512"}, "--size: wanted a size like 512x320, got '512'", ""},
      {{"--size", "64x64", "--width", "128"}, "wanted one size, got two", ""},
      {{"--frames", "8", "--seconds", "1"}, "--frames and --seconds: wanted one of them, got both", ""},
      {{"-p", "a", "--prompt-file", "b"}, "--prompt and --prompt-file: wanted one of them, got both", ""},
      {{"-y", "--skip-existing"}, "--overwrite and --skip-existing: wanted one of them, got both", ""},
      {{"-v", "-q"}, "--verbose and --quiet: wanted one of them, got both", ""},
      {{"--rng", "gpu"}, "--rng: wanted one of cpu cuda, got 'gpu'", ""},
      {{"--device", "cuda:x"}, "--device: wanted a whole number", ""},
      {{"--device", "cpu:1"}, "--device: wanted auto, cpu, cuda or cuda:N", ""},
      {{"--dtype", "fp8"}, "--dtype: wanted one of auto fp32 fp16 bf16, got 'fp8'", ""},
      {{"--spacing", "traling"}, "--spacing: wanted one of", "did you mean 'trailing'?"},
      {{"--end-image", "a.png"}, "--end-image: wanted --image beside it, got none", ""},
      {{"--strength", "1.1"}, "--strength: wanted a number from 0 to 1, got '1.1'", "the nearest legal value is 1"},
      {{"--cfg", "1e9"}, "--cfg-scale: wanted a number from 0 to 1000", "the nearest legal value is 1000"},
      {{"--fps", "0"}, "--fps: wanted a rate", "the nearest legal value is 0.01"},
      {{"--image", ""}, "--image: wanted a file, got ''", ""},
  };
  for (const auto& row : rows) {
    const Error error = error_of([&] { parse(row.line); });
    EXPECT_EQ(error.code(), ErrorCode::usage) << row.message;
    EXPECT_THAT(error.what(), HasSubstr(row.message));
    EXPECT_THAT(error.hint(), HasSubstr(row.hint));
  }
}

TEST(Config, long_names_of_toml_and_ini_fill_what_the_command_line_leaves) {
  const auto file = write_temp("t2v_config.toml",
                               "\xEF\xBB\xBF# a comment\r\nprompt = \"a #1 \\\"cat\\\" \\u00e9\"  "
                               "# more\nsteps=7\nnum_frames = 24\n"
                               "seed: 3\n");
  EXPECT_THAT(error_of([&] { parse({"--config", file.string()}); }).what(), HasSubstr("line 5"));
  const auto good = write_temp("t2v_config_good.toml",
                               "\xEF\xBB\xBF# a comment\r\nprompt = \"a #1 \\\"cat\\\" \\u00e9\"  "
                               "# more\nsteps=7\nnum_frames = 24\n"
                               "; ini comment\nsampler = euler\nlora = ['a:0.5', "
                               "\"b\"]\nvae-tiling = true\n[generate]\neta = 0.5\n"
                               "[decode]\ncrf = 3\n");
  const Invocation invocation = parse({"--config", good.string(), "--steps", "9", "--seconds", "2"});
  EXPECT_EQ(invocation.request.prompt, "a #1 \"cat\" \xC3\xA9");
  EXPECT_EQ(invocation.request.steps, 9);
  EXPECT_FALSE(invocation.request.frames.has_value()) << "--seconds replaces the file's frames";
  EXPECT_EQ(invocation.request.sampler, "euler");
  EXPECT_EQ(invocation.load.loras.size(), 2U);
  EXPECT_TRUE(invocation.request.vae_tiling);
  EXPECT_EQ(invocation.request.eta, 0.5);
  EXPECT_EQ(invocation.output.crf, -1) << "a section of another command";
}

TEST(Config, bad_files_are_refused_by_line) {
  const auto message = [](const std::string& text) {
    const auto file = write_temp("t2v_config_bad.toml", text);
    return std::string(error_of([&] { parse({"--config", file.string()}); }).what());
  };
  EXPECT_EQ(message("stpes = 3\n"), "t2v_config_bad.toml: line 1: unknown option 'stpes'");
  EXPECT_THAT(message("steps = nan\n"), HasSubstr("t2v_config_bad.toml: line 1: steps: wanted a whole number"));
  EXPECT_THAT(message("prompt = \"open\n"), HasSubstr("wanted a closing \""));
  EXPECT_THAT(message("[section]\n"), HasSubstr("wanted a section named after a command"));
  EXPECT_THAT(message("steps = [1, 2]\n"), HasSubstr("wanted one value, got 2"));
  EXPECT_THAT(message("help = true\n"), HasSubstr("unknown option"));
  EXPECT_EQ(error_of([] { parse({"--config", "/nonexistent.toml"}); }).code(), ErrorCode::bad_input);
}

TEST(Layers, an_image_takes_the_place_of_one_that_was_to_be_made) {
  const Layer made{{"first-frame-model", {"sd"}, "--first-frame-model"},
                   {"first-frame-steps", {"3"}, "--first-frame-steps"},
                   {"keep-first-frame", {"a.png"}, "--keep-first-frame"},
                   {"steps", {"9"}, "--steps"}};
  const Layer merged = merge(made, {{"image", {"b.png"}, "jobs.jsonl: line 1: image"}});
  std::vector<std::string> names;
  for (const auto& given : merged) names.push_back(given.name);
  EXPECT_THAT(names, testing::ElementsAre("steps", "image"));
}

TEST(Prompt, Row38_files_lose_byte_order_mark_carriage_returns_and_last_line_end) {
  const auto file = write_temp("t2v_prompt.txt", "\xEF\xBB\xBFone\r\ntwo\r\n");
  EXPECT_EQ(parse({"--prompt-file", file.string()}).request.prompt, "one\ntwo");
  EXPECT_EQ(error_of([] { parse({"--prompt-file", "/nonexistent"}); }).code(), ErrorCode::bad_input);
  const auto large = write_temp("t2v_prompt_large.txt", std::string((size_t{1} << 20) + 1, 'a'));
  EXPECT_EQ(error_of([&] { parse({"--prompt-file", large.string()}); }).code(), ErrorCode::usage);
}

TEST(Json, job_lines_take_long_names_and_refuse_others) {
  const Layer layer = read_json(
      Json::parse(R"({"prompt":"x","num_frames":8,"cfg-scale":7.5,"vae_tiling":true,"lora":["a","b:2"],"seed":null})"),
      "jobs: line 1");
  const Invocation invocation = build(Command::generate, {}, layer);
  EXPECT_EQ(invocation.request.frames, 8);
  EXPECT_EQ(invocation.request.cfg_scale, 7.5);
  EXPECT_TRUE(invocation.request.vae_tiling);
  EXPECT_EQ(invocation.load.loras.size(), 2U);
  EXPECT_THAT(error_of([] { read_json(Json::parse(R"({"stpes":3})"), "jobs: line 2"); }).what(),
              HasSubstr("jobs: line 2: stpes"));
  EXPECT_THAT(error_of([] { read_json(Json::parse(R"({"steps":{}})"), "jobs: line 2"); }).what(),
              HasSubstr("wanted N, got object"));
  EXPECT_THAT(error_of([] { read_json(Json::parse("[1]"), "jobs: line 2"); }).what(), HasSubstr("wanted an object"));
  EXPECT_THAT(error_of([] { read_json(Json::parse(R"({"frames":3,"num_frames":3})"), "jobs: line 2"); }).what(),
              HasSubstr("twice"));
  EXPECT_THAT(
      error_of([] { build(Command::generate, {}, read_json(Json::parse(R"({"steps":2.5})"), "jobs: line 2")); }).what(),
      HasSubstr("jobs: line 2: steps: wanted a whole number"));
}

TEST(Camera, takes_moves_with_and_without_a_strength) {
  const Invocation invocation = parse({"--camera", "pan-left", "--camera", "Zoom_In:0.5"});
  const std::vector<std::pair<std::string, double>> wanted{{"pan-left", 1}, {"zoom-in", 0.5}};
  EXPECT_EQ(invocation.request.camera, wanted);
  EXPECT_THAT(error_of([] { parse({"--camera", "pan-lef"}); }).what(), HasSubstr("--camera: wanted"));
  EXPECT_EQ(error_of([] { parse({"--camera", "pan-left:5"}); }).code(), ErrorCode::usage);
  EXPECT_EQ(error_of([] { parse({"--camera", "pan-left:"}); }).code(), ErrorCode::usage);
  for (const std::string word : {"pan-left", "pan-right", "tilt-up", "tilt-down", "zoom-in", "zoom-out", "roll-cw",
                                 "roll-ccw", "roll-left", "roll-right"}) {
    using Moves = std::vector<std::pair<std::string, double>>;
    EXPECT_EQ(parse({"--camera", word + ":0.25"}).request.camera, (Moves{{word, 0.25}}));
  }
  for (const std::string word :
       {"", "pan", "zoom", "left", "pan-left:x", "pan-left:-1", "pan-left:1:2", "pan-left=1", ":1"}) {
    EXPECT_EQ(error_of([&] { parse({"--camera", word}); }).code(), ErrorCode::usage) << word;
  }
}

/// A request with every field at random, sometimes absent.
Request random_request(std::mt19937& random) {
  const auto coin = [&] { return random() % 2 == 0; };
  const auto count = [&](int64_t max) { return static_cast<int64_t>(random() % static_cast<uint32_t>(max)) + 1; };
  const auto real = [&] { return static_cast<double>(random()) / 4294967296.0; };
  Request request;
  request.prompt = coin() ? "a \"quoted\" \xC3\xA9 prompt\nof two lines" : "";
  if (coin()) request.negative_prompt = coin() ? "blurry" : "";
  if (coin()) request.width = count(2000);
  if (coin()) request.height = count(2000);
  if (coin()) request.frames = count(300);
  if (coin()) request.fps = coin() ? Rational{24000, 1001} : Rational{count(60), 1};
  if (coin()) request.cond_fps = count(60);
  if (coin()) request.context = count(64) - 1;
  if (coin()) request.context_overlap = count(16) - 1;
  if (coin()) request.context_stride = count(4);
  if (coin()) request.context_blend = "flat";
  if (coin()) request.noise = "freenoise";
  if (coin()) request.loop = true;
  if (coin()) request.freeinit = count(5);
  if (coin()) request.freeinit_filter = "gaussian";
  if (coin()) request.freeinit_order = 1 + real();
  if (coin()) request.freeinit_space = real();
  if (coin()) request.freeinit_time = real();
  if (coin()) request.freeinit_fast = true;
  if (coin()) request.camera = {{"pan-left", real() * 4}, {"zoom-out", 1}};
  if (coin()) request.steps = count(100);
  if (coin()) request.cfg_scale = real() * 20;
  if (coin()) request.cfg_min = real() * 3;
  if (coin()) request.guidance_rescale = real();
  if (coin()) request.fast = true;
  if (coin()) request.cfg_from = real();
  if (coin()) request.cfg_until = real();
  if (coin()) request.deepcache = count(9);
  if (coin()) request.sampler = std::string(sampler_names()[random() % sampler_names().size()].name);
  if (coin()) request.prompt_at = {{count(9), "a: b"}, {0, ""}};
  if (coin()) request.prompt_syntax = "weighted";
  if (coin()) request.sigmas = "karras";
  if (coin()) request.spacing = "trailing";
  if (coin()) request.eta = real();
  if (coin()) request.clip_skip = count(5) - 1;
  if (coin()) request.seed = coin() ? INT64_MAX : count(1000000);
  if (coin()) request.rng = RngDevice::cuda;
  if (coin()) request.init_latents = "noise.safetensors";
  if (coin()) request.video = "in%04d.png";
  if (coin()) request.strength = real();
  if (coin()) request.motion_bucket = count(255);
  if (coin()) request.noise_aug = real();
  if (coin()) request.decode_chunk = count(16);
  if (coin()) request.vae_tiling = true;
  return request;
}

TEST(CommandLine, prompts_by_frame_add_up_and_say_where_they_begin) {
  const Invocation invocation = parse({"-p", "a", "--prompt-at", "8:a dog: brown", "--prompt-at=16:"});
  using Prompts = std::vector<std::pair<int64_t, std::string>>;
  EXPECT_EQ(invocation.request.prompt_at, (Prompts{{8, "a dog: brown"}, {16, ""}}));
  for (const char* bad : {"a dog", "x:a dog", "-1:a dog", "1.5:a dog", ":a dog"}) {
    EXPECT_THROW(parse({"-p", "a", "--prompt-at", bad}), Error) << bad;
  }
  EXPECT_THROW(parse({"-p", "a", "--prompt-syntax", "fancy"}), Error);
}

TEST(Settings, any_request_survives_the_way_through_json) {
  std::mt19937 random(1);
  for (int i = 0; i < 500; ++i) {
    Invocation before;
    before.request = random_request(random);
    before.load.loras = {{"style.safetensors", 0.1}};
    Json settings;
    write_settings(before, settings);
    const Json read_back = Json::parse(settings.dump());
    const Invocation after = build(Command::generate, {}, read_json(read_back, "clip.mp4", true));
    Json again;
    write_settings(after, again);
    ASSERT_EQ(again, settings);
    // Every field that the test above sets, by value: the two directions can't be wrong in the same
    // way.
    ASSERT_EQ(after.request.prompt, before.request.prompt);
    ASSERT_EQ(after.request.prompt_at, before.request.prompt_at);
    ASSERT_EQ(after.request.prompt_syntax, before.request.prompt_syntax);
    ASSERT_EQ(after.request.fps, before.request.fps);
    ASSERT_EQ(after.request.cfg_scale, before.request.cfg_scale);
    ASSERT_EQ(after.request.fast, before.request.fast);
    ASSERT_EQ(after.request.cfg_from, before.request.cfg_from);
    ASSERT_EQ(after.request.cfg_until, before.request.cfg_until);
    ASSERT_EQ(after.request.deepcache, before.request.deepcache);
    ASSERT_EQ(after.request.seed, before.request.seed);
    ASSERT_EQ(after.request.context, before.request.context);
    ASSERT_EQ(after.request.loop, before.request.loop);
    ASSERT_EQ(after.request.noise, before.request.noise);
    ASSERT_EQ(after.request.freeinit, before.request.freeinit);
    ASSERT_EQ(after.request.camera, before.request.camera);
    ASSERT_EQ(after.request.eta, before.request.eta);
    ASSERT_EQ(after.request.negative_prompt, before.request.negative_prompt);
    ASSERT_EQ(after.load.loras, before.load.loras);
  }
}

TEST(Settings, Row76_paths_lose_their_folders) {
  Invocation invocation;
  invocation.request.image = "/home/somebody/private/cat.png";
  invocation.load.vae = "/home/somebody/vae.safetensors";
  invocation.load.loras = {{"/home/somebody/l.safetensors", 1.0}};
  Json settings;
  write_settings(invocation, settings);
  EXPECT_EQ(settings["image"], "cat.png");
  EXPECT_EQ(settings.dump().find("somebody"), std::string::npos);
}

TEST(Settings, Row75_a_record_never_says_what_is_written_or_which_prompt_is_read) {
  const Layer layer =
      read_json(Json::parse(R"({"output":"/etc/passwd","overwrite":true,"save-latents":"a","num_frames":2,
      "keep-first-frame":"b","prompt-file":"/etc/shadow","config":"c","from":"d","resume-from":"e","format":"null",
      "model":"m","device":"cpu","dtype":"fp32"})"),
                "x.mp4", true);
  std::vector<std::string> names;
  for (const auto& given : layer) names.push_back(given.name);
  EXPECT_THAT(names, testing::ElementsAre("frames", "model", "device", "dtype"));
}

TEST(Settings, unknown_keys_of_a_later_version_are_passed_over) {
  const Layer layer = read_json(
      Json::parse(R"({"schema":9,"t2v":"9.0","hologram":true,"steps":3,"ai_generated":true})"), "x.mp4", true);
  ASSERT_EQ(layer.size(), 1U);
  EXPECT_EQ(layer.front().name, "steps");
}

TEST(Documents, help_names_every_option_and_alias_of_its_command) {
  for (const auto& command : commands()) {
    const std::string help = help_text(command.command);
    for (const auto& option : options()) {
      if (!(option.commands & bit(command.command))) continue;
      EXPECT_THAT(help, HasSubstr("--" + std::string(option.name))) << command.name;
      for (const auto& alias : split_words(option.aliases)) EXPECT_THAT(help, HasSubstr(alias)) << command.name;
    }
  }
}

TEST(Documents, man_page_completions_and_table_name_every_option) {
  for (const auto& option : options()) {
    const std::string name(option.name);
    EXPECT_THAT(flag_table(), HasSubstr("`--" + name));
    EXPECT_THAT(completion_script("bash"), HasSubstr("--" + name));
    EXPECT_THAT(completion_script("zsh"), HasSubstr("--" + name + "["));
    EXPECT_THAT(completion_script("fish"), HasSubstr("-l " + name));
    std::string roff = name;
    for (size_t at = roff.find('-'); at != std::string::npos; at = roff.find('-', at + 2)) roff.insert(at, 1, '\\');
    EXPECT_THAT(man_page(), HasSubstr("\\-\\-" + roff));
  }
}

TEST(Documents, no_two_options_of_a_command_share_a_name) {
  for (const auto& command : commands()) {
    std::vector<std::string> seen;
    for (const auto& option : options()) {
      if (!(option.commands & bit(command.command))) continue;
      auto names = split_words(option.aliases);
      names.push_back("--" + std::string(option.name));
      for (const auto& name : names) {
        EXPECT_THAT(seen, testing::Not(testing::Contains(name))) << command.name;
        seen.push_back(name);
      }
    }
  }
}

TEST(Output, Row62_formats_follow_the_extension_in_any_case) {
  const auto format = [](const std::string& path) {
    OutputOptions output;
    output.path = path;
    return output_format(output);
  };
  EXPECT_EQ(format("a.MP4"), "mp4");
  EXPECT_EQ(format("dir.gif/b.webm"), "webm");
  EXPECT_EQ(format("-"), "y4m");
  for (const char* path : {"a", "a.xyz", "a.b/c", ".mp4", "a."}) {
    EXPECT_EQ(error_of([&] { format(path); }).code(), ErrorCode::usage) << path;
  }
}

TEST(Output, frame_patterns_hold_one_number) {
  EXPECT_TRUE(is_frame_pattern("f%04d.png"));
  EXPECT_TRUE(is_frame_pattern("100%%/f%d.png"));
  EXPECT_FALSE(is_frame_pattern("100%%.png"));
  EXPECT_EQ(frame_path("f%04d.png", 7), "f0007.png");
  EXPECT_EQ(frame_path("f%d.png", 12345), "f12345.png");
  for (const char* path : {"f%s.png", "f%n.png", "f%04d_%d.png", "f%", "f%99999999999999d.png", "f%0"}) {
    EXPECT_EQ(error_of([&] { is_frame_pattern(path); }).code(), ErrorCode::usage) << path;
  }
}

}  // namespace
}  // namespace t2v::cli
