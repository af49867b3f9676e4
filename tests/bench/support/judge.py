"""The test judge as a process of its own, for benchmarks."""
import contextlib
import os
import subprocess
import tempfile
import time


def build(*parts):
    return os.path.join(os.environ["DMOERM_BUILD"], *parts)


@contextlib.contextmanager
def judge(*options, cpu=None):
    """Start it, pinned to one processor if asked; yields its base address."""
    with tempfile.TemporaryDirectory() as folder:
        port_file = os.path.join(folder, "port")
        pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
        server = subprocess.Popen([*pin, build("tests", "judge_server", "judge_server"), "--port-file", port_file, *options], stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 20
            while not os.path.exists(port_file):
                if server.poll() is not None or time.monotonic() > until:
                    raise SystemExit("the test judge does not start")
                time.sleep(0.01)
            with open(port_file, encoding="ascii") as file:
                yield f"http://127.0.0.1:{int(file.read())}/v1"
        finally:
            server.kill()
            server.wait()
