"""The peer of train_minilm.py: a training loop of transformers and PEFT on pairs of token ids, as a careful user writes it.

    peer_minilm.py --model DIR --groups FILE --threads N [--padded]

Without --padded each text runs by itself. Prints one JSON line: pairs/s, the median of three passes after one that warms up.
"""
import argparse
import json
import os
import statistics
import time

# The allocator keeps freed memory, as ours does; without that the loop is several times slower on a virtual machine.
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "68719476736", "MALLOC_TOP_PAD_": "268435456"}


def rewards(model, head, texts, torch):
    """Rewards of texts that run together, read at the first token as the encoder's heads do."""
    longest = max(map(len, texts))
    ids = torch.zeros(len(texts), longest, dtype=torch.long)
    mask = torch.zeros(len(texts), longest, dtype=torch.long)
    for row, text in enumerate(texts):
        ids[row, :len(text)] = torch.tensor(text)
        mask[row, :len(text)] = 1
    even = all(len(text) == longest for text in texts)
    states = model(input_ids=ids, attention_mask=None if even else mask).last_hidden_state
    return head(states[:, 0]).squeeze(-1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--groups", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--padded", action="store_true")
    a = parser.parse_args()
    if any(os.environ.get(k) != v for k, v in TUNED.items()):
        import sys
        os.environ.update(TUNED)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel
    torch.set_num_threads(a.threads)
    torch.set_num_interop_threads(1)
    torch.manual_seed(0)
    with open(a.groups, encoding="utf-8") as file:
        pairs = [json.loads(line)["responses"] for line in file]
    base = AutoModel.from_pretrained(a.model, dtype=torch.float32, attn_implementation="sdpa", add_pooling_layer=False)
    model = get_peft_model(base, LoraConfig(r=32, lora_alpha=32, lora_dropout=0.0, bias="none", target_modules=["query", "value"]))
    model.train()
    for module in model.modules():  # the base's own dropout, which ours does not have
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    head = torch.nn.Linear(base.config.hidden_size, 1, bias=False)
    torch.nn.init.normal_(head.weight, std=0.02)
    optimizer = torch.optim.AdamW([p for p in [*model.parameters(), *head.parameters()] if p.requires_grad], lr=1e-4, weight_decay=0.0, foreach=True)
    seconds, first = [], None
    for _ in range(4):
        began = time.perf_counter()
        for begin in range(0, len(pairs), 8):
            step, total = pairs[begin:begin + 8], 0.0
            micro = 1
            if a.padded:
                step, micro = sorted(step, key=lambda pair: max(map(len, pair))), 2
            for i in range(0, len(step), micro):
                part = step[i:i + micro]
                if a.padded:
                    won, lost = rewards(model, head, [p[0] for p in part] + [p[1] for p in part], torch).chunk(2)
                else:
                    won, lost = (rewards(model, head, [text], torch) for text in part[0])
                loss = -torch.nn.functional.logsigmoid(won - lost).sum() / len(step)
                loss.backward()
                total += float(loss.detach())
            torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            first = total if first is None else first
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"pairs_per_s": len(pairs) / statistics.median(seconds[1:]), "first_loss": first}))


if __name__ == "__main__":
    main()
