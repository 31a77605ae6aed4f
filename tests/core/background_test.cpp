// SPDX-License-Identifier: Apache-2.0
// Work beside its caller: who waits, what is seen afterwards, and what can't happen to the caller.
#include "core/background.hpp"

#include <pthread.h>

#include <csignal>
#include <future>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/gate.hpp"

namespace t2v {
namespace {

TEST(Background, begin_returns_while_the_work_runs_and_finish_when_it_has_ended) {
  test::Gate gate;
  int result = 0;  // not atomic: finish() orders it
  Background background;
  background.begin([&] {
    gate.wait();
    result = 7;
  });
  auto finished = std::async(std::launch::async, [&] { background.finish(); });
  EXPECT_EQ(finished.wait_for(test::kAWhile), std::future_status::timeout);
  gate.open();
  background.finish();
  EXPECT_EQ(result, 7);
}

TEST(Background, every_thread_that_finishes_sees_what_the_work_wrote) {
  constexpr int kThreads = 4, kRounds = 50;
  for (int round = 0; round < kRounds; ++round) {
    int result = 0;
    Background background;
    background.begin([&] { result = round; });
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        background.finish();
        EXPECT_EQ(result, round);
      });
    }
    for (auto& thread : threads) thread.join();
  }
}

TEST(Background, finish_without_work_returns_at_once) {
  Background background;
  background.finish();
  background.begin([] {});
  background.finish();
  background.finish();
}

TEST(Background, the_next_work_begins_after_the_one_before) {
  std::vector<int> order;
  Background background;
  for (int i = 0; i < 20; ++i) background.begin([&order, i] { order.push_back(i); });
  background.finish();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(order.at(static_cast<size_t>(i)), i);
}

TEST(Background, Row94_an_exception_ends_the_work_and_nothing_else) {
  bool went_on = false;
  Background background;
  background.begin([&] {
    throw std::runtime_error("no memory");
    went_on = true;
  });
  EXPECT_NO_THROW(background.finish());
  background.begin([] { throw 7; });
  background.begin([&] { went_on = true; });
  background.finish();
  EXPECT_TRUE(went_on);
}

TEST(Background, destroying_it_waits) {
  bool has_ended = false;
  {
    Background background;
    background.begin([&] {
      std::this_thread::sleep_for(test::kAWhile);
      has_ended = true;
    });
  }
  EXPECT_TRUE(has_ended);
}

TEST(Background, signals_stay_with_the_thread_that_began_it) {
  const auto is_blocked = [](int signal) {
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, nullptr, &now);
    return sigismember(&now, signal) == 1;
  };
  bool takes_stop = true, takes_fault = false;
  Background background;
  background.begin([&] {
    takes_stop = !is_blocked(SIGINT) || !is_blocked(SIGTERM) || !is_blocked(SIGHUP);
    takes_fault = !is_blocked(SIGSEGV) && !is_blocked(SIGBUS);
  });
  EXPECT_FALSE(is_blocked(SIGINT));
  background.finish();
  EXPECT_FALSE(takes_stop);
  EXPECT_TRUE(takes_fault);
}

/// A stack that no address space holds: as with a limit on threads, there is none to be had.
TEST(Background, Row94_where_no_thread_can_be_made_the_work_is_done_by_the_caller) {
  pthread_attr_t usual, huge;
  pthread_getattr_default_np(&usual);
  pthread_attr_init(&huge);
  pthread_attr_setstacksize(&huge, size_t{1} << 48);
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  std::thread::id worker;
  Background background;
  background.begin([&] { worker = std::this_thread::get_id(); });
  EXPECT_EQ(worker, std::this_thread::get_id());
  EXPECT_NO_THROW(background.begin([] { throw std::runtime_error("no memory"); }));
  pthread_setattr_default_np(&usual);
}

}  // namespace
}  // namespace t2v
