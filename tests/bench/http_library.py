"""Which HTTP library holds up beside clients that read and write slowly.

A server answers each request after 5 ms, once on cpp-httplib with a few threads, once on it with a thread a connection, and once on what `dmoerm serve` uses (libmicrohttpd,
one thread for all). Eight normal clients measure it alone, then beside 512 slow ones: half send a byte of their request a second, half read an answer of 1 MiB at 4 KiB a second.
Ends with one JSON line: p50 and p99 in ms alone and beside the slow ones, answers, threads and memory of each server.
"""
import argparse
import asyncio
import json
import os
import subprocess
import time

REQUEST = b"POST /%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"


async def slow_writer(port):
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    for byte in REQUEST % b"small":
        writer.write(bytes([byte]))
        await asyncio.sleep(1)


async def slow_reader(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    writer.write(REQUEST % b"large")
    while await reader.read(4096):
        await asyncio.sleep(1)


async def one_request(reader, writer):
    begun = time.perf_counter()
    writer.write(REQUEST % b"small")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    await reader.readexactly(length)
    return time.perf_counter() - begun


async def normal(port, until, times):
    reader = writer = None
    while time.perf_counter() < until:
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            times.append(await one_request(reader, writer))
        except (OSError, EOFError, asyncio.TimeoutError):
            times.append(2.0)  # seconds until it gave up
            writer = None


async def measure(port, slow, seconds):
    times = []
    tasks = [asyncio.create_task((slow_writer if i % 2 else slow_reader)(port)) for i in range(slow)]
    await asyncio.sleep(4 if slow else 0)  # until their connections stand
    await asyncio.gather(*(normal(port, time.perf_counter() + seconds, times) for _ in range(8)))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    times.sort()
    return {"p50_ms": round(times[len(times) // 2] * 1e3, 2), "p99_ms": round(times[len(times) * 99 // 100] * 1e3, 2), "answers": sum(t < 2 for t in times)}


def used(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        rows = dict(line.split(":", 1) for line in f if ":" in line)
    return {"threads": int(rows["Threads"]), "peak_mib": int(rows["VmHWM"].split()[0]) // 1024}


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--slow", type=int, default=512)
    options.add_argument("--seconds", type=float, default=5)
    arguments = options.parse_args()
    program, result = os.path.join(os.environ["DMOERM_BUILD"], "tests/bench/bench_http_library"), {"name": "http-library"}
    for name, command in {"httplib_8": ["httplib", "8"], "httplib_600": ["httplib", "600"], "microhttpd": ["microhttpd"]}.items():
        server = subprocess.Popen([program, *command], stdout=subprocess.PIPE, text=True)
        port = int(server.stdout.readline())
        alone = asyncio.run(measure(port, 0, arguments.seconds))
        beside = asyncio.run(measure(port, arguments.slow, arguments.seconds))
        result[name] = {"alone": alone, "beside_slow": beside, **used(server.pid)}
        server.kill()
        server.wait()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
