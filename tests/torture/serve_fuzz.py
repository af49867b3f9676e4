"""Random and mutated requests of every address of `dmoerm serve` over HTTP, for a build with sanitizers.

    DMOERM_BUILD=build/asan launch/torture.sh serve-fuzz [--requests 1000000] [--good 0.36] [--seed S] [--connections 16] [--np N]

A third of the requests, or the share --good, are good, so that they reach the scorer; the others have bodies whose values or bytes were changed, odd headers, chunks, other methods, or are no HTTP at all. The server has the tests'
tiny bundle. If it ends, the last requests of all connections are printed, and another is started. At the end it gets SIGTERM, and the leak checker speaks. Ends with one JSON line: `crashed` servers,
answers with `status_5xx`, `leaks` that were reported, `hung` requests without an answer, `scored_share` of the requests that reached the scorer. Exits 1 if one of the first four is above 0, or fewer than 5 % were scored.
"""
import argparse
import asyncio
import json
import os
import random
import re
import sys
import time

ROOT = os.environ.get("DMOERM_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from reward_server import RewardServer  # noqa: E402

BUNDLE = os.path.join(ROOT, "tests", "golden", "earlier", "bundle")
WORDS = "bread tea parcel late answer the a of [CLS] [SEP] User: Assistant: {{x}} <|im_end|> ünïcode 你好 \u200b \U0001f600 \\ \" \n".split(" ")
ODD = [None, True, False, 0, -1, 1.5, 1e308, -0.0, 10 ** 30, 2 ** 31, 2 ** 63, "", " ", "x" * 3000, "\x00", [], {}, [[]], [None], {"a": {}}, [1, "x"], [[1, 2], [3]], {"role": "user"}]
BYTES = [b"[", b"{", b'"', b"1e999", b"NaN", b"null", b"\\ud800", b"\xff\xfe", b"9" * 40, b"[" * 300, b",", b"\x00", b"\xc0\x80", b'"a":1,"a":2,']
METHODS = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "POST", "BREW"]
PLACES = ["/", "/health", "/ready", "/info", "/metrics", "/v1/models", "/v1/models/main", "/v1/models/x", "/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/models/main", "/v2/models/main/config",
          "/v2/models/main/versions/1/ready", "/v2/models/%20/ready", "/nothing", "/%00", "/classify/", "//", "/v1/reward?x=1", "/../etc/passwd", "/" + "a" * 2000]


def text(draw):
    return " ".join(draw.choice(WORDS) for _ in range(draw.choice((1, 2, 5, 20, 120)))) + " end"


def templated(draw):
    return f"[CLS]User: {text(draw)}\nAssistant:[SEP] {text(draw)}[SEP]"


def tensor(name, datatype, data):
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


def good(draw):
    """-> (path, JSON body, headers and bytes behind the JSON)"""
    texts = [templated(draw) for _ in range(draw.randint(1, 4))]
    plain = [text(draw) for _ in range(draw.randint(1, 4))]
    ids = [[draw.randrange(200) for _ in range(draw.randint(1, 30))] for _ in range(draw.randint(1, 3))]
    conversation = [{"role": "user", "content": text(draw)}, {"role": "assistant", "content": text(draw)}]
    prompt = text(draw)
    return draw.choice((
        lambda: ("/v1/reward", {"prompt": prompt, "responses": plain}),
        lambda: ("/v1/reward", {"items": [{"id": i, "prompt": prompt, "response": r} for i, r in enumerate(plain)], "normalise": draw.choice(["none", "sigmoid", "softmax", "standard", True])}),
        lambda: ("/v1/reward", {"texts": texts, "truncate": draw.random() < 0.8, "model": "main"}),
        lambda: ("/v1/reward", {"input_ids": ids}),
        lambda: ("/v1/reward", {"messages": conversation, "use_category": "chat"}),
        lambda: ("/v1/reward", {"prompt": prompt, "chosen": plain[0] + " a", "rejected": plain[0] + " b"}),
        lambda: ("/get_reward", {"query": texts, "prompts": [t[:draw.randrange(1, 12)] for t in texts], "labels": [None] * len(texts)}),
        lambda: (draw.choice(("/classify", "/v1/classify")), {"model": "main", "input": draw.choice((texts, texts[0], ids, ids[0]))}),
        lambda: ("/classify", {"text": draw.choice((texts, texts[0]))}),
        lambda: ("/classify", {"conv": [conversation]}),
        lambda: (draw.choice(("/pooling", "/v1/pooling")), {"model": "other", "messages": conversation, "task": "classify"}),
        lambda: ("/v1/embeddings", {"model": "main", "input": texts, "encoding_format": draw.choice(("float", "base64"))}),
        lambda: (draw.choice(("/score", "/v1/score")), {"model": "main", "queries": prompt, "documents": plain}),
        lambda: ("/v1/score", {"query": prompt, "items": plain}),
        lambda: (draw.choice(("/rerank", "/v1/rerank", "/v2/rerank")), {"model": "main", "query": prompt, "documents": plain, "top_n": draw.randint(0, 3)}),
        lambda: ("/rerank", {"query": prompt, "texts": plain, "return_text": True, "truncate": True}),
        lambda: (draw.choice(("/predict", "/")), {"inputs": draw.choice((texts[0], [[t] for t in texts], [[prompt, r] for r in plain])), "truncate": True}),
        lambda: ("/v1/score/evaluation", {"model": "x", "messages": texts}),
        lambda: ("/v2/models/main/infer", {"inputs": [tensor("sentences", "BYTES", texts)]}),
        lambda: ("/v2/models/main/infer", {"inputs": [tensor("prompts", "BYTES", [prompt] * len(plain)), tensor("responses", "BYTES", plain)]}),
        lambda: ("/v2/models/main/versions/1/infer", {"inputs": [{"name": "tokens", "shape": [1, len(ids[0])], "datatype": "INT64", "data": ids[0]}, tensor("sequence_lengths", "INT32", [len(ids[0])])]}),
    ))()


def nodes(value, found, place=None):
    """All (container, key) of a JSON value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(children):
        found.append((value, key))
        nodes(child, found)
    return found


def changed(draw, body):
    """The body with some values replaced, removed, moved or nested."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        places = nodes(body, [])
        if not places:
            return body
        container, key = draw.choice(places)
        kind = draw.randrange(6)
        if kind <= 2:
            container[key] = json.loads(json.dumps(draw.choice(ODD)))
        elif kind == 3:
            del container[key]
        elif kind == 4:
            other, there = draw.choice(places)
            try:
                container[key] = json.loads(json.dumps(other[there]))
            except (KeyError, IndexError):
                container[key] = [container[key]]
        elif isinstance(container, dict):
            container[draw.choice(("", "x", "model", "normalise", "input", "prompts", "parameters", key + "_", key.upper() if isinstance(key, str) else "k"))] = json.loads(json.dumps(draw.choice(ODD)))
        else:
            container.insert(0, json.loads(json.dumps(draw.choice(ODD))))
    return body


def mangled(draw, data):
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(4)
        if kind == 0:
            del data[at:at + draw.choice((1, 3, 50, 5000))]
        elif kind == 1 and at < len(data):
            data[at] = draw.randrange(256)
        elif kind == 2:
            data[at:at] = draw.choice(BYTES)
        else:
            end = min(len(data), at + draw.randrange(60))
            data[at:at] = data[at:end] * draw.randint(1, 3)
    return bytes(data)


def binary(draw):
    """A tensor whose data follow the JSON; lengths may lie. -> (body, headers)"""
    data = b"".join(len(t).to_bytes(4, "little") + t for t in (templated(draw).encode() for _ in range(draw.randint(1, 3))))
    if draw.random() < 0.5:
        data = mangled(draw, data)
    size = len(data) if draw.random() < 0.7 else draw.choice((0, 1, len(data) + 1, 2 ** 31 - 1, -1))
    head = json.dumps({"inputs": [{"name": "sentences", "shape": [draw.choice((1, 2, 3, 0, 10 ** 9))], "datatype": draw.choice(("BYTES", "BYTES", "INT64", "FP32")), "parameters": {"binary_data_size": size}}]}).encode()
    announced = len(head) if draw.random() < 0.8 else draw.choice((0, 1, 10 ** 18, len(head) + 5))
    return head + data, [f"Inference-Header-Content-Length: {announced}"]


def odd_headers(draw):
    return draw.sample(["X-Request-Timeout: 0", "X-Request-Timeout: -5", "X-Request-Timeout: soon", "X-Request-Timeout: 1e400", "X-Request-Timeout: 30", "Inference-Header-Content-Length: 7", "Accept-Encoding: gzip", "Authorization: Bearer x",
                        "Content-Type: text/plain", "Origin: http://evil.example", "Origin: null", "Expect: 100-continue", "X-" + "a" * 3000 + ": b", "Cookie: " + "c" * 500, "Transfer-Encoding: chunked, gzip", "Content-Length: 5",
                        "Content-Length: 99999999999", "Content-Length: -1", "Connection: close", "Connection: upgrade", "X-Y: \xff\xfe"], draw.randint(1, 3))


def request(draw, good_share):
    """-> (bytes to send, whether the connection must be given up afterwards because the request may be incomplete)"""
    kind, headers, method, giving_up = draw.random() - good_share, [], "POST", False
    kind = -1 if kind < 0 else kind / (1 - good_share)
    path, body = good(draw)
    data = json.dumps(body, ensure_ascii=draw.random() < 0.5).encode("utf-8", "replace")
    if kind < 0:
        pass
    elif kind < 0.47:
        data = json.dumps(changed(draw, body)).encode()
    elif kind < 0.72:
        data = mangled(draw, data)
    elif kind < 0.8:
        path = "/v2/models/main/infer"
        data, headers = binary(draw)
    elif kind < 0.89:
        path, method = draw.choice(PLACES + [path]), draw.choice(METHODS)
        data = data if draw.random() < 0.3 else b""
    elif kind < 0.955:
        headers, giving_up = odd_headers(draw), True
    elif kind < 0.98:
        pieces = [data[i:i + 37] for i in range(0, len(data), 37)]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
        if draw.random() < 0.5:
            chunks, giving_up = mangled(draw, chunks), True
        return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunks, giving_up
    else:
        whole = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
        return mangled(draw, whole)[:draw.randrange(1, len(whole))], True
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + data, giving_up


class Fuzz:
    def __init__(self, args, program):
        self.args, self.program, self.server = args, program, None
        self.total = {"name": "serve-fuzz", "requests": 0, "scored": 0, "scored_share": 0.0, "crashed": 0, "status_5xx": 0, "hung": 0, "leaks": 0}
        self.statuses, self.last, self.left = {}, {}, args.requests

    def start(self):
        environment = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
        self.server = RewardServer(self.program, [f"main={BUNDLE}", f"other={BUNDLE}"], "--header-s", "5", "--body-s", "5", "--batch-wait-ms", "0.5", "--np", str(self.args.np), env=environment)

    async def answer(self, reader, head_only):
        """-> (status, whether the connection stays)"""
        head = await reader.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if length and not head_only:
            await reader.readexactly(int(length[1]))
        return int(head.split(b" ", 2)[1]), not re.search(rb"(?i)connection: *close", head)

    async def client(self, number):
        draw = random.Random(self.args.seed * 1000 + number)
        connection = None
        while self.left > 0:
            self.left -= 1
            data, giving_up = request(draw, self.args.good)
            self.last[number] = data
            try:
                if connection is None:
                    connection = await asyncio.open_connection("127.0.0.1", self.server.port, limit=1 << 22)
                reader, writer = connection
                writer.write(data)
                if giving_up:
                    writer.write_eof()
                status, stays = await asyncio.wait_for(self.answer(reader, data.startswith(b"HEAD ")), 60)
            except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):  # closed without an answer, as a request that is no HTTP deserves
                status, stays = 0, False
            except asyncio.TimeoutError:
                self.total["hung"] += 1
                print(f"no answer in 60 s: {data[:400]!r}", file=sys.stderr)
                status, stays = 0, False
            self.count(status, data)
            if giving_up or not stays:
                if connection is not None:
                    connection[1].close()
                connection = None
            if self.server.process.poll() is not None:
                return

    def count(self, status, data):
        self.total["requests"] += 1
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.total["scored"] += status == 200 and data.startswith(b"POST ")
        if status >= 500:
            self.total["status_5xx"] += 1
            print(f"{status}: {data[:600]!r}", file=sys.stderr)

    async def shown(self):
        begun = time.monotonic()
        while True:
            await asyncio.sleep(60)
            print(f"{self.total['requests']} requests, {self.total['requests'] / (time.monotonic() - begun):.0f} a second", file=sys.stderr, flush=True)

    async def run(self):
        bar = asyncio.create_task(self.shown())
        await asyncio.gather(*(self.client(i) for i in range(self.args.connections)))
        bar.cancel()

    def all(self):
        while self.left > 0:
            self.start()
            asyncio.run(self.run())
            crashed = self.server.process.poll() is not None
            code, said = (self.server.process.returncode, "".join(self.server.lines)) if crashed else self.server.stop(seconds=300)
            self.total["leaks"] += len(re.findall(r"(?:Direct|Indirect) leak of", said))
            if crashed or code not in (0, 23) or "runtime error" in said:  # 23: the leak checker's
                self.total["crashed"] += 1
                print(said[-6000:], file=sys.stderr)
                for data in self.last.values():
                    print(f"a last request: {data[:2000]!r}", file=sys.stderr)
            elif "leak of" in said:
                print(said[-6000:], file=sys.stderr)
        self.total["scored_share"] = round(self.total["scored"] / max(1, self.total["requests"]), 4)
        print(json.dumps({**self.total, "statuses": {str(k): v for k, v in sorted(self.statuses.items())}}))
        bad = [key for key in ("crashed", "status_5xx", "leaks", "hung") if self.total[key] > 0]
        return 1 if bad or self.total["scored_share"] < 0.05 else 0


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--requests", type=int, default=20000)
    options.add_argument("--good", type=float, default=0.36, help="share of good requests; the fewer, the faster")
    options.add_argument("--connections", type=int, default=16)
    options.add_argument("--np", type=int, default=1)
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    sys.exit(Fuzz(arguments, os.path.join(os.environ["DMOERM_BUILD"], "dmoerm")).all())


if __name__ == "__main__":
    main()
