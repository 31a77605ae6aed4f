// SPDX-License-Identifier: Apache-2.0
// Writes tiny checkpoints of the pipeline tests, for tests that run the program:
//   make_checkpoint FOLDER                    a ModelScope folder
//   make_checkpoint FOLDER svd                a Stable Video Diffusion folder
//   make_checkpoint FOLDER stable-diffusion   model.safetensors, motion_module.safetensors and svd_xt.safetensors
#include <exception>
#include <iostream>
#include <string>

#include "support/sd_checkpoint.hpp"
#include "support/svd_checkpoint.hpp"
#include "support/svd_file.hpp"
#include "support/tiny_checkpoint.hpp"

int main(int argc, char** argv) try {
  const std::string kind = argc == 3 ? argv[2] : "";
  if (kind == "stable-diffusion") {
    const std::filesystem::path folder = argv[1];
    std::filesystem::create_directories(folder);
    t2v::test::sd_single_file("sd1").write(folder / "model.safetensors");
    t2v::test::write_original_adapter(folder / "motion_module.safetensors", "v3");
    t2v::test::svd_single_file().write(folder / "svd_xt.safetensors");
    return 0;
  }
  if (argc != 2 && kind != "svd") {
    std::cerr << "make_checkpoint FOLDER [svd|stable-diffusion]\n";
    return 2;
  }
  if (kind == "svd") {
    t2v::test::write_svd_checkpoint(argv[1]);
    return 0;
  }
  const auto golden = t2v::test::pipelines_golden();
  t2v::test::write_tiny_checkpoint(argv[1], golden, golden["runs"]["default"]["scheduler"]);
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
