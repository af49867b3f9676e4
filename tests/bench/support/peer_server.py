"""A reward server of transformers and PEFT behind FastAPI, for serve_peer.py: POST /v1/reward with a prompt and responses gives the mixture's scores.

    peer_server.py --bundle DIR --exported DIR --port N --threads N [--batch-tokens 4096 --wait-ms 2]

It does what a careful service in Python does: requests wait in a queue of asyncio; a batch is all that wait, up to a budget of tokens; prompts are routed together, and each expert reads the texts of its
category in passes of equal length, as far as possible, through one base model with `set_adapter`. Everything runs in torch.inference_mode() on one thread beside the event loop. The models are those that
`dmoerm export` wrote; router, aggregator and chat template are read by dmoerm_hf, the bundle's own package.
"""
import argparse
import asyncio
import contextlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fastapi
import torch
import uvicorn
from peer_batches import padded
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "launch", "python"))
from dmoerm_hf.aggregator import Aggregator, Features  # noqa: E402
from dmoerm_hf.chat_template import ChatTemplate  # noqa: E402
from dmoerm_hf.router import Router  # noqa: E402
from dmoerm_hf.texts import messages_of  # noqa: E402
from dmoerm_hf.tokens import Tokenizer  # noqa: E402


def passes_of(texts, budget):
    """Numbers of the texts, those of like lengths together, with at most `budget` tokens a pass, padding included."""
    order, batch = sorted(range(len(texts)), key=lambda i: len(texts[i])), []
    for i in order:
        if batch and (len(batch) + 1) * len(texts[i]) > budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def adapter_of(category, point):
    """The name under which PEFT has an expert, or with the point "" the model for the whole category. PEFT takes no dots."""
    return f"{category}/{point}".replace(".", "_")


class Mixture:
    def __init__(self, bundle, exported, budget):
        manifest = json.loads((bundle / "dmoerm.json").read_text(encoding="utf-8"))
        self.budget, self.max_length = budget, manifest["max_length"]
        self.template = ChatTemplate.of(manifest, Tokenizer(bundle / "base" / "tokenizer.json"), str(bundle))
        self.router = Router(bundle / "router")
        self.categories = {c["name"]: c["points"] for c in manifest["categories"]}
        self.aggregators = {name: Aggregator(bundle / "aggregator" / f"{name}.safetensors") for name in self.categories}
        for name, aggregator in self.aggregators.items():
            if aggregator.reads_states or aggregator.reads_prompt:
                raise SystemExit(f"the aggregator of {name} reads states: this server combines rewards only")
        self.adapters = {}  # name of PEFT -> folder
        for name, points in self.categories.items():
            for point in points:
                self.adapters[adapter_of(name, point)] = exported / "experts" / name / point
            if self.aggregators[name].reads_base:
                self.adapters[adapter_of(name, "")] = exported / "overall" / name
        self.adapters["single"] = exported / "single"
        base = AutoModelForSequenceClassification.from_pretrained(exported / "base", torch_dtype=torch.float32)
        names = list(self.adapters)
        self.model = PeftModel.from_pretrained(base, self.adapters[names[0]], adapter_name=names[0])
        for name in names[1:]:
            self.model.load_adapter(self.adapters[name], adapter_name=name)
        self.model.eval()
        self.pad = base.config.pad_token_id

    def rewards(self, adapter, texts):
        self.model.set_adapter(adapter)
        rewards = torch.empty(len(texts))
        for rows in passes_of(texts, self.budget):
            ids, mask = padded([texts[i] for i in rows], self.pad)
            options = {} if self.model.config.model_type == "bert" else {"use_cache": False}
            rewards[rows] = self.model(input_ids=ids, attention_mask=mask, **options).logits[:, 0].float()
        return rewards

    def routes(self, prompts):
        found = [None] * len(prompts)
        model = self.model.get_base_model().base_model
        options = {} if self.model.config.model_type == "bert" else {"use_cache": False}
        with self.model.disable_adapter():
            for rows in passes_of(prompts, self.budget):
                ids, mask = padded([prompts[i] for i in rows], self.pad)
                out = model(input_ids=ids, attention_mask=mask, output_hidden_states=self.router.layers > 0, **options)
                states = out.hidden_states[self.router.layers] if self.router.layers > 0 else out.last_hidden_state
                for row, i in enumerate(rows):
                    own = states[row, :len(prompts[i])].float()
                    found[i] = self.router.route(own[-1] if self.router.pooling == "last" else own.mean(0))
        return found

    @torch.inference_mode()
    def score(self, requests):
        """[(prompt, responses)] -> a list of scores each"""
        prompts = [self.template.ids(messages_of(prompt), None) for prompt, _ in requests]
        texts = [[self.template.ids(messages_of(prompt), response) for response in responses] for prompt, responses in requests]
        for text in (text for own in texts for text in own):
            if len(text) > self.max_length:
                raise ValueError(f"a text has {len(text)} tokens, at most {self.max_length} are read here")
        scores = [[] for _ in requests]
        routes = self.routes(prompts)
        for name in {None if r.fallback else r.category for r in routes}:
            chosen = [i for i, r in enumerate(routes) if (None if r.fallback else r.category) == name]
            flat = [text for i in chosen for text in texts[i]]
            if name is None:
                rewards = self.rewards("single", flat)
            else:
                adapters = [adapter_of(name, point) for point in self.categories[name]] + ([adapter_of(name, "")] if self.aggregators[name].reads_base else [])
                each = torch.stack([self.rewards(adapter, flat) for adapter in adapters], 1)
                rewards = self.aggregators[name].rewards(Features(states=each, rewards=each, lengths=each, prompts=None))
            rest = iter(rewards.tolist())
            for i in chosen:
                scores[i] = [next(rest) for _ in texts[i]]
        return scores


def make_app(mixture, wait_s, budget):
    waiting = asyncio.Queue()
    thread = ThreadPoolExecutor(1)

    async def batches():
        loop = asyncio.get_running_loop()
        while True:
            taken = [await waiting.get()]
            words = lambda one: sum(len(r) + len(one[0]) for r in one[1]) // 4  # about the tokens
            until, tokens = loop.time() + wait_s, words(taken[0])
            while tokens < budget:
                try:
                    taken.append(await asyncio.wait_for(waiting.get(), max(0, until - loop.time())) if waiting.empty() else waiting.get_nowait())
                except asyncio.TimeoutError:
                    break
                tokens += words(taken[-1])
            try:
                scores = await loop.run_in_executor(thread, mixture.score, [(prompt, responses) for prompt, responses, _ in taken])
                for (_, _, future), own in zip(taken, scores):
                    future.set_result(own)
            except Exception as error:  # the server stays up; the clients hear of it
                for _, _, future in taken:
                    future.set_exception(error)

    @contextlib.asynccontextmanager
    async def life(_):
        task = asyncio.create_task(batches())
        yield
        task.cancel()

    app = fastapi.FastAPI(lifespan=life)

    @app.get("/ready")
    async def ready():
        return {"status": "ready"}

    @app.post("/v1/reward")
    async def reward(request: fastapi.Request):
        body = await request.json()
        future = asyncio.get_running_loop().create_future()
        await waiting.put((body["prompt"], body["responses"], future))
        return {"scores": await future}

    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--exported", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--wait-ms", type=float, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    mixture = Mixture(args.bundle, args.exported, args.batch_tokens)
    # A batch holds several passes, so that texts of like lengths find each other.
    uvicorn.run(make_app(mixture, args.wait_ms / 1e3, 4 * args.batch_tokens), host="127.0.0.1", port=args.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
