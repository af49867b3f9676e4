#!/usr/bin/env python3
"""Ask `dmoerm serve` as LLaMA-Factory's PPO trainer asks a reward server (reward_model_type: api). Needs Python alone.

    python3 docs/guides/llama_factory_client.py --server http://127.0.0.1:8000
"""
import argparse
import json
import urllib.request


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    url = parser.parse_args().server.rstrip("/") + "/v1/score/evaluation"
    texts = ["Where is my order?\nIt arrives tomorrow before noon.", "Where is my order?\nOrders arrive when they arrive."]
    body = json.dumps({"model": "model", "messages": texts}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as reply:
        print(json.dumps({"scores": json.load(reply)["scores"]}))


if __name__ == "__main__":
    main()
