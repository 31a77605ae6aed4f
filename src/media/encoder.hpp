// SPDX-License-Identifier: Apache-2.0
// One opened video encoder: picked from a list of names, set up from VideoSpec, checked before any
// frame exists.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "media/av.hpp"
#include "media/convert.hpp"
#include "t2v/frame_sink.hpp"

namespace t2v::media {

/// The part of VideoSpec that names the encoder's options, checked for one container.
struct EncoderRequest {
  int64_t width = 0, height = 0;
  Rational fps{8, 1};
  std::vector<std::string> codecs;  ///< first one present is used; a warning names it when it is not the first
  std::string pix_fmt;              ///< empty: the encoder's default of ours
  std::string preset;               ///< empty: ours
  int crf = -1;                     ///< -1: ours
  bool global_header = false;       ///< the container wants the codec's header apart from the packets
  int threads = 4;                  ///< never "as many as there are": x264's output depends on the count
  bool is_tagged = true;            ///< say in the stream which colour space it is
  std::map<std::string, std::string> options;  ///< further options of the encoder, by libav's names
};

/// The encoder names a user's --codec may mean: "h264" -> libx264, libopenh264. An encoder's own
/// name stands for itself.
std::vector<std::string> codec_candidates(const std::string& name);

/// Throws Error{usage} for sizes that `format` can't hold (odd sizes of subsampled formats) or that
/// are out of range.
void check_frame_size(int64_t width, int64_t height, AVPixelFormat format);
/// Throws Error{usage} unless 0 < fps <= 240 with terms libav can hold; returns it in lowest terms.
Rational checked_fps(Rational fps);

/// Not thread-safe.
class VideoEncoder {
 public:
  /// Throws Error{usage} for an unknown codec, pixel format, preset, crf or option;
  /// Error{unsupported} when no encoder of the list is present.
  explicit VideoEncoder(const EncoderRequest& request);

  AVCodecContext* context() const { return context_.get(); }
  const std::string& name() const { return name_; }

  using PacketHandler = std::function<void(AVPacket*)>;
  /// Converts and encodes the next frame; `handler` gets every finished packet, timestamps in
  /// context()->time_base.
  void encode(const FrameView& frame, const std::string& where, const PacketHandler& handler);
  /// The same for a frame that needs no conversion, where takes_yuv420().
  void encode(const Yuv420View& frame, const std::string& where, const PacketHandler& handler);
  bool takes_yuv420() const { return converter_->makes_yuv420(); }
  /// After the last frame.
  void drain(const std::string& where, const PacketHandler& handler);

 private:
  void make_writable(const std::string& where);
  void send(const std::string& where, const PacketHandler& handler);
  void receive(const std::string& where, const PacketHandler& handler);

  std::string name_;
  UniqueCodecContext context_;
  std::unique_ptr<FrameConverter> converter_;
  UniqueFrame frame_;
  UniquePacket packet_;
  int64_t next_pts_ = 0;
};

}  // namespace t2v::media
