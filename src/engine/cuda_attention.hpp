// SPDX-License-Identifier: Apache-2.0
// ATen's forms of attention on a CUDA device, one by one.
#pragma once

#include <memory>
#include <string>

#include "engine/attention_choice.hpp"
#include "engine/cuda_plugin_api.hpp"

namespace t2v::engine {

/// `api` must outlive it. What it does throws Error{no_resource} where the device fails.
std::unique_ptr<AttentionDevice> make_cuda_attention(const cuda::PluginApi& api, c10::Device device);

/// From now on layers on `device` compute attention as AttentionChoice says, with the file of this user, unless
/// T2V_ATTENTION is "aten" or there is no place for a file. Error{usage} for another value than that and "auto".
void use_cuda_attention(c10::Device device);

/// Where choices are kept and how many there are, for people.
std::string attention_report();

}  // namespace t2v::engine
