// SPDX-License-Identifier: Apache-2.0
#include "models/text/text_encoder.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include "core/log.hpp"
#include "core/text.hpp"
#include "engine/finite.hpp"
#include "models/text/clip_text.hpp"
#include "models/text/t5_encoder.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::text {

/// A text encoder's network behind one face.
class TextNetwork {
 public:
  virtual ~TextNetwork() = default;
  virtual Tensor forward(const Tensor& ids, const std::optional<Tensor>& mask, int64_t clip_skip) const = 0;

  struct Facts {
    int64_t width = 0, rows = 0;
    int64_t max_positions = 0;  // 0: any length
    bool use_mask = false;
    std::string where;
  };
  Facts facts;
};

namespace {

class ClipNetwork final : public TextNetwork {
 public:
  ClipNetwork(const io::Config& config, const Weights& w, bool with_projection)
      : model_(CLIPTextConfig::from(config), w, with_projection) {
    facts = {.width = model_.config.hidden_size,
             .rows = model_.config.vocab_size,
             .max_positions = model_.config.max_position_embeddings,
             .use_mask = config.get_bool("use_attention_mask", false),
             .where = config.where()};
  }
  Tensor forward(const Tensor& ids, const std::optional<Tensor>& mask, int64_t clip_skip) const override {
    return model_.forward(ids, clip_skip, mask);
  }

 private:
  CLIPTextModel model_;
};

class T5Network final : public TextNetwork {
 public:
  T5Network(const io::Config& config, const Weights& w, bool is_umt5) : model_(T5Config::from(config, is_umt5), w) {
    facts = {.width = model_.config.d_model,
             .rows = model_.config.vocab_size,
             .use_mask = config.get_bool("use_attention_mask", false),
             .where = config.where()};
  }
  Tensor forward(const Tensor& ids, const std::optional<Tensor>& mask, int64_t clip_skip) const override {
    if (clip_skip != 0) {
      throw Error(ErrorCode::unsupported,
                  "clip_skip: this model's text encoder is a T5: wanted 0, got " + std::to_string(clip_skip));
    }
    return model_.forward(ids, mask);
  }

 private:
  T5Encoder model_;
};

template <class Network, bool flag>
std::unique_ptr<TextNetwork> make(const io::Config& config, const Weights& w) {
  return std::make_unique<Network>(config, w, flag);
}

WeightStore::Rename clip_rename(const io::TensorFile&) { return clip_name; }

struct Row {
  std::string_view class_name;
  std::unique_ptr<TextNetwork> (*make)(const io::Config&, const Weights&);
  WeightStore::Rename (*rename)(const io::TensorFile&);
};

constexpr std::array<Row, 4> kRows{{{"CLIPTextModel", make<ClipNetwork, false>, clip_rename},
                                    {"CLIPTextModelWithProjection", make<ClipNetwork, true>, clip_rename},
                                    {"T5EncoderModel", make<T5Network, false>, t5_rename},
                                    {"UMT5EncoderModel", make<T5Network, true>, t5_rename}}};

const Row& row_of(const io::Component& encoder) {
  std::vector<std::string> known;
  for (const Row& row : kRows) {
    if (row.class_name == encoder.class_name) return row;
    known.emplace_back(row.class_name);
  }
  throw Error(ErrorCode::unsupported,
              "text encoder not supported: " + encoder.path.string() + ": class '" + encoder.class_name + "'",
              did_you_mean(encoder.class_name, known));
}

std::unique_ptr<TextNetwork> load_network(const io::Component& encoder, const Placement& placement,
                                          std::shared_ptr<const WeightOverlay> overlay) {
  const Row& row = row_of(encoder);
  const auto file = encoder.weights();
  WeightStore store(file, placement, row.rename(*file));
  store.set_overlay(std::move(overlay));
  auto network = row.make(encoder.config(), store.root());
  store.expect_all_taken();
  return network;
}

/// Terminals and logs get the first words of a long text.
std::string shortened(const std::string& text) {
  constexpr size_t kShownBytes = 200;
  if (text.size() <= kShownBytes) return text;
  size_t end = kShownBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) {
    --end;
  }
  return text.substr(0, end) + "...";
}

}  // namespace

TextEncoder::TextEncoder(const io::Component& tokenizer, const io::Component& encoder, const Placement& placement,
                         std::shared_ptr<const WeightOverlay> overlay)
    : placement_(placement),
      component_(encoder),
      overlay_(std::move(overlay)),
      tokenizer_(t2v::text::open_tokenizer(tokenizer.path, tokenizer.class_name)),
      network_(load_network(encoder, placement, overlay_)) {}

TextEncoder::~TextEncoder() = default;

int64_t TextEncoder::width() const { return network_->facts.width; }

TextEmbedding TextEncoder::encode(std::string_view prompt, int64_t clip_skip) const {
  return encode(prompt, EncodeOptions{.clip_skip = clip_skip});
}

TextEmbedding TextEncoder::encode(std::string_view prompt, const EncodeOptions& options) const {
  TextEmbedding out;
  out.tokens = tokenizer_->encode(prompt, options.max_length);
  if (!out.tokens.truncated.empty()) {
    log::warn("prompt: longer than the {} tokens this model reads; cut off: \"{}\"", out.tokens.ids.size(),
              shortened(out.tokens.truncated));
  }
  out.hidden = run(out.tokens.ids, out.tokens.mask, options);
  return out;
}

Tensor TextEncoder::run(const std::vector<int64_t>& ids, const std::vector<uint8_t>& mask,
                        const EncodeOptions& options) const {
  const auto& facts = network_->facts;
  const auto length = static_cast<int64_t>(ids.size());
  if (facts.max_positions > 0 && length > facts.max_positions) {
    throw Error(ErrorCode::bad_input, "bad checkpoint: " + facts.where + ": wanted a tokenizer of at most " +
                                          std::to_string(facts.max_positions) +
                                          " tokens (max_position_embeddings), got " + std::to_string(length));
  }
  const int64_t largest = *std::ranges::max_element(ids);
  if (largest >= facts.rows) {
    throw Error(ErrorCode::bad_input,
                "bad checkpoint: " + facts.where + ": wanted token ids below vocab_size " + std::to_string(facts.rows) +
                    ", got " + std::to_string(largest),
                "tokenizer and text encoder are of different models");
  }
  const auto on_device = [&](const std::vector<int64_t>& values) {
    return at::tensor(values, at::TensorOptions(c10::kLong)).unsqueeze(0).to(placement_.device);
  };
  std::optional<Tensor> real;  // [1, L]
  if (options.use_mask || facts.use_mask) real = on_device({mask.begin(), mask.end()});
  const Tensor tokens = on_device(ids);
  std::unique_ptr<TextNetwork> precise;  // only while it is needed
  return engine::compute_finite(
      "text", [&] { return (precise ? *precise : *network_).forward(tokens, real, options.clip_skip); },
      [&](bool on) {
        if (placement_.dtype == c10::kFloat) return false;
        precise = on ? load_network(component_, {placement_.device, c10::kFloat}, overlay_) : nullptr;
        return true;
      });
}

Tensor TextEncoder::encode_chunk(const t2v::text::PromptChunk& chunk, int64_t clip_skip) const {
  const Tensor hidden = run(chunk.ids, chunk.mask, EncodeOptions{.clip_skip = clip_skip});  // [1, L, D]
  if (!chunk.has_weights) return hidden;
  const Tensor weights =
      at::tensor(chunk.weights, at::TensorOptions(c10::kFloat)).view({1, -1, 1}).to(placement_.device);
  const Tensor before = hidden.to(c10::kFloat);
  Tensor after = before * weights;
  if (network_->facts.max_positions > 0) {  // CLIP
    const double ratio = before.mean().item<double>() / after.mean().item<double>();
    if (std::isfinite(ratio)) after = after * ratio;
  }
  return after.to(hidden.scalar_type());
}

std::vector<Tensor> TextEncoder::encode_chunks(const PromptText& text, t2v::text::PromptSyntax syntax) const {
  const auto parts = t2v::text::parse_prompt(text.text, syntax);
  const bool has_weights =
      std::ranges::any_of(parts, [](const auto& part) { return part.weight != 1 || part.begins_chunk; });
  const bool reads_chunks = tokenizer_->frame().begin >= 0 && syntax != t2v::text::PromptSyntax::plain;
  if (reads_chunks) {
    std::vector<Tensor> states;
    for (const auto& chunk : t2v::text::chunk_prompt(*tokenizer_, parts)) {
      states.push_back(encode_chunk(chunk, text.clip_skip));
    }
    if (states.size() > 1) {
      log::info("prompt: read in {} chunks of {} tokens each", states.size(), tokenizer_->frame().length - 2);
    }
    return states;
  }
  if (!has_weights) {
    const std::string whole = parts.front().text;  // escapes are gone where brackets are syntax
    return {encode(whole, EncodeOptions{.clip_skip = text.clip_skip}).hidden};
  }
  int64_t left_out = 0;
  const auto chunk = t2v::text::single_chunk(*tokenizer_, parts, 0, left_out);
  if (left_out > 0) {
    log::warn("prompt: longer than the {} tokens this model reads; {} tokens cut off", chunk.ids.size(), left_out);
  }
  return {encode_chunk(chunk, text.clip_skip)};
}

Tensor TextEncoder::encode_batch(std::span<const PromptText> texts, t2v::text::PromptSyntax syntax) const {
  std::vector<std::vector<Tensor>> rows;
  size_t longest = 0;
  for (const PromptText& text : texts) {
    rows.push_back(encode_chunks(text, syntax));
    longest = std::max(longest, rows.back().size());
  }
  std::vector<Tensor> batch;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].size() < longest) {
      const Tensor empty = encode("", EncodeOptions{.clip_skip = texts[i].clip_skip}).hidden;
      rows[i].resize(longest, empty);
    }
    batch.push_back(rows[i].size() == 1 ? rows[i].front() : at::cat(rows[i], 1));
  }
  return at::cat(batch, 0).to(placement_.dtype);
}

WeightStore header_store(const io::Component& encoder) {
  const auto file = encoder.weights();
  return WeightStore::header_only(file, row_of(encoder).rename(*file));
}

int64_t count_parameters(const io::Component& encoder, int64_t width) {
  WeightStore store = header_store(encoder);
  const auto network = row_of(encoder).make(encoder.config(), store.root());
  store.expect_all_taken();
  if (network->facts.width != width) {
    throw Error(ErrorCode::bad_input,
                "bad checkpoint: " + network->facts.where + ": wanted states " + std::to_string(width) +
                    " wide (cross_attention_dim of the UNet), got " + std::to_string(network->facts.width),
                "text encoder and UNet are of different models");
  }
  return store.parameter_count();
}

}  // namespace t2v::models::text
