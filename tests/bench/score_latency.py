"""score-latency: the time of scoring one response (a prompt of 200 tokens and 60 of its own) with six experts, router and aggregator, beside transformers and PEFT.

    score_latency.py [--part all|top] [--top-layers 6] [--weights float32|int8] [--rounds 9] [--threads 2]

Like score-best-of in everything else. Ends with one JSON line; `ratio` is how many times faster ours is.
"""
from score_bench import measure, parse

if __name__ == "__main__":
    measure("score-latency", parse(__doc__, responses=1, prompt_words=194, response_words=59, rounds=9))
