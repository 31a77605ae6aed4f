// SPDX-License-Identifier: Apache-2.0
// Long clips and loops of every UNet family: all frames of a clip begin from one noise, so that whatever differs
// between neighbours is the network's and the windows' doing.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/clip.hpp"
#include "pipelines/family.hpp"
#include "sampling/windows.hpp"

namespace t2v::test {
namespace {

double difference(const Frame& a, const Frame& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

class FamilyClip : public testing::TestWithParam<const char*> {
 protected:
  Family& family() const { return Family::named(GetParam()); }

  /// How much more two frames differ across an end of a window of the last step than elsewhere.
  double seam_ratio(const Request& request) const {
    const Plan plan = family().plan(request);
    const auto frames = static_cast<size_t>(plan.frames);
    std::vector<bool> is_seam(frames + 1, false);
    for (const auto& window : sampling::windows_at(models::window_options(plan), *plan.request.steps - 1)) {
      is_seam[static_cast<size_t>(window.front())] = true;
      is_seam[static_cast<size_t>(window.back() + 1)] = true;
    }
    const std::vector<Frame> clip = family().clip(request);
    std::vector<double> seams, inside;
    for (size_t f = 1; f < frames; ++f) (is_seam[f] ? seams : inside).push_back(difference(clip[f - 1], clip[f]));
    return mean(seams) / mean(inside);
  }
};

TEST_P(FamilyClip, of_64_frames_has_no_seams) {
  Request request = family().request(64);
  request.context = 16;
  const double blended = seam_ratio(request);
  request.context_overlap = 0;
  request.context_blend = "flat";
  const double cut = seam_ratio(request);
  RecordProperty("blended", std::to_string(blended));
  RecordProperty("cut", std::to_string(cut));
  EXPECT_LE(blended, 1.1) << "without blending " << cut;
  EXPECT_LE(blended, cut) << "the measure sees what blending is for";
}

TEST_P(FamilyClip, that_loops_leads_from_its_last_frame_into_its_first) {
  for (const int64_t frames : {12, 40}) {  // within a window, and in windows around the circle
    Request request = family().request(frames);
    request.context = 16;
    const std::vector<Frame> open = family().clip(request);
    request.loop = true;
    const std::vector<Frame> loop = family().clip(request);
    std::vector<double> neighbours;
    for (size_t f = 1; f < loop.size(); ++f) neighbours.push_back(difference(loop[f - 1], loop[f]));
    const double closing = difference(loop.back(), loop.front()), gap = difference(open.back(), open.front());
    const double most = *std::ranges::max_element(neighbours);
    EXPECT_LE(closing, 1.25 * most) << frames << " frames, neighbours " << mean(neighbours) << ", open " << gap;
    EXPECT_LE(closing, gap);
  }
}

/// Names of stages in the order in which they began, and how much each did.
class Stages final : public Progress {
 public:
  void begin(Stage stage, int64_t count) override {
    told.push_back(std::string(stage_name(stage)) + " " + std::to_string(count));
  }
  std::vector<std::string> told;
};

TEST_P(FamilyClip, is_the_same_with_one_network_in_memory_after_the_other) {
  LoadOptions options = family().options();
  options.keep_networks = false;
  const auto model = open_model(options);
  const Request request = family().request(4);
  const Plan plan = model->plan(request), kept = family().plan(request);
  EXPECT_LT(plan.memory.total_peak, kept.memory.total_peak);
  EXPECT_EQ(plan.memory.weights, kept.memory.weights);

  Progress silent;
  const Latents want = family().pipeline().denoise(kept, silent);
  MemorySink frames;
  family().pipeline().decode(want, kept, frames, silent);
  Stages stages;
  const auto pipeline = model->load(stages);
  EXPECT_TRUE(stages.told.empty());
  for (int run = 0; run < 2; ++run) {  // a second run loads again
    EXPECT_EQ(pipeline->denoise(plan, stages).data, want.data);
    MemorySink sink;
    pipeline->decode(want, plan, sink, stages);
    EXPECT_EQ(sink.rgb, frames.rgb);
  }
  const bool is_image = GetParam() == std::string("svd");  // its VAE sees the image, and stays
  const auto text =
      is_image ? std::vector<std::string>{"load 2", "text 2"} : std::vector<std::string>{"load 1", "text 1"};
  std::vector<std::string> want_told = text;
  want_told.insert(want_told.end(), {"load 1", "denoise 6"});
  if (!is_image) want_told.emplace_back("load 1");
  want_told.emplace_back("decode 4");
  want_told.insert(want_told.end(), {"load 1", text[1], "load 1", "denoise 6", "decode 4"});
  EXPECT_EQ(stages.told, want_told);
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyClip, testing::Values("modelscope", "animatediff", "svd"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace t2v::test
