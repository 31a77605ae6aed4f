// SPDX-License-Identifier: Apache-2.0
// Layers in half precision where a device has our kernels, here emulated: a bias that a convolution leaves to others is
// added all the same, and once.
#include <optional>
#include <string>

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "emulated/plugin.hpp"
#include "engine/cuda_kernels.hpp"
#include "nn/resnet.hpp"
#include "nn/spatio_temporal_resnet.hpp"
#include "nn/temporal_conv.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "support/svd_golden.hpp"

namespace t2v::nn {
namespace {

using test::formula_tensor;

/// Both forms round to eleven bits between the layers; a bias that is missing or there twice is half of the output.
constexpr double kTolerance = 5e-3;

/// The emulated device, which may lack the kernels of norms or of sums, and counts sums.
class KernelsInUse {
 public:
  KernelsInUse(bool has_norm, bool has_sum) {
    sums = 0;
    if (has_sum) {
      api_.add_biased = [](int device, const cuda::AddBiasedJob& job) {
        ++sums;
        return cuda::emulated_plugin().add_biased(device, job);
      };
    } else {
      api_.add_biased = [](int, const cuda::AddBiasedJob&) { return 1; };
    }
    if (!has_norm) api_.group_norm = [](int, const cuda::GroupNormJob&) { return 1; };
    kernels_.emplace(api_, c10::Device(c10::kCPU));
    sums = 0;  // of the proof
    set_device_kernels(&*kernels_);
  }
  ~KernelsInUse() { set_device_kernels(nullptr); }
  KernelsInUse(const KernelsInUse&) = delete;
  KernelsInUse& operator=(const KernelsInUse&) = delete;

  static inline int sums = 0;

 private:
  cuda::PluginApi api_ = cuda::emulated_plugin();
  std::optional<engine::CudaKernels> kernels_;
};

struct Case {
  const char* name;  // in the goldens' list of layers
  const io::Json& (*document)();
  int64_t channels;
  int sums;  // that take a bias along
  Tensor (*run)(const Weights& w, const Tensor& x, const Tensor& temb);
};

class Biases : public testing::TestWithParam<Case> {
 protected:
  static Tensor run(c10::ScalarType dtype) {
    const Case& given = GetParam();
    const Placement placement{c10::Device(c10::kCPU), dtype};
    WeightStore store = test::formula_store(test::read_manifest(given.document()["layer"][given.name]), placement);
    const Tensor x =
        formula_tensor("x", {4, given.channels, 5, 3}).to(dtype).contiguous(at::MemoryFormat::ChannelsLast);
    const Tensor out = given.run(store.root(), x, formula_tensor("temb", {2, 24}).to(dtype));
    store.expect_all_taken();
    return out;
  }
  c10::InferenceMode guard_;
};

TEST_P(Biases, are_added_once_with_and_without_kernels) {
  const Tensor wanted = run(c10::kFloat);
  EXPECT_TRUE(test::is_close(run(c10::kHalf), wanted, kTolerance)) << "without";
  for (const bool has_norm : {true, false}) {
    for (const bool has_sum : {true, false}) {
      const KernelsInUse kernels(has_norm, has_sum);
      EXPECT_TRUE(test::is_close(run(c10::kHalf), wanted, kTolerance)) << has_norm << has_sum;
      EXPECT_EQ(KernelsInUse::sums, has_sum ? GetParam().sums : 0);
      // As on a CPU with kernels for fp32: packed convolutions add their biases themselves.
      EXPECT_TRUE(test::is_close(run(c10::kFloat), wanted, 1e-5)) << has_norm << has_sum;
    }
  }
}

Tensor run_resnet(const Weights& w, const Tensor& x, const Tensor& temb) {
  return ResnetBlock2D(w, {.in_channels = 16,
                           .out_channels = 16,
                           .temb_channels = 24,
                           .groups = 4,
                           .eps = 1e-5,
                           .activation = activation("silu", "test")})
      .forward(x, temb);
}

Tensor run_resnet_shortcut(const Weights& w, const Tensor& x, const Tensor&) {
  return ResnetBlock2D(w, {.in_channels = 16,
                           .out_channels = 32,
                           .groups = 4,
                           .eps = 1e-6,
                           .activation = activation("silu", "test")})
      .forward(x);
}

Tensor run_temporal_conv(const Weights& w, const Tensor& x, const Tensor&) {
  return TemporalConvLayer(w, 16, 4).forward(x, /*frames=*/2);
}

Tensor run_spatio_temporal_resnet(const Weights& w, const Tensor& x, const Tensor&) {
  return SpatioTemporalResBlock(
             w,
             {.spatial = {.in_channels = 64, .out_channels = 96, .eps = 1e-6, .activation = activation("silu", "test")},
              .temporal_eps = 1e-5,
              .switches_mix = true})
      .forward(x, std::nullopt, /*frames=*/2);
}

INSTANTIATE_TEST_SUITE_P(layers, Biases,
                         testing::Values(Case{"resnet", test::nets_document, 16, 1, run_resnet},
                                         Case{"resnet_shortcut", test::nets_document, 16, 1, run_resnet_shortcut},
                                         Case{"temporal_conv", test::nets_document, 16, 1, run_temporal_conv},
                                         Case{"resnet_vae", test::svd_document, 64, 2, run_spatio_temporal_resnet}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace t2v::nn
