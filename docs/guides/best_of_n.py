#!/usr/bin/env python3
"""Keep the best of several responses by the scores of `dmoerm serve`. Needs Python alone.

    python3 docs/guides/best_of_n.py --server http://127.0.0.1:8000 < responses.jsonl > best.jsonl

Each line in is {"prompt": ..., "responses": [...]}, each line out the same with "best", its place and its score. DMOERM_API_KEY is
sent if it is set.
"""
import argparse
import http.client
import json
import os
import sys
import time
import urllib.parse


class Server:
    """One connection that stays open. While the server is full, a request waits as long as the server asks."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(parts.hostname, parts.port, timeout=180)
        self.headers = {"Content-Type": "application/json"}
        if os.environ.get("DMOERM_API_KEY"):
            self.headers["Authorization"] = "Bearer " + os.environ["DMOERM_API_KEY"]

    def score(self, rows):
        while True:
            self.connection.request("POST", "/v1/reward", json.dumps({"items": rows}), self.headers)
            reply = self.connection.getresponse()
            body = json.loads(reply.read())
            if reply.status == 200:
                return body["items"]
            if reply.status not in (429, 503):
                sys.exit(f"best_of_n: {body['error']['message']}")
            time.sleep(float(reply.headers.get("Retry-After") or 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--rows", type=int, default=16, help="prompts of one request")
    options = parser.parse_args()
    server, rows = Server(options.server), [json.loads(line) for line in sys.stdin if line.strip()]
    for start in range(0, len(rows), options.rows):
        part = rows[start:start + options.rows]
        asked = [{"prompt": row["prompt"], "responses": row["responses"]} for row in part]
        for row, item in zip(part, server.score(asked)):
            place = max(range(len(item["scores"])), key=item["scores"].__getitem__)
            print(json.dumps({**row, "best": row["responses"][place], "place": place, "score": item["scores"][place]}, ensure_ascii=False))


if __name__ == "__main__":
    main()
