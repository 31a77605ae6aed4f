// SPDX-License-Identifier: Apache-2.0
// Many jobs: isolation, journal, claims.
#include <algorithm>
#include <sstream>

#include "cli/command_fixture.hpp"
#include "commands/jobs.hpp"
#include "core/log.hpp"
#include "io/config.hpp"

namespace t2v {
namespace {

using io::Json;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing_support::CommandResult;

class Batch : public testing_support::CommandTest {
 protected:
  static std::vector<std::string> statuses(const std::string& out) {
    std::vector<std::string> all;
    std::istringstream in(out);
    for (std::string line; std::getline(in, line);) all.push_back(io::parse_json(line, "out")["status"]);
    return all;
  }
};

TEST_F(Batch, a_prompt_a_line_makes_numbered_files_with_one_load) {
  const std::string jobs = write_file("jobs.txt",
                                      "\xEF\xBB\xBF"
                                      "a cat\r\n\r\na dog\n");
  const CommandResult result = run({"batch", jobs, "-o", file("%03d.mp4")});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(statuses(result.out), ElementsAre("done", "done"));
  EXPECT_THAT(listing(), ElementsAre("001.mp4", "003.mp4", "jobs.txt", "jobs.txt.journal.jsonl"));
  EXPECT_EQ(world_.loaded, 1);
}

TEST_F(Batch, Row83_one_bad_job_is_told_and_does_not_stop_the_others) {
  const std::string jobs =
      write_file("jobs.jsonl", "{\"prompt\":\"a\",\"output\":\"" + file("a.y4m") + "\"}\n" +
                                   "{\"prompt\":\"b\",\"stpes\":3,\"output\":\"" + file("b.y4m") + "\"}\n" +
                                   "not json\n" + "{\"prompt\":\"c\",\"steps\":2000,\"output\":\"" + file("c.y4m") +
                                   "\"}\n" + "{\"prompt\":\"d\",\"output\":\"" + file("a.y4m") + "\"}\n" +
                                   "{\"prompt\":\"e\",\"output\":\"" + file("e.y4m") + "\"}\n");
  const CommandResult result = run({"batch", jobs});
  EXPECT_EQ(result.code, 8);
  EXPECT_THAT(statuses(result.out), ElementsAre("done", "failed", "failed", "failed", "failed", "done"));
  EXPECT_THAT(result.out, HasSubstr("did you mean 'steps'?"));
  EXPECT_THAT(result.err, HasSubstr("t2v: error: batch: wanted 6 jobs done, got 4 failed\nhint: "));
  EXPECT_THAT(listing(), Contains("e.y4m"));
}

TEST_F(Batch, Row84_resume_skips_what_is_done_and_still_whole) {
  const std::string jobs = write_file("jobs.txt", "a\nb\nc\n");
  const std::vector<std::string> line{"batch", jobs, "-o", file("%d.y4m"), "-y", "--resume"};
  EXPECT_THAT(statuses(run(line).out), ElementsAre("done", "done", "done"));
  EXPECT_THAT(statuses(run(line).out), ElementsAre("skipped", "skipped", "skipped"));
  write_file("2.y4m", "damaged");
  EXPECT_THAT(statuses(run(line).out), ElementsAre("skipped", "done", "skipped"));
  write_file("jobs.txt", "a\nb\nanother\n");
  EXPECT_THAT(statuses(run(line).out), ElementsAre("skipped", "skipped", "done"));
}

TEST_F(Batch, Row85_a_torn_journal_line_costs_one_job_at_most) {
  const std::string jobs = write_file("jobs.txt", "a\nb\n");
  const std::vector<std::string> line{"batch", jobs, "-o", file("%d.y4m"), "-y", "--resume", "-s", "1"};
  run(line);
  const std::string journal = testing_support::read_all(jobs + ".journal.jsonl");
  write_file("jobs.txt.journal.jsonl", journal.substr(0, journal.size() - 10));
  EXPECT_THAT(statuses(run(line).out), ElementsAre("skipped", "done"));
  EXPECT_THAT(statuses(run(line).out), ElementsAre("skipped", "skipped"));
  write_file("jobs.txt.journal.jsonl", "\xFF garbage\n[1]\n{\"id\":3,\"status\":\"done\"}\n" + journal);
  EXPECT_THAT(statuses(run(line).out), ElementsAre("skipped", "skipped"));
}

TEST_F(Batch, a_job_of_a_living_process_is_left_to_it_and_of_a_dead_one_taken_over) {
  const std::string jobs = write_file("jobs.txt", "a\n");
  const std::vector<std::string> line{"batch", jobs, "-o", file("%d.y4m"), "-y", "--resume"};
  std::string id;
  world_.before_denoise = [&] {
    for (const auto& claim : std::filesystem::directory_iterator(jobs + ".claims"))
      id = claim.path().filename().string();
  };
  run(line);
  ASSERT_FALSE(id.empty());
  std::filesystem::remove(jobs + ".journal.jsonl");
  std::filesystem::create_directory(jobs + ".claims");
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  const std::string place = std::string(host) + "/" + std::filesystem::read_symlink("/proc/self/ns/pid").string();
  write_file("jobs.txt.claims/" + id, std::to_string(getppid()) + " 0 " + place + "\n");
  EXPECT_THAT(statuses(run(line).out), ElementsAre("elsewhere"));
  constexpr int kNobody = 0x7FFFFFF0;  // above any pid_max
  write_file("jobs.txt.claims/" + id, std::to_string(kNobody) + " 0 " + place + "\n");
  EXPECT_THAT(statuses(run(line).out), ElementsAre("done"));
  EXPECT_FALSE(std::filesystem::exists(jobs + ".claims"));
}

TEST_F(Batch, Row86_several_processes_share_the_work_without_doubling_any) {
  std::string text;
  constexpr int kJobs = 40;
  for (int i = 0; i < kJobs; ++i) text += "job " + std::to_string(i) + "\n";
  const std::string jobs = write_file("jobs.txt", text);
  world_.before_denoise = [] { usleep(2000); };
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      dup2(open((file("out") + std::to_string(i)).c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
      dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
      log::setup(-1, false);  // the program does this before it runs a command
      _exit(commands::run_command(cli::parse({"batch", jobs, "-o", file("%d.y4m"), "-q", "--resume"}),
                                  testing_support::fake_tools(world_)));
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  int done = 0;
  for (int i = 0; i < 3; ++i) {
    for (const auto& status : statuses(testing_support::read_all(file("out") + std::to_string(i))))
      done += status == "done";
  }
  EXPECT_EQ(done, kJobs);
  for (int i = 1; i <= kJobs; ++i) EXPECT_TRUE(std::filesystem::exists(file(std::to_string(i) + ".y4m"))) << i;
}

TEST_F(Batch, an_interruption_ends_it) {
  const std::string jobs = write_file("jobs.txt", "a\nb\n");
  world_.before_denoise = [] { throw Error(ErrorCode::interrupted, "interrupted"); };
  const CommandResult result = run({"batch", jobs, "-o", file("%d.y4m")});
  EXPECT_EQ(result.code, 130);
  EXPECT_EQ(world_.denoised, 1);
  EXPECT_THAT(listing(), ElementsAre("jobs.txt", "jobs.txt.journal.jsonl"));  // which job had begun
}

TEST_F(Batch, a_dry_run_plans_every_job_and_writes_nothing) {
  const std::string jobs = write_file("jobs.txt", "a\nb\n");
  const CommandResult result = run({"batch", jobs, "-o", file("%d.y4m"), "--dry-run"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(statuses(result.out), ElementsAre("planned", "planned"));
  EXPECT_THAT(listing(), ElementsAre("jobs.txt"));
  EXPECT_EQ(world_.loaded, 0);
}

TEST_F(Batch, a_dry_run_checks_what_the_run_would) {
  write_file("1.y4m", "there");
  const std::string jobs = write_file("jobs.txt", "a\nb\n");
  const CommandResult result = run({"batch", jobs, "-o", file("%d.y4m"), "--dry-run"});
  EXPECT_EQ(result.code, 8);
  EXPECT_THAT(statuses(result.out), ElementsAre("failed", "planned"));
  EXPECT_THAT(result.out, HasSubstr("wanted a new file, got an existing one"));
}

TEST_F(Batch, a_job_knows_its_own_output_also_in_what_it_was_given) {
  const std::string jobs =
      write_file("jobs.jsonl", "{\"prompt\":\"a\"}\n{\"prompt\":\"b\",\"output\":\"own-%d.png\"}\n");
  const auto read = commands::read_jobs(cli::parse({"batch", jobs, "-o", "%03d.y4m"}));
  ASSERT_EQ(read.size(), 2U);
  const auto output_of = [](const commands::Job& job) {
    const auto given = std::ranges::find(job.invocation.given, "output", &cli::Given::name);
    return std::pair{job.invocation.output.path, given->values.back()};
  };
  EXPECT_EQ(output_of(read[0]), (std::pair<std::string, std::string>{"001.y4m", "001.y4m"}));
  EXPECT_EQ(output_of(read[1]), (std::pair<std::string, std::string>{"own-%d.png", "own-%d.png"}));
}

TEST_F(Batch, a_line_takes_the_settings_of_a_video_below_its_own) {
  ASSERT_EQ(run({"-p", "a fox", "-s", "42", "--cfg", "7.5", "--frames", "3", "-o", file("source.mp4")}).code, 0);
  write_file("jobs.jsonl", R"({"from":")" + file("source.mp4") + R"(","frames":2,"output":")" + file("a.mp4") +
                               "\"}\n" + R"({"from":")" + file("source.mp4") + "\"}\n" + R"({"from":")" +
                               file("none.mp4") + "\"}\n");
  const CommandResult result = run({"batch", file("jobs.jsonl"), "-o", file("%d.mp4"), "--steps", "5"});
  EXPECT_EQ(result.code, 8) << result.err;
  EXPECT_THAT(statuses(result.out), ElementsAre("done", "done", "failed"));
  EXPECT_THAT(result.out, HasSubstr("\"job\":3,\"status\":\"failed\",\"exit_code\":3"));
  EXPECT_THAT(result.out, HasSubstr("\"seed\":42"));
  const auto settings = [&](const std::string& name) {
    return io::parse_json(run({"info", file(name), "--json"}).out, "info")["settings"];
  };
  for (const auto& [name, frames] : {std::pair{"a.mp4", 2}, {"2.mp4", 3}}) {
    const Json made = settings(name);
    EXPECT_EQ(made["prompt"], "a fox");
    EXPECT_EQ(made["seed"], 42);
    EXPECT_EQ(made["cfg-scale"], 7.5);
    EXPECT_EQ(made["steps"], 5) << "the command's own flags are above the recorded ones";
    EXPECT_EQ(made["frames"], frames);
  }
  EXPECT_EQ(world_.loaded, 2) << "one load for the source, one for the batch";

  world_.hash = "hash-2";
  const CommandResult other = run({"batch", file("jobs.jsonl"), "-o", file("%d.mp4"), "-y", "--dry-run"});
  EXPECT_THAT(statuses(other.out), ElementsAre("planned", "planned", "failed"));
  const size_t first = other.err.find("its content differs");
  ASSERT_NE(first, std::string::npos);
  EXPECT_NE(other.err.find("its content differs", first + 1), std::string::npos) << "each job has a record of its own";
}

TEST_F(Batch, a_line_is_refused_by_name_for_a_flag_that_is_not_one_videos) {
  const std::vector<std::string> flags{R"("config":"none.toml")", R"("help":true)",        R"("version":true)",
                                       R"("list-samplers":true)", R"("resume":"a.state")", R"("dry-run":false)",
                                       R"("print-man":true)",     R"("json":true)",        R"("progress":"json")",
                                       R"("quiet":true)",         R"("log_format":"json")"};
  std::string text;
  for (const auto& flag : flags) text += R"({"prompt":"a",)" + flag + "}\n";
  const CommandResult result = run({"batch", write_file("jobs.jsonl", text), "-o", file("%d.y4m")});
  EXPECT_EQ(result.code, 8);
  EXPECT_THAT(statuses(result.out), testing::AllOf(testing::SizeIs(flags.size()), testing::Each("failed")));
  EXPECT_THAT(result.out, HasSubstr("\"exit_code\":2,\"error\":\"jobs.jsonl: line 1: config: wanted a flag of one "
                                    "video, got one of the whole command\",\"hint\":\"t2v batch takes it beside JOBS"));
  EXPECT_THAT(result.out, HasSubstr("jobs.jsonl: line 11: log_format: wanted"));
  EXPECT_EQ(world_.opened, 0);
}

TEST_F(Batch, a_text_file_needs_names_for_its_outputs) {
  const std::string jobs = write_file("jobs.txt", "a\nb\n");
  EXPECT_EQ(run({"batch", jobs}).code, 2);
  EXPECT_THAT(run({"batch", jobs, "-o", file("one.y4m")}).out, HasSubstr("wanted a name of its own"));
}

}  // namespace
}  // namespace t2v
