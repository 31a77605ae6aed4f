// SPDX-License-Identifier: Apache-2.0
// The only file built with OpenMP (see CMakeLists.txt): at::parallel_for is a template, so its pragma is compiled here.
#include "tensor/parallel.hpp"

#include <ATen/Parallel.h>

namespace t2v {

void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  at::parallel_for(0, count, grain, body);
}

int64_t thread_count() { return at::get_num_threads(); }

}  // namespace t2v
