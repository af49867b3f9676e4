"""Runs on several hosts whose links break for a moment, break for good, or are slow.

Three hosts on this machine (cluster/netns; as root), ranks on each. A cut of 5 s heals or ends the run cleanly; after a permanent cut the run ends within
15 s with the host named; run again, each ends with the bits of an undisturbed run. Then an expert (LoRA of rank 32) is trained by ranks on two
hosts with 100 Mbit/s links: the share of its time that goes to communication must stay below 10 %,
waiting for the other rank included. Ends with one JSON line, also when a case fails.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import time

from support.netns import HOSTS, Hosts
from support.torture import torture
from support.trained_bits import CONFIG, ROOT, differences, fingerprint, make_data, tasks_done

ENDS_WITHIN_S = 15  # limit after a permanent cut
LIMIT_S = 900       # limit of one run
SHARE_MAX = 0.10
# Layers, of the 30 in SmolLM2-135M: bytes and arithmetic both grow with the layers, so their ratio stays.
LAYERS = 6
STEPS, GROUPS = 3, 32  # short texts: about 6,700 tokens a step


class Run:
    """The small configuration on all hosts."""

    def __init__(self, hosts, base, name):
        self.hosts, self.name, self.base, self.directory, self.log = hosts, name, base, f"{base}/{name}", f"{base}/{name}.log"

    def start(self):
        words = [f"{ROOT}/launch/dmoerm", "--hosts", "h1:2,h2:1,h3:1", "run", "--config", CONFIG]
        for setting in (f"name={self.name}", f"runs_dir={self.base}", "cluster.timeout_s=10"):
            words += ["--set", setting]
        with open(self.log, "a") as log:
            self.process = self.hosts.start("h1", words, log, {"DMOERM_DATA": f"{self.base}/data", "DMOERM_COMM_TIMEOUT_S": "10"})

    def wait(self, limit_s=LIMIT_S):
        """@return the exit code, or None after limit_s seconds"""
        try:
            return self.process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return None

    def wait_training(self, share):
        """Wait until about that share of the tasks is done."""
        deadline = time.time() + LIMIT_S
        while time.time() < deadline and self.process.poll() is None and tasks_done(self.directory) < 1 + share * 12:
            time.sleep(0.05)

    def said_since(self, offset):
        with open(self.log) as f:
            f.seek(offset)
            return f.read()


def finish(run, line, reference):
    """Start again until the run is done, and compare. @return what differs"""
    run.hosts.do("kill")  # a host that was cut off may still hold ranks
    run.start()
    code = run.wait()
    if code is None:
        line["hung"] += 1
        run.hosts.end(run.process)
    return differences(fingerprint(run.directory), reference) + ([] if code == 0 else [f"exit code {code}"])


def short_cut(hosts, base, number, rng, line, reference):
    run = Run(hosts, base, f"short-cut-{number}")
    host = rng.choice(HOSTS)
    run.start()
    run.wait_training(rng.uniform(0, 0.7))
    hosts.do("cut", host)
    time.sleep(5)
    hosts.do("mend", host)
    code = run.wait(180)
    healed = code == 0
    if code is None:
        line["hung"] += 1
        hosts.end(run.process)
    wrong = differences(fingerprint(run.directory), reference) if healed else finish(run, line, reference)
    line["healed"] += healed
    print(f"{run.name}: {host} cut off for 5 s: {'healed' if healed else f'ended with code {code}, run again'}, {'same' if not wrong else 'DIFFERENT: ' + ', '.join(wrong[:5])}", flush=True)
    return bool(wrong) or code is None


def permanent_cut(hosts, base, number, rng, line, reference):
    run = Run(hosts, base, f"permanent-cut-{number}")
    host = rng.choice(HOSTS)
    # mpirun runs on h1: if h1 itself is cut off, it loses the others.
    lost = [host] if host != "h1" else HOSTS[1:]
    run.start()
    run.wait_training(rng.uniform(0, 0.7))
    offset = os.path.getsize(run.log)
    began = time.time()
    hosts.do("cut", host)
    code = run.wait(60)
    took = time.time() - began
    if code is None:
        line["hung"] += 1
        hosts.end(run.process)
    said = run.said_since(offset)
    line["ended_after_s_max"] = max(line["ended_after_s_max"], round(took, 1))
    # Processes beyond the cut reach nobody, and must end by themselves too.
    deadline = time.time() + 60
    while (orphans := sum(len(hosts.processes(name)) for name in lost)) and time.time() < deadline:
        time.sleep(0.2)
    hosts.do("mend", host)
    named = any(name in said for name in lost)
    fine = code not in (None, 0) and took <= ENDS_WITHIN_S and named and not orphans
    wrong = finish(run, line, reference)
    print(f"{run.name}: {host} cut off: code {code} after {took:.1f} s, {' or '.join(lost)} {'named' if named else 'NOT NAMED'}, {orphans} processes left there {time.time() - began:.0f} s later, "
          f"{'same' if not wrong else 'DIFFERENT: ' + ', '.join(wrong[:5])}", flush=True)
    return not fine or bool(wrong)


def slow_links(hosts, base, line, rate):
    """Train one expert on two hosts; the figures go into `line`."""
    models = os.environ.get("DMOERM_MODELS", "")
    backbone = f"{models}/smollm2-135m-instruct"
    if not os.path.isdir(backbone):
        print(f"slow links: skipped, {backbone} is missing: launch/setup.sh --with smollm2", flush=True)
        return False
    train = {"tuning": "lora", "lr": 1e-4, "eval_groups_max": 4, "eval_every_steps": 100, "lora_rank": 32, "lora_alpha": 32}
    config = {
        "name": "slow-links", "runs_dir": base, "backbone": {"dir": backbone, "chat_template": "chatml", "layers": LAYERS},
        "compute": {"device": "cpu", "micro_batch_tokens": 512},
        "data": {"inputs": [{"path": f"{base}/data/synth.jsonl", "category": "stories"}], "max_length": 256, "special_tokens_in_text": True},
        "categories": [{"name": "stories", "points": ["imagery"], "groups_max": 60}], "base": dict(train, groups_per_step=2, steps_max=1), "baselines": False, "folds": 0,
        "experts": {"labels_min": 4, "train": dict(train, groups_per_step=GROUPS, steps_max=STEPS)}, "aggregator": {"steps_max": 5}, "router": {"steps_max": 5}}
    with open(f"{base}/slow-links.yaml", "w") as f:
        json.dump(config, f)
    words = [f"{ROOT}/launch/dmoerm", "--hosts", "h2:1,h3:1", "run", "--config", f"{base}/slow-links.yaml"]
    # First run everything. If then only the expert is removed and trained again, both ranks train it: first without a limit, then with slow links.
    expert = f"{base}/slow-links/expert/stories/imagery"
    for kind, shaped in (("first", "none"), ("fast", "none"), ("slow", rate)):
        shutil.rmtree(expert, ignore_errors=True)
        hosts.do("rate", shaped)
        before = sum(map(hosts.sent_bytes, HOSTS))
        with open(f"{base}/slow-links.log", "a") as log:
            process = hosts.start("h1", words, log, {})
        try:
            code = process.wait(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            hosts.end(process)
            line["hung"] += 1
            return True
        if code != 0:
            print(f"slow links: exit code {code}, see {base}/slow-links.log", flush=True)
            return True
        if kind == "first":
            continue
        sent = sum(map(hosts.sent_bytes, HOSTS)) - before
        with open(f"{expert}/manifest.json") as f:
            m = json.load(f)["metrics"]["imagery"]
        share, step_s, step_bytes = m["comm_seconds"] / m["seconds"], m["seconds"] / m["steps"], m["comm_bytes"] / m["steps"]
        line[f"{kind}_comm_share"] = round(share, 4)
        print(f"{kind} links ({shaped}): {m['steps']} steps of {m['tokens'] / m['steps']:.0f} tokens, {step_s:.2f} s and {step_bytes / 1e6:.2f} MB, {share:.1%} of the time in communication and waiting; "
              f"{sent / 1e6:.1f} MB over all links in the whole run", flush=True)
    hosts.do("rate", "none")
    # If ranks wait for a core even with fast links, the machine is too busy; so only the time that slow links add counts.
    busy = line["fast_comm_share"] > SHARE_MAX / 2
    charged = share - line["fast_comm_share"] if busy else share
    line.update(rate=rate, busy=busy, comm_bytes_a_step=round(step_bytes), seconds_a_step=round(step_s, 2), bytes_on_links=sent)
    return charged >= SHARE_MAX or step_bytes == 0


def cut_and_slow(a, base, line):
    rng = random.Random(a.seed)
    make_data(f"{base}/data")
    with Hosts() as hosts:
        if "cuts" not in a.skip:
            run = Run(hosts, base, "undisturbed")
            run.start()
            code = run.wait()
            reference = fingerprint(run.directory)
            line["cases"] += 1
            print(f"undisturbed on {', '.join(HOSTS)}: code {code}, {len(reference)} files", flush=True)
            if code != 0:
                hosts.end(run.process)
                raise SystemExit(f"the undisturbed run failed: see {run.log}")
            for number in range(a.runs):
                for case in (short_cut, permanent_cut):
                    line["cases"] += 1
                    line["different"] += case(hosts, base, number, rng, line, reference)
        if "rate" not in a.skip:
            line["cases"] += 1
            line["different"] += slow_links(hosts, base, line, a.rate)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2, help="Number of cuts of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", default="100mbit", help="Rate of the slow links")
    parser.add_argument("--skip", action="append", choices=["cuts", "rate"], default=[], help="Leave this part out")
    a = parser.parse_args()
    torture(lambda base, line: cut_and_slow(a, base, line),
            {"name": "netns", "hosts": 3, "cases": 0, "healed": 0, "ended_after_s_max": 0, "different": 0, "hung": 0})


if __name__ == "__main__":
    main()
