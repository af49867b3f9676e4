"""The transformer under the experts, with their LoRA adapters and value heads."""
from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from safetensors import safe_open
from torch import Tensor, nn

from .errors import BundleError

_PEFT = "base_model.model."
_HEADS = {"score.weight", "classifier.weight", "classifier.bias"}


class Text(NamedTuple):
    """Token ids of a prompt and a response, and the number of them that are the prompt's."""

    ids: tuple[int, ...]
    prompt: int


class LoraLinear(nn.Module):
    """A linear layer to which the active adapter adds (x A^T) B^T * scale."""

    def __init__(self, linear: nn.Linear, active: list[str]) -> None:
        super().__init__()
        self.linear, self.active = linear, active
        self.adapters: dict[str, tuple[Tensor, Tensor, float]] = {}

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        for name in self.active:
            if name in self.adapters:
                down, up, scale = self.adapters[name]
                y = y + (x @ down.T) @ up.T * scale
        return y


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, and its metadata."""
    if not file.is_file():
        raise BundleError(f"{file} is missing: the bundle is not whole, copy it again")
    with safe_open(str(file), framework="pt") as stored:
        return {name: stored.get_tensor(name) for name in stored.keys()}, stored.metadata() or {}


def read_head(tensors: dict[str, Tensor], metadata: dict[str, str], file: Path) -> Tensor:
    """The value head [H], float32, divided by the factor that BERT's heads are stored with. Raises BundleError if there is none."""
    for name in ("score.weight", "classifier.weight"):
        if name in tensors:
            return tensors[name].float().flatten() / float(metadata.get("head_scale", "1"))
    raise BundleError(f"{file} holds no head (score.weight or classifier.weight)")


def read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{file} is missing: the bundle is not whole, copy it again") from None
    except ValueError as error:
        raise BundleError(f"{file} is not valid JSON ({error}): the file is damaged") from None


@dataclass
class Mask:
    """Weights that are pretrained + scale * mask * elected, where `elected` stands for the changes of several backbones."""

    bits: dict[str, Tensor]
    scale: float
    pretrained: Path

    @staticmethod
    def read(directory: Path) -> Mask | None:
        """The mask in a directory; None if its weights are whole."""
        file = directory / "model.safetensors"
        if not file.is_file():
            return None
        with safe_open(str(file), framework="pt") as stored:
            metadata = stored.metadata() or {}
            if "mask_scale" not in metadata:
                return None
            bits = {name.removeprefix("mask."): stored.get_tensor(name) for name in stored.keys() if name.startswith("mask.")}
        return Mask(bits, float(metadata["mask_scale"]), Path(os.path.normpath(directory / metadata["mask_pretrained"])))

    def apply(self, model: nn.Module) -> None:
        """Turns the pretrained model's weights into this mask's, computed in float32."""
        elected, _ = read_tensors(self.pretrained / "elected.safetensors")
        weights = dict(model.named_parameters())
        shifts = torch.arange(8, dtype=torch.uint8)
        for name, change in elected.items():
            places = ((self.bits[name].unsqueeze(1) >> shifts) & 1).flatten()[:change.numel()].view(change.shape)
            weight = weights[name]
            weight.data.copy_(weight.data.float().cpu() + change.float() * places * self.scale)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keeps transformers from reporting the head that a model without head leaves out, and from drawing bars."""
    logging: Any = transformers.utils.logging  # without type hints
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


class Backbone:
    """A model of transformers without its head. Texts go through it one batch at a time, padded on the right."""

    def __init__(self, model: transformers.PreTrainedModel, device: torch.device) -> None:
        self.model: transformers.PreTrainedModel = model.requires_grad_(False).train(False).to(device)
        self.config: Any = model.config
        self.device = device
        self.encoder: bool = self.config.model_type == "bert"
        self.reads: str = getattr(self.config, "dmoerm_head_reads", "last")
        if self.reads not in ("last", "mean"):
            raise BundleError(f"config.json: dmoerm_head_reads is \"{self.reads}\", expected \"last\" or \"mean\": use a newer dmoerm-hf")
        self._active: list[str] = []

    @staticmethod
    def load(directory: Path, device: torch.device, dtype: torch.dtype) -> Backbone:
        """Reads a directory of transformers, or one whose weights are a mask. Raises BundleError if a tensor is missing."""
        mask = Mask.read(directory)
        if mask is not None:
            backbone = Backbone.load(mask.pretrained, device, dtype)
            mask.apply(backbone.model)
            return backbone
        config = read_json(directory / "config.json")
        options: dict[str, Any] = {"add_pooling_layer": False} if config.get("model_type") == "bert" else {}
        with quiet_loading():
            model, about = transformers.AutoModel.from_pretrained(str(directory), torch_dtype=dtype, output_loading_info=True, **options)
        if about["missing_keys"]:
            raise BundleError(f"{directory}: the tensors {sorted(about['missing_keys'])[:3]} are missing: config.json and weights do not belong together")
        return Backbone(model, device)

    def add_adapter(self, name: str, directory: Path) -> Tensor:
        """Reads a PEFT adapter under a name and returns its value head [H]. Raises BundleError for what is not LoRA on q and v with a head."""
        config = read_json(directory / "adapter_config.json")
        if config.get("peft_type") != "LORA" or config.get("use_dora") or config.get("use_rslora"):
            raise BundleError(f"{directory}: only plain LoRA adapters are read")
        file = directory / "adapter_model.safetensors"
        tensors, metadata = read_tensors(file)
        plain = {stored.removeprefix(_PEFT): tensor for stored, tensor in tensors.items()}
        head = read_head(plain, metadata, file)
        scale = float(config["lora_alpha"]) / float(config["r"])
        downs = {stored[:-len(".lora_A.weight")]: tensor for stored, tensor in plain.items() if stored.endswith(".lora_A.weight")}
        if 2 * len(downs) + len(_HEADS & plain.keys()) != len(plain):
            raise BundleError(f"{file} holds tensors beside LoRA matrices and a head")
        for path, down in downs.items():
            up = plain[path + ".lora_B.weight"]
            like = self._lora_at(path)
            like.adapters[name] = (down.to(like.linear.weight), up.to(like.linear.weight), scale)
        return head

    def _lora_at(self, path: str) -> LoraLinear:
        path = path.removeprefix(self.model.base_model_prefix + ".")
        parent_path, _, last = path.rpartition(".")
        parent = self.model.get_submodule(parent_path)
        layer = getattr(parent, last)
        if not isinstance(layer, LoraLinear):
            layer = LoraLinear(layer, self._active)
            setattr(parent, last, layer)
        return layer

    def _batches(self, texts: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for begin in range(0, len(order), batch_size):
            yield order[begin:begin + batch_size]

    def _forward(self, texts: list[Sequence[int]], layers: int) -> Tensor:
        """States of every token, [N, T, H], after the first `layers` layers; 0 means all of them and the last norm."""
        longest = max(map(len, texts))
        ids = torch.zeros((len(texts), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, :len(text)] = torch.tensor(text)
            mask[row, :len(text)] = 1
        if int(ids.max()) >= self.config.vocab_size:
            raise BundleError(f"token id {int(ids.max())} is outside the model's vocabulary of {self.config.vocab_size}")
        options: dict[str, Any] = {} if self.encoder else {"use_cache": False}
        out = self.model(input_ids=ids.to(self.device), attention_mask=mask.to(self.device), output_hidden_states=layers > 0, **options)
        states: Tensor = out.hidden_states[layers] if layers > 0 else out.last_hidden_state
        return states

    @torch.inference_mode()
    def states(self, texts: Sequence[Text], adapters: Sequence[str | None], batch_size: int) -> Tensor:
        """The state that a head reads of each text under each adapter (None: the backbone alone), [N, K, H], float32, on the CPU.

        A decoder's head reads the last token, BERT's the first; or either the mean over the response's. Equal texts are computed once.
        """
        distinct: dict[Text, int] = {}
        places = [distinct.setdefault(text, len(distinct)) for text in texts]
        unique = list(distinct)
        states = torch.empty((len(unique), len(adapters), self.config.hidden_size))
        for k, adapter in enumerate(adapters):
            self._active[:] = [] if adapter is None else [adapter]
            for rows in self._batches([text.ids for text in unique], batch_size):
                hidden = self._forward([unique[i].ids for i in rows], 0)
                for row, i in enumerate(rows):
                    states[i, k] = self._read(hidden[row], unique[i]).cpu()
        self._active.clear()
        return states[places]

    def _read(self, hidden: Tensor, text: Text) -> Tensor:
        """What a head reads of one text's states [T, H], padding after them."""
        last = len(text.ids) - 1
        if self.reads == "mean":
            return hidden[min(text.prompt, last):last + 1].float().mean(0)
        return hidden[0 if self.encoder else last].float()

    @torch.inference_mode()
    def pooled(self, prompts: Sequence[Sequence[int]], pooling: str, layers: int, batch_size: int) -> Tensor:
        """The mean ("mean") or the last ("last") of each prompt's states without adapters, [N, H], float32, on the CPU."""
        self._active.clear()
        pooled = torch.empty((len(prompts), self.config.hidden_size))
        for rows in self._batches(prompts, batch_size):
            hidden = self._forward([prompts[i] for i in rows], layers).float().cpu()
            for row, i in enumerate(rows):
                own = hidden[row, :len(prompts[i])]
                pooled[i] = own[-1] if pooling == "last" else own.mean(0)
        return pooled


def rewards_of(states: Tensor, head: Tensor) -> Tensor:
    """Rewards [N], float32, of states [N, H]; products are summed in float64."""
    return (states.double() @ head.double()).float()


def log_length(tokens: int) -> float:
    """Logarithm of 1 + the number of tokens of a response."""
    return math.log1p(tokens)
