#!/usr/bin/env python3
"""Averages adapters weight by weight: what two passes have learned of opposite errors evens out.

    .venv/bin/python training/average.py target/third target/fourth --out target/adapter

The adapters are PEFT folders of the same shape, each of which went on from the one before; adapters
that began apart have nothing to average. Convert the result with `judged convert-adapter OUT`.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# What weights are multiplied by: the mean gets one of it.
SCALING = "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern"


def average(folders, out):
    if out.resolve() in [folder.resolve() for folder in folders]:
        raise ValueError(f"{out} is an adapter that is averaged, and would be lost")
    scalings = [scaling(folder) for folder in folders]
    for folder, found in zip(folders, scalings):
        for name in SCALING:
            if found[name] != scalings[0][name]:
                raise ValueError(f"{folder} has another {name} than {folders[0]}")
    adapters = [load_file(folder / WEIGHTS) for folder in folders]
    first = {name: tensor.shape for name, tensor in adapters[0].items()}
    for folder, adapter in zip(folders, adapters):
        if {name: tensor.shape for name, tensor in adapter.items()} != first:
            raise ValueError(f"{folder} has other tensors than {folders[0]}")
    mean = {
        name: torch.stack([adapter[name].float() for adapter in adapters]).mean(0)
        for name in first
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(mean, out / WEIGHTS)
    shutil.copy(folders[0] / CONFIG, out / CONFIG)


def scaling(folder):
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    # What is absent, null, false or empty is off.
    return {name: config.get(name) or None for name in SCALING}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    options = parser.parse_args()
    try:
        average(options.folders, options.out)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
