// SPDX-License-Identifier: Apache-2.0
#include "text/spm_precheck.hpp"

#include <bit>
#include <cmath>
#include <optional>
#include <unordered_set>
#include <utility>

#include "core/text.hpp"
#include "io/json_error.hpp"
#include "t2v/error.hpp"

namespace t2v::text {

namespace {

constexpr size_t kMaxPieces = 500'000;  // the largest published vocabulary has 256,000
constexpr size_t kMaxPieceBytes = 1024;
constexpr size_t kMaxCharsmapBytes = size_t{16} << 20;
constexpr uint64_t kUnigram = 1;

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

/// One field of a protobuf message. `number` holds a varint or a fixed value, `bytes` a
/// length-delimited one.
struct Field {
  uint32_t id = 0;
  uint32_t wire_type = 0;
  uint64_t number = 0;
  std::string_view bytes = {};
};

class Message {
 public:
  Message(std::string_view bytes, const std::string& where) : rest_(bytes), where_(where) {}

  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    const uint64_t tag = varint();
    Field field{.id = static_cast<uint32_t>(tag >> 3), .wire_type = static_cast<uint32_t>(tag & 7)};
    if (tag >> 3 == 0 || tag >> 32 != 0) fail("a field number out of range");
    switch (field.wire_type) {
      case kVarint: field.number = varint(); break;
      case kFixed64: field.number = fixed(8); break;
      case kFixed32: field.number = fixed(4); break;
      case kBytes: field.bytes = take(varint()); break;
      default: fail("wire type " + std::to_string(field.wire_type) + " of field " + std::to_string(field.id));
    }
    return field;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::bad_input, "bad tokenizer: " + where_ + ": not a SentencePiece model: " + what,
                "download the file again");
  }

  std::string_view bytes_of(const Field& field) const {
    if (field.wire_type != kBytes) fail("field " + std::to_string(field.id) + ": wanted bytes");
    return field.bytes;
  }
  uint64_t number_of(const Field& field, WireType wanted) const {
    if (field.wire_type != wanted) fail("field " + std::to_string(field.id) + ": wanted a number");
    return field.number;
  }

 private:
  std::string_view take(uint64_t count) {
    if (count > rest_.size()) {
      fail("wanted " + std::to_string(count) + " more bytes, got " + std::to_string(rest_.size()));
    }
    const std::string_view out = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return out;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("a number of more than 10 bytes");
  }
  uint64_t fixed(size_t bytes) {
    const std::string_view text = take(bytes);
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; ++i) {
      value |= static_cast<uint64_t>(static_cast<unsigned char>(text[i])) << (8 * i);
    }
    return value;
  }

  std::string_view rest_;
  const std::string& where_;
};

/// message SentencePiece { string piece = 1; float score = 2; Type type = 3; }
SpmPiece read_piece(std::string_view bytes, const std::string& where) {
  Message message(bytes, where);
  SpmPiece piece;
  while (const auto field = message.next()) {
    if (field->id == 1) {
      piece.text = message.bytes_of(*field);
    } else if (field->id == 2) {
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(message.number_of(*field, kFixed32)));
    } else if (field->id == 3) {
      const uint64_t type = message.number_of(*field, kVarint);
      if (type < 1 || type > 6) message.fail("piece type " + std::to_string(type));
      piece.type = static_cast<PieceType>(type);
    }
  }
  const std::string name = "piece '" + io::printable(piece.text, 40) + "'";
  if (piece.text.empty()) message.fail("an empty piece");
  if (piece.text.size() > kMaxPieceBytes) {
    message.fail(name + ": wanted at most " + std::to_string(kMaxPieceBytes) + " bytes, got " +
                 std::to_string(piece.text.size()));
  }
  if (replace_invalid_utf8(piece.text) != piece.text) message.fail(name + " is not UTF-8");
  if (!std::isfinite(piece.score)) message.fail(name + ": its score is not a number");
  return piece;
}

/// message TrainerSpec { ModelType model_type = 3; }
void check_trainer(std::string_view bytes, const std::string& where) {
  Message message(bytes, where);
  while (const auto field = message.next()) {
    if (field->id != 3) continue;
    const uint64_t type = message.number_of(*field, kVarint);
    if (type != kUnigram) {
      throw Error(ErrorCode::unsupported, "tokenizer not supported: " + where +
                                              ": wanted a unigram model (type 1), got type " + std::to_string(type));
    }
  }
}

/// message NormalizerSpec { bytes precompiled_charsmap = 2; }
void read_normalizer(std::string_view bytes, const std::string& where, std::string& charsmap) {
  Message message(bytes, where);
  while (const auto field = message.next()) {
    if (field->id != 2) continue;
    const std::string_view map = message.bytes_of(*field);
    if (map.size() > kMaxCharsmapBytes) message.fail("a charsmap of " + std::to_string(map.size()) + " bytes");
    charsmap = map;
  }
}

}  // namespace

SpmModel read_spm_model(std::string_view bytes, const std::string& where) {
  Message message(bytes, where);
  SpmModel model;
  while (const auto field = message.next()) {
    if (field->id == 1) {
      if (model.pieces.size() == kMaxPieces) message.fail("more than " + std::to_string(kMaxPieces) + " pieces");
      model.pieces.push_back(read_piece(message.bytes_of(*field), where));
    } else if (field->id == 2) {
      check_trainer(message.bytes_of(*field), where);
    } else if (field->id == 3) {
      read_normalizer(message.bytes_of(*field), where, model.charsmap);
    }
  }
  if (model.pieces.empty()) message.fail("no pieces");
  std::unordered_set<std::string_view> seen;
  seen.reserve(model.pieces.size());
  for (const SpmPiece& piece : model.pieces) {
    if (!seen.insert(piece.text).second) message.fail("piece '" + io::printable(piece.text, 40) + "' appears twice");
  }
  return model;
}

}  // namespace t2v::text
