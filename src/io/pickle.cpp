// SPDX-License-Identifier: Apache-2.0
// The value machine: opcodes of pickle protocols 2 to 5 (CPython Lib/pickletools.py).
// pickle_torch.cpp gives meaning to the names that torch.save uses.
#include "io/pickle.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "io/formats.hpp"
#include "io/json_error.hpp"

namespace t2v::io::pickle {

namespace {

// A value takes about 100 bytes, and a tensor is made of about 30 pushes: room for 10,000 tensors,
// three times what the largest published checkpoint of this format has.
constexpr size_t kMaxOperations = 2'000'000;
constexpr size_t kMaxPushes = 300'000;
constexpr size_t kMaxGlobalName = 512;

std::string hex(uint8_t opcode) {
  constexpr char kDigits[] = "0123456789abcdef";
  return std::string("0x") + kDigits[opcode >> 4] + kDigits[opcode & 15];
}

}  // namespace

Machine::Machine(std::span<const std::byte> bytes, std::string where)
    : bytes_(bytes), where_(std::move(where)), none_(make(Kind::none)) {}

void Machine::fail(const std::string& what) const {
  throw bad_file(where_,
                 "pickle: " + what + " (opcode " + hex(opcode_) + " at byte " + std::to_string(opcode_position_) + ")",
                 "the file is damaged or was not written by torch.save: download it again, or use "
                 "safetensors");
}

Ref Machine::run() {
  stack_.clear();
  marks_.clear();
  memo_.clear();
  while (true) {
    opcode_position_ = position_;
    opcode_ = 0;
    if (position_ == bytes_.size()) fail("it ends before its STOP");
    opcode_ = static_cast<uint8_t>(bytes_[position_++]);
    if (opcode_ == '.') break;
    if (++operations_ > kMaxOperations) fail("more than " + std::to_string(kMaxOperations) + " operations");
    step(opcode_);
  }
  if (!marks_.empty()) fail("STOP inside a MARK");
  return pop();
}

void Machine::step(uint8_t opcode) {
  if (step_scalar(opcode) || step_container(opcode) || step_memo(opcode)) return;
  switch (opcode) {
    case 0x80:  // PROTO
      if (const auto version = read<uint8_t>(); version < 2 || version > 5) {
        fail("wanted protocol 2 to 5, got " + std::to_string(version));
      }
      return;
    case 0x95:  // FRAME: a hint for buffered readers
      if (read<uint64_t>() > bytes_.size() - position_) fail("a frame past the end");
      return;
    case 'c': {  // GLOBAL
      const auto module = read_line();
      push(make_global(module, read_line()));
      return;
    }
    case 0x93: {  // STACK_GLOBAL
      const Ref name = pop(Kind::text, "a name");
      push(make_global(pop(Kind::text, "a module name")->text, name->text));
      return;
    }
    case 'R':     // REDUCE
    case 0x81: {  // NEWOBJ
      const Ref arguments = pop(Kind::tuple, "a tuple of arguments");
      push(reduce(pop(), arguments));
      return;
    }
    case 0x92: {  // NEWOBJ_EX
      pop();
      const Ref arguments = pop(Kind::tuple, "a tuple of arguments");
      push(reduce(pop(), arguments));
      return;
    }
    case 'i': {  // INST
      read_line();
      read_line();
      push(make_inert(pop_to_mark()));
      return;
    }
    case 'o': push(make_inert(pop_to_mark())); return;  // OBJ
    case 'b':                                           // BUILD
      pop();
      build(top());
      return;
    case 'Q': push(persistent(pop())); return;  // BINPERSID
    default: fail("an opcode that torch.save does not write");
  }
}

bool Machine::step_scalar(uint8_t opcode) {
  const auto sized_text = [&](Kind kind, uint64_t size) { push(make_text(kind, read_bytes(size))); };
  switch (opcode) {
    case 'N': push(none_); return true;
    case 0x88: push(make_integer(Kind::boolean, 1)); return true;
    case 0x89: push(make_integer(Kind::boolean, 0)); return true;
    case 'J': push(make_integer(Kind::integer, read<int32_t>())); return true;
    case 'K': push(make_integer(Kind::integer, read<uint8_t>())); return true;
    case 'M': push(make_integer(Kind::integer, read<uint16_t>())); return true;
    case 'G':  // BINFLOAT: no tensor depends on one
      read<uint64_t>();
      push(make(Kind::number));
      return true;
    case 0x8a:    // LONG1
    case 0x8b: {  // LONG4
      const uint64_t size = opcode == 0x8a ? read<uint8_t>() : read<uint32_t>();
      const auto digits = read_bytes(size);
      if (size > 8) {
        push(make_text(Kind::bytes, digits));
        return true;
      }
      int64_t value = 0;
      std::array<uint8_t, 8> wide;
      wide.fill(size > 0 && (digits.back() & 0x80) ? 0xFF : 0);  // two's complement, sign extended
      std::memcpy(wide.data(), digits.data(), size);
      std::memcpy(&value, wide.data(), sizeof value);
      push(make_integer(Kind::integer, value));
      return true;
    }
    case 'X': sized_text(Kind::text, read<uint32_t>()); return true;   // BINUNICODE
    case 0x8c: sized_text(Kind::text, read<uint8_t>()); return true;   // SHORT_BINUNICODE
    case 0x8d: sized_text(Kind::text, read<uint64_t>()); return true;  // BINUNICODE8
    case 'U': sized_text(Kind::text, read<uint8_t>()); return true;    // SHORT_BINSTRING (Python 2)
    case 'T': sized_text(Kind::text, read<uint32_t>()); return true;   // BINSTRING (Python 2)
    case 'C': sized_text(Kind::bytes, read<uint8_t>()); return true;
    case 'B': sized_text(Kind::bytes, read<uint32_t>()); return true;
    case 0x8e:
    case 0x96: sized_text(Kind::bytes, read<uint64_t>()); return true;
    default: return false;
  }
}

bool Machine::step_container(uint8_t opcode) {
  switch (opcode) {
    case '(': marks_.push_back(stack_.size()); return true;
    case '}': push(make(Kind::dict)); return true;
    case ']': push(make(Kind::list)); return true;
    case ')': push(make(Kind::tuple)); return true;
    case 0x8f: push(make(Kind::set)); return true;
    case 't': push(make_sequence(Kind::tuple, pop_to_mark())); return true;
    case 'l': push(make_sequence(Kind::list, pop_to_mark())); return true;
    case 0x91: push(make_sequence(Kind::set, pop_to_mark())); return true;
    case 0x85:
    case 0x86:
    case 0x87: {  // TUPLE1 to TUPLE3
      std::vector<Ref> items(static_cast<size_t>(opcode - 0x84));
      for (auto it = items.rbegin(); it != items.rend(); ++it) *it = pop();
      push(make_sequence(Kind::tuple, std::move(items)));
      return true;
    }
    case 'd': {
      const auto items = pop_to_mark();
      const Ref dict = make(Kind::dict);
      set_items(dict, items);
      push(dict);
      return true;
    }
    case 's': {
      const Ref value = pop();
      const Ref key = pop();
      set_items(top(), {key, value});
      return true;
    }
    case 'u': {
      const auto items = pop_to_mark();
      set_items(top(), items);
      return true;
    }
    case 'a': {
      const Ref value = pop();
      append_items(top(), {value});
      return true;
    }
    case 'e':
    case 0x90: {
      const auto items = pop_to_mark();
      append_items(top(), items);
      return true;
    }
    default: return false;
  }
}

bool Machine::step_memo(uint8_t opcode) {
  switch (opcode) {
    case 'q': remember(read<uint8_t>()); return true;
    case 'r': remember(read<uint32_t>()); return true;
    case 0x94: remember(memo_.size()); return true;
    case 'h': recall(read<uint8_t>()); return true;
    case 'j': recall(read<uint32_t>()); return true;
    case '0':  // POP: of a value, or of the mark when it is on top
      if (!marks_.empty() && marks_.back() == stack_.size()) {
        marks_.pop_back();
      } else {
        pop();
      }
      return true;
    case '1': pop_to_mark(); return true;
    case '2': push(top()); return true;
    default: return false;
  }
}

template <typename T>
T Machine::read() {
  const auto raw = read_bytes(sizeof(T));
  T value;
  std::memcpy(&value, raw.data(), sizeof value);
  return value;
}

std::string_view Machine::read_bytes(uint64_t size) {
  const size_t left = bytes_.size() - position_;
  if (size > left) {
    fail("it wants " + std::to_string(size) + " more bytes, the file has " + std::to_string(left));
  }
  const auto* begin = reinterpret_cast<const char*>(bytes_.data()) + position_;
  position_ += static_cast<size_t>(size);
  return {begin, static_cast<size_t>(size)};
}

std::string_view Machine::read_line() {
  const auto* begin = reinterpret_cast<const char*>(bytes_.data()) + position_;
  const std::string_view window(begin, std::min(bytes_.size() - position_, kMaxGlobalName));
  const size_t end = window.find('\n');
  if (end == window.npos) fail("a name without end");
  position_ += end + 1;
  return window.substr(0, end);
}

Ref Machine::make(Kind kind) {
  values_.emplace_back().kind = kind;
  return &values_.back();
}

Ref Machine::make_text(Kind kind, std::string_view text) {
  const Ref value = make(kind);
  value->text = text;
  return value;
}

Ref Machine::make_integer(Kind kind, int64_t number) {
  const Ref value = make(kind);
  value->integer = number;
  return value;
}

Ref Machine::make_sequence(Kind kind, std::vector<Ref> items) {
  const Ref value = make(kind);
  value->items = std::move(items);
  return value;
}

Ref Machine::make_global(std::string_view module, std::string_view name) {
  if (module.size() + name.size() > kMaxGlobalName) fail("a global name too long to be one");
  strings_.push_back(std::string(module) + "." + std::string(name));
  return make_text(Kind::global, strings_.back());
}

Ref Machine::make_inert(std::vector<Ref> arguments) { return make_sequence(Kind::object, std::move(arguments)); }

void Machine::push(Ref value) {
  if (++pushes_ > kMaxPushes) fail("more than " + std::to_string(kMaxPushes) + " values");
  stack_.push_back(value);
}

Ref Machine::pop() {
  const Ref value = top();
  stack_.pop_back();
  return value;
}

Ref Machine::pop(Kind kind, const char* wanted) {
  const Ref value = pop();
  if (value->kind != kind) fail(std::string("wanted ") + wanted + " on the stack, got something else");
  return value;
}

Ref Machine::top() const {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("stack underflow");
  return stack_.back();
}

std::vector<Ref> Machine::pop_to_mark() {
  if (marks_.empty()) fail("no MARK on the stack");
  const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<Ref> items(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  marks_.pop_back();
  return items;
}

void Machine::remember(uint64_t index) {
  // Writers number from 0 on, and each number takes two bytes: a larger one is an attempt to make
  // the table huge.
  if (index > position_) fail("memo number " + std::to_string(index) + " out of order");
  if (index >= memo_.size()) memo_.resize(static_cast<size_t>(index) + 1);
  memo_[static_cast<size_t>(index)] = top();
}

void Machine::recall(uint64_t index) {
  if (index >= memo_.size() || !memo_[static_cast<size_t>(index)]) fail("no memo number " + std::to_string(index));
  push(memo_[static_cast<size_t>(index)]);
}

void Machine::set_items(Ref target, const std::vector<Ref>& keys_and_values) {
  if (keys_and_values.size() % 2 != 0) fail("a key without a value");
  // Only what Python could have filled: anything else was the hole of CVE-2026-24747.
  if (target->kind != Kind::dict && target->kind != Kind::object)
    fail("wanted a dictionary to fill, got something else");
  for (size_t i = 0; i < keys_and_values.size(); i += 2) {
    target->entries.emplace_back(keys_and_values[i], keys_and_values[i + 1]);
  }
}

void Machine::append_items(Ref target, const std::vector<Ref>& values) {
  if (target->kind == Kind::object) return;
  if (target->kind != Kind::list && target->kind != Kind::set) fail("wanted a list to extend, got something else");
  target->items.insert(target->items.end(), values.begin(), values.end());
}

void Machine::build(Ref target) const {
  // Attributes of objects (an OrderedDict's _metadata, a tensor's hooks) carry no tensors we want.
  const bool has_attributes = target->kind == Kind::dict || target->kind == Kind::object ||
                              target->kind == Kind::tensor || target->kind == Kind::set;
  if (!has_attributes) fail("wanted an object to build, got something else");
}

}  // namespace t2v::io::pickle
