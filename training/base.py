"""The served GGUF file as a PyTorch model, so that the adapter fits the weights it will meet."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from tree import pack


def load(gguf, dtype, device):
    gguf = Path(gguf)
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=dtype, quantization_config=GgufConfig(dequantize=True)
    )
    model.requires_grad_(False)
    return model.to(device).eval(), tokenizer


class Layers:
    """A range of the model's layers on a pack's hidden states."""

    def __init__(self, model):
        self.model = model

    def embed(self, one):
        return self.model.embed_tokens(one.tokens.to(self.device))[None]

    def run(self, hidden, one, first, last):
        positions = one.positions.to(self.device)[None]
        hidden_from = ~one.mask.to(self.device)[None, None]
        mask = torch.zeros_like(hidden_from, dtype=hidden.dtype).masked_fill(hidden_from, -torch.inf)
        rotary = self.model.rotary_emb(hidden, positions)
        for layer in self.model.layers[first:last]:
            hidden = layer(
                hidden,
                attention_mask=mask,
                position_ids=positions,
                position_embeddings=rotary,
            )
        return hidden

    @property
    def device(self):
        return self.model.embed_tokens.weight.device

    @torch.no_grad()
    def remember(self, rubric, groups, packs, depth, tick):
        """What layer `depth` is given for each token, on the CPU: it never changes in training."""
        states = {}
        for chosen in packs:
            one = pack(rubric, chosen)
            hidden = self.run(self.embed(one), one, 0, depth)[0]
            states.setdefault("rubric", hidden[: len(rubric)].to("cpu", copy=True))
            for group, start, end in one.spans:
                states[id(group)] = hidden[start:end].to("cpu", copy=True)
            tick(len(one.tokens))
        return states
