"""A case in a pack is computed as if it were alone."""

import cases
import pytest
import torch
from base import Layers
from conftest import ROWS, TEMPLATE
from prompt import Prompt
from tree import fill, grow, pack

# 32-bit sums in another order.
NEAR = {"atol": 1e-4, "rtol": 0}


@pytest.fixture
def encoded(tokenizer, write):
    prompt = Prompt(TEMPLATE, tokenizer)
    read = cases.read([write("cases.jsonl", *ROWS)])
    return [(case, prompt.render(case), prompt.text(f"{case.label}\n")) for case in read]


@pytest.fixture
def grown(encoded):
    return grow(encoded)


def whole(rubric, group, leaf):
    return torch.tensor([[*rubric, *group.tokens, *leaf.tokens]])


def leaves(groups):
    return [(group, leaf) for group in groups for leaf in group.leaves]


def test_a_tree_holds_each_case_once_with_its_whole_prompt_and_answer(encoded, grown):
    rubric, groups = grown
    # Another channel is another context.
    assert sorted(len(group.leaves) for group in groups) == [1, 1, 2, 2]
    found = [
        (leaf.case, whole(rubric, group, leaf)[0].tolist(), len(leaf.tokens) - leaf.answer)
        for group, leaf in leaves(groups)
    ]
    expected = [(case, prompt + answer, len(answer)) for case, prompt, answer in encoded]
    key = lambda one: one[0].id
    assert sorted(found, key=key) == sorted(expected, key=key)


def test_one_case_alone_keeps_the_last_token_of_its_prompt_in_its_leaf(encoded):
    [(case, prompt, answer)] = encoded[:1]
    rubric, [group] = grow([(case, prompt, answer)])
    [leaf] = group.leaves
    assert whole(rubric, group, leaf)[0].tolist() == prompt + answer
    assert leaf.answer == 1


def test_a_packed_case_gets_the_logits_that_it_gets_alone(model, grown):
    rubric, groups = grown
    layers = Layers(model.model)
    one = pack(rubric, groups)
    logits = model.lm_head(model.model.norm(layers.run(layers.embed(one), one, 0, None)))[0]
    assert [leaf for leaf, _ in one.starts] == [leaf for _, leaf in leaves(groups)]
    for (group, leaf), (_, start) in zip(leaves(groups), one.starts):
        alone = model(whole(rubric, group, leaf)).logits[0, -len(leaf.tokens) :]
        torch.testing.assert_close(logits[start : start + len(leaf.tokens)], alone, **NEAR)


def test_without_the_trees_mask_it_would_get_others(model, grown):
    rubric, groups = grown
    layers = Layers(model.model)
    one = pack(rubric, groups)
    one.mask = torch.ones_like(one.mask).tril()
    logits = model.lm_head(model.model.norm(layers.run(layers.embed(one), one, 0, None)))[0]
    group, leaf = leaves(groups)[-1]
    _, start = one.starts[-1]
    alone = model(whole(rubric, group, leaf)).logits[0, -len(leaf.tokens) :]
    assert (logits[start : start + len(leaf.tokens)] - alone).abs().max() > 0.1


@pytest.mark.parametrize("room", [1, 150, 10_000])
def test_what_lower_layers_gave_is_remembered_for_every_token(model, grown, room):
    rubric, groups = grown
    ticks = []
    packs = fill(rubric, groups, room)
    states = Layers(model.model).remember(rubric, groups, packs, 2, ticks.append)
    assert sum(ticks) == sum(map(len, groups)) + len(packs) * len(rubric)
    for group in groups:
        begin = len(rubric) + len(group.tokens)
        shared, own = states[id(group)].split([len(group.tokens), len(group) - len(group.tokens)])
        for leaf, state in zip(group.leaves, own.split([len(leaf.tokens) for leaf in group.leaves])):
            alone = model(whole(rubric, group, leaf), output_hidden_states=True).hidden_states[2][0]
            torch.testing.assert_close(states["rubric"], alone[: len(rubric)], **NEAR)
            torch.testing.assert_close(shared, alone[len(rubric) : begin], **NEAR)
            torch.testing.assert_close(state, alone[begin:], **NEAR)


@pytest.mark.parametrize("room", [1, 150, 200, 10_000])
def test_groups_are_dealt_out_once_in_order_and_within_the_room(grown, room):
    rubric, groups = grown
    packs = fill(rubric, groups, room)
    assert [group for chosen in packs for group in chosen] == groups
    for chosen in packs:
        # A group alone may be larger than the room: it is never cut.
        assert len(chosen) == 1 or len(rubric) + sum(map(len, chosen)) <= room
