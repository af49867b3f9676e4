"""The small run of the torture tests, and the results that must be the same whenever it is repeated."""
import hashlib
import os
import subprocess

ROOT = os.environ["DMOERM_ROOT"]
CONFIG = f"{ROOT}/configs/small/same_bits.yaml"


def make_data(folder):
    """Makes the preference data of configs/small/same_bits.yaml; set DMOERM_DATA to the folder."""
    os.makedirs(folder, exist_ok=True)
    subprocess.run([f"{ROOT}/launch/dmoerm", "synth", "--out", f"{folder}/synth.jsonl", "--groups", "40", "--responses", "3", "--categories", "2"], check=True, stdout=subprocess.DEVNULL)


def fingerprint(directory):
    """Checksums of every tensor file of the tasks and of the report's numbers."""
    sums = {}
    for folder, _, files in os.walk(directory):
        for name in files:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, directory)
            if (name.endswith(".safetensors") or relative == "report/report.json") and not relative.startswith("bundle/"):
                with open(path, "rb") as f:
                    sums[relative] = hashlib.sha256(f.read()).hexdigest()
    return sums


def differences(found, reference):
    """Names of the files that differ, or that only one of them has."""
    return sorted(k for k in set(found) | set(reference) if found.get(k) != reference.get(k))


def tasks_done(directory):
    """How many of the 16 tasks of a run of CONFIG are done."""
    return sum("manifest.json" in files for _, _, files in os.walk(directory))
