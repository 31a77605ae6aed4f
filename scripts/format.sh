#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Formats the C++ sources that git tracks, or with --check only says which are not formatted: scripts/format.sh [--check]
# Wants clang-format 14 or newer (apt-get install clang-format).
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
command -v clang-format > /dev/null || { echo "format: clang-format is not installed" >&2; exit 1; }
mapfile -d '' -t files < <(git ls-files -z -- 'src/**.[ch]pp' 'src/**.cu' 'include/**.hpp' 'tests/**.[ch]pp')
case "${1:-}" in
  '') clang-format -i -- "${files[@]}" ;;
  --check) clang-format --dry-run --Werror -- "${files[@]}" ;;
  *) echo "usage: scripts/format.sh [--check]" >&2; exit 2 ;;
esac
