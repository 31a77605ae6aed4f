// SPDX-License-Identifier: Apache-2.0
#include "commands/failures.hpp"

#include <string>
#include <string_view>

#include <c10/util/Exception.h>

#include "cli/streams.hpp"
#include "commands/signals.hpp"

namespace t2v::commands {

namespace {

constexpr const char* kLessMemory =
    "try fewer --frames, a smaller --size, --decode-chunk 1 or --vae-tiling";

bool is_out_of_memory(const std::string& message) {
  // c10/core/impl/alloc_cpu.cpp (torch 2.11.0) throws a plain c10::Error for the CPU
  return message.find("not enough memory") != std::string::npos ||
         message.find("can't allocate memory") != std::string::npos;
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
    return {ErrorCode::no_resource, std::string("out of memory: ") + error.what_without_backtrace(),
            kLessMemory};
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    if (is_out_of_memory(message))
      return {ErrorCode::no_resource, "out of memory: " + message, kLessMemory};
    return {ErrorCode::internal, "a bug of t2v: libtorch: " + message,
            "please report this with the command line that caused it"};
  } catch (...) {
    return cli::current_error();
  }
}

}  // namespace t2v::commands
