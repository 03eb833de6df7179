"""The training learns what it should, and goes on where it was ended."""

import re
import sys
import time

import pytest
import torch
import train
from adapter import MODULES
from conftest import ROWS, TEMPLATE, row, tiny_model
from gguf import GGUFWriter
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

LABELS = ("SUPPRESS", "ESCALATE", "BLOCK", "PENALISE", "PASS")
DEV = row("dev", "Cedar", "Hello Ida", "PASS")


@pytest.fixture
def trainer(monkeypatch, tmp_path, tokenizer, write):
    """A trainer of the tiny model, by the arguments of the command line."""
    monkeypatch.setattr(train, "load", lambda *_: (tiny_model(), tokenizer))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(train, "faster_on_cpu", lambda: torch.bfloat16)
    (tmp_path / "template").write_text(TEMPLATE, "utf-8")
    bundle = tmp_path / "bundle.toml"
    bundle.write_text('[prompt]\ntemplate = "template"\ncontext = "compact"\n', "utf-8")
    common = {
        "--data": write("data.jsonl", *ROWS), "--base": write("base.gguf"), "--bundle": bundle, "--layers": "2-3",
        "--rank": 4, "--batch-tokens": 250, "--pack-tokens": 250, "--checkpoint-steps": 2, "--epochs": 3,
        "--threads": 1,
    }  # fmt: skip

    def trainer(out, **more):
        more = {f"--{name.replace('_', '-')}": value for name, value in more.items()}
        given = common | {"--out": tmp_path / out} | more
        words = [str(word) for pair in given.items() for word in pair]
        monkeypatch.setattr(sys, "argv", ["train.py", *words])
        return train.Trainer(train.arguments())

    return trainer


def adapter(folder):
    return load_file(folder / "adapter_model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def shake(trainer):
    """An adapter that changes something: a fresh one adds nothing."""
    with torch.no_grad():
        for weight in trainer.weights:
            weight.add_(torch.randn(weight.shape) * 0.1)


@torch.no_grad()
def alone(trainer, case):
    """What the model says of a case's answer without pack and cache."""
    prompt = trainer.prompt.render(case)
    label = trainer.prompt.text(case.label + "\n")
    answer = trainer.prompt.text(f"{case.label}\n{case.rationale}") + [trainer.end]
    logits = trainer.model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].float()
    losses = -logits.log_softmax(-1)[range(len(answer)), answer]
    firsts = [trainer.prompt.text(name)[0] for name in LABELS]
    return losses[0], losses[len(label) :].mean(), LABELS[logits[0, firsts].argmax()]


def test_losses_are_of_the_labels_first_token_and_of_the_rationale_and_its_end(trainer):
    one = trainer("out")
    shake(one)
    label, rationale, answers = one.losses(one.groups)
    expected = [alone(one, case) for case, _ in answers]
    assert len({case.id for case, _ in answers}) == len(ROWS)
    # 32-bit sums in another order.
    near = {"abs": 1e-3, "rel": 0}
    assert label.item() == pytest.approx(sum(loss.item() for loss, _, _ in expected), **near)
    assert rationale.item() == pytest.approx(sum(loss.item() for _, loss, _ in expected), **near)
    assert [answer for _, answer in answers] == [answer for _, _, answer in expected]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_lowers_the_loss_of_what_it_has_seen(trainer, monkeypatch, dtype):
    monkeypatch.setattr(train, "faster_on_cpu", lambda: dtype)
    one = trainer("out", epochs=8, rate=1e-2)
    loss = lambda: sum(one.losses(one.groups)[:2]).item()
    before = loss()
    one.run()
    assert loss() < before / 2


@pytest.mark.parametrize("slow, fast", [(torch.bfloat16, torch.float32), (torch.float32, torch.bfloat16)])
def test_a_cpu_takes_the_type_that_it_multiplies_faster(monkeypatch, slow, fast):
    wait = lambda some, _: time.sleep(0.01 if some.dtype == slow else 0)
    monkeypatch.setattr(train.F, "linear", wait)
    assert train.faster_on_cpu() == fast


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    trainer, tmp_path, monkeypatch
):
    whole = trainer("whole")
    assert len(whole.plan) > 5
    whole.run()

    cut = trainer("cut")
    clip = torch.nn.utils.clip_grad_norm_

    def clip_until_the_fourth_step(*arguments):
        if cut.done == 3:
            raise KeyboardInterrupt
        return clip(*arguments)

    with monkeypatch.context() as ended, pytest.raises(KeyboardInterrupt):
        ended.setattr(torch.nn.utils, "clip_grad_norm_", clip_until_the_fourth_step)
        cut.run()
    assert cut.done == 3 and not (tmp_path / "cut/adapter_model.safetensors").exists()
    monkeypatch.setattr(train.Layers, "remember", lambda *_: pytest.fail("the lower layers are on disk"))
    again = trainer("cut")
    again.resume()
    assert again.done == 2
    again.run()

    assert same(adapter(tmp_path / "cut"), adapter(tmp_path / "whole"))
    fresh = get_peft_model_state_dict(trainer("cut").model)
    assert not same(adapter(tmp_path / "cut"), fresh)


def test_a_run_goes_on_in_the_number_type_that_it_began_with(
    trainer, tmp_path, monkeypatch, tokenizer
):
    asked = []
    monkeypatch.setattr(
        train, "load", lambda _, dtype, __: asked.append(dtype) or (tiny_model(), tokenizer)
    )
    trainer("out", epochs=1)
    monkeypatch.setattr(train, "faster_on_cpu", lambda: torch.float32)
    again = trainer("out", epochs=1)
    again.run()
    (tmp_path / "out/lower.pt").unlink()
    third = trainer("out", epochs=1)
    third.resume()
    assert third.done == again.done > 0
    trainer("other")
    assert asked == [torch.bfloat16] * 3 + [torch.float32]


def test_the_lower_layers_are_computed_only_for_cases_that_came_since(trainer, write, monkeypatch):
    trainer("out")
    known = train.Layers.remember
    asked = []

    def remember(layers, rubric, groups, *rest):
        asked.extend(leaf.case.id for group in groups for leaf in group.leaves)
        return known(layers, rubric, groups, *rest)

    monkeypatch.setattr(train.Layers, "remember", remember)
    more = write("more.jsonl", *ROWS, row("new", "Rowan", "Hello Ulf", "PASS"))
    again = trainer("out", data=more)
    assert asked == ["new"]
    fresh = trainer("fresh", data=more)
    for group, other in zip(again.groups, fresh.groups):
        torch.testing.assert_close(again.states[id(group)], fresh.states[id(other)])


def test_a_run_that_ended_while_it_wrote_the_lower_layers_can_be_begun_again(trainer, monkeypatch):
    def half(_, path):
        path.write_bytes(b"PK")
        raise KeyboardInterrupt

    with monkeypatch.context() as ended, pytest.raises(KeyboardInterrupt):
        ended.setattr(torch, "save", half)
        trainer("out")
    assert trainer("out").states


def test_a_run_goes_on_only_with_the_settings_it_began_with(trainer):
    trainer("out", epochs=1).run()
    with pytest.raises(SystemExit, match="of a run with other settings"):
        trainer("out", epochs=1, rate=1).run()


def test_a_run_may_begin_with_an_earlier_ones_adapter(trainer, tmp_path):
    trainer("first", epochs=1).run()
    begun = get_peft_model_state_dict(trainer("second", start=tmp_path / "first").model)
    assert same(begun, adapter(tmp_path / "first"))


def test_the_adapter_is_on_the_asked_layers_and_kinds_only(trainer, tmp_path):
    trainer("out", epochs=1, kinds="q_proj,down_proj", layers="3-3").run()
    modules = {name.split(".lora_")[0].partition("layers.")[2] for name in adapter(tmp_path / "out")}
    assert modules == {"3.self_attn.q_proj", "3.mlp.down_proj"}


def test_dev_is_measured_after_each_epoch_and_never_trained_on(trainer, write, tmp_path):
    trainer("without", epochs=2).run()
    with_dev = trainer("with", epochs=2, dev=write("dev.jsonl", DEV))
    assert [leaf.case.id for group in with_dev.dev for leaf in group.leaves] == ["dev"]
    seen = [group for _, packs in with_dev.plan for chosen in packs for group in chosen]
    assert "dev" not in {leaf.case.id for group in seen for leaf in group.leaves}
    with_dev.run()
    log = (tmp_path / "with/log.jsonl").read_text()
    assert log.count('"dev": {') == 2
    assert same(adapter(tmp_path / "with"), adapter(tmp_path / "without"))


@pytest.mark.parametrize("other", [{}, {"draft": "Another draft"}, {"draft": "Another draft", "channel": "linkedin"}])
def test_dev_contexts_that_stand_in_the_training_data_are_refused(trainer, write, other):
    with pytest.raises(SystemExit, match="the dev case `renamed` stands in the training data too"):
        trainer("out", dev=write("dev.jsonl", DEV, ROWS[1] | {"id": "renamed"} | other))


def test_a_bundle_with_contexts_that_the_training_does_not_write_is_refused(trainer):
    with pytest.raises(SystemExit, match="has the context indented"):
        trainer("out", bundle=train.ROOT / "models/tenacious-published.toml")
    assert "{{context}}" in train.template_of(train.ROOT / "models/tenacious-judge.toml")


def test_an_adapter_begins_with_the_weights_of_the_file_that_is_served(trainer, tmp_path):
    earlier = trainer("earlier")
    weights = {
        name: torch.randn_like(weight)
        for name, weight in get_peft_model_state_dict(earlier.model).items()
    }
    served = tmp_path / "served.gguf"
    writer = GGUFWriter(served, "qwen2")
    writer.add_float32("adapter.lora.alpha", earlier.args.alpha)
    modules = {module: name for name, module in MODULES.items()}
    for name, weight in weights.items():
        layer, module, side = re.search(r"layers\.(\d+)\.(.+)\.lora_([AB])", name).groups()
        writer.add_tensor(f"blk.{layer}.{modules[module]}.weight.lora_{side.lower()}", weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    begun = trainer("begun", start=served)
    for name, weight in get_peft_model_state_dict(begun.model).items():
        assert torch.equal(weight, weights[name]), name
    with pytest.raises(SystemExit, match="not scaled by alpha 16 alone"):
        trainer("weaker", start=served, alpha=16)


def test_an_adapter_of_other_layers_is_no_beginning(trainer, tmp_path):
    save_file({"base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight": torch.zeros(1)},
              tmp_path / "adapter_model.safetensors")  # fmt: skip
    (tmp_path / "adapter_config.json").write_text('{"r": 16, "lora_alpha": 32}')
    with pytest.raises(SystemExit, match="other layers, kinds or names"):
        trainer("other", start=tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"r": 16, "lora_alpha": 32, "use_rslora": true}')
    with pytest.raises(SystemExit, match="not scaled by alpha 32 alone"):
        trainer("rs", start=tmp_path)
