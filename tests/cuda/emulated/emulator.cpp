// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <csetjmp>
#include <limits>
#include <memory>
#include <stdexcept>
#include <vector>

#include <ucontext.h>

#include "cuda/kernels/launch.cuh"

namespace t2v::cuda::emulated {

namespace {

constexpr std::size_t kStackBytes = 64 * 1024;
constexpr unsigned kWarp = 32;

enum class State { ready, at_block, at_warp, done };

/// Started by makecontext() once; from then on it is entered and left by longjmp(), which asks nothing of the kernel.
struct Fiber {
  ucontext_t start{};
  jmp_buf place{};
  std::unique_ptr<char[]> stack;
  State state = State::done;
  float value = 0;  // brought to exchange()
};

struct Device {
  jmp_buf scheduler{};
  std::vector<Fiber> fibers;
  unsigned running = 0;
  std::vector<float> shared;
  const std::function<void()>* kernel = nullptr;
};
Device device;

void leave(State state) {
  Fiber& own = device.fibers[device.running];
  own.state = state;
  if (_setjmp(own.place) == 0) _longjmp(device.scheduler, 1);
}

void live() {
  for (;;) {
    (*device.kernel)();
    leave(State::done);
  }
}

void enter(Fiber& fiber) {
  if (_setjmp(device.scheduler) != 0) return;
  if (fiber.stack) _longjmp(fiber.place, 1);
  fiber.stack = std::make_unique<char[]>(kStackBytes);
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack.get();
  fiber.start.uc_stack.ss_size = kStackBytes;
  makecontext(&fiber.start, &live, 0);
  setcontext(&fiber.start);
}

/// Whether all of [first, last) that are not done wait in `state`; then they go on.
bool release(std::size_t first, std::size_t last, State state) {
  bool any = false;
  for (std::size_t i = first; i < last; ++i) {
    if (device.fibers[i].state == State::done) continue;
    if (device.fibers[i].state != state) return false;
    any = true;
  }
  for (std::size_t i = first; i < last; ++i) {
    if (device.fibers[i].state == state) device.fibers[i].state = State::ready;
  }
  return any;
}

bool release_some(std::size_t threads) {
  bool any = false;
  for (std::size_t first = 0; first < threads; first += kWarp) {
    any |= release(first, std::min(first + kWarp, threads), State::at_warp);
  }
  return any || release(0, threads, State::at_block);
}

void run_block(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) device.fibers[i].state = State::ready;
  do {
    for (unsigned i = 0; i < threads; ++i) {
      if (device.fibers[i].state != State::ready) continue;
      device.running = i;
      thread_index = dim3(i, 0, 0);
      enter(device.fibers[i]);
    }
  } while (release_some(threads));
  for (unsigned i = 0; i < threads; ++i) {
    if (device.fibers[i].state != State::done) throw std::logic_error("threads of a block wait at different places");
  }
}

}  // namespace

void run(const std::function<void()>& kernel, dim3 grid, unsigned threads, std::size_t shared_bytes) {
  device.kernel = &kernel;
  if (device.fibers.size() < threads) device.fibers.resize(threads);
  block_size = dim3(threads);
  grid_size = grid;
  for (unsigned y = 0; y < grid.y; ++y) {
    for (unsigned x = 0; x < grid.x; ++x) {
      block_index = dim3(x, y, 0);
      device.shared.assign(shared_bytes / sizeof(float), std::numeric_limits<float>::quiet_NaN());
      run_block(threads);
    }
  }
}

float* shared_memory() { return device.shared.data(); }

void wait_for_block() { leave(State::at_block); }

float exchange(float value, unsigned mask) {
  const unsigned lane = device.running;
  device.fibers[lane].value = value;
  leave(State::at_warp);
  const float theirs = device.fibers[lane ^ mask].value;
  leave(State::at_warp);  // before anyone brings the next
  return theirs;
}

}  // namespace t2v::cuda::emulated
