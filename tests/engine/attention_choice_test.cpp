// SPDX-License-Identifier: Apache-2.0
#include "engine/attention_choice.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <stdexcept>

#include <ATen/Context.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "engine/cuda_attention.hpp"
#include "engine/step_graph.hpp"
#include "nn/attention.hpp"
#include "support/fake_graph.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {
namespace {

namespace fs = std::filesystem;
using enum AttentionBackend;

/// What a FakeDevice can do, and what was asked of it.
struct FakeForms {
  std::map<AttentionBackend, double> seconds{{aten, 1.0}};  // of one call; those listed are there
  std::map<AttentionBackend, double> errors;                // added to the result
  AttentionBackend failing = aten;                          // throws, unless it is aten
  std::map<AttentionBackend, int> calls;
  int timings = 0;
  double clock = 0;
  bool clock_fails = false;
};

class FakeDevice final : public AttentionDevice {
 public:
  explicit FakeDevice(FakeForms& forms) : forms_(forms) {}
  c10::Device device() const override { return c10::kCPU; }
  std::string name() const override { return "a fake, libraries 1.0"; }
  std::vector<AttentionBackend> alternatives(const AttentionCall&) override {
    std::vector<AttentionBackend> found;
    for (const auto& [form, ignored] : forms_.seconds) {
      if (form != aten) found.push_back(form);
    }
    return found;
  }
  at::Tensor compute(const AttentionCall& call, AttentionBackend form) override {
    if (form == forms_.failing && form != aten) throw std::runtime_error("out of memory");
    ++forms_.calls[form];
    forms_.clock += forms_.seconds.at(form);
    return attention_as_aten_chooses(call) + forms_.errors[form];
  }
  double now() override {
    if (forms_.clock_fails) throw std::runtime_error("out of memory");
    ++forms_.timings;
    return forms_.clock;
  }

 private:
  FakeForms& forms_;
};

class AttentionChoiceTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              (std::string("attention_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
  }
  void TearDown() override {
    set_attention_backends(nullptr);
    fs::remove_all(folder_);
  }
  fs::path file() const { return folder_ / "t2v" / "attention.json"; }
  AttentionChoice choice() { return {std::make_unique<FakeDevice>(forms_), AttentionFile(file())}; }

  /// The form that computed a call, by the device's own count.
  AttentionBackend form_of_a_call(AttentionChoice& choice, bool may_time, int64_t keys = 7) {
    const AttentionTiming timing(may_time);
    const at::Tensor q = at::randn({1, 2, 5, 8}), k = at::randn({1, 2, keys, 8});
    const std::optional<at::Tensor> no_bias;
    const AttentionCall call{q, k, k, no_bias};
    choice.compute(call);
    const auto before = forms_.calls;
    const int timings = forms_.timings;
    EXPECT_TRUE(at::equal(choice.compute(call), attention_as_aten_chooses(call)));
    EXPECT_EQ(forms_.timings, timings) << "timed twice";
    for (const auto& [form, count] : forms_.calls) {
      const auto old = before.find(form);
      if (old == before.end() || old->second != count) return form;
    }
    ADD_FAILURE() << "nothing computed the call";
    return aten;
  }
  void write(const std::string& text) const {
    fs::create_directories(file().parent_path());
    std::ofstream(file()) << text;
  }

  fs::path folder_;
  FakeForms forms_;
};

TEST_F(AttentionChoiceTest, the_fastest_form_is_taken) {
  forms_.seconds = {{aten, 1.0}, {flash, 0.9}, {cudnn, 0.5}, {efficient, 0.7}};
  AttentionChoice choice = this->choice();
  EXPECT_EQ(form_of_a_call(choice, true), cudnn);
}

TEST_F(AttentionChoiceTest, a_few_percent_are_no_reason) {
  forms_.seconds = {{aten, 1.0}, {flash, 0.96}};
  AttentionChoice choice = this->choice();
  EXPECT_EQ(form_of_a_call(choice, true), aten);
}

TEST_F(AttentionChoiceTest, a_form_with_another_result_is_refused) {
  forms_.seconds = {{aten, 1.0}, {flash, 0.1}, {cudnn, 0.5}};
  forms_.errors = {{flash, 1e-3}};
  AttentionChoice choice = this->choice();
  EXPECT_EQ(form_of_a_call(choice, true), cudnn);
  forms_.errors = {{flash, NAN}};
  EXPECT_EQ(form_of_a_call(choice, true, /*keys=*/9), cudnn);
}

TEST_F(AttentionChoiceTest, a_form_that_fails_is_refused) {
  forms_.seconds = {{aten, 1.0}, {flash, 0.1}};
  forms_.failing = flash;
  AttentionChoice choice = this->choice();
  EXPECT_EQ(form_of_a_call(choice, true), aten);
}

TEST_F(AttentionChoiceTest, a_run_goes_on_where_timing_fails) {
  forms_.seconds = {{aten, 1.0}, {flash, 0.1}};
  forms_.clock_fails = true;
  AttentionChoice choice = this->choice();
  EXPECT_EQ(form_of_a_call(choice, true), aten);
  EXPECT_FALSE(fs::exists(file()));
}

TEST_F(AttentionChoiceTest, the_next_process_takes_what_was_found_and_times_nothing) {
  forms_.seconds = {{aten, 1.0}, {flash, 0.5}};
  AttentionChoice first = choice();
  EXPECT_EQ(form_of_a_call(first, true), flash);
  forms_.seconds = {{aten, 1.0}, {flash, 2.0}, {cudnn, 0.1}};
  forms_.timings = 0;
  AttentionChoice second = choice();
  EXPECT_EQ(form_of_a_call(second, true), flash);
  EXPECT_EQ(forms_.timings, 0);
  EXPECT_EQ(AttentionFile(file()).count(), 1U);
}

TEST_F(AttentionChoiceTest, that_nothing_is_faster_is_remembered_too) {
  forms_.seconds = {{aten, 1.0}, {flash, 1.5}};
  AttentionChoice first = choice();
  EXPECT_EQ(form_of_a_call(first, true), aten);
  forms_.timings = 0;
  AttentionChoice second = choice();
  EXPECT_EQ(form_of_a_call(second, true), aten);
  EXPECT_EQ(forms_.timings, 0);
}

TEST_F(AttentionChoiceTest, without_leave_nothing_is_timed_and_the_file_decides) {
  forms_.seconds = {{aten, 1.0}, {flash, 0.5}};
  AttentionChoice untimed = choice();
  EXPECT_EQ(form_of_a_call(untimed, false), aten);
  EXPECT_EQ(forms_.timings, 0);
  EXPECT_FALSE(fs::exists(file()));
  EXPECT_EQ(form_of_a_call(untimed, true), flash) << "a later, longer run may find out";
  EXPECT_EQ(form_of_a_call(untimed, false), flash);
  AttentionChoice another = choice();
  EXPECT_EQ(form_of_a_call(another, false), flash);
}

TEST_F(AttentionChoiceTest, a_device_with_one_form_is_not_timed) {
  AttentionChoice choice = this->choice();
  EXPECT_EQ(form_of_a_call(choice, true), aten);
  EXPECT_EQ(forms_.timings, 0);
}

TEST_F(AttentionChoiceTest, of_two_processes_the_first_to_finish_decides_for_both) {
  forms_.seconds = {{aten, 1.0}, {flash, 0.5}, {cudnn, 0.8}};
  AttentionChoice first = choice(), second = choice();  // both have read the file before it says anything
  EXPECT_EQ(form_of_a_call(first, true), flash);
  forms_.seconds = {{aten, 1.0}, {flash, 0.8}, {cudnn, 0.5}};
  EXPECT_EQ(form_of_a_call(second, true), flash);
}

TEST_F(AttentionChoiceTest, Row93_a_damaged_foreign_or_older_file_is_replaced) {
  for (const char* text :
       {"", "{", "[]", "null", R"({"t2v_attention": 0, "devices": {}})", R"({"t2v_attention": 1})",
        R"({"t2v_attention": 1, "devices": []})", R"({"t2v_attention": "1", "devices": {"a fake, libraries 1.0": 3}})",
        R"({"t2v_attention": 1, "devices": {"a fake, libraries 1.0": 3}})",
        R"({"t2v_attention": 1, "devices": {"a fake, libraries 1.0": {"fp32 1x2 5x7 d8": 3}}})", "\xff\xfe\x00"}) {
    write(text);
    forms_.seconds = {{aten, 1.0}, {flash, 0.5}};
    AttentionChoice first = choice();
    EXPECT_EQ(form_of_a_call(first, true), flash) << text;
    AttentionChoice second = choice();
    EXPECT_EQ(form_of_a_call(second, false), flash) << text;
  }
}

TEST_F(AttentionChoiceTest, Row93_a_form_that_does_not_take_the_call_or_is_not_known_leaves_it_to_aten) {
  for (const char* form : {"math", "flash3"}) {
    write(R"({"t2v_attention": 1, "devices": {"a fake, libraries 1.0": {"fp32 1x2 5x7 d8": ")" + std::string(form) +
          R"("}}})");
    forms_.seconds = {{aten, 1.0}, {flash, 0.5}};
    AttentionChoice choice = this->choice();
    EXPECT_EQ(form_of_a_call(choice, true), aten) << form;
  }
}

TEST_F(AttentionChoiceTest, Row93_what_can_not_be_kept_is_not_used) {
  std::ofstream(folder_) << "a file where the folder should be";
  forms_.seconds = {{aten, 1.0}, {flash, 0.5}};
  AttentionChoice choice = this->choice();
  EXPECT_EQ(form_of_a_call(choice, true), aten);
  forms_.timings = 0;
  EXPECT_EQ(form_of_a_call(choice, true, /*keys=*/9), aten);
  EXPECT_EQ(forms_.timings, 0) << "nor asked for again";
}

TEST_F(AttentionChoiceTest, other_devices_choices_stay) {
  write(R"({"t2v_attention": 1, "devices": {"another": {"fp32 1x2 5x7 d8": "cudnn"}}})");
  forms_.seconds = {{aten, 1.0}, {flash, 0.5}};
  AttentionChoice choice = this->choice();
  EXPECT_EQ(form_of_a_call(choice, true), flash);
  const AttentionFile kept(file());
  EXPECT_EQ(kept.choices_for("another").at("fp32 1x2 5x7 d8"), "cudnn");
  EXPECT_EQ(kept.choices_for("a fake, libraries 1.0").at("fp32 1x2 5x7 d8"), "flash");
}

TEST_F(AttentionChoiceTest, Row93_processes_that_write_at_once_lose_nothing) {
  constexpr int kWriters = 4, kShapes = 12;
  for (int writer = 0; writer < kWriters; ++writer) {
    if (fork() != 0) continue;
    const AttentionFile own(file());
    bool all_kept = true;
    for (int shape = 0; shape < kShapes; ++shape) {
      const std::string mine = std::to_string(writer) + "/" + std::to_string(shape);
      all_kept = own.keep("a device", mine, "flash") == "flash" && all_kept;
      all_kept = own.keep("a device", "everybody's " + std::to_string(shape), std::to_string(writer)) && all_kept;
    }
    _exit(all_kept ? 0 : 1);
  }
  for (int writer = 0; writer < kWriters; ++writer) {
    int status = -1;
    wait(&status);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(AttentionFile(file()).count(), size_t{kShapes} * (kWriters + 1));
  EXPECT_EQ(std::distance(fs::directory_iterator(file().parent_path()), fs::directory_iterator()), 1);
}

TEST_F(AttentionChoiceTest, layers_compute_as_it_chooses) {
  const c10::InferenceMode guard;
  forms_.seconds = {{aten, 1.0}, {flash, 0.5}};
  AttentionChoice choice = this->choice();
  set_attention_backends(&choice);
  const at::Tensor x = at::randn({1, 5, 16}, at::TensorOptions().dtype(c10::kFloat));
  const nn::AttentionOptions options{.heads = 2, .scale = {}, .bias = {}, .causal = true};
  const at::Tensor out = [&] {
    const AttentionTiming timing(true);
    return nn::attention(x, x, x, options);
  }();
  EXPECT_EQ(AttentionFile(file()).choices_for("a fake, libraries 1.0").at("fp32 1x2 5x5 d8 causal"), "flash");
  set_attention_backends(nullptr);
  EXPECT_TRUE(at::equal(out, nn::attention(x, x, x, options)));
}

/// Whether forms may be timed, call by call of a run's network.
std::vector<bool> timing_in_calls(StepGraph& graph, int count, bool is_recorded_at_all = true) {
  std::vector<bool> allowed;
  for (int i = 0; i < count; ++i) {
    const auto work = [&](const std::vector<at::Tensor>& in) {
      allowed.push_back(AttentionTiming::is_allowed());
      return in[0] * 2;
    };
    is_recorded_at_all ? graph.run({at::randn({3})}, work) : graph.call({at::randn({3})}, work);
  }
  EXPECT_FALSE(AttentionTiming::is_allowed());
  return allowed;
}

TEST(AttentionTimingInRuns, is_for_the_first_call_and_never_for_a_recording) {
  test::FakeGraphLog log;
  StepGraph graph = test::fake_graph(log);
  EXPECT_EQ(timing_in_calls(graph, 1), (std::vector<bool>{true, false}));  // the call, then its recording
}

TEST(AttentionTimingInRuns, needs_calls_enough) {
  StepGraph graph({}, StepGraph::kMinCalls), shorter({}, StepGraph::kMinCalls - 1);
  EXPECT_EQ(timing_in_calls(graph, 1), (std::vector<bool>{true}));
  EXPECT_EQ(timing_in_calls(graph, 1, /*is_recorded_at_all=*/false), (std::vector<bool>{true}));
  EXPECT_EQ(timing_in_calls(shorter, 1), (std::vector<bool>{false}));
  EXPECT_EQ(timing_in_calls(shorter, 1, /*is_recorded_at_all=*/false), (std::vector<bool>{false}));
  graph.stop();
  EXPECT_EQ(timing_in_calls(graph, 1), (std::vector<bool>{false}));
}

TEST(AttentionFilePlace, is_the_users_cache_folder) {
  const auto variable = [](const char* name) { return std::getenv(name) ? std::getenv(name) : std::string(); };
  const std::string home = variable("HOME"), cache = variable("XDG_CACHE_HOME");
  setenv("HOME", "/home/user", 1);
  setenv("XDG_CACHE_HOME", "/cache", 1);
  EXPECT_EQ(attention_file_path(), fs::path("/cache/t2v/attention.json"));
  setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(attention_file_path(), fs::path("/home/user/.cache/t2v/attention.json"));
  unsetenv("XDG_CACHE_HOME");
  unsetenv("HOME");
  EXPECT_EQ(attention_file_path(), std::nullopt);
  if (!home.empty()) setenv("HOME", home.c_str(), 1);
  if (!cache.empty()) setenv("XDG_CACHE_HOME", cache.c_str(), 1);
}

/// The device's own forms are timed on the device (tests/cuda); here its calls go to a CPU, which has one form only.
TEST(CudaAttention, leaves_atens_order_of_preference_as_it_was) {
  const cuda::PluginApi api{};
  const auto device = make_cuda_attention(api, c10::Device(c10::kCPU));
  const at::Tensor q = at::randn({1, 2, 5, 8});
  const std::optional<at::Tensor> no_bias;
  const AttentionCall call{q, q, q, no_bias};
  const auto before = at::globalContext().sDPPriorityOrder();
  for (const AttentionBackend form : {aten, flash, efficient, cudnn, math}) {
    EXPECT_TRUE(at::equal(device->compute(call, form), attention_as_aten_chooses(call)));
    EXPECT_EQ(at::globalContext().sDPPriorityOrder(), before);
  }
  EXPECT_TRUE(device->alternatives(call).empty());
  EXPECT_EQ(at::globalContext().sDPPriorityOrder(), before);
}

}  // namespace
}  // namespace t2v::engine
