"""The outer, sparse layer, which finds the category of a prompt."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .backbone import read_json, read_tensors
from .errors import BundleError


@dataclass(frozen=True)
class Route:
    """Where a prompt goes."""

    category: str
    """The likeliest category, whatever the thresholds."""
    confidence: float
    """Its calibrated probability."""
    distance: float
    """Distance to the nearest category; above 1 the prompt counts as one of no category."""
    fallback: bool
    """Whether the single model scored."""
    probabilities: dict[str, float]
    """The calibrated probability of each category."""
    second: str | None = None
    """The category whose rewards are mixed with those of the likeliest one; None where none are."""
    second_share: float = 0.0
    """Its share of the mixed reward."""


class Router:
    """A linear head on pooled states of the base, calibrated by a temperature, or clusters of them, and a measure of distance to the categories."""

    def __init__(self, directory: Path) -> None:
        settings = read_json(directory / "router.json")
        tensors, _ = read_tensors(directory / "router.safetensors")
        self.categories: list[str] = settings["categories"]
        self.pooling: str = settings["pooling"]
        self.layers: int = settings.get("layers", 0)
        self.temperature: float = settings["temperature"]
        self.confidence_min: float = settings["confidence_min"]
        if self.pooling not in ("mean", "last"):
            raise BundleError(f"{directory}: pooling \"{self.pooling}\" is not known: use a newer dmoerm-hf")
        self._mean, self._std = tensors["mean"], tensors["std"]
        self._mix_top: int = settings.get("mix_top", 1)
        self._mix_gap: float = settings.get("mix_gap", 0.0)
        kind = settings.get("kind", "trained")
        if kind not in ("trained", "reward", "clusters"):
            raise BundleError(f"{directory}: the router's kind \"{kind}\" is not known: use a newer dmoerm-hf")
        self._clusters = (tensors["centres"], tensors["shares"]) if kind == "clusters" else None
        self._head = None if kind == "clusters" else (tensors["weight"], tensors["bias"])
        self._gaussians = {name: tensors[name] for name in tensors if name.startswith("ood_")}

    def route(self, state: Tensor) -> Route:
        """Route the pooled state [H] of a prompt. The route's `fallback` says what the router would do."""
        x = (state.float() - self._mean) / self._std
        probabilities = self._probabilities(x)
        likeliest = int(probabilities.argmax())
        confidence, distance = float(probabilities[likeliest]), self._distance(x)
        unsure = not (confidence >= self.confidence_min and distance <= 1)
        named = dict(zip(self.categories, probabilities.tolist()))
        route = Route(self.categories[likeliest], confidence, distance, unsure, named)
        return route if unsure or self._mix_top < 2 else self._with_second(route)

    def _probabilities(self, x: Tensor) -> Tensor:
        if self._clusters is not None:
            centres, shares = self._clusters
            return shares[int((centres - x).square().sum(1).argmin())].double()
        assert self._head is not None
        weight, bias = self._head
        return torch.softmax((weight @ x + bias).double() / self.temperature, 0)

    def _with_second(self, route: Route) -> Route:
        """The route with the category whose rewards are mixed in, if one is nearly as likely."""
        others = [(p, name) for name, p in route.probabilities.items() if name != route.category and p > 0 and route.confidence - p <= self._mix_gap]
        if not others:
            return route
        p, name = max(others, key=lambda other: other[0])
        return replace(route, second=name, second_share=p / (route.confidence + p))

    def _distance(self, x: Tensor) -> float:
        """The Mahalanobis distance to the nearest category as a multiple of that category's threshold."""
        if not self._gaussians:
            return 0.0
        g = self._gaussians
        scales = g["ood_scales"]
        other = scales[-1]
        rest = x.double() - g["ood_means"]
        along = rest @ g["ood_directions"].T
        squares = (along.square() * (scales[:-1].reciprocal() - 1 / other)).sum(1) + rest.square().sum(1) / other
        return float((squares / g["ood_thresholds"]).nan_to_num(1e30, 1e30).min().sqrt())
