// SPDX-License-Identifier: Apache-2.0
// verify_videos LIST: judges videos. A line of LIST (or of standard input, "-") is FILE<tab>PROMPT, and gives one line
// of JSON: what the prompt asked for, what is seen, and what was met. FILE is anything t2v reads: a video, f%04d.png.
#include <fstream>
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "media/video_reader.hpp"
#include "t2v/error.hpp"
#include "verifier/verifier.hpp"

namespace {

using nlohmann::ordered_json;
namespace v = t2v::verifier;

v::Clip read(const std::string& file) {
  const auto video = t2v::media::open_video(file, {.max_frames = 256});
  v::Clip clip{int(video->info().width), int(video->info().height), {}};
  std::vector<uint8_t> rgb;
  while (video->next(rgb)) clip.frames.push_back(rgb);
  return clip;
}

ordered_json words(const v::Attributes& a) {
  ordered_json out = ordered_json::object();
  if (a.shape) out["shape"] = v::kShapes[*a.shape];
  if (a.colour) out["colour"] = v::kColours[*a.colour].name;
  if (a.size) out["size"] = v::kSizes[*a.size];
  if (a.motion) out["motion"] = v::kMotions[*a.motion];
  if (a.background) out["background"] = v::kBackgrounds[*a.background].name;
  return out;
}

ordered_json met(const v::Verdict& verdict) {
  ordered_json out = ordered_json::object();
  const auto put = [&](const char* key, std::optional<bool> value) {
    if (value) out[key] = *value;
  };
  put("shape", verdict.shape), put("colour", verdict.colour), put("size", verdict.size);
  put("motion", verdict.motion), put("background", verdict.background);
  return out;
}

void judge_line(const std::string& line) {
  const size_t tab = line.find('\t');
  const std::string file = line.substr(0, tab), prompt = tab == std::string::npos ? "" : line.substr(tab + 1);
  const v::Attributes wanted = v::parse_prompt(prompt);
  const v::Seen seen = v::look(v::shrink(read(file)));
  const ordered_json out{{"file", file},
                         {"prompt", prompt},
                         {"wanted", words(wanted)},
                         {"seen", words(seen.what)},
                         {"met", met(v::judge(wanted, seen))},
                         {"presence", seen.presence},
                         {"travel", {seen.travel_x, seen.travel_y}},
                         {"straightness", seen.straightness},
                         {"radius", seen.radius}};
  std::cout << out.dump() << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: verify_videos LIST   (lines of FILE<tab>PROMPT; - for standard input)\n";
    return 2;
  }
  std::ifstream file;
  if (std::string(argv[1]) != "-") file.open(argv[1]);
  std::istream& in = std::string(argv[1]) == "-" ? std::cin : file;
  if (!in) {
    std::cerr << "verify_videos: cannot read " << argv[1] << "\n";
    return 3;
  }
  try {
    for (std::string line; std::getline(in, line);) {
      if (!line.empty()) judge_line(line);
    }
  } catch (const t2v::Error& error) {
    std::cerr << "verify_videos: " << error.what() << "\n";
    return 3;
  }
  return 0;
}
