"""The peer of gpu.py: training steps of transformers and PEFT on the groups of bench_train_step, each text in full, as a careful user writes them.

    peer_decoder.py --model DIR --groups FILE [--mode pairs|listwise --device cuda --dtype bfloat16 --dropout 0.05 --sizes 8 32 64 --repeats 3]

A step is all groups of the file: in the mode pairs both texts of every labelled pair (or of the first --pairs-per-group of each group, as all are as long), as trainers of pairs do; in the mode listwise every
response once. It goes in padded batches of each size in turn, in pairs or groups; a size that does not fit the memory is left out. The fastest size is run again with autocast, which casts the adapters'
float32 weights instead of the states. Prints one JSON line: labelled pairs/s of the fastest way, the median of the repeats after one that warms up.
"""
import argparse
import contextlib
import json
import statistics
import time

import torch
from peer_batches import padded
from peft import LoraConfig, get_peft_model
from transformers import AutoModel


def read_units(path, mode, pairs_per_group):
    """What a batch may be made of: [(texts, [(better, worse) as numbers of the texts])], a pair or a group each."""
    units = []
    with open(path, encoding="utf-8") as file:
        for group in map(json.loads, file):
            texts = [group["prefix"] + response for response in group["responses"]]
            if mode == "listwise":
                units.append((texts, group["pairs"]))
            else:
                units += [([texts[better], texts[worse]], [(0, 1)]) for better, worse in group["pairs"][:pairs_per_group]]
    return sorted(units, key=lambda unit: max(map(len, unit[0])))


class Trainer:
    def __init__(self, model, device, dtype, dropout):
        torch.manual_seed(0)
        torch.set_float32_matmul_precision("high")  # PEFT keeps the adapters in float32; tensor cores multiply them as TF32
        base = AutoModel.from_pretrained(model, dtype=getattr(torch, dtype), attn_implementation="sdpa")
        self.device, self.autocast = device, False
        self.model = get_peft_model(base, LoraConfig(r=32, lora_alpha=32, lora_dropout=dropout, bias="none", target_modules=["q_proj", "v_proj"])).to(device).train()
        self.head = torch.nn.Linear(base.config.hidden_size, 1, bias=False, device=device)
        torch.nn.init.normal_(self.head.weight, std=0.02)
        self.trained = [p for p in [*self.model.parameters(), *self.head.parameters()] if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-4, weight_decay=0.0, fused=True)

    def on_device(self, values):
        return values.pin_memory().to(self.device, non_blocking=True) if self.device == "cuda" else values

    def rewards(self, texts):
        ids, mask = padded(texts, 0)
        whole = bool(mask.all())
        with torch.autocast(self.device, torch.bfloat16) if self.autocast else contextlib.nullcontext():
            states = self.model(input_ids=self.on_device(ids), attention_mask=None if whole else self.on_device(mask), use_cache=False).last_hidden_state
        read = states[torch.arange(len(texts), device=self.device), self.on_device(mask.sum(1) - 1)]
        return self.head(read.float()).squeeze(-1)

    def step(self, units, size):
        """One step in batches of `size` units. -> its loss, for which it waits"""
        total, count = 0.0, sum(len(pairs) for _, pairs in units)
        for begin in range(0, len(units), size):
            texts, better, worse = [], [], []
            for own, pairs in units[begin:begin + size]:
                better += [len(texts) + pair[0] for pair in pairs]
                worse += [len(texts) + pair[1] for pair in pairs]
                texts += own
            rewards = self.rewards(texts)
            loss = -torch.nn.functional.logsigmoid(rewards[self.on_device(torch.tensor(better))] - rewards[self.on_device(torch.tensor(worse))]).sum() / count
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(total)

    def seconds(self, units, size, repeats):
        """-> (the median of a step's seconds, the first loss); None where the memory is too small"""
        spent, first = [], None
        try:
            for _ in range(1 + repeats):
                begun = time.perf_counter()
                loss = self.step(units, size)
                spent.append(time.perf_counter() - begun)
                first = loss if first is None else first
        except torch.OutOfMemoryError:
            self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            return None
        return statistics.median(spent[1:]), first


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--groups", required=True)
    parser.add_argument("--mode", choices=["pairs", "listwise"], default="pairs")
    parser.add_argument("--pairs-per-group", type=int, help="default: all")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 32, 64], help="pairs or groups of a batch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    units, trainer = read_units(a.groups, a.mode, a.pairs_per_group), Trainer(a.model, a.device, a.dtype, a.dropout)
    pairs = sum(len(own) for _, own in units)
    found = {size: trainer.seconds(units, size, a.repeats) for size in a.sizes}
    found = {size: one for size, one in found.items() if one}
    if not found:
        raise SystemExit(f"no size of {a.sizes} fits the device's memory")
    size = min(found, key=lambda one: found[one][0])
    ways = {str(one): pairs / seconds for one, (seconds, _) in found.items()}
    if a.dtype == "bfloat16":
        trainer.autocast = True
        if cast := trainer.seconds(units, size, a.repeats):
            ways[f"{size}, autocast"] = pairs / cast[0]
    best = max(ways, key=ways.get)
    print(json.dumps({"pairs_per_s": ways[best], "batch": best, "all": ways, "first_loss": next(iter(found.values()))[1]}))


if __name__ == "__main__":
    main()
