#!/usr/bin/env python3
"""The package dmoerm_hf as a person installs it: pip puts all of it in place, and its type hints hold and help those who call it.

Usage: package_test.py.   Skipped without setuptools or mypy (launch/setup.sh --with tests)."""
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCE = os.path.join(ROOT, "launch", "python")
CALLER = """from dmoerm_hf import DmoermRewardModel, Result
model = DmoermRewardModel.from_pretrained("bundle")
results: list[Result] = model.score([{"role": "user", "content": "Hi"}], ["Hello."], batch_size=4)
reward: float = results[0].reward
route: str = results[0].route.category
model.score(3, ["Hello."])
reward = results[0].points
"""


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def path(self, *parts):
        return os.path.join(self.scratch.name, *parts)

    def ran(self, *command, code=0, **env):
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.scratch.name, env={**os.environ, **env}, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def needs(self, package):
        if importlib.util.find_spec(package) is None:
            self.skipTest(f"skipped: no {package}: launch/setup.sh --with tests")

    def test_pip_installs_it(self):
        self.needs("setuptools")
        shutil.copytree(SOURCE, self.path("source"), ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))  # pip writes beside it
        target = self.path("target")
        self.ran(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation",
                 "--target", target, self.path("source"))
        wanted = {name for name in os.listdir(os.path.join(SOURCE, "dmoerm_hf")) if name != "__pycache__"}
        self.assertIn("py.typed", wanted)
        self.assertEqual({name for name in os.listdir(os.path.join(target, "dmoerm_hf")) if name != "__pycache__"}, wanted)
        with open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8") as file:
            version = re.search(r"project\(dmoerm VERSION ([0-9.]+)", file.read()).group(1)
        said = self.ran(sys.executable, "-c", "import dmoerm_hf, importlib.metadata as m; print(dmoerm_hf.__file__, m.version('dmoerm-hf'))", PYTHONPATH=target)
        self.assertEqual(said.split(), [os.path.join(target, "dmoerm_hf", "__init__.py"), version])

    def test_type_hints(self):
        self.needs("mypy")
        with open(self.path("caller.py"), "w", encoding="utf-8") as file:
            file.write(CALLER)
        mypy = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", self.path("cache")]
        self.ran(*mypy, os.path.join(SOURCE, "dmoerm_hf"))
        said = self.ran(*mypy, "caller.py", code=1, MYPYPATH=SOURCE)
        self.assertEqual([line.split(" error:")[0] for line in said.splitlines() if " error:" in line], ["caller.py:6:", "caller.py:7:"], said)


if __name__ == "__main__":
    unittest.main()
