// SPDX-License-Identifier: Apache-2.0
// Bytes -> config: every getter on every key, in range or refused.
#include <cmath>

#include "fuzz_support.hpp"
#include "io/config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using t2v::fuzz::expect_clean;
  expect_clean([&] {
    const std::string text(reinterpret_cast<const char*>(data), size);
    const t2v::io::Config config(t2v::io::parse_json(text, "fuzz", {.allow_nonfinite = true}), "fuzz");
    for (const auto& [key, value] : config.json().items()) {
      expect_clean([&, &name = key] {
        const auto number = config.get_int(name, 5, 1, 64);
        if (number < 1 || number > 64) std::abort();
      });
      expect_clean([&, &name = key] {
        if (std::isnan(config.get_double(name, 0.0))) std::abort();
      });
      expect_clean([&, &name = key] { config.get_bool(name, false); });
      expect_clean([&, &name = key] { config.get_string(name, ""); });
      expect_clean([&, &name = key] { config.get_strings(name); });
      expect_clean([&, &name = key] { config.get_doubles(name); });
      expect_clean([&, &name = key] {
        if (config.get_ints(name, 4, std::vector<int64_t>(4, 1)).size() != 4) std::abort();
      });
      expect_clean([&, &name = key] { config.get_int_list(name); });
    }
  });
  return 0;
}
