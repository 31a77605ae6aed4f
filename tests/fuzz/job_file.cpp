// SPDX-License-Identifier: Apache-2.0
// Bytes -> a job file of `t2v batch`, by its first byte as .txt, .jsonl or of no known name. Jobs
// that name a file to read their prompt from are left out: they would read this machine's files.
#include "commands/jobs.hpp"
#include "fuzz_support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using t2v::ErrorCode;
  static const t2v::fuzz::FuzzFolder folder;
  t2v::fuzz::Source source(data, size);
  const std::string name = source.pick<std::string>({"jobs.txt", "jobs.jsonl", "jobs"});
  const std::string text = source.rest();
  if (text.find("prompt") != text.npos && text.find("file") != text.npos) return 0;
  t2v::cli::Invocation batch;
  batch.operands = {folder.write(name, text).string()};
  batch.given = {{"output", {"out/%04d.mp4"}, "--output"}};
  batch.output.path = "out/%04d.mp4";
  const std::initializer_list<ErrorCode> codes{ErrorCode::bad_input, ErrorCode::usage};
  t2v::fuzz::expect_clean(
      [&] {
        for (const auto& job : t2v::commands::read_jobs(batch)) {
          if (job.problem) t2v::fuzz::expect_clean([&] { throw *job.problem; }, codes);
        }
      },
      codes);
  return 0;
}
