"""The peer of score-best-of and score-latency: transformers and PEFT in one process, as a careful user writes it.

Router: the base without adapters up to the layer that it reads, on the prompt. Experts: a loop of set_adapter over the texts, each in full, in padded batches of the size that was fastest. Everything runs
in torch.inference_mode(), and what was tokenized before is not counted.
"""
import os
import sys
import time
from pathlib import Path

import torch
from peer_batches import padded
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "launch", "python"))
from dmoerm_hf.aggregator import Aggregator, Features  # noqa: E402
from dmoerm_hf.router import Router  # noqa: E402


class Reached(Exception):
    """The layer that was wanted has been computed."""


class PeerScorer:
    def __init__(self, bundle, categories, threads, batch=0, device="cpu", dtype="float32"):
        torch.set_num_threads(threads)
        bundle = Path(bundle)
        self.router, self.batch, self.categories, self.device = Router(bundle / "router"), batch, categories, device
        self.aggregators = {name: Aggregator(bundle / "aggregator" / f"{name}.safetensors") for name in categories}
        base = AutoModelForSequenceClassification.from_pretrained(bundle / "base", dtype=getattr(torch, dtype))
        self.model = None
        for name, points in categories.items():
            for point in points:
                folder = bundle / "experts" / name / point
                if self.model is None:
                    self.model = PeftModel.from_pretrained(base, folder, adapter_name=f"{name}/{point}", autocast_adapter_dtype=False)  # in the base's dtype, which is fastest
                else:
                    self.model.load_adapter(folder, adapter_name=f"{name}/{point}", autocast_adapter_dtype=False)
        self.model.eval().to(device)
        self.pad = base.config.pad_token_id

    def rewards(self, adapter, texts, batch):
        self.model.set_adapter(adapter)
        parts = []
        for begin in range(0, len(texts), batch):
            ids, mask = padded(texts[begin:begin + batch], self.pad)
            parts.append(self.model(input_ids=ids.to(self.device), attention_mask=None if bool(mask.all()) else mask.to(self.device), use_cache=False).logits[:, 0].float())
        return torch.cat(parts).cpu()

    def prompt_state(self, prompt):
        decoder, kept = self.model.get_base_model().model, []

        def keep(_, __, out):
            kept.append(out[0] if isinstance(out, tuple) else out)
            raise Reached

        layers = self.router.layers
        hook = decoder.layers[layers - 1].register_forward_hook(keep) if layers > 0 else None
        try:
            with self.model.disable_adapter():
                kept.append(decoder(input_ids=torch.tensor([prompt], device=self.device), use_cache=False).last_hidden_state)
        except Reached:
            pass
        finally:
            if hook is not None:
                hook.remove()
        rows = kept[0].reshape(len(prompt), -1).float().cpu()
        return rows[-1] if self.router.pooling == "last" else rows.mean(0)

    @torch.inference_mode()
    def score(self, prompt, texts):
        name = self.router.route(self.prompt_state(prompt)).category
        each = torch.stack([self.rewards(f"{name}/{point}", texts, self.batch or len(texts)) for point in self.categories[name]], 1)
        return self.aggregators[name].rewards(Features(states=each, rewards=each, lengths=each, prompts=None)).tolist()

    @torch.inference_mode()
    def choose_batch(self, texts):
        """Takes the fastest size of batches for these texts, and warms up. -> {size: seconds of one expert}"""
        name = next(iter(self.categories))
        adapter, tried = f"{name}/{self.categories[name][0]}", {}
        self.rewards(adapter, texts[:1], 1)
        for size in sorted({min(size, len(texts)) for size in (1, 4, 16, 64)}) if not self.batch else [self.batch]:
            begun = time.perf_counter()
            self.rewards(adapter, texts, size)
            tried[size] = time.perf_counter() - begun
        self.batch = min(tried, key=tried.get)
        return tried
