#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each public header compiles alone, twice over, with nothing but the standard library and our own folder in reach.
#   check_headers.sh COMPILER INCLUDE_FOLDER [MORE_INCLUDE_FOLDERS...]
set -euo pipefail
compiler=$1 folder=$2
shift
paths=()
for dir; do paths+=(-I "$dir"); done
failed=0
for header in "$folder"/t2v/*.hpp; do
  name=t2v/${header##*/}
  if ! printf '#include "%s"\n#include "%s"\nint main() {}\n' "$name" "$name" |
    "$compiler" -std=c++20 -Wall -Wextra -Wpedantic -Werror -fsyntax-only "${paths[@]}" -x c++ -; then
    echo "$header: does not compile alone" >&2
    failed=1
  fi
  if grep -nE '\b(at|c10|torch)::|<(ATen|c10|torch)/' "$header" >&2; then
    echo "$header: mentions libtorch" >&2
    failed=1
  fi
done
[ "$failed" -eq 0 ] && echo "headers: each compiles alone"
