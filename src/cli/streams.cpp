// SPDX-License-Identifier: Apache-2.0
#include "cli/streams.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>

#include <nlohmann/json.hpp>

#include "core/text.hpp"

namespace t2v::cli {

namespace {
bool json_errors = false;  // set once, before any thread starts
}

void prepare_process() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) == -1 && errno == EBADF) {
      // open() takes the lowest free number, which is this one
      [[maybe_unused]] const int opened = open("/dev/null", descriptor == STDIN_FILENO ? O_RDONLY : O_WRONLY);
    }
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

void print_data(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EPIPE) {
      throw Error(ErrorCode::pipe_closed, "standard output: the reader went away");
    } else if (errno != EINTR && errno != EAGAIN) {
      throw Error(ErrorCode::output, std::string("standard output: ") + std::strerror(errno));
    }
  }
}

void set_error_format(std::string_view log_format) { json_errors = log_format == "json"; }

int print_error(const Error& error) {
  const int code = exit_code(error.code());
  if (error.code() == ErrorCode::pipe_closed) return code;
  std::string text;
  if (json_errors) {
    nlohmann::ordered_json object{
        {"event", "error"}, {"exit_code", code}, {"message", replace_invalid_utf8(error.what())}};
    if (!error.hint().empty()) object["hint"] = replace_invalid_utf8(error.hint());
    text = object.dump() + "\n";
  } else {
    text = "t2v: error: " + one_line(error.what()) + "\n";
    if (!error.hint().empty()) text += "hint: " + one_line(error.hint()) + "\n";
  }
  [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, text.data(), text.size());
  return code;
}

Error current_error() {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return {ErrorCode::no_resource, "out of memory",
            "try fewer --frames, a smaller --size, --decode-chunk 1 or --vae-tiling"};
  } catch (const std::exception& error) {
    return {ErrorCode::internal, std::string("a bug of t2v: ") + error.what(),
            "please report this with the command line that caused it"};
  } catch (...) {
    return {ErrorCode::internal, "a bug of t2v: an unknown exception",
            "please report this with the command line that caused it"};
  }
}

std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : replace_invalid_utf8(text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7F) {
      constexpr char kHex[] = "0123456789abcdef";
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace t2v::cli
