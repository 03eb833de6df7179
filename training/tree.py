"""Cases packed into one sequence as a tree: rubric, contexts, drafts.

A token attends to its own node and to the nodes above it, so that a prefix that many cases share is
computed once, as the daemon's KV cache shares it. Positions go on from the parent's.
"""

from dataclasses import dataclass, field

import torch


@dataclass
class Leaf:
    """A case's own tokens: the rest of the prompt, then the answer."""

    case: object
    tokens: list
    answer: int  # index in `tokens` of the answer's first token


@dataclass
class Group:
    """Cases with one context: the tokens they share after the rubric, and their leaves."""

    tokens: list
    leaves: list = field(default_factory=list)

    def __len__(self):
        return len(self.tokens) + sum(len(leaf.tokens) for leaf in self.leaves)


def common_prefix(sequences):
    first = min(sequences)
    last = max(sequences)
    length = next((i for i, (a, b) in enumerate(zip(first, last)) if a != b), len(first))
    return min(length, len(first))


def shared_by(prompts):
    """The last token of a prompt gives the label: it stays in the leaf."""
    return min(common_prefix(prompts), min(map(len, prompts)) - 1)


def grow(encoded):
    """The rubric's tokens, and the groups. `encoded` holds (case, prompt ids, answer ids)."""
    by_context = {}
    for case, prompt, answer in encoded:
        by_context.setdefault((case.context, case.channel), []).append((case, prompt, answer))
    prompts = [prompt for _, prompt, _ in encoded]
    rubric = prompts[0][: shared_by(prompts)]
    groups = []
    for members in by_context.values():
        shared = shared_by([prompt for _, prompt, _ in members])
        group = Group(members[0][1][len(rubric) : shared])
        for case, prompt, answer in members:
            rest = prompt[shared:]
            group.leaves.append(Leaf(case, rest + answer, len(rest)))
        groups.append(group)
    return rubric, groups


@dataclass
class Pack:
    """Some groups in one sequence."""

    tokens: torch.Tensor  # [T]
    positions: torch.Tensor  # [T]
    mask: torch.Tensor  # [T, T], true where a token attends
    starts: list  # (leaf, index in the sequence of its first token)
    spans: list  # (group, start, end) in the sequence


def pack(rubric, groups):
    tokens, positions, spans, starts = list(rubric), list(range(len(rubric))), [], []
    nodes = [(0, len(rubric), ())]  # start, end, the nodes above
    for group in groups:
        begin = len(tokens)
        tokens += group.tokens
        positions += range(len(rubric), len(rubric) + len(group.tokens))
        nodes.append((begin, len(tokens), (0,)))
        parent = len(nodes) - 1
        depth = len(rubric) + len(group.tokens)
        for leaf in group.leaves:
            starts.append((leaf, len(tokens)))
            nodes.append((len(tokens), len(tokens) + len(leaf.tokens), (0, parent)))
            tokens += leaf.tokens
            positions += range(depth, depth + len(leaf.tokens))
        spans.append((group, begin, len(tokens)))
    size = len(tokens)
    mask = torch.zeros(size, size, dtype=torch.bool)
    for start, end, above in nodes:
        mask[start:end, start:end] = torch.ones(end - start, end - start).tril().bool()
        for node in above:
            mask[start:end, nodes[node][0] : nodes[node][1]] = True
    return Pack(torch.tensor(tokens), torch.tensor(positions), mask, starts, spans)


def fill(rubric, groups, room):
    """Groups dealt out to packs of at most `room` tokens, in the given order."""
    packs, current, used = [], [], len(rubric)
    for group in groups:
        if current and used + len(group) > room:
            packs.append(current)
            current, used = [], len(rubric)
        current.append(group)
        used += len(group)
    return [*packs, current] if current else packs
