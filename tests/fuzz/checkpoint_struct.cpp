// SPDX-License-Identifier: Apache-2.0
// Files of torch.save put together from decisions: an archive of records and a pickle that builds a
// dictionary of tensors, mostly sound, each number, record and opcode now and then wrong. What is
// accepted must stay inside the file and read the same twice.
#include <vector>

#include "fuzz_support.hpp"
#include "support/made_files.hpp"

namespace {

using t2v::fuzz::Source;
namespace made = t2v::test;

/// Mostly what a writer would put there.
int64_t number_or(Source& source, int64_t usual) {
  return source.one_in(12) ? static_cast<int64_t>(source.number()) : usual;
}

std::string storage(Source& source, int64_t count) {
  const std::string type = source.pick<std::string>({"FloatStorage", "HalfStorage", "BFloat16Storage", "ByteStorage",
                                                     "UntypedStorage", "ComplexFloatStorage", "LongStorage"});
  return made::p_storage(number_or(source, count), type,
                         source.one_in(16) ? source.text(6) : std::to_string(source.below(3)));
}

std::string tensor(Source& source) {
  std::vector<int64_t> shape(source.below(4)), strides(shape.size());
  int64_t count = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = number_or(source, count);
    shape[i] = number_or(source, static_cast<int64_t>(source.below(4)));
    if (shape[i] > 0 && shape[i] < 16 && count < 4096) count *= shape[i];
  }
  if (source.one_in(16)) strides.push_back(1);
  return made::p_tensor(storage(source, count), number_or(source, 0), shape, strides);
}

std::string value(Source& source, int depth) {
  switch (source.below(depth > 4 ? 4 : 8)) {
    case 0: return made::p_int(static_cast<int64_t>(source.number()));
    case 1: return made::p_text(source.text(12));
    case 2: return source.text(12);  // any opcodes
    case 4: return made::p_dict({{source.text(3), value(source, depth + 1)}});
    case 5: return "](" + value(source, depth + 1) + value(source, depth + 1) + "e";
    case 6: return "ccollections\nOrderedDict\n)R";
    case 7: return "cos\nsystem\n" + made::p_tuple({value(source, depth + 1)}) + "R";
    default: return tensor(source);
  }
}

std::string pickle(Source& source) {
  std::vector<std::pair<std::string, std::string>> items;
  for (size_t i = source.below(5) + 1; i > 0; --i)
    items.emplace_back("t" + std::to_string(source.one_in(16) ? 0 : i), value(source, 0));
  std::string root = made::p_dict(items);
  if (source.one_in(4)) root = made::p_dict({{"state_dict", root}});
  return made::p_file(root);
}

std::string archive(Source& source) {
  const std::string top = source.one_in(8) ? source.text(4) : "archive/";
  std::vector<made::ZipEntry> entries{{top + "data.pkl", pickle(source)}, {top + "version", "3\n"}};
  for (size_t i = source.below(4); i > 0; --i)
    entries.push_back({top + "data/" + std::to_string(i - 1), std::string(source.byte(), 'x')});
  if (source.one_in(4)) entries.push_back({top + "byteorder", source.one_in(4) ? "big" : "little"});
  for (made::ZipEntry& entry : entries) {
    entry.zip64 = source.one_in(4);
    if (source.one_in(24)) entry.forged_size = static_cast<int64_t>(source.number());
    if (source.one_in(24)) entry.forged_offset = static_cast<int64_t>(source.number());
    if (source.one_in(24)) entry.method = 8;
    if (source.one_in(24)) entry.name = source.text(16);
  }
  return made::zip_bytes(entries, source.one_in(24) ? static_cast<int>(source.below(9)) : -1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Source source(data, size);
  const std::string file = archive(source);
  int accepted = 0;
  for (int time = 0; time < 2; ++time) {
    t2v::fuzz::expect_clean([&] {
      t2v::fuzz::open_and_touch(reinterpret_cast<const uint8_t*>(file.data()), file.size());
      ++accepted;
    });
  }
  t2v::fuzz::require(accepted != 1);
  return 0;
}
