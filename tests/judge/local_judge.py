#!/usr/bin/env python3
"""Tests the judge client with a real language model behind another server: `transformers serve` with SmolLM2, on this machine, offline.

    local_judge.py --ask-judge PROGRAM --model FOLDER

Every question must be answered at the first try, with a text and with token counts that agree with the server's own tokenizer, apart from its template; the model's
words do not matter. An unknown model name must give an error with the server's words. Exit code 77: no model or no `transformers serve`
(launch/setup.sh --with smollm2 --with tests).
"""
import argparse
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request


def ask(program, url, model, questions):
    ran = subprocess.run([program, "--url", url, "--model", model, "--questions", str(questions)], check=True, stdout=subprocess.PIPE, text=True, timeout=400)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ask-judge", required=True)
    parser.add_argument("--model", required=True)
    args = parser.parse_args()
    missing = [m for m in ("transformers", "fastapi", "uvicorn", "openai") if importlib.util.find_spec(m) is None]
    if missing or not os.path.exists(os.path.join(args.model, "model.safetensors")):
        print(f"skipped: no {', '.join(missing) or args.model}")
        sys.exit(77)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = dict(os.environ, HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", args.model, "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > until:
                    sys.exit("transformers serve does not start")
                time.sleep(0.5)
        url = f"http://127.0.0.1:{port}/v1"
        replies = ask(args.ask_judge, url, args.model, 4)
        for reply in replies:
            print(reply)
        assert sorted(r["ticket"] for r in replies) == [0, 1, 2, 3]
        for r in replies:
            assert r["status"] == "ok" and r["tries"] == 1 and not r["detail"], r
            assert r["text"] and r["finish_reason"] in ("stop", "length"), r
            assert r["verdict"] in ("first", "second", "tie", "unparsable", "refused"), r
            assert 40 < r["prompt_tokens"] < 200 and 0 < r["completion_tokens"] <= 16, r
        unknown = ask(args.ask_judge, url, "no-such-model", 1)[0]
        print(unknown)
        assert unknown["status"] in ("error", "model_unknown") and unknown["tries"] == 1 and "no-such-model" in unknown["detail"], unknown
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
