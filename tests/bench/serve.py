"""serve: throughput and latency of `dmoerm serve` beside the offline scorer, and how it bears overload, slow clients, a kill and time.

    serve.py [--part rate overload slow restart memory] [--bundle DIR] [--connections 64] [--responses 8] [--seconds 30] [--threads N] [options of dmoerm serve]

rate: `dmoerm score` scores the bodies; its texts a second after the first ones are the offline rate. Then `--connections` connections send best-of-`--responses` bodies as fast as they are answered: `ratio` is
their rate to the offline one. Then bodies arrive at random times at 70 % of that rate: `p99_over_p50`, beside that of a queue with equal service times, `queue_p99_over_p50`. Every score is compared with the offline one: `wrong`, and what got no answer is `lost`.
overload: with `--queue-s`, bodies arrive at four times the rate for `--overload-seconds`, each with a deadline of `--deadline-s`. `overload.late` are answers after it, `overload.others` statuses other than 200 and 429,
`overload.recovery_s` the time from the last arrival until a new client is answered with 200.
slow: one normal client, first alone and then beside `--slow` connections of which half send a byte a second and half read one: `slow.p99_ratio`.
restart: kill -9, and the time from the next start to the first 200 of GET /ready: `restart.ready_s`, the median of `--restarts`.
memory: the load of `rate` for `--minutes`: `memory.grown_mib` is the resident memory at the end less that after a tenth of the time.
The parts rate, overload and slow run by default. The default bundle is the quick start's if there is one, else the tests' tiny one.
"""
import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from bench_common import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from reward_server import RewardServer  # noqa: E402
from serve_load import Load, make_rows, quantile  # noqa: E402

PARTS = ("rate", "overload", "slow", "restart", "memory")


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


async def slow_client(port, number):
    """Half of them write a request slowly, half read an answer slowly: GET / is the longest."""
    writes = number % 2 == 0
    while True:
        try:
            if writes:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                for byte in b"POST /v1/reward HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n{":
                    writer.write(bytes([byte]))
                    await asyncio.sleep(1)
                writer.close()
                continue
            narrow = socket.socket()
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            narrow.setblocking(False)
            loop = asyncio.get_running_loop()
            with narrow:
                await loop.sock_connect(narrow, ("127.0.0.1", port))
                await loop.sock_sendall(narrow, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                while await loop.sock_recv(narrow, 1):
                    await asyncio.sleep(1)
        except OSError:
            await asyncio.sleep(1)


def queue_ratio(load, draw, arrivals=100000):
    """p99 over p50 of a queue that serves one request after the other, each in the same time, at `load` of its rate with arrivals at random times."""
    now = free = 0.0
    times = []
    for _ in range(arrivals):
        now += draw.expovariate(load)
        free = max(free, now) + 1
        times.append(free - now)
    return quantile(times, 0.99) / quantile(times, 0.5)


async def rate_part(args, server, rows, scores, found):
    await (warm := Load(server.port, rows, scores)).closed(args.connections, args.warm_seconds)
    rate = await (full := Load(server.port, rows, scores)).closed(args.connections, args.seconds)
    calm = Load(server.port, rows, scores)
    await asyncio.gather(*await calm.random_arrivals(0.7 * rate, args.seconds, random.Random(args.seed)))
    p50, p99 = quantile(calm.times, 0.5), quantile(calm.times, 0.99)
    found.update(ours=round(rate * args.responses, 2), p50_ms=round(p50 * 1e3, 1), p99_ms=round(p99 * 1e3, 1), p99_over_p50=round(p99 / p50, 2), queue_p99_over_p50=round(queue_ratio(0.7, random.Random(args.seed)), 2),
                 refused=full.refused + calm.refused, requests=len(full.times) + len(calm.times))
    return [warm, full, calm]


async def overload_part(args, server, rows, scores, found):
    calm = Load(server.port, rows, scores)
    rate = await calm.closed(4, args.calm_seconds)  # as many as the queue lets in
    load = Load(server.port, rows, scores, deadline_s=args.deadline_s)
    tasks = await load.random_arrivals(4 * rate, args.overload_seconds, random.Random(args.seed))
    over = time.perf_counter()
    after = Load(server.port, rows, scores, deadline_s=args.deadline_s)
    while await after.ask(0) != 200:
        after.idle.clear()
        await asyncio.sleep(0.02)
    recovery = time.perf_counter() - over
    await asyncio.gather(*tasks)
    found["overload"] = {"requests": len(tasks), "answered": len(load.times), "refused": load.refused, "late": load.late, "others": load.others, "recovery_s": round(recovery, 2), "queue_s": args.queue_s}
    return [calm, load]


async def slow_part(args, server, rows, scores, found):
    async def one_client():
        load = Load(server.port, rows, scores)
        await load.closed(1, args.seconds)
        return load
    alone = await one_client()
    slow = [asyncio.create_task(slow_client(server.port, i)) for i in range(args.slow)]
    await asyncio.sleep(2)
    beside = await one_client()
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    before, after = (quantile(load.times, 0.99) for load in (alone, beside))
    found["slow"] = {"connections": args.slow, "p99_alone_ms": round(before * 1e3, 1), "p99_beside_ms": round(after * 1e3, 1), "p99_ratio": round(after / before, 2)}
    return [alone, beside]


async def memory_part(args, server, rows, scores, found):
    loads, seen, until = [], [], time.perf_counter() + 60 * args.minutes
    while time.perf_counter() < until:
        load = Load(server.port, rows, scores)
        await load.closed(args.connections, min(10, max(1, until - time.perf_counter())))
        loads.append(load)
        seen.append(server.memory_mib())
    found["memory"] = {"minutes": args.minutes, "start_mib": round(seen[len(seen) // 10], 1), "end_mib": round(seen[-1], 1), "grown_mib": round(seen[-1] - seen[len(seen) // 10], 1)}
    return loads


def restart_part(args, program, options, found):
    times = []
    for _ in range(args.restarts):
        begun = time.perf_counter()
        with RewardServer(program, [args.bundle], *options, threads=args.threads) as server:
            while server.ask("GET", "/ready")[0] != 200:
                pass
            times.append(time.perf_counter() - begun)
            server.process.kill()
            server.process.wait()
    found["restart"] = {"ready_s": round(statistics.median(times), 2), "spread": [round(min(times), 2), round(max(times), 2)]}


def run_parts(args, program, options, rows, scores, found):
    """Overload has a server of its own, with a short queue. -> loads"""
    loads, code = [], 0
    parts = {"rate": rate_part, "overload": overload_part, "slow": slow_part, "memory": memory_part}
    for part in (p for p in args.part if p in parts):
        own = ["--queue-s", str(args.queue_s)] if part == "overload" else []
        with RewardServer(program, [args.bundle], *options, *own, threads=args.threads) as server:
            loads += asyncio.run(parts[part](args, server, rows, scores, found))
            stopped, said = server.stop()
            code = code or stopped
        print(said.splitlines()[-1])
    found["exit_code"] = code
    return loads


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    quickstart = os.path.join(ROOT, "runs", "quickstart", "bundle")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS[:3]))
    parser.add_argument("--bundle", default=quickstart if os.path.exists(quickstart) else os.path.join(ROOT, "tests", "golden", "earlier", "bundle"))
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--responses", type=int, default=8)
    parser.add_argument("--prompt-words", type=int, default=150)
    parser.add_argument("--response-words", type=int, default=45)
    parser.add_argument("--bodies", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--warm-seconds", type=float, default=2)
    parser.add_argument("--overload-seconds", type=float, default=60)
    parser.add_argument("--calm-seconds", type=float, default=5)
    parser.add_argument("--deadline-s", type=float, default=10)
    parser.add_argument("--queue-s", type=float, default=1)
    parser.add_argument("--slow", type=int, default=512)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=5)
    args, options = parser.parse_known_args()
    program = os.path.join(os.environ["DMOERM_BUILD"], "dmoerm")
    found = {"name": "serve", "unit": "texts/s"}
    if "restart" in args.part:
        restart_part(args, program, options, found)
    if set(args.part) - {"restart"}:
        rows = make_rows(args.bodies, args.responses, args.prompt_words, args.response_words, args.seed)
        scores, before = offline(program, args, rows)
        loads = run_parts(args, program, options, rows, scores, found)
        if "rate" in args.part:  # the machine may have become slower or faster meanwhile
            baseline = (before + offline(program, args, rows)[1]) / 2
            found.update(offline=round(baseline, 2), ratio=round(found["ours"] / baseline, 3))
        others = sum(count for load in loads for count in load.others.values())
        found.update(wrong=sum(load.wrong for load in loads) + others, lost=sum(load.lost for load in loads))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
