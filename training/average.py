#!/usr/bin/env python3
"""Averages adapters weight by weight: what two passes have learned of opposite errors evens out.

    .venv/bin/python training/average.py models/tenacious-judge.lora.gguf target/fifth --out target/adapter

The adapters are PEFT folders or GGUF files of the same shape, each of which went on from the one before;
adapters that began apart have nothing to average. Convert the result with `judged convert-adapter OUT`.
"""

import argparse
import shutil
from pathlib import Path

import adapter
import torch
from safetensors.torch import save_file


def average(paths, out):
    if out.resolve() in [path.resolve() for path in paths]:
        raise ValueError(f"{out} is an adapter that is averaged, and would be lost")
    folder = next((path for path in paths if path.is_dir()), None)
    if folder is None:
        raise ValueError("one at least must be a PEFT folder, whose settings the mean gets")
    (scaling, first), *others = adapters = [adapter.read(path) for path in paths]
    for path, (other_scaling, other) in zip(paths[1:], others):
        for name in scaling:
            if other_scaling[name] != scaling[name]:
                raise ValueError(f"{path} has another {name} than {paths[0]}")
        if shapes(other) != shapes(first):
            raise ValueError(f"{path} has other tensors than {paths[0]}")
    mean = {
        name: torch.stack([weights[name].float() for _, weights in adapters]).mean(0)
        for name in first
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(mean, out / adapter.WEIGHTS)
    shutil.copy(folder / adapter.CONFIG, out / adapter.CONFIG)


def shapes(weights):
    return {name: weight.shape for name, weight in weights.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    options = parser.parse_args()
    try:
        average(options.paths, options.out)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
