"""gpu: what a first run on a GPU must answer, in about ten minutes: is it right, does it repeat its bits, how fast is it?

    gpu.py [PART...] [--limit-s 585] [--out runs/gpu] [--trial]

Each part has a limit of its own and none stops the others; one that cannot run says why. Ends with a table, as docs/results/gpu.md has it, and one JSON line; `--out` keeps what each part printed, and while
it runs 3 GB of model, twice for best-of-64. Exit code 0, 1 if a part failed, 77 without a GPU. With --trial the parts run on the CPU at small sizes, so that a machine without a GPU can check the script; its figures mean nothing.
"""
import argparse
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from bench_common import ROOT, write_lines
from made_up_groups import group_of_lengths

BUILD = os.environ["DMOERM_BUILD"]
BENCH = os.path.join(ROOT, "tests", "bench")
SIZES = {  # of a run, and of a trial
    False: {"device": "cuda", "shape": {}, "vocabulary": 151936, "pairs": 64, "lengths": (119, 45), "tokens": 16384, "repeats": 5, "matmul": ["--size", 8192], "tests": "-*Golden*", "pair_batches": (8, 32, 64),
            "groups": {"count": 8, "prefix": 450, "responses": [61] * 16, "pairs_per_group": 4, "pair_batches": (8, 32), "batches": (1, 2, 8)}, "best_of": {"responses": 64, "experts": 6, "prompt-words": 200, "response-words": 120, "rounds": 5}},
    True: {"device": "cpu", "shape": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1100}, "vocabulary": 1100, "pairs": 4,
           "lengths": (9, 5), "tokens": 64, "repeats": 1, "matmul": ["--size", 64, "--copy-mib", 1], "tests": "FlashOffsets.*:GradientNorm.*", "pair_batches": (2, 4),
           "groups": {"count": 2, "prefix": 9, "responses": [4] * 3, "pairs_per_group": 1, "pair_batches": (2,), "batches": (1, 2)}, "best_of": {"responses": 4, "experts": 2, "prompt-words": 5, "response-words": 3, "rounds": 1, "rank": 2}},
}


class NotRun(Exception):
    """Why a part cannot run here."""


class Failed(Exception):
    """What went wrong in a part, or what it found to be wrong."""


class Run:
    """A run's settings and folder, what its parts found so far, and the time that is left."""

    def __init__(self, trial, limit_s, out):
        self.trial, self.out, self.found = trial, out, {}
        self.sizes = SIZES[trial]
        self.device = self.sizes["device"]
        self.ends = time.monotonic() + limit_s
        self.threads = min(4, os.cpu_count() or 1)
        self.model, self.pairs, self.groups = (os.path.join(out, name) for name in ("model", "pairs.jsonl", "groups.jsonl"))

    def begin(self, name, limit_s):
        self.log, self.part_ends = os.path.join(self.out, name + ".log"), min(self.ends, time.monotonic() + limit_s)
        open(self.log, "w", encoding="utf-8").close()

    def command(self, *words, share=1.0, **environment):
        """Runs a command for at most that share of the time that the part has left, and keeps what it prints. -> (exit code, standard output)"""
        words = [str(word) for word in words]
        left = share * (self.part_ends - time.monotonic())
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", env={**os.environ, **environment}, start_new_session=True)
        out = errors = ""
        try:
            out, errors = process.communicate(timeout=max(left, 1))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, errors = process.communicate()
            raise Failed(f"{os.path.basename(words[0])} took longer than the {max(left, 1):.0f} s that were left") from None
        except BaseException:  # Ctrl-C: the command has a session of its own, and would go on using the GPU
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(f"$ {' '.join(words)}\n{out}{errors}")
        return process.returncode, out

    def result(self, *words):
        """The JSON line that a command ends with."""
        code, out = self.command(*words)
        lines = [line for line in out.splitlines() if line.startswith("{")]
        if code != 0 or not lines:
            raise Failed(f"{os.path.basename(str(words[1] if words[0] == sys.executable else words[0]))} ended with code {code}: {last_line(self.log)}")
        return json.loads(lines[-1])

    def python(self, script, *words, python=sys.executable):
        return self.result(python, os.path.join(BENCH, script), *words)


def last_line(path):
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip()]
    return lines[-1][:200]


def built(*names):
    """The path of a program of the build."""
    path = os.path.join(BUILD, *names)
    if not os.path.exists(path):
        raise NotRun(f"{os.path.join(*names)} is not built: launch/build.sh")
    return path


def need(*packages):
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    if absent:
        raise NotRun(f"{', '.join(absent)} not installed: launch/setup.sh --with tests")


def each(work, *names):
    """Calls work(name) for every name, whatever becomes of the others. -> the results; what failed is told together"""
    results, wrong = [], []
    for name in names:
        try:
            results.append(work(name))
        except Failed as e:
            wrong.append(str(e))
    if wrong:
        raise Failed("; ".join(wrong))
    return results


def kernels(run):
    """The tests of the label gpu: the kernels against the CPU's formulas, and NCCL."""
    def some(pattern):
        code, out = run.command("ctest", "--test-dir", BUILD, "-L", "^gpu$", "-R", pattern, "--output-on-failure", share=0.5 if pattern == "^kernel_" else 1.0)
        ends = re.findall(r"Test +#\d+: (\S+) \.*(.*?) +[\d.]+ sec", out)
        passed, skipped = ([name for name, how in ends if word in how] for word in ("Passed", "Skipped"))
        wrong = [name for name, _ in ends if name not in passed + skipped]
        if wrong or (code != 0 and passed):
            raise Failed("not passed: " + (", ".join(wrong) or f"ctest ended with code {code}"))
        return passed, skipped
    passed, skipped = (sum(lists, []) for lists in zip(*each(some, "^kernel_", "^nccl_")))  # a hanging NCCL hides no kernel
    if not passed + skipped:
        raise NotRun("the build has no tests for a GPU: it found no nvcc (launch/setup.sh)")
    if not passed:
        raise NotRun(f"all {len(skipped)} tests of the label gpu are skipped here")
    return {"passed": len(passed), "skipped": len(skipped)}


def sanitizer(run, tool):
    program = shutil.which("compute-sanitizer", path=os.environ["PATH"] + os.pathsep + "/usr/local/cuda/bin")
    if run.device == "cpu":
        raise NotRun("it needs a GPU")
    if program is None:
        raise NotRun("compute-sanitizer, which CUDA toolkits have, is not installed")
    tests = sorted(name for name in os.listdir(built("tests")) if re.fullmatch(r"kernel_\w+_on_gpu", name))
    if not tests:
        raise NotRun("the build has no tests of kernels for a GPU: it found no nvcc (launch/setup.sh)")
    for test in tests:
        code, out = run.command(program, "--tool", tool, "--error-exitcode", 9, built("tests", test))
        if code != 0:
            raise Failed(f"{test} ended with code {code}: {out.strip().splitlines()[-1][:160] if out.strip() else 'it printed nothing'}")
    return {"programs": len(tests)}


def memcheck(run):
    """The kernels' tests under compute-sanitizer: accesses out of bounds."""
    return sanitizer(run, "memcheck")


def racecheck(run):
    """The same: threads of a block that race."""
    return sanitizer(run, "racecheck")


def tests(run):
    """The unit tests of the model and of training on the device."""
    def passed_by(name):
        code, out = run.command(built("tests", name), "--gtest_filter=" + run.sizes["tests"], share=0.5 if name == "model_test" else 1.0, DMOERM_TEST_DEVICE=run.device)
        failed = re.findall(r"^\[  FAILED  \] ([^,\s]+)", out, re.MULTILINE)
        passed = re.search(r"^\[  PASSED  \] (\d+) test", out, re.MULTILINE)
        if code != 0:
            raise Failed(f"{name}: " + (", ".join(dict.fromkeys(failed)) or f"ended with code {code}: {last_line(run.log)}"))
        if not passed or passed[1] == "0":
            raise Failed(f"{name} ran no test")
        return int(passed[1])
    return {"passed": sum(each(passed_by, "model_test", "train_test"))}


def ceiling(run):
    """What the device reaches in bfloat16 products and in copies."""
    need("torch")
    return run.python("support/matmul_peak.py", "--device", run.device, *run.sizes["matmul"])


def make_model(run):
    """The random model, unless it is there."""
    need("torch")
    if os.path.exists(os.path.join(run.model, "model.safetensors")):
        return
    changed = [f"{key}={value}" for key, value in run.sizes["shape"].items()]
    code, _ = run.command(sys.executable, os.path.join(BENCH, "support", "random_decoder.py"), "--out", run.model, *(["--set", *changed] if changed else []))
    if code != 0:
        raise Failed(f"no model could be made: {last_line(run.log)}")


def train_steps(run, groups, count):
    """Steps of the program's trainer over all these groups at once. -> what bench_train_step found"""
    sizes = run.sizes
    return run.result(built("tests", "bench", "bench_train_step"), "--model", run.model, "--groups", groups, "--groups-per-step", count, "--micro-batch-tokens", sizes["tokens"], "--dropout", 0.05,
                      "--dtype", "bfloat16", "--device", run.device, "--repeats", sizes["repeats"], "--threads", run.threads)


def speed_of(run, found):
    speed = {"pairs_per_s": found["pairs_per_s"], "tokens_per_s": round(found["packed_tokens_per_s"]), "tflops": found["gflops"] / 1000, "gpu_mib": round(found["training_gpu_mib"])}
    if "ceiling" in run.found:
        speed["share_of_measured_peak"] = speed["tflops"] / run.found["ceiling"]["matmul_tflops"]
    return speed


def step(run):
    """A training step of one LoRA expert over Qwen2.5-1.5B's shapes, twice in two processes: the bits must be the same."""
    built("tests", "bench", "bench_train_step")
    make_model(run)
    make_pairs(run)
    first, second = train_steps(run, run.pairs, run.sizes["pairs"]), train_steps(run, run.pairs, run.sizes["pairs"])
    for what in ("first_loss", "weights_sha256"):
        if first[what] != second[what]:
            raise Failed(f"the same steps do not repeat their bits: {what} {first[what]} and {second[what]}")
    fastest = max(first, second, key=lambda found: found["pairs_per_s"])
    return {"bits": "same", "step_s": fastest["seconds"][len(fastest["seconds"]) // 2], **speed_of(run, fastest)}


def make_pairs(run):
    """Pairs of HH's mean lengths."""
    prefix, response = run.sizes["lengths"]
    write_lines(run.pairs, group_of_lengths(run.sizes["pairs"], run.sizes["vocabulary"], prefix, [response, response]))


def peer_speed(run, groups, sizes, *options):
    """The fastest way of transformers and PEFT."""
    return run.python("support/peer_decoder.py", "--model", run.model, "--groups", groups, "--device", run.device, "--sizes", *sizes, "--repeats", min(3, run.sizes["repeats"]), "--threads", run.threads, *options)


def peer(run):
    """The same pairs with transformers and PEFT, each text in full."""
    need("torch", "transformers", "peft")
    if "step" not in run.found:
        raise NotRun("it needs the part step before it")
    found = peer_speed(run, run.pairs, run.sizes["pair_batches"])
    return {"pairs_per_s": found["pairs_per_s"], "batch": found["batch"], "ours_is_times_as_fast": run.found["step"]["pairs_per_s"] / found["pairs_per_s"]}


def groups(run):
    """Steps on groups of 16 responses, beside transformers and PEFT on both texts of every labelled pair, and on each response once (listwise)."""
    wanted = run.sizes["groups"]
    built("tests", "bench", "bench_train_step")
    make_model(run)
    write_lines(run.groups, group_of_lengths(wanted["count"], run.sizes["vocabulary"], wanted["prefix"], wanted["responses"]))
    result = speed_of(run, train_steps(run, run.groups, wanted["count"]))
    if absent := [package for package in ("transformers", "peft") if importlib.util.find_spec(package) is None]:
        return {**result, "peers": f"{', '.join(absent)} not installed"}
    for mode, sizes, options in (("pairs", wanted["pair_batches"], ["--pairs-per-group", wanted["pairs_per_group"]]), ("listwise", wanted["batches"], [])):
        found = peer_speed(run, run.groups, sizes, "--mode", mode, *options)
        result |= {f"peer_{mode}_pairs_per_s": found["pairs_per_s"], f"times_{mode}": result["pairs_per_s"] / found["pairs_per_s"]}
    return result


def trl_python():
    """A Python that has trl and datasets: this one, or that of the clients of the reward server."""
    for python in (sys.executable, os.path.join(os.environ.get("DMOERM_HOME", ""), "clients", "bin", "python")):
        asked = "import importlib.util as u; exit(any(u.find_spec(name) is None for name in ('trl', 'datasets', 'peft')))"
        if os.path.exists(python) and subprocess.run([python, "-c", asked], check=False).returncode == 0:
            return python
    raise NotRun("trl and datasets not installed: launch/setup.sh --with clients")


def trl(run):
    """The same pairs with TRL's RewardTrainer."""
    need("torch")
    python = trl_python()
    if "step" not in run.found:
        raise NotRun("it needs the part step before it")
    found = run.python("support/peer_trl.py", "--model", run.model, "--groups", run.pairs, "--device", run.device, "--sizes", *run.sizes["pair_batches"], "--repeats", min(3, run.sizes["repeats"]),
                       "--threads", run.threads, python=python)
    return {"pairs_per_s": found["pairs_per_s"], "batch": found["batch"], "liger": found["liger"], "ours_is_times_as_fast": run.found["step"]["pairs_per_s"] / found["pairs_per_s"]}


def add_tokenizer(model):
    """A tokenizer for which each word of the benchmark's texts is one token."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
    import tiny_model
    from serve_load import WORDS
    tokenizer = tiny_model.tokenizer()
    vocabulary = tokenizer["model"]["vocab"]
    for word in WORDS:
        vocabulary.setdefault(word, len(vocabulary))
    with open(os.path.join(model, "tokenizer.json"), "w", encoding="utf-8") as file:
        json.dump(tokenizer, file)


def best_of(run):
    """The best of 64 responses with six experts over Qwen2.5-1.5B's shapes in bfloat16, through the reward server."""
    need("torch", "safetensors")
    built("dmoerm")
    make_model(run)
    add_tokenizer(run.model)
    alone = any(importlib.util.find_spec(package) is None for package in ("transformers", "peft"))
    sizes = [word for key, value in run.sizes["best_of"].items() for word in ("--" + key, value)]
    bundles = os.path.join(run.out, "bundles")
    try:
        found = run.python("score_best_of.py", "--model", run.model, "--device", run.device, "--dtype", "bfloat16", "--batch-tokens", run.sizes["tokens"], "--work", bundles, "--threads", run.threads, *sizes, *(["--ours-only"] if alone else []))
    finally:
        shutil.rmtree(bundles, ignore_errors=True)  # another copy of the model
    more = {} if "peer" not in found else {"peer_s": found["peer"], "ours_is_times_as_fast": found["ratio"], **{key: found[key] for key in ("largest_difference", "of_deviation", "same_order")}}
    return {"ours_s": found["ours"], "responses": found["responses"], "experts": found["experts"], **more}


PARTS = {"kernels": (60, kernels), "memcheck": (60, memcheck), "racecheck": (60, racecheck), "tests": (200, tests), "ceiling": (40, ceiling), "step": (150, step), "peer": (110, peer),
         "groups": (150, groups), "best-of-64": (150, best_of), "trl": (90, trl)}


def run_part(run, name):
    """-> {"state", "seconds", ...}; nothing that goes wrong in a part ends the run"""
    limit_s, work = PARTS[name]
    begun = time.monotonic()
    if run.ends - begun < 10:
        return {"state": "not run", "seconds": 0, "why": "no time was left"}
    run.begin(name, limit_s)
    try:
        run.found[name] = work(run)
        state = {"state": "ok", "found": run.found[name]}
    except NotRun as e:
        state = {"state": "not run", "why": str(e)}
    except (Failed, OSError, KeyError, ValueError) as e:
        state = {"state": "FAILED", "why": f"{e} ({os.path.relpath(run.log)})"}
    return {**state, "seconds": round(time.monotonic() - begun, 1)}


def shown(result):
    if "why" in result:
        return f"{result['state']}: {result['why']}"
    return ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in result["found"].items())


def table(results):
    yield "| part | what | found | seconds |"
    yield "|---|---|---|---|"
    for name, result in results.items():
        yield f"| {name} | {PARTS[name][1].__doc__} | {shown(result)} | {result['seconds']} |"


def gpu_here():
    """Name, memory, driver and clock of the first GPU as nvidia-smi says them; None without one."""
    try:
        said = subprocess.run(["nvidia-smi", "--query-gpu=name,memory.total,driver_version,clocks.max.sm", "--format=csv,noheader"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.splitlines()[0].strip() if said.returncode == 0 and said.stdout.strip() else None


def refusal():
    """Why torch, whose libraries the build links, cannot use the GPU that nvidia-smi shows, such as a driver that is too old for them; "" if it can."""
    if importlib.util.find_spec("torch") is None:
        return ""
    try:
        asked = subprocess.run([sys.executable, "-c", "import torch; torch.zeros(1, device='cuda')"], capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        return "it does not answer within 180 s"
    return "" if asked.returncode == 0 else (asked.stderr.strip().splitlines() or [f"it ended with code {asked.returncode}"])[-1]


def check_machine():
    """-> the GPU. Leaves with 77 where there is none, and with 1 where the build cannot use it."""
    gpu = gpu_here()
    if gpu is None:
        print("skipped: nvidia-smi finds no NVIDIA GPU on this machine (--trial checks the script without one)")
        sys.exit(77)
    cache = os.path.join(BUILD, "CMakeCache.txt")
    if not os.path.exists(cache):
        sys.exit(f"gpu: nothing is built in {BUILD}: launch/dev gpu builds and comes back here")
    with open(cache, encoding="utf-8") as file:
        if "DMOERM_CUDA:BOOL=ON\n" not in file.read():
            sys.exit(f"gpu: the build in {BUILD} does not use a GPU: launch/dev gpu makes one that does (DMOERM_CUDA=ON)")
    if why := refusal():
        sys.exit(f"gpu: {gpu}: torch cannot use it: {why}")
    return gpu


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: all of {', '.join(PARTS)}")
    parser.add_argument("--limit-s", type=float, default=585, help="of all parts together")
    parser.add_argument("--out", default=os.path.join(ROOT, "runs", "gpu"))
    parser.add_argument("--trial", action="store_true", help="on the CPU, at small sizes")
    a = parser.parse_args()
    unknown = [part for part in a.parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]}; known: {', '.join(PARTS)}")
    gpu = "none: a trial on the CPU" if a.trial else check_machine()
    os.makedirs(a.out, exist_ok=True)
    run, results = Run(a.trial, a.limit_s, os.path.abspath(a.out)), {}
    for name in (part for part in PARTS if not a.parts or part in a.parts):
        results[name] = run_part(run, name)
        print(f"{name}: {shown(results[name])} ({results[name]['seconds']} s)", flush=True)
    shutil.rmtree(run.model, ignore_errors=True)
    print("", *table(results), "", sep="\n")
    print(json.dumps({"name": "gpu", "gpu": gpu, "trial": a.trial, "parts": results}))
    sys.exit(1 if any(result["state"] == "FAILED" for result in results.values()) else 0)


if __name__ == "__main__":
    main()
