// SPDX-License-Identifier: Apache-2.0
// Which of a device's forms of attention computes a shape. The first time that a shape is met in a run that is long
// enough to gain by it, the forms are timed and the choice is kept on disk (engine/attention_file.hpp); from then on
// the file decides, and where it says nothing, ATen.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/attention_file.hpp"
#include "tensor/attention_backends.hpp"

namespace t2v::engine {

enum class AttentionBackend { aten, flash, efficient, cudnn, math };  ///< aten: what ATen chooses by itself
std::string_view backend_name(AttentionBackend backend);

/// What decides on the speed of a call.
struct AttentionShape {
  c10::ScalarType dtype;
  int64_t batch, heads, queries, keys, head_dim;
  bool is_causal, has_bias;

  static AttentionShape of(const AttentionCall& call);
  std::string text() const;  ///< "bf16 2x8 9216x77 d64 causal bias"
  auto operator<=>(const AttentionShape&) const = default;
};

/// A device with several forms of attention.
class AttentionDevice {
 public:
  virtual ~AttentionDevice() = default;
  virtual c10::Device device() const = 0;
  virtual std::string name() const = 0;  ///< of the device and of the libraries that compute there
  /// The forms beside ATen's own choice that take this call in memory like its own.
  virtual std::vector<AttentionBackend> alternatives(const AttentionCall& call) = 0;
  virtual at::Tensor compute(const AttentionCall& call, AttentionBackend backend) = 0;
  virtual double now() = 0;  ///< seconds on some clock, once everything queued is done
};

class AttentionChoice final : public AttentionBackends {
 public:
  /// An alternative has to take less than this share of the time of ATen's own choice: clocks are not exact.
  static constexpr double kWorthwhile = 0.95;

  AttentionChoice(std::unique_ptr<AttentionDevice> device, AttentionFile file);
  bool takes(c10::Device device) const override { return device == device_->device(); }
  at::Tensor compute(const AttentionCall& call) override;

 private:
  /// Of one shape. Without timing a run may be the first of many: what is not settled may still be timed.
  struct Entry {
    AttentionBackend backend = AttentionBackend::aten;
    bool is_settled = false;
  };
  AttentionBackend backend_for(const AttentionCall& call);
  Entry look_up(const AttentionCall& call, const AttentionShape& shape);
  Entry choose(const AttentionCall& call, const AttentionShape& shape);
  AttentionBackend fastest(const AttentionCall& call, std::vector<AttentionBackend> backends);
  bool agrees(const AttentionCall& call, AttentionBackend backend, const at::Tensor& wanted);
  double seconds_of(const AttentionCall& call, AttentionBackend backend, int repeats);

  std::unique_ptr<AttentionDevice> device_;
  AttentionFile file_;
  std::string device_name_;
  std::mutex mutex_;  // guards what is below
  AttentionFile::Choices from_file_;
  std::map<AttentionShape, Entry> known_;
  bool can_keep_ = true;
};

}  // namespace t2v::engine
