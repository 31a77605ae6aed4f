// SPDX-License-Identifier: Apache-2.0
// One row a kernel of ours and a shape: what it makes beside its plain form, and how long each takes. The comparison
// decides whether a row is right; times are for whoever reads them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/config.hpp"

namespace t2v::bench {

struct KernelRow {
  std::string kernel, shape;
  double bound = 0;        // see Measured::difference
  double flop = 0;         // of the plain form; 0: the work is moving
  double bytes = 0;        // read once and written once
  bool on_device = false;  // results are only queued when `ours` and `aten` return
  std::function<at::Tensor()> plain = {}, ours = {};
  std::function<at::Tensor()> aten = {};  // empty where ATen has no such operation
};

struct Measured {
  KernelRow row;
  /// The largest of |ours - plain|: in levels for bytes, else as a share of the largest |plain|. Infinite for NaN and
  /// for another shape.
  double difference = 0;
  double plain_seconds = 0, seconds = 0;
  std::optional<double> aten_seconds = {};

  bool within_bound() const { return difference <= row.bound; }
};

/// How long the forms of a row are repeated, in turn, for their medians.
struct Effort {
  double seconds = 1, sample_seconds = 0.02;
  int samples = 7;
};

/// A slow plain form runs once.
Measured compare_and_time(const KernelRow& row, const Effort& effort);

/// A table in Markdown: its head, and a line for each row.
std::string table_head();
std::string table_line(const Measured& measured);
io::Json table_json(const std::vector<Measured>& rows);

}  // namespace t2v::bench
