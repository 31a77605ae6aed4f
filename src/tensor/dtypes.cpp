// SPDX-License-Identifier: Apache-2.0
#include "tensor/dtypes.hpp"

#include <array>
#include <utility>

#include "core/check.hpp"

namespace t2v {

namespace {

using enum io::DType;
using Scalar = c10::ScalarType;

constexpr std::array<std::pair<io::DType, Scalar>, 12> kTypes{{{f64, Scalar::Double},
                                                               {f32, Scalar::Float},
                                                               {f16, Scalar::Half},
                                                               {bf16, Scalar::BFloat16},
                                                               {f8_e4m3, Scalar::Float8_e4m3fn},
                                                               {f8_e5m2, Scalar::Float8_e5m2},
                                                               {i64, Scalar::Long},
                                                               {i32, Scalar::Int},
                                                               {i16, Scalar::Short},
                                                               {i8, Scalar::Char},
                                                               {u8, Scalar::Byte},
                                                               {boolean, Scalar::Bool}}};

}  // namespace

c10::ScalarType scalar_type(io::DType dtype) {
  for (const auto& [file, tensor] : kTypes) {
    if (file == dtype) return tensor;
  }
  T2V_CHECK(false, "a file dtype without a row");
}

io::DType file_dtype(c10::ScalarType type) {
  for (const auto& [file, tensor] : kTypes) {
    if (tensor == type) return file;
  }
  T2V_CHECK(false, "a tensor dtype that files do not have");
}

}  // namespace t2v
