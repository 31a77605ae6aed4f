// SPDX-License-Identifier: Apache-2.0
// Writes the tiny checkpoint of the pipeline tests, for tests that run the program: make_checkpoint FOLDER
#include <exception>
#include <iostream>

#include "support/tiny_checkpoint.hpp"

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "make_checkpoint FOLDER\n";
    return 2;
  }
  const auto golden = t2v::test::pipelines_golden();
  t2v::test::write_tiny_checkpoint(argv[1], golden, golden["runs"]["default"]["scheduler"]);
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
