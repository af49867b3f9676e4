#!/usr/bin/env python3
"""Train a model with TRL's GRPOTrainer on the rewards of `dmoerm serve`.

    python3 docs/guides/trl_grpo.py --server http://127.0.0.1:8000 --model SmolLM2-135M-Instruct --prompts prompts.jsonl --steps 100

The file has a JSON object {"prompt": "..."} a line. DMOERM_API_KEY is sent if it is set; DMOERM_TRIES is how often a
request is tried while the server is full or restarts.
"""
import argparse
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


def shows_something(text):
    """Whether there is anything to read: more than white space, control characters and characters without width or shape."""
    return any(unicodedata.category(c)[0] not in "ZC" and c not in "\u034f\u115f\u1160\u2800\u3164\uffa0" for c in text)


class DmoermReward:
    """A reward function for GRPOTrainer: asks for the scores of a whole batch in one request."""

    __name__ = "dmoerm"  # the name under which TRL logs it

    def __init__(self, server, empty=-10.0, timeout=180):
        """empty: reward of a completion in which there is nothing to read; it should lie below every other."""
        self.url, self.empty, self.timeout = server.rstrip("/") + "/v1/reward", empty, timeout
        self.headers = {"Content-Type": "application/json"}
        if os.environ.get("DMOERM_API_KEY"):
            self.headers["Authorization"] = "Bearer " + os.environ["DMOERM_API_KEY"]

    def __call__(self, prompts, completions, **_):
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        places = [i for i, text in enumerate(texts) if shows_something(text)]
        # Completions of the same prompt go together: the server then computes the prompt once.
        groups = {}
        for i in places:
            groups.setdefault(json.dumps(prompts[i]), []).append(i)
        items = [{"prompt": json.loads(prompt), "responses": [texts[i] for i in members]} for prompt, members in groups.items()]
        rewards = [self.empty] * len(texts)
        if items:
            answered = self.ask({"items": items})["items"]
            for members, item in zip(groups.values(), answered):
                for i, score in zip(members, item["scores"]):
                    rewards[i] = score
        return rewards

    def ask(self, body):
        """Send a request; wait and try again while the server is full or restarts."""
        request = urllib.request.Request(self.url, json.dumps(body).encode(), self.headers)
        for tried in range(1, TRIES + 1):
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as reply:
                    return json.load(reply)
            except urllib.error.HTTPError as e:
                if tried == TRIES or e.code not in (429, 502, 503):
                    raise RuntimeError(f"{self.url}: {e.code} {e.read().decode(errors='replace')}") from None
                time.sleep(float(e.headers.get("Retry-After") or 1))
            except LOST:
                if tried == TRIES:
                    raise
                time.sleep(tried)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--model", required=True, help="folder or Hub name of the model to train")
    parser.add_argument("--prompts", required=True, help="JSON lines with a prompt each")
    parser.add_argument("--output", default="grpo", help="folder for the trained model")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--generations", type=int, default=8, help="completions of a prompt")
    parser.add_argument("--tokens", type=int, default=128, help="most tokens of a completion")
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()

    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    with open(options.prompts, encoding="utf-8") as file:
        prompts = [json.loads(line)["prompt"] for line in file if line.strip()]
    data = Dataset.from_list([{"prompt": p if isinstance(p, list) else [{"role": "user", "content": p}]} for p in prompts])
    settings = GRPOConfig(output_dir=options.output, max_steps=options.steps, num_generations=options.generations,
                          per_device_train_batch_size=options.generations, max_completion_length=options.tokens,
                          logging_steps=1, save_strategy="no", report_to="none", use_cpu=options.cpu, bf16=not options.cpu)
    trainer = GRPOTrainer(model=options.model, reward_funcs=DmoermReward(options.server), args=settings, train_dataset=data)
    trainer.train()
    trainer.save_model(options.output)
    for row in trainer.state.log_history:
        if "reward" in row:
            print(json.dumps({"step": row["step"], "reward": row["reward"], "reward_std": row["reward_std"]}))


if __name__ == "__main__":
    main()
