// SPDX-License-Identifier: Apache-2.0
// Everything a user reads about the options, made from the option table.
#pragma once

#include <string>
#include <string_view>

#include "cli/invocation.hpp"

namespace t2v::cli {

std::string help_text(Command command);
std::string version_text();
std::string sampler_list();
std::string flag_table();                               ///< Markdown, for the README
std::string man_page();                                 ///< roff, section 1
std::string completion_script(std::string_view shell);  ///< bash | zsh | fish

}  // namespace t2v::cli
