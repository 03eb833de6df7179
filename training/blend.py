#!/usr/bin/env python3
"""Blends two adapters of one shape, the second trained on from the first: weight by weight, so much of
the second and the rest of the first. What training on has unlearned comes back, and most of what it has
learned stays (Wortsman et al., Robust fine-tuning of zero-shot models, 2022).

    .venv/bin/python training/blend.py --first models/tenacious-judge.lora.gguf --second target/adapter \\
        --share 0.65 --out target/blend
"""

import argparse
import shutil
from pathlib import Path

import adapter
from safetensors.torch import save_file


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--first", required=True, metavar="PATH", help="a PEFT folder or a GGUF file")
    add("--second", required=True, metavar="FOLDER", help="a PEFT folder, whose settings the blend gets")
    add("--share", type=float, default=0.65, help="of the second, from 0 to 1")
    add("--out", required=True, metavar="FOLDER")
    args = parser.parse_args()
    if not 0 <= args.share <= 1:
        parser.error(f"--share is {args.share}, not from 0 to 1")
    first, second = adapter.read(args.first), adapter.read(args.second)
    shapes = [{name: weight.shape for name, weight in each.items()} for each in (first, second)]
    if shapes[0] != shapes[1]:
        parser.error(f"`{args.first}` and `{args.second}` have other layers, kinds or ranks")
    blend = {
        name: (args.share * second[name].float() + (1 - args.share) * first[name].float()).contiguous()
        for name in first
    }
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(args.second) / "adapter_config.json", out)
    save_file(blend, out / "adapter_model.safetensors")
    print(f"{len(blend)} tensors in {out}")


if __name__ == "__main__":
    main()
