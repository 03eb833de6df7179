#!/usr/bin/env python3
"""Makes PEFT adapters on a tiny Qwen2 model, and says what they must become.

Usage: make.py BASE.gguf CACHE OUT

BASE is a Qwen2 model in 32-bit floats: transformers gets its weights. For each
case the folder OUT/<case> then holds what PEFT saved, and

    theirs-{f32,f16,q8_0}.gguf   llama.cpp's own conversion of it
    deltas.safetensors           what PEFT adds to each matrix of the base
    logits.safetensors           the rows after some prefixes of OUT's `tokens`

llama.cpp's converter comes from the source package of llama-cpp-python, kept in CACHE.
"""

import json
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

SOURCES = "llama-cpp-python==0.3.36"
PREFIXES = (1, 9, 40)

# The arguments of LoraConfig, beside those that all cases share.
CASES = {
    "plain": {},
    "rank_stabilised": {"use_rslora": True, "lora_alpha": 12},
    "alpha_pattern": {
        "alpha_pattern": {
            "q_proj": 40,
            "model.layers.1.mlp.down_proj": 3,
            r"layers\.[02]\.self_attn\.v_proj": 7,
            r".*\.v_proj": 24,
        }
    },
    "rank_pattern": {"rank_pattern": {"k_proj": 32, "layers.0.mlp.up_proj": 5}},
    "patterns_rank_stabilised": {
        "use_rslora": True,
        "rank_pattern": {"k_proj": 32, "layers.0.mlp.up_proj": 5},
        "alpha_pattern": {"k_proj": 9, "^model.layers.2.mlp.gate_proj": 30},
    },
    "fewer_modules": {"target_modules": ["q_proj", "v_proj"]},
    "fewer_layers": {"layers_to_transform": [1, 3]},
    "bfloat16": {},
    "float16": {},
}
ALL_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def fetch_converter(cache):
    """The folder of llama.cpp's converter, fetched if it is not there."""
    folder = cache / SOURCES
    if not (folder / "convert_lora_to_gguf.py").exists():
        cache.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        pip += ["--no-deps", "--no-binary", "llama-cpp-python", "-d", cache, SOURCES]
        subprocess.run(pip, check=True)
        (archive,) = cache.glob("*.tar.gz")
        wanted = ("convert_lora_to_gguf.py", "conversion/", "gguf-py/gguf/")
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                _, _, name = member.name.partition("/vendor/llama.cpp/")
                if name.startswith(wanted) and member.isfile():
                    member.name = name
                    tar.extract(member, folder, filter="data")
        archive.unlink()
    return folder


def gguf_name(name):
    """transformers' name of a tensor, as GGUF has it."""
    replacements = {
        "model.layers.": "blk.",
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.o_proj": "attn_output",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    for theirs, ours in replacements.items():
        name = name.replace(theirs, ours)
    return name


def read_base(path):
    """A function that makes the base in transformers, each time anew."""
    file = gguf.GGUFReader(path)
    tensors = {tensor.name: torch.tensor(tensor.data) for tensor in file.tensors}

    def value(key):
        return file.fields[f"qwen2.{key}"].contents()

    config = transformers.Qwen2Config(
        vocab_size=len(tensors["token_embd.weight"]),
        hidden_size=value("embedding_length"),
        intermediate_size=value("feed_forward_length"),
        num_hidden_layers=value("block_count"),
        num_attention_heads=value("attention.head_count"),
        num_key_value_heads=value("attention.head_count_kv"),
        max_position_embeddings=value("context_length"),
        rms_norm_eps=value("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": value("rope.freq_base")},
        tie_word_embeddings="output.weight" not in tensors,
        attn_implementation="eager",
    )

    def make():
        model = transformers.Qwen2ForCausalLM(config)
        weights = {name: tensors[gguf_name(name)] for name, _ in model.named_parameters()}
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
        assert len(weights) == len(tensors)
        return model.eval()

    return make


def save_adapter(case, settings, make_base, folder):
    """Saves an adapter of random numbers, with neither half zero."""
    shared = {"r": 16, "lora_alpha": 16, "target_modules": ALL_MODULES, "task_type": "CAUSAL_LM"}
    model = peft.get_peft_model(make_base(), peft.LoraConfig(**(shared | settings)))
    generator = torch.Generator().manual_seed(len(case))
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            numbers = torch.randn(parameter.shape, generator=generator)
            parameter.data = 0.5 * numbers / parameter.shape[1] ** 0.5
            if case in ("bfloat16", "float16"):
                parameter.data = parameter.data.to(getattr(torch, case))
    model.save_pretrained(folder)


def load_adapter(make_base, folder):
    return peft.PeftModel.from_pretrained(make_base(), folder).eval()


def deltas(model):
    """What the adapter adds to each matrix, by the matrix's name in GGUF."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            name = gguf_name(name.removeprefix("base_model.model.")) + ".weight"
            found[name] = module.get_delta_weight("default").contiguous()
    return found


def rows(model, tokens):
    """The logits after each of the prefixes."""
    return torch.stack([model(torch.tensor([tokens[:n]])).logits[0, -1] for n in PREFIXES])


def convert(converter, base_config, folder, kind):
    """Runs llama.cpp's converter in this process: it takes long to be imported."""
    script = converter / "convert_lora_to_gguf.py"
    out = folder / f"theirs-{kind}.gguf"
    arguments = ["--base", base_config, "--outtype", kind, "--outfile", out, folder]
    sys.argv = [str(argument) for argument in (script, *arguments)]
    runpy.run_path(str(script), run_name="__main__")


def main(base, converter, out):
    make_base = read_base(base)
    plain = make_base()
    plain.config.save_pretrained(out / "config")
    config_file = out / "config" / "config.json"
    config = json.loads(config_file.read_text())
    config_file.write_text(json.dumps(config | {"architectures": ["Qwen2ForCausalLM"]}))
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(plain.config.vocab_size, (PREFIXES[-1],), generator=generator).tolist()
    plain_rows = rows(plain, tokens)
    for case, settings in CASES.items():
        folder = out / case
        save_adapter(case, settings, make_base, folder)
        model = load_adapter(make_base, folder)
        save_file(deltas(model), folder / "deltas.safetensors")
        logits = {"plain": plain_rows, "adapted": rows(model, tokens)}
        save_file(logits, folder / "logits.safetensors")
        for kind in ("f32", "f16", "q8_0"):
            convert(converter, out / "config", folder, kind)
    made = {"tokens": tokens, "prefixes": PREFIXES, "cases": list(CASES)}
    (out / "made.json").write_text(json.dumps(made))


if __name__ == "__main__":
    base, cache, out = map(Path, sys.argv[1:])
    converter = fetch_converter(cache.absolute())
    # Its own version of `gguf`, which its scripts were written with.
    sys.path[:0] = [str(converter), str(converter / "gguf-py")]

    import gguf
    import peft
    import torch
    import transformers
    from safetensors.torch import save_file

    with torch.inference_mode():
        main(base.absolute(), converter, out.absolute())
