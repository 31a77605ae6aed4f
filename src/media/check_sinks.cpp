// SPDX-License-Identifier: Apache-2.0
// Sinks for tests and timing: `hash` prints SHA-256 sums of the raw RGB frames (a conformance test
// in one command), `null` takes frames and keeps nothing.
#include <array>
#include <memory>

#include "media/av.hpp"
#include "media/encoder.hpp"
#include "media/output_file.hpp"
#include "media/sink_openers.hpp"

extern "C" {
#include <libavutil/mem.h>
#include <libavutil/sha.h>
}

namespace t2v::media {

namespace {

class Sha256 {
 public:
  Sha256() : state_(av_sha_alloc()) {
    if (!state_) throw Error(ErrorCode::no_resource, "hash: out of memory");
    av_sha_init(state_.get(), 256);
  }
  void update(std::span<const uint8_t> bytes) { av_sha_update(state_.get(), bytes.data(), bytes.size()); }
  std::string hex() {
    std::array<uint8_t, 32> digest;
    av_sha_final(state_.get(), digest.data());
    std::string text;
    for (const uint8_t byte : digest) {
      constexpr char kDigits[] = "0123456789abcdef";
      text += kDigits[byte >> 4];
      text += kDigits[byte & 15];
    }
    return text;
  }

 private:
  struct Free {
    void operator()(AVSHA* state) const { av_free(state); }
  };
  std::unique_ptr<AVSHA, Free> state_;
};

/// A line a frame, `<index> <sha256>`, and last `all <sha256> <frames>x<height>x<width>`.
class HashSink final : public FrameSink {
 public:
  HashSink(const std::filesystem::path& path, const VideoSpec& spec) : spec_(spec), file_(path, spec.overwrite) {}
  void write(const FrameView& frame) override {
    Sha256 one;
    one.update(frame.rgb);
    all_.update(frame.rgb);
    file_.write(std::to_string(frames_++) + " " + one.hex() + "\n");
  }
  void finish() override {
    if (frames_ == 0) throw_no_frames(file_.where());
    file_.write("all " + all_.hex() + " " + std::to_string(frames_) + "x" + std::to_string(spec_.height) + "x" +
                std::to_string(spec_.width) + "\n");
    file_.commit();
  }

 private:
  VideoSpec spec_;
  OutputFile file_;
  Sha256 all_;
  int64_t frames_ = 0;
};

class NullSink final : public FrameSink {
 public:
  void write(const FrameView&) override { ++frames_; }
  void finish() override {
    if (frames_ == 0) throw_no_frames("null");
  }

 private:
  int64_t frames_ = 0;
};

}  // namespace

std::unique_ptr<FrameSink> open_hash_sink(const std::filesystem::path& path, const VideoSpec& spec) {
  return std::make_unique<HashSink>(path, spec);
}

std::unique_ptr<FrameSink> open_null_sink(const std::filesystem::path&, const VideoSpec&) {
  return std::make_unique<NullSink>();
}

}  // namespace t2v::media
