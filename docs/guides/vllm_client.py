#!/usr/bin/env python3
"""Ask `dmoerm serve` with the openai package, at the addresses that a reward model in vLLM answers.

    python3 docs/guides/vllm_client.py --server http://127.0.0.1:8000
"""
import argparse
import json
import os

import openai

CHAT = [{"role": "user", "content": "Where is my order?"}, {"role": "assistant", "content": "It arrives tomorrow before noon."}]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    server = parser.parse_args().server.rstrip("/")
    client = openai.OpenAI(base_url=server + "/v1", api_key=os.environ.get("DMOERM_API_KEY", "none"))
    model = client.models.list().data[0].id

    # The score of a conversation, and of a prompt with several responses.
    classified = client.post("/classify", cast_to=object, body={"model": model, "messages": CHAT})
    ranked = client.post("/rerank", cast_to=object, body={
        "model": model, "query": CHAT[0]["content"], "documents": [CHAT[1]["content"], "Orders arrive when they arrive."]})
    scored = client.post("/score", cast_to=object, body={
        "model": model, "text_1": CHAT[0]["content"], "text_2": [CHAT[1]["content"], "Orders arrive when they arrive."]})
    # A reward model that is asked for an embedding gives its score as the only number.
    embedded = client.embeddings.create(model=model, input="Where is my order?\nIt arrives tomorrow before noon.")
    print(json.dumps({"classify": classified["data"][0]["probs"][0],
                      "rerank": [(r["index"], r["relevance_score"]) for r in ranked["results"]],
                      "score": [s["score"] for s in scored["data"]],
                      "embeddings": embedded.data[-1].embedding[-1]}))


if __name__ == "__main__":
    main()
