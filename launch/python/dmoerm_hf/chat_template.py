"""The chat template that a bundle pins: how a prompt and a response become token ids."""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from .errors import BundleError
from .texts import ASCII_SPACE, SPACE
from .tokens import Tokenizer

_ENDS = ("[SEP]", "<|im_end|>", "<|eot_id|>", "</s>", "<|end_of_text|>", "<|endoftext|>", "<eos>")
_PLACES = ("content", "trimmed", "role", "head", "tail", "end")
_LAST_LINE = "special tokens in contents: "
Turns = list[tuple[str, str]]


class _Ids:
    """Collects the ids of a rendering. Text is kept until a token or the end follows, so that neighbouring texts are tokenised together."""

    def __init__(self, tokenizer: Tokenizer, parse_special: bool) -> None:
        self.tokenizer, self.parse_special = tokenizer, parse_special
        self.ids: list[int] = []
        self.text = ""

    def add_ids(self, ids: list[int]) -> None:
        if ids:
            self.flush()
            self.ids.extend(ids)

    def add_token(self, token: str) -> bool:
        number = self.tokenizer.id_of(token)
        if number is None:
            return False
        self.add_ids([number])
        return True

    def flush(self) -> None:
        if self.text:
            self.ids.extend(self.tokenizer.encode(self.text, self.parse_special, not self.ids))
            self.text = ""


class NamedTemplate:
    """A template of dmoerm, which is written out in the bundle: one role a line, with placeholders in braces."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.lines: dict[str, list[tuple[str, str]]] = {}
        for line in text.split("\n")[1:-2]:
            role, _, rest = line.partition(": ")
            self.lines.setdefault(role, []).extend(self._elements(rest))

    @staticmethod
    def _elements(line: str) -> list[tuple[str, str]]:
        elements = []
        while line:
            literal, brace, rest = line.partition("{")
            if literal:
                elements.append(("text", literal.replace("\\n", "\n")))
            if not brace:
                break
            inside, _, line = rest.partition("}")
            if inside in _PLACES:
                elements.append((inside, ""))
            elif inside.startswith("sep|"):
                elements.append(("sep", inside[4:].replace("\\n", "\n")))
            else:
                elements.append(("token", inside))
        return elements

    def head_tokens(self) -> int:
        start = self.lines.get("start")
        if not start:
            return 0
        kind, text = start[0]
        return len(self.tokenizer.leading_ids) if kind == "head" else int(self.tokenizer.id_of(text) is not None)

    def _add(self, out: _Ids, line: str, role: str = "", content: str = "") -> None:
        for kind, text in self.lines.get(line, []):
            if kind == "text":
                out.text += text
            elif kind == "content":
                out.text += content
            elif kind == "trimmed":
                out.text += content.strip(ASCII_SPACE)
            elif kind == "role":
                out.text += role
            elif kind == "head":
                out.add_ids(self.tokenizer.leading_ids)
            elif kind == "tail":
                out.add_ids(self.tokenizer.trailing_ids)
            elif kind == "end":
                any(out.add_token(token) for token in _ENDS)
            elif not out.add_token("[SEP]" if kind == "sep" else text):
                out.text += text

    def render(self, prompt: Turns, response: str | None, out: _Ids) -> None:
        folds = "folded system" in self.lines
        behind_system = self.lines["folded system"][-1][1] if folds else ""
        self._add(out, "start")
        system, first = "", True
        turns = []
        for role, content in prompt:
            if folds and role == "system":
                system += content + behind_system
            elif role == "assistant":
                turns.append((role, content))
            else:
                turns.append((role, system + content))
                system = ""
        if system:
            turns.append(("user", system[:len(system) - len(behind_system)]))
        for role, content in turns:
            if not first:
                self._add(out, "between")
            first = False
            self._add(out, role if role in ("system", "user", "assistant") else "other", role, content)
        self._add(out, "answer")
        if response is not None:
            self._add(out, "response", content=response)


class ModelsOwnTemplate:
    """A model's own template in pinned form: what stands between the contents of a conversation, by the roles of the neighbours."""

    def __init__(self, form: dict[str, Any], tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.starts_with_bos: bool = form["starts_with_bos"]
        self.edges: dict[str, list[Any]] = form["edges"]

    def head_tokens(self) -> int:
        start = self.edges["start>user"][0]
        token = isinstance(start, dict) and "token" in start and self.tokenizer.id_of(start["token"]) is not None
        return int(self.starts_with_bos and token)

    def _turns(self, prompt: Turns, response: str | None) -> list[tuple[list[Any], str]]:
        turns: list[tuple[list[Any], str]] = []
        last = "start"
        for role, content in prompt:
            role = role if role in ("system", "user", "assistant") else "user"
            if f"{last}>{role}" not in self.edges and role != last:
                role = "user"
            if f"{last}>{role}" in self.edges:
                turns.append((self.edges[f"{last}>{role}"], content))
                last = role
            else:
                turns[-1] = (turns[-1][0], turns[-1][1] + "\n\n" + content)
        leads = "generation" if response is None else "response"
        turns.append((self.edges.get(f"{last}>{leads}", self.edges.get(f"user>{leads}", [])), response or ""))
        if response is not None:
            turns.append((self.edges["response>end"], ""))
        return turns

    def render(self, prompt: Turns, response: str | None, out: _Ids) -> None:
        skips_space = False
        for edge, content in self._turns(prompt, response):
            for element in edge:
                text = None
                if isinstance(element, str):
                    text = element
                elif "content" in element:
                    text = content
                    for step in element["content"]:
                        text = _step(step, text)
                else:
                    before, skips_behind = self.tokenizer.takes_space(element["token"])
                    if before:
                        out.text = out.text.rstrip(SPACE)
                    if not out.add_token(element["token"]):
                        out.text += element["token"].lstrip(SPACE) if skips_space else element["token"]
                    skips_space = skips_behind
                if text is not None:
                    text = text.lstrip(SPACE) if skips_space else text
                    skips_space = skips_space and not text
                    out.text += text


def _step(step: list[str], text: str) -> str:
    kind, *words = step
    if kind in ("strip", "lstrip", "rstrip"):
        return str(getattr(text, kind)(*words))
    if kind == "before_first":
        head, found, _ = text.partition(words[0])
        return head if found else ""
    _, found, tail = text.rpartition(words[0])  # after_last
    if not found:
        return text
    return tail.lstrip(words[1]) if len(words) > 1 and words[1] else tail


@dataclass
class ChatTemplate:
    """Renders conversations to ids as the bundle's training did."""

    tokenizer: Tokenizer
    template: NamedTemplate | ModelsOwnTemplate
    parse_special: bool
    head_tokens: int = field(init=False)

    def __post_init__(self) -> None:
        self.head_tokens = self.template.head_tokens()

    @staticmethod
    def of(manifest: dict[str, Any], tokenizer: Tokenizer, place: str) -> ChatTemplate:
        """The template that dmoerm.json describes. Raises BundleError if its text is not the one that its checksum is of."""
        about, parse_special = manifest["template"], bool(manifest["special_tokens_in_text"])
        text = about["text"]
        if hashlib.sha256(text.encode()).hexdigest() != about["sha256"]:
            raise BundleError(f"{place}: the text of the chat template has another checksum than template.sha256: the file was edited")
        if "form" in about:
            said = f"form: {json.dumps(about['form'], sort_keys=True, separators=(',', ':'), ensure_ascii=False)}\n"
            if not text.startswith(said):
                raise BundleError(f"{place}: template.form and template.text are different templates: the file was edited")
            return ChatTemplate(tokenizer, ModelsOwnTemplate(about["form"], tokenizer), parse_special)
        if not text.startswith("template: ") or _LAST_LINE not in text:
            raise BundleError(f"{place}: template.text begins with \"{text[:20]}\", which this package cannot read: use a newer dmoerm-hf")
        return ChatTemplate(tokenizer, NamedTemplate(text, tokenizer), parse_special)

    def ids(self, prompt: Turns, response: str | None) -> list[int]:
        """Ids of a prompt and what leads to its response, or with the response and its end."""
        out = _Ids(self.tokenizer, self.parse_special)
        self.template.render(prompt, response, out)
        out.flush()
        return out.ids
