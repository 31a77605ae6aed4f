// SPDX-License-Identifier: Apache-2.0
#include "io/shard_index.hpp"
#include "io/tensor_file.hpp"
#include "io_support.hpp"
#include "tensor_values.hpp"

namespace t2v::test {
namespace {

class Sharded : public testing::Test {
 protected:
  TempFolder folder_;
  std::filesystem::path index(const std::string& weight_map) {
    return folder_.write("model.safetensors.index.json",
                         R"({"metadata":{"total_size":1},"weight_map":)" + weight_map + "}");
  }
  void shard(const std::string& file, const std::vector<std::string>& names) {
    std::string header;
    for (size_t i = 0; i < names.size(); ++i) {
      header += (i ? ",\"" : "\"") + names[i] + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" + std::to_string(i) +
                "," + std::to_string(i + 1) + "]}";
    }
    folder_.write(file, safetensors_bytes("{" + header + "}", std::string(names.size(), 'x')));
  }
};

TEST_F(Sharded, reads_all_shards_as_one) {
  expect_equals_golden(*io::open_sharded(golden("sharded/diffusion_pytorch_model.safetensors.index.json")), "sharded");
}

TEST_F(Sharded, Row19_only_plain_file_names_are_taken) {
  for (const std::string name :
       {"../x", "/etc/passwd", "C:\\\\x", "a\\u0000b", "a/b", "", ".", "..", "a\\\\b", "C:x", "a\\nb"}) {
    const auto file = index("{\"t\":\"" + name + "\"}");
    expect_bad([&] { io::open_sharded(file); }, "plain file names");
  }
  for (const std::string map : {"[]", "3", "null", "{}", "{\"t\":1}", "{\"t\":[\"x\"]}", "{\"t\":\"x\",\"t\":\"y\"}"}) {
    const auto file = index(map);
    expect_bad([&] { io::open_sharded(file); }, "index.json");
  }
  const auto file = folder_.write("a.index.json", "[]");
  expect_bad([&] { io::open_sharded(file); }, "wanted an object");
}

TEST_F(Sharded, Row20_symbolic_links_like_those_of_the_hub_cache_are_followed) {
  shard("blobs/abc", {"t"});
  const auto blob_index = folder_.write("blobs/def", R"({"weight_map":{"t":"model-1.safetensors"}})");
  std::filesystem::create_directories(folder_ / "snapshots/rev");
  std::filesystem::create_symlink("../../blobs/abc", folder_ / "snapshots/rev/model-1.safetensors");
  std::filesystem::create_symlink("../../blobs/def", folder_ / "snapshots/rev/model.safetensors.index.json");
  EXPECT_EQ(io::open_sharded(folder_ / "snapshots/rev/model.safetensors.index.json")->tensors().size(), 1u);
}

TEST_F(Sharded, Row20_links_that_lead_out_of_the_model_are_refused_by_name) {
  shard("elsewhere/other.safetensors", {"t"});
  shard("elsewhere/model-1.safetensors", {"t"});
  shard("model/shared/same.safetensors", {"t"});
  const auto index = folder_.write("model/unet/m.index.json", R"({"weight_map":{"t":"model-1.safetensors"}})");
  const auto link = folder_ / "model/unet/model-1.safetensors";
  const auto link_to = [&](const std::string& target) {
    std::filesystem::remove(link);
    std::filesystem::create_symlink(target, link);
  };
  link_to("../../elsewhere/other.safetensors");
  expect_bad([&] { io::open_sharded(index); }, "a link to");
  link_to("/etc/passwd");
  expect_bad([&] { io::open_sharded(index); }, "/etc/passwd");
  link_to("../shared/same.safetensors");  // inside the model
  EXPECT_EQ(io::open_sharded(index)->tensors().size(), 1u);
  link_to("../../elsewhere/model-1.safetensors");  // a copy kept elsewhere
  EXPECT_EQ(io::open_sharded(index)->tensors().size(), 1u);
}

TEST_F(Sharded, Row21_everything_wrong_is_reported_at_once) {
  shard("1.safetensors", {"a", "both"});
  shard("2.safetensors", {"b", "both"});
  folder_.write("broken.safetensors", "version https://git-lfs.github.com/spec/v1\n");
  const auto file = index(
      R"({"a":"1.safetensors","b":"1.safetensors","both":"2.safetensors","c":"missing.safetensors","d":"broken.safetensors"})");
  for (const std::string part : {"missing shard missing.safetensors", "'both' is in 1.safetensors and in 2.safetensors",
                                 "'b' is not in 1.safetensors", "Git-LFS"}) {
    expect_bad([&] { io::open_sharded(file); }, part);
  }
  const auto absent = index(R"({"a":"1.safetensors","both":"1.safetensors","zzz":"1.safetensors"})");
  expect_bad([&] { io::open_sharded(absent); }, "'zzz' is not in 1.safetensors");
}

TEST_F(Sharded, Row25_a_huge_index_is_bounded) {
  const auto file = folder_.write("x.index.json", std::string(70 << 20, ' '));
  expect_bad([&] { io::open_sharded(file); }, "at most");
}

}  // namespace
}  // namespace t2v::test
