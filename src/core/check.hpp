// SPDX-License-Identifier: Apache-2.0
// Programmer errors only: user input never reaches a check.
#pragma once

#include <string>

#include "t2v/error.hpp"

#define T2V_CHECK(condition, sentence)                                                                   \
  do {                                                                                                   \
    if (!(condition)) {                                                                                  \
      throw ::t2v::Error(                                                                                \
          ::t2v::ErrorCode::internal,                                                                    \
          std::string("a bug of t2v: ") + __FILE__ + ":" + std::to_string(__LINE__) + ": " + (sentence), \
          "please report this with the command line that caused it");                                    \
    }                                                                                                    \
  } while (false)
