// SPDX-License-Identifier: Apache-2.0
// The element types of files and of tensors.
#pragma once

#include <c10/core/ScalarType.h>

#include "io/tensor_file.hpp"

namespace t2v {

c10::ScalarType scalar_type(io::DType dtype);
io::DType file_dtype(c10::ScalarType type);  ///< of the types that scalar_type() gives

}  // namespace t2v
