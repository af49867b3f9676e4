"""Prompts and responses, and the characters that count as white space or as nothing."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Union

from .errors import BundleError

Message = Mapping[str, str]
"""One turn of a conversation: {"role": "user", "content": "..."}."""
Prompt = Union[str, Sequence[Message]]
"""A question of the user, or the turns of a conversation before the response."""

ASCII_SPACE = " \t\r\n\v\f"
SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""Unicode's White_Space."""
_UNSEEN = ((0x0, 0x20), (0x7F, 0xA0), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x1680, 0x1680), (0x17B4, 0x17B5),
           (0x180B, 0x180F), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0x2800, 0x2800), (0x3000, 0x3000), (0x3164, 0x3164),
           (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
           (0xE0000, 0xE0FFF))
_ROLES = {role: name for name, roles in {"system": ("system", "developer"), "user": ("user", "human", "prompter"),
                                         "assistant": ("assistant", "gpt", "chatgpt", "model", "bot", "ai", "bing", "bard")}.items() for role in roles}
_SURROGATE = re.compile("[\ud800-\udfff]")


def shows_nothing(text: str) -> bool:
    """Whether a text holds nothing that a reader could see: white space, controls, characters without width or shape."""
    return all(any(first <= ord(c) <= last for first, last in _UNSEEN) for c in text)


def valid(text: str) -> str:
    """The text with U+FFFD for what UTF-8 cannot hold."""
    return _SURROGATE.sub("\ufffd", text)


def messages_of(prompt: Prompt) -> list[tuple[str, str]]:
    """The turns of a prompt as (role, content). Raises BundleError for another type, or a prompt in which there is nothing to read."""
    if isinstance(prompt, str):
        turns = [("user", prompt)]
    elif not isinstance(prompt, Sequence):
        raise BundleError(f"the prompt is a {type(prompt).__name__}; give a text or a list of messages")
    else:
        turns = []
        for number, message in enumerate(prompt):
            if not isinstance(message, Mapping) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
                raise BundleError(f"message {number} of the prompt is {message!r}; expected {{\"role\": TEXT, \"content\": TEXT}}")
            role = _ROLES.get(re.sub("[- ]", "_", message["role"].strip().lower()))
            if role is None:
                raise BundleError(f"message {number} of the prompt has the role \"{message['role']}\"; expected system, user or assistant")
            turns.append((role, message["content"]))
    if all(shows_nothing(content) for _, content in turns):
        raise BundleError("the prompt is empty: give a text, or messages of which one has a content")
    return [(role, valid(content)) for role, content in turns]


def responses_of(responses: Iterable[str]) -> list[str]:
    """The responses, each with something to read. Raises BundleError."""
    if isinstance(responses, str):
        raise BundleError("the responses are one text; give a list of texts")
    if not isinstance(responses, Iterable):
        raise BundleError(f"the responses are a {type(responses).__name__}; give a list of texts")
    responses = list(responses)
    for number, text in enumerate(responses):
        if not isinstance(text, str):
            raise BundleError(f"response {number} is {text!r}, which is not a text")
        if shows_nothing(text):
            raise BundleError(f"response {number} is empty: leave it out")
    if not responses:
        raise BundleError("there is no response to score: give at least one text")
    return [valid(text) for text in responses]
