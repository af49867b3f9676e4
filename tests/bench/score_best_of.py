"""score-best-of: the time of scoring 16 responses to one prompt with six experts, router and aggregator, beside transformers and PEFT.

    score_best_of.py [--part all|top] [--top-layers 6] [--weights float32|int8] [--responses 16] [--rounds 3] [--threads 2]

A prompt of 430 words and responses of 60, about as in summarization, on a bundle of SmolLM2 with made-up adapters in all layers or in the top ones. Ours is a request to `dmoerm serve`, tokenizing included;
the peer (support/peer_scorer.py) gets token ids. They run in turns; seconds, medians; the scores must agree within 1e-3. With `--weights int8` ours with int8 weights and ours with float32 run in turns, without the peer. Needs transformers and peft (launch/setup.sh --with tests). Ends with one JSON line; `ratio` is how many times faster ours is.
"""
from score_bench import measure, parse

if __name__ == "__main__":
    measure("score-best-of", parse(__doc__, responses=16, prompt_words=430, response_words=60))
