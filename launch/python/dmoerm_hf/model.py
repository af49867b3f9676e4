"""A whole bundle in PyTorch."""
from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .aggregator import Aggregator, Features
from .backbone import Backbone, Text, log_length, read_head, read_json, read_tensors, rewards_of
from .chat_template import ChatTemplate
from .errors import BundleError
from .router import Route, Router
from .texts import Prompt, messages_of, responses_of
from .tokens import Tokenizer

_MANIFEST = "dmoerm.json"
_OWN_SUM = "manifest_sha256"
_SCHEMAS = (1, 2, 3, 4)
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Result:
    """The score of one response."""

    reward: float
    """Raw; larger is better. Comparable within a prompt."""
    normalised: float
    """The reward less the mean of the model that scored, over its deviation within prompts, both on its training groups."""
    scored_by: str
    """The category whose model scored, or "single"."""
    route: Route
    points: dict[str, float]
    """The standardised reward of each capability point's expert; empty if the single model scored."""
    base: float | None
    """The standardised overall reward of the category's phase-1 model, where the aggregator reads it."""
    contributions: dict[str, float] | None
    """What each expert adds to the reward; None where the aggregator is not a sum, or the single model scored."""
    base_contribution: float | None
    """What the base adds; with the contributions it gives the reward."""
    second_contribution: float | None
    """What the category `route.second` adds, at the level and spread of the rewards of `scored_by`; None where rewards are not mixed."""
    expert_rewards: list[float]
    """The experts' rewards before they are standardised, in the order of `points`, and then the base's where it is read; empty if the single model scored."""
    cut_tokens: int
    """Tokens beyond the model's length that it did not read: the start of the prompt, then the end of the response."""


@dataclass
class _Head:
    """A model for one reward: a backbone, an adapter over it or none, and a value head."""

    backbone: Backbone
    adapter: str | None
    weight: Tensor


@dataclass
class _Category:
    name: str
    points: list[str]
    experts: list[_Head]
    base: _Head | None
    aggregator: Aggregator
    stats: dict[str, float]


@dataclass
class _Group:
    """A prompt with its responses as token ids."""

    prompt: list[int]
    responses: list[Text]
    own_tokens: list[int]
    cut_tokens: list[int]


class DmoermRewardModel:
    """A double-layer mixture-of-experts reward model, with the rewards, routes and parts that `dmoerm score` gives."""

    def __init__(self, directory: Path, device: torch.device, dtype: torch.dtype | None) -> None:
        self.directory = directory
        manifest = self._manifest = read_json(directory / _MANIFEST)
        place = str(directory / _MANIFEST)
        if manifest.get("schema_version") not in _SCHEMAS:
            raise BundleError(f"{place}: schema version {manifest.get('schema_version')}; this package reads {_SCHEMAS}: use a newer dmoerm-hf")
        self.max_length: int = manifest["max_length"]
        self._min_prompt: int = manifest["min_prompt_tokens"]
        self._dtype = dtype or _DTYPES[manifest.get("dtype", "float32")]
        self._device = device
        self._template = ChatTemplate.of(manifest, Tokenizer(directory / "base" / "tokenizer.json"), place)
        self._backbone = Backbone.load(directory / "base", device, self._dtype)
        self._router = Router(directory / "router")
        self._categories = {c["name"]: self._load_category(c) for c in manifest["categories"]}
        self._single = self._load_head(directory / "single", self._backbone)
        self._single_stats: dict[str, float] = manifest.get("single_stats", {})

    @classmethod
    def from_pretrained(cls, bundle: str | os.PathLike[str], *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None,
                        verify: bool = True) -> DmoermRewardModel:
        """Loads a bundle that `dmoerm run` wrote.

        dtype: what to compute in; default: what the bundle was trained in
        verify: compare the files' checksums and the bundle's golden scores first
        Raises BundleError, which names the file and what to do.
        """
        directory = Path(bundle)
        if not (directory / _MANIFEST).is_file():
            inside = directory / "bundle"
            raise BundleError(f"{directory}: there is no {_MANIFEST}" + (f": did you mean {inside}?" if (inside / _MANIFEST).is_file() else
                                                                          "; give the folder of a bundle of dmoerm"))
        if verify:
            manifest = read_json(directory / _MANIFEST)
            _check_manifest(directory / _MANIFEST)
            _check_files(directory, manifest)
        model = cls(directory, torch.device(device), dtype)
        if verify:
            model._check_golden()
        return model

    @property
    def categories(self) -> dict[str, list[str]]:
        """The categories and their capability points."""
        return {name: list(category.points) for name, category in self._categories.items()}

    def score(self, prompt: Prompt, responses: Iterable[str], category: str | None = None, *, batch_size: int = 32) -> list[Result]:
        """Scores responses to one prompt.

        category: whose model scores, instead of the router's choice
        batch_size: the most texts of one forward pass
        Raises BundleError for an empty text or an unknown category.
        """
        return self.score_groups([(prompt, responses)], category, batch_size=batch_size)[0]

    def score_groups(self, groups: Sequence[tuple[Prompt, Iterable[str]]], category: str | None = None, *,
                     batch_size: int = 32) -> list[list[Result]]:
        """Scores several prompts with their responses; texts of different prompts share batches."""
        if category is not None and category not in self._categories:
            raise BundleError(f"category \"{category}\" is unknown; the model has: {', '.join(self._categories)}")
        if batch_size < 1:
            raise BundleError(f"batch_size {batch_size} must be at least 1")
        read = [self._tokens(prompt, responses) for prompt, responses in groups]
        prompts = [self._cut_prompt(group.prompt) for group in read]
        states = self._backbone.pooled(prompts, self._router.pooling, self._router.layers, batch_size)
        routes = [self._router.route(state) for state in states]
        if category is not None:
            routes = [replace(route, second=None, second_share=0.0) for route in routes]
        firsts: list[list[Result]] = [[] for _ in groups]
        seconds: list[list[Result]] = [[] for _ in groups]
        for name in [*self._categories, None]:
            first = [i for i, route in enumerate(routes) if (category or (None if route.fallback else route.category)) == name]
            second = [i for i, route in enumerate(routes) if name is not None and route.second == name]
            own = [(replace(routes[i], fallback=name is None), read[i]) for i in first + second]
            if not own:
                continue
            scored = self._score_single(own, batch_size) if name is None else self._score_in(self._categories[name], own, batch_size)
            for i, found in zip(first, scored):
                firsts[i] = found
            for i, found in zip(second, scored[len(first):]):
                seconds[i] = found
        return [self._mixed(own, others) if others else own for own, others in zip(firsts, seconds)]

    def _mixed(self, own: list[Result], others: list[Result]) -> list[Result]:
        """The results of a prompt's category with the rewards of a second one mixed in."""
        stats = self._categories[own[0].scored_by].stats
        share = own[0].route.second_share
        mixed = []
        for result, other in zip(own, others):
            second = share * (stats.get("mean", 0.0) + stats.get("std", 1.0) * other.normalised)
            reward = (1 - share) * result.reward + second
            parts = result.contributions and {point: (1 - share) * part for point, part in result.contributions.items()}
            base = None if result.base_contribution is None else (1 - share) * result.base_contribution
            mixed.append(replace(result, reward=reward, normalised=_normalised(reward, stats), contributions=parts,
                                 base_contribution=base, second_contribution=second))
        return mixed

    def route(self, prompt: Prompt, *, batch_size: int = 32) -> Route:
        """Where the router sends a prompt."""
        ids = self._cut_prompt(self._template.ids(messages_of(prompt), None))
        return self._router.route(self._backbone.pooled([ids], self._router.pooling, self._router.layers, batch_size)[0])

    # --- Texts ---
    def _tokens(self, prompt: Prompt, responses: Iterable[str]) -> _Group:
        turns = messages_of(prompt)
        prompt_ids = self._template.ids(turns, None)
        group = _Group(prompt_ids, [], [], [])
        for number, response in enumerate(responses_of(responses)):
            ids = self._template.ids(turns, response)
            if not ids:
                raise BundleError(f"response {number} has no tokens in the model's vocabulary")
            cut = self._cut(ids, len(prompt_ids))
            group.responses.append(cut)
            group.own_tokens.append(max(0, len(ids) - len(prompt_ids)))
            group.cut_tokens.append(len(ids) - len(cut.ids))
        return group

    def _cut(self, ids: list[int], prompt_tokens: int) -> Text:
        """A text that the model can read: the prompt loses its start down to its least length, then the response its end but the last token."""
        excess = len(ids) - self.max_length
        if excess <= 0:
            return Text(tuple(ids), prompt_tokens)
        head = self._template.head_tokens
        spare = max(0, min(prompt_tokens, len(ids) - 1) - head - self._min_prompt)
        lost = min(excess, spare)
        ids = ids[:head] + ids[head + lost:]
        ids = ids if len(ids) <= self.max_length else ids[:self.max_length - 1] + ids[-1:]
        return Text(tuple(ids), prompt_tokens - lost)

    def _cut_prompt(self, ids: list[int]) -> list[int]:
        head = min(self._template.head_tokens, len(ids))
        return ids[:head] + ids[head + min(max(0, len(ids) - self.max_length), len(ids) - head):]

    # --- Models ---
    def _load_head(self, directory: Path, over: Backbone) -> _Head:
        if (directory / "adapter_config.json").is_file():
            name = str(directory)
            return _Head(over, name, over.add_adapter(name, directory))
        own = Backbone.load(directory, self._device, self._dtype)
        return _Head(own, None, _head_of_model(directory))

    def _load_category(self, about: dict[str, Any]) -> _Category:
        name, directory = about["name"], self.directory
        backbone = self._backbone
        if about["base"] != "base":
            backbone = Backbone.load(directory / about["base"], self._device, self._dtype)
        experts = [self._load_head(directory / "experts" / name / point, backbone) for point in about["points"]]
        base = None
        if "base_reward" in about:
            where = directory / about["base_reward"]
            own_head = about["base_reward"] == about["base"]
            base = _Head(backbone, None, _head_of_model(where)) if own_head else self._load_head(where, backbone)
        aggregator = Aggregator(directory / "aggregator" / f"{name}.safetensors")
        if aggregator.reads_base and base is None:
            raise BundleError(f"{directory}: the aggregator of {name} reads its base's reward, but there is no model of phase 1")
        return _Category(name, list(about["points"]), experts, base, aggregator, self._manifest.get("score_stats", {}).get(name, {}))

    def _features(self, category: _Category, groups: list[_Group], batch_size: int) -> Features:
        texts = [text for group in groups for text in group.responses]
        backbone = category.experts[0].backbone
        states = backbone.states(texts, [expert.adapter for expert in category.experts], batch_size)
        rewards = [rewards_of(states[:, k], expert.weight) for k, expert in enumerate(category.experts)]
        if category.aggregator.reads_base and category.base is not None:
            of_base = backbone.states(texts, [category.base.adapter], batch_size)[:, 0]
            rewards.append(rewards_of(of_base, category.base.weight))
        prompts = None
        if category.aggregator.reads_prompt:
            pooled = backbone.pooled([self._cut_prompt(group.prompt) for group in groups], "mean", 0, batch_size)
            prompts = pooled.repeat_interleave(torch.tensor([len(group.responses) for group in groups]), 0)
        lengths = torch.tensor([log_length(tokens) for group in groups for tokens in group.own_tokens])
        return Features(states, torch.stack(rewards, 1), lengths, prompts)

    @torch.inference_mode()
    def _score_in(self, category: _Category, groups: list[tuple[Route, _Group]], batch_size: int) -> list[list[Result]]:
        features = self._features(category, [group for _, group in groups], batch_size)
        final, standard = category.aggregator.rewards(features), category.aggregator.standardised(features)
        parts = category.aggregator.contributions(features)
        k = len(category.points)
        row = 0
        results: list[list[Result]] = []
        for route, group in groups:
            own: list[Result] = []
            results.append(own)
            for cut in group.cut_tokens:
                z, part = standard[row].tolist(), None if parts is None else parts[row].tolist()
                reward = float(final[row])
                own.append(Result(reward=reward, normalised=_normalised(reward, category.stats), scored_by=category.name, route=route,
                                  points=dict(zip(category.points, z)), base=z[k] if len(z) > k else None,
                                  contributions=None if part is None else dict(zip(category.points, part)),
                                  base_contribution=part[k] if part is not None and len(part) > k else None, second_contribution=None,
                                  expert_rewards=features.rewards[row].tolist(), cut_tokens=cut))
                row += 1
        return results

    def _score_single(self, groups: list[tuple[Route, _Group]], batch_size: int) -> list[list[Result]]:
        texts = [text for _, group in groups for text in group.responses]
        single = self._single
        rewards = iter(rewards_of(single.backbone.states(texts, [single.adapter], batch_size)[:, 0], single.weight).tolist())
        results = []
        for route, group in groups:
            scored = zip(group.cut_tokens, rewards)
            results.append([Result(reward=reward, normalised=_normalised(reward, self._single_stats), scored_by="single", route=route, points={},
                                   base=None, contributions=None, base_contribution=None, second_contribution=None, expert_rewards=[],
                                   cut_tokens=cut)
                            for cut, reward in scored])
        return results

    # --- Checks ---
    def _sensitivity(self, result: Result) -> float:
        """How much a difference in the experts' rewards may change a result's reward."""
        first = self._categories.get(result.scored_by)
        if first is None:
            return 0.0
        second = self._categories.get(result.route.second or "")
        scale = first.stats.get("std", 1.0) / max(second.stats.get("std", 1.0), 1e-6) if second else 0.0
        return first.aggregator.sensitivity() + (scale * second.aggregator.sensitivity() if second else 0.0)

    def _check_golden(self) -> None:
        """Compares the bundle's golden scores with those of this machine. Raises BundleError for a difference that is not rounding."""
        half = self._dtype != torch.float32
        allowed, rounding = (0.5, 0.1) if half else (1e-4, 1e-5)

        def expect(what: str, got: float, wanted: float, more: float = 0) -> None:
            if not math.isfinite(got) or abs(got - wanted) - more > allowed * (1 + abs(wanted)):
                raise BundleError(f"{self.directory}: golden {what} is {got:.6f} here and {wanted:.6f} in {_MANIFEST}: "
                                  "this program computes different scores; use the version of dmoerm-hf that belongs to the bundle")

        for item in self._manifest["golden"]:
            results = self.score(item["prompt"], item["responses"], item["category"] or None)
            for i, result in enumerate(results):
                own = item.get("expert_rewards", [[]] * len(results))[i]
                if len(own) == len(result.expert_rewards):
                    for k, (got, wanted) in enumerate(zip(result.expert_rewards, own)):
                        expect(f"reward {i} of model {k} ({item['category'] or 'routed'})", got, wanted)
                expect(f"score {i} ({item['category'] or 'routed'})", result.reward, item["scores"][i], rounding * self._sensitivity(result))


def _head_of_model(directory: Path) -> Tensor:
    file = directory / "model.safetensors"
    tensors, metadata = read_tensors(file)
    return read_head(tensors, metadata, file)


def _normalised(reward: float, stats: dict[str, float]) -> float:
    return (reward - stats.get("mean", 0.0)) / max(stats.get("std", 1.0), 1e-6)


def _check_manifest(file: Path) -> None:
    """Compares the manifest with its own checksum: that of its text without white space and without the checksum's digits."""
    text = b"".join(file.read_bytes().split())
    entry = b'"%s":"' % _OWN_SUM.encode()
    before, found, rest = text.partition(entry)
    if not found:
        return  # earlier versions wrote none
    expected, quote, after = rest.partition(b'"')
    if hashlib.sha256(before + entry + quote + after).hexdigest().encode() != expected:
        raise BundleError(f"{file}: its {_OWN_SUM} is that of another content: it was damaged or edited; "
                          "copy the bundle again, or remove that entry if the change is meant")


def _check_files(directory: Path, manifest: dict[str, Any]) -> None:
    for name, expected in manifest.get("files", {}).items():
        file = directory / name
        if not file.is_file():
            raise BundleError(f"{file} is missing: copy the bundle again")
        found = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                found.update(chunk)
        if found.hexdigest() != expected:
            raise BundleError(f"{file} has another checksum than {_MANIFEST} says: it was damaged or edited; copy the bundle again")
