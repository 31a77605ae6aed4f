// SPDX-License-Identifier: Apache-2.0
// Elements of a TensorView as numbers, and the comparison with what the reference libraries wrote.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/config.hpp"
#include "io/tensor_file.hpp"
#include "io_support.hpp"

namespace t2v::test {

inline double half_value(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

inline double element(const io::TensorView& view, size_t index) {
  const std::byte* at = view.bytes.data() + index * static_cast<size_t>(io::dtype_size(view.dtype));
  const auto get = [&]<typename T>(T value) {
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  switch (view.dtype) {
    case io::DType::f64: return get(double{});
    case io::DType::f32: return static_cast<double>(get(float{}));
    case io::DType::f16: return half_value(get(uint16_t{}));
    case io::DType::bf16: return static_cast<double>(std::bit_cast<float>(uint32_t{get(uint16_t{})} << 16));
    case io::DType::f8_e5m2: return half_value(static_cast<uint16_t>(get(uint8_t{}) << 8));
    case io::DType::f8_e4m3: {
      const uint8_t bits = get(uint8_t{});
      const int exponent = bits >> 3 & 15, fraction = bits & 7;
      const double magnitude = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
      return bits & 0x80 ? -magnitude : magnitude;
    }
    case io::DType::i64: return static_cast<double>(get(int64_t{}));
    case io::DType::i32: return get(int32_t{});
    case io::DType::i16: return get(int16_t{});
    case io::DType::i8: return get(int8_t{});
    case io::DType::u8:
    case io::DType::boolean: return get(uint8_t{});
  }
  return 0;
}

/// Row-major, through the strides.
inline std::vector<double> values_of(const io::TensorView& view) {
  std::vector<double> out;
  std::vector<int64_t> index(view.shape.size(), 0), strides = view.strides;
  size_t count = 1;
  for (const int64_t size : view.shape) count *= static_cast<size_t>(size);
  if (strides.empty()) {
    strides.resize(view.shape.size());
    int64_t step = 1;
    for (size_t i = strides.size(); i-- > 0; step *= view.shape[i]) strides[i] = step;
  }
  for (size_t n = 0; n < count; ++n) {
    int64_t position = 0;
    for (size_t i = 0; i < index.size(); ++i) position += index[i] * strides[i];
    out.push_back(element(view, static_cast<size_t>(position)));
    for (size_t i = index.size(); i-- > 0;) {
      if (++index[i] < view.shape[i]) break;
      index[i] = 0;
    }
  }
  return out;
}

inline void expect_equals_golden(const io::TensorFile& file, const std::string& name) {
  static const std::map<std::string, io::DType> kNames{{"float64", io::DType::f64},
                                                       {"float32", io::DType::f32},
                                                       {"float16", io::DType::f16},
                                                       {"bfloat16", io::DType::bf16},
                                                       {"float8_e4m3fn", io::DType::f8_e4m3},
                                                       {"float8_e5m2", io::DType::f8_e5m2},
                                                       {"int64", io::DType::i64},
                                                       {"int32", io::DType::i32},
                                                       {"int16", io::DType::i16},
                                                       {"int8", io::DType::i8},
                                                       {"uint8", io::DType::u8},
                                                       {"bool", io::DType::boolean}};
  const io::Json expected = io::load_json(golden("expected.json")).at(name);
  EXPECT_EQ(file.tensors().size(), expected.size());
  for (const auto& [tensor, row] : expected.items()) {
    SCOPED_TRACE(name + " " + tensor);
    const auto found = file.tensors().find(tensor);
    ASSERT_NE(found, file.tensors().end());
    EXPECT_EQ(found->second.dtype, kNames.at(row.at(0)));
    EXPECT_EQ(found->second.shape, row.at(1).get<std::vector<int64_t>>());
    if (!row.at(2).is_null()) {
      EXPECT_EQ(values_of(found->second), row.at(2).get<std::vector<double>>());
    }
  }
}

}  // namespace t2v::test
