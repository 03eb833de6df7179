"""The weights of an adapter to begin with: a PEFT folder, or the GGUF file that is served."""

import json
from pathlib import Path

import torch
from gguf import GGUFReader, dequantize
from safetensors.torch import load_file

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SCALING = "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern"
MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def read(path):
    """What its weights are multiplied by, and the weights, both named as PEFT saves them."""
    path = Path(path)
    if path.is_dir():
        config = json.loads((path / CONFIG).read_text("utf-8"))
        # What is absent, null, false or empty is off.
        return {name: config.get(name) or None for name in SCALING}, load_file(path / WEIGHTS)
    file, weights = GGUFReader(path), {}
    for tensor in file.tensors:
        _, layer, module, _, side = tensor.name.split(".")  # blk.14.attn_q.weight.lora_a
        name = f"base_model.model.model.layers.{layer}.{MODULES[module]}.lora_{side[-1].upper()}.weight"
        weights[name] = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy()).float()
    ranks = {min(weight.shape) for weight in weights.values()}
    scaling = dict.fromkeys(SCALING) | {"lora_alpha": file.fields["adapter.lora.alpha"].contents()}
    return scaling | {"r": ranks.pop() if len(ranks) == 1 else None}, weights


def put(model, path, alpha):
    """Every weight must find its place, and every place its weight."""
    scaling, weights = read(path)
    plain = dict.fromkeys(SCALING) | {"r": scaling["r"], "lora_alpha": alpha}
    if scaling != plain:
        raise SystemExit(f"error: the adapter to begin with is not scaled by alpha {alpha} alone: {scaling}")
    places = {
        name.replace(".default.", "."): place
        for name, place in model.named_parameters()
        if "lora_" in name
    }
    if places.keys() != weights.keys():
        strange = sorted(places.keys() ^ weights.keys())
        raise SystemExit(
            f"error: the adapter to begin with has other layers, kinds or names: {strange[0]} …"
        )
    with torch.no_grad():
        for name, place in places.items():
            if place.shape != weights[name].shape:
                raise SystemExit(f"error: the adapter to begin with has another rank: {name}")
            place.copy_(weights[name])
