"""roofline: where a training step of one LoRA expert goes, beside what the machine can do at most.

First the machine's own peaks: fused multiply-adds in registers, memory, and the BLAS on the shapes of the model. Then steps on made-up ids with the lengths of HH pairs (--workload unshared: whole
texts that share nothing), on one thread and on --threads: seconds, share and GFLOP/s of each kind of work. "Lost to threads" is processor time that the same work did not need on one thread: waiting
for the other thread, and work that both do. Ends with one JSON line; `share_of_peak` is all arithmetic of a step against fused multiply-adds on the same threads.
"""
import argparse
import json
import os
import tempfile

from bench_common import DEFAULT_MODEL, machine_peaks, run_ours, write_lines
from made_up_groups import pairs_like_hh, unshared_pairs

KINDS = ("matrix products", "attention", "LoRA", "elementwise", "optimizer", "data", "between operations")


def profile(model, groups, threads, repeats):
    """Seconds and arithmetic by kind, those between operations included."""
    found = run_ours(model, groups, threads, "--groups-per-step", 8, "--repeats", repeats, "--profile")
    where = found["profile"]
    kinds = {name: where["kinds"].get(name, {"seconds": 0.0, "flops": 0.0}) for name in KINDS[:-1]}
    kinds["attention"]["flops"], kinds["LoRA"]["flops"] = found["attention_flops"], found["lora_flops"]
    kinds["matrix products"]["flops"] = found["linear_flops"]
    kinds[KINDS[-1]] = {"seconds": where["wall_s"] - sum(k["seconds"] for k in kinds.values()), "flops": 0.0}
    return found, where, kinds


def show_peaks(peaks, threads):
    for count, found in peaks["on"].items():
        print(f"{count} thread{'s' if count != '1' else ''}: multiply-adds {found['fma_256_bits']:.0f} GFLOP/s in 256 bits, {found['fma_512_bits']:.0f} in 512; memory {found['read_gb_s']:.0f} GB/s read, "
              f"{found['copy_gb_s']:.0f} copied")
    print(f"\n| product of {peaks['products'][0]['rows']} rows | inner x columns | GFLOP/s, 1 thread | {threads} threads |\n|---|---|---|---|")
    alone = {p["what"]: p["gflops"] for p in peaks["products"] if p["threads"] == 1}
    for p in peaks["products"]:
        if p["threads"] == threads:
            print(f"| {p['what']} | {p['inner']} x {p['columns']} | {alone[p['what']]:.0f} | {p['gflops']:.0f} |")


def show_kinds(alone, beside, wall, peak, threads):
    print(f"\n| work | of the step | GFLOP/s | of the peak | lost to threads |\n|---|---|---|---|---|")
    for name in KINDS:
        seconds, flops = beside[name]["seconds"], beside[name]["flops"]
        rate = f"{flops / seconds * 1e-9:.0f} | {100 * flops / seconds * 1e-9 / peak:.0f} %" if flops and seconds else " | "
        lost = 100 * (threads * seconds - alone[name]["seconds"]) / (threads * wall)
        print(f"| {name} | {100 * seconds / wall:.1f} % | {rate} | {lost:.1f} % |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--workload", choices=["pairs", "unshared"], default="pairs")
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    with open(os.path.join(a.model, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    kv = config["hidden_size"] // config["num_attention_heads"] * config.get("num_key_value_heads", config["num_attention_heads"])
    peaks = machine_peaks("--threads", a.threads, "--width", config["hidden_size"], "--intermediate", config["intermediate_size"], "--kv-width", kv)
    show_peaks(peaks, a.threads)
    made = (pairs_like_hh if a.workload == "pairs" else unshared_pairs)(a.pairs, config["vocab_size"])
    with tempfile.TemporaryDirectory() as folder:
        groups = write_lines(os.path.join(folder, "groups.jsonl"), made)
        _, _, alone = profile(a.model, groups, 1, 1)
        found, where, beside = profile(a.model, groups, a.threads, a.repeats)
    peak, wall = peaks["on"][str(a.threads)]["fma"], where["wall_s"]
    show_kinds(alone, beside, wall, peak, a.threads)
    busy = where["user_s"] + where["system_s"]
    lost = 1 - sum(k["seconds"] for k in alone.values()) / (a.threads * wall)
    print(f"\n{found['packed_tokens_per_s']:.0f} tokens/s; {found['gflops']:.0f} GFLOP/s of {peak:.0f}; {where['page_faults']} page faults and {100 * where['system_s'] / busy:.1f} % of the processor time in the "
          f"kernel in {a.pairs // 8 or 1} steps")
    print(json.dumps({"name": "roofline", "unit": "GFLOP/s", "workload": a.workload, "ours": round(found["gflops"], 1), "peer": round(peak, 1), "ratio": round(found["gflops"] / peak, 3),
                      "share_of_peak": round(found["gflops"] / peak, 3), "tokens_per_s": round(found["packed_tokens_per_s"], 1), "threads": a.threads,
                      "shares": {name: round(beside[name]["seconds"] / wall, 4) for name in KINDS}, "lost_to_threads": round(lost, 4),
                      "kernel_share": round(where["system_s"] / busy, 4), "page_faults": where["page_faults"], "peaks": peaks["on"]}))


if __name__ == "__main__":
    main()
