// SPDX-License-Identifier: Apache-2.0
// One constructor function a sampler file; the table in scheduler.cpp is their only caller.
// `config` is the effective config: what the checkpoint says, today's defaults for what it does not
// say, and the user's options already in it.
#pragma once

#include <memory>

#include "sampling/scheduler.hpp"

namespace t2v::sampling {

using SchedulerFactory = std::unique_ptr<Scheduler> (*)(const io::Config& config, const SchedulerOptions& options);

std::unique_ptr<Scheduler> make_ddim(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_ddpm(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_deis(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_dpm_multistep(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_dpm_sde(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_euler(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_euler_ancestral(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_flow_euler(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_heun(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_kdpm2(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_kdpm2_ancestral(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_lcm(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_lms(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_pndm(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_tcd(const io::Config& config, const SchedulerOptions& options);
std::unique_ptr<Scheduler> make_unipc(const io::Config& config, const SchedulerOptions& options);

}  // namespace t2v::sampling
