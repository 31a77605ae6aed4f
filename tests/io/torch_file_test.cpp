// SPDX-License-Identifier: Apache-2.0
#include "core/log.hpp"
#include "io/tensor_file.hpp"
#include "io_support.hpp"
#include "tensor_values.hpp"

namespace t2v::test {
namespace {

using io::open_tensor_file;

class TorchGolden : public testing::TestWithParam<std::string> {};

TEST_P(TorchGolden, reads_what_torch_save_wrote) {
  expect_equals_golden(*open_tensor_file(golden(GetParam())), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Files, TorchGolden,
                         testing::Values("zip.pth", "legacy.pth", "protocol4.pth", "shared.pth", "shared_legacy.pth",
                                         "nested.pth", "module.pth", "parameters.pth", "float8.pth", "single.pth",
                                         "list.pth"),
                         [](const auto& file) { return file.param.substr(0, file.param.find('.')); });

class TorchFile : public testing::Test {
 protected:
  TempFolder folder_;
  const std::string good_ = p_file(p_dict({{"w", p_tensor(p_storage(4), 0, {2, 2}, {2, 1})}}));

  void refuse(const std::string& bytes, const std::string& part) {
    SCOPED_TRACE(part);
    const auto file = folder_.write("x.pth", bytes);
    expect_bad([&] { open_tensor_file(file); }, part);
    expect_bad([&] { open_tensor_file(file); }, "x.pth");
  }
  void refuse_pickle(const std::string& pickle, const std::string& part) { refuse(torch_zip(pickle), part); }
  void refuse_tensor(int64_t storage, int64_t offset, const std::vector<int64_t>& shape,
                     const std::vector<int64_t>& strides, const std::string& part) {
    refuse_pickle(p_file(p_dict({{"w", p_tensor(p_storage(storage), offset, shape, strides)}})), part);
  }
  std::shared_ptr<const io::TensorFile> accept(const std::string& bytes) {
    return open_tensor_file(folder_.write("x.pth", bytes));
  }
};

TEST_F(TorchFile, shared_tensors_view_the_same_bytes) {
  const auto file = open_tensor_file(golden("shared.pth"));
  EXPECT_EQ(file->tensors().at("first").bytes.data(), file->tensors().at("second").bytes.data());
}

TEST_F(TorchFile, views_keep_their_strides) {
  const auto file = open_tensor_file(golden("zip.pth"));
  EXPECT_EQ(file->tensors().at("transposed").strides, (std::vector<int64_t>{1, 6}));
  EXPECT_TRUE(file->tensors().at("weight").strides.empty());
}

TEST_F(TorchFile, Row16_extension_does_not_matter) {
  EXPECT_EQ(open_tensor_file(folder_.write("m.safetensors", torch_zip(good_)))->tensors().size(), 1u);
}

TEST_F(TorchFile, Row18_big_endian_data_is_refused) {
  refuse(zip_bytes({{"a/data.pkl", good_}, {"a/data/0", std::string(16, '\0')}, {"a/byteorder", "big"}}),
         "little-endian");
}

TEST_F(TorchFile, Row26_unknown_globals_are_inert_and_tensors_still_load) {
  std::filesystem::remove("/tmp/t2v-pickle-was-executed");
  expect_equals_golden(*open_tensor_file(golden("evil.pth")), "evil.pth");
  EXPECT_FALSE(std::filesystem::exists("/tmp/t2v-pickle-was-executed"));
}

TEST_F(TorchFile, Row27_broken_pickles_name_opcode_and_offset) {
  refuse_pickle("", "ends before its STOP");
  refuse_pickle("\x80\x02", "ends before its STOP");
  refuse_pickle("\x80\x02.", "stack underflow");
  for (const std::string opcode : {"0", "2", "a", "s", "b", "R", "\x81", "\x85", "\x87", "Q", "q\x01", "\x94"}) {
    refuse_pickle("\x80\x02" + opcode + ".", "stack underflow");
  }
  for (const std::string opcode : {"t", "l", "d", "u", "e", "1", "o", "\x91", "\x90"})
    refuse_pickle("\x80\x02" + opcode + ".", "no MARK");
  refuse_pickle("\x80\x02h\x05.", "no memo number 5");
  refuse_pickle("\x80\x02j" + raw<uint32_t>(0xFFFFFFFF) + ".", "no memo number");
  refuse_pickle("\x80\x02Nr" + raw<uint32_t>(0xFFFFFFFF) + ".", "out of order");
  refuse_pickle("\x80\x02(N.", "STOP inside a MARK");
  refuse_pickle("\x80\x02(Nq\x01R.", "byte");
  refuse_pickle("\x80\x06N.", "wanted protocol 2 to 5");
  refuse_pickle(std::string("\x80\x00N.", 4), "wanted protocol 2 to 5");
  for (const char opcode : std::string("IFLSVPgp\x82\x83\x84\x97\x98\xff\x01~")) {
    refuse_pickle("\x80\x02" + std::string(1, opcode) + "1\n.", "an opcode that torch.save does not write");
  }
  refuse_pickle("\x80\x02N.", "without any");
  refuse_pickle("\x80\x02}.", "without any");
  refuse_pickle("\x80\x02N)R.", "wanted a class or function");
  refuse_pickle(
      "\x80\x02"
      "ca\nb\nNR.",
      "wanted a tuple of arguments");
}

TEST_F(TorchFile, Row28_lengths_past_the_end_allocate_nothing) {
  for (const std::string opcode : {"X", "T", "B", "\x8b"}) {
    refuse_pickle("\x80\x02" + opcode + raw<uint32_t>(0xFFFFFFF0) + "abc.", "more bytes");
  }
  for (const std::string opcode : {"\x8d", "\x8e", "\x96"})
    refuse_pickle("\x80\x02" + opcode + raw<uint64_t>(~uint64_t{0}) + "abc.", "more bytes");
  refuse_pickle(
      "\x80\x02\x8a\xff"
      "abc.",
      "255 more bytes");
  refuse_pickle("\x80\x04\x95" + raw<uint64_t>(~uint64_t{0}) + "N.", "frame past the end");
  refuse_pickle(
      "\x80\x02"
      "c" +
          std::string(2000, 'a') + ".",
      "a name without end");
}

TEST_F(TorchFile, Row29_memo_doubling_costs_nothing) {
  std::string bomb =
      "\x80\x02](Nle"
      "q" +
      std::string(1, '\0');
  bomb = std::string("\x80\x02]q\x00", 5);
  for (int i = 0; i < 60; ++i) {
    bomb +=
        "0](" + std::string("h") + static_cast<char>(i) + "h" + static_cast<char>(i) + "eq" + static_cast<char>(i + 1);
  }
  refuse_pickle(bomb + ".", "");
}

TEST_F(TorchFile, Row29_operations_and_cycles_are_bounded) {
  std::string cycle = std::string("\x80\x02}q\x00", 5) + "(" + p_text("self") + std::string("h\x00", 2) + p_text("w") +
                      p_tensor(p_storage(4), 0, {4}, {1}) + "u.";
  EXPECT_EQ(accept(torch_zip(cycle))->tensors().size(), 1u);
  refuse_pickle("\x80\x02" + std::string(4'000'000, 'N') + ".", "more than 300000 values");
  std::string deep = "\x80\x02";
  for (int i = 0; i < 100'000; ++i) deep += "]";
  for (int i = 0; i < 99'999; ++i) deep += "a";
  refuse_pickle(deep + ".", "deeper than 32");
  refuse_pickle("\x80\x02" + std::string(1'000'000, '(') + "N.", "STOP inside a MARK");
}

TEST_F(TorchFile, Row30_only_dictionaries_and_lists_are_filled) {
  const std::string tensor = p_tensor(p_storage(4), 0, {4}, {1});
  refuse_pickle("\x80\x02" + tensor + p_text("k") + "Ns.", "wanted a dictionary");
  refuse_pickle("\x80\x02]" + p_text("k") + "Ns.", "wanted a dictionary");
  refuse_pickle("\x80\x02](" + p_text("k") + "Nu.", "wanted a dictionary");
  refuse_pickle("\x80\x02}(" + p_text("k") + "u.", "a key without a value");
  refuse_pickle("\x80\x02}Na.", "wanted a list");
  refuse_pickle("\x80\x02" + tensor + "Na.", "wanted a list");
  refuse_pickle("\x80\x02N}b.", "wanted an object to build");
}

TEST_F(TorchFile, Row30_tensor_extents_stay_inside_their_storage) {
  constexpr int64_t kBig = INT64_MAX;
  EXPECT_EQ(accept(torch_zip(good_))->tensors().at("w").bytes.size(), 16u);
  refuse_tensor(5, 0, {4}, {1}, "record of 16 bytes");
  refuse_tensor(kBig, 0, {4}, {1}, "record of 16 bytes");
  refuse_tensor(-1, 0, {4}, {1}, "negative size");
  refuse_tensor(4, 0, {5}, {1}, "reaches past");
  refuse_tensor(4, 1, {4}, {1}, "reaches past");
  refuse_tensor(3, 0, {4}, {1}, "reaches past");
  refuse_tensor(4, kBig, {4}, {1}, "reaches past");
  refuse_tensor(4, -1, {4}, {1}, "negative offset or stride");
  refuse_tensor(4, 3, {4}, {-1}, "negative offset or stride");
  refuse_tensor(4, 0, {-4}, {1}, "overflows or is negative");
  refuse_tensor(4, 0, {2}, {kBig}, "reaches past");
  refuse_tensor(4, kBig, {2, 2}, {kBig, kBig}, "reaches past");
  refuse_tensor(4, 0, {kBig, kBig}, {0, 0}, "overflows");
  refuse_tensor(4, 0, {int64_t{1} << 40}, {0}, "repeats a storage");
  refuse_tensor(4, 0, {2, 2}, {1}, "different length");
  refuse_tensor(4, 0, std::vector<int64_t>(33, 1), std::vector<int64_t>(33, 1), "more than 32");
}

TEST_F(TorchFile, Row30_empty_tensors_and_small_repeats_are_accepted) {
  const auto file = accept(torch_zip(p_file(p_dict(
      {{"empty", p_tensor(p_storage(4), 0, {0, 3}, {3, 1})}, {"repeat", p_tensor(p_storage(4), 0, {8, 4}, {0, 1})}}))));
  EXPECT_TRUE(file->tensors().at("empty").bytes.empty());
  EXPECT_EQ(file->tensors().at("repeat").strides, (std::vector<int64_t>{0, 1}));
}

TEST_F(TorchFile, Row30_arguments_of_known_functions_are_checked) {
  const std::string rebuild = "ctorch._utils\n_rebuild_tensor_v2\n";
  refuse_pickle(p_file(rebuild + ")R"), "with 0 arguments");
  refuse_pickle(p_file(rebuild + p_tuple({"N", "N", "N", "N"}) + "R"), "without a storage");
  refuse_pickle(p_file(rebuild + p_tuple({p_storage(4), p_text("x"), ")", ")"}) + "R"), "wanted an integer");
  refuse_pickle(p_file(rebuild + p_tuple({p_storage(4), p_int(0), "N", ")"}) + "R"), "wanted a tuple");
  refuse_pickle(
      p_file("ctorch._utils\n_rebuild_tensor_v3\n" + p_tuple({p_storage(4), p_int(0), ")", ")", "N", "N", "N"}) + "R"),
      "wanted a torch.dtype");
  refuse_pickle(p_file(p_tuple({p_text("storage"), "N", "N", "N", p_int(1)}) + "Q"), "without class or key");
  refuse_pickle(p_file("ccollections\nOrderedDict\n" + p_tuple({p_tuple({"N"})}) + "R"), "not pairs");
  refuse_pickle(p_file("ctorch._tensor\n_rebuild_from_type_v2\n" + p_tuple({"N", "N", ")", "N"}) + "R"),
                "bad tensor subclass");
  refuse(torch_zip(p_file(p_dict({{"w", p_tensor(p_storage(4, "FloatStorage", "../0"), 0, {4}, {1})}}))),
         "no record of the storage");
}

TEST_F(TorchFile, tensors_of_unsupported_dtypes_are_left_out) {
  const auto file = accept(torch_zip(p_file(p_dict({{"c", p_tensor(p_storage(2, "ComplexFloatStorage"), 0, {2}, {1})},
                                                    {"w", p_tensor(p_storage(4), 0, {4}, {1})}}))));
  EXPECT_EQ(file->tensors().size(), 1u);
}

TEST_F(TorchFile, two_tensors_of_one_dotted_name_are_refused) {
  const std::string tensor = p_tensor(p_storage(4), 0, {4}, {1});
  refuse_pickle(p_file(p_dict({{"a.b", tensor}, {"a", p_dict({{"b", tensor}})}})), "two tensors of this name");
}

TEST_F(TorchFile, Row31_zip_archives_are_bounded) {
  const std::string data(16, '\0');
  const ZipEntry pickle{"a/data.pkl", good_}, storage{"a/data/0", data};
  EXPECT_EQ(accept(zip_bytes({pickle, storage}))->tensors().size(), 1u);
  auto zip64 = storage;
  zip64.zip64 = true;
  EXPECT_EQ(accept(zip_bytes({pickle, zip64}))->tensors().size(), 1u);
  const auto with = [&](auto change) {
    auto entry = storage;
    change(entry);
    return zip_bytes({pickle, entry});
  };
  refuse(with([](auto& e) { e.method = 8; }), "compressed");
  refuse(with([](auto& e) { e.flags = 1; }), "encrypted");
  refuse(with([](auto& e) { e.forged_size = 1'000'000; }), "past the end");
  refuse(with([](auto& e) { e.forged_offset = 0xFFFFFFF; }), "no local header");
  refuse(with([](auto& e) { e.forged_offset = 0; }), "overlaps");
  refuse(with([](auto& e) {
           e.zip64 = true;
           e.forged_offset = INT64_MAX;
         }),
         "no local header");
  refuse(with([](auto& e) {
           e.zip64 = true;
           e.forged_size = INT64_MAX;
         }),
         "past the end");
  refuse(with([](auto& e) { e.name = "../evil"; }), "plain relative path");
  refuse(with([](auto& e) { e.name = "/etc/passwd"; }), "plain relative path");
  refuse(with([](auto& e) { e.name = "a/../b"; }), "plain relative path");
  refuse(zip_bytes({pickle, storage, storage}), "appears twice");
  refuse(zip_bytes({pickle, storage, {"b/data.pkl", good_}}), "two data.pkl");
  refuse(zip_bytes({storage}), "without data.pkl");
  refuse(zip_bytes({{"../data.pkl", good_}}), "plain relative path");
  refuse(zip_bytes({}), "without data.pkl");
  refuse(zip_bytes({pickle, storage}, 60'000), "too small for its entries");
  const std::string whole = zip_bytes({pickle, storage});
  for (size_t size = 4; size < whole.size(); size += 3) refuse(whole.substr(0, size), "cut short");
  refuse(whole + "x", "cut short");
}

TEST_F(TorchFile, Row31_every_single_byte_change_is_survived) {
  log::setup(-1, false);  // no warning for each of thousands of files
  const std::string whole = torch_zip(good_);
  const std::string legacy = read_all(golden("shared_legacy.pth"));
  for (const std::string& original : {whole, legacy}) {
    for (size_t i = 0; i < original.size(); ++i) {
      for (const char value : {'\0', '\xff', '\x80', '.', '('}) {
        std::string changed = original;
        changed[i] = value;
        try {
          const auto file = accept(changed);
          for (const auto& [name, view] : file->tensors()) values_of(view);
        } catch (const Error& error) {
          EXPECT_EQ(exit_code(error.code()), 3);
        }
      }
    }
  }
}

TEST_F(TorchFile, Row32_any_top_level_folder_name_is_accepted) {
  for (const std::string name : {"archive/", "my model v1.0 (ä)/", "", "..x/"}) {
    EXPECT_EQ(
        accept(zip_bytes({{name + "data.pkl", good_}, {name + "data/0", std::string(16, '\0')}}))->tensors().size(), 1u)
        << name;
  }
}

TEST_F(TorchFile, Row33_legacy_files_are_read_and_cut_ones_refused) {
  const std::string whole = read_all(golden("legacy.pth"));
  for (size_t size = 3; size < whole.size(); size += 11) {
    const auto file = folder_.write("x.pth", whole.substr(0, size));
    expect_bad([&] { open_tensor_file(file); }, "x.pth");
  }
  refuse(whole.substr(0, whole.size() - 1), "bytes of file");
  refuse(p_file("}"), "not one written by torch.save");
}

TEST_F(TorchFile, wrapped_state_dicts_are_entered_and_the_rest_ignored) {
  const std::string tensor = p_tensor(p_storage(4), 0, {4}, {1});
  for (const std::string wrapper : {"state_dict", "model"}) {
    const auto file = accept(torch_zip(
        p_file(p_dict({{"epoch", p_int(3)}, {wrapper, p_dict({{"w", tensor}})}, {"ema", p_dict({{"w", tensor}})}}))));
    EXPECT_EQ(file->tensors().size(), 1u);
    EXPECT_EQ(file->tensors().begin()->first, "w");
  }
}

}  // namespace
}  // namespace t2v::test
