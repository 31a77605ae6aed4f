// SPDX-License-Identifier: Apache-2.0
// Weights through pinned buffers, with a device that copies as late as it may: a buffer filled again too early, or a
// page read after upload() returned, changes the bytes that arrive.
#include "tensor/device_upload.hpp"

#include <array>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "tensor/operators.hpp"

namespace t2v {
namespace {

using at::Tensor;

struct DeviceLog {
  int64_t allowed_buffers = 100, refusals = 0;
  int64_t held_bytes = 0, most_bytes = 0, held_when_given_back = -1;
  int64_t copies = 0, marks = 0;
  bool is_lost = false;
};

/// Tensors "on the device" are on the CPU; what is queued is copied when somebody waits for it.
class LateDevice final : public UploadDevice {
 public:
  explicit LateDevice(DeviceLog& log) : log_(log) {}
  ~LateDevice() override { EXPECT_TRUE(queue_.empty() || log_.is_lost) << "nobody waited for the last copies"; }

  Tensor pinned(int64_t bytes) override {
    if (log_.allowed_buffers-- <= 0) {
      ++log_.refusals;
      TORCH_CHECK(false, "no page could be locked");
    }
    log_.held_bytes += bytes;
    log_.most_bytes = std::max(log_.most_bytes, log_.held_bytes);
    auto* memory = new std::byte[static_cast<size_t>(bytes)];
    const auto free = [&log = log_, memory, bytes](void*) {
      std::memset(memory, 0x55, static_cast<size_t>(bytes));
      log.held_bytes -= bytes;
      delete[] memory;
    };
    return at::from_blob(memory, {bytes}, free, at::TensorOptions().dtype(c10::kByte));
  }
  void begin_copy(const Tensor& to, const Tensor& from) override {
    ++log_.copies;
    queue_.emplace_back(to, from);
    ++queued_;
  }
  std::function<void()> mark() override {
    TORCH_CHECK(!log_.is_lost, "the device is lost");
    ++log_.marks;
    return [this, upto = queued_] {
      for (; sent_ < upto; ++sent_) {
        queue_.front().first.copy_(queue_.front().second);
        queue_.pop_front();
      }
    };
  }
  void give_back_pinned() override { log_.held_when_given_back = log_.held_bytes; }

 private:
  DeviceLog& log_;
  std::deque<std::pair<Tensor, Tensor>> queue_;
  int64_t queued_ = 0, sent_ = 0;
};

Placement as(c10::ScalarType dtype) { return {c10::Device(c10::kCPU), dtype}; }

DeviceUpload late_upload(DeviceLog& log, c10::ScalarType dtype, const DeviceUpload::Buffers& buffers) {
  return {std::make_unique<LateDevice>(log), as(dtype), buffers};
}

Tensor ramp(int64_t count, c10::ScalarType dtype = c10::kFloat) {
  return (at::arange(count, at::TensorOptions().dtype(c10::kFloat)).remainder(251) / 7).to(dtype);
}

/// Uploads tensors of these sizes, wiping each source at once, and holds what arrived against it.
void expect_arrival(const std::vector<int64_t>& sizes, const DeviceUpload::Buffers& buffers) {
  DeviceLog log;
  std::vector<Tensor> wanted, arrived;
  {
    auto upload = late_upload(log, c10::kFloat, buffers);
    for (const int64_t size : sizes) {
      wanted.push_back(ramp(size) + static_cast<double>(wanted.size()));
      const Tensor pages = wanted.back().clone();
      arrived.push_back(upload.upload(pages));
      pages.fill_(-1);  // as pages that were given back
    }
  }
  for (size_t i = 0; i < sizes.size(); ++i) EXPECT_TRUE(at::equal(arrived[i], wanted[i])) << i << " of " << sizes[i];
  EXPECT_LE(log.most_bytes, buffers.count * buffers.bytes);
  EXPECT_EQ(log.held_bytes, 0);
  if (log.copies > 0) {
    EXPECT_EQ(log.held_when_given_back, 0);
  }
}

TEST(DeviceUpload, brings_every_byte_whatever_the_sizes_and_buffers) {
  std::mt19937 generator(7);
  const auto random = [&](int64_t below) { return static_cast<int64_t>(generator() % static_cast<uint64_t>(below)); };
  for (int round = 0; round < 60; ++round) {
    std::vector<int64_t> sizes(static_cast<size_t>(1 + random(12)));
    for (int64_t& size : sizes) size = random(random(2) == 0 ? 40 : 5000);
    expect_arrival(sizes, {.count = 1 + random(4), .bytes = 256 + 4 * random(1000)});
  }
}

TEST(DeviceUpload, brings_tensors_larger_than_all_buffers_together) {
  expect_arrival({10, 3'000'000, 10}, {.count = 3, .bytes = 1 << 20});
}

TEST(DeviceUpload, small_tensors_share_a_buffer_and_its_mark) {
  DeviceLog log;
  {
    auto upload = late_upload(log, c10::kFloat, {});
    for (int i = 0; i < 200; ++i) upload.upload(ramp(320));
  }
  EXPECT_EQ(log.copies, 200);
  EXPECT_EQ(log.marks, 1);  // the last
  EXPECT_EQ(log.most_bytes, DeviceUpload::Buffers().bytes);
}

TEST(DeviceUpload, converts_as_the_plain_call) {
  constexpr std::array kTypes{c10::kDouble, c10::kFloat, c10::kHalf, c10::kBFloat16,
                              c10::kLong,   c10::kByte,  c10::kBool};
  for (const auto stored : kTypes) {
    for (const auto wanted : {c10::kFloat, c10::kHalf, c10::kBFloat16}) {
      DeviceLog log;
      const Tensor weight = ramp(5000, stored);
      Tensor arrived;
      {
        auto upload = late_upload(log, wanted, {.count = 2, .bytes = 1000});
        arrived = upload.upload(weight);
      }
      EXPECT_EQ(arrived.scalar_type(), wanted);
      EXPECT_TRUE(at::equal(arrived, weight.to(wanted))) << c10::toString(stored) << " to " << c10::toString(wanted);
    }
  }
}

TEST(DeviceUpload, keeps_the_strides_that_the_plain_call_keeps) {
  const Tensor base = ramp(6 * 40 * 50).view({6, 40, 50});
  for (const Tensor& weight :
       {base.transpose(0, 2), base.narrow(2, 3, 20), base[0].expand({4, 40, 50}), base[0][0][0]}) {
    DeviceLog log;
    Tensor arrived;
    {
      auto upload = late_upload(log, c10::kHalf, {.count = 2, .bytes = 4096});
      arrived = upload.upload(weight);
    }
    const Tensor plain = weight.to(c10::kHalf);
    EXPECT_TRUE(at::equal(arrived, plain));
    if (weight.is_non_overlapping_and_dense()) {
      EXPECT_EQ(arrived.strides(), plain.strides());
    }
  }
}

TEST(DeviceUpload, copies_plainly_where_no_memory_is_pinned) {
  DeviceLog log{.allowed_buffers = 0};
  auto upload = late_upload(log, c10::kHalf, {});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(upload.upload(ramp(100)), ramp(100, c10::kHalf)));
  EXPECT_EQ(log.copies, 0);
  EXPECT_EQ(log.refusals, 1) << "asked once, not for every weight";
}

TEST(DeviceUpload, goes_on_with_the_buffers_that_it_got) {
  DeviceLog log{.allowed_buffers = 2};
  Tensor arrived;
  {
    auto upload = late_upload(log, c10::kFloat, {.count = 4, .bytes = 1024});
    arrived = upload.upload(ramp(9000));
  }
  EXPECT_TRUE(at::equal(arrived, ramp(9000)));
  EXPECT_EQ(log.refusals, 1);
  EXPECT_EQ(log.most_bytes, 2048);
}

TEST(DeviceUpload, ends_quietly_when_the_device_is_lost) {
  DeviceLog log;
  auto upload = std::make_unique<DeviceUpload>(std::make_unique<LateDevice>(log), as(c10::kFloat));
  upload->upload(ramp(100));
  log.is_lost = true;
  EXPECT_NO_THROW(upload.reset());
}

}  // namespace
}  // namespace t2v
