// SPDX-License-Identifier: Apache-2.0
// Events of a run, and the ways to stop it, to keep what it has done and to continue it.
#pragma once

#include <cstdint>
#include <string_view>

#include "t2v/export.hpp"
#include "t2v/run_state.hpp"

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

  /// Asked after every denoising step but the last: whether keep_state() shall get the state. It is copied only then.
  virtual bool wants_state(int64_t /*steps done*/, int64_t /*steps*/) { return false; }
  virtual void keep_state(RunState) {}
  /// Asked when denoising begins: the state to continue from. Null: from the start.
  virtual const RunState* resume_state() { return nullptr; }
};

}  // namespace t2v
