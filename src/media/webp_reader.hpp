// SPDX-License-Identifier: Apache-2.0
// Animated WebP frame by frame (libavformat reads still WebP only). Frames must cover the whole
// canvas, as ours do.
#pragma once

#include <filesystem>
#include <memory>

#include "media/video_reader.hpp"

namespace t2v::media {

/// Null when the file is no animated WebP (or does not exist: the caller's reader reports that).
std::unique_ptr<VideoReader> open_webp_animation(const std::filesystem::path& path, const VideoLimits& limits);

}  // namespace t2v::media
