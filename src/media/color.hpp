// SPDX-License-Identifier: Apache-2.0
// RGB (8 bits, full range) to Y'CbCr BT.709 limited range, exact to rounding: the reference and the
// fast version give the same bytes. No libav in here; the chroma of 4:2:0 is the mean of its 2x2
// pixels (sample position "center", as in JPEG and MPEG-1).
#pragma once

#include <cstddef>
#include <cstdint>

namespace t2v::media {

/// Three planes and the bytes from one row of a plane to the next.
struct YuvPlanes {
  uint8_t* y;
  uint8_t* u;
  uint8_t* v;
  ptrdiff_t y_stride;
  ptrdiff_t uv_stride;
};

/// rgb [H W 3] to 4:4:4 planes [H W].
void rgb_to_yuv444_bt709(const uint8_t* rgb, int64_t width, int64_t height, const YuvPlanes& out);
/// rgb [H W 3] to 4:2:0 planes: y [H W], u and v [H/2 W/2]. Width and height are even.
void rgb_to_yuv420_bt709(const uint8_t* rgb, int64_t width, int64_t height, const YuvPlanes& out);
/// The same by the formula of Rec. ITU-R BT.709-6 (items 3.2-3.4) pixel by pixel, for tests.
void rgb_to_yuv420_bt709_reference(const uint8_t* rgb, int64_t width, int64_t height, const YuvPlanes& out);

}  // namespace t2v::media
