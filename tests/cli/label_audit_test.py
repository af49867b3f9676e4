#!/usr/bin/env python3
"""`dmoerm label --audit`: what it counts about judges whose quality is known, what it pays, and that labelling pays nothing again.

Usage: label_audit_test.py PROGRAM [unittest arguments]."""
import collections
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROMPTS = 50


def answer(model, text):
    """Verdict of a judge by its name. The better response says GOOD."""
    number = int(re.search(r"article (\d+)", text).group(1))
    shown = re.search(r"<response_1 [0-9a-f]+>(.*?)</response_1", text, re.S).group(1)
    right = "1" if "GOOD" in shown else "2"
    if model == "four-fifths":
        return right if number % 5 else {"1": "2", "2": "1"}[right]
    if model == "mostly-silent":
        return "" if number % 25 else right
    return {"first-shown": "1", "silent": "", "right": right}[model]


class Judge(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked = collections.Counter()  # by body
    models = collections.Counter()

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(raw)
        Judge.asked[raw] += 1
        Judge.models[body["model"]] += 1
        verdict = answer(body["model"], "\n".join(m["content"] for m in body["messages"]))
        text = json.dumps({"verdict": verdict}) if verdict else ""
        reply = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                            "usage": {"prompt_tokens": 100, "completion_tokens": 10}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)


class Audit(unittest.TestCase):
    def setUp(self):
        Judge.asked.clear()
        Judge.models.clear()
        folder = tempfile.TemporaryDirectory(prefix="dmoerm-audit-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Judge)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.write_rows(lambda n: {"chosen": f"A GOOD summary {n}.", "rejected": f"A poor summary {n}."})

    def write_rows(self, responses, split="train"):
        with open(os.path.join(self.folder, "rows.jsonl"), "w", encoding="utf-8") as f:
            for n in range(PROMPTS):
                f.write(json.dumps({"prompt": f"Summarise article {n}.", "split": split, **responses(n)}) + "\n")

    def label(self, models, *options):
        judges = "".join(f"\n    - {{model: {m}, endpoints: [{{url: \"http://127.0.0.1:{self.server.server_port}/v1\"}}], price_prompt: 1, price_completion: 10}}"
                         for m in models)
        config = os.path.join(self.folder, "label.yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"name: audit\nruns_dir: {self.folder}/runs\nbackbone: {{dir: {self.folder}}}\nphase1_share: 0.9\n"
                    f"data: {{validation_share: 0, test_share: 0, inputs: [{{path: rows.jsonl, category: summarization}}]}}\n"
                    f"categories: [{{name: summarization, points: [coherence, relevance]}}]\nlabels:\n  judges:{judges}\n")
        done = subprocess.run([PROGRAM, "label", "--config", config, *options], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
                              env=dict(os.environ, OMP_NUM_THREADS="1", DMOERM_JUDGE_DIR=f"{ROOT}/configs/judge"))
        return done.returncode, done.stdout, done.stderr

    def found(self):
        with open(os.path.join(self.folder, "runs", "audit", "label", "audit.json"), encoding="utf-8") as f:
            return json.load(f)

    def test_shows_what_each_judge_is_worth(self):
        code, shown, said = self.label(["four-fifths", "first-shown", "right"], "--audit", "60")
        self.assertEqual(code, 0, said)
        found = self.found()
        self.assertEqual(sum(point["pairs"] for point in found["points"]), 60)
        self.assertEqual({point["compared_with"] for point in found["points"]}, {"overall"})
        self.assertEqual(sum(Judge.asked.values()), 60 * 2 * 3)
        self.assertEqual(max(Judge.asked.values()), 1)
        for point in found["points"]:
            good, first, right = point["judges"]
            # The reference: which of the drawn articles the judge gets wrong is known from their numbers.
            self.assertEqual((good["judge"], good["believed"]), ("four-fifths", 30))
            self.assertAlmostEqual(good["agreement"], 0.8, delta=0.15)
            self.assertLess(good["interval"][0], good["agreement"])
            self.assertEqual((right["agreement"], right["right"], right["first_shown_both"]), (1.0, 30, 0))
            self.assertLess(right["interval"][0], 0.95, "thirty prompts do not show perfection")
            self.assertEqual((first["believed"], first["agreement"], first["first_shown_both"], first["second_shown_both"]), (0, None, 30, 0))
            self.assertEqual(first["outcomes"]["inconsistent"], 30)
        wrong = sum(judged["believed"] - judged["right"] for judged in (point["judges"][0] for point in found["points"]))
        drawn = collections.Counter()
        for raw in Judge.asked:
            body = json.loads(raw)
            if body["model"] == "four-fifths":
                number = int(re.search(r"article (\d+)", body["messages"][-1]["content"]).group(1))
                drawn[number % 5 == 0] += 1
        self.assertEqual(wrong * 2, drawn[True])
        self.assertIn("| all ", shown)
        self.assertIn("overall preference", shown)
        cost = found["cost"]
        self.assertAlmostEqual(cost["audit"]["cost"], 360 * (100 * 1 + 10 * 10) * 1e-6)
        self.assertLess(cost["rest_likely"]["cost"], cost["rest_at_most"]["cost"])

    def test_labelling_pays_for_nothing_again(self):
        code, shown, said = self.label(["right"], "--audit", "20")
        self.assertEqual(code, 0, said)
        self.assertEqual(sum(Judge.asked.values()), 40)
        rest = self.found()["cost"]["rest_likely"]
        code, shown, said = self.label(["right"])
        self.assertEqual(code, 0, said)
        self.assertEqual(max(Judge.asked.values()), 1)
        self.assertEqual(sum(Judge.asked.values()), 40 + rest["requests"], "the audit foretells the number of questions")
        paid = sum(1 for _ in Judge.asked) * 200e-6
        self.assertAlmostEqual(paid - 40 * 200e-6, rest["cost"], delta=0.05 * paid)
        code, shown, said = self.label(["right"], "--audit", "20")
        self.assertEqual((code, self.found()["cost"]["audit"]["requests"], self.found()["points"][0]["judges"][0]["agreement"]), (0, 0, 1.0), said)

    def test_a_silent_judge_is_shown_and_ends_it(self):
        code, shown, said = self.label(["silent"], "--audit", "10")
        self.assertEqual(code, 2, said)
        self.assertEqual(sum(point["judges"][0]["unusable"] for point in self.found()["points"]), 10)
        self.assertIn("100.0 %", shown)
        self.assertLessEqual(sum(Judge.asked.values()), 32)

    def test_a_judge_that_is_mostly_silent_is_not_paid_for_long(self):
        code, shown, said = self.label(["mostly-silent"], "--audit", "60")
        self.assertEqual(code, 2, said)
        self.assertLessEqual(sum(Judge.asked.values()), 32)
        self.assertIn("of no use", said)

    def test_limits_hold_and_a_dry_run_sends_nothing(self):
        code, shown, said = self.label(["right"], "--audit", "20", "--dry-run")
        self.assertEqual((code, sum(Judge.asked.values())), (0, 0), said)
        self.assertIn("| all ", shown)
        code, shown, said = self.label(["right"], "--audit", "20", "--requests-max", "9")
        self.assertEqual((code, sum(Judge.asked.values())), (3, 9), said)
        self.assertIn("budget reached", shown)
        code, shown, said = self.label(["right"], "--audit", "20")
        self.assertEqual((code, sum(Judge.asked.values())), (0, 40), said)

    def test_data_without_human_labels_is_refused(self):
        self.write_rows(lambda n: {"responses": [{"text": f"A GOOD summary {n}."}, {"text": f"A poor summary {n}."}]})
        code, shown, said = self.label(["right"], "--audit", "20")
        self.assertEqual(code, 2)
        self.assertIn("[audit-without-human-labels]", said)
        self.assertEqual(sum(Judge.asked.values()), 0)

    def test_a_number_of_pairs_is_needed(self):
        self.assertEqual(self.label(["right"], "--audit", "0")[0], 2)


if __name__ == "__main__":
    unittest.main()
