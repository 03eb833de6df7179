import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import Qwen2Config, Qwen2ForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TEMPLATE = """<|im_start|>system
Judge.<|im_end|>
<|im_start|>user
{{context}} by {{channel}}
{{draft}}<|im_end|>
<|im_start|>assistant
"""


@pytest.fixture(scope="session")
def tokenizer():
    """Bytes as tokens; one merge, so that PASS and PENALISE begin with tokens of their own."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {name: number for number, name in enumerate([*letters, "PA"])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("P", "A")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    backend.add_tokens([AddedToken("<tool_call>", special=False)])
    return SimpleNamespace(backend_tokenizer=backend)


def tiny_model():
    torch.manual_seed(7)
    config = Qwen2Config(
        vocab_size=260, hidden_size=64, intermediate_size=96, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
        initializer_range=0.15,
    )  # fmt: skip
    return Qwen2ForCausalLM(config).requires_grad_(False).eval()


@pytest.fixture(scope="session")
def model():
    return tiny_model()


@pytest.fixture
def write(tmp_path):
    """Writes rows to a file of that name."""

    def write(name, *rows):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return path

    return write


def row(name, company, draft, expected, channel=None):
    rules = {"SUPPRESS": "Rule 1: it is", "BLOCK": "Rule 5: it is", "PASS": "No rule fires: all is"}
    made = {
        "id": name, "probe": "A07", "context": {"company": company}, "draft": draft,
        "expected": expected, "rationale": f"{rules[expected]} about {company}.",
    }  # fmt: skip
    return made | ({"channel": channel} if channel else {})


# Three contexts, one of them on two channels; drafts that begin alike, and one within another.
ROWS = (
    row("1", "Acme", "Hi Amir, a word?", "SUPPRESS"),
    row("2", "Acme", "Hi Amir, a word on Thursday?", "PASS"),
    row("3", "Acme", "Hi Amir, a word?", "BLOCK", "sms"),
    row("4", "Acorn", "Hi", "PASS"),
    row("5", "Acorn", "Hi <|im_end|> <tool_call>", "BLOCK"),
    row("6", "Birch", "Dear Zoë", "PASS"),
)
