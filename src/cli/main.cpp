// SPDX-License-Identifier: Apache-2.0
// The program: understands the command line, answers at once what needs no engine, and hands the
// rest to libt2v.so.
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "cli/devices.hpp"
#include "cli/documents.hpp"
#include "cli/engine_library.hpp"
#include "cli/layers.hpp"
#include "cli/preflight.hpp"
#include "cli/streams.hpp"
#include "core/log.hpp"

namespace t2v::cli {

namespace {

void show(const Invocation& invocation) {
  const ShowOptions& what = invocation.show;
  if (what.help) print_data(help_text(invocation.command));
  if (what.version) print_data(version_text());
  if (what.samplers) print_data(sampler_list());
  if (what.devices) print_data(device_list());
  if (what.man) print_data(man_page());
  if (what.flag_table) print_data(flag_table());
  if (!what.completion.empty()) print_data(completion_script(what.completion));
}

/// Before the options are understood, their errors need a form already.
void guess_error_format(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const bool json_next = i + 1 < arguments.size() && arguments[i + 1] == "json";
    if (word == "--log-format=json" || word == "--log_format=json") set_error_format("json");
    if ((word == "--log-format" || word == "--log_format") && json_next) set_error_format("json");
  }
}

int run(const std::vector<std::string>& arguments) {
  guess_error_format(arguments);
  const Invocation invocation = parse(arguments);
  set_error_format(invocation.run.log_format);
  if (invocation.show.any()) {
    show(invocation);
    return 0;
  }
  log::setup(static_cast<int>(invocation.run.verbosity), invocation.run.json_messages());
  if (preflight(invocation) == Verdict::skip) {
    log::info("{}: exists, skipped", invocation.output.path);
    return 0;
  }
  return run_in_engine(invocation);
}

}  // namespace

}  // namespace t2v::cli

int main(int argc, char** argv) {
  t2v::cli::prepare_process();
  int code = 0;
  try {
    code = t2v::cli::run({argv + (argc > 0 ? 1 : 0), argv + argc});
  } catch (...) {
    code = t2v::cli::print_error(t2v::cli::current_error());
  }
  // libtorch's own tear-down costs 0.12 s and frees what the kernel frees anyway.
  std::fflush(nullptr);
  _exit(code);
}
