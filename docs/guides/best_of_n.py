#!/usr/bin/env python3
"""Keep the best of several responses by the scores of `dmoerm serve`. Needs Python alone.

    python3 docs/guides/best_of_n.py --server http://127.0.0.1:8000 < responses.jsonl > best.jsonl

Each line in is {"prompt": ..., "responses": [...]}, each line out the same with "best", its place and its score. An empty response is
never the best, and a line without any other has none. DMOERM_API_KEY is sent if it is set;
DMOERM_TRIES is how often a request is tried while the server cannot be reached.
"""
import argparse
import http.client
import json
import os
import sys
import time
import unicodedata
import urllib.parse

TRIES = int(os.environ.get("DMOERM_TRIES", "10"))  # over some 45 s


def shows_something(text):
    """Whether there is anything to read: more than white space, control characters and characters without width or shape."""
    return any(unicodedata.category(c)[0] not in "ZC" and c not in "\u034f\u115f\u1160\u2800\u3164\uffa0" for c in text)


class Server:
    """One connection that stays open. While the server is full, a request waits as long as the server asks; while it restarts, for a while."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(parts.hostname, parts.port, timeout=180)
        self.headers = {"Content-Type": "application/json"}
        if os.environ.get("DMOERM_API_KEY"):
            self.headers["Authorization"] = "Bearer " + os.environ["DMOERM_API_KEY"]

    def score(self, rows):
        lost = 0
        while True:
            try:
                self.connection.request("POST", "/v1/reward", json.dumps({"items": rows}), self.headers)
                reply = self.connection.getresponse()
                body = json.loads(reply.read())
            except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
                self.connection.close()  # the next request opens it again
                lost += 1
                if lost == TRIES:
                    sys.exit(f"best_of_n: {self.connection.host}:{self.connection.port}: {error}")
                time.sleep(lost)
                continue
            if reply.status == 200:
                return body["items"]
            if reply.status not in (429, 502, 503):
                sys.exit(f"best_of_n: {body['error']['message']}")
            time.sleep(float(reply.headers.get("Retry-After") or 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--rows", type=int, default=16, help="prompts of one request")
    options = parser.parse_args()
    server, rows = Server(options.server), []
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        rows.append(json.loads(line))
        if not isinstance(rows[-1], dict) or not rows[-1].get("responses") or "prompt" not in rows[-1]:
            sys.exit(f"best_of_n: line {number}: expected a prompt and a list of responses")
    for start in range(0, len(rows), options.rows):
        part = rows[start:start + options.rows]
        places = [[i for i, text in enumerate(row["responses"]) if shows_something(text)] for row in part]
        asked = [{"prompt": row["prompt"], "responses": [row["responses"][i] for i in own]} for row, own in zip(part, places) if own]
        items = iter(server.score(asked) if asked else [])
        for row, own in zip(part, places):
            scores = dict(zip(own, next(items)["scores"])) if own else {}
            place = max(scores, key=scores.__getitem__, default=None)
            best = None if place is None else row["responses"][place]
            print(json.dumps({**row, "best": best, "place": place, "score": scores.get(place)}, ensure_ascii=False))


if __name__ == "__main__":
    main()
