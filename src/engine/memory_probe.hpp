// SPDX-License-Identifier: Apache-2.0
// What a network call costs, without doing it: the call runs on meta tensors (shapes without data) under an allocator
// that only counts.
#pragma once

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace t2v::engine {

struct CallCost {
  int64_t peak_bytes = 0;  ///< of tensors alive at the same time; those that existed before do not count
  int64_t heap_bytes =
      0;              ///< resident for them on the CPU: with the holes that blocks of changing sizes leave in the heap
  int64_t flops = 0;  ///< see tensor/flops.hpp

  int64_t taken_on(c10::Device device) const { return device.is_cpu() ? heap_bytes : peak_bytes; }
};

/// Runs `call`, which must use meta tensors only (networks built from WeightStore::header_only or shapes_only). Scratch
/// memory inside a kernel is not seen. Not reentrant.
CallCost probe(const std::function<void()>& call);

/// A shape for a probe: fp32, without data.
at::Tensor meta(at::IntArrayRef shape);
/// Bytes of a probe as they are in another dtype.
int64_t scaled(int64_t bytes, c10::ScalarType dtype);

/// Resident memory that libtorch and its libraries cost before any tensor exists, measured (torch 2.11, x86-64).
constexpr int64_t kLibraryBytes = 190'000'000;

}  // namespace t2v::engine
