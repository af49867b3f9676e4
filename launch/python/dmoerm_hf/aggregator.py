"""The dense, inner layer's end: one reward of what the experts and the base say. R rewards: K experts, and the base's where it is read."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .backbone import read_tensors
from .errors import BundleError

_KINDS = ("mean", "stack", "mlp", "gate", "paper_mlp", "wco", "uwo")


@dataclass
class Features:
    """What an aggregator may read of N responses."""

    states: Tensor
    """The experts' states, [N, K, H]."""
    rewards: Tensor
    """The experts' rewards and, as the last column, the base's where it is read, [N, R]."""
    lengths: Tensor
    """Logarithms of 1 + the tokens of each response, [N]."""
    prompts: Tensor | None
    """The mean state of each response's prompt, [N, H], where it is read."""


class Aggregator:
    """A fitted combination, read from one safetensors file."""

    def __init__(self, file: Path) -> None:
        self.tensors, metadata = read_tensors(file)
        if "kind" not in metadata:
            raise BundleError(f"{file}: the metadata do not name a kind: this is not an aggregator")
        version, self.kind = metadata.get("version", "1"), metadata["kind"]
        if version == "1":
            self.kind = {"linear": "stack", "mlp": "paper_mlp"}.get(self.kind, self.kind)
        if self.kind not in _KINDS or version not in ("1", "2"):
            raise BundleError(f"{file}: aggregator kind {self.kind} of version {version} is unknown: use a newer dmoerm-hf")
        self.reads_base = metadata.get("reads_base") == "true"
        self.variance_price = float(metadata.get("variance_price", "0"))

    @property
    def reads_prompt(self) -> bool:
        return self.kind == "gate"

    @property
    def reads_states(self) -> bool:
        return self.kind in ("mlp", "paper_mlp")

    def sensitivity(self) -> float:
        """The most that the result changes, about, if each of the rewards that it reads changes by one."""
        t = self.tensors
        if self.kind == "paper_mlp":
            return 0.0
        least = float(t["reward_std"].min())
        if self.kind == "gate":
            return float(t["log_scale"].exp()) / least
        if self.kind in ("wco", "uwo"):
            return (1 + 8 * self.variance_price) / least
        return float((t["weight"].abs() / t["reward_std"]).sum())

    def standardised(self, features: Features) -> Tensor:
        """Rewards less their mean, over their spread within groups, [N, R]."""
        return (features.rewards - self.tensors["reward_mean"]) / self.tensors["reward_std"]

    def contributions(self, features: Features) -> Tensor | None:
        """What each reward adds to the result, [N, R]; they add up to it. None for kinds that are no sums."""
        if self.kind in ("mean", "stack"):
            return self.standardised(features) * self.tensors["weight"]
        return self._gate_parts(features) if self.kind == "gate" else None

    def rewards(self, features: Features) -> Tensor:
        """The final reward of each response, [N]."""
        t = self.tensors
        if self.kind == "paper_mlp":
            return self._network(features.states.flatten(1))
        if self.kind == "gate":
            return self._gate_parts(features).sum(1)
        z = self.standardised(features)
        if self.kind == "wco":
            return z.amin(1)
        if self.kind == "uwo":
            return z.mean(1) - z.var(1, unbiased=False) * self.variance_price
        stacked = z @ t["weight"]
        if self.kind == "mlp":
            return stacked + self._network((features.states.flatten(1) - t["state_mean"]) / t["state_std"])
        return stacked

    def _network(self, inputs: Tensor) -> Tensor:
        t = self.tensors
        hidden = torch.nn.functional.prelu(inputs @ t["w1"].T + t["b1"], t["slope"].flatten())
        return hidden @ t["w2"].flatten() + t["b2"]

    def _gate_parts(self, features: Features) -> Tensor:
        t = self.tensors
        z = self.standardised(features)
        if "length_weight" in t:
            z = z - ((features.lengths - t["length"][0]) / t["length"][1]).unsqueeze(1) * t["length_weight"]
        assert features.prompts is not None
        hidden = torch.relu((features.prompts - t["prompt_mean"]) / t["prompt_std"] @ t["gate_w1"].T + t["gate_b1"])
        return z * torch.softmax(hidden @ t["gate_w2"].T + t["gate_b2"], 1) * t["log_scale"].exp()
