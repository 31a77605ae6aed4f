# SPDX-License-Identifier: Apache-2.0
"""Goldens of the samplers: diffusers schedulers driven through whole schedules.

The predictions and the first sample are rational patterns (see pattern()), which the C++ test makes
again, so a case stores only what came out: timesteps, noise levels, every state. `--full` writes
the whole product of settings instead of the covering sample that is kept in the tree; the test
reads it from the folder in T2V_SAMPLING_GOLDEN.
"""
import copy
import inspect
import itertools
import json
import logging
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

import diffusers
from safetensors.numpy import save_file

warnings.filterwarnings("ignore")
diffusers.utils.logging.set_verbosity(logging.CRITICAL)

SHAPE = (1, 4, 1, 1)
SEED = 7

# Keys every class is crossed over.
SPACINGS = [None, "leading", "linspace", "trailing"]
PREDICTIONS = ["epsilon", "v_prediction", "sample"]
BETAS = [("scaled_linear", 0.00085, 0.012), ("linear", 0.0001, 0.02),
         ("squaredcos_cap_v2", 0.0001, 0.02)]
GRIDS = [None, "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"]
STEPS = [1, 2, 5, 20]
ZERO_SNR = [False, True]

DISCRETE = ["DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "LCMScheduler", "TCDScheduler"]
EXPLODING = ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler",
             "LMSDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler"]
LOG_SNR = ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler"]
FLOW = ["FlowMatchEulerDiscreteScheduler"]

# One setting at a time on top of a covering case. "+name" is a run option, not a config key.
COMMON = [{}, {}, {"steps_offset": 1}, {"+strength": 0.6}, {"+strength": 0.35, "steps_offset": 1},
          {"num_train_timesteps": 100}, {"skip_prk_steps": True, "set_alpha_to_one": False, "clip_sample": False},
          {"sigma_min": 0.1, "sigma_max": 9.0},
          {"_use_default_values": ["timestep_spacing", "clip_sample", "beta_end"], "beta_end": 0.05}]
CLIP = [{"clip_sample": True, "clip_sample_range": 1.5}, {"clip_sample": False}]
OWN = {
    "DDPMScheduler": CLIP + [{"variance_type": v} for v in ("fixed_small", "fixed_small_log", "fixed_large")]
    + [{"beta_schedule": "sigmoid"}, {"beta_schedule": "laplace"}],
    "DDIMScheduler": CLIP + [{"+eta": 0.5}, {"+eta": 1.0, "set_alpha_to_one": False}, {"set_alpha_to_one": False}],
    "PNDMScheduler": [{"skip_prk_steps": True}, {"skip_prk_steps": True, "set_alpha_to_one": True},
                      {"skip_prk_steps": True, "+strength": 0.5}],
    "LCMScheduler": CLIP + [{"original_inference_steps": 20}, {"timestep_scaling": 1.0},
                            {"original_inference_steps": 100, "set_alpha_to_one": False}],
    "TCDScheduler": [{"+eta": 0.3}, {"+eta": 1.0}, {"+eta": 0.7, "original_inference_steps": 25}],
    "EulerDiscreteScheduler": [{"interpolation_type": "log_linear"}, {"timestep_type": "continuous"},
                               {"timestep_type": "continuous", "sigma_min": 0.002, "sigma_max": 700.0},
                               {"final_sigmas_type": "sigma_min"}],
    "EulerAncestralDiscreteScheduler": [],
    "HeunDiscreteScheduler": CLIP + [{"beta_schedule": "exp"}],
    "LMSDiscreteScheduler": [],
    "KDPM2DiscreteScheduler": [],
    "KDPM2AncestralDiscreteScheduler": [],
    "DPMSolverSDEScheduler": [],
    "DPMSolverMultistepScheduler": [
        dict(algorithm_type=a, solver_type=s, solver_order=o,
             final_sigmas_type="zero" if "++" in a and (o + len(s)) % 2 else "sigma_min")
        for a in ("dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver")
        for s in ("midpoint", "heun") for o in (1, 2, 3)]
    + [{"solver_order": 3, "lower_order_final": False}, {"euler_at_final": True, "final_sigmas_type": "sigma_min"},
       {"use_lu_lambdas": True}, {"lambda_min_clipped": -5.1}, {"solver_type": "bh2", "algorithm_type": "deis"},
       {"algorithm_type": "dpmsolver", "final_sigmas_type": "zero"}, {"solver_type": "logrho"},
       {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}],
    "UniPCMultistepScheduler": [
        # bh1 and noise prediction divide by the last step, which is endless when it ends at sigma 0.
        {"solver_order": o, "solver_type": s, "predict_x0": x,
         "final_sigmas_type": "zero" if x and s == "bh2" else "sigma_min"}
        for o in (1, 2, 3) for s in ("bh1", "bh2") for x in (True, False)]
    + [{"solver_order": 3, "lower_order_final": False}, {"disable_corrector": [0, 2]}, {"solver_type": "midpoint"},
       {"final_sigmas_type": "sigma_min"},
       {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 5.0},
       {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0, "solver_order": 3},
       {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "shift_terminal": 0.1, "flow_shift": 2.0}],
    "DEISMultistepScheduler": [{"solver_order": o} for o in (1, 2, 3)]
    + [{"solver_order": 3, "lower_order_final": False}, {"algorithm_type": "dpmsolver++", "solver_type": "midpoint"},
       {"algorithm_type": "sde-dpmsolver++"},
       {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}],
    "FlowMatchEulerDiscreteScheduler": [{"shift": s} for s in (1.0, 3.0, 5.0, 8.0)]
    + [{"shift": 3.0, "invert_sigmas": True}, {"stochastic_sampling": True, "shift": 2.0}, {"shift_terminal": 0.1, "shift": 3.0},
       {"use_dynamic_shifting": True, "+image_seq_len": 1024},
       {"use_dynamic_shifting": True, "time_shift_type": "linear", "+image_seq_len": 4000},
       {"use_dynamic_shifting": True}, {"num_train_timesteps": 100, "shift": 3.0}],
}


def pattern(count, salt):
    """Values in [-1, 1] that any language makes exactly: multiples of 1/50."""
    return np.array([((salt * 1009 + j * 37) * 71 % 101 - 50) / 50 for j in range(count)], dtype=np.float64)


def tensor(salt):
    return torch.tensor(pattern(int(np.prod(SHAPE)), salt), dtype=torch.float32).reshape(SHAPE)


def run(name, config, options):
    """One whole run the way the image- and video-to-video pipelines drive a scheduler."""
    cls = getattr(diffusers, name)
    scheduler = cls.from_config(dict(config))
    kwargs = {}
    if "image_seq_len" in options:
        length = options["image_seq_len"]
        slope = (1.15 - 0.5) / (4096 - 256)
        kwargs["mu"] = length * slope + (0.5 - slope * 256)
    steps = options["steps"]
    scheduler.set_timesteps(steps, device="cpu", **kwargs)
    start = max(steps - min(int(steps * options.get("strength", 1.0)), steps), 0)
    begin = start * scheduler.order
    timesteps = scheduler.timesteps[begin:]
    if len(timesteps) == 0:
        raise ValueError("nothing left to run")

    levels = []
    for n, t in enumerate(timesteps):
        probe = copy.deepcopy(scheduler)
        if hasattr(probe, "set_begin_index"):
            probe.set_begin_index(begin + n)
        noisy = getattr(probe, "add_noise", None) or probe.scale_noise
        zeros, ones = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        arguments = (zeros, t.reshape(1), ones) if noisy.__name__ == "scale_noise" else (zeros, ones, t.reshape(1))
        levels.append(float(noisy(*arguments).flatten()[0]))

    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    generator = torch.Generator("cpu").manual_seed(SEED)
    extra = {}
    parameters = inspect.signature(scheduler.step).parameters
    if "generator" in parameters:
        extra["generator"] = generator
    if "eta" in parameters:
        extra["eta"] = options.get("eta", 0.0)
    init = float(getattr(scheduler, "init_noise_sigma", 1.0))
    sample = tensor(0) * init
    states, scaled = [], []
    for n, t in enumerate(timesteps):
        given = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
        scaled.append(float(given.flatten()[n % 4]))
        sample = scheduler.step(tensor(n + 1), t, sample, **extra).prev_sample
        states.append(sample.flatten().tolist())
    flat = [init, *[float(t) for t in timesteps], *levels, *scaled, *itertools.chain(*states)]
    return len(timesteps), flat


class BrownianPath:
    """What our dpmpp_sde draws (see Note: [Noise of dpmpp_sde]), in place of the torchsde tree."""

    def __init__(self, *args, **kwargs):
        self.generator = torch.Generator("cpu").manual_seed(SEED)
        self.first = None

    def __call__(self, sigma, sigma_next):
        fresh = torch.randn(SHAPE, generator=self.generator)
        if self.first is None:
            self.first = (fresh, float(sigma), float(sigma_next))
            return fresh
        first, begin, middle = self.first
        self.first = None
        end = float(sigma_next)
        return first * ((begin - middle) / (begin - end)) ** 0.5 + fresh * ((middle - end) / (begin - end)) ** 0.5


def settings(name):
    """Every (config, options) of the product, before the own settings of the class."""
    grids = [None] if name in DISCRETE + ["EulerAncestralDiscreteScheduler"] else GRIDS
    spacings = [None] if name in ["LCMScheduler", "TCDScheduler"] + FLOW else SPACINGS
    for spacing, prediction, beta, grid, steps, zero in itertools.product(
            spacings, PREDICTIONS, BETAS, grids, STEPS, ZERO_SNR):
        config = {"prediction_type": prediction, "beta_schedule": beta[0], "beta_start": beta[1], "beta_end": beta[2]}
        if name in FLOW:
            config = {}
        if spacing:
            config["timestep_spacing"] = spacing
        if grid:
            config[grid] = True
        if zero:
            config["rescale_betas_zero_snr"] = True
        yield config, {"steps": steps}


def with_own(case, own):
    config, options = dict(case[0]), dict(case[1])
    for key, value in own.items():
        if key.startswith("+"):
            options[key[1:]] = value
        else:
            config[key] = value
    return config, options


def cases(full):
    draw = random.Random(20)
    for name in DISCRETE + EXPLODING + LOG_SNR + FLOW:
        if not hasattr(diffusers, name):
            continue
        product = list(settings(name))
        if full:
            for case in product:
                yield name, *case
            chosen = OWN[name] * 12 + COMMON * 12
        else:
            for case in draw.sample(product, min(len(product), 14)):
                yield name, *case
            chosen = OWN[name] * 2 + COMMON
        for own in chosen:
            yield name, *with_own(draw.choice(product), own)


def counts():
    """How many timesteps each spacing gives for every number of steps, as sums that any difference changes."""
    result = {}
    for name in ("DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"):
        for spacing in ("leading", "linspace", "trailing"):
            scheduler = getattr(diffusers, name)(timestep_spacing=spacing)
            rows = []
            for steps in range(1, 1001):
                try:
                    scheduler.set_timesteps(steps)
                    t = scheduler.timesteps.double()
                    weights = torch.arange(1, len(t) + 1, dtype=torch.float64)
                    rows.append([len(t), float((t * weights).sum())])
                except Exception:  # noqa: BLE001
                    rows.append([0, 0.0])
            odd = {str(n + 1): row for n, row in enumerate(rows) if row[0] != n + 1}
            checks = [sum(row[1] for row in rows[n:n + 50]) for n in range(0, 1000, 50)]
            result[f"{name}/{spacing}"] = {"unexpected": odd, "sums_of_50": checks}
    return result


def main(out_dir, full=False):
    torch.set_num_threads(1)
    import diffusers.schedulers.scheduling_dpmsolver_sde as sde
    sde.BrownianTreeNoiseSampler = BrownianPath
    index, values = [], []
    for name, config, options in cases(full):
        entry = {"class": name, "config": config, "options": options}
        try:
            calls, flat = run(name, config, options)
            entry["calls"] = calls
            if not np.all(np.isfinite(flat)):
                entry["nonfinite"] = True
            else:
                entry["at"] = len(values)
                values.extend(flat)
        except Exception as error:  # noqa: BLE001
            entry["refused"] = type(error).__name__
        index.append(entry)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    versions = {"diffusers": diffusers.__version__, "torch": torch.__version__, "numpy": np.__version__}
    with open(out / "cases.json", "w", encoding="utf-8") as file:
        file.write('{"versions": ' + json.dumps(versions) + ',\n"counts": ' + json.dumps(counts()) + ',\n"cases": [\n')
        file.write(",\n".join(json.dumps(entry, separators=(",", ":")) for entry in index) + "\n]}\n")
    save_file({"values": np.array(values, dtype=np.float32)}, str(out / "values.safetensors"), metadata=versions)
    for file in out.iterdir():
        file.chmod(0o644)
    print(len(index), "cases,", sum("refused" in e for e in index), "refused,", len(values), "values")


if __name__ == "__main__":
    main(sys.argv[1], full="--full" in sys.argv)
