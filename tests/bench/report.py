"""report: size of the page of a made-up run with 27 experts, the time to write it, and the time that Chromium needs to draw it.

Drawing ends with the load event or the first paint, whichever is later, counted from the start of the navigation; the median of some tries.
With --shots DIR it leaves pictures of the page at 1280 and 390 pixels, light and dark. Ends with one JSON line; draw_s is null without Chromium.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, "report"), os.path.join(TESTS, "support")]
import chromium  # noqa: E402
from fabricated_run import fabricate  # noqa: E402

DRAWN = """new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(Math.max(
  performance.getEntriesByType("navigation")[0].loadEventEnd, ...performance.getEntriesByType("paint").map(p => p.startTime))))))"""


def seconds_to_draw(browser, path, tries):
    taken = []
    for _ in range(tries):
        page = browser.page(1280, 900)
        page.open(f"file://{path}")
        taken.append(page.evaluate(DRAWN) / 1000)
    return round(statistics.median(taken), 3)


def take_shots(browser, path, folder):
    os.makedirs(folder, exist_ok=True)
    for width in (1280, 390):
        for dark in (False, True):
            page = browser.page(width, 900, dark=dark)
            page.open(f"file://{path}")
            page.screenshot(os.path.join(folder, f"report-{width}-{'dark' if dark else 'light'}.png"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--categories", type=int, default=9)
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--groups", type=int, default=200, help="test groups of each category")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--shots", help="folder for pictures")
    parser.add_argument("--page", help="measure this page instead")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path, write_s, draw_s = os.path.abspath(a.page) if a.page else None, None, None
        if path is None:
            run, path = os.path.join(scratch, "many-experts"), os.path.join(scratch, "page.html")
            fabricate(run, categories=a.categories, points=a.points, groups=a.groups, steps=a.steps)
            begun = time.monotonic()
            subprocess.run([os.path.join(os.environ["DMOERM_BUILD"], "dmoerm"), "report", run, "--out", path], check=True, stdout=subprocess.DEVNULL)
            write_s = round(time.monotonic() - begun, 2)
        if chromium.PROGRAM:
            with chromium.Chromium() as browser:
                draw_s = seconds_to_draw(browser, path, a.tries)
                if a.shots:
                    take_shots(browser, path, a.shots)
        print(json.dumps({"experts": a.categories * a.points, "bytes": os.path.getsize(path), "write_s": write_s, "draw_s": draw_s}))


if __name__ == "__main__":
    main()
