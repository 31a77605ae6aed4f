// SPDX-License-Identifier: Apache-2.0
// Reads a SentencePiece model file (protobuf ModelProto, sentencepiece_model.proto 0.2) and refuses
// whatever a trainer would not write: lengths outside the file, too many or too long pieces, scores
// that are no numbers, text that is no UTF-8. No protobuf library is involved; the file is walked
// field by field.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace t2v::text {

enum class PieceType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct SpmPiece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

struct SpmModel {
  std::vector<SpmPiece> pieces;  ///< the index is the id
  std::string charsmap;          ///< normalizer_spec.precompiled_charsmap; may be empty
};

/// `where` names the file in messages. Throws Error{bad_input}, or Error{unsupported} when the
/// model is not a unigram one. Memory stays within a few times the size of `bytes`.
SpmModel read_spm_model(std::string_view bytes, const std::string& where);

}  // namespace t2v::text
