// SPDX-License-Identifier: Apache-2.0
// From a Request with holes to a Plan without: what every family checks in the same way.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "t2v/pipeline.hpp"
#include "text/vocabulary.hpp"

namespace t2v::models {

/// What a family allows, beside the defaults in ModelInfo.
struct Limits {
  int64_t size_multiple = 8;  ///< width and height must be multiples of it
  int64_t min_size = 8;
  int64_t max_size = 8192;
  int64_t min_frames = 1;
  int64_t max_frames = 100000;
  int64_t trained_frames = 0;  ///< longer clips are made in context windows unless the request says otherwise; 0: never
  int64_t max_window = 0;      ///< frames that the network can see at once; 0: no bound
  int64_t max_steps = 1000;    ///< the scheduler's num_train_timesteps
  std::string default_sampler;       ///< diffusers class of the checkpoint's scheduler
  t2v::text::Vocabulary vocabulary;  ///< of a model of a small world; empty: it takes any prompt
};

/// Fills the request's holes from `info`, checks every value, refuses flags that info.accepts does not list. Throws
/// Error{usage} naming the flag and the nearest legal value, Error{unsupported} for flags of other families. Warns
/// of prompts outside limits.vocabulary. The result lacks latent_shape, device, dtype and memory.
Plan plan_request(const Request& request, const ModelInfo& info, const Limits& limits);

/// Refuses --motion-module for families that don't take it. Error{unsupported} names the flag.
void reject_motion_module(const LoadOptions& options, const std::string& pipeline_class);

/// What a run has in memory at one time, in bytes.
struct Turn {
  int64_t weights = 0;  ///< of the networks at work
  int64_t activations = 0;
};

/// The most that a process takes: in the largest turn where networks come and go (LoadOptions::keep_networks), else
/// with the weights of all networks in every turn.
int64_t process_peak(int64_t all_weights, std::initializer_list<Turn> turns, bool keep_networks);

/// Whether cuDNN looks for its fastest convolutions before the first step: part of --fast, because what it finds is not
/// kept and a seed's bits may differ from run to run; and only with steps enough to pay for the search.
bool searches_convolutions(const Request& planned);

/// A seed for a run that names none: 32 random bits.
int64_t random_seed();

}  // namespace t2v::models
