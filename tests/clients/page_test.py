#!/usr/bin/env python3
"""The server's page in Chromium without a window: it scores by keyboard, shows what the server says, stays in its width, and complains about
nothing. Usage: page_test.py PROGRAM [FOLDER for screenshots]
"""
import http.server
import json
import os
import sys
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/support"))
import chromium  # noqa: E402
from reward_server import RewardServer, offline_scores  # noqa: E402

PROMPT, RESPONSES = "Where is my order?", ["It arrives tomorrow before noon.", "Orders arrive when they arrive."]


def text(page, name):
    return page.evaluate(f"document.getElementById('{name}').textContent")


def fill(page, texts):
    """Types into the boxes of the form as a person does who uses the keyboard alone."""
    page.evaluate("document.getElementById('prompt').focus()")
    for place, words in enumerate(texts):
        if place > 0:
            page.press("Tab")
            if page.evaluate("document.activeElement.tagName") != "TEXTAREA":  # a button that removes a response
                page.press("Tab")
        page.type(words)


def check_score(page, scores):
    fill(page, [PROMPT, *RESPONSES])
    assert page.evaluate("[...document.querySelectorAll('textarea')].slice(0, 3).map(t => t.value)") == [PROMPT, *RESPONSES]
    page.press("Enter", control=True)
    page.wait("!document.getElementById('result').hidden && !document.getElementById('go').disabled")
    best = max(range(2), key=scores.__getitem__)
    gap = abs(scores[0] - scores[1])
    assert text(page, "verdict") == f"Response {'AB'[best]} is better by {gap:.3f}.", text(page, "verdict")
    shown = page.evaluate("[...document.querySelectorAll('#scores tr')].map(r => [r.cells[0].textContent, r.cells[1].textContent])")
    wanted = [["AB"[i], f"{scores[i]:.3f}".replace("-", "\u2212")] for i in sorted(range(2), key=lambda i: -scores[i])]
    assert shown == wanted, (shown, wanted)
    assert "ahead in none of the capabilities" in text(page, "reason"), text(page, "reason")  # this tiny bundle weighs them so
    assert "chat" in text(page, "route"), text(page, "route")
    points = page.evaluate("[...document.querySelectorAll('.point h3')].map(h => h.textContent)")
    assert points == ["Fact", "Tone"], points
    assert page.evaluate("document.querySelectorAll('.bar').length") == 4
    question = page.evaluate("document.getElementById('question').value")
    assert PROMPT in question and RESPONSES[0] in question and "fact" in question, question


def check_category(page):
    """A category that a person chooses goes to the server, which then says so."""
    page.wait("document.getElementById('category').options.length === 2")
    page.evaluate("document.getElementById('category').value = 'chat'")
    sent = "window.sent = null; const real = window.fetch; window.fetch = (path, o) => { window.sent = o.body; return real(path, o); }"
    page.evaluate(sent)
    page.press("Enter", control=True)
    page.wait("window.sent !== null && !document.getElementById('go').disabled")
    assert json.loads(page.evaluate("window.sent"))["use_category"] == "chat"
    assert page.evaluate("document.getElementById('error').hidden"), text(page, "error")
    page.evaluate("document.getElementById('category').value = ''")


def check_reasons(page):
    """The sentence about what tipped the balance, for replies with parts and without, and for a route that the router was unsure of."""
    def said(**more):
        reply = {"scores": [1.5, -0.5], "points": [{"empathy": 1, "style": -1}, {"empathy": 0, "style": 1}], "tokens": [9, 9], "cut_tokens": [0, 4],
                 "scored_by": "chat", "route": {"category": "chat", "confidence": 0.9, "distance": 0.5, "fallback": False}, **more}
        page.evaluate(f"show({json.dumps(reply)}, ['x', 'y'])")
        return text(page, "reason")
    parts = [{"points": {"empathy": 2.0, "style": -0.25}, "base": 0.25}, {"points": {"empathy": -0.5, "style": 0.25}, "base": 0.25}]
    assert said(contributions=parts, base=[0.1, 0.2]) == \
        "Empathy tips the balance: it adds 2.50 to the lead of A, which is 2.00; style takes 0.50 off it.", text(page, "reason")
    assert page.evaluate("document.querySelectorAll('.adds')[0].textContent") == "adds +2.00"
    assert text(page, "cut") == "Too long to be read whole: 4 tokens of B were left out."
    mixed = [{"points": {"empathy": 0.1, "style": 0.0}, "second": 1.9}, {"points": {"empathy": 0.0, "style": 0.0}, "second": 0.0}]
    route = {"category": "chat", "confidence": 0.5, "distance": 0.5, "fallback": False, "second": {"category": "short_code", "share": 0.4}}
    assert said(contributions=mixed, route=route) == "The category short code tips the balance: it adds 1.90 to the lead of A, which is 2.00.", text(page, "reason")
    assert page.evaluate("[...document.querySelectorAll('.point h3')].map(h => h.textContent)") == ["Empathy", "Style", "The category short code"]
    assert page.evaluate("[...document.querySelectorAll('.adds')].map(a => a.textContent)").pop(-2) == "adds +1.90"
    assert page.evaluate("document.querySelectorAll('.bar').length") == 4  # the category has none
    assert said() == "A is furthest ahead in empathy (+1.00 standard deviations).", text(page, "reason")
    away = {"category": "chat", "confidence": 0.4, "distance": 1.5, "fallback": True}
    assert said(points=[{}, {}], route=away, scored_by="single").startswith("The single model for all categories scored"), text(page, "reason")
    assert "distance 1.50" in text(page, "route") and page.evaluate("document.getElementById('meter').hidden"), text(page, "route")


def check_question(page):
    """The judge is asked about what was scored: with the system message, and with the texts that were sent, not those that stand in the boxes by now."""
    page.evaluate("document.getElementById('system').value = 'Be brief and kind.'; document.getElementById('prompt').value = 'The first prompt'")
    page.evaluate("window.plain_fetch = window.fetch; window.fetch = (path, o) => { document.getElementById('prompt').value = 'An edited prompt';"
                  " document.getElementById('system').value = ''; return plain_fetch(path, o); }")
    page.evaluate("window.last_before = last")
    page.press("Enter", control=True)
    page.wait("last !== last_before && !document.getElementById('go').disabled")
    page.evaluate("window.fetch = window.plain_fetch")
    question = page.evaluate("document.getElementById('question').value")
    assert "System message:\nBe brief and kind.\n\nPrompt:\nThe first prompt\n" in question and "edited" not in question, question
    page.evaluate("document.getElementById('model').dispatchEvent(new Event('change'))")
    assert page.evaluate("document.getElementById('result').hidden && !document.getElementById('empty').hidden"), "a result beside another model's name"
    page.press("Enter", control=True)
    page.wait("!document.getElementById('result').hidden && !document.getElementById('go').disabled")


def check_numbers(page):
    shown = page.evaluate("[signed(-0.004), signed(-0.006), signed(0), plain(-0.0004), plain(-0.0006), plain(0.5)]")
    assert shown == ["+0.00", "\u22120.01", "+0.00", "0.000", "\u22120.001", "0.500"], shown


def check_refusals(page):
    page.evaluate("document.getElementById('prompt').value = '\\u200b'")
    page.press("Enter", control=True)
    page.wait("!document.getElementById('error').hidden")
    assert "[" in text(page, "error"), text(page, "error")
    assert page.evaluate("document.getElementById('result').hidden"), "an earlier result stands beside the error"


def check_markup_stays_text(page):
    page.evaluate("document.getElementById('prompt').value = 'Hi'; boxes()[0].value = '<img src=x onerror=window.hurt=1><b>bold</b>'")
    page.press("Enter", control=True)
    page.wait("document.getElementById('error').hidden && !document.getElementById('go').disabled")
    assert page.evaluate("window.hurt === undefined && !document.querySelector('#result b b, #result img')")


def check_other_origins(program, bundle):
    """A page of another origin gets scores where --cors names the origin, and else learns nothing."""
    class Blank(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Blank)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{pages.server_port}"
    body = json.dumps(json.dumps({"prompt": PROMPT, "responses": RESPONSES}))
    try:
        for options in (["--cors", origin], ["--cors", "http://127.0.0.1:1"]):
            with RewardServer(program, ["earlier=" + bundle], *options, env={"DMOERM_API_KEY": "secret"}) as server, chromium.Chromium() as browser:
                page = browser.page(800, 600)
                page.open(origin)
                said = page.evaluate(f"fetch('http://127.0.0.1:{server.port}/v1/reward', {{method: 'POST', body: {body}, headers: {{Authorization: 'Bearer secret', "
                                     "'Content-Type': 'application/json'}}).then(r => r.json()).then(r => r.scores.length).catch(e => e.name)")
                assert said == (2 if origin in options else "TypeError"), (options, said)
    finally:
        pages.shutdown()
        pages.server_close()


def main():
    program, folder = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    if not chromium.PROGRAM:
        print("skipped: no chromium: launch/setup.sh --with clients")
        return 77
    bundle = os.path.join(ROOT, "tests/golden/earlier/bundle")
    scores = offline_scores(program, bundle, [{"prompt": PROMPT, "responses": RESPONSES}])[0]["scores"]
    with RewardServer(program, ["earlier=" + bundle]) as server, chromium.Chromium() as browser:
        for width in (1280, 390):
            for dark in (False, True):
                page = browser.page(width, 900, dark)
                page.open(f"http://127.0.0.1:{server.port}/")
                check_score(page, scores)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than its window"
                if folder:
                    page.screenshot(os.path.join(folder, f"page-{width}-{'dark' if dark else 'light'}.png"))
                assert page.complaints() == [], page.complaints()
        check_category(page)
        check_reasons(page)
        check_question(page)
        check_numbers(page)
        check_refusals(page)
        check_markup_stays_text(page)
    with RewardServer(program, ["earlier=" + bundle], env={"DMOERM_API_KEY": "secret-key-of-tests"}) as server, chromium.Chromium() as browser:
        page = browser.page(1280, 900)
        page.open(f"http://127.0.0.1:{server.port}/")
        page.evaluate(f"document.getElementById('prompt').value = {json.dumps(PROMPT)}; boxes().forEach(b => b.value = 'A word.')")
        page.press("Enter", control=True)
        page.wait("!document.getElementById('error').hidden")
        assert page.evaluate("!document.getElementById('key-row').hidden && document.activeElement.id") == "key"
        page.type("secret-key-of-tests")
        page.press("Enter", control=True)
        page.wait("!document.getElementById('result').hidden")
        assert text(page, "verdict") == "Responses A and B score the same.", text(page, "verdict")
    check_other_origins(program, bundle)
    print("the page holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
