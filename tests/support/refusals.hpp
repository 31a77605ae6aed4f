// SPDX-License-Identifier: Apache-2.0
// What configs and checkpoints that do not fit must be told.
#pragma once

#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "t2v/error.hpp"

namespace t2v::test {

/// A config.json that is refused, and the key that the error names.
struct HostileConfig {
  const char* name;
  const char* json;
  const char* key;
};

inline std::string name_of(const testing::TestParamInfo<HostileConfig>& info) { return info.param.name; }

/// `read` of the config must throw bad_input or unsupported and name "`where`: key".
inline void expect_refused_by_key(const HostileConfig& config, const std::string& where,
                                  const std::function<void()>& read) {
  try {
    read();
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::bad_input || error.code() == ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find(where + ": " + config.key), std::string::npos) << error.what();
  }
}

/// What `build` says of its weights, from the end of the file's name on; "accepted" where it says nothing.
inline std::string refusal_of_weights(const std::function<void()>& build) {
  try {
    build();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    const std::string text = error.what();
    const size_t file_end = text.find(".safetensors");
    return file_end == std::string::npos ? text : text.substr(file_end + 12);
  }
  return "accepted";
}

}  // namespace t2v::test
