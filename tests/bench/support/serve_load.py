"""Bodies of requests for a reward server, and clients that send them and compare the answers."""
import asyncio
import json
import random
import time

WORDS = "the parcel order kettle torn box answer phone please help late refund story garden river night slowly mix flour water bake train town letter friend".split()


def make_rows(bodies, responses, prompt_words, response_words, seed):
    draw = random.Random(seed)
    text = lambda count: " ".join(draw.choice(WORDS) for _ in range(count))
    return [{"prompt": text(prompt_words), "responses": [text(response_words) for _ in range(responses)]} for _ in range(bodies)]


def quantile(times, share):
    times = sorted(times)
    return times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")


class Load:
    """Requests to POST /v1/reward. Scores that differ by more than `tolerance` from those that `scores` has for the row are wrong."""

    def __init__(self, port, rows, scores, tolerance=0.0, deadline_s=None):
        self.port, self.scores, self.tolerance, self.deadline_s = port, scores, tolerance, deadline_s
        more = b"" if deadline_s is None else b"X-Request-Timeout: %g\r\n" % deadline_s
        self.requests = []
        for row in rows:
            body = json.dumps(row).encode()
            self.requests.append(b"POST /v1/reward HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n" % (more, len(body)) + body)
        self.times, self.wrong, self.lost, self.refused, self.late = [], 0, 0, 0, 0
        self.worst = 0.0  # largest difference of a score
        self.others = {}  # other statuses -> how often
        self.idle = []

    async def exchange(self, which):
        """-> (status, reply)"""
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        writer.write(self.requests[which])
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        reply = json.loads(await reader.readexactly(length))
        self.idle.append((reader, writer))
        return int(head.split(b" ")[1]), reply

    async def ask(self, which):
        begun = time.perf_counter()
        try:
            status, reply = await self.exchange(which)
        except (OSError, EOFError):
            self.lost += 1
            return None
        spent = time.perf_counter() - begun
        if self.deadline_s is not None and spent > self.deadline_s:
            self.late += 1
        if status == 429:
            self.refused += 1
        elif status != 200:
            self.others[status] = self.others.get(status, 0) + 1
        else:
            apart = max(abs(got - wanted) for got, wanted in zip(reply["scores"], self.scores[which]))
            self.worst = max(self.worst, apart)
            self.wrong += apart > self.tolerance or len(reply["scores"]) != len(self.scores[which])
            self.times.append(spent)
        return status

    async def closed(self, connections, seconds):
        """Each connection asks again as soon as it has its answer. -> answers a second"""
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
        """Requests come at random times, `rate` a second, however long the answers take."""
        tasks, until = [], time.perf_counter() + seconds
        when = time.perf_counter()
        while when < until:
            when += draw.expovariate(rate)
            await asyncio.sleep(max(0, when - time.perf_counter()))
            tasks.append(asyncio.create_task(self.ask(draw.randrange(len(self.requests)))))
        return tasks
