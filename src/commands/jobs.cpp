// SPDX-License-Identifier: Apache-2.0
#include "commands/jobs.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include "cli/layers.hpp"
#include "cli/option_table.hpp"
#include "cli/preflight.hpp"
#include "commands/content_id.hpp"
#include "io/config.hpp"

namespace t2v::commands {

namespace fs = std::filesystem;

namespace {

struct Line {
  int64_t number;
  std::string text;
};

/// std::getline that keeps at most one byte more than `most`: the file may be /dev/zero.
bool read_line(std::istream& in, std::string& text, size_t most) {
  text.clear();
  int next = in.get();
  if (next == std::istream::traits_type::eof()) return false;
  for (; next != std::istream::traits_type::eof() && next != '\n'; next = in.get()) {
    text += static_cast<char>(next);
    if (text.size() > most) return true;
  }
  return true;
}

std::vector<Line> read_lines(const std::string& file) {
  constexpr size_t kMaxLine = size_t{1} << 20;
  constexpr size_t kMaxJobs = 100000;
  std::ifstream in_file;
  if (file != "-") in_file.open(file, std::ios::binary);
  std::istream& in = file == "-" ? std::cin : in_file;
  if (!in) throw Error(ErrorCode::bad_input, "batch: " + file + ": wanted a readable job file, got none");
  std::vector<Line> lines;
  std::string text;
  for (int64_t number = 1; read_line(in, text, kMaxLine); ++number) {
    if (number == 1 && text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
    if (text.ends_with('\r')) text.pop_back();
    if (text.size() > kMaxLine || lines.size() >= kMaxJobs) {
      throw Error(ErrorCode::bad_input, "batch: " + file + ": line " + std::to_string(number) + ": wanted at most " +
                                            std::to_string(kMaxJobs) + " lines of 1 MiB, got more");
    }
    if (text.find_first_not_of(" \t") != std::string::npos) lines.push_back({number, text});
  }
  return lines;
}

/// By name, else by the first character: an object a line starts with '{'.
bool is_json_lines(const std::string& file, const std::vector<Line>& lines) {
  const std::string extension = fs::path(file).extension().string();
  if (extension == ".txt") return false;
  if (extension == ".jsonl" || extension == ".ndjson") return true;
  return !lines.empty() && lines.front().text[lines.front().text.find_first_not_of(" \t")] == '{';
}

/// What one video of many can have of its own. The rest is the command's, or answers at once.
bool is_of_a_job(const cli::Option& option) {
  if (option.group == cli::Group::run) return option.name == "from" || option.name == "checkpoint-every";
  return option.group != cli::Group::information;
}

cli::Layer job_layer(const Line& line, bool is_json, const std::string& where) {
  if (!is_json) return {{"prompt", {line.text}, where}};
  cli::Layer layer = cli::read_json(io::parse_json(line.text, where), where);
  for (const auto& given : layer) {
    if (is_of_a_job(*cli::find_option(given.name, cli::Command::generate))) continue;
    throw Error(ErrorCode::usage, given.label + ": wanted a flag of one video, got one of the whole command",
                cli::find_option(given.name, cli::Command::batch) ? "t2v batch takes it beside JOBS" : "");
  }
  return layer;
}

/// out/%04d.mp4, or a folder: then %04d.mp4 in it.
std::string output_name(const std::string& pattern, int64_t number) {
  std::error_code ignored;
  const bool is_folder = pattern.ends_with('/') || fs::is_directory(pattern, ignored);
  return cli::frame_path(is_folder ? (fs::path(pattern) / "%04d.mp4").string() : pattern, number);
}

/// Also in the record of the job's unfinished run, which is continued on its own.
void number_output(cli::Layer& all, int64_t number) {
  const auto output = std::ranges::find(all, "output", &cli::Given::name);
  if (output == all.end() || output->values.back().empty()) return;
  output->values = {output_name(output->values.back(), number)};
}

/// Differs whenever something else is asked for. Options are sorted, so their order does not
/// matter.
std::string job_id(const cli::Invocation& invocation) {
  std::map<std::string, std::string> values;
  for (const auto& given : invocation.given) {
    for (const auto& value : given.values) values[given.name] += value + '\0';
  }
  for (const char* name : {"progress", "log-format", "verbose", "quiet", "overwrite", "skip-existing", "resume",
                           "threads", "dry-run", "checkpoint-every", "keep-latents"}) {
    values.erase(name);
  }
  values["output"] = invocation.output.path;
  ContentId id;
  for (const auto& [name, value] : values) {
    id.add(name + '\0' + value + '\0');
  }
  return id.text();
}

Job read_job(const Line& line, bool is_json, const cli::Invocation& batch) {
  Job job;
  job.number = line.number;
  const std::string where =
      fs::path(batch.operands.front()).filename().string() + ": line " + std::to_string(line.number);
  try {
    const cli::Layer own = job_layer(line, is_json, where);
    const bool names_output = std::ranges::find(own, "output", &cli::Given::name) != own.end();
    cli::Layer all = cli::merge(batch.given, own);
    if (!names_output) number_output(all, line.number);
    // The batch's own --resume is a flag; that of generate names a state, which is found by itself here.
    std::erase_if(all, [](const cli::Given& given) { return given.name == "resume"; });
    cli::expand_prompt(all, false);
    job.invocation = cli::build(cli::Command::generate, {}, std::move(all));
    job.id = job_id(job.invocation);
  } catch (const Error& error) {
    job.problem = error;
  }
  return job;
}

void refuse_shared_outputs(std::vector<Job>& jobs) {
  std::map<std::string, int64_t> owners;
  for (auto& job : jobs) {
    if (job.problem || job.invocation.output.path.empty()) continue;
    const auto [owner, is_new] = owners.emplace(job.invocation.output.path, job.number);
    if (!is_new) {
      job.problem = Error(ErrorCode::usage,
                          "line " + std::to_string(job.number) + ": output: wanted a name of its own, got " +
                              job.invocation.output.path + " of line " + std::to_string(owner->second),
                          "-o 'out/%04d.mp4' numbers the outputs");
    }
  }
}

}  // namespace

std::vector<Job> read_jobs(const cli::Invocation& batch) {
  const std::string& file = batch.operands.front();
  const auto lines = read_lines(file);
  const bool is_json = is_json_lines(file, lines);
  std::vector<Job> jobs;
  for (const auto& line : lines) jobs.push_back(read_job(line, is_json, batch));
  if (jobs.empty()) throw Error(ErrorCode::bad_input, "batch: " + file + ": wanted at least one job, got none");
  if (!batch.run.dry_run && !is_json && batch.output.path.empty()) {
    throw Error(ErrorCode::usage, "--output: wanted a folder or a name like out/%04d.mp4, got none");
  }
  refuse_shared_outputs(jobs);
  return jobs;
}

}  // namespace t2v::commands
