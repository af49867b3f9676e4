#!/usr/bin/env python3
"""`dmoerm serve` as a program: every endpoint gives the scores of `dmoerm score`, bad requests get a sentence, slow clients hold nobody up, keys and limits hold, a reload and a stop
lose no answer, and an overload gets answers or 429. Usage: serve_test.py PROGRAM
"""
import gzip
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from reward_server import RewardServer, offline_scores  # noqa: E402

BUNDLE = os.path.join(ROOT, "tests/golden/earlier/bundle")
DMOERM = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build/dev/dmoerm")
ROWS = [{"prompt": f"Question {i // 2} about {word}", "responses": [f"Answer {i} " + "word " * n for n in range(1, 2 + i % 3)]}
        for i, word in enumerate(["bread", "parcels", "bread", "trains", "tea", "a very long walk"])]


def Server(*options, bundles=(BUNDLE,), env=None):
    return RewardServer(DMOERM, bundles, *options, env=env)


def offline(rows, *options):
    return offline_scores(DMOERM, BUNDLE, rows, *options)


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def template_of(prompt, response):
    """What the bundle's template ("dmoerm" on a tokenizer with [CLS] and [SEP]) writes."""
    return f"[CLS]User: {prompt}\nAssistant:[SEP] {response}[SEP]"


def test_every_endpoint_gives_the_offline_scores(server):
    wanted = [row["scores"] for row in offline(ROWS)]
    for row, scores in zip(ROWS, wanted):
        status, reply = server.post("/v1/reward", row)
        expect(status == 200, reply)
        expect(reply["scores"] == scores, (reply, scores))
        texts = [template_of(row["prompt"], r) for r in row["responses"]]
        status, reply = server.post("/get_reward", {"query": texts})
        expect((status, reply["rewards"]) == (200, scores), (reply, scores))
        status, reply = server.post("/classify", {"model": "earlier", "input": texts})
        expect([d["probs"][0] for d in reply["data"]] == scores, (reply, scores))
        status, reply = server.post("/v1/embeddings", {"model": "earlier", "input": texts[0]})
        expect(reply["data"][-1]["embedding"][-1] == scores[0], (reply, scores))
        conversation = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["responses"][0]}]
        status, reply = server.post("/pooling", {"model": "earlier", "messages": conversation})
        expect(reply["data"][0]["data"][0] == scores[0], (reply, scores))
        status, reply = server.post("/predict", {"inputs": [[t] for t in texts], "raw_scores": True})
        expect([r[0]["score"] for r in reply] == scores, (reply, scores))
        status, reply = server.post("/v1/score/evaluation", {"model": "earlier", "messages": texts})
        expect(reply["scores"] == scores, (reply, scores))
        status, reply = server.post("/rerank", {"model": "earlier", "query": row["prompt"], "documents": row["responses"]})
        expect(sorted(r["relevance_score"] for r in reply["results"]) == sorted(scores), (reply, scores))
    _, _, headers = server.post("/predict", {"inputs": template_of("x", "y")}, raw=True)
    expect(headers["x-compute-type"] == "cpu", headers)
    for name in ("x-compute-time", "x-compute-tokens", "x-queue-time", "x-inference-time", "x-total-time"):
        expect(headers[name].isdigit(), headers)
    expect(server.post("/get_reward", {"query": []})[1]["rewards"] == [], "the empty list")
    forced = offline(ROWS[:1], "--category", "chat")[0]["scores"]
    expect(server.post("/v1/reward", {**ROWS[0], "use_category": "chat"})[1]["scores"] == forced, "a category that the request names")


def test_many_at_once_have_the_same_bits(server):
    wanted, wrong = [row["scores"] for row in offline(ROWS)], []

    def client(seed):
        draw = random.Random(seed)
        for _ in range(20):
            which = draw.randrange(len(ROWS))
            status, reply = server.post("/v1/reward", ROWS[which])
            if status != 200 or reply["scores"] != wanted[which]:
                wrong.append((status, reply))
    threads = [threading.Thread(target=client, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not wrong, wrong[:2])


def test_what_it_is_and_how_it_fares(server):
    expect(server.ask("GET", "/health")[0] == 200 and server.ask("GET", "/ready")[0] == 200, "health")
    status, info = server.ask("GET", "/info")
    model = info["models"][0]
    with open(os.path.join(BUNDLE, "dmoerm.json"), encoding="utf-8") as f:
        manifest = json.load(f)
    expect(status == 200 and model["name"] == "earlier" and model["template"]["sha256"] == manifest["template"]["sha256"], info)
    expect(model["weights"] == "float32" and "int8_drift" not in model, model)
    expect(model["max_length"] == 96 and model["categories"][0]["points"] == ["tone", "fact"], info)
    expect(model["categories"][0]["score_stats"] == manifest["score_stats"]["chat"], info)
    expect({"GET /metrics", "POST /admin/reload", "POST /v1/reward", "GET /"} <= set(info["endpoints"]), info["endpoints"])
    status, text, headers = server.ask("GET", "/metrics", raw=True)
    expect(status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4"), headers)
    for name in ("dmoerm_requests_total", "dmoerm_request_seconds_bucket", "dmoerm_batch_texts_count", "dmoerm_queue_texts", "dmoerm_tokens_total", "dmoerm_score_drift", "dmoerm_fallback_share", "dmoerm_routes_total"):
        expect(name in text, name)
    expect(re.search(r'^dmoerm_fallback_recent_share\{model="earlier"\} [01]', text, re.M), text)
    for line in text.splitlines():
        expect(re.fullmatch(r'# (HELP|TYPE) \S+ .+|[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? \S+', line), line)
    expect(server.ask("GET", "/v1/models")[1]["data"][0]["id"] == "earlier", "models")


def test_int8_weights_are_never_silent():
    with Server("--weights", "int8") as server:
        wanted, exact = [[row["scores"] for row in offline(ROWS, *options)] for options in (("--weights", "int8"), ())]
        expect(wanted != exact, wanted)
        for row, scores in zip(ROWS, wanted):
            expect(server.post("/v1/reward", row)[1]["scores"] == scores, scores)
        model = server.ask("GET", "/info")[1]["models"][0]
        expect(model["weights"] == "int8" and model["int8_drift"]["scores"] > 0 and model["int8_drift"]["largest"] > 0, model)
        code, said = server.stop()
    expect(code == 0 and "int8 weights: on the golden texts scores differ from float32 by" in said, said)


def test_bad_requests_get_a_sentence(server):
    deep = "[" * 100000 + "]" * 100000
    cases = [("/v1/reward", "{", 400), ("/v1/reward", "[1, 2]", 400), ("/v1/reward", deep, 400), ("/v1/reward", b'{"prompt": "\xff", "responses": ["a"]}', 400), ("/v1/reward", {"prompt": 5, "responses": ["a"]}, None),
             ("/v1/reward", {"prompt": "x", "responses": []}, None), ("/v1/reward", {"prompt": "x", "responses": [""]}, None), ("/v1/reward", {"prompt": "x", "responses": ["a"], "model": "other"}, 404),
             ("/v1/reward", {"prompt": "x", "responses": ["a"], "use_category": "nothing"}, None), ("/classify", {"model": "earlier", "input": [[10 ** 30]]}, None), ("/classify", {"model": "earlier", "input": [[99999999]]}, None),
             ("/classify", '{"model": "earlier", "input": 1e999}', None), ("/get_reward", {"query": {"a": 1}}, None), ("/predict", {"inputs": 7}, None), ("/v2/models/earlier/infer", {"inputs": []}, None),
             ("/nothing", {}, 404), ("/classify", "", 400)]
    for path, body, wanted in cases:
        status, reply = server.post(path, body)
        expect(400 <= status < 500 and wanted in (None, status), (path, str(body)[:80], status, reply))
        expect(re.search(r"[a-z]+ [a-z]+", json.dumps(reply)) and "internal" not in json.dumps(reply), (path, reply))
    for method, path, allowed in (("GET", "/classify", "POST"), ("DELETE", "/v1/reward", "POST"), ("POST", "/health", "GET, HEAD"), ("PUT", "/", "GET, HEAD, POST"), ("OPTIONS", "/v2/health/live", "GET, HEAD"),
                                  ("GET", "/admin/reload", "POST")):
        status, _, headers = server.ask(method, path, raw=True)
        expect(status == 405 and headers.get("allow") == allowed, (method, path, status, headers))
    status, text, headers = server.ask("GET", "/" + "a" * 9000, raw=True)
    expect(status == 404 and len(text) < 400, text)
    for path in ("/health", "/metrics", "/info", "/v1/models", "/", "/nothing"):
        expect("close" not in server.ask("GET", path, raw=True)[2].get("connection", ""), f"{path} closes the connection")
    for path in ("/v2/models/earlier/versions/99", "/v2/models/earlier/versions/99/ready"):
        status, reply = server.ask("GET", path)
        expect(status == 404 and reply["reason"] == "unknown-model-version", (path, reply))
    status, reply = server.post("/get_reward", json.dumps({"query": ["a" * 9000000]}))  # http.client sends all of it before it reads
    expect(status == 413 and reply["reason"] == "body-too-long", reply)
    for timeout in ("soon", "0", "-1", "0.0", "", "nan", "inf", "1e999", "5s"):
        status, reply = server.post("/v1/reward", ROWS[0], headers={"X-Request-Timeout": timeout})
        expect(status == 400 and reply["error"]["code"] == "bad-timeout", (timeout, reply))
    status, reply = server.post("/v1/reward", ROWS[0], headers={"X-Request-Timeout": "0.000001"})
    expect(status == 504 and reply["error"]["code"] == "deadline-too-short" and "deadline" in reply["error"]["message"] and "full" not in reply["error"]["message"], reply)
    status, reply = server.post("/predict", {"inputs": "text"}, headers={"X-Request-Timeout": "0.000001"})
    expect(status == 503 and reply["reason"] == "deadline-too-short", reply)
    expect(server.post("/v1/reward", ROWS[0], headers={"X-Request-Timeout": " 60 "})[0] == 200, "white space around a header's value")
    status, reply = server.post("/v1/reward", {**ROWS[0], "use_categroy": "chat"})
    expect(status == 400 and "use_category" in reply["error"]["message"], reply)
    status, reply = server.post("/get_reward", {"query": [template_of("a", "b")], "prompts": []})
    expect(status == 422 and "prompts" in reply["detail"], reply)
    foreign = {"query": [template_of("a", "b")], "prompts": ["other"]}  # as of a trainer that cut it
    expect(server.post("/get_reward", foreign)[1] == server.post("/get_reward", {"query": foreign["query"]})[1], "a prompt that does not begin its text counts for nothing")
    said = [server.post("/v1/reward", {**ROWS[0], "model": "earleir"})[1]["error"]["message"], server.ask("GET", "/v1/models/earleir")[1]["error"]["message"], server.post("/admin/reload", {"model": "earleir"})[1]["error"]["message"]]
    expect(len(set(said)) == 1 and "did you mean earlier?" in said[0], said)
    expect(server.post("/v1/reward", ROWS[0], headers={"Origin": "http://evil.example"})[0] == 403, "a foreign page")
    expect(server.post("/v1/reward", ROWS[0], headers={"Host": "evil.example"})[0] == 403, "a foreign name")
    expect(server.post("/v1/reward", ROWS[0])[0] == 200, "a good one after the bad ones")


def test_slow_clients_hold_nobody_up(server):
    slow = []
    for i in range(200):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.send(b"POST /v1/reward HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{" if i % 2 else b"POST /v1/rew")
        slow.append(connection)
    for _ in range(5):
        expect(server.post("/v1/reward", ROWS[0], timeout=20)[0] == 200, "a normal client beside slow ones")
    expect("dmoerm_connections 20" in server.ask("GET", "/metrics", raw=True)[1], "connections are counted")
    for connection in slow:
        connection.close()


def test_keys_and_hosts():
    with Server(env={"DMOERM_API_KEY": "s3cret"}) as server:
        expect(server.ask("GET", "/health")[0] == 200, "health without a key")
        expect(server.ask("GET", "/v2/health/live")[1] == {"live": True} and server.ask("GET", "/v2/health/ready")[1] == {"ready": True}, "probes as KServe's")
        for headers in ({}, {"Authorization": "Bearer s3cre"}, {"Authorization": "s3cret"}, {"X-API-Key": "other"}):
            status, reply = server.post("/v1/reward", ROWS[0], headers=headers)
            expect(status == 401, (headers, status, reply))
            expect(server.ask("GET", "/metrics", headers=headers, raw=True)[0] == 401, "metrics")
        for headers in ({"Authorization": "Bearer s3cret"}, {"X-API-Key": "s3cret", "Host": "far.example"}):
            expect(server.post("/v1/reward", ROWS[0], headers=headers)[0] == 200, headers)
    with tempfile.NamedTemporaryFile("wb", suffix=".keys") as file:
        file.write("\ufeffone\r\n\n# two = old\n  three  \nfour#5".encode())
        file.flush()
        with Server("--api-key-file", file.name, env={"DMOERM_API_KEY": "of the environment"}) as server:
            for key, wanted in (("one", 200), ("three", 200), ("four#5", 200), ("two", 401), ("# two = old", 401), ("", 401), ("of the environment", 401), ("\ufeffone".encode(), 401)):
                status, reply = server.post("/v1/reward", ROWS[0], headers={"X-API-Key": key})
                expect(status == wanted, (key, status, reply))
        for text in ("", "\n# only a remark\n \n"):
            file.seek(0)
            file.truncate()
            file.write(text.encode())
            file.flush()
            done = subprocess.run([DMOERM, "serve", "--port", "0", "--bundle", BUNDLE, "--api-key-file", file.name], capture_output=True, text=True, timeout=60)
            expect(done.returncode == 2 and "[api-key-missing]" in done.stderr, done.stderr)
    with Server(env={"DMOERM_API_KEY": "s3cret\n"}) as server:  # of a file that was read whole
        expect(server.post("/v1/reward", ROWS[0], headers={"Authorization": "Bearer s3cret"})[0] == 200, "a key with a line end")
    done = subprocess.run([DMOERM, "serve", "--port", "0", "--bundle", BUNDLE, "--host", "0.0.0.0"], capture_output=True, text=True, env={**os.environ, "DMOERM_API_KEY": " "}, timeout=60)
    expect(done.returncode == 2 and "[api-key-missing]" in done.stderr, done.stderr)
    for options, code in ((["--host", "0.0.0.0"], "api-key-missing"), (["--tls-cert", os.devnull, "--tls-key", os.devnull], "tls-not-usable"), (["--deadline-s", "inf"], "bad-command-line"), (["--empty-reward", "nan"], "bad-command-line"), (["--batch-wait-ms", "nan"], "bad-command-line"), (["--tls-cert", "x"], "tls-not-usable"), (["--alias", "a=b"], "unknown-model"),
                          (["--bundle", BUNDLE], "name-given-twice"), (["--host", "256.1.1.1"], "unknown-host")):
        env = {k: v for k, v in os.environ.items() if k != "DMOERM_API_KEY"}
        if options[1] == "256.1.1.1":
            env["DMOERM_API_KEY"] = "k"
        done = subprocess.run([DMOERM, "serve", "--port", "0", "--bundle", BUNDLE, *options], capture_output=True, text=True, env=env, timeout=60)
        expect(done.returncode == 2 and f"[{code}]" in done.stderr, done.stderr)
    done = subprocess.run([DMOERM, "serve"], capture_output=True, text=True, timeout=60)
    expect(done.returncode == 2 and "--bundle is required [bad-command-line]" in done.stderr, done.stderr)
    done = subprocess.run([DMOERM, "serve", "--bundle", os.path.join(ROOT, "docs")], capture_output=True, text=True, timeout=60)
    expect(done.returncode == 2, done.stderr)


def test_pages_of_other_origins():
    mine, key = "http://app.example:3000", {"Authorization": "Bearer s3cret"}
    asked = {"Origin": mine, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    granted, scores = "access-control-allow-origin", offline(ROWS[:1])[0]["scores"]
    with Server("--cors", mine, "--cors", "https://other.example", env={"DMOERM_API_KEY": "s3cret"}) as server:
        status, text, headers = server.ask("OPTIONS", "/v1/reward", headers=asked, raw=True)
        expect((status, text, headers[granted], headers["vary"]) == (204, "", mine, "Origin"), (status, text, headers))
        expect("POST" in headers["access-control-allow-methods"] and "authorization" in headers["access-control-allow-headers"].lower(), headers)
        status, text, headers = server.post("/v1/reward", ROWS[0], headers={"Origin": mine, **key}, raw=True)
        expect((status, headers[granted], json.loads(text)["scores"]) == (200, mine, scores), (status, text, headers))
        expect("access-control-allow-credentials" not in headers, headers)
        status, _, headers = server.post("/v1/reward", ROWS[0], headers={"Origin": mine}, raw=True)
        expect((status, headers[granted]) == (401, mine), "the page must be able to read that its key is missing")
        for origin in ("http://app.example", "https://app.example:3000", "null", "http://app.example:3000.evil.example"):
            status, _, headers = server.ask("OPTIONS", "/v1/reward", headers={**asked, "Origin": origin}, raw=True)
            expect(status == 401 and granted not in headers and headers["vary"] == "Origin", (origin, status, headers))
            expect(granted not in server.post("/v1/reward", ROWS[0], headers={"Origin": origin, **key}, raw=True)[2], origin)
    with Server(env={"DMOERM_API_KEY": "s3cret"}) as server:
        status, _, headers = server.ask("OPTIONS", "/v1/reward", headers=asked, raw=True)
        expect(status == 401 and granted not in headers and "vary" not in headers, (status, headers))
    for origin, keys, code in ((mine, {}, "api-key-missing"), ("*", {"DMOERM_API_KEY": "k"}, "bad-origin"), (mine + "/", {"DMOERM_API_KEY": "k"}, "bad-origin")):
        env = {k: v for k, v in os.environ.items() if k != "DMOERM_API_KEY"}
        done = subprocess.run([DMOERM, "serve", "--port", "0", "--bundle", BUNDLE, "--cors", origin], capture_output=True, text=True, env={**env, **keys}, timeout=60)
        expect(done.returncode == 2 and f"[{code}]" in done.stderr, done.stderr)


def test_compressed_bodies(server):
    wanted, body = offline(ROWS[:1])[0]["scores"], json.dumps(ROWS[0]).encode()
    raw = zlib.compressobj(wbits=-15)
    for encoding, data in (("gzip", gzip.compress(body)), ("gzip", gzip.compress(body[:20]) + gzip.compress(body[20:])), ("deflate", zlib.compress(body)), ("deflate", raw.compress(body) + raw.flush()), ("identity", body)):
        status, reply = server.post("/v1/reward", data, headers={"Content-Encoding": encoding})
        expect((status, reply.get("scores")) == (200, wanted), (encoding, reply))
    for encoding, data, wrong in (("br", body, (415, "body-encoding-unknown")), ("gzip", body, (400, "body-not-as-encoded")), ("gzip", gzip.compress(body)[:-9], (400, "body-not-as-encoded")),
                                  ("gzip", gzip.compress(b" " * (9 << 20)), (413, "body-too-long"))):
        status, text, headers = server.post("/v1/reward", data, headers={"Content-Encoding": encoding}, raw=True)
        expect(status == wrong[0] and wrong[1] in text, (encoding, status, text[:300]))
        expect(status != 415 or headers["accept-encoding"] == "gzip, deflate", headers)
    status, reply = server.post("/v2/repository/index", {})
    expect(status == 404 and isinstance(reply["error"], str), reply)


def test_empty_responses_have_no_score_unless_one_is_given(server):
    empty, full = template_of("x", ""), template_of("x", "an answer")
    for path, body in (("/classify", {"input": [full, empty]}), ("/get_reward", {"query": [full, empty]}), ("/v1/reward", {"texts": [full, empty]})):
        status, text, _ = server.post(path, body, raw=True)
        expect(status == 422 and "text-is-blank" in text and "--empty-reward" in text, (path, status, text))
    with Server("--empty-reward", "-7.5") as other:
        status, reply = other.post("/get_reward", {"query": [full, empty]})
        expect(status == 200 and reply["rewards"][1] == -7.5 and reply["rewards"][0] == server.post("/get_reward", {"query": [full]})[1]["rewards"][0], reply)
        counted = re.findall(r"^dmoerm_scores_total\{.*\} (\d+)$", other.ask("GET", "/metrics", raw=True)[1], re.M)
        expect(sum(map(int, counted)) == 1, counted)  # nobody got the score of the empty one
        foreign = "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n"  # of a policy with a template that the bundle does not know
        rewards = other.post("/get_reward", {"query": [foreign, foreign + "<|im_end|>", foreign + "yes<|im_end|>"], "prompts": [foreign] * 3})[1]["rewards"]
        expect(rewards[:2] == [-7.5, -7.5] and rewards[2] != -7.5, rewards)
    with Server("--empty-reward", "-7.5", "--normalise", "standard") as other:
        rewards = other.post("/get_reward", {"query": [full, empty]})[1]["rewards"]
        expect(rewards[1] == -7.5, rewards)  # and not -7.5 less the mean, over the standard deviation


def test_a_server_that_normalises(server):
    wanted = offline(ROWS[:1], "--normalise")[0]["scores"]
    with Server("--normalise", "standard") as other:
        expect(other.ask("GET", "/info")[1]["normalise"] == "standard", "GET /info says so")
        expect(other.post("/v1/reward", ROWS[0])[1]["scores"] == wanted, "in the words of `dmoerm score --normalise`")
        expect(other.post("/v1/reward", {**ROWS[0], "normalise": "none"})[1]["scores"] == server.post("/v1/reward", ROWS[0])[1]["scores"], "a request decides")
    done = subprocess.run([DMOERM, "serve", "--bundle", BUNDLE, "--normalise", "softmax"], capture_output=True, text=True, timeout=60)
    expect(done.returncode == 2 and "softmax" in done.stderr, done.stderr)


def test_tls(folder):
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"], capture_output=True)
    if made.returncode != 0:
        print("no openssl: TLS is not tested")
        return
    with Server("--tls-cert", f"{folder}/cert.pem", "--tls-key", f"{folder}/key.pem") as server:
        context = ssl.create_default_context(cafile=f"{folder}/cert.pem")
        connection = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=30)
        connection.request("POST", "/v1/reward", json.dumps(ROWS[0]))
        expect(json.loads(connection.getresponse().read())["scores"] == offline(ROWS[:1])[0]["scores"], "scores over TLS")
        for version, served in ((ssl.TLSVersion.TLSv1_3, True), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1, False)):
            context = ssl.create_default_context(cafile=f"{folder}/cert.pem")
            context.set_ciphers("ALL:@SECLEVEL=0")  # with which this client speaks the old versions
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = version
            try:
                with socket.create_connection(("localhost", server.port), timeout=30) as plain, context.wrap_socket(plain, server_hostname="localhost") as secure:
                    said = secure.version()
            except OSError as e:
                said = getattr(e, "reason", None) or str(e)
                if said in ("NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE"):
                    print("the client's library does not know", version)
                    continue
            expect((said in ("TLSv1.3", "TLSv1.2")) == served, (version, said))


def test_the_last_line_tells_mistakes_from_failures():
    with Server() as server:
        expect(server.post("/v1/reward", ROWS[0])[0] == 200 and server.post("/v1/reward", "{")[0] == 400 and server.ask("GET", "/nothing")[0] == 404, "requests")
        said = server.stop()[1].splitlines()[-1]
        expect(re.match(r"served 3 requests \(\d+ texts?, \d+ tokens\) in .*: 1 answered, 0 refused for lack of room, 2 with mistakes of clients, 0 failed here$", said), said)
    with Server() as server:
        expect(server.post("/v1/reward", {"prompt": "x", "response": "y"})[0] == 200, "one request")
        said = server.stop()[1].splitlines()[-1]
        expect("served 1 request (1 text, " in said, said)


def test_limits():
    with Server("--body-bytes", "20000", "--request-texts", "4", "--request-tokens", "300") as server:
        expect(server.post("/v1/reward", {"prompt": "x", "responses": ["y" * 30000]})[0] == 413, "a long body")
        expect(server.post("/v1/reward", {"prompt": "x", "responses": ["a"] * 5})[0] in (400, 413), "many texts")
        status, reply = server.post("/v1/reward", {"prompt": "x", "responses": ["word " * 500]})
        expect(status == 413 and "tokens" in json.dumps(reply), reply)
        status, reply = server.post("/v1/reward", {"prompt": "x", "responses": ["y" * 6000]})  # by its bytes, before tokens are made of it
        expect(status == 413 and reply["error"]["code"] == "request-too-long" and "6001 bytes" in reply["error"]["message"], reply)


def flood(server, clients, seconds, headers=None, rows=None):
    """Each client asks again as soon as it has its answer. -> {status: count}, slowest"""
    counts, slowest, lock, until = {}, [0], threading.Lock(), time.monotonic() + seconds

    def client(number):
        while time.monotonic() < until:
            begun = time.monotonic()
            try:
                status = server.post("/v1/reward", (rows or ROWS)[number % len(rows or ROWS)], headers=headers)[0]
            except (OSError, http.client.HTTPException) as e:
                status = type(e).__name__
            with lock:
                counts[status] = counts.get(status, 0) + 1
                slowest[0] = max(slowest[0], time.monotonic() - begun)
            if status == 429:
                time.sleep(0.02)
    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    return threads, counts, slowest


def test_overload_gets_answers_or_429():
    with Server("--queue-tokens", "200", "--queue-texts", "12") as server:
        threads, counts, _ = flood(server, 24, 3)
        for thread in threads:
            thread.join()
        expect(set(counts) <= {200, 429} and counts.get(429, 0) > 0 and counts.get(200, 0) > 0, counts)
        expect(server.post("/v1/reward", ROWS[0])[0] == 200, "after the overload")


def test_reload_loses_nothing(folder):
    copy = os.path.join(folder, "copy")
    shutil.copytree(BUNDLE, copy)
    with Server(bundles=(f"main={copy}", f"other={BUNDLE}")) as server:
        expect(server.post("/v1/reward", {**ROWS[0], "model": "other"})[1]["scores"] == offline(ROWS[:1])[0]["scores"], "a bundle by its name")
        threads, counts, _ = flood(server, 6, 4)
        for _ in range(3):
            server.process.send_signal(signal.SIGHUP)
            status, reply = server.post("/admin/reload", {"model": "main"})
            expect(status == 200 and reply["status"] == "reloaded", reply)
        with open(os.path.join(copy, "dmoerm.json"), "a", encoding="utf-8") as f:
            f.write("damage")
        status, reply = server.post("/admin/reload", {})
        expect(reply["error"]["type"] == "invalid_request_error", reply)
        expect(status == 409 and "dmoerm.json" in reply["error"]["message"] and reply["error"]["code"] not in reply["error"]["message"], reply)
        expect(server.post("/admin/reload", {"model": "third"})[0] == 404, "an unknown name")
        for body in ({"model": 3}, {"modle": "main"}, ["main"]):
            expect(server.post("/admin/reload", body)[0] == 400, f"a reload of {body}")
        for thread in threads:
            thread.join()
        expect(set(counts) == {200}, counts)


def test_stop_answers_what_waits():
    with Server() as server:
        threads, counts, _ = flood(server, 8, 2)
        time.sleep(0.7)
        code, said = server.stop()
        for thread in threads:
            thread.join()
        expect(code == 0, said)
        # A client that comes when nobody listens, or whose kept connection is over, is refused; none that was accepted is dropped.
        expect(set(counts) <= {200, 503, "ConnectionRefusedError", "ConnectionResetError"} and counts[200] > 0, counts)
        found = re.search(r"served (\d+) requests .* (\d+) answered", said)
        expect(found and int(found[2]) == counts[200], (said, counts))


def test_clients_that_hang_up_cost_nothing():
    with Server("--queue-texts", "10000", "--queue-tokens", "10000000") as server:
        body = json.dumps({"prompt": "x", "responses": [f"{i} " + "word " * 80 for i in range(60)]}).encode()
        for _ in range(30):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.send(b"POST /v1/reward HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            time.sleep(0.01)
            connection.close()
        deadline = time.monotonic() + 30
        while "dmoerm_queue_requests 0" not in server.ask("GET", "/metrics", raw=True)[1]:
            expect(time.monotonic() < deadline, "the queue is not emptied")
            time.sleep(0.05)
        metrics = server.ask("GET", "/metrics", raw=True)[1]
        expect('status="499"' in metrics, metrics)


def children_of(process):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def test_ranks_give_the_same_answers_and_one_may_die():
    wanted = [row["scores"] for row in offline(ROWS)]
    with Server("--np", "2") as server:
        ranks = children_of(server.process)
        expect(len(ranks) == 2, ranks)
        for _ in range(2):
            for row, scores in zip(ROWS, wanted):
                expect(server.post("/v1/reward", row)[1]["scores"] == scores, row)
        threads, counts, _ = flood(server, 8, 3)
        time.sleep(0.5)
        os.kill(ranks[0], signal.SIGKILL)
        for thread in threads:
            thread.join()
        expect(set(counts) == {200}, counts)
        deadline = time.monotonic() + 60
        while 'dmoerm_ready{rank="1"} 1' not in (metrics := server.ask("GET", "/metrics", raw=True)[1]):
            expect(time.monotonic() < deadline, metrics)
            time.sleep(0.1)
        expect("dmoerm_rank_restarts_total 1" in metrics and len(children_of(server.process)) == 2, metrics)
        expect(server.post("/admin/reload", {})[0] == 200 and server.ask("GET", "/info")[1]["models"][0]["name"] == "earlier", "reload")
        expect(server.post("/v1/reward", "{")[0] == 400 and server.ask("GET", "/nothing")[0] == 404, "bad requests")
        expect(server.ask("GET", "/v1/reward", raw=True)[2].get("allow") == "POST", "a rank's headers")
        for line in ('dmoerm_connections{rank="front"} ', 'dmoerm_ready{rank="front"} 1', 'dmoerm_queue_texts{rank="1"} 0'):
            expect(line in metrics, (line, metrics))
        expect('dmoerm_connections{rank="0"}' not in metrics, metrics)
        metrics = server.ask("GET", "/metrics", raw=True)[1]  # what concerns all ranks is counted once
        expect(re.findall(r'dmoerm_requests_total\{rank="(\w+)",endpoint="/admin/reload",status="200"\} (\d+)', metrics) == [("front", "1")], metrics)
        expect(re.findall(r'dmoerm_requests_total\{rank="(\w+)",endpoint="/metrics",status="200"\} ', metrics) == ["front"], metrics)
        code, said = server.stop()
        expect(code == 0 and "1 were started again" in said, said)
        found = re.search(r"served (\d+) requests \((\d+) texts, (\d+) tokens\) .* (\d+) answered", said)
        expect(found and int(found[2]) >= 2 * sum(len(row["responses"]) for row in ROWS) and int(found[3]) > int(found[2]), said)
        expect(not [pid for pid in ranks if os.path.exists(f"/proc/{pid}")], "ranks are left")


def test_ranks_know_no_keys(folder):
    """A rank that starts again reads neither the keys nor the certificate, which may have changed or gone since."""
    file, key = os.path.join(folder, "rank-keys"), {"Authorization": "Bearer one"}
    with open(file, "w", encoding="utf-8") as f:
        f.write("one\ntwo\n")
    with Server("--np", "2", "--api-key-file", file) as server:
        with open(file, "w", encoding="utf-8") as f:
            f.write("three\n")
        for restarts in (1, 2):
            if restarts == 2:
                os.remove(file)
            os.kill(children_of(server.process)[0], signal.SIGKILL)
            deadline = time.monotonic() + 60
            wanted = [f"dmoerm_rank_restarts_total {restarts}", 'dmoerm_ready{rank="0"} 1', 'dmoerm_ready{rank="1"} 1']
            while not all(line in (metrics := server.ask("GET", "/metrics", headers=key, raw=True)[1]) for line in wanted):
                expect(time.monotonic() < deadline, (metrics, server.lines))
                time.sleep(0.1)
            for _ in range(4):
                status, reply = server.post("/v1/reward", ROWS[0], headers={**key, "Host": "far.example"})
                expect(status == 200, reply)
        expect(server.post("/v1/reward", ROWS[0], headers={"Authorization": "Bearer three"})[0] == 401, "a key of a later file")


def test_a_rank_that_hangs_is_replaced():
    with Server("--np", "2", "--deadline-s", "2") as server:
        ranks = children_of(server.process)
        os.kill(ranks[0], signal.SIGSTOP)
        threads, counts, _ = flood(server, 8, 4)
        time.sleep(1)
        begun = time.monotonic()
        metrics = server.ask("GET", "/metrics", raw=True)[1]
        expect('dmoerm_ready{rank="1"}' in metrics and 'dmoerm_ready{rank="0"}' not in metrics, metrics)
        expect(time.monotonic() - begun < 30, "the metrics wait for a rank that hangs")
        for thread in threads:
            thread.join()
        expect(set(counts) == {200, 429}, counts)
        deadline = time.monotonic() + 60
        while "dmoerm_rank_restarts_total 1" not in server.ask("GET", "/metrics", raw=True)[1] or len(children_of(server.process)) < 2:
            expect(time.monotonic() < deadline, server.lines)
            time.sleep(0.1)
        expect(any("has said nothing for" in line for line in server.lines), server.lines)


def test_idle_ranks_stay():
    with Server("--np", "2", "--deadline-s", "0.5") as server:
        expect(server.post("/v1/reward", ROWS[0])[0] == 200, "one request")
        time.sleep(3)  # a rank that says nothing for 2 s although it was asked counts as one that hangs
        expect("dmoerm_rank_restarts_total 0" in server.ask("GET", "/metrics", raw=True)[1], server.lines)


def test_guides_give_a_low_reward_to_nothing(server):
    os.environ["DMOERM_SERVER"] = f"http://127.0.0.1:{server.port}"
    guides = os.path.join(ROOT, "docs", "guides")
    sys.path.insert(0, guides)
    import openrlhf_reward
    import trl_grpo
    prompt, full = template_of("x", "").removesuffix(" [SEP]"), template_of("x", "an answer")
    reply = openrlhf_reward.reward_func([full, prompt + " \u200b", full], [prompt] * 3, [""] * 3)
    wanted = server.post("/get_reward", {"query": [full]})[1]["rewards"][0]
    expect(reply["rewards"] == [wanted, openrlhf_reward.EMPTY, wanted], reply)
    expect(all(len(values) == 3 for values in reply["extra_logs"].values()), reply)
    rewards = trl_grpo.DmoermReward(os.environ["DMOERM_SERVER"])(["x", "x"], ["\ufeff", "an answer"])
    expect(rewards == [-10.0, wanted], (rewards, wanted))


class Stumbling:
    """A server that closes its first connection without an answer, its second within one, is behind a proxy that says so at the third, and then answers."""

    def __init__(self, answer):
        body = json.dumps(answer).encode()
        self.answers = [b"", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:5], b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
                        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        for answer in self.answers:
            connection, _ = self.listener.accept()
            with connection:
                text = b""
                while b"\r\n\r\n" not in text:
                    text += connection.recv(65536)
                head, _, body = text.partition(b"\r\n\r\n")
                length = int(re.search(rb"content-length: (\d+)", head.lower())[1])
                while len(body) < length:
                    body += connection.recv(65536)
                connection.sendall(answer)
        self.listener.close()


def test_guides_survive_lost_connections():
    sys.path.insert(0, os.path.join(ROOT, "docs", "guides"))
    import best_of_n
    import openrlhf_reward
    import trl_grpo
    import verl_reward
    items, pauses = {"items": [{"scores": [1.5]}]}, []
    cases = [(trl_grpo, items, lambda url: trl_grpo.DmoermReward(url)(["x"], ["y"]), [1.5]),
             (openrlhf_reward, {"rewards": [1.5], "scores": [0.5], "extra_logs": {}}, lambda url: openrlhf_reward.reward_func(["x y"], ["x"], [""])["rewards"], [1.5]),
             (verl_reward, {"scores": [1.5], "route": {"fallback": False, "confidence": 0.9}, "cut_tokens": [0]}, lambda url: verl_reward.compute_score("", "y", "", {"question": "x"})["score"], 1.5),
             (best_of_n, items, lambda url: best_of_n.Server(url).score([{"prompt": "x", "responses": ["y"]}]), items["items"])]
    before, kept = os.environ.get("DMOERM_SERVER"), time.sleep
    time.sleep = pauses.append  # which the guides call
    try:
        for module, answer, call, wanted in cases:
            server = Stumbling(answer)
            os.environ["DMOERM_SERVER"] = server.url
            expect(call(server.url) == wanted, module.__name__)
            expect(len(pauses) == 3 and min(pauses) > 0, (module.__name__, pauses))
            pauses.clear()
            server.thread.join()
    finally:
        time.sleep = kept
        if before is not None:
            os.environ["DMOERM_SERVER"] = before


def test_ranks_have_the_same_bundle(folder):
    copy = os.path.join(folder, "to-replace")
    shutil.copytree(BUNDLE, copy)
    with Server("--np", "2", bundles=(f"main={copy}",)) as server:
        manifest = os.path.join(copy, "dmoerm.json")
        with open(manifest, encoding="utf-8") as f:
            other = json.dumps(json.load(f), indent=7)
        with open(manifest, "w", encoding="utf-8") as f:  # another bundle with the same scores, so that what is served shows no difference
            f.write(other)
        os.kill(children_of(server.process)[0], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while 'dmoerm_ready{rank="0"} 1' not in server.ask("GET", "/metrics", raw=True)[1]:
            expect(time.monotonic() < deadline, server.lines)
            time.sleep(0.1)
        said = "".join(server.lines)
        expect("rank 0 has another bundle than the others" in said and re.search(r"rank=1 .*was read again", said), said)


def test_no_rank_is_ready(folder):
    copy = os.path.join(folder, "for-ranks")
    shutil.copytree(BUNDLE, copy)
    with Server("--np", "2", bundles=(f"main={copy}",)) as server:
        shutil.move(os.path.join(copy, "dmoerm.json"), os.path.join(folder, "dmoerm.json"))  # no rank can start again
        expect(server.post("/admin/reload", {})[0] == 409, "a reload without a bundle")
        deadline = time.monotonic() + 60
        while not all(any(f"rank={rank} " in line and "was not read again" in line for line in server.lines) for rank in (0, 1)):
            expect(time.monotonic() < deadline, server.lines)  # each rank says so, with its number
            time.sleep(0.05)
        for rank in children_of(server.process):
            os.kill(rank, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while server.ask("GET", "/ready")[0] != 503:
            expect(time.monotonic() < deadline, "the ranks are not missed")
        for path in ("/v1/reward", "/classify", "/v2/models/main/infer"):
            status, text, headers = server.post(path, ROWS[0], raw=True, timeout=20)
            expect(status == 503 and "no-rank-ready" in text and headers["retry-after"] == "1", (path, status, text))
        metrics = server.ask("GET", "/metrics", raw=True)[1]
        expect('dmoerm_requests_total{rank="front",endpoint="/classify",status="503"} 1' in metrics and 'dmoerm_ready{rank="front"} 0' in metrics, metrics)
        expect(server.ask("GET", "/health")[0] == 200, "health")
        shutil.move(os.path.join(folder, "dmoerm.json"), os.path.join(copy, "dmoerm.json"))
        while server.ask("GET", "/ready")[0] != 200:
            expect(time.monotonic() < deadline + 60, "the ranks do not come back")
            time.sleep(0.1)
        expect(server.post("/v1/reward", ROWS[0])[1]["scores"] == offline(ROWS[:1])[0]["scores"], "scores after the ranks came back")


def main():
    folder = tempfile.mkdtemp(prefix="dmoerm-serve-")
    try:
        with Server() as server:
            for test in (test_every_endpoint_gives_the_offline_scores, test_many_at_once_have_the_same_bits, test_what_it_is_and_how_it_fares, test_bad_requests_get_a_sentence, test_compressed_bodies, test_empty_responses_have_no_score_unless_one_is_given, test_a_server_that_normalises, test_guides_give_a_low_reward_to_nothing, test_slow_clients_hold_nobody_up):
                test(server)
                print("held:", test.__name__, flush=True)
            code, said = server.stop()
            expect(code == 0 and "served" in said, said)
        for test in (test_guides_survive_lost_connections, test_keys_and_hosts, test_pages_of_other_origins, test_the_last_line_tells_mistakes_from_failures, test_limits, test_overload_gets_answers_or_429, test_stop_answers_what_waits, test_clients_that_hang_up_cost_nothing, test_int8_weights_are_never_silent, test_ranks_give_the_same_answers_and_one_may_die, test_a_rank_that_hangs_is_replaced, test_idle_ranks_stay):
            test()
            print("held:", test.__name__, flush=True)
        for test in (test_tls, test_ranks_know_no_keys, test_reload_loses_nothing, test_ranks_have_the_same_bundle, test_no_rank_is_ready):
            test(folder)
            print("held:", test.__name__, flush=True)
    finally:
        shutil.rmtree(folder)
    print("all held")


if __name__ == "__main__":
    main()
