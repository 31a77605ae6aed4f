// SPDX-License-Identifier: Apache-2.0
// The public API of t2v, in one include. It needs no libtorch header.
//
//   auto model = t2v::open_model({.model = "path/to/checkpoint"});
//   t2v::Request request{.prompt = "a red circle moving to the right"};
//   auto plan = model->plan(request);
//   t2v::Progress progress;
//   auto pipeline = model->load(progress);
//   auto sink = t2v::open_sink("out.mp4", {.width = plan.width, .height = plan.height, .fps = plan.fps});
//   pipeline->decode(pipeline->denoise(plan, progress), plan, *sink, progress);
//   sink->finish();
#pragma once

#include "t2v/error.hpp"
#include "t2v/export.hpp"
#include "t2v/frame_sink.hpp"
#include "t2v/pipeline.hpp"
#include "t2v/progress.hpp"
#include "t2v/request.hpp"
#include "t2v/run_state.hpp"
#include "t2v/version.hpp"
