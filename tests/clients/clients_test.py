#!/usr/bin/env python3
"""Clients that people have, against `dmoerm serve`: openai, huggingface_hub, tritonclient, curl, the reward functions of OpenRLHF and verl
out of their installed packages, TRL's GRPOTrainer, and the scripts of docs/guides. Each must get the scores of `dmoerm score`.
Usage: clients_test.py PROGRAM [TEST...]

Runs in the environment that launch/setup.sh --with clients makes (DMOERM_HOME/clients), and skips without it.
"""
import asyncio
import importlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUIDES = ROOT / "docs/guides"
BUNDLE = str(ROOT / "tests/golden/earlier/bundle")
sys.path.insert(0, str(ROOT / "tests/support"))
import clients_environment  # noqa: E402

MODELS = pathlib.Path(os.environ.get("DMOERM_MODELS") or clients_environment.HOME / "models")

PROMPT, RESPONSES = "Where is my order?", ["It arrives tomorrow before noon.", "Orders arrive when they arrive."]


def templated(prompt, response):
    """What the template of the bundle ("dmoerm", on a tokenizer with [CLS] and [SEP]) writes."""
    return f"[CLS]User: {prompt}\nAssistant:[SEP] {response}[SEP]"


def expect(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: expected {wanted}, found {got}")


def near(got, wanted, what):
    if len(got) != len(wanted) or any(abs(g - w) > 1e-6 for g, w in zip(got, wanted)):
        raise AssertionError(f"{what}: expected {wanted}, found {got}")


class Suite:
    def __init__(self, program, server, scores):
        self.program, self.server, self.scores = program, server, scores
        self.url = f"http://127.0.0.1:{server.port}"

    def guide(self, name, *arguments, stdin=None, **environment):
        """What a script of the guides prints, as JSON lines."""
        done = subprocess.run([sys.executable, str(GUIDES / name), *arguments], input=stdin, capture_output=True, text=True, timeout=900, check=False,
                              env={**os.environ, **environment})
        if done.returncode != 0:
            raise AssertionError(f"{name} ends with {done.returncode}:\n{done.stderr[-3000:]}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]

    def offline(self, *rows):
        from reward_server import offline_scores
        return [row["scores"] for row in offline_scores(self.program, BUNDLE, rows)]

    def ranking(self):
        return [[i, self.scores[i]] for i in sorted(range(2), key=lambda i: -self.scores[i])]

    # --- the scripts of the guides ---

    def test_openai(self):
        said = self.guide("vllm_client.py", "--server", self.url)[0]
        near([said["classify"], *said["score"]], [self.scores[0], *self.scores], "openai")
        expect([r[0] for r in said["rerank"]], [r[0] for r in self.ranking()], "the order of the ranking")
        text = self.server.post("/v1/reward", {"texts": [PROMPT + "\n" + RESPONSES[0]]})[1]["scores"]
        near([said["embeddings"]], text, "a text as an embedding")

    def test_huggingface_hub(self):
        said = self.guide("tei_client.py", "--server", self.url)[0]
        near([said["predict"]], self.scores[:1], "text_classification")
        if not 0.4 < said["sigmoid"] < 0.6:  # of a score near 0
            raise AssertionError(f"function_to_apply=sigmoid gives {said['sigmoid']}")
        near([r[1] for r in said["rerank"]], [r[1] for r in self.ranking()], "rerank")

    def test_tritonclient(self):
        said = self.guide("triton_client.py", "--server", f"127.0.0.1:{self.server.port}", "--model", "reward_model")[0]
        near(said["pairs"], self.scores, "pairs")
        texts = self.server.post("/v1/reward", {"texts": [PROMPT + "\n" + r for r in RESPONSES]})[1]["scores"]
        near(said["sentences"], texts, "sentences")
        expect(said["model"], "reward_model", "the model's name")

    def test_llama_factory(self):
        said = self.guide("llama_factory_client.py", "--server", self.url)[0]
        near(said["scores"], self.server.post("/v1/reward", {"texts": [PROMPT + "\n" + r for r in RESPONSES]})[1]["scores"], "texts")

    def test_best_of_n(self):
        rows = [{"prompt": PROMPT, "responses": RESPONSES}, {"prompt": "What is tea?", "responses": ["A drink.", "A plant.", "Who knows."]}]
        said = self.guide("best_of_n.py", "--server", self.url, stdin="".join(json.dumps(r) + "\n" for r in rows))
        for row, line, scores in zip(rows, said, self.offline(*rows)):
            expect(line["place"], scores.index(max(scores)), "the place of the best")
            expect(line["best"], row["responses"][line["place"]], "the best response")
        rows = [{"prompt": PROMPT, "responses": ["", RESPONSES[0]]}, {"prompt": PROMPT, "responses": [" "]}]
        said = self.guide("best_of_n.py", "--server", self.url, stdin="".join(json.dumps(r) + "\n" for r in rows))
        expect([line["place"] for line in said], [1, None], "the places beside empty responses")

    def test_trl_grpo(self):
        model = MODELS / "smollm2-135m-instruct"
        if not model.is_dir():
            return f"no model {model}: launch/setup.sh --with smollm2"
        with tempfile.TemporaryDirectory() as folder:
            prompts = pathlib.Path(folder) / "prompts.jsonl"
            prompts.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in (PROMPT, "What is tea?")), encoding="utf-8")
            said = self.guide("trl_grpo.py", "--server", self.url, "--model", str(model), "--prompts", str(prompts), "--steps", "2",
                              "--generations", "2", "--tokens", "8", "--cpu", "--output", folder + "/trained", HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
            expect(len(said), 2, "steps with a reward")
            expect(os.path.exists(folder + "/trained/model.safetensors"), True, "the trained model is saved")
        return None

    def test_trl_reward_function(self):
        reward = guide_module("trl_grpo").DmoermReward(self.url)
        chats = [[{"role": "user", "content": PROMPT}]] * 3
        answers = [[{"role": "assistant", "content": text}] for text in [RESPONSES[0], " ", RESPONSES[1]]]
        near(reward(chats, answers, step=1), [self.scores[0], -10.0, self.scores[1]], "rewards of messages")
        near(reward([PROMPT] * 2, RESPONSES), self.scores, "rewards of texts")
        near(reward([PROMPT], [""]), [-10.0], "nothing to score")

    # --- OpenRLHF ---

    def openrlhf(self, endpoints):
        """The reward of one rollout, as OpenRLHF's executor fetches it."""
        module = client_module("openrlhf", "openrlhf.utils.agent")
        text = templated(PROMPT, RESPONSES[0])
        tokenizer = mock.MagicMock(return_value={"input_ids": mock.MagicMock()}, spec=["__call__", "decode"])
        tokenizer.return_value["input_ids"].__getitem__.return_value.tolist.return_value = [1, 2]
        tokenizer.decode.return_value = text
        generated = types.SimpleNamespace(token_ids=[3, 4], text=RESPONSES[0], finish_reason="stop", logprobs=None)
        engine = types.SimpleNamespace(generate=mock.AsyncMock(return_value=types.SimpleNamespace(outputs=[generated])))
        sampling = types.SimpleNamespace(max_tokens=16, logprobs=None)
        executor = module.SingleTurnAgentExecutor(endpoints)
        return asyncio.run(executor.execute(PROMPT, None, sampling, 64, tokenizer, engine))

    def test_openrlhf_over_http(self):
        output = self.openrlhf([self.url + "/get_reward"])
        near(output["reward"], self.scores[:1], "reward")
        if not 0 <= output["scores"][0] <= 1:
            raise AssertionError(f"its filter of prompts wants scores from 0 to 1, found {output['scores']}")
        expect(sorted(k for k in output["extra_logs"] if k.startswith("point_")), ["point_fact", "point_tone"], "logged points")
        near(self.openrlhf([self.url + "/get_reward"] * 2)["reward"], self.scores[:1], "two servers")

    def test_openrlhf_function(self):
        with mock.patch.dict(os.environ, DMOERM_SERVER=self.url):
            near(self.openrlhf([str(GUIDES / "openrlhf_reward.py")])["reward"], self.scores[:1], "reward")

    def test_openrlhf_asks_some_servers_for_nothing(self):
        expect(self.server.post("/get_reward", {"query": [], "prompts": [], "labels": []})[0], 200, "the empty list of older versions")

    # --- verl ---

    def verl(self, engine):
        """A reward as verl's worker computes it with a reward model in vLLM or SGLang."""
        mocked = ["ray", "ray.actor", "omegaconf", "tensordict", "verl.protocol", "verl.single_controller", "verl.single_controller.ray",
                  "verl.single_controller.ray.base", "verl.trainer", "verl.trainer.ppo", "verl.trainer.ppo.reward", "verl.utils", "verl.utils.fs",
                  "verl.utils.ray_utils", "verl.experimental.reward_loop.reward_model"]
        module = client_module("verl", "verl.experimental.reward_loop.reward_loop", mocked)
        worker = object.__new__(module.RewardLoopWorker)
        worker.reward_router_address = f"127.0.0.1:{self.server.port}"
        worker.config = mock.MagicMock()
        worker.config.reward.reward_model.rollout.name = engine
        worker.config.reward.reward_model.model_path = "/models/reward"
        worker.input_tokenizer = types.SimpleNamespace(decode=lambda ids: RESPONSES[0] + "</s>", eos_token="</s>")
        worker.reward_model_tokenizer = types.SimpleNamespace(
            bos_token="[CLS]", apply_chat_template=lambda chat, **_: templated(chat[0]["content"], chat[-1]["content"]))
        import numpy as np
        row = types.SimpleNamespace(batch={"responses": np.zeros(3), "attention_mask": np.ones(5, int)},
                                    non_tensor_batch={"raw_prompt": [{"role": "user", "content": PROMPT}]})
        return asyncio.run(worker.compute_score_disrm([row]))

    def test_verl_as_vllm(self):
        near([self.verl("vllm")["reward_score"]], self.scores[:1], "reward")

    def test_verl_as_sglang(self):
        near([self.verl("sglang")["reward_score"]], self.scores[:1], "reward")

    def test_verl_function(self):
        with mock.patch.dict(os.environ, DMOERM_SERVER=self.url):
            score = guide_module("verl_reward").compute_score
            result = score("any", RESPONSES[0], None, {"question": PROMPT})
            near([result["score"], result["cut_tokens"]], [self.scores[0], 0], "reward")
            expect(score("any", " ", None, {"question": PROMPT}).keys(), result.keys(), "what an empty response logs")

    # --- curl ---

    def test_curl(self):
        body = json.dumps({"query": [templated(PROMPT, r) for r in RESPONSES]})
        done = subprocess.run(["curl", "--silent", "--fail", "--data", body, self.url + "/get_reward"], capture_output=True, text=True, check=True)
        near(json.loads(done.stdout)["rewards"], self.scores, "rewards")


def guide_module(name):
    spec = importlib.util.spec_from_file_location(name, GUIDES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def client_module(package, name, mocked=()):
    """A module out of an installed package, without what the package imports before it."""
    root = pathlib.Path(importlib.metadata.distribution(package).locate_file(""))
    parts = name.split(".")
    for end in range(1, len(parts)):
        shell = types.ModuleType(".".join(parts[:end]))
        shell.__path__ = [str(root.joinpath(*parts[:end]))]
        sys.modules.setdefault(shell.__name__, shell)
    for other in mocked:
        sys.modules.setdefault(other, mock.MagicMock())
    return importlib.import_module(name)


def main():
    program, chosen = sys.argv[1], sys.argv[2:]
    clients_environment.enter()
    from reward_server import RewardServer, offline_scores
    scores = offline_scores(program, BUNDLE, [{"prompt": PROMPT, "responses": RESPONSES}])[0]["scores"]
    failed = 0
    aliases = ["--alias", "reward_model=earlier", "--alias", "/models/reward=earlier"]
    with RewardServer(program, ["earlier=" + BUNDLE], *aliases) as server:
        suite = Suite(program, server, scores)
        for name in [n for n in dir(suite) if n.startswith("test_") and (not chosen or n in chosen)]:
            try:
                why = getattr(suite, name)()
                print(f"{name}: {'skipped: ' + why if why else 'held'}", flush=True)
            except Exception as e:  # the others still say something
                failed += 1
                print(f"{name}: FAILED: {type(e).__name__}: {e}", flush=True)
        code, said = server.stop()
        expect(code, 0, f"the server's end: {said}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
