#!/usr/bin/env python3
"""gpu_run_test.py [--peers]: `launch/bench.sh gpu` on a machine without a GPU: a trial runs every part that can run on the CPU, with the commands of a real run, and
a part that fails, hangs or cannot run says so and stops no other. --peers: the parts beside transformers and PEFT too."""
import json
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

ROOT = os.environ["DMOERM_ROOT"]
sys.path[:0] = [os.path.join(ROOT, "tests", "bench", "support"), os.path.join(ROOT, "tests", "bench")]
import gpu  # noqa: E402

PEERS = "--peers" in sys.argv


def bench(*options, **environment):
    """-> (exit code, what it printed)"""
    done = subprocess.run([os.path.join(ROOT, "launch", "bench.sh"), "gpu", *options], capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    return done.returncode, done.stdout + done.stderr


def with_nvidia_smi(folder, script):
    """A PATH on which nvidia-smi is that shell script."""
    path = os.path.join(folder, "nvidia-smi")
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n" + script + "\n")
    os.chmod(path, 0o755)
    return folder + os.pathsep + os.environ["PATH"]


class Scratch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def trial(self, *parts):
        """-> {part: result}; the last line has what the table has"""
        code, said = bench("--trial", "--out", self.folder, *parts)
        self.assertEqual(code, 0, said)
        results = json.loads(said.strip().splitlines()[-1])["parts"]
        self.assertEqual([line.split(" | ")[0] for line in said.splitlines() if line.startswith("| ")][1:], ["| " + part for part in parts], said)
        return results


@unittest.skipIf(PEERS, "the parts without peers are another test's")
class Trial(Scratch):
    def test_the_parts_that_need_no_gpu_run(self):
        results = self.trial("kernels", "memcheck", "racecheck", "tests", "ceiling", "step")
        for part in ("memcheck", "racecheck"):
            self.assertEqual(results[part]["why"], "it needs a GPU")
        self.assertIn(results["kernels"]["state"], ("ok", "not run"), results["kernels"])
        for part in ("tests", "ceiling", "step"):
            self.assertEqual(results[part]["state"], "ok", results[part])
        step = results["step"]["found"]
        self.assertAlmostEqual(step["share_of_measured_peak"], step["tflops"] / results["ceiling"]["found"]["matmul_tflops"])
        self.assertEqual(step["bits"], "same")
        self.assertGreater(results["tests"]["found"]["passed"], 1)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "model")), "3 GB of model stay on the disk")


@unittest.skipUnless(PEERS, "with --peers")
class Peers(Scratch):
    def test_the_peers_get_the_same_work(self):
        from score_bench import TOLERANCE
        results = self.trial("step", "peer", "groups", "best-of-64", "trl")
        if "not installed" in results["peer"].get("why", ""):
            self.skipTest(results["peer"]["why"])
        for part in ("peer", "groups", "best-of-64"):
            self.assertEqual(results[part]["state"], "ok", results[part])
        self.assertGreater(results["peer"]["found"]["ours_is_times_as_fast"], 0)
        for mode in ("pairs", "listwise"):
            self.assertGreater(results["groups"]["found"][f"times_{mode}"], 0)
        self.assertLess(results["best-of-64"]["found"]["largest_difference"], TOLERANCE["bfloat16"])
        self.assertGreater(results["best-of-64"]["found"]["largest_difference"], 0, "the peer does not compute in bfloat16 of its own")
        if "not installed" not in results["trl"].get("why", ""):
            self.assertEqual(results["trl"]["state"], "ok", results["trl"])
            self.assertGreater(results["trl"]["found"]["ours_is_times_as_fast"], 0)


@unittest.skipIf(PEERS, "needs no peers")
class WithoutGpu(Scratch):
    def test_a_machine_without_a_gpu_is_skipped_in_one_line(self):
        code, said = bench("--out", self.folder, PATH=with_nvidia_smi(self.folder, "exit 9"))
        self.assertEqual((code, len(said.strip().splitlines())), (77, 1), said)
        self.assertIn("nvidia-smi finds no NVIDIA GPU", said)

    def test_a_build_for_the_cpu_is_named(self):
        with open(os.path.join(self.folder, "CMakeCache.txt"), "w", encoding="utf-8") as file:
            file.write("DMOERM_CUDA:BOOL=OFF\n")
        code, said = bench("--out", self.folder, PATH=with_nvidia_smi(self.folder, "echo 'Card, 1 MiB, 1, 1 MHz'"), DMOERM_BUILD=self.folder)
        self.assertEqual(code, 1, said)
        self.assertIn(f"the build in {self.folder} does not use a GPU", said)

    @unittest.skipIf(importlib.util.find_spec("torch") is None, "needs torch")
    def test_a_gpu_that_torch_cannot_use_is_named_before_any_part(self):
        with open(os.path.join(self.folder, "CMakeCache.txt"), "w", encoding="utf-8") as file:
            file.write("DMOERM_CUDA:BOOL=ON\n")
        code, said = bench("--out", self.folder, PATH=with_nvidia_smi(self.folder, "echo 'Card, 1 MiB, 1, 1 MHz'"), DMOERM_BUILD=self.folder, CUDA_VISIBLE_DEVICES="")
        self.assertEqual(code, 1, said)
        self.assertRegex(said.splitlines()[-1], "^gpu: Card, 1 MiB, 1, 1 MHz: torch cannot use it: .")
        self.assertNotIn("kernels:", said)

    def test_an_unknown_part_is_refused_with_the_known_ones(self):
        code, said = bench("--trial", "--out", self.folder, "speed")
        self.assertEqual(code, 2, said)
        self.assertIn("unknown part speed; known: kernels, memcheck", said)


@unittest.skipIf(PEERS, "needs no peers")
class Parts(Scratch):
    def setUp(self):
        super().setUp()
        self.run_ = gpu.Run(True, 600, self.folder)

    def result_of(self, work, limit_s=20):
        with mock.patch.dict(gpu.PARTS, {"planted": (limit_s, work)}):
            return gpu.run_part(self.run_, "planted")

    def test_a_part_that_hangs_ends_at_its_limit(self):
        begun = time.monotonic()
        result = self.result_of(lambda run: run.command("sh", "-c", "sleep 100 & sleep 100"), limit_s=1)
        self.assertLess(time.monotonic() - begun, 30)
        self.assertEqual(result["state"], "FAILED")
        self.assertIn("sh took longer than the 1 s that were left", result["why"])

    def test_a_program_that_is_missing_and_one_that_fails_are_told_apart(self):
        result = self.result_of(lambda run: gpu.built("tests", "no_such_test"))
        self.assertEqual((result["state"], result["why"]), ("not run", "tests/no_such_test is not built: launch/build.sh"))
        result = self.result_of(lambda run: run.result("sh", "-c", "echo broken >&2; exit 3"))
        self.assertEqual(result["state"], "FAILED")
        self.assertIn("sh ended with code 3: broken", result["why"])

    def test_without_time_a_part_does_not_begin(self):
        self.run_.ends = time.monotonic() + 5
        self.assertEqual(self.result_of(lambda run: self.fail("it began"))["why"], "no time was left")

    def test_a_step_that_does_not_repeat_its_bits_is_a_failure(self):
        step = {"seconds": [1.0], "pairs_per_s": 1.0, "packed_tokens_per_s": 1.0, "gflops": 1.0, "training_gpu_mib": 0.0, "first_loss": 0.7}
        with mock.patch.multiple(gpu, make_model=mock.DEFAULT, make_pairs=mock.DEFAULT, built=mock.DEFAULT), mock.patch.object(gpu.Run, "result", side_effect=[step | {"weights_sha256": "a"}, step | {"weights_sha256": "b"}]):
            result = self.result_of(gpu.step)
        self.assertEqual(result["state"], "FAILED")
        self.assertIn("do not repeat their bits: weights_sha256 a and b", result["why"])

    def test_what_ctest_says_is_understood(self):
        line = "1/2 Test #{}: kernel_{} ....   {}    0.02 sec\n"
        for ends, code, state, text in ((("Passed", "***Skipped"), 0, "ok", None), (("***Skipped", "***Skipped"), 0, "not run", "all 2 tests"), (("Passed", "***Failed"), 8, "FAILED", "not passed: kernel_b"),
                                        ((), 0, "not run", "no nvcc")):
            said = "".join(line.format(i, name, end) for i, (name, end) in enumerate(zip("ab", ends)))
            with mock.patch.object(gpu.Run, "command", side_effect=[(code, said), (0, "")]):
                result = self.result_of(gpu.kernels)
            self.assertEqual(result["state"], state, result)
            self.assertIn(text or "", result.get("why", ""))

    def test_a_hanging_nccl_hides_no_kernel_and_no_program_the_other(self):
        late = gpu.Failed("ctest took longer than the 30 s that were left")
        with mock.patch.object(gpu.Run, "command", side_effect=[(8, "1/1 Test #1: kernel_a ....***Failed    0.02 sec\n"), late]):
            self.assertIn("not passed: kernel_a; ctest took longer", self.result_of(gpu.kernels)["why"])
        said = "[  FAILED  ] {0}.Fails\n[  FAILED  ] {0}.Fails (3 ms)\n"
        with mock.patch.object(gpu.Run, "command", side_effect=[(1, said.format("A")), (1, said.format("B"))]), mock.patch.object(gpu, "built", side_effect=lambda *names: names[-1]):
            self.assertIn("model_test: A.Fails; train_test: B.Fails", self.result_of(gpu.tests)["why"])


if __name__ == "__main__":
    sys.argv = [word for word in sys.argv if word != "--peers"]
    unittest.main()
