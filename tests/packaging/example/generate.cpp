// SPDX-License-Identifier: Apache-2.0
// A clip from a prompt, with the C++ API: generate OUT.mp4 [MODEL]
#include <cstdio>

#include <t2v/t2v.hpp>

int main(int argc, char** argv) try {
  t2v::LoadOptions options;  // no model named: the embedded one
  if (argc > 2) options.model = argv[2];
  t2v::Request request;
  request.prompt = "a red circle moving to the right";
  request.steps = 2;
  request.seed = 42;

  const auto model = t2v::open_model(options);
  const t2v::Plan plan = model->plan(request);
  t2v::Progress quiet;
  const auto pipeline = model->load(quiet);
  const auto sink = t2v::open_sink(argc > 1 ? argv[1] : "out.mp4",
                                   {.width = plan.width, .height = plan.height, .fps = plan.fps, .overwrite = true});
  pipeline->decode(pipeline->denoise(plan, quiet), plan, *sink, quiet);
  sink->finish();
  std::printf("%s: %lld frames\n", argc > 1 ? argv[1] : "out.mp4", static_cast<long long>(plan.frames));
} catch (const t2v::Error& error) {
  std::fprintf(stderr, "generate: error: %s\n", error.what());
  return t2v::exit_code(error.code());
}
