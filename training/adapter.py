"""The weights of an adapter to begin with: a PEFT folder, or the GGUF file that is served."""

from pathlib import Path

import torch
from gguf import GGUFReader, dequantize
from safetensors.torch import load_file

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
    """Named as PEFT saves them."""
    path = Path(path)
    if path.is_dir():
        return load_file(path / "adapter_model.safetensors")
    weights = {}
    for tensor in GGUFReader(path).tensors:
        _, layer, module, _, side = tensor.name.split(".")  # blk.14.attn_q.weight.lora_a
        name = f"base_model.model.model.layers.{layer}.{MODULES[module]}.lora_{side[-1].upper()}.weight"
        weights[name] = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy()).float()
    return weights


def put(model, weights):
    """Every weight must find its place, and every place its weight."""
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
