// SPDX-License-Identifier: Apache-2.0
// Bytes -> the settings recorded in a video, as --from takes them, and a configuration file of the
// same bytes.
#include "commands/settings.hpp"
#include "cli/layers.hpp"
#include "fuzz_support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using t2v::ErrorCode;
  static const t2v::fuzz::FuzzFolder folder;
  const std::string text(reinterpret_cast<const char*>(data), size);
  t2v::fuzz::expect_clean([&] {
    const auto invocation = t2v::commands::with_settings({}, text, "fuzz.mp4");
    const auto& output = invocation.output;
    t2v::fuzz::require(output.path.empty() && output.save_latents.empty() && !output.overwrite);
    t2v::fuzz::require(invocation.first_frame.keep.empty() && invocation.run.prompt_file.empty());
  });
  const std::initializer_list<ErrorCode> codes{ErrorCode::bad_input, ErrorCode::usage};
  t2v::fuzz::expect_clean(
      [&] {
        const auto file = folder.write("t2v.toml", text);
        t2v::cli::build(t2v::cli::Command::generate, {}, t2v::cli::read_config(file, t2v::cli::Command::generate));
      },
      codes);
  return 0;
}
