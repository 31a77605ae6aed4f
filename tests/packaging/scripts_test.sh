#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/t2v, scripts/test and scripts/setup over a small project in a folder with an odd name, without any network:
# what is built when, what is printed where, and how long a call with nothing to do takes. scripts_test.sh SOURCE
set -euo pipefail
source=$1
folder=$(mktemp -d)
trap 'chmod -R u+w -- "$folder"; rm -rf -- "$folder"' EXIT
cd "$folder"
unset T2V_BUILD T2V_DEPS T2V_TORCH_DIR T2V_CMAKE_ARGS T2V_CUDA T2V_TESTS CCACHE_DIR
fail() { echo "scripts: $*" >&2; [ ! -s err ] || cat err >&2; exit 1; }
expect() { [ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"; }

# ---- a project in the place of t2v: its program says its version and its arguments ----------------------------------
tree="$folder/a tree"
mkdir -p "$tree"/{scripts,src,include,cmake,models,tests}
cp "$source"/scripts/{t2v,test,setup,lib.sh,versions.sh,check_layers.py} "$tree/scripts"
# Nothing to download, as with everything in place; the system packages are here, or this would not have been built.
printf '%s\n' "t2v_wheels_cpu=; t2v_wheels_plugin=; t2v_wheels_cuda=" >> "$tree/scripts/versions.sh"
cat > "$tree/CMakeLists.txt" << 'CMAKE'
cmake_minimum_required(VERSION 3.22)
project(stand_in LANGUAGES CXX)
option(T2V_TESTS "" OFF)
add_executable(t2v src/main.cpp)
set_target_properties(t2v PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
add_custom_target(program DEPENDS t2v)
enable_testing()
if(T2V_TESTS)
  add_test(NAME says_one COMMAND t2v --one)
endif()
CMAKE
program() {  # VERSION
  printf '%s\n' '// SPDX-License''-Identifier: Apache-2.0' '#include <cstdio>' 'int main(int argc, char** argv) {' "  std::printf(\"$1\");" \
    '  for (int i = 1; i < argc; ++i) std::printf("|%s", argv[i]);' '  std::puts("");' \
    '  for (int c = std::getchar(); c != EOF; c = std::getchar()) std::putchar(c); }' > "$tree/src/main.cpp"
}
program first
deps="$tree/.deps"
mkdir -p "$deps/.have" "$deps/torch/lib"
: > "$deps/torch/lib/libtorch_cpu.so"
t2v="$tree/scripts/t2v"
export HOME="$folder/home"  # does not exist, and must not be made

# ---- first call: builds, and standard output carries the program's words alone ---------------------------------------
expect "first call" "first|--prompt|a  b|-o|" "$("$t2v" --prompt "a  b" -o "" 2> err < /dev/null)"
[ -x "$tree/build/t2v" ] || fail "build/t2v is not there"
expect "standard input" "$(printf 'first\nwords')" "$(printf 'words' | "$t2v" 2> err)"

# ---- a second call builds nothing and adds at most 0.3 s -------------------------------------------------------------
mkdir "$tree/models/many"
cp -rs "$source"/{include,cmake,src} "$tree/models/many"  # as many files to look at as the real tree has
"$t2v" < /dev/null > out 2> err
now() { date +%s%N; }
best=999999
for _ in 1 2 3 4 5; do  # the fastest, because the others also measure the machine's other work
  begin=$(now); "$tree/build/t2v" < /dev/null > out; middle=$(now); "$t2v" < /dev/null > out 2> err; end=$(now)
  added=$(((end - middle - (middle - begin)) / 1000000))
  [ "$added" -ge "$best" ] || best=$added
done
[ ! -s err ] || fail "a call with nothing to do says something"
[ "$best" -le 300 ] || fail "a second call adds $best ms, wanted at most 300"

# ---- changes are seen: new content, a failing build ---------------------------------------------------------------
program second
expect "after a change" "second" "$("$t2v" 2> err < /dev/null)"
echo 'int main() { return missing; }' > "$tree/src/main.cpp"
status=0; "$t2v" > out 2> err < /dev/null || status=$?
expect "exit code of a failed build" 1 "$status"
grep -q "error.*missing" err || fail "the compiler's message is not shown"
grep -q '^t2v: error: ' err || fail "no error line"
[ ! -s out ] || fail "standard output is not empty: $(cat out)"
program fourth

# ---- many calls at once wait for one build ---------------------------------------------------------------------------
for i in 1 2 3 4; do "$t2v" "$i" > "out$i" 2> "err$i" < /dev/null & done
wait
for i in 1 2 3 4; do expect "call $i of four" "fourth|$i" "$(cat "out$i")"; done

# ---- tests: the summary comes last, arguments go to ctest ------------------------------------------------------------
expect "scripts/test" 0 "$(cd / && "$tree/scripts/test" -R says_one > "$folder/out" 2> "$folder/err" < /dev/null; echo $?)"
grep -q '100% tests passed' out || fail "no summary"
program fifth
expect "after scripts/test" "fifth" "$("$t2v" 2> err < /dev/null)"

# ---- system packages: only what is missing is asked for, in one call -------------------------------------------------
mkdir "$folder/fake"
cat > "$folder/fake/dpkg-query" << 'FAKE'
#!/bin/sh
for name; do case $name in -*|libgtest-dev|libstb-dev) ;; *) echo "$name installed" ;; esac; done
echo "libstb-dev config-files"
exit 1
FAKE
printf '#!/bin/sh\necho "$@" >> "%s/apt"\n' "$folder" > "$folder/fake/apt-get"
printf '#!/bin/sh\nwhile [ "${1#DEB}" != "$1" ]; do shift; done\nexec "$@"\n' > "$folder/fake/sudo"
chmod +x "$folder"/fake/*
PATH="$folder/fake:$PATH" "$tree/scripts/setup" > out 2> err < /dev/null || fail "scripts/setup: exit code $?"
expect "packages asked for" "libstb-dev libgtest-dev" "$(grep -o 'install .*' apt | cut -d ' ' -f 2-)"
[ ! -s out ] || fail "scripts/setup writes to standard output"

# ---- a source tree that cannot be written ----------------------------------------------------------------------------
chmod -R a-w "$tree"
if [ "$(id -u)" -eq 0 ]; then
  user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  chmod 755 "$folder"; mkdir -m 777 "$folder/other"
else
  user=(); mkdir "$folder/other"
fi
expect "read-only tree" "fifth" "$("${user[@]}" env T2V_BUILD="$folder/other/build" "$t2v" 2> err < /dev/null)"
status=0; "${user[@]}" env T2V_BUILD="$folder/nowhere/build" "$t2v" > out 2> err < /dev/null || status=$?
if [ "$(id -u)" -eq 0 ] || [ ! -w "$folder" ]; then
  expect "exit code where nothing can be written" 1 "$status"
  grep -q '^hint: .*T2V_BUILD' err || fail "no hint about T2V_BUILD"
fi
[ ! -e "$HOME" ] || fail "something was written under the home directory: $(find "$HOME")"
echo "scripts: as they should be; a second call adds $best ms"
