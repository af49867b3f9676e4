#!/usr/bin/env python3
"""Ask `dmoerm serve` with huggingface_hub's InferenceClient, as a classifier in Text Embeddings Inference is asked.

    python3 docs/guides/tei_client.py --server http://127.0.0.1:8000
"""
import argparse
import json
import os
import urllib.request

from huggingface_hub import InferenceClient

PROMPT, RESPONSES = "Where is my order?", ["It arrives tomorrow before noon.", "Orders arrive when they arrive."]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    server = parser.parse_args().server.rstrip("/")
    headers = {"Authorization": "Bearer " + os.environ["DMOERM_API_KEY"]} if os.environ.get("DMOERM_API_KEY") else {}
    client = InferenceClient(model=server + "/predict", headers=headers)

    # A pair of prompt and response; one text alone would be read as prompt and response after each other.
    pair = client.text_classification([PROMPT, RESPONSES[0]])
    squashed = client.text_classification([PROMPT, RESPONSES[0]], function_to_apply="sigmoid")
    body = json.dumps({"query": PROMPT, "texts": RESPONSES}).encode()  # the client has no call for /rerank
    with urllib.request.urlopen(urllib.request.Request(server + "/rerank", body, {"Content-Type": "application/json", **headers})) as reply:
        ranks = json.load(reply)
    print(json.dumps({"predict": pair.score, "sigmoid": squashed.score, "rerank": [(r["index"], r["score"]) for r in ranks]}))


if __name__ == "__main__":
    main()
