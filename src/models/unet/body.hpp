// SPDX-License-Identifier: Apache-2.0
// The U shape that all denoising UNets here share (Ronneberger et al. 2015, arXiv 1505.04597; Ho et al. 2020): levels
// of layers on the way down, a middle, and levels on the way up that take the outputs of the way down as further input.
// What a layer is belongs to the network: a struct with forward(x, given, beside) on [B*F, C, H, W], where a skip is
// given beside x: more channels, as if concatenated.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/unet/feature_cache.hpp"
#include "nn/resample.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::unet {

using at::Tensor;

/// What every layer of one network call gets beside the activation.
struct Conditioning {
  Tensor temb;  // [B, T]
  Tensor text;  // [B, L, D], or [B*F, L, D] where frames have prompts of their own
  int64_t frames = 0;
};

/// Channels of one layer.
struct LayerChannels {
  int64_t index = 0;  // in its block
  int64_t in = 0, out = 0;
};

template <class Layer>
struct DownBlock {
  /// `make_layer(LayerChannels)` -> Layer. No downsample_padding: the last block, which keeps its size.
  template <class MakeLayer>
  DownBlock(const Weights& w, int64_t in_channels, int64_t out_channels, int64_t count,
            std::optional<int64_t> downsample_padding, const MakeLayer& make_layer) {
    for (int64_t i = 0; i < count; ++i) {
      layers.push_back(make_layer(LayerChannels{i, i == 0 ? in_channels : out_channels, out_channels}));
    }
    if (downsample_padding) {
      downsampler.emplace(w.at("downsamplers.0"),
                          nn::DownsampleOptions{.channels = out_channels, .padding = *downsample_padding});
    }
  }

  /// Appends the output of every layer, and of the downsampler, to `skips`.
  template <class Given>
  Tensor forward(Tensor x, const Given& given, std::vector<Tensor>& skips) const {
    for (const Layer& layer : layers) {
      x = layer.forward(x, given);
      skips.push_back(x);
    }
    if (downsampler) {
      x = downsampler->forward(x);
      skips.push_back(x);
    }
    return x;
  }

  std::vector<Layer> layers;
  std::optional<nn::Downsample2D> downsampler;
};

template <class Layer>
struct UpBlock {
  struct Channels {
    int64_t skip = 0;      // of the last skip: the level below on the way down
    int64_t arriving = 0;  // of the activation
    int64_t out = 0;
  };
  template <class MakeLayer>
  UpBlock(const Weights& w, const Channels& channels, int64_t count, bool upsamples, const MakeLayer& make_layer) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t arriving = i == 0 ? channels.arriving : channels.out;
      const int64_t skip = i == count - 1 ? channels.skip : channels.out;
      layers.push_back(make_layer(LayerChannels{i, arriving + skip, channels.out}));
    }
    if (upsamples) {
      upsampler.emplace(w.at("upsamplers.0"), channels.out);
    }
  }

  /// Takes one skip a layer from the end of `skips`. match_next_skip: upsample to the size of the skip that comes next,
  /// which is not always twice as large.
  template <class Given>
  Tensor forward(Tensor x, const Given& given, std::vector<Tensor>& skips, bool match_next_skip) const {
    for (const Layer& layer : layers) {
      x = forward_layer(layer, x, given, skips);
    }
    if (!upsampler) {
      return x;
    }
    if (!match_next_skip) {
      return upsampler->forward(x);
    }
    return upsampler->forward(x, std::array{skips.back().size(2), skips.back().size(3)});
  }

  /// The last block, from the features that enter its last layer where `deep` has them from an earlier step.
  template <class Given>
  Tensor forward_last(Tensor x, const Given& given, std::vector<Tensor>& skips, DeepFeature* deep) const {
    for (size_t i = 0; i + 1 < layers.size(); ++i) {
      x = forward_layer(layers[i], x, given, skips);
    }
    if (deep) deep->kept = x;
    return forward_layer(layers.back(), x, given, skips);
  }

  template <class Given>
  static Tensor forward_layer(const Layer& layer, const Tensor& x, const Given& given, std::vector<Tensor>& skips) {
    const Tensor skip = std::move(skips.back());
    skips.pop_back();
    return layer.forward(x, given, skip);
  }

  std::vector<Layer> layers;
  std::optional<nn::Upsample2D> upsampler;
};

/// From conv_in's output [B*F, C, H, W] to conv_norm_out's input, same shape. Any H and W. deep: features to keep or to
/// use again; may be null.
template <class Layer, class Middle, class Given>
Tensor run_body(Tensor x, const Given& given, const std::vector<DownBlock<Layer>>& down, const Middle& middle,
                const std::vector<UpBlock<Layer>>& up, DeepFeature* deep = nullptr) {
  if (deep && deep->reuse && deep->fits(x)) {
    std::vector<Tensor> skips{x};
    return UpBlock<Layer>::forward_layer(up.back().layers.back(), deep->kept, given, skips);
  }
  // Every level halves the size, so below a size of 2^n the skips are not exactly half as large as the level above.
  const int64_t factor = int64_t{1} << (up.size() - 1);
  const bool match_skips = x.size(2) % factor != 0 || x.size(3) % factor != 0;
  std::vector<Tensor> skips{x};
  for (const auto& block : down) {
    x = block.forward(x, given, skips);
  }
  x = middle.forward(x, given);
  for (size_t i = 0; i + 1 < up.size(); ++i) {
    x = up[i].forward(x, given, skips, match_skips);
  }
  return up.back().forward_last(x, given, skips, deep);
}

/// The blocks of the way down. `make_layer(level, block weights, LayerChannels)` -> Layer.
template <class Layer, class MakeLayer>
std::vector<DownBlock<Layer>> make_down_blocks(const Weights& w, const std::vector<int64_t>& channels,
                                               const std::vector<int64_t>& layers, int64_t downsample_padding,
                                               const MakeLayer& make_layer) {
  std::vector<DownBlock<Layer>> blocks;
  for (size_t i = 0; i < channels.size(); ++i) {
    const Weights block = w.at(static_cast<int64_t>(i));
    const bool is_last = i + 1 == channels.size();
    blocks.emplace_back(block, channels[i == 0 ? 0 : i - 1], channels[i], layers[i],
                        is_last ? std::optional<int64_t>() : downsample_padding,
                        [&](const LayerChannels& layer) { return make_layer(i, block, layer); });
  }
  return blocks;
}

/// The blocks of the way up, the lowest level first; `make_layer` gets the level as counted on the way down.
template <class Layer, class MakeLayer>
std::vector<UpBlock<Layer>> make_up_blocks(const Weights& w, const std::vector<int64_t>& channels,
                                           const std::vector<int64_t>& layers, const MakeLayer& make_layer) {
  std::vector<UpBlock<Layer>> blocks;
  const size_t last = channels.size() - 1;
  for (size_t i = 0; i <= last; ++i) {
    const Weights block = w.at(static_cast<int64_t>(i));
    const size_t level = last - i;
    const typename UpBlock<Layer>::Channels widths{.skip = channels[level == 0 ? 0 : level - 1],
                                                   .arriving = channels[std::min(level + 1, last)],
                                                   .out = channels[level]};
    blocks.emplace_back(block, widths, layers[level] + 1, /*upsamples=*/i < last,
                        [&](const LayerChannels& layer) { return make_layer(level, block, layer); });
  }
  return blocks;
}

}  // namespace t2v::models::unet
