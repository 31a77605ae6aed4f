// SPDX-License-Identifier: Apache-2.0
// Standard streams and signals as a program that writes files needs them, and the one place where
// errors are printed.
#pragma once

#include <string>
#include <string_view>

#include "t2v/error.hpp"

namespace t2v::cli {

/// Descriptors 0 to 2 that the caller closed are opened on /dev/null, or a model file would become
/// "standard output". SIGPIPE and SIGXFSZ become write errors.
void prepare_process();

/// Data to standard output, flushed. Error{pipe_closed} when the reader went away, Error{output}
/// otherwise.
void print_data(std::string_view text);

/// How errors are shown from now on: one line of text, or one JSON object ({"event":"error",...}).
void set_error_format(std::string_view log_format);

/// `t2v: error: MESSAGE`, and `hint: HINT` where there is one; nothing for a closed pipe. Returns
/// the exit code.
int print_error(const Error& error);

/// The exception being handled, as an Error: out of memory is no_resource, an unknown one is
/// internal.
Error current_error();

/// A message on one line: control characters and bytes that are no UTF-8 are made visible.
std::string one_line(std::string_view text);

}  // namespace t2v::cli
