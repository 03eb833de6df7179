#!/usr/bin/env python3
"""Prints the prompt of each case as the training renders it: one JSON list of token ids a line.

Usage: render.py BASE.gguf TEMPLATE PATH…
"""

import json
import sys
from pathlib import Path

from transformers import AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training"))

import cases
from prompt import Prompt

base, template, *paths = map(Path, sys.argv[1:])
tokenizer = AutoTokenizer.from_pretrained(str(base.parent), gguf_file=base.name)
prompt = Prompt(template.read_text("utf-8"), tokenizer)
for case in cases.read(paths):
    print(json.dumps([case.id, prompt.render(case)]))
