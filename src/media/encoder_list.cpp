// SPDX-License-Identifier: Apache-2.0
#include "media/encoder_list.hpp"

#include "media/avio.hpp"
#include "media/encoder.hpp"

namespace t2v::media {

namespace {

struct CodecRow {
  const char* codec;    ///< libav's name
  const char* encoder;  ///< null: those that --codec takes for the codec's name
};

constexpr CodecRow kCodecs[] = {
    {"h264", nullptr},  {"h264", "libx264rgb"}, {"hevc", nullptr},   {"vp9", nullptr},
    {"vp8", nullptr},   {"av1", nullptr},       {"prores", nullptr}, {"ffv1", "ffv1"},
    {"mpeg4", "mpeg4"}, {"gif", "gif"},         {"webp", "libwebp"}, {"png", "png"},
};

/// The best first.
std::vector<std::string> encoders_of(const CodecRow& row) {
  return row.encoder ? std::vector<std::string>{row.encoder} : codec_candidates(row.codec);
}

std::string video_codec_of(const std::filesystem::path& file) {
  AvioInput input(file);
  const UniqueInputContext container = input.open_container();
  for (unsigned i = 0; i < container->nb_streams; ++i) {
    const AVCodecParameters* stream = container->streams[i]->codecpar;
    if (stream->codec_type == AVMEDIA_TYPE_VIDEO) return avcodec_get_name(stream->codec_id);
  }
  return {};
}

}  // namespace

EncoderList list_encoders() {
  EncoderList list;
  for (const CodecRow& row : kCodecs) {
    for (const std::string& name : encoders_of(row)) {
      (avcodec_find_encoder_by_name(name.c_str()) ? list.here : list.missing).push_back(name);
    }
  }
  return list;
}

std::string encoder_of(const std::filesystem::path& file) {
  const std::string codec = video_codec_of(file);
  for (const CodecRow& row : kCodecs) {
    if (codec != row.codec) continue;
    if (const AVCodec* encoder = first_encoder(encoders_of(row))) return encoder->name;
  }
  return {};
}

}  // namespace t2v::media
