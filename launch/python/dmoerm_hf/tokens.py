"""Texts to token ids by a tokenizer.json, where special tokens written in a text stay text."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers


class Tokenizer:
    """The tokenizer of a bundle. Its settings for truncation and padding are ignored."""

    def __init__(self, path: Path) -> None:
        document = json.loads(path.read_text(encoding="utf-8"))
        document["truncation"] = document["padding"] = None
        self._start = tokenizers.Tokenizer.from_str(json.dumps(document))
        self._behind = self._start
        if _space_at_start_only(document.get("pre_tokenizer")):  # the rest of a text gets no space in front
            self._behind = tokenizers.Tokenizer.from_str(json.dumps(document))
        self._takes_space = {t["content"]: (bool(t.get("lstrip")), bool(t.get("rstrip"))) for t in document.get("added_tokens") or []}
        self.leading_ids, self.trailing_ids = _around(document.get("post_processor"))

    def encode(self, text: str, parse_special: bool, at_start: bool) -> list[int]:
        """Ids of a text without special tokens around it.

        parse_special: whether a special token written in the text becomes that token
        at_start: False if the text continues one whose beginning was encoded before
        """
        chosen = self._start if at_start else self._behind
        chosen.encode_special_tokens = not parse_special
        ids: list[int] = chosen.encode(text, add_special_tokens=False).ids
        return ids

    def id_of(self, token: str) -> int | None:
        """The id of the token with exactly this content."""
        found: int | None = self._start.token_to_id(token)
        return found

    def takes_space(self, token: str) -> tuple[bool, bool]:
        """Whether a token takes the white space before and behind it from the text."""
        return self._takes_space.get(token, (False, False))


def _space_at_start_only(part: Any) -> bool:
    """Whether a pre-tokenizer puts a space in front of the first word alone. Changes its setting to "never" if so."""
    if part is None:
        return False
    if part.get("type") == "Sequence":
        return any([_space_at_start_only(one) for one in part["pretokenizers"]])
    if part.get("type") == "Metaspace" and part.get("prepend_scheme") == "first":
        part["prepend_scheme"] = "never"
        return True
    return False


def _around(part: Any) -> tuple[list[int], list[int]]:
    """The ids that a post-processor puts before and behind a single text."""
    before: list[int] = []
    behind: list[int] = []
    if part is None:
        return before, behind
    kind = part.get("type")
    if kind in ("BertProcessing", "RobertaProcessing"):
        return [part["cls"][1]], [part["sep"][1]]
    if kind == "Sequence":
        for one in part["processors"]:
            outer = _around(one)
            before, behind = outer[0] + before, behind + outer[1]
    if kind == "TemplateProcessing":
        seen = False
        for piece in part["single"]:
            if "Sequence" in piece:
                seen = True
            else:
                (behind if seen else before).extend(part["special_tokens"][piece["SpecialToken"]["id"]]["ids"])
    return before, behind
