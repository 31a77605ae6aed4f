// SPDX-License-Identifier: Apache-2.0
#include "commands/failures.hpp"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include <c10/util/Exception.h>

#include "cli/streams.hpp"
#include "commands/signals.hpp"
#include "core/text.hpp"

namespace t2v::commands {

namespace {

constexpr const char* kLessMemory = "try fewer --frames, a smaller --size, --decode-chunk 1 or --vae-tiling";

bool has_any(const std::string& message, std::initializer_list<std::string_view> parts) {
  return std::ranges::any_of(parts, [&](std::string_view part) { return message.find(part) != message.npos; });
}

/// Of libtorch 2.11.0: the CPU's allocator (c10/core/impl/alloc_cpu.cpp), and what the CUDA runtime, cuBLAS and cuDNN
/// report when what they take beside libtorch's own allocator is not there. All are plain c10::Errors.
bool is_out_of_memory(const std::string& message) {
  return has_any(message, {"not enough memory", "can't allocate memory", "CUDA error: out of memory",
                           "_STATUS_ALLOC_FAILED", "_ALLOCATION_FAILED"});
}

/// The machine's fault, not that of a kernel of ours (cudaGetErrorString of CUDA 13).
bool is_lost_device(const std::string& message) {
  return has_any(message, {"no kernel image is available", "no CUDA-capable device", "busy or unavailable",
                           "driver version is insufficient", "uncorrectable ECC error", "GPU is lost",
                           "system not yet initialized", "hardware stack error"});
}

}  // namespace

Error current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::interrupted) return error;
    const bool is_terminated = stop_code() == ErrorCode::terminated;
    return {stop_code(), is_terminated ? "terminated" : error.what(), error.hint()};
  } catch (const c10::OutOfMemoryError& error) {
    return {ErrorCode::no_resource, "out of memory: " + first_line(error.what_without_backtrace()), kLessMemory};
  } catch (const c10::Error& error) {
    const std::string message = first_line(  // libtorch adds advice for people who debug kernels
        error.what_without_backtrace());
    if (is_out_of_memory(message)) return {ErrorCode::no_resource, "out of memory: " + message, kLessMemory};
    if (is_lost_device(message)) {
      return {ErrorCode::no_resource, message,
              "`nvidia-smi` shows the state of the driver and its devices; --device cpu computes without them"};
    }
    return {ErrorCode::internal, "a bug of t2v: libtorch: " + message,
            "please report this with the command line that caused it"};
  } catch (...) {
    return cli::current_error();
  }
}

}  // namespace t2v::commands
