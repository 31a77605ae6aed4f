# SPDX-License-Identifier: Apache-2.0
"""Goldens of runs with LoRAs: the tiny checkpoint of golden/pipelines, changed by PEFT, run by diffusers.

The tensors of the LoRAs come from the formula, by a name that no trainer gives ("lora.LABEL.MODULE.down"), so that the
tests can write the same LoRA in every trainer's naming. One file is written by diffusers itself. Needs peft beside the
packages of scripts/versions.sh.
"""
import json
import pathlib
import shutil
import tempfile

import torch
from safetensors.torch import save_file

from . import formula_weights as formula
from . import pipelines

RUN = dict(pipelines.BASE, steps=4, cfg_scale=5.0, frames=3, width=64, height=48)

UNET_ATTENTION = [
    f"{block}.{kind}.0.transformer_blocks.0.{attention}.{projection}"
    for block in ("down_blocks.0", "mid_block", "up_blocks.1")
    for kind in ("attentions", "temp_attentions")
    for attention in ("attn1", "attn2")
    for projection in ("to_q", "to_k", "to_v", "to_out.0")]
UNET_OTHER = [
    "conv_in", "conv_out", "time_embedding.linear_1", "transformer_in.proj_in", "down_blocks.0.resnets.0.conv1",
    "down_blocks.0.resnets.0.time_emb_proj", "down_blocks.0.downsamplers.0.conv", "down_blocks.1.resnets.0.conv_shortcut",
    "down_blocks.0.temp_convs.0.conv1.2", "mid_block.temp_convs.1.conv4.3", "mid_block.attentions.0.proj_in",
    "up_blocks.0.upsamplers.0.conv", "up_blocks.1.attentions.1.transformer_blocks.0.ff.net.0.proj",
    "up_blocks.1.attentions.1.transformer_blocks.0.ff.net.2"]
TEXT = [f"encoder.layers.{i}.{module}" for i in (0, 2) for module in (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")]

# label -> what it changes; alpha None: the file names none, and the scale is 1.
LORAS = {
    "attention": dict(unet=UNET_ATTENTION, text_encoder=[], rank=4, alpha=None),
    "whole": dict(unet=UNET_ATTENTION + UNET_OTHER, text_encoder=TEXT, rank=3, alpha=2.0),
}
# run -> LoRAs with their weights
CASES = {
    "attention": [("attention", 0.8)],
    "whole": [("whole", 1.0)],
    "two": [("attention", 0.7), ("whole", -0.4)],
}
SAVED = dict(rank=2, alpha=5, targets=["attn2.to_k", "attn1.to_v"])


def shapes(weight, rank):
    return [rank, *weight.shape[1:]], [weight.shape[0], rank, *[1] * (weight.dim() - 2)]


def add(net, label, component, modules, rank, alpha, weight):
    """Adds the adapter with PEFT and fills it from the formula."""
    import peft

    config = peft.LoraConfig(r=rank, lora_alpha=(alpha or rank) * weight, target_modules=modules, init_lora_weights=False)
    peft.inject_adapter_in_model(config, net, adapter_name=f"{label}")
    described = []
    for name in modules:
        layer = net.get_submodule(name)
        down, up = shapes(layer.base_layer.weight, rank)
        for part, shape, target in (("down", down, layer.lora_A), ("up", up, layer.lora_B)):
            value = torch.from_numpy(formula.weight(f"lora.{label}.{component}.{name}.{part}", shape))
            target[label].weight.copy_(value.reshape(target[label].weight.shape))
        described.append(dict(component=component, module=name, down=down, up=up))
    return described


def activate(net, labels):
    for module in net.modules():
        if hasattr(module, "set_adapter") and hasattr(module, "lora_A"):
            module.set_adapter([label for label in labels if label in module.lora_A])


def build():
    from diffusers import AutoencoderKL, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    nets = dict(
        unet=UNet3DConditionModel(**pipelines.UNET).eval(), vae=AutoencoderKL(**pipelines.VAE).eval(),
        text_encoder=CLIPTextModel(CLIPTextConfig(**pipelines.TEXT)).eval())
    for net in nets.values():
        formula.fill(net)
    return nets


def run(nets):
    import os

    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(os.environ["T2V_CLIP_TOKENIZER"], pad_token="!", model_max_length=77)
    _, latents, _ = pipelines.run_one(dict(nets, tokenizer=tokenizer), RUN)
    assert torch.isfinite(latents).all()
    return latents.contiguous()


def saved_by_diffusers(out_dir):
    """A file as save_lora_weights() of a pipeline writes it, with its alpha in the metadata."""
    import peft
    from diffusers import StableDiffusionPipeline

    nets = build()
    config = peft.LoraConfig(r=SAVED["rank"], lora_alpha=SAVED["alpha"], target_modules=SAVED["targets"],
                             init_lora_weights=False)
    peft.inject_adapter_in_model(config, nets["unet"])
    for name, parameter in nets["unet"].named_parameters():
        if ".lora_" in name:
            parameter.copy_(torch.from_numpy(formula.weight(name, tuple(parameter.shape))))
    config.target_modules = sorted(config.target_modules)
    with tempfile.TemporaryDirectory() as folder:
        StableDiffusionPipeline.save_lora_weights(
            folder, unet_lora_layers=peft.get_peft_model_state_dict(nets["unet"]),
            unet_lora_adapter_metadata=config.to_dict())
        shutil.copy(pathlib.Path(folder) / "pytorch_lora_weights.safetensors", out_dir / "saved.safetensors")
    return run(nets)


@torch.no_grad()
def main(out_dir):
    import diffusers
    import peft
    import transformers

    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    outputs, described = {"plain": run(build())}, {}
    for case, parts in CASES.items():
        nets = build()
        for label, weight in parts:
            spec = LORAS[label]
            modules = []
            for component in ("unet", "text_encoder"):
                if spec[component]:
                    modules += add(nets[component], label, component, spec[component], spec["rank"], spec["alpha"], weight)
            described[label] = dict(rank=spec["rank"], alpha=spec["alpha"], modules=modules)
        for component in ("unet", "text_encoder"):
            activate(nets[component], [label for label, _ in parts])
        outputs[case] = run(nets)
        print(f"{case}: differs from plain by {(outputs[case] - outputs['plain']).norm() / outputs['plain'].norm():.3f}")
    outputs["saved"] = saved_by_diffusers(out_dir)
    versions = dict(torch=torch.__version__, diffusers=diffusers.__version__, transformers=transformers.__version__,
                    peft=peft.__version__)
    save_file(outputs, out_dir / "lora.safetensors", metadata=versions)
    text = dict(versions=versions, run=dict(RUN, scheduler=pipelines.SCHEDULER), loras=described, cases=CASES)
    (out_dir / "lora.json").write_text(json.dumps(text, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(__file__).parents[2] / "tests/golden/lora")
