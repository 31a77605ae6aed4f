// SPDX-License-Identifier: Apache-2.0
// Batches that are killed at any moment: what stands under a final name is whole, the next run finishes the rest.
#include <sys/wait.h>

#include <csignal>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "cli/command_fixture.hpp"
#include "commands/claims.hpp"
#include "commands/signals.hpp"
#include "io/config.hpp"
#include "media/video_reader.hpp"

namespace t2v {
namespace {

namespace fs = std::filesystem;
using testing_support::CommandTest;

constexpr int64_t kFrames = 4;

int64_t frames_in(const std::string& file) {
  const auto video = media::open_video(file);
  std::vector<uint8_t> rgb;
  int64_t frames = 0;
  while (video->next(rgb)) ++frames;
  return frames;
}

class Storm : public CommandTest {
 protected:
  /// Runs a command in a child process, which does nothing else.
  pid_t start(const std::vector<std::string>& arguments, const std::string& out) {
    const pid_t child = fork();
    if (child != 0) return child;
    dup2(open(file(out).c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), STDOUT_FILENO);
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    log::setup(-1, false);  // the program does this before it runs a command
    _exit(commands::run_command(cli::parse(arguments), testing_support::fake_tools(world_)));
  }
  static int wait_for(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  /// Of the videos and frames under a final name, those that are not whole.
  std::vector<std::string> broken() const {
    std::vector<std::string> names;
    for (const auto& name : listing()) {
      const bool is_video = name.ends_with(".mp4") || name.ends_with(".gif") || name.ends_with(".y4m");
      if (name.starts_with('.') || !is_video) continue;
      if (frames_in(file(name)) != kFrames) names.push_back(name);
    }
    return names;
  }
};

TEST_F(Storm, Row53_Row84_a_batch_killed_at_fifty_random_moments_loses_and_breaks_nothing) {
  constexpr int kJobs = 60, kKills = 50;
  constexpr const char* kKinds[] = {"mp4", "gif", "y4m"};
  std::string text;
  for (int i = 0; i < kJobs; ++i) {
    text += R"({"prompt":"job )" + std::to_string(i) + R"(","output":")" +
            file(std::to_string(i) + "." + kKinds[i % 3]) + "\"}\n";
  }
  const std::string jobs = write_file("jobs.jsonl", text);
  world_.before_denoise = [] { usleep(500); };
  std::mt19937 random(1);
  std::uniform_int_distribution<useconds_t> moment(0, 40000);
  int killed = 0;
  for (int i = 0; i < kKills; ++i) {
    const pid_t child = start({"batch", jobs, "--resume", "-q"}, "out");
    usleep(moment(random));
    kill(child, SIGKILL);
    killed += wait_for(child) == 128 + SIGKILL;
    EXPECT_EQ(broken(), std::vector<std::string>{}) << "after kill " << i;
  }
  EXPECT_GT(killed, 5) << "the storm must hit running batches";
  EXPECT_EQ(wait_for(start({"batch", jobs, "--resume", "-q"}, "last")), 0) << "no -y is needed to finish";
  const auto names = listing();
  std::set<std::string> left(names.begin(), names.end());
  for (int i = 0; i < kJobs; ++i) {
    EXPECT_EQ(left.erase(std::to_string(i) + "." + kKinds[i % 3]), 1U) << "job " << i << " has its video";
  }
  // The settings of formats that can't hold them.
  std::erase_if(left, [](const std::string& name) { return name.ends_with(".y4m.json"); });
  EXPECT_EQ(broken(), std::vector<std::string>{});
  // Neither temporary files nor claims of the dead are left.
  EXPECT_EQ(left, (std::set<std::string>{"jobs.jsonl", "jobs.jsonl.journal.jsonl", "last", "out"}));
  const std::string before = testing_support::read_all(jobs + ".journal.jsonl");
  EXPECT_EQ(wait_for(start({"batch", jobs, "--resume", "-q"}, "again")), 0);
  EXPECT_EQ(testing_support::read_all(jobs + ".journal.jsonl"), before) << "nothing is done twice";
}

TEST_F(Storm, Row58_Row86_processes_that_come_and_die_share_the_work_without_doubling) {
  constexpr int kJobs = 40, kProcesses = 4;
  std::string text;
  for (int i = 0; i < kJobs; ++i) text += "job " + std::to_string(i) + "\n";
  const std::string jobs = write_file("jobs.txt", text);
  const std::vector<std::string> line{"batch", jobs, "-o", file("%d.y4m"), "-q", "--resume"};
  world_.before_denoise = [] { usleep(2000); };
  for (int round = 0; round < 4; ++round) {
    std::vector<pid_t> children;
    for (int i = 0; i < kProcesses; ++i) children.push_back(start(line, "out" + std::to_string(i)));
    usleep(15000);
    for (const pid_t child : children) kill(child, SIGKILL);
    for (const pid_t child : children) wait_for(child);
  }
  std::vector<pid_t> children;
  for (int i = 0; i < kProcesses; ++i) children.push_back(start(line, "out" + std::to_string(i)));
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  // A kill between the record and the line on standard output hides a line, never adds one.
  std::map<int64_t, int> done;
  for (int i = 0; i < kProcesses; ++i) {
    std::istringstream out(testing_support::read_all(file("out" + std::to_string(i))));
    for (std::string record; std::getline(out, record);) {
      const auto object = io::parse_json(record, "out");
      if (object["status"] == "done") ++done[object["job"].get<int64_t>()];
    }
  }
  for (const auto& [job, times] : done) EXPECT_EQ(times, 1) << "job " << job;
  for (int i = 1; i <= kJobs; ++i) EXPECT_EQ(frames_in(file(std::to_string(i) + ".y4m")), kFrames);
  for (const auto& name : listing()) EXPECT_FALSE(name.starts_with('.') || name.ends_with(".claims")) << name;
}

TEST_F(Storm, Row52_a_signal_stops_a_run_and_leaves_only_what_was_finished) {
  world_.before_denoise = [] { usleep(3000); };
  std::mt19937 random(2);
  std::uniform_int_distribution<useconds_t> moment(0, 25000);
  for (const auto& [signal, code] : std::map<int, int>{{SIGINT, 130}, {SIGTERM, 143}, {SIGHUP, 143}}) {
    for (int i = 0; i < 10; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        log::setup(-1, false);
        commands::install_signal_handlers();
        _exit(commands::run_command(cli::parse({"-p", "x", "-o", file("a.mp4"), "--frames", "4", "-q", "-y"}),
                                    testing_support::fake_tools(world_)));
      }
      usleep(1000 + moment(random));
      kill(child, signal);
      const int got = wait_for(child);
      // A child that had not come to its handlers yet dies of the signal itself.
      EXPECT_TRUE(got == 0 || got == code || got == 128 + signal) << got;
      for (const auto& name : listing()) EXPECT_EQ(name, "a.mp4");
      EXPECT_EQ(broken(), std::vector<std::string>{});
      fs::remove(file("a.mp4"));
    }
  }
}

TEST_F(Storm, Row52_the_second_signal_ends_the_process_at_once) {
  for (const int first : {SIGINT, SIGTERM}) {
    world_.before_denoise = [] { usleep(60'000'000); };  // a step that nobody wants to wait for
    const pid_t child = fork();
    if (child == 0) {
      dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
      log::setup(-1, false);
      commands::install_signal_handlers();
      write_file("ready", "");
      world_.before_denoise = [this] {
        write_file("working", "");
        while (true) usleep(1'000'000);
      };
      _exit(commands::run_command(cli::parse({"-p", "x", "-o", file("a.mp4"), "-q"}),
                                  testing_support::fake_tools(world_)));
    }
    while (!fs::exists(file("working"))) usleep(1000);
    EXPECT_GT(listing().size(), 2U) << "the temporary file is there";
    kill(child, first);
    usleep(20000);
    kill(child, SIGINT);
    EXPECT_EQ(wait_for(child), 130);
    fs::remove(file("working"));
    fs::remove(file("ready"));
    EXPECT_EQ(listing(), std::vector<std::string>{});
  }
}

TEST_F(Storm, a_claim_of_the_dead_goes_to_exactly_one_heir) {
  constexpr int kHeirs = 6, kRounds = 20;
  for (int round = 0; round < kRounds; ++round) {
    const std::string claim = file("claims/job");
    const pid_t dead = fork();
    if (dead == 0) {
      const auto held = commands::try_claim(claim);
      kill(getpid(), SIGKILL);
    }
    wait_for(dead);
    ASSERT_TRUE(fs::exists(claim));
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    std::vector<pid_t> heirs;
    for (int i = 0; i < kHeirs; ++i) {
      heirs.push_back(fork());
      if (heirs.back() == 0) {
        char go = 0;
        close(ends[1]);
        (void)!read(ends[0], &go, 1);  // all begin when the other end closes
        const auto held = commands::try_claim(claim);
        if (held) usleep(100000);  // longer than the others try
        _exit(held ? 1 : 0);
      }
    }
    close(ends[0]);
    close(ends[1]);
    int won = 0;
    for (const pid_t heir : heirs) won += wait_for(heir);
    EXPECT_EQ(won, 1) << "round " << round;
    // _exit() ends the winner like a kill: the next round takes over again.
    commands::sweep_claims(file("claims"), [](const std::string&) { return false; });
    fs::remove(claim);
  }
}

TEST_F(Storm, heirs_that_die_as_well_do_not_block_a_job) {
  fs::create_directory(file("claims"));
  const std::string claim = file("claims/job");
  std::string name = claim;
  for (int i = 0; i < 8; ++i, name += ".heir") {
    const pid_t dead = fork();
    if (dead == 0) {
      const auto held = commands::try_claim(name);
      kill(getpid(), SIGKILL);
    }
    wait_for(dead);
    ASSERT_TRUE(fs::exists(name));
  }
  const auto held = commands::try_claim(claim);
  ASSERT_NE(held, nullptr);
  EXPECT_FALSE(fs::exists(claim + ".heir"));
}

}  // namespace
}  // namespace t2v
