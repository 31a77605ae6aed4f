# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: Apache-2.0
# What scripts/setup, scripts/t2v and scripts/test share: where things lie, and how the build is run. Nothing here
# writes to standard output, which carries the program's data.
#
#   T2V_BUILD       build folder (default: build/ in the source tree)
#   T2V_DEPS        folder of downloaded dependencies (default: .deps/ in the source tree; the build folder's deps/ when
#                   the source tree cannot be written)
#   T2V_TORCH_DIR   an existing libtorch or torch package to use instead of the pinned wheel
#   T2V_CUDA        AUTO (default: the CUDA part where an NVIDIA driver or nvcc is found), ON or OFF
#   T2V_CMAKE_ARGS  more arguments for cmake, e.g. "-DT2V_CUDA=OFF"
t2v_root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
t2v_build=${T2V_BUILD:-$t2v_root/build}
case $t2v_build in /*) ;; *) t2v_build=$PWD/$t2v_build ;; esac

say() { printf 't2v: %s\n' "$*" >&2; }
die() {
  printf 't2v: error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
  exit 1
}

make_dir() {  # FOLDER HINT
  mkdir -p -- "$1" 2>/dev/null && [ -w "$1" ] || die "cannot write to $1" "$2"
}

t2v_find_deps() {  # sets t2v_deps
  if [ -n "${T2V_DEPS:-}" ]; then
    t2v_deps=$T2V_DEPS
    case $t2v_deps in /*) ;; *) t2v_deps=$PWD/$t2v_deps ;; esac
  elif [ -w "$t2v_root" ] || [ -e "$t2v_root/.deps/.have" ]; then
    t2v_deps=$t2v_root/.deps
  else
    t2v_deps=$t2v_build/deps
  fi
}

# Folders and files a build is made from. scripts/test adds tests/.
t2v_inputs=("$t2v_root"/{CMakeLists.txt,cmake,include,src,models,scripts/{setup,lib.sh,versions.sh}})

# One text for everything that chooses what is built; a change of it means configuring anew.
t2v_settings() { printf '%s\n' "${T2V_DEPS:-}|${T2V_TORCH_DIR:-}|${T2V_CUDA:-}|${T2V_CMAKE_ARGS:-}|${CC:-}|${CXX:-}|${CXXFLAGS:-}"; }

# Whether the build named by the stamp $1 is newer than everything it was made from. Folders count too, for files added
# and removed, and ctime is compared, for files moved into place.
t2v_fresh() {
  [ -e "$1" ] && [ "$(< "$1")" = "$(t2v_settings)" ] || return 1
  local newer
  newer=$(find "${t2v_inputs[@]}" -newercm "$1" -print -quit 2>/dev/null) || return 1
  [ -z "$newer" ] || return 1
  t2v_find_deps
  [ -e "${T2V_TORCH_DIR:-$t2v_deps/torch}/lib/libtorch_cpu.so" ]
}

t2v_jobs() {  # as many as there are cores, and memory: a file of ours takes about 1 GB to compile
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable/ { print int($2 / 1200000) }' /proc/meminfo)
  [ "${memory:-1}" -ge 1 ] || memory=1
  echo $((memory < cores ? memory : cores))
}

t2v_configure() {  # ARGS...: further cmake arguments
  local args=(-S "$t2v_root" -B "$t2v_build" "-DT2V_DEPS=$t2v_deps")
  [ -e "$t2v_build/build.ninja" ] || args+=(-G Ninja)
  [ -z "${T2V_TORCH_DIR:-}" ] || args+=("-DT2V_TORCH_DIR=$T2V_TORCH_DIR")
  [ -z "${T2V_CUDA:-}" ] || args+=("-DT2V_CUDA=$T2V_CUDA")
  # shellcheck disable=SC2206
  args+=(${T2V_CMAKE_ARGS:-} "$@")
  cmake "${args[@]}" > "$t2v_build/configure.log" 2>&1 || {
    cat "$t2v_build/configure.log" >&2
    die "cmake could not configure $t2v_build"
  }
}

t2v_progress() {  # ninja's lines to one changing line of a terminal, or to one line each tenth
  local line finished total tenth last=0 tty='' clear=''
  [ ! -t 2 ] || tty=1 clear=$'\r\e[K'
  while IFS= read -r line; do
    if [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]]; then
      finished=${BASH_REMATCH[1]} total=${BASH_REMATCH[2]}
      tenth=$((10 * finished / total))
      if [ -n "$tty" ]; then
        printf '%st2v: building %d of %d' "$clear" "$finished" "$total" >&2
      elif [ "$tenth" -ne "$last" ] && [ "$total" -gt 20 ]; then
        say "building $finished of $total"
      fi
      last=$tenth
    fi
  done
  printf '%s' "$clear" >&2
}

t2v_compile() {  # TARGET...
  local done=$t2v_build/.compiled
  rm -f -- "$done"
  { NINJA_STATUS='[%f/%t] ' cmake --build "$t2v_build" --parallel "$(t2v_jobs)" --target "$@" 2>&1 && : > "$done"; } |
    tee "$t2v_build/build.log" | t2v_progress || :
  if [ ! -e "$done" ]; then  # what failed, and what did not even start; warnings stay in the log
    awk '/^FAILED: /, /^\[/ { if (!/^\[/) print } /^(ninja|CMake Error|cmake): / { print }' "$t2v_build/build.log" |
      head -n 200 >&2
    die "cannot build t2v" "the whole log is $t2v_build/build.log"
  fi
}

# Brings the build up to date: t2v_update STAMP CMAKE_ARG... -- TARGET... One caller at a time; the others wait.
t2v_update() {
  local stamp=$1 configure=()
  shift
  while [ "$1" != -- ]; do configure+=("$1"); shift; done
  shift
  make_dir "$t2v_build" "name a folder that can be written: T2V_BUILD=FOLDER"
  exec 8> "$t2v_build/.lock"
  flock 8
  if ! t2v_fresh "$stamp"; then
    "$t2v_root/scripts/setup" --quiet
    t2v_find_deps
    t2v_settings > "$stamp.new"
    if [ ! -e "$t2v_build/build.ninja" ] || [ ! -e "$stamp" ] || [ "$(< "$stamp")" != "$(t2v_settings)" ]; then
      t2v_configure ${configure[@]+"${configure[@]}"}
    fi
    t2v_compile "$@"
    mv -f -- "$stamp.new" "$stamp"
  fi
  exec 8>&-
}
