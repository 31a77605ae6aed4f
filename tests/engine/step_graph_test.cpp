// SPDX-License-Identifier: Apache-2.0
#include "engine/step_graph.hpp"

#include <stdexcept>

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "support/fake_graph.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {
namespace {

using test::FakeGraphLog;

at::Tensor twice_plus(const std::vector<at::Tensor>& in) { return in[0] * 2 + in[1]; }

/// Runs steps 0..count-1 and holds each result against the plain call.
void run_steps(StepGraph& graph, int count, const StepGraph::Work& work = twice_plus, int64_t size = 3) {
  for (int i = 0; i < count; ++i) {
    const std::vector<at::Tensor> inputs{at::full({size}, 1.5 * i), at::full({1}, 10.0 * i)};
    EXPECT_TRUE(at::equal(graph.run(inputs, work), twice_plus(inputs))) << i;
  }
}

TEST(StepGraph, the_first_call_records_the_second_proves_and_the_others_are_replays) {
  FakeGraphLog log;
  StepGraph graph = test::fake_graph(log);
  int calls = 0;
  run_steps(graph, 10, [&](const std::vector<at::Tensor>& in) {
    ++calls;
    return twice_plus(in);
  });
  EXPECT_EQ(log.warmed_up, 1);
  EXPECT_EQ(log.recorded, 1);
  EXPECT_EQ(log.replayed, 1 + 9);    // the first is not timed
  EXPECT_EQ(calls, 1 + 1 + 1 + 10);  // the call, the fake's recording, the proof, and the fake's replays
}

TEST(StepGraph, results_are_the_callers_own) {
  FakeGraphLog log;
  StepGraph graph = test::fake_graph(log);
  run_steps(graph, 3);
  const at::Tensor kept = graph.run({at::ones({3}), at::ones({1})}, twice_plus);
  graph.run({at::full({3}, 5.0), at::ones({1})}, twice_plus);
  EXPECT_TRUE(at::equal(kept, at::full({3}, 3.0)));
}

TEST(StepGraph, what_depends_on_more_than_its_inputs_is_never_replayed) {
  FakeGraphLog log;
  StepGraph graph = test::fake_graph(log);
  const at::Tensor given = at::ones({3});
  for (int step = 0; step < 6; ++step) {
    const at::Tensor out = graph.run({given}, [step](const std::vector<at::Tensor>& in) { return in[0] + step; });
    EXPECT_TRUE(at::equal(out, given + step)) << step;
  }
  EXPECT_EQ(log.replayed, 2);
}

TEST(StepGraph, what_is_no_faster_is_not_replayed) {
  FakeGraphLog log;
  log.is_slow = true;
  StepGraph graph = test::fake_graph(log);
  run_steps(graph, 5);
  EXPECT_EQ(log.replayed, 2);
}

TEST(StepGraph, goes_on_without_where_recording_fails_or_memory_is_short) {
  for (const bool fails : {true, false}) {
    FakeGraphLog log;
    (fails ? log.fails_to_record : log.has_room) = fails;
    StepGraph graph = test::fake_graph(log);
    run_steps(graph, 5);
    EXPECT_EQ(log.made, 1);
    EXPECT_EQ(log.replayed, 0);
  }
}

TEST(StepGraph, goes_on_without_where_no_device_can_be_made) {
  StepGraph graph([]() -> std::unique_ptr<GraphDevice> { throw std::runtime_error("no stream"); }, 20);
  run_steps(graph, 4);
}

TEST(StepGraph, errors_of_the_work_arrive) {
  FakeGraphLog log;
  StepGraph graph = test::fake_graph(log);
  const auto broken = [](const std::vector<at::Tensor>&) -> at::Tensor { throw std::runtime_error("out of memory"); };
  EXPECT_THROW(graph.run({at::ones({2})}, broken), std::runtime_error);
}

TEST(StepGraph, every_shape_has_its_own_recording) {
  FakeGraphLog log;
  StepGraph graph = test::fake_graph(log);
  run_steps(graph, 4, twice_plus, 3);
  run_steps(graph, 4, twice_plus, 7);
  run_steps(graph, 4, twice_plus, 3);
  EXPECT_EQ(log.recorded, 2);
}

TEST(StepGraph, every_kind_of_work_has_its_own_recording) {
  FakeGraphLog log;
  StepGraph graph = test::fake_graph(log);
  for (int step = 0; step < 12; ++step) {
    const int64_t kind = step % 2;
    const at::Tensor given = at::full({3}, 1.5 * step);
    const at::Tensor out = graph.run(
        {given}, [kind](const std::vector<at::Tensor>& in) { return in[0] + kind * 7; }, kind);
    EXPECT_TRUE(at::equal(out, given + kind * 7)) << step;
  }
  EXPECT_EQ(log.recorded, 2);
  EXPECT_EQ(log.replayed, 2 * (1 + 5));
}

TEST(StepGraph, nothing_is_recorded_or_replayed_once_weights_have_moved) {
  FakeGraphLog log;
  StepGraph graph = test::fake_graph(log);
  run_steps(graph, 4);
  const int replayed = log.replayed;
  graph.stop();
  run_steps(graph, 4);
  EXPECT_EQ(log.recorded, 1);
  EXPECT_EQ(log.replayed, replayed);
}

TEST(StepGraph, few_calls_are_not_worth_it) {
  FakeGraphLog log;
  StepGraph graph = test::fake_graph(log, StepGraph::kMinCalls - 1);
  run_steps(graph, 4);
  EXPECT_EQ(log.made, 0);
}

}  // namespace
}  // namespace t2v::engine
