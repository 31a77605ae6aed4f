// SPDX-License-Identifier: Apache-2.0
// One function a sink file; the table in sinks.cpp is their only caller. spec.format is resolved.
#pragma once

#include <filesystem>
#include <memory>

#include "t2v/frame_sink.hpp"

namespace t2v::media {

using SinkOpener = std::unique_ptr<FrameSink>(const std::filesystem::path& path, const VideoSpec& spec);

SinkOpener open_video_sink;  // ffmpeg_sink.cpp: mp4 mov mkv webm
SinkOpener open_gif_sink;
SinkOpener open_webp_sink;
SinkOpener open_y4m_sink;
SinkOpener open_png_sink;
SinkOpener open_hash_sink;  // check_sinks.cpp
SinkOpener open_null_sink;

/// The error of every sink's finish() when no frame came.
[[noreturn]] void throw_no_frames(const std::string& where);

/// Refuses --codec, --crf, --preset (and --pix-fmt when `pix_fmt` is given and differs) for a
/// format without them.
void refuse_encoder_settings(const VideoSpec& spec, const char* pix_fmt = nullptr);

}  // namespace t2v::media
