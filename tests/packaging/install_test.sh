#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs, moves the tree, and uses it from there: the program, its papers, and the C++ API from another project.
#   install_test.sh SOURCE BUILD COMPILER MAKE_CHECKPOINT
set -euo pipefail
source=$1 build=$2 compiler=$3 make_checkpoint=$4
folder=$(mktemp -d "$build/install-test.XXXXXX")
trap 'rm -rf -- "$folder"' EXIT
fail() { echo "install: $*" >&2; exit 1; }

cmake --install "$build" --prefix "$folder/first" > "$folder/log" || { cat "$folder/log"; exit 1; }
mkdir "$folder/elsewhere"
mv "$folder/first" "$folder/elsewhere/t2v"
root=$folder/elsewhere/t2v
lib=$(dirname "$(find "$root" -name libt2v.so)")

# Nothing of the environment, so that no path of the build helps; another working folder.
alone() { (cd / && env -i PATH=/usr/bin:/bin HOME=/nonexistent LANG=C.UTF-8 "$@"); }

version=$(alone "$root/bin/t2v" --version)
case $version in "t2v "[0-9]*) ;; *) fail "--version says '$version'" ;; esac
alone "$root/bin/t2v" models > "$folder/models" || fail "t2v models: exit code $?"

# The engine's libraries come from inside the tree.
trace=$(alone LD_DEBUG=libs "$root/bin/t2v" models 2>&1 | grep -o 'calling init: .*' || :)
for name in libt2v.so libtorch_cpu.so libc10.so libcudart.so.13 libcupti.so.13; do
  path=$(grep -m 1 -F "/$name" <<< "$trace" | sed 's/.*init: //') || fail "$name was not loaded"
  case $(realpath "$path") in "$root"/*) ;; *) [ -d "$lib/t2v/torch" ] && fail "$name comes from $path" ;; esac
done

for file in share/man/man1/t2v.1 share/bash-completion/completions/t2v share/zsh/site-functions/_t2v \
  share/fish/vendor_completions.d/t2v.fish share/t2v/models; do
  [ -s "$root/$file" ] || [ -d "$root/$file" ] || fail "$file is missing"
done
grep -q '^\.TH' "$root/share/man/man1/t2v.1" || fail "the man page has no title"
grep -q -- 'prompt' "$root/share/man/man1/t2v.1" || fail "the man page does not know --prompt"
bash -n "$root/share/bash-completion/completions/t2v"
# What bash offers after "t2v --pro".
offers=$(bash -c '. "$0"; COMP_WORDS=(t2v --pro) COMP_CWORD=1 COMP_LINE="t2v --pro" COMP_POINT=9
  $(complete -p t2v | sed "s/.*-F \([^ ]*\) .*/\1/") t2v --pro t2v; echo "${COMPREPLY[*]}"' \
  "$root/share/bash-completion/completions/t2v" 2> /dev/null || :)
case $offers in *--prompt*) ;; *) fail "bash completes --pro to '$offers'" ;; esac
for shell in zsh fish; do
  ! command -v $shell > /dev/null || $shell -n "$root"/share/$shell/*/*t2v* || fail "the $shell completion is wrong"
done

# Another project, against the moved tree.
cmake -G Ninja -S "$source/tests/packaging/example" -B "$folder/example" -DCMAKE_PREFIX_PATH="$root" \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Release > "$folder/log" 2>&1 &&
  cmake --build "$folder/example" >> "$folder/log" 2>&1 || { cat "$folder/log"; fail "the example does not build"; }
status=0
"$folder/example/generate" "$folder/out.mp4" /nonexistent 2> "$folder/error" || status=$?
[ "$status" -eq 3 ] || fail "a missing model: wanted exit code 3, got $status: $(cat "$folder/error")"
"$make_checkpoint" "$folder/model"
"$folder/example/generate" "$folder/out.mp4" "$folder/model" || fail "the example: exit code $?"
alone "$root/bin/t2v" info "$folder/out.mp4" > /dev/null || fail "the example's clip cannot be read"
echo "install: $version, $(du -sh "$root" | cut -f 1), works after a move"
