"""The peer of gpu.py: training steps of transformers and PEFT on the groups of bench_train_step, both texts of every pair in full, as a careful user writes them.

    peer_decoder.py --model DIR --groups FILE [--device cuda --dtype bfloat16 --dropout 0.05 --micro-pairs 8 32 64 --repeats 3]

A step is all pairs of the file, in padded batches of each size in turn; a size that does not fit the memory is left out. Prints one JSON line: pairs/s of the fastest size, the median of the repeats after
two that warm up.
"""
import argparse
import json
import statistics
import time

import torch
from peer_batches import padded
from peft import LoraConfig, get_peft_model
from transformers import AutoModel


def read_pairs(path):
    """[(ids of the better text, ids of the worse)]"""
    pairs = []
    with open(path, encoding="utf-8") as file:
        for group in map(json.loads, file):
            pairs += [tuple(group["prefix"] + group["responses"][k] for k in pair) for pair in group["pairs"]]
    return pairs


class Trainer:
    def __init__(self, model, device, dtype, dropout):
        torch.manual_seed(0)
        base = AutoModel.from_pretrained(model, dtype=getattr(torch, dtype), attn_implementation="sdpa")
        self.device = device
        self.model = get_peft_model(base, LoraConfig(r=32, lora_alpha=32, lora_dropout=dropout, bias="none", target_modules=["q_proj", "v_proj"])).to(device).train()
        self.head = torch.nn.Linear(base.config.hidden_size, 1, bias=False, device=device)
        torch.nn.init.normal_(self.head.weight, std=0.02)
        self.trained = [p for p in [*self.model.parameters(), *self.head.parameters()] if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-4, weight_decay=0.0, foreach=True)

    def rewards(self, texts):
        ids, mask = padded(texts, 0)
        states = self.model(input_ids=ids.to(self.device), attention_mask=None if bool(mask.all()) else mask.to(self.device), use_cache=False).last_hidden_state
        read = states[torch.arange(len(texts), device=self.device), torch.tensor([len(text) - 1 for text in texts], device=self.device)]
        return self.head(read.float()).squeeze(-1)

    def step(self, pairs, size):
        """One step in batches of `size` pairs. -> its loss, for which it waits"""
        total = 0.0
        for begin in range(0, len(pairs), size):
            part = pairs[begin:begin + size]
            better, worse = self.rewards([pair[0] for pair in part] + [pair[1] for pair in part]).chunk(2)
            loss = -torch.nn.functional.logsigmoid(better - worse).sum() / len(pairs)
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(total)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--groups", required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--micro-pairs", type=int, nargs="+", default=[8, 32, 64])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    pairs, trainer = sorted(read_pairs(a.groups), key=lambda pair: max(map(len, pair))), Trainer(a.model, a.device, a.dtype, a.dropout)
    speeds, first = {}, None
    for size in a.micro_pairs:
        seconds = []
        try:
            for _ in range(2 + a.repeats):
                begun = time.perf_counter()
                loss = trainer.step(pairs, size)
                seconds.append(time.perf_counter() - begun)
                first = loss if first is None else first
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            continue
        speeds[size] = len(pairs) / statistics.median(seconds[2:])
    if not speeds:
        raise SystemExit(f"none of {a.micro_pairs} pairs a batch fits the device's memory")
    best = max(speeds, key=speeds.get)
    print(json.dumps({"pairs_per_s": speeds[best], "micro_pairs": best, "all": speeds, "first_loss": first}))


if __name__ == "__main__":
    main()
