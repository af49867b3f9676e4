"""A peer of gpu.py: TRL's RewardTrainer on the pairs of bench_train_step. It needs trl and datasets beside transformers and PEFT.

    peer_trl.py --model DIR --groups FILE [--device cuda --dropout 0.05 --sizes 8 32 64 --repeats 3]

A step is all pairs of the file, in batches of each size in turn, their gradients accumulated. No gradient is checkpointed, as the memory suffices, dropout stays on, and Liger's kernels are used where they are
installed. Prints one JSON line: pairs/s of the fastest size, the median of the repeats after one that warms up. This trainer has no way without padding; texts of one length need none.
"""
import argparse
import contextlib
import importlib.util
import json
import statistics
import sys
import tempfile
import time

import torch
from datasets import Dataset
from peer_decoder import read_units
from peft import LoraConfig
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast, TrainerCallback
from trl import RewardConfig, RewardTrainer

LIGER = importlib.util.find_spec("liger_kernel") is not None


class Stamps(TrainerCallback):
    """Seconds and loss of each optimizer step."""

    def __init__(self):
        self.seconds, self.losses = [], []

    def now(self):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_step_begin(self, *_, **__):
        self.begun = self.now()

    def on_step_end(self, *_, **__):
        self.seconds.append(self.now() - self.begun)

    def on_log(self, *_, logs=None, **__):
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))


def train(a, dataset, size, folder):
    """-> (seconds of a step, the first loss)"""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"<pad>": 0, "<eos>": 1}, "<pad>")), pad_token="<pad>", eos_token="<eos>")  # of ids it only pads
    model = AutoModelForSequenceClassification.from_pretrained(a.model, num_labels=1, dtype=torch.bfloat16, attn_implementation="sdpa")
    batches, rest = divmod(len(dataset), size)
    if rest:
        raise SystemExit(f"--sizes {size}: the {len(dataset)} pairs are no whole batches")
    settings = RewardConfig(output_dir=folder, per_device_train_batch_size=size, gradient_accumulation_steps=batches, max_steps=1 + a.repeats, num_train_epochs=1 + a.repeats, bf16=True, tf32=a.device == "cuda" or None,
                            use_cpu=a.device == "cpu", gradient_checkpointing=False, disable_dropout=False, max_length=None, learning_rate=1e-4, lr_scheduler_type="constant", max_grad_norm=1.0, weight_decay=0.0,
                            optim="adamw_torch_fused", use_liger_kernel=LIGER, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True, dataloader_pin_memory=a.device == "cuda", seed=1)
    stamps = Stamps()
    lora = LoraConfig(r=32, lora_alpha=32, lora_dropout=a.dropout, bias="none", target_modules=["q_proj", "v_proj"], modules_to_save=["score"], task_type="SEQ_CLS")
    RewardTrainer(model=model, args=settings, train_dataset=dataset, processing_class=tokenizer, peft_config=lora, callbacks=[stamps]).train()
    return statistics.median(stamps.seconds[1:]), stamps.losses[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--groups", required=True)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 32, 64], help="pairs of a batch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    units = read_units(a.groups, "pairs", None)
    dataset = Dataset.from_dict({"chosen_ids": [texts[0] for texts, _ in units], "rejected_ids": [texts[1] for texts, _ in units]})
    ways, first = {}, None
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):  # the trainer prints what it logs
        for size in a.sizes:
            try:
                seconds, loss = train(a, dataset, size, folder)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                continue
            ways[str(size)] = len(dataset) / seconds
            first = loss if first is None else first
    if not ways:
        raise SystemExit(f"no size of {a.sizes} fits the device's memory")
    best = max(ways, key=ways.get)
    print(json.dumps({"pairs_per_s": ways[best], "batch": best, "all": ways, "first_loss": first, "liger": LIGER}))


if __name__ == "__main__":
    main()
