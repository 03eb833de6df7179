"""Averages of adapters."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from average import average


def folder(path, **tensors):
    path.mkdir()
    save_file({name: torch.tensor(values) for name, values in tensors.items()}, path / "adapter_model.safetensors")
    (path / "adapter_config.json").write_text("{}")
    return path


def test_each_weight_is_the_mean_of_its_like(tmp_path):
    folders = [folder(tmp_path / "one", a=[1.0, 2.0], b=[0.0]), folder(tmp_path / "two", a=[3.0, -2.0], b=[1.0])]
    average(folders, tmp_path / "out")
    mean = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert mean["a"].tolist() == [2.0, 0.0] and mean["b"].tolist() == [0.5]
    assert (tmp_path / "out" / "adapter_config.json").read_text() == "{}"


def test_adapters_of_other_shapes_are_refused(tmp_path):
    folders = [folder(tmp_path / "one", a=[1.0]), folder(tmp_path / "two", a=[1.0, 2.0])]
    with pytest.raises(ValueError, match="two has other tensors"):
        average(folders, tmp_path / "out")
