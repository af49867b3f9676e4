"""Rewards of `dmoerm serve` for OpenRLHF, as a reward function in a file: --reward.remote_url docs/guides/openrlhf_reward.py

OpenRLHF can also be given the server's address itself (http://HOST:PORT/get_reward). This file does the same and sends an API key.
Environment: DMOERM_SERVER (default http://127.0.0.1:8000), DMOERM_API_KEY.
"""
import json
import os
import urllib.request


def reward_func(queries, prompts, labels):
    """queries: prompt and response as one text each. Returns lists with one element for each query, as OpenRLHF reads them."""
    headers = {"Content-Type": "application/json"}
    if os.environ.get("DMOERM_API_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["DMOERM_API_KEY"]
    url = os.environ.get("DMOERM_SERVER", "http://127.0.0.1:8000").rstrip("/") + "/get_reward"
    body = json.dumps({"query": queries, "prompts": prompts, "labels": labels}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=180) as reply:
        return json.load(reply)
