"""The script of docs/data.md that converts trees of messages (OASST) to groups, run as it stands."""
import json
import os
import re
import subprocess
import sys

ROOT = os.environ["DMOERM_ROOT"]


def row(name, parent, role, text, rank=None):
    return {"message_id": name, "parent_id": parent, "role": role, "text": text, "rank": rank, "lang": "en"}


def main():
    text = open(os.path.join(ROOT, "docs", "data.md"), encoding="utf-8").read()
    script = re.search(r"## Trees of messages.*?```python\n(.*?)```", text, re.DOTALL).group(1)
    rows = [row("q", None, "prompter", "Hi"), row("b", "q", "assistant", "Hm.", 1), row("a", "q", "assistant", "Hello.", 0), row("f", "a", "prompter", "And?"),
            row("x", "f", "assistant", "Well.", 0), row("y", "f", "assistant", "So.", 1), row("z", "f", "assistant", "Unranked."), row("o", "y", "prompter", "Bye")]
    done = subprocess.run([sys.executable, "-c", script], input="".join(json.dumps(r) + "\n" for r in rows), capture_output=True, text=True, check=True)
    groups = [json.loads(line) for line in done.stdout.splitlines()]
    found = [([m["role"] + ": " + m["content"] for m in g["prompt"]], {r["text"]: r["overall"] for r in g["responses"]}) for g in groups]
    wanted = [(["user: Hi"], {"Hm.": -1, "Hello.": 0}), (["user: Hi", "assistant: Hello.", "user: And?"], {"Well.": 0, "So.": -1})]
    if found != wanted:
        sys.exit(f"expected {wanted}, found {found}")
    print("trees of messages: all checks passed")


if __name__ == "__main__":
    main()
