"""A blend is so much of one adapter and the rest of the other."""

import sys

import blend
import pytest
import torch
from safetensors.torch import load_file, save_file


def folder(path, weights):
    path.mkdir()
    (path / "adapter_config.json").write_text("{}")
    save_file(weights, path / "adapter_model.safetensors")
    return path


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["blend.py", *map(str, words)])
    blend.main()


def test_each_weight_stands_between_the_two_by_the_share(monkeypatch, tmp_path):
    first = folder(tmp_path / "first", {"a": torch.tensor([0.0, 4.0])})
    second = folder(tmp_path / "second", {"a": torch.tensor([2.0, 0.0])})
    out = tmp_path / "out"
    run(monkeypatch, "--first", first, "--second", second, "--share", 0.75, "--out", out)
    assert load_file(out / "adapter_model.safetensors")["a"].tolist() == [1.5, 1.0]
    assert (out / "adapter_config.json").read_text() == "{}"


@pytest.mark.parametrize("other", [{"a": torch.zeros(3)}, {"b": torch.zeros(2)}])
def test_adapters_of_other_shapes_are_refused(monkeypatch, tmp_path, other):
    first = folder(tmp_path / "first", {"a": torch.zeros(2)})
    second = folder(tmp_path / "second", other)
    with pytest.raises(SystemExit):
        run(monkeypatch, "--first", first, "--second", second, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
