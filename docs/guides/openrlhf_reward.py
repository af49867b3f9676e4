"""Rewards of `dmoerm serve` for OpenRLHF, as a reward function in a file: --reward.remote_url docs/guides/openrlhf_reward.py

OpenRLHF can also be given the server's address itself (http://HOST:PORT/get_reward). This file does the same and sends an API key.
Environment: DMOERM_SERVER (default http://127.0.0.1:8000), DMOERM_API_KEY, DMOERM_TRIES.
"""
import http.client
import json
import os
import time
import unicodedata
import urllib.error
import urllib.request

TRIES = int(os.environ.get("DMOERM_TRIES", "10"))  # of a request, over some 45 s: a large bundle takes longer to load
# A server that ends closes connections while their answers are awaited, or in the middle of them.
LOST = (OSError, http.client.HTTPException, json.JSONDecodeError)
EMPTY = -10.0  # the reward of a response in which there is nothing to read


def shows_something(text):
    """Whether there is anything to read: more than white space, control characters and characters without width or shape."""
    return any(unicodedata.category(c)[0] not in "ZC" and c not in "\u034f\u115f\u1160\u2800\u3164\uffa0" for c in text)


def response_of(query, prompt):
    """What follows the prompt, without the token that ends it."""
    response = query[len(prompt):] if query.startswith(prompt) else query
    for end in ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>", "</s>", "<eos>"):
        response = response.strip().removesuffix(end)
    return response


def reward_func(queries, prompts, labels):
    """queries: prompt and response as one text each. Returns lists with one element for each query, as OpenRLHF reads them."""
    asked = [i for i, (query, prompt) in enumerate(zip(queries, prompts)) if shows_something(response_of(query, prompt))]
    reply = ask({"query": [queries[i] for i in asked], "prompts": [prompts[i] for i in asked], "labels": [labels[i] for i in asked]})

    def of_all(values, otherwise):
        found = dict(zip(asked, values))
        return [found.get(i, otherwise) for i in range(len(queries))]

    return {"rewards": of_all(reply["rewards"], EMPTY), "scores": of_all(reply["scores"], 0.0),
            "extra_logs": {key: of_all(values, 0.0) for key, values in reply["extra_logs"].items()}}


def ask(body):
    """Send a request to /get_reward; wait and try again while the server is full or restarts."""
    headers = {"Content-Type": "application/json"}
    if os.environ.get("DMOERM_API_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["DMOERM_API_KEY"]
    url = os.environ.get("DMOERM_SERVER", "http://127.0.0.1:8000").rstrip("/") + "/get_reward"
    for tried in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=180) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as e:
            if tried == TRIES or e.code not in (429, 502, 503):
                raise RuntimeError(f"{url}: {e.code} {e.read().decode(errors='replace')}") from None
            time.sleep(float(e.headers.get("Retry-After") or 1))
        except LOST:
            if tried == TRIES:
                raise
            time.sleep(tried)
