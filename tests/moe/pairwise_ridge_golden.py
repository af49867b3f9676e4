#!/usr/bin/env python3
"""Prints the figures that pairwise_ridge_test.cpp compares with, worked out by scipy's general minimisers (numpy and scipy needed)."""
import math

import numpy as np
from scipy.optimize import minimize

GROUPS, RESPONSES = 12, 3
PAIRS = [(0, 1), (2, 0), (1, 2)]


def problem(features):
    """Differences, margins, targets, weights and prompts of the test's groups; group g has 1 + g mod 3 pairs."""
    x = np.array([[math.sin(1.3 * n + 2.7 * f + 0.1 * n * f) for f in range(features)] for n in range(GROUPS * RESPONSES)])
    rows = []
    for g in range(GROUPS):
        count = 1 + g % 3
        for i, (w, l) in enumerate(PAIRS[:count]):
            rows.append((x[3 * g + w] - x[3 * g + l], 0.1 * i, 1.0 if g % 4 else 0.8, 1 / count, g // 2))
    return [np.array(column) for column in zip(*rows)]


def fit(features, strength, towards, shape, floor=0.0, without=None):
    d, margin, target, weight, prompt = problem(features)
    keep = np.ones(len(d), bool) if without is None else prompt != without
    d, margin, target, weight = d[keep], margin[keep], target[keep], weight[keep]

    def loss(w):
        gap, v = d @ w - margin, w - towards
        value = weight @ (target * np.logaddexp(0, -gap) + (1 - target) * np.logaddexp(0, gap))
        slope = weight * (1 / (1 + np.exp(-gap)) - target)
        return value + strength / 2 * v @ shape @ v + floor / 2 * v @ v, d.T @ slope + strength * shape @ v + floor * v

    found = minimize(loss, np.array(towards, float), jac=True, method="BFGS", options={"gtol": 1e-13, "maxiter": 10000})
    return found.x


def text(values):
    return ", ".join(f"{v:.10f}" for v in values)


zero, one = np.zeros(4), np.eye(4)
print("plain:", text(fit(4, 0.5, zero, one)))
towards = np.array([0.25, 0.25, 0.25, 0.25])
print("diagonal towards a quarter:", text(fit(4, 2.0, towards, np.diag([1, 2, 0.5, 4]))))
u = np.ones(4) / 2
print("matrix that leaves a direction free:", text(fit(4, 3.0, towards, one - np.outer(u, u), floor=0.01)))
wide = fit(40, 0.3, np.full(40, 0.1), np.diag(1 + np.arange(40) % 3))
print("wide, some weights:", text(wide[[0, 1, 7, 39]]), "sum", f"{wide.sum():.10f}")
d, margin, target, weight, prompt = problem(4)
gaps = [(d[i] @ fit(4, 0.5, zero, one, without=prompt[i]) - margin[i]) for i in range(len(d))]
print("gaps without the own prompt:", text(gaps[:4]))
for strength in (0.1, 1.0, 10.0, 100.0):
    g = np.array([(d[i] @ fit(4, strength, zero, one, without=prompt[i]) - margin[i]) for i in range(len(d))])
    held = weight @ (target * np.logaddexp(0, -g) + (1 - target) * np.logaddexp(0, g)) / weight.sum()
    print("held-out loss at", strength, f"{held:.10f}")
