// SPDX-License-Identifier: Apache-2.0
// Notices that somebody writes into a model's files while a run reads them.
#pragma once

#include <string>

#include "t2v/request.hpp"

namespace t2v::commands {

/// Weights that are used as they are stored stay in the file, so a change of it is a change of the network.
class ModelWatch {
 public:
  explicit ModelWatch(const LoadOptions& load) : load_(load), before_(stamp()) {}
  /// A warning when a file of the model has another size or time than before.
  void warn_if_changed() const;

 private:
  std::string stamp() const;

  const LoadOptions& load_;
  std::string before_;
};

}  // namespace t2v::commands
