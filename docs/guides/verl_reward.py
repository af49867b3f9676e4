"""Rewards of `dmoerm serve` for verl, as a custom reward function:

    reward.custom_reward_function.path=docs/guides/verl_reward.py reward.custom_reward_function.name=compute_score

Environment: DMOERM_SERVER (default http://127.0.0.1:8000), DMOERM_API_KEY, DMOERM_TRIES. Each row of the data needs its prompt where
the function finds it: extra_info["question"], a text or messages.
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


def ask(body):
    """Send a request to /v1/reward; wait and try again while the server is full or restarts."""
    headers = {"Content-Type": "application/json"}
    if os.environ.get("DMOERM_API_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["DMOERM_API_KEY"]
    url = os.environ.get("DMOERM_SERVER", "http://127.0.0.1:8000").rstrip("/") + "/v1/reward"
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


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    """The score of one response, and beside it what it is made of, which verl logs."""
    if not shows_something(solution_str):
        return {"score": EMPTY, "fallback": 0.0, "confidence": 0.0, "cut_tokens": 0.0}
    reply = ask({"prompt": extra_info["question"], "response": solution_str})
    return {"score": reply["scores"][0], "fallback": float(reply["route"]["fallback"]), "confidence": reply["route"]["confidence"],
            "cut_tokens": float(reply["cut_tokens"][0])}
