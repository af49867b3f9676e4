"""serve: throughput and latency of `dmoerm serve` beside the offline scorer.

    serve.py [--bundle DIR] [--connections 64] [--responses 8] [--prompt-words 150] [--response-words 45] [--seconds 30] [--threads N] [--slow 0]

First `dmoerm score` scores the bodies once; its texts a second after the first ones are the offline rate. Then `--connections` connections send best-of-`--responses` bodies as fast as they are
answered: `ratio` is their rate to the offline one. Then bodies arrive at random times at 70 % of that rate: `p99_over_p50`. Every score is compared with the offline one: `wrong`, and what got no answer
is `lost`. `--slow` connections read and write slowly all the while. The default bundle is the quick start's if there is one, else the tests' tiny one.
"""
import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time

from bench_common import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from reward_server import RewardServer  # noqa: E402

WORDS = "the parcel order kettle torn box answer phone please help late refund story garden river night slowly mix flour water bake train town letter friend".split()


def make_rows(args):
    draw = random.Random(args.seed)
    text = lambda count: " ".join(draw.choice(WORDS) for _ in range(count))
    return [{"prompt": text(args.prompt_words), "responses": [text(args.response_words) for _ in range(args.responses)]} for _ in range(args.bodies)]


def offline(program, args, rows):
    """-> (scores, texts a second between the first answer and the last)"""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
        file.flush()
        process = subprocess.Popen([program, "score", "--bundle", args.bundle, "--input", file.name, "--threads", str(args.threads)], stdout=subprocess.PIPE, text=True)
        scores, times = [], []
        for line in process.stdout:
            scores.append(json.loads(line)["scores"])
            times.append(time.perf_counter())
        assert process.wait() == 0 and len(scores) == len(rows)
    return scores, (len(rows) - 1) * args.responses / (times[-1] - times[0])


class Load:
    def __init__(self, port, rows, scores):
        self.port, self.scores = port, scores
        self.requests = []
        for row in rows:
            body = json.dumps(row).encode()
            self.requests.append(b"POST /v1/reward HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.times, self.wrong, self.lost, self.refused = [], 0, 0, 0
        self.idle = []

    async def ask(self, which):
        begun = time.perf_counter()
        try:
            reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
            writer.write(self.requests[which])
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            reply = json.loads(await reader.readexactly(length))
            self.idle.append((reader, writer))
        except (OSError, EOFError):
            self.lost += 1
            return
        status = int(head.split(b" ")[1])
        if status == 429:
            self.refused += 1
        elif status != 200 or reply["scores"] != self.scores[which]:
            self.wrong += 1
        else:
            self.times.append(time.perf_counter() - begun)

    async def closed(self, connections, seconds):
        until = time.perf_counter() + seconds

        async def client(number):
            which = number
            while time.perf_counter() < until:
                await self.ask(which % len(self.requests))
                which += connections
        begun = time.perf_counter()
        await asyncio.gather(*(client(i) for i in range(connections)))
        return len(self.times) / (time.perf_counter() - begun)

    async def random_arrivals(self, rate, seconds, draw):
        tasks, until = [], time.perf_counter() + seconds
        when = time.perf_counter()
        while when < until:
            when += draw.expovariate(rate)
            await asyncio.sleep(max(0, when - time.perf_counter()))
            tasks.append(asyncio.create_task(self.ask(draw.randrange(len(self.requests)))))
        await asyncio.gather(*tasks)


async def slow_client(port, number):
    request = b"POST /v1/reward HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n" + b"{"
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            for byte in request if number % 2 else request[:20]:
                writer.write(bytes([byte]))
                await asyncio.sleep(1)
            writer.close()
        except OSError:
            await asyncio.sleep(1)


def quantile(times, share):
    times = sorted(times)
    return times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")


async def measure(args, server, rows, scores):
    slow = [asyncio.create_task(slow_client(server.port, i)) for i in range(args.slow)]
    await asyncio.sleep(2 if slow else 0)
    warm = Load(server.port, rows, scores)
    await warm.closed(args.connections, 2)
    full = Load(server.port, rows, scores)
    rate = await full.closed(args.connections, args.seconds)
    calm = Load(server.port, rows, scores)
    await calm.random_arrivals(0.7 * rate, args.seconds, random.Random(args.seed))
    for task in slow:
        task.cancel()
    return rate, warm, full, calm


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    quickstart = os.path.join(ROOT, "runs", "quickstart", "bundle")
    parser.add_argument("--bundle", default=quickstart if os.path.exists(quickstart) else os.path.join(ROOT, "tests", "golden", "earlier", "bundle"))
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--responses", type=int, default=8)
    parser.add_argument("--prompt-words", type=int, default=150)
    parser.add_argument("--response-words", type=int, default=45)
    parser.add_argument("--bodies", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--slow", type=int, default=0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=5)
    args, options = parser.parse_known_args()
    program = os.path.join(os.environ["DMOERM_BUILD"], "dmoerm")
    rows = make_rows(args)
    scores, offline_rate = offline(program, args, rows)
    with RewardServer(program, [args.bundle], *options, threads=args.threads) as server:
        memory = server.memory_mib()
        rate, warm, full, calm = asyncio.run(measure(args, server, rows, scores))
        grown = server.memory_mib() - memory
        code, said = server.stop()
    again = offline(program, args, rows)[1]  # the machine may have become slower or faster
    baseline = (offline_rate + again) / 2
    p50, p99 = quantile(calm.times, 0.5), quantile(calm.times, 0.99)
    print(said.splitlines()[-1])
    print(json.dumps({"name": "serve", "unit": "texts/s", "ours": round(rate * args.responses, 2), "offline": round(baseline, 2), "ratio": round(rate * args.responses / baseline, 3), "p50_ms": round(p50 * 1e3, 1),
                      "p99_ms": round(p99 * 1e3, 1), "p99_over_p50": round(p99 / p50, 2), "wrong": warm.wrong + full.wrong + calm.wrong, "lost": warm.lost + full.lost + calm.lost,
                      "refused": full.refused + calm.refused, "requests": len(full.times) + len(calm.times), "grown_mib": round(grown, 1), "exit_code": code}))


if __name__ == "__main__":
    main()
