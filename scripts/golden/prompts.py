# SPDX-License-Identifier: Apache-2.0
"""Goldens of weighted and long prompts and of prompts by frame: a small reference of A1111's rules, written here, and
runs of the tiny checkpoint of golden/pipelines with the states it gives.

The rules (AUTOMATIC1111 web UI 1.10, modules/prompt_parser.py, sd_hijack_clip.py, sd_emphasis.py): round brackets
multiply the weight by 1.1, square ones divide by it, `(text:1.3)` sets a factor; each run of one weight is tokenized by
itself; chunks of 75 tokens, cut after a comma at most 20 tokens back; states times weight, then the chunk's mean restored.
One difference on purpose: BREAK inside brackets breaks too.
"""
import json
import os
import pathlib
import re

import torch
from safetensors.torch import save_file

from . import formula_weights as formula
from . import lora, pipelines

PARSED = [
    "", "a cat", "(a cat)", "a (cute:1.3) cat", "((very)) [much] [[less]]", r"\(not\) [a\] b] \\ c \d", "(nested (deep:1.5) out:0.5)",
    "(unclosed [both", "closed) too] often", "a (b:1.0) c", "(minus:-0.5) (plus:+1.2) (dot:.5) (blank: 1.25 )", "(bad:1.2.3) (word:x)",
    "outside :1.3) stays", "one BREAK two", "BREAK first", "last BREAK", "a BREAK BREAK b", "aBREAK BREAKb BREAK_", "(in BREAK side:1.2)",
    "über (größe:1.1) 日本", "([mixed):1.2]", "(a)(b)", "((a:2):3)", "line\nbreak (x:1.2)\tTab", "(:1.2)", "()", "[]", "(a:1.2"]

LONG = "a red fox running through deep snow, " * 9 + "mountains behind, soft light of an early winter morning, highly detailed fur, " \
    "film grain, shallow depth of field, slow pan to the left, quiet, cold"
CHUNKED = [
    "a cat", LONG, LONG + " (sharp focus:1.4)", "word " * 80, "a, " * 60, "first part BREAK second (part:0.7)",
    "word " * 70 + ", " + "tail " * 30, "word " * 74 + ", more words", "word " * 75, "word " * 50 + ", " + "tail " * 30]

RUN = dict(pipelines.BASE, steps=4, cfg_scale=5.0, frames=3, width=64, height=48)
# name -> what differs from RUN; the states come from the reference.
RUNS = {
    "brackets": dict(prompt="A red (cute) fox, [running] through \\(deep) snow!"),  # as diffusers reads it
    "weighted": dict(prompt="A (red:1.4) fox, [running] through ((deep snow))!", negative_prompt="blurry"),
    "negative": dict(prompt="A red fox", negative_prompt="(blurry:1.5), watermark (text:0.6)", clip_skip=1),
    "long": dict(prompt=LONG, negative_prompt="blurry"),
    "long_negative": dict(prompt="A red fox", negative_prompt=LONG + ", (dark:1.2)"),
    "by_frame": dict(prompt="A red fox", frames=6, prompt_at={2: "A (blue:1.3) bird", 4: "deep snow"}),
    "by_frame_unguided": dict(prompt="ignored", frames=4, cfg_scale=1.0, prompt_at={0: "A red fox", 3: LONG}),
}


def parse(prompt):
    """[[text, weight, begins a chunk], ...]"""
    token = re.compile(r"\\[()\[\]\\]|\\|\(|\[|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|\)|\]|[^\\()\[\]:]+|:")
    parts, open_round, open_square = [], [], []

    def scale(start, factor):
        for part in parts[start:]:
            part[1] *= factor

    for match in token.finditer(prompt):
        text = match.group(0)
        if text.startswith("\\"):
            parts.append([text[1:], 1.0, False])
        elif text == "(":
            open_round.append(len(parts))
        elif text == "[":
            open_square.append(len(parts))
        elif match.group(1) is not None and open_round:
            scale(open_round.pop(), float(match.group(1)))
        elif text == ")" and open_round:
            scale(open_round.pop(), 1.1)
        elif text == "]" and open_square:
            scale(open_square.pop(), 1 / 1.1)
        else:
            pieces = re.split(r"\s*\bBREAK\b\s*", text, flags=re.S)
            parts += [[piece, 1.0, i > 0] for i, piece in enumerate(pieces)]
    for start in open_round:
        scale(start, 1.1)
    for start in open_square:
        scale(start, 1 / 1.1)
    merged = []
    for text, weight, breaks in parts:
        if merged and not breaks and merged[-1][1] == weight:
            merged[-1][0] += text
        elif text or breaks:
            merged.append([text, weight, breaks])
    return merged or [["", 1.0, False]]


def is_weighted(prompt):
    return re.search(r"\(", prompt) is not None and any(
        m for m in _explicit(prompt))


def _explicit(prompt):
    depth = 0
    for match in re.finditer(r"\\[()\[\]\\]|\\|\(|\[|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|\)|\]|[^\\()\[\]:]+|:", prompt):
        if match.group(0) == "(":
            depth += 1
        elif match.group(1) is not None and depth:
            yield match.group(1)
            depth -= 1
        elif match.group(0) == ")" and depth:
            depth -= 1


def chunks(tokenizer, parts):
    """[(75 or fewer ids, weights), ...]"""
    comma = tokenizer.convert_tokens_to_ids(",</w>")
    done, ids, weights, last_comma = [], [], [], None
    for text, weight, breaks in parts:
        if breaks:
            done.append((ids, weights))
            ids, weights, last_comma = [], [], None
        for token in tokenizer(text, add_special_tokens=False, truncation=False).input_ids:
            if token == comma:
                last_comma = len(ids)
            elif len(ids) == 75 and last_comma is not None and len(ids) - last_comma <= 20:
                at = last_comma + 1
                done.append((ids[:at], weights[:at]))
                ids, weights, last_comma = ids[at:], weights[at:], None
            if len(ids) == 75:
                done.append((ids, weights))
                ids, weights, last_comma = [], [], None
            ids.append(token)
            weights.append(weight)
    if ids or not done:
        done.append((ids, weights))
    return done


def states_of_chunk(parts, ids, weights, clip_skip):
    tokenizer, net = parts["tokenizer"], parts["text_encoder"]
    rest = 75 - len(ids)
    padded = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * rest]
    scale = torch.tensor([1.0, *weights, 1.0, *[1.0] * rest])
    out = net(torch.tensor([padded]), output_hidden_states=True)
    hidden = out.last_hidden_state if not clip_skip else net.final_layer_norm(out.hidden_states[-(clip_skip + 1)])
    if all(w == 1 for w in weights):
        return hidden
    mean = hidden.mean()
    hidden = hidden * scale[None, :, None]
    return hidden * (mean / hidden.mean())


def encode(parts, prompts):
    """[(prompt, clip_skip), ...] -> [N, L, D]"""
    rows = []
    for prompt, clip_skip in prompts:
        parsed = parse(prompt) if is_weighted(prompt) else [[prompt, 1.0, False]]
        rows.append([states_of_chunk(parts, *chunk, clip_skip) for chunk in chunks(parts["tokenizer"], parsed)])
    longest = max(len(row) for row in rows)
    for row, (_, clip_skip) in zip(rows, prompts):
        row += [states_of_chunk(parts, [], [], clip_skip)] * (longest - len(row))
    return torch.cat([torch.cat(row, 1) for row in rows])


def by_frame(states, frames, count):
    """diffusers' own interpolation between key frames, put together as _encode_prompt_free_noise does."""
    from diffusers.pipelines.free_noise_utils import AnimateDiffFreeNoiseMixin as mixin

    frames, states = [*frames], list(states)
    if frames[-1] != count - 1:
        frames, states = [*frames, count - 1], [*states, states[-1]]
    out = torch.zeros(count, *states[0].shape)
    for i in range(len(frames) - 1):
        out[frames[i]:frames[i + 1] + 1] = mixin._lerp(None, frames[i], frames[i + 1], states[i][None], states[i + 1][None])
    return out


def run_one(parts, run):
    import diffusers

    guided = run["cfg_scale"] > 1
    keys = {0: run["prompt"], **run.get("prompt_at", {})}
    texts = [(keys[frame], run.get("clip_skip", 0)) for frame in sorted(keys)]
    states = encode(parts, texts + [(run["negative_prompt"], 0)] * guided)
    prompt, negative = states[:len(keys)], states[len(keys):]
    hooks = []
    if len(keys) > 1:
        shown = by_frame(prompt, sorted(keys), run["frames"])
        whole = torch.cat([negative.expand_as(shown), shown]) if guided else shown

        def replace(module, args, kwargs):
            if kwargs.get("encoder_hidden_states") is not None:
                kwargs["encoder_hidden_states"] = whole
            return args, kwargs

        hooks = [module.register_forward_pre_hook(replace, with_kwargs=True)
                 for name, module in parts["unet"].named_modules() if name.endswith("attn2")]
    pipe = diffusers.TextToVideoSDPipeline(scheduler=diffusers.DDIMScheduler.from_config(pipelines.SCHEDULER), **parts)
    pipe.set_progress_bar_config(disable=True)
    latents = pipe(
        prompt_embeds=prompt[:1], negative_prompt_embeds=negative if guided else None, num_inference_steps=run["steps"],
        guidance_scale=run["cfg_scale"], output_type="latent", height=run["height"], width=run["width"],
        num_frames=run["frames"], generator=torch.Generator("cpu").manual_seed(run["seed"])).frames
    for hook in hooks:
        hook.remove()
    if run["prompt"] == RUNS["brackets"]["prompt"]:  # the reference reads such a prompt as diffusers does
        plain = pipelines.run_one(parts, run)[1]
        assert torch.equal(plain, latents)
    return latents


@torch.no_grad()
def main(out_dir):
    import diffusers
    import transformers
    from transformers import CLIPTokenizer

    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    tokenizer = CLIPTokenizer.from_pretrained(os.environ["T2V_CLIP_TOKENIZER"], pad_token="!", model_max_length=77)
    parts = dict(lora.build(), tokenizer=tokenizer)
    outputs, runs = {}, {}
    for name, changes in RUNS.items():
        run = dict(RUN, **changes)
        outputs[f"{name}.latents"] = run_one(parts, run).contiguous()
        assert torch.isfinite(outputs[f"{name}.latents"]).all(), name
        if "prompt_at" in run:
            run["prompt_at"] = [[frame, text] for frame, text in run["prompt_at"].items()]
        runs[name] = run
        print(name, float(outputs[f"{name}.latents"].pow(2).mean().sqrt()))
    versions = dict(torch=torch.__version__, diffusers=diffusers.__version__, transformers=transformers.__version__)
    save_file(outputs, out_dir / "prompts.safetensors", metadata=versions)
    text = dict(
        versions=versions, scheduler=pipelines.SCHEDULER, runs=runs,
        parsed=[[prompt, parse(prompt), bool(is_weighted(prompt))] for prompt in PARSED],
        chunked=[[prompt, chunks(tokenizer, parse(prompt))] for prompt in CHUNKED])
    (out_dir / "prompts.json").write_text(json.dumps(text, separators=(",", ":"), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(__file__).parents[2] / "tests/golden/prompts")
