"""Averages of adapters."""

import json
from pathlib import Path

import adapter
import pytest
import torch
from safetensors.torch import load_file, save_file

from average import average

SERVED = Path(__file__).resolve().parents[2] / "models/tenacious-judge.lora.gguf"


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


@pytest.mark.parametrize(
    "name, value",
    [("r", 8), ("lora_alpha", 64), ("use_rslora", True), ("rank_pattern", {"q": 8}), ("alpha_pattern", {"q": 8})],
)
def test_adapters_that_are_scaled_in_another_way_are_refused(tmp_path, name, value):
    folders = [folder(tmp_path / "one", a=[1.0]), folder(tmp_path / "two", a=[2.0])]
    (folders[1] / "adapter_config.json").write_text(json.dumps({name: value}))
    with pytest.raises(ValueError, match=f"two has another {name} than"):
        average(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_file_that_is_served_is_averaged_as_its_folder_would_be(tmp_path):
    scaling, weights = adapter.read(SERVED)
    thrice = {name: (weight * 3).tolist() for name, weight in weights.items() if ".14." in name}
    part = folder(tmp_path / "part", **thrice)
    with pytest.raises(ValueError, match="part has another r than"):
        average([SERVED, part], tmp_path / "out")
    (part / "adapter_config.json").write_text(json.dumps({"r": 16, "lora_alpha": 32}))
    with pytest.raises(ValueError, match="part has other tensors than"):
        average([SERVED, part], tmp_path / "out")
    save_file({name: weight * 3 for name, weight in weights.items()}, part / "adapter_model.safetensors")
    average([SERVED, part], tmp_path / "out")
    written, mean = adapter.read(tmp_path / "out")
    assert written == scaling
    assert all(torch.equal(mean[name], weight * 2) for name, weight in weights.items())


def test_only_files_give_the_mean_no_settings(tmp_path):
    with pytest.raises(ValueError, match="one at least must be a PEFT folder"):
        average([SERVED, SERVED], tmp_path / "out")


def test_settings_that_are_off_in_other_words_are_the_same(tmp_path):
    folders = [folder(tmp_path / "one", a=[1.0]), folder(tmp_path / "two", a=[3.0])]
    (folders[1] / "adapter_config.json").write_text('{"use_rslora": false, "rank_pattern": {}}')
    average(folders, tmp_path / "out")
    assert load_file(tmp_path / "out" / "adapter_model.safetensors")["a"].tolist() == [2.0]


def test_an_adapter_is_not_overwritten_by_its_average(tmp_path):
    folders = [folder(tmp_path / "one", a=[1.0]), folder(tmp_path / "two", a=[3.0])]
    with pytest.raises(ValueError, match="would be lost"):
        average(folders, tmp_path / "two" / ".." / "two")
    assert load_file(folders[1] / "adapter_model.safetensors")["a"].tolist() == [3.0]


def test_adapters_of_other_shapes_are_refused(tmp_path):
    folders = [folder(tmp_path / "one", a=[1.0]), folder(tmp_path / "two", a=[1.0, 2.0])]
    with pytest.raises(ValueError, match="two has other tensors"):
        average(folders, tmp_path / "out")
