// SPDX-License-Identifier: Apache-2.0
#include "models/text/text_encoder.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/tensor.h>

#include "core/log.hpp"
#include "core/text.hpp"
#include "models/text/clip_text.hpp"
#include "models/text/t5_encoder.hpp"
#include "t2v/error.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::text {

/// A text encoder's network behind one face.
class TextNetwork {
 public:
  virtual ~TextNetwork() = default;
  virtual Tensor forward(const Tensor& ids, const std::optional<Tensor>& mask,
                         int64_t clip_skip) const = 0;

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
  Tensor forward(const Tensor& ids, const std::optional<Tensor>& mask,
                 int64_t clip_skip) const override {
    return model_.forward(ids, clip_skip, mask);
  }

 private:
  CLIPTextModel model_;
};

class T5Network final : public TextNetwork {
 public:
  T5Network(const io::Config& config, const Weights& w, bool is_umt5)
      : model_(T5Config::from(config, is_umt5), w) {
    facts = {.width = model_.config.d_model,
             .rows = model_.config.vocab_size,
             .use_mask = config.get_bool("use_attention_mask", false),
             .where = config.where()};
  }
  Tensor forward(const Tensor& ids, const std::optional<Tensor>& mask,
                 int64_t clip_skip) const override {
    if (clip_skip != 0) {
      throw Error(ErrorCode::unsupported,
                  "clip_skip: this model's text encoder is a T5: wanted 0, got " +
                      std::to_string(clip_skip));
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

constexpr std::array<Row, 4> kRows{
    {{"CLIPTextModel", make<ClipNetwork, false>, clip_rename},
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
              "text encoder not supported: " + encoder.path.string() + ": class '" +
                  encoder.class_name + "'",
              did_you_mean(encoder.class_name, known));
}

std::unique_ptr<TextNetwork> load_network(const io::Component& encoder,
                                          const Placement& placement) {
  const Row& row = row_of(encoder);
  const auto file = encoder.weights();
  WeightStore store(file, placement, row.rename(*file));
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

TextEncoder::TextEncoder(const io::Component& tokenizer, const io::Component& encoder,
                         const Placement& placement)
    : placement_(placement),
      tokenizer_(t2v::text::open_tokenizer(tokenizer.path, tokenizer.class_name)),
      network_(load_network(encoder, placement)) {}

TextEncoder::~TextEncoder() = default;

int64_t TextEncoder::width() const { return network_->facts.width; }

TextEmbedding TextEncoder::encode(std::string_view prompt, int64_t clip_skip) const {
  return encode(prompt, EncodeOptions{.clip_skip = clip_skip});
}

TextEmbedding TextEncoder::encode(std::string_view prompt, const EncodeOptions& options) const {
  const auto& facts = network_->facts;
  TextEmbedding out;
  out.tokens = tokenizer_->encode(prompt, options.max_length);
  const auto length = static_cast<int64_t>(out.tokens.ids.size());
  if (facts.max_positions > 0 && length > facts.max_positions) {
    throw Error(ErrorCode::bad_input,
                "bad checkpoint: " + facts.where + ": wanted a tokenizer of at most " +
                    std::to_string(facts.max_positions) +
                    " tokens (max_position_embeddings), got " + std::to_string(length));
  }
  const int64_t largest = *std::ranges::max_element(out.tokens.ids);
  if (largest >= facts.rows) {
    throw Error(ErrorCode::bad_input,
                "bad checkpoint: " + facts.where + ": wanted token ids below vocab_size " +
                    std::to_string(facts.rows) + ", got " + std::to_string(largest),
                "tokenizer and text encoder are of different models");
  }
  if (!out.tokens.truncated.empty()) {
    log::warn("prompt: longer than the {} tokens this model reads; cut off: \"{}\"", length,
              shortened(out.tokens.truncated));
  }
  const Tensor ids =
      at::tensor(out.tokens.ids, at::TensorOptions(c10::kLong)).unsqueeze(0).to(placement_.device);
  std::optional<Tensor> mask;  // [1, L]
  if (options.use_mask || facts.use_mask) {
    const std::vector<int64_t> real(out.tokens.mask.begin(), out.tokens.mask.end());
    mask = at::tensor(real, at::TensorOptions(c10::kLong)).unsqueeze(0).to(placement_.device);
  }
  out.hidden = network_->forward(ids, mask, options.clip_skip);
  return out;
}

int64_t count_parameters(const io::Component& encoder) {
  WeightStore store = WeightStore::shapes_only();
  row_of(encoder).make(encoder.config(), store.root());
  return store.parameter_count();
}

}  // namespace t2v::models::text
