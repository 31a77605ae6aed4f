// SPDX-License-Identifier: Apache-2.0
// 3 x 3 convolutions of channels-last images with a quarter of the multiplications: Winograd's F(4x4, 3x3) as in Lavin
// and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), with the points 0, 1, -1, 2, -2. A tile of 6 x
// 6 pixels is transformed, multiplied by the transformed weight at each of its 36 places as matrices over the channels,
// and transformed back to 4 x 4 pixels. fp32 on the CPU; results differ from the plain sum by about 1e-6 of their
// scale.
#pragma once

#include <array>
#include <cstdint>

#include "nn/kernels/convolution.hpp"

namespace t2v::nn::kernels {

/// Whether a layer's weight is worth its second form: four times as large, it has to stay near the cores.
bool winograd_fits(int64_t channels, int64_t outputs);
/// Whether tiles save work on images of this size. Depends on one image only, so that a video's pixels do not depend on
/// how many of its frames are computed together.
bool winograd_pays(const ConvolutionShape& shape);

/// Floats of the transformed weight.
int64_t winograd_size(int64_t channels, int64_t outputs);
/// weight [outputs, 3, 3, channels] -> the order of winograd_cpu, in parallel.
void winograd_pack(const float* weight, float* packed, int64_t channels, int64_t outputs);

/// Tasks of a call: groups of tiles.
int64_t winograd_tasks(const ConvolutionShape& shape);
/// Tasks [first, last); safe to call from several threads for disjoint ranges. kernel 3 x 3, stride 1, padding 1; all
/// of `end` but the gate. The plain form is convolution_reference().
void winograd_cpu(const std::array<const float*, 2>& x, const float* packed, float* out, const ConvolutionShape& shape,
                  const ConvolutionEnd& end, int64_t first, int64_t last);

}  // namespace t2v::nn::kernels
