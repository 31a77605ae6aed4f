// SPDX-License-Identifier: Apache-2.0
// Events of a run, and the way to stop it.
#pragma once

#include <cstdint>
#include <string_view>

#include "t2v/export.hpp"

namespace t2v {

enum class Stage { load, text, denoise, decode, encode };

constexpr std::string_view stage_name(Stage stage) noexcept {
  switch (stage) {
    case Stage::load: return "load";
    case Stage::text: return "text";
    case Stage::denoise: return "denoise";
    case Stage::decode: return "decode";
    case Stage::encode: return "encode";
  }
  return "";
}

/// Receives the events of one run. All calls come from the thread that called Pipeline; the default ignores them.
/// cancelled() may be asked at any step or frame; when it says true the run throws Error{interrupted}.
class T2V_API Progress {
 public:
  virtual ~Progress() = default;
  virtual void begin(Stage, int64_t /*count: 0 = unknown*/) {}
  virtual void step(Stage, int64_t /*index, from 0*/, int64_t /*count*/, double /*seconds of this step*/) {}
  virtual void end(Stage, double /*seconds of the stage*/) {}
  virtual bool cancelled() { return false; }
};

}  // namespace t2v
