"""`dmoerm serve` under clients that mangle requests, hang up, stall and flood, while bundles are read again and the server is killed: no crash, no wrong score, no lost answer.

Each run starts a server on the tests' tiny bundle (two by name, the same twice). Clients send good requests in all protocols, whose scores must be the offline ones, and mangled ones, which must get a status below
500. Meanwhile SIGHUP and POST /admin/reload read the bundles again, processes that score are killed where there are two (`--np 2`, every other pair of runs), slow connections stall, and some clients hang up while they wait. Every other run ends with SIGTERM: every request that the server accepted has its
answer. The others end with SIGKILL: the next server answers on the same port at once. Ends with one JSON line: `wrong` scores, `lost` answers, `crashed` servers; requests, and how many of them reached the scorer.
"""
import argparse
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.environ.get("DMOERM_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from reward_server import Client, RewardServer, offline_scores  # noqa: E402

BUNDLE = os.path.join(ROOT, "tests", "golden", "earlier", "bundle")
STATUSES_OF_REFUSALS = range(400, 500)


def templated(prompt, response):
    return f"[CLS]User: {prompt}\nAssistant:[SEP] {response}[SEP]"


def good_requests(rows, scores):
    """[(path, body, function from the reply to its scores, what they must be)]"""
    requests = []
    for row, expected in zip(rows, scores):
        texts = [templated(row["prompt"], r) for r in row["responses"]]
        requests += [("/v1/reward", row, lambda r: r["scores"], expected),
                     ("/get_reward", {"query": texts}, lambda r: r["rewards"], expected),
                     ("/classify", {"model": "main", "input": texts}, lambda r: [d["probs"][0] for d in r["data"]], expected),
                     ("/predict", {"inputs": [[t] for t in texts], "raw_scores": True}, lambda r: [d[0]["score"] for d in r], expected),
                     ("/v1/score/evaluation", {"model": "other", "messages": texts}, lambda r: r["scores"], expected)]
    return [(path, json.dumps(body).encode(), read, expected) for path, body, read, expected in requests]


def mangled(draw, body):
    """Bytes that resemble a request's body."""
    data = bytearray(body)
    kind = draw.randrange(6)
    if kind == 0:
        return bytes(data[:draw.randrange(len(data))])
    if kind == 1:
        for _ in range(draw.randrange(1, 8)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        return bytes(data)
    if kind == 2:
        at, other = draw.randrange(len(data)), [b"[", b"{", b'"', b"1e999", b"-0", b"null", b"\\ud800", b"\xff\xfe", b"9" * 40, b"[" * 3000]
        return bytes(data[:at]) + draw.choice(other) + bytes(data[at:])
    if kind == 3:
        at, end = sorted(draw.randrange(len(data)) for _ in range(2))
        return bytes(data[:at] + data[at:end] * 3 + data[end:])
    if kind == 4:
        return json.dumps(draw.choice([None, 1, "x", [], {}, [[]], {"query": None}, {"input": [[-1]]}, {"inputs": {}}, {"prompt": {}, "responses": 3}])).encode()
    return bytes(draw.randrange(256) for _ in range(draw.randrange(200)))


class World:
    def __init__(self, server, requests, seed, ranks):
        self.server, self.requests, self.seed, self.ranks = server, requests, seed, ranks
        self.lock, self.ends = threading.Lock(), threading.Event()
        self.line = {"wrong": 0, "lost": 0, "requests": 0, "scored": 0, "refused": 0, "reloads": 0, "hung_up": 0, "ranks_killed": 0, "unavailable": 0}
        self.stopping, self.examples = False, []

    def count(self, key, example=None):
        with self.lock:
            self.line[key] += 1
            if example is not None and len(self.examples) < 5:
                self.examples.append(f"{key}: {example}"[:400])

    def client(self, number):
        draw, client = random.Random(self.seed * 1000 + number), None
        while not self.ends.is_set():
            path, body, read, expected = draw.choice(self.requests)
            bad = draw.random() < 0.6
            if bad:
                body = mangled(draw, body)
            try:
                client = client or Client(self.server.port, 30)
                status, text, headers = client.ask("POST", path, body, raw=True)
                if headers.get("connection", "").lower() == "close":
                    client.close()
                    client = None
            except (OSError, http.client.HTTPException) as e:
                if not self.stopping:
                    self.count("lost", f"{path} {body[:100]!r}: {type(e).__name__} {e}")
                client = None
                continue
            if status == 503 and "retry-after" in headers and self.ranks > 1:  # both processes that score were killed
                self.count("unavailable")
                time.sleep(0.05)
                continue
            self.judge(bad, status, text, path, body, read, expected)

    def judge(self, bad, status, text, path, body, read, expected):
        self.count("requests")
        if status == 200:
            self.count("scored")
            if not bad and read(json.loads(text)) != expected:
                self.count("wrong", f"{path}: {text} instead of {expected}")
        elif status in STATUSES_OF_REFUSALS:
            self.count("refused")
            if not bad and status != 429:
                self.count("wrong", f"{path} {body[:100]!r}: {status} {text}")
        elif not (self.stopping and status == 503):
            self.count("wrong", f"{path} {body[:100]!r}: {status} {text}")

    def hang_up(self, number):
        draw = random.Random(self.seed * 1000 + 500 + number)
        while not self.ends.is_set():
            path, body, _, _ = draw.choice(self.requests)
            whole = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body)) + body
            try:
                connection = socket.create_connection(("127.0.0.1", self.server.port), 5)
                connection.send(whole[:draw.randrange(1, len(whole) + 1)] if draw.random() < 0.5 else whole)
                time.sleep(draw.uniform(0, 0.02))
                connection.close()
                self.count("hung_up")
            except OSError:
                time.sleep(0.01)

    def reload(self):
        draw = random.Random(self.seed)
        while not self.ends.wait(draw.uniform(0.1, 0.5)):
            if draw.random() < 0.5:
                self.server.process.send_signal(signal.SIGHUP)
                self.count("reloads")
                continue
            try:
                status, reply = self.server.post("/admin/reload", {"model": draw.choice(["main", "other"])})
                fine = status in (200, 503)  # 503: a process that should have read them was killed
                self.count("reloads" if fine else "wrong", None if fine else reply)
            except (OSError, http.client.HTTPException) as e:
                if not self.stopping:
                    self.count("lost", f"reload: {e}")

    def kill_ranks(self):
        """Now and then kills one of the processes that score."""
        draw = random.Random(self.seed + 7)
        while not self.ends.wait(draw.uniform(0.7, 1.5)):
            listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.server.process.pid)], capture_output=True, text=True).stdout.split()
            if len(listed) > 1 and not self.stopping:
                os.kill(int(draw.choice(listed)), signal.SIGKILL)
                self.count("ranks_killed")

    def run(self, clients, seconds, ranks):
        jobs = [(self.kill_ranks,)] if ranks > 1 else []
        jobs += [(self.client, i) for i in range(clients)] + [(self.hang_up, i) for i in range(2)] + [(self.reload,)]
        threads = [threading.Thread(target=job[0], args=job[1:]) for job in jobs]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        return threads


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=20, help="Number of servers that are started and ended")
    options.add_argument("--seconds", type=float, default=5, help="How long each of them is asked")
    options.add_argument("--clients", type=int, default=8)
    options.add_argument("--seed", type=int, default=17)
    arguments = options.parse_args()
    program = os.path.join(os.environ["DMOERM_BUILD"], "dmoerm")
    rows = [{"prompt": f"Question {i // 2}", "responses": [f"Answer {i} " + "word " * (1 + 4 * r) for r in range(1 + i % 4)]} for i in range(12)]
    requests = good_requests(rows, [row["scores"] for row in offline_scores(program, BUNDLE, rows)])
    total = {"name": "serve", "runs": 0, "wrong": 0, "lost": 0, "crashed": 0, "requests": 0, "scored": 0, "refused": 0, "reloads": 0, "hung_up": 0, "ranks_killed": 0, "unavailable": 0, "killed": 0}
    folder = tempfile.mkdtemp(prefix="dmoerm-serve-")
    try:
        copy = os.path.join(folder, "copy")
        shutil.copytree(BUNDLE, copy)
        for run in range(arguments.runs):
            ranks = 2 if run % 4 >= 2 else 1
            with RewardServer(program, [f"main={BUNDLE}", f"other={copy}"], "--header-s", "2", "--body-s", "2", "--np", str(ranks)) as server:
                world = World(server, requests, arguments.seed + run, ranks)
                threads = world.run(arguments.clients, arguments.seconds, ranks)
                crashed = server.process.poll() is not None
                world.stopping = True
                if run % 2:
                    server.process.kill()
                    total["killed"] += 1
                    world.ends.set()
                else:
                    server.process.send_signal(signal.SIGTERM)
                    crashed |= server.process.wait(90) != 0
                    world.ends.set()
                for thread in threads:
                    thread.join()
                if crashed:
                    total["crashed"] += 1
                    print("".join(server.lines)[-2000:], file=sys.stderr)
                for example in world.examples:
                    print(example, file=sys.stderr)
                for key, value in world.line.items():
                    total[key] += value
                total["runs"] += 1
    finally:
        shutil.rmtree(folder)
    print(json.dumps(total))
    sys.exit(1 if total["wrong"] or total["lost"] or total["crashed"] else 0)


if __name__ == "__main__":
    main()
