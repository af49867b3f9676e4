"""Groups of token ids of the usual lengths, for benchmarks that need no texts: what a step costs depends on lengths alone."""
import math
import random


def length(draw, median, sigma, low, high):
    return int(min(max(draw.lognormvariate(math.log(median), sigma), low), high))


def pairs_like_hh(count, vocabulary, seed=1):
    """Pairs with lengths as in HH: prompts of about 90 tokens, responses of about 60."""
    draw = random.Random(seed)
    return [group(draw, vocabulary, length(draw, 70, 0.8, 10, 400), [length(draw, 50, 0.7, 5, 250) for _ in range(2)]) for _ in range(count)]


def unshared_pairs(count, vocabulary, seed=1):
    """Pairs of whole texts that share nothing, of about 215 tokens."""
    draw = random.Random(seed)
    return [group(draw, vocabulary, 0, [length(draw, 215, 0.6, 20, 512) for _ in range(2)]) for _ in range(count)]


def group_of_lengths(count, vocabulary, prefix, responses, seed=1):
    """Groups that all have these lengths."""
    draw = random.Random(seed)
    return [group(draw, vocabulary, prefix, responses) for _ in range(count)]


def group(draw, vocabulary, prefix, responses):
    """A group in the layout of bench_train_step, whose labelled pairs are those of neighbours."""
    ids = lambda n: [draw.randrange(1000, vocabulary - 1) for _ in range(n)]  # noqa: E731
    return {"prefix": ids(prefix), "responses": [ids(n) for n in responses], "pairs": [[i, i + 1] for i in range(len(responses) - 1)]}
