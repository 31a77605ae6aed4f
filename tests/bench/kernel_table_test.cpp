// SPDX-License-Identifier: Apache-2.0
// What the table of kernels says of right and wrong ones. Times are not looked at: they decide nothing.
#include "kernel_table.hpp"

#include <cmath>

#include <gtest/gtest.h>

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

namespace t2v::bench {
namespace {

const Effort kOnce{.seconds = 0, .sample_seconds = 0, .samples = 1};

/// A kernel of two numbers that are 10 and `second`, where 10 and 5 are right.
KernelRow pair(double second) {
  return {.kernel = "pair",
          .shape = "2",
          .bound = 1e-3,
          .flop = 4,
          .plain =
              [] {
                return at::tensor({10.0F, 5.0F});
              },
          .ours =
              [=] {
                return at::tensor({10.0F, static_cast<float>(second)});
              }};
}

TEST(KernelTable, compares_with_the_largest_number) {
  const Measured good = compare_and_time(pair(5.005), kOnce), bad = compare_and_time(pair(5.05), kOnce);
  EXPECT_NEAR(good.difference, 5e-4, 1e-6);
  EXPECT_TRUE(good.within_bound());
  EXPECT_NEAR(bad.difference, 5e-3, 1e-6);
  EXPECT_FALSE(bad.within_bound());
  EXPECT_TRUE(table_json({good})["within_bounds"].get<bool>());
  EXPECT_FALSE(table_json({good, bad})["within_bounds"].get<bool>());
  EXPECT_NE(table_line(bad).find("**beyond**"), std::string::npos);
}

TEST(KernelTable, what_is_no_number_or_of_another_shape_is_beyond_any_bound) {
  KernelRow row = pair(NAN);
  row.bound = 1e30;
  EXPECT_FALSE(compare_and_time(row, kOnce).within_bound());
  row.ours = [] { return at::full({3}, 10.0); };
  EXPECT_FALSE(compare_and_time(row, kOnce).within_bound());
}

TEST(KernelTable, bytes_differ_by_levels) {
  const KernelRow row{.kernel = "levels",
                      .shape = "1",
                      .bound = 1,
                      .bytes = 2,
                      .plain = [] { return at::full({1}, 200, c10::kByte); },
                      .ours = [] { return at::full({1}, 198, c10::kByte); }};
  const Measured measured = compare_and_time(row, kOnce);
  EXPECT_EQ(measured.difference, 2);
  EXPECT_FALSE(measured.within_bound());
}

TEST(KernelTable, a_row_has_what_a_reader_looks_for) {
  KernelRow row = pair(5);
  const io::Json without = table_json({compare_and_time(row, kOnce)})["kernels"][0];
  EXPECT_FALSE(without.contains("aten_seconds"));
  EXPECT_GT(without["gflop_per_second"].get<double>(), 0);
  EXPECT_GT(without["times_as_fast"].get<double>(), 0);
  row.aten = row.plain;
  row.flop = 0;
  row.bytes = 8;
  const io::Json with = table_json({compare_and_time(row, kOnce)})["kernels"][0];
  EXPECT_GT(with["aten_seconds"].get<double>(), 0);
  EXPECT_GT(with["gb_per_second"].get<double>(), 0);
}

}  // namespace
}  // namespace t2v::bench
