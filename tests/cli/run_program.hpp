// SPDX-License-Identifier: Apache-2.0
// Runs a program and keeps what it said.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

namespace t2v::testing_support {

struct ProgramResult {
  int code = -1;  ///< exit code, or 128 + signal
  std::string out, err;
  double seconds = 0;
};

inline std::string read_all(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The tests of one program compare bits and memory with figures of the CPU, so its programs see no CUDA device.
inline const int kCudaIsHidden = setenv("CUDA_VISIBLE_DEVICES", "", /*overwrite=*/0);

/// The program under test: of this build folder, or the one that a build with sanitizers names.
inline std::string program_path() {
  const char* other = std::getenv("T2V_TESTED_PROGRAM");
  return other ? other : std::string(T2V_BINARY_DIR) + "/t2v";
}

/// `in_child` runs in the child before the program starts: to close descriptors, set limits.
inline ProgramResult run_program(const std::vector<std::string>& command, const std::function<void()>& in_child = {},
                                 const std::string& input = {}) {
  std::string folder = (std::filesystem::temp_directory_path() / "t2v-run-XXXXXX").string();
  if (!mkdtemp(folder.data())) std::abort();
  const std::string out = folder + "/out", err = folder + "/err", in = folder + "/in";
  std::ofstream(in, std::ios::binary) << input;
  std::vector<char*> argv;
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = fork();
  if (child == 0) {
    dup2(open(in.c_str(), O_RDONLY), 0);
    dup2(open(out.c_str(), O_WRONLY | O_CREAT, 0600), 1);
    dup2(open(err.c_str(), O_WRONLY | O_CREAT, 0600), 2);
    for (int descriptor = 3; descriptor < 64; ++descriptor) close(descriptor);
    if (in_child) in_child();
    execv(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ProgramResult result;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = read_all(out);
  result.err = read_all(err);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return result;
}

}  // namespace t2v::testing_support
