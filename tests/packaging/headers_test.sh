#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check_headers.sh finds a planted header of each bad kind: headers_test.sh CHECK COMPILER
set -euo pipefail
check=$1 compiler=$2
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
mkdir "$folder/t2v"

plant() { printf '#pragma once\n%s\n' "$1" > "$folder/t2v/a.hpp"; }
refused() {  # MESSAGE
  if "$check" "$compiler" "$folder" > "$folder/out" 2>&1; then
    echo "accepted: $(cat "$folder/t2v/a.hpp")"
    exit 1
  fi
  grep -q "$1" "$folder/out" || { cat "$folder/out"; exit 1; }
}

plant $'#include <string>\ninline std::string f() { return {}; }'
"$check" "$compiler" "$folder"
plant 'inline std::string f() { return {}; }'
refused 'does not compile alone'
plant '#include "t2v/missing.hpp"'
refused 'does not compile alone'
plant 'namespace at { class Tensor; } at::Tensor f();'
refused 'mentions libtorch'
echo "planted headers found"
