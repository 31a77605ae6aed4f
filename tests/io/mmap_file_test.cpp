// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include "io/checkpoint.hpp"
#include "io/image.hpp"
#include "io/mmap_file.hpp"
#include "io/sigbus.hpp"
#include "io/tensor_file.hpp"
#include "io_support.hpp"

namespace t2v::test {
namespace {

using io::MmapFile;

TEST(MmapFile, gives_the_bytes_and_follows_links) {
  TempFolder folder;
  folder.write("a", "hello");
  std::filesystem::create_symlink("a", folder / "b");
  const auto file = MmapFile::open(folder / "b", MmapFile::Access::sequential);
  EXPECT_EQ(file->bytes().size(), 5u);
  file->prefetch(file->bytes().subspan(2));
  file->advise(MmapFile::Access::random);
  EXPECT_TRUE(MmapFile::open(folder.write("empty", ""))->bytes().empty());
  EXPECT_EQ(io::read_file(folder / "b", 5), "hello");
  expect_bad([&] { io::read_file(folder / "b", 4); }, "at most 4 B, got 5 B");
}

TEST(MmapFile, Row41_a_replaced_file_is_noticed) {
  TempFolder folder;
  const auto file = MmapFile::open(folder.write("a", "hello"));
  EXPECT_TRUE(file->unchanged());
  folder.write("b", "other!");
  std::filesystem::rename(folder / "b", folder / "a");
  EXPECT_FALSE(file->unchanged());
  EXPECT_EQ(file->bytes()[0], std::byte{'h'});
}

TEST(MmapFile, Row42_what_is_no_regular_file_is_refused_at_once) {
  TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  for (const auto& path : {folder / "fifo", std::filesystem::path("/dev/zero"), std::filesystem::path("/dev/null")}) {
    expect_bad([&] { io::open_tensor_file(path); }, "device, pipe or socket");
    expect_bad([&] { io::load_image(path); }, "device, pipe or socket");
    expect_bad([&] { io::load_json(path); }, "device, pipe or socket");
  }
  expect_bad([&] { io::open_tensor_file(folder.path()); }, "got a folder");
  expect_bad([&] { io::open_tensor_file(folder / "none"); }, "No such file");
  std::filesystem::create_symlink("loop", folder / "loop");
  expect_bad([&] { io::open_tensor_file(folder / "loop"); }, "loop");
  if (geteuid() != 0) {
    const auto secret = folder.write("secret", "x");
    chmod(secret.c_str(), 0);
    expect_bad([&] { io::open_tensor_file(secret); }, "Permission denied");
  }
}

using MmapFileDeathTest = testing::Test;

TEST(MmapFileDeathTest, Row40_a_file_cut_short_while_mapped_ends_with_exit_code_3) {
  TempFolder folder;
  const auto path = folder.write("weights.safetensors", std::string(1 << 20, 'x'));
  EXPECT_EXIT(
      {
        io::install_sigbus_handler();
        io::install_sigbus_handler();
        const auto file = MmapFile::open(path);
        std::filesystem::resize_file(path, 10);
        volatile char last = static_cast<char>(file->bytes().back());
        static_cast<void>(last);
      },
      testing::ExitedWithCode(3), "weights.safetensors.*cut short");
}

TEST(MmapFileDeathTest, Row40_a_bus_error_elsewhere_keeps_its_meaning) {
  EXPECT_EXIT(
      {
        io::install_sigbus_handler();
        raise(SIGBUS);
        raise(SIGBUS);
      },
      testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace t2v::test
