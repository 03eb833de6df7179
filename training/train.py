#!/usr/bin/env python3
"""Trains the Tenacious judge's LoRA adapter, on CPU or GPU, and writes a PEFT folder.

    .venv/bin/python training/train.py --data training/data --data BENCH/train.jsonl \\
        --dev BENCH/dev.jsonl --base target/model.gguf --out target/adapter

A run that was ended goes on where its last checkpoint stands. Loss and dev measures are logged to
OUT/log.jsonl. Convert the result with `judged convert-adapter OUT`.
"""

import argparse
import hashlib
import json
import math
import os
import random
import time
import tomllib
from collections import defaultdict
from pathlib import Path

# Waiting threads should sleep: a spinning one takes a core from what else runs here.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from tqdm import tqdm

import adapter
import cases as data
from base import Layers, load
from prompt import Prompt
from tree import fill, grow, pack

ROOT = Path(__file__).resolve().parent.parent
KINDS = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
TYPES = {str(dtype): dtype for dtype in (torch.float32, torch.bfloat16)}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", action="append", required=True, metavar="PATH", help="labelled cases or pairs: a file or folder; PATH:0.3 takes three in ten of its contexts; may be given again")
    add("--dev", action="append", default=[], metavar="PATH", help="cases to measure after each epoch, never trained on")
    add("--base", required=True, metavar="GGUF", help="the base that is served")
    add("--bundle", default=str(ROOT / "models/tenacious-judge.toml"), metavar="MANIFEST", help="the bundle whose template renders the prompts")
    add("--out", required=True, metavar="FOLDER")
    add("--start", metavar="PATH", help="the adapter to begin with: a PEFT folder or a GGUF file, of the same shape and alpha")
    add("--layers", default="14-27", metavar="FIRST-LAST", help="layers with an adapter")
    add("--kinds", default=KINDS, help="linear kinds with an adapter")
    add("--rank", type=int, default=16)
    add("--alpha", type=int, default=32)
    add("--dropout", type=float, default=0.0)
    add("--rate", type=float, default=5e-4, help="highest learning rate; warm-up, then cosine")
    add("--epochs", type=int, default=2)
    add("--batch-tokens", type=int, default=1600, help="tokens of one optimizer step")
    add("--pack-tokens", type=int, default=1600, help="tokens of one forward pass")
    add("--rationale-weight", type=float, default=0.4, help="of the rationale's loss, beside the label's")
    add("--seed", type=int, default=3407)
    add("--threads", type=int, default=0, help="of the CPU; 0 means PyTorch's own choice")
    add("--checkpoint-steps", type=int, default=20)
    add("--max-cases", type=int, default=0, help="train on so many cases only, for a trial")
    args = parser.parse_args()  # fmt: skip
    args.first, args.last = (int(part) for part in args.layers.split("-"))
    return args


class Trainer:
    def __init__(self, args):
        self.args = args
        template = template_of(Path(args.bundle))
        self.out = Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if args.threads:
            torch.set_num_threads(args.threads)
        torch.manual_seed(args.seed)
        self.dtype = self.kept_type() or (torch.bfloat16 if self.device == "cuda" else faster_on_cpu())
        model, self.tokenizer = load(args.base, self.dtype, self.device)
        self.prompt = Prompt(template, self.tokenizer)
        self.first_tokens = [self.prompt.text(label)[0] for label in data.LABELS]
        self.end = self.prompt.control["<|im_end|>"]

        train = data.read(args.data)
        if args.max_cases:
            train = random.Random(args.seed).sample(train, args.max_cases)
        dev = data.read(args.dev) if args.dev else []
        shared = {case.context for case in train} & {case.context for case in dev}
        if shared:
            named = next(case.id for case in dev if case.context in shared)
            raise SystemExit(f"error: the context of the dev case `{named}` stands in the training data too")
        self.rubric, self.groups = grow([self.encode(case) for case in train + dev])
        dev = set(dev)
        self.dev = [group for group in self.groups if group.leaves[0].case in dev]
        self.train = [group for group in self.groups if group.leaves[0].case not in dev]

        self.layers = Layers(model.model)
        self.states = self.lower_half()
        self.model = get_peft_model(model, LoraConfig(
            r=args.rank, lora_alpha=args.alpha, lora_dropout=args.dropout, task_type="CAUSAL_LM",
            target_modules=args.kinds.split(","), layers_to_transform=list(range(args.first, args.last + 1)),
        ))  # fmt: skip
        for module in self.model.modules():
            if isinstance(module, LoraLayer):
                module.cast_input_dtype_enabled = False  # autocast does it, without two copies
        if args.start:
            adapter.put(self.model, args.start, args.alpha)
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.01)
        self.plan = [step for epoch in range(args.epochs) for step in self.epoch(epoch)]
        self.done = 0

    def kept_type(self):
        """The number type of the run that goes on: what is faster may be another by now."""
        checkpoint, lower = (glimpse(self.out / name) for name in ("checkpoint.pt", "lower.pt"))
        # It stands in the lower layers' names too; earlier checkpoints do not tell it.
        words = [checkpoint.get("dtype"), *(word for name in lower for word in name.split())]
        return next((TYPES[word] for word in words if word in TYPES), None)

    def encode(self, case):
        label = self.prompt.text(case.label + "\n")
        answer = self.prompt.text(f"{case.label}\n{case.rationale}")
        assert answer[: len(label)] == label, case
        return case, self.prompt.render(case), [*answer, self.end]

    def digest(self, groups):
        """Of all that is read: another template, base or case is another run."""
        tokens = [self.rubric] + [[group.tokens] + [leaf.tokens for leaf in group.leaves] for group in groups]
        base = Path(self.args.base).stat()
        return hashlib.sha256(repr((tokens, base.st_size, base.st_mtime_ns)).encode()).hexdigest()

    def lower_half(self):
        """From disk, as far as an earlier run has left it: cases can be added to a folder's data."""
        kept = self.out / "lower.pt"
        saved = torch.load(kept, map_location="cpu") if kept.exists() else {}
        of = f"{self.args.first} {self.dtype}"
        names = {id(group): f"{of} {self.digest([group])}" for group in self.groups}
        missing = [group for group in self.groups if names[id(group)] not in saved]
        rubric = f"{of} {self.digest([])}"  # another one is in every name
        if missing:
            packs = fill(self.rubric, missing, self.args.pack_tokens)
            total = sum(len(group) for chosen in packs for group in chosen) + len(packs) * len(self.rubric)
            with tqdm(total=total, unit="token", desc="lower layers") as bar:
                states = self.layers.remember(self.rubric, missing, packs, self.args.first, bar.update)
            saved |= {rubric: states["rubric"]} | {names[id(group)]: states[id(group)] for group in missing}
            saved = {name: saved[name] for name in [rubric, *names.values()]}
            save(saved, kept)
        return {"rubric": saved[rubric]} | {key: saved[name] for key, name in names.items()}

    def epoch(self, number):
        """Optimizer steps, each some packs of groups; the order is the seed's."""
        groups = list(self.train)
        random.Random(self.args.seed * 1000 + number).shuffle(groups)
        packs = fill(self.rubric, groups, self.args.pack_tokens)
        size = max(1, round(self.args.batch_tokens / self.args.pack_tokens))
        steps = [packs[i : i + size] for i in range(0, len(packs), size)]
        return [(number, step) for step in steps]

    def upper_half(self, chosen):
        one = pack(self.rubric, chosen)
        below = [self.states["rubric"], *(self.states[id(group)] for group in chosen)]
        hidden = torch.cat(below)[None].to(self.device)
        hidden = self.layers.run(hidden, one, self.args.first, None)
        return one, self.model.get_base_model().model.norm(hidden)[0]

    def logits(self, hidden):
        return self.model.get_base_model().lm_head(hidden).float()

    def losses(self, chosen):
        """The summed losses of labels and rationales of some groups' cases, and the hits."""
        one, hidden = self.upper_half(chosen)
        rows, targets, weights, firsts = [], [], [], []
        for leaf, start in one.starts:
            at = start + leaf.answer - 1  # the prompt's last token gives the label
            label = self.prompt.text(leaf.case.label + "\n")
            firsts.append(len(rows))
            rows.append(at)
            targets.append(leaf.tokens[leaf.answer])
            weights.append(0.0)
            # The rest of the label and the line end are forced: nothing to learn.
            sentence = range(len(label), len(leaf.tokens) - leaf.answer)
            for i in sentence:
                rows.append(at + i)
                targets.append(leaf.tokens[leaf.answer + i])
                weights.append(1 / len(sentence))
        targets = torch.tensor(targets, device=self.device)
        logits = self.logits(hidden[torch.tensor(rows, device=self.device)])
        each = F.cross_entropy(logits, targets, reduction="none")
        rationale = (each * torch.tensor(weights, device=self.device)).sum()
        label = each[firsts].sum()
        return label, rationale, self.answers(one, logits[firsts].detach())

    def answers(self, one, rows):
        best = rows[:, self.first_tokens].argmax(-1).tolist()
        return [(leaf.case, data.LABELS[index]) for (leaf, _), index in zip(one.starts, best)]

    def rate(self, step):
        warm = max(1, len(self.plan) // 20)
        if step < warm:
            return self.args.rate * (step + 1) / warm
        along = (step - warm) / max(1, len(self.plan) - warm)
        return self.args.rate * (0.05 + 0.95 * (1 + math.cos(math.pi * along)) / 2)

    def autocast(self):
        return torch.autocast(self.device, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def run(self):
        self.resume()
        log = (self.out / "log.jsonl").open("a", buffering=1)
        bar = tqdm(total=len(self.plan), initial=self.done, unit="step")
        while self.done < len(self.plan):
            epoch, packs = self.plan[self.done]
            started = time.monotonic()
            torch.manual_seed(self.args.seed + self.done)
            self.model.train()
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(self.done)
            count = sum(len(group.leaves) for chosen in packs for group in chosen)
            label_sum = rationale_sum = hits = 0
            for chosen in packs:
                with self.autocast():
                    label, rationale, answers = self.losses(chosen)
                    loss = (label + self.args.rationale_weight * rationale) / count
                loss.backward()
                label_sum += label.item()
                rationale_sum += rationale.item()
                hits += sum(case.label == answer for case, answer in answers)
            norm = torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.done += 1
            line = {
                "step": self.done, "epoch": epoch, "cases": count, "label_loss": round(label_sum / count, 4),
                "rationale_loss": round(rationale_sum / count, 4), "exact": round(hits / count, 3),
                "norm": round(norm.item(), 3), "seconds": round(time.monotonic() - started, 2),
            }  # fmt: skip
            log.write(json.dumps(line) + "\n")
            bar.set_postfix(label=line["label_loss"], rationale=line["rationale_loss"])
            bar.update()
            ends_epoch = self.done == len(self.plan) or self.plan[self.done][0] != epoch
            if self.dev and ends_epoch:
                log.write(json.dumps({"step": self.done, "dev": self.measure()}) + "\n")
            if ends_epoch:
                self.model.save_pretrained(self.out / f"epoch-{epoch + 1}")
            if ends_epoch or self.done % self.args.checkpoint_steps == 0:
                self.checkpoint()
        self.model.save_pretrained(self.out)

    @torch.no_grad()
    def measure(self):
        """Caught, false positives and exact label on dev."""
        self.model.eval()
        answers, loss = [], 0.0
        for chosen in fill(self.rubric, self.dev, self.args.pack_tokens):
            with self.autocast():
                label, _, found = self.losses(chosen)
            answers += found
            loss += label.item()
        probes, wrong = defaultdict(lambda: [0, 0]), []
        for case, answer in answers:
            probes[case.probe][0] += case.label == answer
            probes[case.probe][1] += 1
            if case.label != answer:
                wrong.append(f"{case.id}: {case.label} -> {answer}")
        bad = [answer for case, answer in answers if case.label != "PASS"]
        good = [answer for case, answer in answers if case.label == "PASS"]
        return {
            "label_loss": round(loss / len(answers), 4),
            "caught": f"{sum(answer != 'PASS' for answer in bad)}/{len(bad)}",
            "false_positives": f"{sum(answer != 'PASS' for answer in good)}/{len(good)}",
            "exact": f"{sum(case.label == answer for case, answer in answers)}/{len(answers)}",
            "probes": {probe: "/".join(map(str, counts)) for probe, counts in sorted(probes.items())},
            "wrong": wrong,
        }  # fmt: skip

    def checkpoint(self):
        save({
            "settings": self.settings(), "dtype": str(self.dtype), "done": self.done,
            "optimizer": self.optimizer.state_dict(), "adapter": get_peft_model_state_dict(self.model),
        }, self.out / "checkpoint.pt")  # fmt: skip

    def resume(self):
        kept = self.out / "checkpoint.pt"
        if not kept.exists():
            return
        saved = torch.load(kept, map_location=self.device)
        if saved["settings"] != self.settings():
            raise SystemExit(f"error: `{kept}` is of a run with other settings: name another --out, or delete it")
        set_peft_model_state_dict(self.model, saved["adapter"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.done = saved["done"]
        print(f"going on after step {self.done} of {len(self.plan)}")

    def settings(self):
        free = {"out", "threads", "checkpoint_steps", "dev", "data", "bundle", "base"}
        settings = {name: value for name, value in vars(self.args).items() if name not in free}
        return settings | {"steps": len(self.plan), "read": self.digest(self.train)}


def template_of(bundle):
    """Of a manifest whose contexts are written as `cases` writes them."""
    prompt = tomllib.loads(bundle.read_text("utf-8"))["prompt"]
    if prompt["context"] != "compact":
        raise SystemExit(f"error: `{bundle}` has the context {prompt['context']}, and the training writes it compact only")
    return (bundle.parent / prompt["template"]).read_text("utf-8")


def faster_on_cpu():
    """A CPU without instructions for bfloat16 multiplies it at an eighth of float32's speed."""

    def seconds(dtype):
        some, weights = torch.ones(512, 1536, dtype=dtype), torch.ones(1536, 1536, dtype=dtype)
        started = time.monotonic()
        F.linear(some, weights)
        return time.monotonic() - started

    return min([torch.float32, torch.bfloat16], key=lambda dtype: min(seconds(dtype) for _ in range(3)))


def glimpse(path):
    """What is saved there, with its tensors left on the disk."""
    return torch.load(path, map_location="cpu", mmap=True) if path.exists() else {}


def save(what, path):
    """In one step: a run that is ended meanwhile leaves what was there."""
    part = path.with_suffix(".part")
    torch.save(what, part)
    part.replace(path)


if __name__ == "__main__":
    Trainer(arguments()).run()
