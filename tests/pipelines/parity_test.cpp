// SPDX-License-Identifier: Apache-2.0
// The README's parity table: measured here again, held against its limits, and compared row by row with the README.
// T2V_UPDATE_README=1 writes the measured table into the README instead.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <sstream>
#include <vector>

#include <c10/core/InferenceMode.h>

#include "models/modelscope/unet3d.hpp"
#include "models/svd/unet.hpp"
#include "models/vae/autoencoder_kl.hpp"
#include "pipelines/svd_run.hpp"
#include "pipelines/whole_run.hpp"
#include "support/net_golden.hpp"
#include "support/svd_golden.hpp"
#include "text/tokenizer.hpp"

namespace t2v::test {
namespace {

struct Row {
  std::string what;
  double measured;
  double limit;
  std::string unit;
};

double tensor_error(const at::Tensor& got, const at::Tensor& wanted) {
  const at::Tensor a = got.to(at::kFloat).contiguous(), b = wanted.contiguous();
  return relative_l2(std::span(a.const_data_ptr<float>(), static_cast<size_t>(a.numel())),
                     std::span(b.const_data_ptr<float>(), static_cast<size_t>(b.numel())));
}

Row unet_row() {
  const io::Json spec = nets_document()["unet"]["long"];
  auto store = formula_store(read_manifest(spec["tensors"]));
  const models::modelscope::UNet3DConditionModel unet(
      models::modelscope::UNet3DConfig::from(io::Config(spec["config"], "unet")), store.root());
  const auto output =
      unet.forward(formula_tensor("sample", spec["sample"].get<Shape>()), spec["timesteps"].get<std::vector<double>>(),
                   formula_tensor("encoder_hidden_states", spec["encoder_hidden_states"].get<Shape>()));
  return {"one `UNet3DConditionModel` call", tensor_error(output, expected("unet.long")), 1e-5, "relative L2"};
}

Row vae_row() {
  const io::Json spec = nets_document()["vae"]["basic"];
  auto store = formula_store(read_manifest(spec["tensors"]));
  const models::vae::AutoencoderKL vae(models::vae::AutoencoderKLConfig::from(io::Config(spec["config"], "vae")),
                                       store.root());
  const auto output = vae.decode(formula_tensor("latents", spec["latents"].get<Shape>()));
  return {"one `AutoencoderKL` decode", tensor_error(output, expected("vae.basic.decoded")), 1e-5, "relative L2"};
}

/// Prompts of the corpus whose ids differ from the reference, over both padding rules.
Row tokenizer_row() {
  const io::Json forms = io::load_json(kGolden / "clip_forms.json");
  double different = 0;
  size_t prompts = 0;
  for (const bool pads_with_bang : {true, false}) {
    const TempFolder folder;
    folder.write("vocab.json", clip_vocabulary().dump());
    folder.write("merges.txt", read_text(kMerges));
    folder.write_all(forms["forms"][pads_with_bang ? "sd2" : "sd1"]["files"]);
    const auto tokenizer = t2v::text::open_tokenizer(folder.path(), "CLIPTokenizer");
    const auto corpus = clip_corpus(pads_with_bang);
    for (const CorpusRow& row : corpus) different += tokenizer->encode(row.prompt).ids != row.ids;
    prompts = corpus.size();
  }
  return {"CLIP tokenizer, " + std::to_string(prompts) + " prompts, two padding rules", different, 0,
          "prompts that differ"};
}

Row svd_unet_row() {
  const io::Json spec = svd_document()["unet"]["basic"];
  auto store = formula_store(read_manifest(spec["tensors"]));
  const models::svd::UNetSpatioTemporalConditionModel unet(
      models::svd::UNetSpatioTemporalConfig::from(io::Config(spec["config"], "unet")), store.root());
  std::vector<double> ids;
  for (const auto& row : spec["added_time_ids"]) {
    for (const auto& id : row) ids.push_back(id.get<double>());
  }
  const auto output =
      unet.forward(formula_tensor("sample", spec["sample"].get<Shape>()), spec["timestep"].get<double>(),
                   formula_tensor("encoder_hidden_states", spec["encoder_hidden_states"].get<Shape>()), ids);
  return {"one `UNetSpatioTemporalConditionModel` call", tensor_error(output, svd_expected("unet.basic")), 1e-5,
          "relative L2"};
}

/// `frames_limit`: in levels of 255.
void add_run(std::vector<Row>& rows, const std::string& name, const io::Json& run, const WholeRunResult& result,
             double frames_limit) {
  const std::string what = "whole run `" + name + "`, " + std::to_string(run["steps"].get<int64_t>()) + " steps";
  rows.push_back({what, result.latents_error, 1e-4, "relative L2"});
  if (!result.frames_error) return;
  rows.push_back({what + ", frames", static_cast<double>(*result.frames_error), frames_limit, "of 255"});
}

std::vector<Row> measure() {
  const c10::InferenceMode guard;
  std::vector<Row> rows{tokenizer_row(), unet_row(), vae_row(), svd_unet_row()};
  const io::Json golden = pipelines_golden();
  for (const auto& [name, run] : golden["runs"].items()) add_run(rows, name, run, run_whole(golden, name), 1);
  for (const auto& [name, run] : sd_golden()["runs"].items()) {
    add_run(rows, name, run, run_sd(name), 1);
  }
  for (const auto& [name, run] : svd_document()["runs"].items()) add_run(rows, name, run, run_svd(name), 2);
  return rows;
}

std::string number(double value) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  if (value == std::floor(value)) {
    out << value;
  } else {
    out.precision(1);
    out << std::scientific << value;
  }
  return out.str();
}

std::string line_of(const Row& row) {
  return "| " + row.what + " | " + number(row.measured) + " " + row.unit + " | " + number(row.limit) + " |";
}

/// The line with its measured figure left out: what must not change from run to run.
std::string frame_of(const std::string& line) {
  return std::regex_replace(line, std::regex(R"(\| [0-9.e+-]+ (relative|of|prompts))"), "| $1");
}

const std::string kBegin = "<!-- parity: written by tests/pipelines/parity_test.cpp -->\n";
const std::string kEnd = "<!-- parity end -->";

TEST(Parity, readme_table_is_what_this_build_measures) {
  std::string table = "| what, against diffusers 0.42.1 in fp32 on the CPU | measured | limit |\n|---|---|---|\n";
  std::vector<std::string> lines;
  for (const Row& row : measure()) {
    EXPECT_LE(row.measured, row.limit) << row.what;
    lines.push_back(line_of(row));
    table += lines.back() + "\n";
  }
  const std::filesystem::path file = std::filesystem::path(T2V_SOURCE_DIR) / "README.md";
  std::string readme = read_text(file);
  const size_t begin = readme.find(kBegin), end = readme.find(kEnd);
  ASSERT_NE(begin, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  if (std::getenv("T2V_UPDATE_README")) {
    readme.replace(begin + kBegin.size(), end - begin - kBegin.size(), table);
    std::ofstream(file, std::ios::binary) << readme;
    return;
  }
  std::vector<std::string> wanted, got;
  for (const auto& line : lines) wanted.push_back(frame_of(line));
  std::istringstream printed(readme.substr(begin + kBegin.size(), end - begin - kBegin.size()));
  for (std::string line; std::getline(printed, line);) {
    if (line.starts_with("| ") && !line.starts_with("| what")) got.push_back(frame_of(line));
  }
  EXPECT_EQ(got, wanted) << "T2V_UPDATE_README=1 scripts/test -R Parity writes the table anew";
}

}  // namespace
}  // namespace t2v::test
