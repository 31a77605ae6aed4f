// SPDX-License-Identifier: Apache-2.0
// Two kernels: sums of every chunk of every image, then the result. A thread keeps its channels while it walks over
// pixels, so loads run along channels and a warp reads whole lines. Sums are of x - pivot, the group's first value, so
// that a mean that is large beside the spread costs no bits.
#include <algorithm>

#include "cuda/kernels/element.cuh"
#include "cuda/kernels/layer_kernels.hpp"

namespace t2v::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kMaxGroups = 256;
constexpr int kBlocksEach = 4;  // on a multiprocessor: group_norm_chunks() makes so many
constexpr int kAtOnce = 2;      // loads of a thread under way: with one, waiting for memory would set the pace

template <typename T, int kWidth>
struct Walk {
  int64_t image, first_pixel, last_pixel;
  int packs, rows, pack, row;  // of channels; of threads side by side; of this thread

  __device__ explicit Walk(const GroupNormJob& job) : image(blockIdx.y) {
    const int64_t each = (job.pixels + gridDim.x - 1) / gridDim.x;
    first_pixel = blockIdx.x * each;
    last_pixel = min(first_pixel + each, job.pixels);
    packs = static_cast<int>(job.channels / kWidth);
    const int side = min(packs, static_cast<int>(blockDim.x));
    rows = static_cast<int>(blockDim.x) / side;
    pack = static_cast<int>(threadIdx.x) % side;
    row = static_cast<int>(threadIdx.x) / side;
  }
  __device__ int step() const { return min(packs, static_cast<int>(blockDim.x)); }
  __device__ bool idle() const { return row >= rows; }
};

template <typename T>
__device__ float shift_of(const GroupNormJob& job, int64_t image, int64_t channel) {
  if (!job.shift) return 0.0F;
  const auto video = static_cast<unsigned>(image) / static_cast<unsigned>(job.images_per_video);
  return to_float(static_cast<const T*>(job.shift)[video * job.channels + channel]);
}

template <typename T>
__device__ float pivot_of(const GroupNormJob& job, int64_t image, int64_t group) {
  const int64_t channel = group * (job.channels / job.groups);
  return to_float(static_cast<const T*>(job.x)[image * job.pixels * job.channels + channel]) +
         shift_of<T>(job, image, channel);
}

/// What every thread has of its channels, [blockDim][kWidth] pairs, added up by group in an order that never changes,
/// so that a seed gives the same bits every time. `packs` packs of channels are here, from channel `first`; thread r *
/// side + p has pack p of row r.
template <int kWidth>
__device__ void add_by_group(const float (*of_threads)[2 * kWidth], int first, int packs, int side, int rows,
                             int group_width, int groups, float (*of_parts)[2], float* sums) {
  const int parts = static_cast<int>(blockDim.x) / groups, group = static_cast<int>(threadIdx.x) / parts;
  const int part = static_cast<int>(threadIdx.x) % parts;
  float sum = 0.0F, square = 0.0F;
  if (group < groups) {
    const int from = max(group * group_width, first), until = min((group + 1) * group_width, first + packs * kWidth);
    const int channels = max(until - from, 0);
    for (int i = part; i < channels * rows; i += parts) {
      const int channel = from - first + i % channels;
      const float* own = of_threads[i / channels * side + channel / kWidth];
      sum += own[2 * (channel % kWidth)];
      square += own[2 * (channel % kWidth) + 1];
    }
  }
  of_parts[threadIdx.x][0] = sum;
  of_parts[threadIdx.x][1] = square;
  __syncthreads();
  if (group < groups && part == 0) {
    for (int i = 0; i < parts; ++i) {
      sums[2 * group] += of_parts[threadIdx.x + i][0];
      sums[2 * group + 1] += of_parts[threadIdx.x + i][1];
    }
  }
  __syncthreads();
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocksEach) sums_of_chunks(GroupNormJob job) {
  __shared__ float sums[2 * kMaxGroups], pivots[kMaxGroups], of_threads[kThreads][2 * kWidth], of_parts[kThreads][2];
  const Walk<T, kWidth> walk(job);
  for (int64_t g = threadIdx.x; g < job.groups; g += blockDim.x) {
    sums[2 * g] = sums[2 * g + 1] = 0.0F;
    pivots[g] = pivot_of<T>(job, walk.image, g);
  }
  __syncthreads();
  const int group_width = static_cast<int>(job.channels / job.groups);
  for (int first = 0; first < walk.packs; first += walk.step()) {  // the same rounds for every thread: all meet below
    const int pack = first + walk.pack;
    float sum[kWidth] = {}, square[kWidth] = {}, less[kWidth];
    if (pack < walk.packs && !walk.idle()) {
      for (int i = 0; i < kWidth; ++i) {
        const int channel = pack * kWidth + i;
        less[i] = pivots[channel / group_width] - shift_of<T>(job, walk.image, channel);
      }
#pragma unroll 4
      for (int64_t pixel = walk.first_pixel + walk.row; pixel < walk.last_pixel; pixel += walk.rows) {
        const auto* row = static_cast<const T*>(job.x) + (walk.image * job.pixels + pixel) * job.channels;
        const auto value = reinterpret_cast<const Pack<T, kWidth>*>(row)[pack];
        for (int i = 0; i < kWidth; ++i) {
          const float u = to_float(value.at[i]) - less[i];
          sum[i] += u;
          square[i] += u * u;
        }
      }
    }
    for (int i = 0; i < kWidth; ++i) {
      of_threads[threadIdx.x][2 * i] = sum[i];
      of_threads[threadIdx.x][2 * i + 1] = square[i];
    }
    __syncthreads();
    const int packs = min(walk.step(), walk.packs - first);
    add_by_group<kWidth>(of_threads, first * kWidth, packs, walk.step(), walk.rows, group_width,
                         static_cast<int>(job.groups), of_parts, sums);
  }
  float* out = job.scratch + (walk.image * gridDim.x + blockIdx.x) * job.groups * 2;
  for (int64_t i = threadIdx.x; i < 2 * job.groups; i += blockDim.x) out[i] = sums[i];
}

/// Mean and inverse deviation of every group from the sums of all chunks: each thread adds up a part of them, again in
/// an order that never changes.
template <typename T>
__device__ void statistics(const GroupNormJob& job, int64_t image, float* means, float* inverses) {
  __shared__ double of_parts[kThreads][2];
  const int groups = static_cast<int>(job.groups), parts = static_cast<int>(blockDim.x) / groups;
  const int group = static_cast<int>(threadIdx.x) % groups, part = static_cast<int>(threadIdx.x) / groups;
  double sum = 0, square = 0;
  for (int chunk = part; chunk < static_cast<int>(gridDim.x) && part < parts; chunk += parts) {
    const float* of_chunk = job.scratch + ((image * gridDim.x + chunk) * groups + group) * 2;
    sum += of_chunk[0];
    square += of_chunk[1];
  }
  of_parts[threadIdx.x][0] = sum;
  of_parts[threadIdx.x][1] = square;
  __syncthreads();
  if (part == 0) {
    for (int i = 1; i < parts; ++i) {
      sum += of_parts[i * groups + group][0];
      square += of_parts[i * groups + group][1];
    }
    const double count = static_cast<double>(job.pixels * (job.channels / job.groups)), mean = sum / count;
    means[group] = static_cast<float>(mean + pivot_of<T>(job, image, group));
    inverses[group] = static_cast<float>(1.0 / sqrt(fmax(square / count - mean * mean, 0.0) + job.eps));
  }
  __syncthreads();
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocksEach) normalise(GroupNormJob job) {
  __shared__ float means[kMaxGroups], inverses[kMaxGroups];
  const Walk<T, kWidth> walk(job);
  const auto group_width = static_cast<int>(job.channels / job.groups);
  statistics<T>(job, walk.image, means, inverses);
  const int64_t image = walk.image * job.pixels * walk.packs;
  const auto* x = static_cast<const Pack<T, kWidth>*>(job.x) + image;
  auto* out = static_cast<Pack<T, kWidth>*>(job.out) + image;
  for (int pack = walk.pack; pack < walk.packs && !walk.idle(); pack += walk.step()) {
    float scale[kWidth], offset[kWidth];
    for (int i = 0; i < kWidth; ++i) {
      const int channel = pack * kWidth + i, group = channel / group_width;
      scale[i] = inverses[group] * to_float(static_cast<const T*>(job.weight)[channel]);
      offset[i] = to_float(static_cast<const T*>(job.bias)[channel]) +
                  (shift_of<T>(job, walk.image, channel) - means[group]) * scale[i];
    }
    for (int64_t pixel = walk.first_pixel + walk.row; pixel < walk.last_pixel; pixel += kAtOnce * walk.rows) {
      Pack<T, kWidth> values[kAtOnce];
      for (int n = 0; n < kAtOnce; ++n) {
        if (pixel + n * walk.rows < walk.last_pixel) values[n] = x[(pixel + n * walk.rows) * walk.packs + pack];
      }
      for (int n = 0; n < kAtOnce && pixel + n * walk.rows < walk.last_pixel; ++n) {
        for (int i = 0; i < kWidth; ++i) {
          float y = to_float(values[n].at[i]) * scale[i] + offset[i];
          if (job.silu) y = __fdividef(y, 1.0F + __expf(-y));
          values[n].at[i] = from_float<T>(y);
        }
        out[(pixel + n * walk.rows) * walk.packs + pack] = values[n];
      }
    }
  }
}

template <typename T, int kWidth>
int run(const GroupNormJob& job, CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>(group_norm_chunks(job)), static_cast<unsigned>(job.images));
  const int status = launch(&sums_of_chunks<T, kWidth>, grid, kThreads, stream, job);
  return status != cudaSuccess ? status : launch(&normalise<T, kWidth>, grid, kThreads, stream, job);
}

}  // namespace

int launch_group_norm(const GroupNormJob& job, CUstream_st* stream) {
  if (job.groups < 1 || job.groups > kMaxGroups || job.channels % job.groups != 0 || job.images > 65535) {
    return cudaErrorInvalidValue;
  }
  if (job.images * job.pixels == 0) return cudaSuccess;
  return with_type(job.type, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kWide = 16 / static_cast<int>(sizeof(T));
    if (job.channels % kWide == 0) return run<T, kWide>(job, stream);
    return run<T, 1>(job, stream);
  });
}

}  // namespace t2v::cuda
