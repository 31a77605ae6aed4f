#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens of the text path: token ids of CLIPTokenizer and T5Tokenizer, hidden states of tiny CLIP and T5 encoders.

Needs transformers, sentencepiece and protobuf (transformers reads spiece.model with it).
"""
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
ROOT = Path(__file__).resolve().parents[2]
MERGES = ROOT / "models/clip-tokenizer/merges.txt"

WORDS = """a the red blue green golden ancient tiny huge circle square cat dog astronaut panda robot dragon ship
city forest ocean desert mountain river street kitchen spaceship balloon horse dancer children riding eating
running flying swimming playing guitar slowly quickly through over under beside sunset sunrise night rain snow
fog neon cinematic 4k hdr photorealistic watercolor timelapse drone shot close-up wide-angle bokeh masterpiece
trending artstation style of van gogh studio ghibli highly detailed moving to right left up down with and in on
at from into anthropomorphic hyperrealistic unbelievable extraterrestrial""".split()
CONTRACTIONS = """it's don't we're they've I'm you'll he'd o'clock rock'n'roll 'tis 'twas y'all'd've ain't cats'
the'll x'S IT'S DON'T WE'RE I'M 'S 'Re it’s don’t ‘quoted’ “double” ''s 's's ''' '’' dogs’""".split()
SPECIALS = ["<|startoftext|>", "<|endoftext|>", "<|STARTOFTEXT|>", "<|EndOfText|>", "<|startoftext|", "|endoftext|>",
            "<|endoftext|", "<pad>", "</s>", "<unk>", "<s>", "<extra_id_0>", "<extra_id_99>", "<extra_id_100>",
            "<0x41>", "<0xE2>", "<sep>", "</w>", "\u2581", "\u2581\u2581", "a</w>b"]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x85", "\xa0", "\u1680", "\u2000", "\u2003", "\u2009",
          "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u180e", "\u200b", "\ufeff", "\x1c", "\x1f"]
SCRIPTS = [(0xC0, 0x17F), (0x180, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x587), (0x5D0, 0x5EA),
           (0x620, 0x6D3), (0x904, 0x939), (0x985, 0x9B9), (0xB85, 0xBB9), (0xE01, 0xE3A), (0x10A0, 0x10FF),
           (0x1100, 0x11FF), (0x1200, 0x137C), (0x13A0, 0x13FD), (0x1E00, 0x1EFF), (0x1F00, 0x1FFE), (0x2C00, 0x2C7F),
           (0x3041, 0x3096), (0x30A1, 0x30FF), (0x4E00, 0x9FFF), (0xAB70, 0xABBF), (0xAC00, 0xD7A3), (0xF900, 0xFAD9),
           (0xFF01, 0xFFEE), (0x10400, 0x1044F), (0x10C80, 0x10CB2), (0x1E900, 0x1E943), (0x20000, 0x2A6DF),
           (0x2F800, 0x2FA1D)]
EMOJI = """😀 ❤️ 👍🏽 👩‍🚀 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 🇺🇸🇫🇷 #️⃣ 1️⃣ ☃️ 🦄 🧑🏿‍🤝‍🧑🏻 🐈‍⬛ 🕵️‍♀️ ✨ ™️ ©️ ‼️ ㊗️ 🀄 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤ 👁️‍🗨️ 🫠 🫱🏻‍🫲🏿""".split()
CASES = ["İ", "İstanbul", "ıI", "Iİ", "ß", "ẞ", "STRASSE Straße", "ΣΑΣ", "ΟΔΥΣΣΕΥΣ", "ς", "Ǆ", "ǅ", "ﬁ", "ﬃ", "K", "Å",
         "Ω", "Ⅷ", "ⅷ", "Ⓐ", "Ａ", "𝐀𝐁", "ʼN ŉ", "ǰ", "ΐ", "ᾼ", "ᾳ", "Ꭰ", "ꭰ", "Ა", "ა", "Ɑ", "Ⱥ", "Ᲊ", "Ꟛ", "Ƛ"]
MATH = [(0x1D400, 0x1D7FF), (0x2100, 0x214F), (0x2150, 0x218B), (0x2460, 0x24FF), (0x2070, 0x209C), (0x2200, 0x22FF),
        (0x660, 0x669), (0x966, 0x96F), (0x1F100, 0x1F1AC), (0x10107, 0x10133), (0x12400, 0x1246E), (0x3021, 0x3029)]
MARKS = [(0x300, 0x36F), (0x483, 0x489), (0x591, 0x5BD), (0x64B, 0x65F), (0x93C, 0x94D), (0xE31, 0xE3A), (0x1AB0, 0x1ACE),
         (0x1DC0, 0x1DFF), (0x20D0, 0x20F0), (0x302A, 0x302F), (0x3099, 0x309A), (0xFE20, 0xFE2F), (0x1D165, 0x1D169),
         (0x11F41, 0x11F42), (0x898, 0x89F), (0x7FD, 0x7FD)]
# Pairs that compose, some of which only in Unicode versions after the reference's.
PAIRS = ["e\u0301", "A\u030a", "\u1100\u1161", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u0915\u093c", "\u11935\u11930"[:1],
         "\U00011935\U00011930", "\U00011099\U000110ba", "q\u0307\u0323", "q\u0323\u0307", "\u1e0b\u0323", "\u0344", "\u0958",
         "\u2126", "\ufb1d", "\u0627\u0653", "\u3046\u3099", "\u09c7\u09be", "\U000105d2\u0307", "\U00016121\U0001611f",
         "\u0061\u0315\u0300\u05ae\u07fd\u0062", "\u0061\u0898\u0315\u0300"]
LATE = [0x1C89, 0xA7CB, 0xA7CC, 0xA7CE, 0xA7D2, 0xA7DA, 0xA7DC, 0x10D50, 0x10D65, 0x16EA0, 0x16EB8, 0x2EBF0, 0x1E5D0,
        0x10D40, 0x1CCF0, 0x16D40, 0x11F50, 0x1D2C0, 0x378, 0xE000, 0xFFFE, 0xFFFF, 0x10FFFF, 0xF0000, 0xE0001]


def pick(rng, ranges):
    low, high = rng.choice(ranges)
    return chr(rng.randint(low, high))


def sentence(rng, low=2, high=12):
    words = [rng.choice(WORDS) for _ in range(rng.randint(low, high))]
    style = rng.random()
    if style < 0.2:
        words = [w.capitalize() for w in words]
    elif style < 0.25:
        words = [w.upper() for w in words]
    text = words[0]
    for word in words[1:]:
        text += rng.choices([" ", ", ", ". ", "-", "  ", "; ", " (", ") ", "/"], [60, 12, 6, 3, 3, 2, 1, 1, 1])[0] + word
    return text


def number(rng):
    return rng.choice([
        lambda: str(rng.randint(0, 10**rng.randint(1, 12))), lambda: f"{rng.random():.5f}", lambda: f"{rng.randint(1, 99)}%",
        lambda: f"{rng.randint(100, 9999)}x{rng.randint(100, 9999)}", lambda: f"${rng.randint(1, 999)},{rng.randint(0, 999):03}",
        lambda: f"https://www.example.com/{rng.choice(WORDS)}?q={rng.randint(1, 99)}&x=%20#{rng.choice(WORDS)}",
        lambda: f"{rng.choice(WORDS)}@mail-{rng.randint(1, 9)}.org", lambda: f"#{rng.choice(WORDS)}_{rng.randint(1, 99)}",
        lambda: f"({rng.choice(WORDS)}:1.{rng.randint(1, 9)})", lambda: f"1{rng.choice(['st', 'e5', 'e-3', 'st.', '/2', '°C'])}",
        lambda: "".join(rng.choice("+-*/=<>[]{}()|\\^~`@#$%&_.,:;?\"'") for _ in range(rng.randint(1, 9)))])()


def scripted(rng):
    low, high = rng.choice(SCRIPTS)
    return " ".join("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6))) for _ in range(rng.randint(1, 3)))


def marked(rng):
    out = rng.choice(PAIRS) if rng.random() < 0.3 else ""
    for _ in range(rng.randint(1, 3)):
        out += rng.choice("aeiouAEsS") if rng.random() < 0.6 else pick(rng, SCRIPTS)
        out += "".join(pick(rng, MARKS) for _ in range(rng.randint(0, 4)))
    return out


def anything(rng):
    out = ""
    for _ in range(rng.randint(1, 8)):
        c = rng.randint(0, rng.choice([0x7F, 0x2FF, 0x2FFF, 0xFFFF, 0x1FFFF, 0x10FFFF]))
        out += "\ufffd" if 0xD800 <= c <= 0xDFFF else chr(c)
    return out


def around(rng, piece):
    """`piece` alone, glued to words, or among them."""
    left, right = (rng.choice(["", " ", rng.choice(WORDS), rng.choice(WORDS) + " ", "!", "(", "7"]) for _ in range(2))
    return left + piece + right


KINDS = [
    (380, sentence), (100, lambda r: around(r, r.choice(CONTRACTIONS)) + " " + r.choice(CONTRACTIONS)), (180, number),
    (260, scripted), (140, lambda r: around(r, "".join(r.choice(EMOJI) for _ in range(r.randint(1, 4))))), (180, marked),
    (120, lambda r: "".join(r.choice(WORDS) + r.choice(SPACES) * r.randint(1, 2) for _ in range(r.randint(1, 4)))),
    (60, lambda r: "".join(r.choice(SPACES) for _ in range(r.randint(0, 4)))),
    (80, lambda r: around(r, "".join(chr(r.choice([*range(32), *range(127, 160), 0xAD, 0x200D, 0x200E, 0x2066])) for _ in range(r.randint(1, 3))))),
    (140, lambda r: around(r, r.choice(SPECIALS)) + around(r, r.choice(SPECIALS))),
    (90, lambda r: around(r, "!" * r.randint(1, 6)) + r.choice(["", "?!", "!?", " !", "！", "!'s", "'s!"])),
    (120, lambda r: around(r, r.choice(CASES)) + " " + r.choice(CASES)),
    (110, lambda r: around(r, "".join(pick(r, MATH) for _ in range(r.randint(1, 4))))),
    (60, lambda r: around(r, chr(r.choice(LATE)) + r.choice(["", "a", "\u0301", "1"]))),
    (230, anything), (25, lambda r: sentence(r, 60, 120)), (15, lambda r: r.choice(["na", "ха", "!", "🙂", "7", "長", "xq"]) * r.randint(80, 160)),
    (210, lambda r: around(r, r.choice([number, scripted, marked, anything])(r)) + r.choice(EMOJI + CASES + CONTRACTIONS)),
]


def corpus():
    rng = random.Random(20261122)
    prompts = [""]
    for count, make in KINDS:
        prompts += [make(rng) for _ in range(count)]
    return list(dict.fromkeys(prompts))


def clip_vocabulary():
    """CLIP's vocabulary follows from its merges: byte letters, the same with </w>, each merge, two specials."""
    lines = MERGES.read_text(encoding="utf-8").splitlines()[1:]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]
    tokens = letters + [c + "</w>" for c in letters] + [line.replace(" ", "") for line in lines]
    return {t: i for i, t in enumerate(tokens + ["<|startoftext|>", "<|endoftext|>"])}


def added(content, normalized=True, kind=None):
    out = {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False}
    return ({"__type": "AddedToken"} if kind else {}) | out


def clip_forms():
    """The small files of published CLIP tokenizers, and what is left when some are missing."""
    start, end = "<|startoftext|>", "<|endoftext|>"
    config = {"add_prefix_space": False, "bos_token": added(start, kind=1), "do_lower_case": True,
              "eos_token": added(end, kind=1), "errors": "replace", "model_max_length": 77, "pad_token": end,
              "tokenizer_class": "CLIPTokenizer", "unk_token": added(end, kind=1)}
    tokens = {"bos_token": added(start), "eos_token": added(end), "unk_token": added(end)}
    map_sd1, map_sd2 = tokens | {"pad_token": end}, tokens | {"pad_token": "!"}
    decoder = {"49406": added(start) | {"special": True}, "49407": added(end) | {"special": True}}
    v4 = config | {"bos_token": start, "eos_token": end, "unk_token": end, "added_tokens_decoder": decoder}
    v4_sd2 = v4 | {"pad_token": "!", "added_tokens_decoder": {"0": added("!", False) | {"special": True}} | decoder}
    strip = {"content": "!", "lstrip": True, "rstrip": True, "normalized": False, "single_word": False}
    both = {"tokenizer_config.json": config}
    return {
        "sd1": both | {"special_tokens_map.json": map_sd1}, "sd2": both | {"special_tokens_map.json": map_sd2},
        "config_only": both, "map_only": {"special_tokens_map.json": map_sd2}, "none": {},
        "transformers4": {"tokenizer_config.json": v4, "special_tokens_map.json": map_sd2},
        "transformers4_sd2": {"tokenizer_config.json": v4_sd2, "special_tokens_map.json": map_sd2},
        "new_tokens": both | {"special_tokens_map.json": map_sd1, "added_tokens.json": {"<Cat-Toy>": 49408, "zebra": 49409}},
        "stripping_pad": both | {"special_tokens_map.json": tokens | {"pad_token": strip}},
    }


def write_folder(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


PROBES = ["", "a cat! <|ENDOFTEXT|> x <|StartOfText|> !!", "hi  !  there", "<|endoftext|>", "Zebra zebra <Cat-Toy>s <cat-toy>",
          "a!b", "<|startoftext|>!!<|endoftext|>'s", "<|!|> <||> <|startoftext|>abc", "naïve café İ"]


def ids(tokenizer, prompt, length):
    out = tokenizer(prompt, padding="max_length", max_length=length, truncation=True)
    kept = sum(out["attention_mask"])
    assert out["input_ids"][kept:] == [tokenizer.pad_token_id] * (length - kept)
    return out["input_ids"][:kept]


def clip_goldens(out_dir, work, prompts, versions):
    from transformers import CLIPTokenizer

    vocabulary = {"vocab.json": clip_vocabulary(), "merges.txt": MERGES.read_text(encoding="utf-8")}
    forms, tokenizers = {}, {}
    for name, files in clip_forms().items():
        write_folder(work / name, vocabulary | files)
        tokenizer = tokenizers[name] = CLIPTokenizer.from_pretrained(work / name)
        forms[name] = {"files": files, "pad": tokenizer.pad_token_id, "ids": [ids(tokenizer, p, 77) for p in PROBES]}
        tokenizer.save_pretrained(work / (name + "_saved"))
        config = json.loads((work / (name + "_saved") / "tokenizer_config.json").read_text())
        saved = json.loads((work / (name + "_saved") / "tokenizer.json").read_text())
        assert [ids(CLIPTokenizer.from_pretrained(work / (name + "_saved")), p, 77) for p in PROBES] == forms[name]["ids"]
        forms[name]["saved"] = {"tokenizer_config.json": config, "added_tokens": saved["added_tokens"]}
    document = {"versions": versions, "probes": PROBES, "forms": forms}
    (out_dir / "clip_forms.json").write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")

    lines = [json.dumps({"versions": versions, "columns": ["prompt", "ids pad=<|endoftext|>", "ids pad=!, if others"]})]
    for prompt in prompts:
        # Without begin and end: the test adds them and the padding.
        first, second = (ids(tokenizers[name], prompt, 77)[1:-1] for name in ("sd1", "sd2"))
        row = [prompt, first] if first == second else [prompt, first, second]
        lines.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
    (out_dir / "clip.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def charsmap_rules(path):
    """A small NFKC-like map: the full one alone is larger than all other goldens."""
    import unicodedata

    keys = {}
    for c in [*range(0xA0, 0x250), *range(0x1E00, 0x1E80), *range(0x2000, 0x2040), *range(0x2100, 0x2150), 0x3000,
              *range(0x3131, 0x3140), *range(0xFB00, 0xFB07), *range(0xFF01, 0xFF5F), *range(0x1D400, 0x1D440)]:
        nfkc, nfd = (unicodedata.normalize(form, chr(c)) for form in ("NFKC", "NFD"))
        if nfkc != chr(c):
            keys[chr(c)] = nfkc
        if nfd != chr(c):
            keys[nfd] = nfkc
    keys.update({chr(c): "" for c in [1, 2, 0x7F, 0xAD, 0x200B, 0x200E, 0xFEFF]})
    keys.update({c: " " for c in "\t\n\r\xa0\u2028\u200d"})
    keys = {key: value for key, value in keys.items() if key != value}
    rows = ["\t".join(" ".join(f"{ord(c):X}" for c in part) for part in pair) for pair in sorted(keys.items())]
    path.write_text("\n".join(rows) + "\n")


def train_spm(work, name, prompts, byte_fallback):
    import sentencepiece

    rules = work / "rules.tsv"
    charsmap_rules(rules)
    text = [p.replace("\n", " ").replace("\r", " ").replace("\0", "") for p in prompts if len(p) < 300 and max(p, default="") < "\u0250"]
    text += ["一只红色的猫在草地上奔跑", "红色的圆向右移动", "蓝色的方块", "夜晚的城市"] * 8
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_prefix=str(work / name), model_type="unigram", character_coverage=0.98,
        vocab_size=900 if byte_fallback else 600, byte_fallback=byte_fallback, hard_vocab_limit=False, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, normalization_rule_tsv=str(rules), num_threads=1, minloglevel=2,
        user_defined_symbols=["<sep>"] if byte_fallback else [])
    return (work / (name + ".model")).read_bytes()


def t5_goldens(out_dir, work, prompts, versions):
    from transformers import T5Tokenizer

    probes = ["", "a red circle 红色的猫 在 draußen", "a </s> b<extra_id_0>c <extra_id_99> <sep> <unk>x <pad>", "\u2581a\u2581\u2581b",
              "ﬁne Ａ e\u0301 \u200b x\u00a0y", "<0x41><0xE7>龘龘龘 龘"]
    config = {"model_max_length": 24, "extra_ids": 0, "additional_special_tokens": []}
    sentinels = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "model_max_length": 512,
                 "extra_ids": 100, "additional_special_tokens": [f"<extra_id_{i}>" for i in range(100)]}
    forms = {}
    for name, byte_fallback in (("plain", False), ("bytes", True)):
        model = train_spm(work, name, prompts, byte_fallback)
        (out_dir / f"{name}.model").write_bytes(model)
        variants = {"alone": {}, "no_sentinels": {"tokenizer_config.json": config},
                    "published": {"tokenizer_config.json": sentinels, "special_tokens_map.json": {
                        "eos_token": added("</s>"), "pad_token": added("<pad>"), "unk_token": added("<unk>"),
                        "additional_special_tokens": sentinels["additional_special_tokens"]}}}
        for variant, files in variants.items():
            folder = work / f"t5_{name}_{variant}"
            write_folder(folder, files | {"spiece.model": model})
            tokenizer = T5Tokenizer.from_pretrained(folder)
            entry = {"model": f"{name}.model", "files": files, "vocab_size": len(tokenizer), "pad": tokenizer.pad_token_id,
                     "ids": [ids(tokenizer, p, 48) for p in probes]}
            forms[f"{name}_{variant}"] = entry
            tokenizer.save_pretrained(folder / "saved")
            if variant == "no_sentinels" and not byte_fallback:
                saved = {f: (folder / "saved" / f).read_text() for f in ("tokenizer.json", "tokenizer_config.json")}
                saved["tokenizer.json"] = json.dumps(json.loads(saved["tokenizer.json"]), ensure_ascii=False, separators=(",", ":"))
                again = T5Tokenizer.from_pretrained(folder / "saved")
                forms["saved"] = {"files": saved, "vocab_size": len(again), "pad": again.pad_token_id,
                                  "ids": [ids(again, p, 48) for p in probes]}
    document = {"versions": versions, "probes": probes, "forms": forms}
    (out_dir / "t5_forms.json").write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")

    # Ids of the corpus of clip.jsonl, line by line: both models, without the end token.
    plain, fallback = (T5Tokenizer.from_pretrained(work / f"t5_{n}_no_sentinels") for n in ("plain", "bytes"))
    lines = [json.dumps({"versions": versions, "columns": ["line of clip.jsonl", "plain.model", "bytes.model"]})]
    for i, prompt in enumerate(prompts):
        if i % 2 and len(prompt) < 300:
            continue
        row = [i + 1, ids(plain, prompt, 40)[:-1], ids(fallback, prompt, 40)[:-1]]
        lines.append(json.dumps(row, separators=(",", ":")))
    (out_dir / "t5.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


CLIP_ENCODERS = {
    # As published with quick_gelu and the wrong eos_token_id of configs before transformers 4.31.
    "quick_gelu": dict(vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
                       max_position_embeddings=20, hidden_act="quick_gelu", eos_token_id=2),
    "gelu": dict(vocab_size=50, hidden_size=48, intermediate_size=40, num_hidden_layers=3, num_attention_heads=2,
                 max_position_embeddings=77, hidden_act="gelu", eos_token_id=41, layer_norm_eps=1e-3, projection_dim=24),
}
T5_ENCODERS = {
    "gated": dict(vocab_size=64, d_model=32, d_kv=8, d_ff=40, num_layers=3, num_heads=3, feed_forward_proj="gated-gelu"),
    "relu": dict(vocab_size=40, d_model=24, d_kv=12, d_ff=64, num_layers=2, num_heads=2, feed_forward_proj="relu",
                 relative_attention_num_buckets=16, relative_attention_max_distance=40, layer_norm_epsilon=1e-3),
    "umt5": dict(vocab_size=48, d_model=32, d_kv=8, d_ff=24, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"),
}


def encoder_case(model, formula, folder):
    """Fills the model with formula weights, saves it, and gives its names, shapes and config as saved."""
    import torch
    from safetensors import safe_open

    manifest = formula.fill(model.eval())
    model.save_pretrained(folder, safe_serialization=True)
    with safe_open(folder / "model.safetensors", "pt") as file:
        saved = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}
    assert all(manifest[name] == shape for name, shape in saved.items())
    state = model.state_dict()  # tied tensors have two names: the saved one decides the values
    for name, shape in saved.items():
        state[name].copy_(torch.from_numpy(formula.weight(name, tuple(shape))))
    return {"config": json.loads((folder / "config.json").read_text()), "tensors": formula.tree(saved)}


def encoder_goldens(out_dir, work, versions):
    import formula_weights as formula
    import torch
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

    cases, outputs = {"clip": {}, "t5": {}}, {}
    rng = random.Random(5)
    for name, config in CLIP_ENCODERS.items():
        model = CLIPTextModelWithProjection(CLIPTextConfig(**config))
        case = cases["clip"][name] = encoder_case(model, formula, work / name)
        text = model.text_model
        end = config["eos_token_id"] if config["eos_token_id"] > 2 else config["vocab_size"] - 1
        length = config["max_position_embeddings"]
        ids = [[rng.randrange(end) for _ in range(n)] + [end] * (length - n) for n in (4, length - 1)]
        case["ids"] = ids
        case["mask"] = [[1] * (n + 1) + [0] * (length - n - 1) for n in (4, length - 1)]
        out = text(torch.tensor(ids), output_hidden_states=True)
        every = slice(None, None, 3)  # keeps the file small
        for skip in range(config["num_hidden_layers"] + 1):
            outputs[f"clip.{name}.{skip}"] = text.final_layer_norm(out.hidden_states[-(skip + 1)])[:, every]
        assert torch.equal(outputs[f"clip.{name}.0"], out.last_hidden_state[:, every])
        outputs[f"clip.{name}.pooled"] = out.pooler_output
        outputs[f"clip.{name}.projected"] = model(torch.tensor(ids)).text_embeds
        masked = text(torch.tensor(ids), attention_mask=torch.tensor(case["mask"]))
        outputs[f"clip.{name}.masked"] = masked.last_hidden_state[:, every]
    for name, config in T5_ENCODERS.items():
        umt5 = name == "umt5"
        model = UMT5EncoderModel(UMT5Config(**config)) if umt5 else T5EncoderModel(T5Config(**config))
        case = cases["t5"][name] = encoder_case(model, formula, work / name)
        length = 150 if name == "gated" else 70  # beyond the distance where buckets stop growing
        case["ids"] = [[rng.randrange(config["vocab_size"]) for _ in range(length)] for _ in range(2)]
        case["mask"] = [[1] * n + [0] * (length - n) for n in (9, length)]
        ids = torch.tensor(case["ids"])
        outputs[f"t5.{name}"] = model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[:, ::3]
        outputs[f"t5.{name}.masked"] = model(ids, attention_mask=torch.tensor(case["mask"])).last_hidden_state[:, ::3]
    save_file({k: v.detach().contiguous() for k, v in outputs.items()}, out_dir / "encoders.safetensors", metadata=versions)
    (out_dir / "encoders.safetensors").chmod(0o644)
    (out_dir / "encoders.json").write_text(json.dumps({"versions": versions, **cases}, separators=(",", ":")))


def main(out_dir):
    import sentencepiece
    import tokenizers
    import torch
    import transformers

    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    versions = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__,
                "sentencepiece": sentencepiece.__version__, "torch": torch.__version__}
    prompts = corpus()
    with torch.no_grad(), tempfile.TemporaryDirectory() as work:
        encoder_goldens(out_dir, Path(work), versions)
        clip_goldens(out_dir, Path(work), prompts, versions)
        t5_goldens(out_dir, Path(work), prompts, versions)
    print(f"{len(prompts)} prompts")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ROOT / "tests/golden/text")
