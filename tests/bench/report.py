"""report: size of the page of a made-up run with 27 experts, the time to write it, and the time that Chromium needs to draw it.

Drawing ends with the second frame after the load event, counted from the start of the navigation; the median of some tries. Ends with one JSON line;
draw_s is null without Chromium.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "report"))
from fabricated_run import fabricate  # noqa: E402

TIMER = "<script>addEventListener('load', () => requestAnimationFrame(() => requestAnimationFrame(() => console.log('drawn ' + performance.now()))));</script>"


def seconds_to_draw(browser, page, scratch, width):
    timed = os.path.join(scratch, "timed.html")
    with open(page, encoding="utf-8") as f, open(timed, "w", encoding="utf-8") as g:
        g.write(f.read().replace("</main>", "</main>" + TIMER, 1))
    done = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={scratch}/profile",
                           f"--window-size={width},900", f"--screenshot={scratch}/shot.png", f"file://{timed}"],
                          capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r"drawn ([0-9.]+)", done.stderr)
    return float(found.group(1)) / 1000 if found else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--categories", type=int, default=9)
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--groups", type=int, default=200, help="test groups of each category")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--page", help="measure this page instead")
    a = parser.parse_args()
    browser = next((b for b in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if b), None)
    with tempfile.TemporaryDirectory() as scratch:
        page, write_s = a.page, None
        if page is None:
            run, page = os.path.join(scratch, "many-experts"), os.path.join(scratch, "page.html")
            fabricate(run, categories=a.categories, points=a.points, groups=a.groups, steps=a.steps)
            begun = time.monotonic()
            subprocess.run([os.path.join(os.environ["DMOERM_BUILD"], "dmoerm"), "report", run, "--out", page], check=True, stdout=subprocess.DEVNULL)
            write_s = round(time.monotonic() - begun, 2)
        tries = [seconds_to_draw(browser, page, scratch, a.width) for _ in range(a.tries)] if browser else []
        drawn = [t for t in tries if t is not None]
        print(json.dumps({"experts": a.categories * a.points, "bytes": os.path.getsize(page), "write_s": write_s,
                          "draw_s": round(statistics.median(drawn), 3) if drawn else None, "tries": len(drawn)}))


if __name__ == "__main__":
    main()
