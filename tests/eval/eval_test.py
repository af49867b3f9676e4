#!/usr/bin/env python3
"""Runs `dmoerm eval` and `dmoerm bon` on a small bundle and on files of scores: same scores as `dmoerm score`, figures that follow from the
groups, pictures, refusals. Usage: eval_test.py PROGRAM [unittest arguments]."""
import collections
import hashlib
import http.server
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import xml.dom.minidom

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from reward_server import RewardServer  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
WRITTEN = os.path.join(HERE, "..", "golden", "earlier")


def group(number, category="chat", split="test"):
    draw = random.Random(number)
    responses = [{"text": " ".join(draw.choices(["fine", "well", "no", "maybe", "then", "sure"], k=draw.randint(2, 9))) + f" {number}{i}",
                  "overall": draw.randint(1, 5), "scores": {"tone": draw.randint(1, 5), "fact": draw.randint(1, 5)}} for i in range(4)]
    return {"id": f"g{number}", "category": category, "split": split, "prompt": f"Question {number}?", "responses": responses}


class Judge(http.server.BaseHTTPRequestHandler):
    """Prefers what says GOOD; between two of a kind, what is shown first."""
    protocol_version = "HTTP/1.1"
    asked = collections.Counter()  # by body

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        Judge.asked[raw] += 1
        text = json.loads(raw)["messages"][-1]["content"]
        shown = [re.search(rf"<response_{i} [0-9a-f]+>(.*?)</response_{i}", text, re.S).group(1) for i in (1, 2)]
        verdict = "2" if "GOOD" in shown[1] and "GOOD" not in shown[0] else "1"
        reply = json.dumps({"choices": [{"message": {"role": "assistant", "content": json.dumps({"verdict": verdict})}, "finish_reason": "stop"}],
                            "usage": {"prompt_tokens": 100, "completion_tokens": 10}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)


class Eval(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="dmoerm_eval_")
        self.addCleanup(shutil.rmtree, self.folder)
        shutil.copytree(os.path.join(WRITTEN, "bundle"), os.path.join(self.folder, "bundle"))
        self.groups = [group(i, "chat" if i % 2 else "other") for i in range(20)]
        self.write("data.jsonl", self.groups + [group(100, split="train")])

    def write(self, name, rows):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def dmoerm(self, *arguments, code=0):
        done = self.run_program(*arguments, code=code)
        return done.stdout if code == 0 else done.stderr

    def run_program(self, *arguments, code=0, env=None):
        done = subprocess.run([PROGRAM, *arguments], cwd=self.folder, capture_output=True, text=True, check=False, env=dict(os.environ, OMP_NUM_THREADS="1", **(env or {})))
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def read(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return json.load(file)

    def test_a_bundle_has_the_scores_of_score(self):
        table = self.dmoerm("eval", "--bundle", "bundle", "--data", "data.jsonl", "--parts", "--model", "length", "--model", "one=bundle/single",
                            "--out", "out", "--resamples", "200")
        with open(os.path.join(self.folder, "out", "eval.md"), encoding="utf-8") as file:
            self.assertTrue(table.startswith(file.read()))
        result = self.read("out/eval.json")
        self.assertEqual([m["name"] for m in result["models"]], ["bundle", "bundle:true-category", "bundle:mean", "bundle:single", "length", "one"])
        self.assertEqual(len(result["groups"]), 20, "the test split alone")
        scored = [json.loads(line) for line in self.dmoerm("score", "--bundle", "bundle", "--input", "data.jsonl").splitlines()]
        for ours, theirs in zip(result["groups"], scored):
            self.assertEqual(ours["id"], theirs["id"])
            self.assertEqual(ours["scores"]["bundle"], theirs["scores"], "bit by bit")
            self.assertEqual(ours["routes"]["bundle"]["scored_by"] or "single", theirs["scored_by"])
            self.assertEqual(ours["scores"]["bundle:single"], ours["scores"]["one"], "the same model, by its part of the bundle")
        pairs = sum(g["labels"]["overall"]["pairs"] for g in result["groups"])
        right = sum(g["labels"]["overall"]["right"]["bundle"] for g in result["groups"])
        self.assertAlmostEqual(result["accuracy"]["all"]["overall"]["models"]["bundle"]["pooled"]["value"], right / pairs)
        self.assertEqual(set(result["agreement"]["bundle"]["chat"]), {"fact / tone"})
        self.assertIn("tone", result["experts"]["bundle"]["chat"])
        self.assertIn("Where bundle sends prompts", table)
        for picture in ("accuracy", "reliability", "length"):
            xml.dom.minidom.parse(os.path.join(self.folder, "out", picture + ".svg"))

    def test_names_the_next_command_so_that_a_shell_reads_it(self):
        said = self.dmoerm("eval", "--model", "length", "--data", "data.jsonl", "--out", "two words", "--resamples", "100")
        self.assertIn("launch/dmoerm report RUN --eval 'two words' shows it", said)

    def add_up(self):
        """Give the bundle a stack in the place of its mlp, which reads single as the base's reward, and beside it the category other, with the mlp, to which
        its router sends no prompt. Returns the weights."""
        weights = {"tone": 0.5, "fact": -2.0, "base": 0.25}
        tensors = {"reward_mean": [0.1, 0.2, 0.3], "reward_std": [0.5, 0.25, 0.125], "weight": list(weights.values())}
        head = {"__metadata__": {"kind": "stack", "version": "2", "reads_base": "true", "validation_accuracy": "0.5", "best_step": "0"}}
        for i, (name, numbers) in enumerate(tensors.items()):
            head[name] = {"dtype": "F32", "shape": [len(numbers)], "data_offsets": [12 * i, 12 * i + 12]}
        text = json.dumps(head).encode()
        content = struct.pack("<Q", len(text)) + text + b"".join(struct.pack("<3f", *numbers) for numbers in tensors.values())
        bundle = os.path.join(self.folder, "bundle")
        os.rename(os.path.join(bundle, "aggregator", "chat.safetensors"), os.path.join(bundle, "aggregator", "other.safetensors"))
        shutil.copytree(os.path.join(bundle, "experts", "chat"), os.path.join(bundle, "experts", "other"))
        with open(os.path.join(bundle, "aggregator", "chat.safetensors"), "wb") as file:
            file.write(content)
        manifest = self.read("bundle/dmoerm.json")
        manifest["files"]["aggregator/chat.safetensors"] = hashlib.sha256(content).hexdigest()
        (chat,) = manifest["categories"]
        manifest["categories"] = [chat | {"aggregator": "stack", "base_reward": "single"}, chat | {"name": "other"}]
        manifest |= {"schema_version": 2, "golden": []}  # the golden scores are those of the mlp
        with open(os.path.join(bundle, "dmoerm.json"), "w", encoding="utf-8") as file:
            json.dump(manifest, file)
        return weights

    def test_a_bundle_without_what_one_expert_adds(self):
        self.assertIn("[nothing-to-take-out]", self.dmoerm("eval", "--bundle", "bundle", "--ablations", "data.jsonl", code=2), "a network is no sum")
        weights = self.add_up()
        table = self.dmoerm("eval", "--bundle", "bundle", "--parts", "--ablations", "data.jsonl", "--out", "out", "--resamples", "100")
        result = self.read("out/eval.json")
        without = {part: f"bundle:without-{part}" for part in weights}
        self.assertEqual([m["name"] for m in result["models"]], ["bundle", "bundle:true-category", "bundle:mean", "bundle:single", *without.values()])
        scored = [json.loads(line) for line in self.dmoerm("score", "--bundle", "bundle", "--input", "data.jsonl").splitlines()]
        for ours, theirs in zip(result["groups"], scored):
            self.assertEqual((ours["scores"]["bundle"], theirs["scored_by"]), (theirs["scores"], "chat"), "bit by bit")
            for part, name in without.items():
                for i, score in enumerate(ours["scores"][name]):
                    standardised = theirs["base"][i] if part == "base" else theirs["points"][i][part]
                    self.assertAlmostEqual(score, theirs["scores"][i] - weights[part] * standardised, places=5)
        compared = {(d["a"], d["b"]) for d in result["differences"]}
        self.assertEqual({pair for pair in compared if ":without-" in "".join(pair)}, {("bundle", name) for name in without.values()})
        self.assertIn("out of the rewards of other (paper_mlp), whose", result["models"][0]["note"])
        self.assertIn(f"\n- bundle: {result['models'][0]['note']}.\n", table)
        self.dmoerm("bon", "--bundle", "bundle", "--ablations", "data.jsonl", "--out", "bon", "--resamples", "100")
        self.assertEqual(list(self.read("bon/bon.json")["curves"]), sorted(["bundle", "gold", *without.values()]))
        self.assertEqual(self.read("bon/bon.json")["models"][0]["note"], result["models"][0]["note"])
        self.assertEqual({(d["a"], d["b"]) for d in self.read("bon/bon.json")["differences"]}, {("bundle", name) for name in without.values()})

    def test_an_option_that_no_model_uses_is_refused(self):
        for option, call in (("--base elsewhere", ("--model", "length", "--base", "elsewhere")), ("--base elsewhere", ("--model", "one=bundle/single", "--base", "elsewhere")),
                             ("--template chatml", ("--bundle", "bundle", "--template", "chatml")), ("--parts", ("--model", "one=bundle/single", "--parts")),
                             ("--ablations", ("--model", "one=bundle/single", "--ablations"))):
            for verb in ("eval", "bon"):
                said = self.dmoerm(verb, *call, "data.jsonl", code=2)
                self.assertIn(f"{option}: none of the models uses it", said)
                self.assertIn("[option-not-used]", said)
        for option in ("--parts", "--ablations"):
            self.assertIn("[not-a-bundle]", self.dmoerm("eval", "--bundle", "absent", option, "data.jsonl", code=2))

    def test_a_folder_with_a_model_for_each_category(self):
        self.write("data.jsonl", [group(i, "chat") for i in range(6)])
        one = os.path.join(self.folder, "bundle", "experts", "chat", "tone")
        os.makedirs(os.path.join(self.folder, "bundle", "own"))
        os.symlink(one, os.path.join(self.folder, "bundle", "own", "chat"))
        self.dmoerm("eval", "--model", "own=bundle/own", "--model", "one=" + one, "data.jsonl", "--out", "out", "--resamples", "100")
        self.assertTrue(all(g["scores"]["own"] == g["scores"]["one"] for g in self.read("out/eval.json")["groups"]))
        self.write("data.jsonl", [group(0, "chat"), group(1, "other")])
        said = self.dmoerm("eval", "--model", "own=bundle/own", "data.jsonl", code=2)
        self.assertIn("[category-without-model]", said)
        self.assertIn("data.jsonl:2", said)

    def test_what_score_writes_can_be_evaluated(self):
        self.dmoerm("score", "--bundle", "bundle", "--input", "data.jsonl", "--output", "scores.jsonl")
        self.dmoerm("eval", "--bundle", "bundle", "--model", "given=scores:scores.jsonl", "data.jsonl", "--out", "out", "--resamples", "100")
        result = self.read("out/eval.json")
        self.assertTrue(all(g["scores"]["bundle"] == g["scores"]["given"] for g in result["groups"]))
        again = self.dmoerm("eval", "--bundle", "bundle", "--model", "given=scores:scores.jsonl", "data.jsonl", "--resamples", "100")
        with open(os.path.join(self.folder, "out", "eval.md"), encoding="utf-8") as file:
            self.assertEqual(file.read(), again, "the same input gives the same bytes")

    def test_int8_weights_stand_beside_float32(self):
        self.dmoerm("eval", "--bundle", "bundle", "--model", "one=bundle/single", "--model", "length", "data.jsonl", "--weights", "both", "--out", "out", "--resamples", "100")
        result = self.read("out/eval.json")
        sources = {m["name"]: m["source"] for m in result["models"]}
        self.assertEqual(list(sources), ["bundle", "bundle:int8", "one", "one:int8", "length"])
        self.assertEqual(sources["bundle:int8"], "bundle (int8 weights)")
        groups = result["groups"]
        self.assertTrue(all(a != b for g in groups for a, b in zip(g["scores"]["bundle"], g["scores"]["bundle:int8"])))
        self.assertTrue(all(a != b for g in groups for a, b in zip(g["scores"]["one"], g["scores"]["one:int8"])))
        done = self.run_program("score", "--bundle", "bundle", "--input", "data.jsonl", "--weights", "int8", "--compare-float32")
        scored = [json.loads(line) for line in done.stdout.splitlines()][:len(groups)]
        self.assertEqual([s["scores"] for s in scored], [g["scores"]["bundle:int8"] for g in groups], "bit by bit")
        self.assertEqual([s["scores_float32"] for s in scored], [g["scores"]["bundle"] for g in groups])
        self.assertEqual({s["weights"] for s in scored}, {"int8"})
        self.assertRegex(done.stderr, r"int8 weights: on the golden texts scores differ from float32 by")
        self.assertRegex(done.stderr, r"\nint8 weights: scores differ from float32 by \S+ on average, at most \S+ .*; \d+ of 126 pairs of responses ordered otherwise; 0 of 21 prompts routed otherwise\n")
        table = self.dmoerm("score", "--bundle", "bundle", "--weights", "int8", "--prompt", "Why?", "--response", "Because.")
        self.assertIn(", with int8 weights\n", table)
        self.dmoerm("eval", "--bundle", "bundle", "data.jsonl", "--weights", "int8", "--out", "out", "--resamples", "100")
        self.assertEqual(self.read("out/eval.json")["models"][0], {**self.read("out/eval.json")["models"][0], "name": "bundle", "source": "bundle (int8 weights)"})
        self.assertIn("[nothing-to-compare]", self.dmoerm("score", "--bundle", "bundle", "--input", "data.jsonl", "--compare-float32", code=2))

    def test_a_benchmark(self):
        self.write("rows.jsonl", [{"id": i, "prompt": f"q {i}", "chosen": "good", "rejected": "bad", "subset": "donotanswer"} for i in range(6)])
        table = self.dmoerm("eval", "--bundle", "bundle", "--model", "length", "--benchmark", "rewardbench", "rows.jsonl", "--out", "out", "--resamples", "100")
        self.assertIn("| Safety ", table)
        self.assertIn("## Differences in the figures of rewardbench\n", table)
        for figure in self.read("out/eval.json")["figures"]:
            (difference,) = figure["differences"]
            self.assertAlmostEqual(difference["value"], figure["models"]["bundle"]["value"] - figure["models"]["length"]["value"])
        self.assertIn("benchmark-of-another-version", self.dmoerm("eval", "--bundle", "bundle", "--benchmark", "rm-bench", "rows.jsonl", code=2))

    def test_groups_of_other_splits_are_counted(self):
        pair = {"chosen": "good", "rejected": "bad answer"}
        self.write("split.jsonl", [pair | {"prompt": f"q {i}", "split": "test" if i == 0 else "train"} for i in range(4)])
        self.write("none.jsonl", [pair | {"prompt": f"r {i}"} for i in range(3)])
        said = self.dmoerm("eval", "--model", "length", "--data", "split.jsonl", "--data", "none.jsonl", "--resamples", "100")
        self.assertIn("split.jsonl (4 groups, 3 of another split or none, 0 left out), none.jsonl (3 groups, 3 of another split or none, 0 left out)", said)

    def test_prompts_that_the_run_of_a_model_was_trained_on_are_told(self):
        os.makedirs(os.path.join(self.folder, "run", "ingest"))
        shutil.copytree(os.path.join(self.folder, "bundle"), os.path.join(self.folder, "run", "bundle"))
        self.write("trained.jsonl", [dict(g, split="train" if i < 3 else "test") for i, g in enumerate(self.groups)])
        self.dmoerm("ingest", "trained.jsonl", "--model", "bundle/base", "--template", "plain", "--out", "run/ingest/store.h5")
        said = {place: self.run_program("eval", "--bundle", place, "--model", "length", "data.jsonl", "--resamples", "100").stderr for place in ("run/bundle", "bundle")}
        self.assertIn(f"3 of 20 rows have a prompt that the run {os.path.realpath(self.folder)}/run was trained on, so the figures of bundle are too good", said["run/bundle"])
        self.assertNotIn("trained on", said["bundle"], "a copy elsewhere does not know its run")
        with open(os.path.join(self.folder, "run", "ingest", "store.h5"), "wb") as file:
            file.write(b"no store")
        self.assertIn("is not known", self.run_program("eval", "--model", "one=run/bundle/single", "data.jsonl", "--resamples", "100").stderr)

    def test_rows_that_count_again_are_told(self):
        self.write("again.jsonl", self.groups + [self.groups[3] | {"id": "copy"}])
        options = ("eval", "--model", "length", "--resamples", "100")
        self.assertIn("order of an earlier one count again: 1 of 21, the first at again.jsonl:21, which repeats again.jsonl:4",
                      self.run_program(*options, "again.jsonl").stderr)
        other = self.groups[3]["responses"][::-1]
        self.write("other.jsonl", self.groups + [self.groups[3] | {"id": "other", "responses": other}])
        self.assertNotIn("count again", self.run_program(*options, "other.jsonl").stderr)

    def test_ids_and_names_that_stand_for_two_things(self):
        pair = {"prompt": "q", "chosen": "good", "rejected": "bad answer"}
        self.write("one.jsonl", [pair | {"id": str(i), "prompt": f"q {i}"} for i in range(3)])
        self.write("two.jsonl", [pair | {"id": str(i), "prompt": f"r {i}"} for i in range(3)])
        self.write("scores.jsonl", [{"id": str(i), "scores": [1, 0]} for i in range(3)])
        said = self.dmoerm("eval", "--model", "X=scores:scores.jsonl", "--data", "one.jsonl", "--data", "two.jsonl", code=2)
        self.assertIn("one.jsonl:1 and", said)
        self.assertIn("[two-rows-of-one-id]", said)
        self.write("named.jsonl", [pair | {"category": name, "prompt": f"{name} {i}"} for name in ("all", "beta") for i in range(3)])
        self.assertIn("[reserved-category-name]", self.dmoerm("eval", "--model", "length", "named.jsonl", code=2))

    def test_a_judge_is_asked_in_both_orders_and_once(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Judge)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.write("pairs.jsonl", [{"id": f"p{n}", "prompt": f"Question {n}?", "chosen": f"A GOOD answer {n}.", "rejected": f"Poor {n}."} for n in range(8)] +
                   [{"id": "alike", "prompt": "Another?", "chosen": "Poor a.", "rejected": "Poor b."}])
        with open(os.path.join(self.folder, "judge.yaml"), "w", encoding="utf-8") as file:
            file.write("name: judged\nruns_dir: runs\nbackbone: {dir: .}\ndata: {inputs: [{path: pairs.jsonl}]}\ncategories: [{name: chat, points: [empathy_ability]}]\n"
                       f"labels: {{judges: [{{model: j, endpoints: [{{url: \"http://127.0.0.1:{server.server_port}/v1\"}}], price_prompt: 1, price_completion: 10}}]}}\n")
        for requests in (18, 0):
            table = self.dmoerm("eval", "--model", "j=judge:judge.yaml", "--model", "length", "pairs.jsonl", "--out", "out", "--resamples", "100")
            result = self.read("out/eval.json")
            self.assertAlmostEqual(result["accuracy"]["all"]["overall"]["models"]["j"]["pooled"]["value"], 8.5 / 9, msg="position bias is half right")
            self.assertEqual(result["models"][0]["cost"]["requests"], requests)
            self.assertAlmostEqual(result["models"][0]["cost"]["money"], requests * 200e-6)
            self.assertIn("preferences and not scores", table)
        self.assertEqual((len(Judge.asked), max(Judge.asked.values())), (18, 1))
        self.assertIn("[model-without-scores]", self.dmoerm("bon", "--model", "j=judge:judge.yaml", "--gold", "overall", "data.jsonl", code=2))

    def test_a_server_has_the_scores_of_its_bundle(self):
        bundle = os.path.join(self.folder, "bundle")
        key = {"DMOERM_API_KEY": "a-key-of-sixteen-letters"}
        with RewardServer(PROGRAM, [f"first={bundle}", f"second={bundle}"], env=key) as server:
            url = f"server:http://127.0.0.1:{server.port}"
            models = ["--bundle", "bundle", "--model", f"ours={url}", "--model", f"vllm={url}/classify#second", "--model", "both=mean(ours,vllm)"]
            done = self.run_program("eval", *models, "data.jsonl", "--threads", "1", "--out", "out", "--resamples", "100", env=key)
            result = self.read("out/eval.json")
            for g in result["groups"]:
                self.assertEqual(g["scores"]["ours"], g["scores"]["bundle"], "bit by bit")
                self.assertEqual(g["scores"]["vllm"], g["scores"]["bundle"], "one conversation a request")
            accuracy = result["accuracy"]["all"]["overall"]["models"]
            self.assertEqual(accuracy["both"], accuracy["bundle"])
            said = {m["name"]: m for m in result["models"]}
            with open(os.path.join(bundle, "dmoerm.json"), encoding="utf-8") as file:
                template = json.load(file)["template"]["sha256"]
            self.assertEqual(list(said["ours"]["server"].pop("prompts_found")), ["messages"])
            self.assertEqual(said["ours"]["server"], {"url": url.removeprefix("server:") + "/v1/reward", "protocol": "dmoerm", "model": "first", "template_sha256": template})
            self.assertEqual((said["vllm"]["server"]["model"], said["vllm"]["server"]["asked_for"]), ("second", "second"))
            self.assertGreater(said["ours"]["tokens"], 0)
            self.assertGreater(said["vllm"]["tokens"], said["ours"]["tokens"], "each text with its prompt")
            self.assertNotIn(key["DMOERM_API_KEY"], done.stdout + done.stderr + json.dumps(result))
            self.dmoerm("synth", "--out", "lists.jsonl", "--lists", "--groups", "1", "--responses", "100", "--categories", "2")
            self.run_program("bon", "--bundle", "bundle", "--model", f"ours={url}", "lists.jsonl", "--threads", "1", "--out", "bon", "--resamples", "100", env=key)
            curves = self.read("bon/bon.json")["curves"]
            self.assertEqual(curves["ours"], curves["bundle"], "a list of more responses than one request has")
            self.assertEqual(self.read("bon/bon.json")["models"][1]["server"]["model"], "first")
            for model, code in ((f"x={url}/score", "server-path-unknown"), (f"x={url}#third", "server-path-not-found"), (f"x={url}/get_reward", "no-chat-template")):
                self.assertIn(f"[{code}]", self.run_program("eval", "--model", model, "data.jsonl", code=2, env=key).stderr)
            self.assertIn("[server-refuses-key]", self.run_program("eval", "--model", f"x={url}", "data.jsonl", code=2, env={"DMOERM_API_KEY": ""}).stderr)

    def test_a_server_that_normalises_is_asked_for_raw_scores(self):
        with RewardServer(PROGRAM, [os.path.join(self.folder, "bundle")], "--normalise", "standard") as server:
            self.dmoerm("eval", "--bundle", "bundle", "--model", f"server:http://127.0.0.1:{server.port}/", "data.jsonl", "--threads", "1", "--out", "out", "--resamples", "100")
            for g in self.read("out/eval.json")["groups"]:
                self.assertEqual(g["scores"][f"127.0.0.1:{server.port}"], g["scores"]["bundle"])

    def test_best_of_n(self):
        self.dmoerm("synth", "--out", "lists.jsonl", "--lists", "--groups", "3", "--responses", "100", "--categories", "2")
        self.dmoerm("bon", "--bundle", "bundle", "--model", "length", "--data", "lists.jsonl", "--n-max", "64", "--out", "out", "--resamples", "100")
        result = self.read("out/bon.json")
        self.assertEqual(result["n"], [1, 2, 4, 8, 16, 32, 64])
        self.assertEqual(result["lists"], 6)
        gain = [v["value"] for v in result["curves"]["gold"]["gold_gain"]]
        self.assertEqual(gain, sorted(gain), "what can be reached grows with n")
        self.assertAlmostEqual(result["curves"]["bundle"]["gold_gain"][0]["value"], 0)
        self.assertAlmostEqual(result["curves"]["length"]["picks_the_longest"][-1]["value"], 1)
        xml.dom.minidom.parse(os.path.join(self.folder, "out", "bon.svg"))
        self.write("bon.jsonl", [{"answers": ["a b", "c", "d e f"], "gold_scores": [1, 3, 2], "proxy_scores": [0.1, 0.5, 0.2]}])
        self.assertIn("| P ", self.dmoerm("bon", "--model", "P=field:proxy_scores", "--gold", "gold_scores", "bon.jsonl"))

    def test_refusals(self):
        self.assertIn("[no-model-given]", self.dmoerm("eval", "--data", "data.jsonl", code=2))
        self.assertIn("[no-input-given]", self.dmoerm("eval", "--model", "length", code=2))
        self.assertIn("did you mean", self.dmoerm("eval", "--bundle", ".", "--data", "data.jsonl", code=2))
        self.assertIn("[unknown-benchmark]", self.dmoerm("eval", "--model", "length", "--benchmark", "mt", "data.jsonl", code=2))
        self.assertIn("[output-is-another-file]", self.dmoerm("eval", "--model", "length", "data.jsonl", "--out", "data.jsonl", code=2))
        self.assertIn("[list-without-gold]", self.dmoerm("bon", "--model", "length", "--gold", "truth", "data.jsonl", code=2))
        self.assertIn("[split-is-empty]", self.dmoerm("eval", "--model", "length", "--split", "validation", "data.jsonl", code=2))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
