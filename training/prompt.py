"""The daemon's prompt: the same template file, the same tokens."""

import json
import re

from tokenizers import Tokenizer

CONTROL = re.compile(r"(<\|\w+\|>)", re.ASCII)
PLACE = re.compile(r"\{\{\s*(channel|context|draft)\s*\}\}")


class Prompt:
    def __init__(self, template, tokenizer):
        """`tokenizer` is the fast tokenizer that transformers reads from the GGUF file."""
        self.template = template
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
        added = backend.pop("added_tokens")
        self.control = {token["content"]: token["id"] for token in added}
        # What a caller writes is text, whatever it looks like: a tokenizer without added tokens.
        self.plain = Tokenizer.from_str(json.dumps(backend | {"added_tokens": []}))
        # llama.cpp finds these names in any text; the daemon cuts the text inside each of them.
        named = [token["content"] for token in added if not token["special"]]
        self.cuts = re.compile("|".join(map(re.escape, named)) or r"(?!)")

    def render(self, case):
        """The prompt's token ids: text between two control tokens is tokenized as one run."""
        places = {"channel": case.channel, "context": case.context, "draft": case.draft}
        ids = []
        for piece in CONTROL.split(self.template):
            if piece in self.control:
                ids.append(self.control[piece])
            elif piece:
                ids += self.text(PLACE.sub(lambda place: places[place[1]], piece))
        return ids

    def text(self, text):
        ids, start = [], 0
        for name in self.cuts.finditer(text):
            ids += self._run(text[start : name.start() + 1])
            start = name.start() + 1
        return ids + self._run(text[start:])

    def _run(self, text):
        return self.plain.encode(text, add_special_tokens=False).ids if text else []
