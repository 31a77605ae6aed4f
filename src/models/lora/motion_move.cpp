// SPDX-License-Identifier: Apache-2.0
#include "models/lora/motion_move.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <utility>

#include "sampling/camera.hpp"

namespace t2v::models::lora {

namespace {

/// Letters of a name -> the word. What is part of another comes after it.
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kSpellings{{
    {"panleft", "pan-left"},
    {"panright", "pan-right"},
    {"tiltup", "tilt-up"},
    {"tiltdown", "tilt-down"},
    {"zoomin", "zoom-in"},
    {"zoomout", "zoom-out"},
    {"anticlockwise", "roll-ccw"},
    {"counterclockwise", "roll-ccw"},
    {"clockwise", "roll-cw"},
    {"rollccw", "roll-ccw"},
    {"rollcw", "roll-cw"},
    {"rollleft", "roll-left"},
    {"rollright", "roll-right"},
    {"rollanti", "roll-ccw"},
}};
constexpr std::array<std::string_view, 3> kFilesOfFolders{"diffusion_pytorch_model", "pytorch_lora_weights",
                                                          "adapter_model"};

std::string letters(const std::string& name) {
  std::string out;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalpha(byte)) out += static_cast<char>(std::tolower(byte));
  }
  return out;
}

}  // namespace

std::string_view move_named_by(const std::filesystem::path& file) {
  const bool is_of_folder = std::ranges::find(kFilesOfFolders, file.stem().string()) != kFilesOfFolders.end();
  const std::string name = letters((is_of_folder ? file.parent_path().filename() : file.stem()).string());
  for (const auto& [spelling, word] : kSpellings) {
    if (name.find(spelling) != std::string::npos) return word;
  }
  return {};
}

bool is_same_move(std::string_view a, std::string_view b) {
  const auto& words = sampling::camera_words();
  const auto first = std::ranges::find(words, a, &sampling::CameraWord::name);
  const auto second = std::ranges::find(words, b, &sampling::CameraWord::name);
  return first != words.end() && second != words.end() && first->move == second->move;
}

}  // namespace t2v::models::lora
