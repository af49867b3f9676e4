"""A cheap rival for a finished run: logistic regression on the token counts of the responses, on the same groups, pairs and splits as the run's models.

    bag_of_words.py RUN_DIRECTORY

For every category and label (overall, and each capability point): trained on the train split's ordered pairs, strength of the L2 penalty chosen on the validation
pairs, share of test pairs ordered rightly, with a 95 % bootstrap interval over groups. Reads the token store with h5py. Needs numpy and PyYAML.
"""
import json
import os
import sys

import h5py
import numpy as np
import yaml

SPLITS = {0: "train", 1: "validation", 2: "test"}
PENALTIES = [0.1, 1.0, 10.0, 100.0]


class Store:
    def __init__(self, path):
        f = h5py.File(path, "r")
        names = json.loads(f["attributes"][()])["names"]
        self.categories, self.labels = names["categories"], names["labels"]
        g = {k: f["groups"][k][:] for k in ("prefix_length", "response_count", "prompt_extra", "category", "split")}
        self.category, self.split = g["category"], g["split"]
        lengths, tokens = f["responses"]["length"][:], f["tokens"][:]
        self.first = np.concatenate([[0], np.cumsum(g["response_count"])])
        self.group_of = np.repeat(np.arange(len(self.split)), g["response_count"])
        self.tokens, at = [], 0
        for i in range(len(self.split)):
            at += g["prefix_length"][i]
            for r in range(self.first[i], self.first[i + 1]):
                self.tokens.append(tokens[at:at + lengths[r]])
                at += lengths[r]
            at += g["prompt_extra"][i]
        self.overall = f["responses"]["overall"][:]
        self.scores = {k: f["scores"][k][:] for k in ("response", "label", "value")}
        self.stated = {k: f["pairs"][k][:] for k in ("group", "label", "winner", "loser")}

    def pairs(self, category, label, margin):
        """(group, better response, worse response) of every ordered pair, numbered over the whole store."""
        index = self.labels.index("overall" if label == "overall" else f"{self.categories[category]}/{label}")
        value = self.overall.copy() if label == "overall" else np.full(len(self.tokens), np.nan)
        own = self.scores["label"] == index
        value[self.scores["response"][own]] = self.scores["value"][own]
        found = set()
        for g in np.flatnonzero(self.category == category):
            members = [r for r in range(self.first[g], self.first[g + 1]) if not np.isnan(value[r])]
            found |= {(g, a, b) for a in members for b in members if (value[a] - value[b] >= margin - 1e-9 if margin > 0 else value[a] > value[b])}
        for g, lab, w, l in zip(*(self.stated[k] for k in ("group", "label", "winner", "loser"))):
            if lab == index and self.category[g] == category:
                found.add((g, self.first[g] + w, self.first[g] + l))
        return sorted(found)


def counts(store, responses):
    """log(1 + count) of each token that at least three of these responses hold, and the length."""
    seen = {}
    for r in responses:
        for t in set(store.tokens[r].tolist()):
            seen[t] = seen.get(t, 0) + 1
    place = {t: i for i, t in enumerate(sorted(t for t, n in seen.items() if n >= 3))}

    def row(r):
        x = np.zeros(len(place) + 1)
        for t, n in zip(*np.unique(store.tokens[r], return_counts=True)):
            if t in place:
                x[place[t]] = np.log1p(n)
        x[-1] = np.log(len(store.tokens[r]))
        return x
    return row


def fit(x, penalty):
    """Weights of a logistic regression on differences (all of which should be positive), by Newton steps in the space of the pairs."""
    gram, alpha = x @ x.T / penalty, np.zeros(len(x))
    for _ in range(30):
        p = 1 / (1 + np.exp(np.clip(gram @ alpha, -30, 30)))
        step = np.linalg.solve(np.eye(len(x)) + (p * (1 - p))[:, None] * gram, p - alpha)
        alpha += step
        if np.abs(step).max() < 1e-6:
            break
    return x.T @ alpha / penalty


def main():
    directory = sys.argv[1]
    store = Store(os.path.join(directory, "ingest", "store.h5"))
    with open(os.path.join(directory, "config.yaml"), encoding="utf-8") as f:
        config = yaml.safe_load(f)
    rng = np.random.default_rng(0)
    print("| category | label | test pairs | bag of words |\n|---|---|---|---|")
    for c in config["categories"]:
        category = store.categories.index(c["name"])
        for label in ["overall", *c["points"]]:
            pairs = store.pairs(category, label, c["clear_margin"])
            parts = {name: [p for p in pairs if SPLITS[store.split[p[0]]] == name] for name in SPLITS.values()}
            row = counts(store, {r for _, a, b in parts["train"] for r in (a, b)})
            rows = {r: row(r) for _, a, b in pairs for r in (a, b)}
            x = {name: np.array([rows[a] - rows[b] for _, a, b in part]) for name, part in parts.items()}
            best = max((float(np.mean(x["validation"] @ w > 0)), -k, w) for k, w in enumerate(fit(x["train"], p) for p in PENALTIES))[2] if len(x["validation"]) else fit(x["train"], 1.0)
            right = x["test"] @ best > 0
            groups = np.array([g for g, _, _ in parts["test"]])
            names = np.unique(groups)
            per = np.array([[right[groups == g].sum(), (groups == g).sum()] for g in names])
            draws = per[rng.integers(0, len(names), (2000, len(names)))].sum(1)
            low, high = np.percentile(draws[:, 0] / draws[:, 1], [2.5, 97.5])
            print(f"| {c['name']} | {label} | {len(right)} | {right.mean():.3f} [{low:.3f}, {high:.3f}] |", flush=True)


if __name__ == "__main__":
    main()
