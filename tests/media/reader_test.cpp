// SPDX-License-Identifier: Apache-2.0
// Reading: sequences, limits, and files that are not what they say.
#include "media/video_reader.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "media/compare.hpp"
#include "media_support.hpp"

namespace t2v::media::test {
namespace {

void write_bytes(const fs::path& path, const std::vector<uint8_t>& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

TEST(VideoReader, a_sequence_starts_at_its_lowest_number) {
  TempFolder folder;
  write_clip(folder / "f%02d.png", spec_of(8, 8), 5);
  fs::remove(folder / "f00.png");
  fs::remove(folder / "f01.png");
  const auto video = open_video(folder / "f%02d.png");
  EXPECT_EQ(video->info().frames, 3);
  std::vector<uint8_t> rgb;
  ASSERT_TRUE(video->next(rgb));
  EXPECT_EQ(rgb, gradient(8, 8, 2).rgb);
}

TEST(VideoReader, a_gap_in_a_sequence_is_named) {
  TempFolder folder;
  write_clip(folder / "f%02d.png", spec_of(8, 8), 5);
  fs::remove(folder / "f02.png");
  const std::string message = error_of(ErrorCode::bad_input, [&] { open_video(folder / "f%02d.png"); });
  EXPECT_NE(message.find("f02.png"), std::string::npos) << message;
}

TEST(VideoReader, frame_limit_stops_early) {
  TempFolder folder;
  for (const char* name : {"a.mp4", "a.webp", "a%d.png"}) {
    write_clip(folder / name, spec_of(16, 16), 9);
    const auto video = open_video(folder / name, {.max_frames = 4});
    std::vector<uint8_t> rgb;
    int count = 0;
    while (video->next(rgb)) ++count;
    EXPECT_EQ(count, 4) << name;
  }
}

TEST(VideoReader, Row39_pictures_above_the_limit_are_refused) {
  TempFolder folder;
  for (const char* name : {"a.png", "a.mp4", "a.webp"}) {
    write_clip(folder / name, spec_of(64, 64), std::string_view(name) == "a.png" ? 1 : 2);
    error_of(ErrorCode::bad_input, [&] { open_video(folder / name, {.max_side = 32}); });
    error_of(ErrorCode::bad_input, [&] { open_video(folder / name, {.max_pixels = 1000}); });
  }
}

TEST(VideoReader, missing_empty_and_foreign_files_are_input_errors) {
  TempFolder folder;
  write_bytes(folder / "empty.mp4", {});
  write_bytes(folder / "text.mp4", std::vector<uint8_t>(1000, 'x'));
  for (const char* name : {"none.mp4", "none%d.png", "empty.mp4", "text.mp4"}) {
    error_of(ErrorCode::bad_input, [&] { open_video(folder / name); });
  }
  error_of(ErrorCode::bad_input, [&] { open_video(folder.path()); });
  error_of(ErrorCode::bad_input, [&] { open_video("/dev/zero"); });
}

TEST(VideoReader, a_playlist_can_not_make_it_read_other_files) {
  TempFolder folder;
  write_clip(folder / "secret.mp4", spec_of(16, 16), 2);
  const std::string target = (folder / "secret.mp4").string();
  const std::string concat = "ffconcat version 1.0\nfile " + target + "\n";
  const std::string playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + target + "\n#EXT-X-ENDLIST\n";
  write_bytes(folder / "a.ffconcat", {concat.begin(), concat.end()});
  write_bytes(folder / "a.m3u8", {playlist.begin(), playlist.end()});
  const auto read_all = [&](const char* name) {
    const auto video = open_video(folder / name);
    std::vector<uint8_t> rgb;
    while (video->next(rgb)) {
    }
  };
  error_of(ErrorCode::bad_input, [&] { read_all("a.ffconcat"); });
  error_of(ErrorCode::bad_input, [&] { read_all("a.m3u8"); });
}

int64_t open_sockets() {
  std::error_code ignored;
  const fs::directory_iterator descriptors("/proc/self/fd", ignored);
  return std::count_if(begin(descriptors), end(descriptors), [](const fs::directory_entry& descriptor) {
    std::error_code closed_meanwhile;
    return fs::read_symlink(descriptor, closed_meanwhile).string().starts_with("socket:");
  });
}

/// Whether `action` had a socket open for longer than a look at the open files takes.
bool opens_a_socket(const std::function<void()>& action) {
  const int64_t before = open_sockets();
  std::atomic<bool> is_done = false, is_seen = false;
  std::thread watch([&] {
    while (!is_done) {
      if (open_sockets() > before) is_seen = true;
    }
  });
  action();
  is_done = true;
  watch.join();
  return is_seen;
}

TEST(VideoReader, Row39_what_leads_to_the_network_is_refused_by_name_and_at_once) {
  struct Lure {
    const char *format, *text;
  };
  const Lure lures[] = {
      {"sdp",
       "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 45454 RTP/AVP 96\n"
       "a=rtpmap:96 H264/90000\n"},
      {"hls", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"},
      {"dash",
       "<?xml version=\"1.0\"?>\n<MPD profiles=\"urn:mpeg:dash:profile:isoff-main:2011\" type=\"static\"><Period>"
       "<AdaptationSet mimeType=\"video/mp4\"><Representation id=\"1\" "
       "bandwidth=\"1\"><BaseURL>http://127.0.0.1:9/a.mp4"
       "</BaseURL></Representation></AdaptationSet></Period></MPD>\n"},
      {"concat", "ffconcat version 1.0\nfile http://127.0.0.1:9/a.mp4\n"},
  };
  TempFolder folder;
  for (const Lure& lure : lures) {
    const std::string text = lure.text, name = std::string(lure.format) + ".mp4";
    write_bytes(folder / name, {text.begin(), text.end()});
    const auto start = std::chrono::steady_clock::now();
    std::string message;
    EXPECT_FALSE(opens_a_socket([&] { message = error_of(ErrorCode::bad_input, [&] { open_video(folder / name); }); }))
        << name;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1)) << name;
    EXPECT_NE(message.find(name + ": wanted a video or a picture, got " + lure.format + " ("), std::string::npos)
        << message;
  }
}

TEST(VideoReader, Row39_cut_and_flipped_bytes_never_crash) {
  for (const char* name : {"a.mp4", "a.webp", "a.gif", "a.y4m", "a.mkv", "a.png"}) {
    TempFolder folder;
    VideoSpec spec = spec_of(32, 32);
    spec.metadata = "{\"a\":1}";
    write_clip(folder / name, spec, std::string_view(name) == "a.png" ? 1 : 4);
    const auto whole = read_bytes(folder / name);
    for (size_t trial = 0; trial < 40; ++trial) {
      std::vector<uint8_t> bytes = whole;
      if (trial % 2 == 0) {
        bytes.resize(whole.size() * trial / 40);
      } else {
        for (size_t k = 0; k < 8; ++k)
          bytes[(trial * 7919 + k * 104729) % bytes.size()] ^= static_cast<uint8_t>(trial * 37 + k);
      }
      write_bytes(folder / name, bytes);
      try {
        const auto video = open_video(folder / name);
        std::vector<uint8_t> rgb;
        while (video->next(rgb)) {
        }
      } catch (const Error& error) {
        EXPECT_TRUE(error.code() == ErrorCode::bad_input || error.code() == ErrorCode::unsupported) << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace t2v::media::test
