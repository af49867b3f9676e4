"""A `dmoerm serve` on a free port, and requests to it; for tests, torture tests and benchmarks. Uses the standard library only."""
import http.client
import json
import os
import re
import signal
import subprocess
import threading


class RewardServer:
    def __init__(self, program, bundles, *options, threads=1, env=None):
        command = [program, "serve", "--port", "0", "--threads", str(threads)]
        for bundle in bundles:
            command += ["--bundle", bundle]
        self.process = subprocess.Popen(command + list(options), stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        self.lines, self.port = [], None
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"at https?://\S*:(\d+);", line)
            if found:
                self.port = int(found[1])
                break
        if not self.port:
            self.process.wait()
            raise RuntimeError(f"the server did not start: {''.join(self.lines)}")
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def stop(self, sign=signal.SIGTERM, seconds=60):
        """-> (exit code, what it said)"""
        self.process.send_signal(sign)
        code = self.process.wait(seconds)
        self.reader.join()
        return code, "".join(self.lines)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ask(self, method, path, body=None, headers=None, timeout=60, raw=False):
        """-> (status, JSON), or with `raw` (status, text, headers)"""
        client = Client(self.port, timeout)
        try:
            return client.ask(method, path, body, headers, raw)
        finally:
            client.close()

    def post(self, path, body, **more):
        return self.ask("POST", path, body, **more)

    def memory_mib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as f:
            return int(re.search(r"VmRSS:\s*(\d+)", f.read())[1]) / 1024


class Client:
    """A connection that is kept."""

    def __init__(self, port, timeout=60):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None, raw=False):
        data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        self.connection.request(method, path, data, headers or {})
        reply = self.connection.getresponse()
        text = reply.read()
        if raw:
            return reply.status, text.decode(), {name.lower(): value for name, value in reply.getheaders()}
        return reply.status, json.loads(text) if text else None

    def close(self):
        self.connection.close()


def offline_scores(program, bundle, rows, *options, threads=1):
    """What `dmoerm score` says of rows."""
    command = [program, "score", "--bundle", bundle, "--threads", str(threads), *options]
    done = subprocess.run(command, input="".join(json.dumps(row) + "\n" for row in rows), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]
