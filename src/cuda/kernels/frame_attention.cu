// SPDX-License-Identifier: Apache-2.0
// A sequence is a position of one head: its few frames lie in shared memory, and 32 or 64 threads work on them. Reads
// q, k and v where the projection left them, so nothing is permuted. A thread makes 4 x 4 numbers of a product at a
// time: with fewer, reading shared memory would take several times as long as multiplying.
#include <algorithm>
#include <cstdint>

#include "cuda/kernels/element.cuh"
#include "cuda/kernels/layer_kernels.hpp"

namespace t2v::cuda {

namespace {

constexpr int kMostThreads = 128;
constexpr int kTile = 4;
constexpr int kMostFrames = 32;  // tiles of a sequence's logits: one a thread
using Four = Pack<float, kTile>;

constexpr int rounded_up(int64_t x) { return static_cast<int>((x + kTile - 1) / kTile * kTile); }

/// How a sequence lies in shared memory. Rows are four floats longer than their content, so that rows one after the
/// other begin in other banks. The weights take the place of q when it has been read.
struct Layout {
  int width, first_row, row, frames;  // of a head, rounded up; floats in rows of q, and of k and v

  constexpr explicit Layout(const FrameAttentionJob& job)
      : width(rounded_up(job.head_dim)),
        first_row((width > rounded_up(job.frames) ? width : rounded_up(job.frames)) + kTile),
        row(width + kTile),
        frames(static_cast<int>(job.frames)) {}
  constexpr int floats() const { return frames * (first_row + 2 * row); }
};

constexpr int threads_of_a_sequence(const FrameAttentionJob& job) { return job.frames <= 16 ? 32 : 64; }

int sequences_of_a_block(const FrameAttentionJob& job) {
  const int64_t bytes = Layout(job).floats() * static_cast<int64_t>(sizeof(float));
  return static_cast<int>(std::min<int64_t>(kMostThreads / threads_of_a_sequence(job), kFrameAttentionBytes / bytes));
}

__device__ Four four_at(const float* at) { return *reinterpret_cast<const Four*>(at); }

__device__ void add_products(float (&sum)[kTile][kTile], const Four (&a)[kTile], const Four (&b)[kTile]) {
  for (int i = 0; i < kTile; ++i) {
    for (int j = 0; j < kTile; ++j) {
      for (int d = 0; d < kTile; ++d) sum[i][j] += a[i].at[d] * b[j].at[d];
    }
  }
}

/// One thread's view of its sequence.
template <typename T, int kWidth>
struct Sequence {
  const FrameAttentionJob& job;
  Layout layout;
  int lane, lanes, tiles;  // this thread, of so many; tiles of four frames
  float *q, *k, *v;        // [F, first_row], [F, row], [F, row]
  const T* from;           // q of frame 0
  T* out;

  __device__ Sequence(const FrameAttentionJob& given, int64_t index, int thread, int threads, float* shared)
      : job(given), layout(given), lane(thread), lanes(threads), tiles((layout.frames + kTile - 1) / kTile) {
    q = shared;
    k = q + layout.frames * layout.first_row;
    v = k + layout.frames * layout.row;
    const auto all = static_cast<int>(index), heads = static_cast<int>(job.heads);
    const int head = all % heads, place = all / heads, positions = static_cast<int>(job.positions);
    const int64_t token = static_cast<int64_t>(place / positions) * job.frames * job.positions + place % positions;
    from = static_cast<const T*>(job.qkv) + (token * 3 * job.heads + head) * job.head_dim;
    out = static_cast<T*>(job.out) + (token * job.heads + head) * job.head_dim;
  }

  /// Frame `tile` + n * tiles: neighbouring threads then read neighbouring rows. The last one stands for those beyond.
  __device__ int frame(int tile, int n) const { return min(tile + n * tiles, layout.frames - 1); }

  /// Four floats at a time where the head's width allows it: one by one they would meet in the same banks.
  __device__ static void put(float* to, const Pack<T, kWidth>& pack, float scale) {
    if constexpr (kWidth % kTile == 0) {
      for (int n = 0; n < kWidth; n += kTile) {
        Four four;
        for (int m = 0; m < kTile; ++m) four.at[m] = to_float(pack.at[n + m]) * scale;
        *reinterpret_cast<Four*>(to + n) = four;
      }
    } else {
      to[0] = to_float(pack.at[0]) * scale;
    }
  }

  /// `left`: numbers to the end of the head.
  __device__ static void put_out(T* to, const float (&sum)[kTile], int left) {
    if constexpr (kWidth % kTile == 0) {
      Pack<T, kTile> four;
      for (int m = 0; m < kTile; ++m) four.at[m] = from_float<T>(sum[m]);
      *reinterpret_cast<Pack<T, kTile>*>(to) = four;
    } else {
      for (int m = 0; m < min(kTile, left); ++m) to[m] = from_float<T>(sum[m]);
    }
  }

  __device__ void load() const {
    const int packs = static_cast<int>(job.head_dim) / kWidth;
    const int64_t step = job.positions * 3 * job.heads * job.head_dim, apart = job.heads * job.head_dim;
    const float scale = rsqrtf(static_cast<float>(job.head_dim));
    for (int i = lane; i < layout.frames * packs; i += lanes) {
      const int f = i / packs, d = i % packs * kWidth;
      const auto* at = reinterpret_cast<const Pack<T, kWidth>*>(from + f * step + d);
      const Pack<T, kWidth> of_q = at[0], of_k = at[apart / kWidth], of_v = at[2 * apart / kWidth];
      put(q + f * layout.first_row + d, of_q, scale);
      put(k + f * layout.row + d, of_k, 1.0F);
      put(v + f * layout.row + d, of_v, 1.0F);
    }
    const int missing = layout.width - static_cast<int>(job.head_dim);
    for (int i = lane; i < layout.frames * missing; i += lanes) {
      const int f = i / missing, d = static_cast<int>(job.head_dim) + i % missing;
      q[f * layout.first_row + d] = k[f * layout.row + d] = v[f * layout.row + d] = 0.0F;
    }
  }

  /// q k^T of this thread's tile.
  __device__ void logits(float (&sum)[kTile][kTile]) const {
    if (lane >= tiles * tiles) return;
    const int query = lane / tiles, key = lane % tiles;
    for (int d = 0; d < layout.width; d += kTile) {
      Four a[kTile], b[kTile];
      for (int n = 0; n < kTile; ++n) {
        a[n] = four_at(q + frame(query, n) * layout.first_row + d);
        b[n] = four_at(k + frame(key, n) * layout.row + d);
      }
      add_products(sum, a, b);
    }
  }

  __device__ void keep(const float (&sum)[kTile][kTile]) const {
    if (lane >= tiles * tiles) return;
    const int query = lane / tiles, key = lane % tiles;
    for (int i = 0; i < kTile; ++i) {
      for (int j = 0; j < kTile; ++j) {
        const int at = query + i * tiles, column = key + j * tiles;
        if (at < layout.frames) q[at * layout.first_row + column] = column < layout.frames ? sum[i][j] : -INFINITY;
      }
    }
  }

  /// Of every row; four threads share one.
  __device__ void softmax() const {
    const int columns = tiles * kTile, turns = (layout.frames * kTile + lanes - 1) / lanes;
    for (int turn = 0; turn < turns; ++turn) {  // as many for every thread: all meet in the shuffles
      const int i = turn * lanes + lane, row = i / kTile, until = row < layout.frames ? columns : 0;
      float* w = q + row * layout.first_row;
      float largest = -INFINITY, sum = 0.0F;
      for (int c = i % kTile; c < until; c += kTile) largest = fmaxf(largest, w[c]);
      for (int offset = kTile / 2; offset > 0; offset /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, offset));
      }
      for (int c = i % kTile; c < until; c += kTile) sum += __expf(w[c] - largest);
      for (int offset = kTile / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, offset);
      for (int c = i % kTile; c < until; c += kTile) w[c] = __expf(w[c] - largest) / sum;
    }
  }

  /// Weights times v, four frames by four numbers at a time.
  __device__ void store() const {
    const int packs = layout.width / kTile, width = static_cast<int>(job.head_dim);
    const int64_t step = job.positions * job.heads * job.head_dim;
    for (int i = lane; i < tiles * packs; i += lanes) {
      const int tile = i / packs, d = i % packs * kTile;
      float sum[kTile][kTile] = {};
      for (int key = 0; key < layout.frames; key += kTile) {
        Four weights[kTile], values[kTile];  // of a frame; of a number
        for (int n = 0; n < kTile; ++n) {
          weights[n] = four_at(q + frame(tile, n) * layout.first_row + key);
          const Four row = four_at(v + min(key + n, layout.frames - 1) * layout.row + d);
          for (int m = 0; m < kTile; ++m) values[m].at[n] = row.at[m];
        }
        add_products(sum, weights, values);
      }
      for (int n = 0; n < kTile; ++n) {
        const int f = tile + n * tiles;
        if (f < layout.frames) put_out(out + f * step + d, sum[n], width - d);
      }
    }
  }
};

template <typename T, int kWidth>
__global__ void frame_attention(FrameAttentionJob job) {
  const int lanes = threads_of_a_sequence(job), own = static_cast<int>(threadIdx.x) / lanes;
  const int sequences = static_cast<int>(blockDim.x) / lanes;
  const int64_t count = job.batch * job.positions * job.heads,
                index = static_cast<int64_t>(blockIdx.x) * sequences + own;
  const bool is_there = index < count;  // those beyond take part, or the others would wait for them
  const Sequence<T, kWidth> sequence(job, is_there ? index : count - 1, static_cast<int>(threadIdx.x) % lanes, lanes,
                                     dynamic_shared() + own * Layout(job).floats());
  sequence.load();
  __syncthreads();
  float sum[kTile][kTile] = {};
  sequence.logits(sum);
  __syncthreads();
  sequence.keep(sum);
  __syncthreads();
  sequence.softmax();
  __syncthreads();
  if (is_there) sequence.store();
}

template <typename T, int kWidth>
int run(const FrameAttentionJob& job, CUstream_st* stream) {
  const int sequences = sequences_of_a_block(job);
  const int64_t count = job.batch * job.positions * job.heads;
  const std::size_t bytes = static_cast<std::size_t>(sequences) * Layout(job).floats() * sizeof(float);
  return launch(&frame_attention<T, kWidth>, static_cast<unsigned>((count + sequences - 1) / sequences),
                static_cast<unsigned>(sequences * threads_of_a_sequence(job)), stream, job, bytes);
}

}  // namespace

int launch_frame_attention(const FrameAttentionJob& job, CUstream_st* stream) {
  const int64_t count = job.batch * job.positions * job.heads;
  if (job.frames > kMostFrames || job.head_dim > kFrameAttentionBytes || count > 0x7fffffff) {
    return cudaErrorInvalidValue;
  }
  if (count * job.frames == 0) return cudaSuccess;
  if (sequences_of_a_block(job) == 0) return cudaErrorInvalidValue;
  return with_type(job.type, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kWide = 16 / static_cast<int>(sizeof(T));
    const bool is_aligned = reinterpret_cast<std::uintptr_t>(job.qkv) % 16 == 0;
    if (job.head_dim % kWide == 0 && is_aligned) return run<T, kWide>(job, stream);
    return run<T, 1>(job, stream);
  });
}

}  // namespace t2v::cuda
