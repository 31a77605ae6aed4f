// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cmath>
#include <ctime>

#include "io/config.hpp"
#include "io/tensor_file.hpp"
#include "io_support.hpp"
#include "tensor_values.hpp"

namespace t2v::test {
namespace {

using io::DType;
using io::open_tensor_file;

class Safetensors : public testing::Test {
 protected:
  TempFolder folder_;
  void refuse(const std::string& bytes, const std::string& part) {
    const auto file = folder_.write("x.safetensors", bytes);
    SCOPED_TRACE(part);
    expect_bad([&] { open_tensor_file(file); }, part);
    expect_bad([&] { open_tensor_file(file); }, "x.safetensors");
  }
  void refuse_header(const std::string& header, const std::string& part, size_t data = 0) {
    refuse(safetensors_bytes(header, std::string(data, '\0')), part);
  }
  std::shared_ptr<const io::TensorFile> accept(const std::string& bytes) {
    return open_tensor_file(folder_.write("x.safetensors", bytes));
  }
};

TEST_F(Safetensors, reads_every_dtype_as_the_reference_wrote_it) {
  expect_equals_golden(*open_tensor_file(golden("dtypes.safetensors")), "dtypes.safetensors");
  EXPECT_EQ(open_tensor_file(golden("dtypes.safetensors"))->metadata().at("note"), "ä \"quoted\"");
}

TEST_F(Safetensors, Row01_empty_and_tiny_files_are_refused) {
  refuse("", "empty file");
  for (size_t size = 1; size < 8; ++size) refuse(std::string(size, '\1'), "header too small");
  refuse(std::string(8, '\0'), "not JSON");
}

TEST_F(Safetensors, Row02_header_length_above_the_cap_is_refused) {
  refuse(raw<uint64_t>(100'000'001) + std::string(12, ' '), "100000000");
  refuse(raw<uint64_t>(~uint64_t{0}) + std::string(12, ' '), "18446744073709551615");
}

TEST_F(Safetensors, Row03_header_past_the_end_is_refused) {
  refuse(raw<uint64_t>(99'999'999) + "{}", "header past the end");
  refuse(raw<uint64_t>(3) + "{}", "1 bytes or more are missing");
}

TEST_F(Safetensors, Row04_headers_that_are_no_json_object_are_refused) {
  for (const std::string header : {"[]", "[[1]]", "3", "-3", "1.5", "null", "true", "\"x\"", "{", "{}x", "{\"a\":}",
                                   "{'a':1}", "nan", "{\"\xff\":1}", "{\"a\":{\"dtype\":\"F32\",}}", "//c\n{}"}) {
    refuse_header(header, "header:");
  }
  refuse_header(std::string("{}\0junk", 7), "NUL");
}

TEST_F(Safetensors, Row05_duplicate_keys_are_refused) {
  refuse_header(
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
      "appears twice", 2);
  refuse_header(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "appears twice", 1);
  refuse_header(R"({"a":{"dtype":"U8","shape":[],"shape":[1],"data_offsets":[0,1]}})", "appears twice", 1);
  refuse_header(R"({"__metadata__":{"k":"1","k":"2"}})", "appears twice");
  refuse_header(R"({"__metadata__":{},"__metadata__":{}})", "appears twice");
  refuse_header(
      R"({"a":{"dtype":"U16","shape":[1],"data_offsets":[0,2]},"a":{"dtype":"U16","shape":[1],"data_offsets":[2,4]}})",
      "appears twice", 4);
}

TEST_F(Safetensors, Row06_many_overlapping_tensors_are_refused_quickly) {
  std::string header = "{";
  for (int i = 0; i < 100'000; ++i) {
    header += (i ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[8],"data_offsets":[0,8]})";
  }
  refuse_header(header + "}", "overlapping", 8);
}

TEST_F(Safetensors, Row07_holes_and_trailing_bytes_are_refused_with_their_count) {
  refuse_header(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", "hole", 2);
  refuse_header(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "21 trailing bytes", 22);
  refuse_header("{}", "3 trailing bytes", 3);
  refuse_header(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[2,1]}})", "reversed", 3);
}

TEST_F(Safetensors, Row08_a_cut_download_names_the_missing_bytes) {
  const std::string whole = read_all(golden("dtypes.safetensors"));
  for (size_t size = 0; size < whole.size(); size += 7) {
    const auto file = folder_.write("x.safetensors", whole.substr(0, size));
    expect_bad([&] { open_tensor_file(file); }, "x.safetensors");
  }
  refuse(whole.substr(0, whole.size() - 5), "5 bytes are missing");
}

TEST_F(Safetensors, Row09_shape_overflow_and_wrong_shape_types_are_refused) {
  for (const std::string shape : {"[9223372036854775807,2]", "[4294967296,4294967296]", "[9223372036854775807]"}) {
    refuse_header(R"({"a":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":[0,4]}})", "overflows", 4);
  }
  for (const std::string shape : {"[-1]", "[1.5]", "[\"1\"]", "[18446744073709551615]", "[[1]]", "[true]", "[null]",
                                  "1", "{}", "\"x\"", "null"}) {
    refuse_header(R"({"a":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":[0,4]}})", "'a'", 4);
  }
  refuse_header(R"({"a":{"dtype":"F32","shape":[)" +
                    std::string(80, '1').replace(1, 79,
                                                 [] {
                                                   std::string s;
                                                   while (s.size() < 78) s += ",1";
                                                   return s;
                                                 }()) +
                    R"(],"data_offsets":[0,4]}})",
                "more than 32", 4);
}

TEST_F(Safetensors, Row10_shape_and_offsets_must_agree) {
  refuse_header(R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,4]}})", "wants 16 bytes", 4);
  refuse_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,99999999999]}})", "wants 8 bytes", 8);
  for (const std::string offsets : {"[0]", "[0,1,2]", "[]", "[-1,3]", "0", "[0,\"4\"]", "[[0],4]", "[0,1e3]"}) {
    refuse_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)" + offsets + "}}", "data_offsets", 4);
  }
  refuse_header(R"({"a":{"dtype":"F32","shape":[1]}})", "no data_offsets", 4);
  refuse_header(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", "no shape", 4);
  refuse_header(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", "no dtype", 4);
  refuse_header(R"({"a":7})", "wanted an object, got a number");
  refuse_header(R"({"a":[]})", "got a list");
  refuse_header(R"({"__metadata__":{"a":1}})", "wanted a string");
  refuse_header(R"({"__metadata__":{"a":{}}})", "got an object");
  refuse_header(R"({"__metadata__":[1]})", "got a list");
}

TEST_F(Safetensors, Row11_unknown_dtypes_are_refused_and_unsupported_ones_left_out) {
  refuse_header(R"({"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", "unknown dtype 'F99'", 4);
  refuse_header(R"({"a":{"dtype":3,"shape":[1],"data_offsets":[0,4]}})", "wanted a string", 4);
  refuse_header(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", "inside a byte", 2);
  const auto file = accept(safetensors_bytes(
      R"({"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]},"b":{"dtype":"U16","shape":[1],"data_offsets":[2,4]},"c":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}})",
      "12345"));
  EXPECT_EQ(file->tensors().size(), 1u);
  EXPECT_EQ(file->tensors().at("c").bytes[0], std::byte{'5'});
}

TEST_F(Safetensors, Row12_empty_tensors_scalars_padding_and_unknown_fields_are_accepted) {
  EXPECT_TRUE(accept(safetensors_bytes("{}"))->tensors().empty());
  EXPECT_TRUE(accept(safetensors_bytes("  \n\t{}   "))->tensors().empty());
  EXPECT_TRUE(accept(safetensors_bytes(R"({"__metadata__":null})"))->metadata().empty());
  const auto file = accept(safetensors_bytes(
      R"({"e":{"dtype":"F32","shape":[2,0],"data_offsets":[0,0]},"s":{"dtype":"I16","shape":[],"data_offsets":[0,2],"later":{"x":[1,{"y":null}]}}})",
      "ab"));
  EXPECT_TRUE(file->tensors().at("e").bytes.empty());
  EXPECT_EQ(file->tensors().at("s").bytes.size(), 2u);
  EXPECT_TRUE(file->tensors().at("s").shape.empty());
}

TEST_F(Safetensors, Row16_foreign_content_has_a_message_of_its_own) {
  refuse("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n", "Git-LFS pointer");
  refuse("<!DOCTYPE html>\n<html>", "web page");
  refuse("\n <HTML>oops", "web page");
  refuse("# xet version 0\n", "Xet pointer");
  refuse("GGUF\3\0\0\0", "GGUF");
  refuse("\x89HDF\r\n\x1a\n", "HDF5");
  refuse("{\"error\":\"Repository not found\"}", "JSON text");
  refuse(std::string(257, 'a') + "ustar" + std::string(300, '\0'), "tar archive");
}

TEST_F(Safetensors, Row16_a_torch_file_under_a_safetensors_name_is_read_by_content) {
  const auto file = folder_.write("x.safetensors", read_all(golden("zip.pth")));
  EXPECT_EQ(open_tensor_file(file)->tensors().count("weight"), 1u);
}

TEST_F(Safetensors, Row17_a_million_tiny_tensors_are_refused) {
  std::string header = "{";
  for (int i = 0; i < 1'000'000; ++i) {
    header += (i ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  refuse_header(header + "}", "100000 tensors");
}

TEST_F(Safetensors, Row17_names_of_kilobytes_and_of_megabytes_in_all_are_refused) {
  const auto header_of = [](size_t count, size_t length) {
    std::string header = "{";
    for (size_t i = 0; i < count; ++i) {
      std::string name = std::to_string(i);
      name.resize(length, 'x');
      header += (i ? ",\"" : "\"") + name + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
    }
    return safetensors_bytes(header + "}", "");
  };
  const auto file = folder_.write("x.safetensors", header_of(3, 512));
  EXPECT_EQ(open_tensor_file(file)->tensors().size(), 3u);
  for (const auto& [count, length] : {std::pair<size_t, size_t>{1, 513}, {20'000, 500}}) {
    const auto long_names = folder_.write("y.safetensors", header_of(count, length));
    expect_bad([&] { open_tensor_file(long_names); }, "tensor names of at most 512 bytes");
  }
}

TEST_F(Safetensors, Row25_deep_nesting_is_refused) {
  refuse_header(R"({"a":{"x":)" + std::string(100'000, '[') + "}}", "deeper than 16");
  refuse_header(std::string(100'000, '['), "list");
  std::string objects;
  for (int i = 0; i < 10'000; ++i) objects += "{\"a\":";
  refuse_header(objects, "header:");
}

TEST_F(Safetensors, headers_of_ten_thousand_tensors_open_in_milliseconds) {
  std::string header = "{";
  for (int i = 0; i < 10'000; ++i) {
    header += (i ? ",\"" : "\"") + std::string("down_blocks.0.resnets.1.conv.weight.") + std::to_string(i) +
              R"(":{"dtype":"F32","shape":[1,1,1],"data_offsets":[)" + std::to_string(4 * i) + "," +
              std::to_string(4 * i + 4) + "]}";
  }
  const auto file = folder_.write("x.safetensors", safetensors_bytes(header + "}", std::string(40'000, '\0')));
  double best = 1e9;
  for (int run = 0; run < 5; ++run) {
    // Processor time: what else the machine does must not decide this test.
    const std::clock_t start = std::clock();
    EXPECT_EQ(open_tensor_file(file)->tensors().size(), 10'000u);
    best = std::min(best, 1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  RecordProperty("milliseconds", std::to_string(best));
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(best, 50.0);  // the budget; about 15 ms on one core of this decade
#endif
}

TEST_F(Safetensors, what_is_written_is_read_back) {
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  const std::vector<uint8_t> bytes{7};
  const std::vector<io::NamedTensor> tensors{{"b", {DType::u8, {1}, {}, std::as_bytes(std::span(bytes))}},
                                             {"a \"ä\"\n", {DType::f32, {2, 3}, {}, std::as_bytes(std::span(values))}},
                                             {"nothing", {DType::f16, {0, 4}, {}, {}}}};
  const auto file = folder_ / "out.safetensors";
  io::write_safetensors(file, tensors, {{"run", "{\"seed\": 1}"}});
  const auto back = open_tensor_file(file);
  ASSERT_EQ(back->tensors().size(), 3u);
  EXPECT_EQ(back->metadata().at("run"), "{\"seed\": 1}");
  EXPECT_EQ(values_of(back->tensors().at("a \"ä\"\n")), (std::vector<double>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(back->tensors().at("a \"ä\"\n").bytes.data()) % 4, 0u);
  EXPECT_EQ(folder_.list(), std::vector<std::string>{"out.safetensors"});
  expect_bad([&] { io::write_safetensors(folder_ / "no/such/folder.safetensors", tensors, {}); }, "does not exist",
             ErrorCode::output);
}

}  // namespace
}  // namespace t2v::test
