// SPDX-License-Identifier: Apache-2.0
// `t2v compare A B`: two videos, pictures, frame patterns or latents files. Exit 1 when --min-psnr
// is not reached.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cli/streams.hpp"
#include "commands/inspect.hpp"
#include "commands/settings.hpp"
#include "commands/tools.hpp"
#include "core/text.hpp"
#include "engine/latents.hpp"
#include "media/compare.hpp"

namespace t2v::commands {

namespace {

using io::Json;

/// JSON has no infinity; equal frames are null, and "inf" in text.
Json decibels(double psnr) { return std::isfinite(psnr) ? Json(psnr) : Json(nullptr); }

std::string fixed(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

int compare_latents(const Invocation& invocation) {
  const Latents a = engine::load_latents(invocation.operands[0]);
  const Latents b = engine::load_latents(invocation.operands[1]);
  if (a.shape != b.shape) {
    throw Error(ErrorCode::bad_input, invocation.operands[1] + ": tensor latents: wanted " + join_ints(a.shape) +
                                          ", got " + join_ints(b.shape));
  }
  double largest = 0;
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < a.data.size(); ++i) {
    const double delta = static_cast<double>(a.data[i]) - static_cast<double>(b.data[i]);
    largest = std::isnan(delta) ? delta : std::max(largest, std::abs(delta));
    difference += delta * delta;
    norm += static_cast<double>(a.data[i]) * static_cast<double>(a.data[i]);
  }
  const double relative = difference == 0 ? 0 : std::sqrt(difference / norm);
  if (invocation.run.json) {
    cli::print_data(settings_text({{"shape", a.shape}, {"max_difference", largest}, {"relative_l2", relative}}) + "\n");
  } else {
    cli::print_data("latents " + join_ints(a.shape) + "\nmax difference " + fixed("%.6g", largest) +
                    "\nrelative L2    " + fixed("%.6g", relative) + "\n");
  }
  if (invocation.run.min_psnr >= 0) {
    throw Error(ErrorCode::usage, "--min-psnr: wanted videos, got latents",
                "compare prints their relative L2 difference");
  }
  return 0;
}

Json frame_json(int64_t frame, const media::FrameDifference& difference) {
  return {{"frame", frame},
          {"psnr", decibels(difference.psnr)},
          {"ssim", difference.ssim},
          {"max_difference", difference.max_difference}};
}

std::string frame_line(int64_t frame, const media::FrameDifference& difference) {
  return fixed("%5.0f", static_cast<double>(frame)) + fixed("  psnr %6.2f", difference.psnr) +
         fixed("  ssim %.5f", difference.ssim) + fixed("  max %3.0f", difference.max_difference) + "\n";
}

int compare_frames_of(const Invocation& invocation) {
  std::string lines;
  Json frames = Json::array();
  const auto result = media::compare_videos(invocation.operands[0], invocation.operands[1],
                                            [&](int64_t frame, const media::FrameDifference& difference) {
                                              if (invocation.run.json) {
                                                frames.push_back(frame_json(frame, difference));
                                              } else {
                                                lines += frame_line(frame, difference);
                                              }
                                            });
  const bool same_length = result.frames_a == result.frames_b;
  if (invocation.run.json) {
    cli::print_data(settings_text({{"frames_a", result.frames_a},
                                   {"frames_b", result.frames_b},
                                   {"psnr", decibels(result.psnr)},
                                   {"min_psnr", decibels(result.min_psnr)},
                                   {"mean_ssim", result.mean_ssim},
                                   {"min_ssim", result.min_ssim},
                                   {"max_difference", result.max_difference},
                                   {"worst_frame", result.worst_frame},
                                   {"frames", frames}}) +
                    "\n");
  } else {
    lines += "all    psnr " + fixed("%6.2f", result.psnr) + fixed("  ssim %.5f", result.mean_ssim) + "  max " +
             fixed("%3.0f", result.max_difference) + "\nworst  psnr " + fixed("%6.2f", result.min_psnr) + "  frame " +
             std::to_string(result.worst_frame) + "\n";
    if (!same_length) {
      lines += "frames " + std::to_string(result.frames_a) + " and " + std::to_string(result.frames_b) +
               ": only the first " + std::to_string(std::min(result.frames_a, result.frames_b)) + " were compared\n";
    }
    cli::print_data(lines);
  }
  // A missing frame is a difference too.
  return invocation.run.min_psnr < 0 || (result.min_psnr >= invocation.run.min_psnr && same_length) ? 0 : 1;
}

}  // namespace

int compare(const Invocation& invocation, const Tools&) {
  const FileKind a = kind_of(invocation.operands[0]);
  const FileKind b = kind_of(invocation.operands[1]);
  if (a == FileKind::latents && b == FileKind::latents) return compare_latents(invocation);
  if (a == FileKind::media && b == FileKind::media) return compare_frames_of(invocation);
  throw Error(ErrorCode::bad_input, "compare: " + invocation.operands[0] + " and " + invocation.operands[1] +
                                        ": wanted two videos, frame patterns or latents files, got something else");
}

}  // namespace t2v::commands
