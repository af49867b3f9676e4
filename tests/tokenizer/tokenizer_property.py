#!/usr/bin/env python3
"""Compares the ids of `dmoerm inspect tokens` with those of the `tokenizers` package on random Unicode strings.

    tokenizer_property.py --binary build/dmoerm [--strings 20000] [--seed 1] [--variants] [--sweep] TOKENIZER...

TOKENIZER is a tokenizer.json or a directory holding one. --variants also takes each tokenizer through other normalizers, pre-tokenizers,
added tokens and model settings. --sweep adds every code point of Unicode between two letters. Exit 0: all equal. Exit 1: a difference; the
smallest string found that shows it is printed. Needs: pip install tokenizers==0.23.3.
"""
import argparse
import copy
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2003\u2007\u200a\u2028\u2029\u202f\u205f\u3000\u180e\u200b\ufeff"
RANGES = [  # first, last of what random characters come from, all about equally often
    (0x20, 0x7E), (0x20, 0x7E), (0x00, 0x1F), (0x7F, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F),
    (0x370, 0x5FF), (0x600, 0x8FF), (0x900, 0xDFF), (0xE00, 0xFFF), (0x1000, 0x10FF), (0x1100, 0x11FF),
    (0x1200, 0x1DFF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x2BFF), (0x2C00, 0x2FFF), (0x3000, 0x30FF),
    (0x3100, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7FF), (0xE000, 0xF8FF), (0xF900, 0xFFFF),
    (0x10000, 0x107FF), (0x10800, 0x10FFF), (0x11000, 0x11FFF), (0x12000, 0x16FFF), (0x17000, 0x1BFFF),
    (0x1C000, 0x1CFFF), (0x1D000, 0x1DFFF), (0x1E000, 0x1EFFF), (0x1F000, 0x1F2FF), (0x1F300, 0x1FAFF),
    (0x1FB00, 0x1FFFF), (0x20000, 0x2FFFF), (0x30000, 0x3FFFF), (0x40000, 0xEFFFF), (0xE0000, 0xE01EF),
    (0xF0000, 0x10FFFF)]
WORDS = ("the of and a to in is you that it he was for on are as with his they I at be this have from or one "
         "had by word but not what all were we when your can said there use an each which she do how their if "
         "will up other about out many then them these so some her would make like him into time has look two "
         "more write go see number no way could people my than first water been call who oil its now find "
         "long down day did get come made may part tokenizer uncharacteristically "
         "antidisestablishmentarianism HTTPServer camelCase snake_case").split()
TAILS = ["'s", "'T", "'re", "'VE", "'m", "'Ll", "'d", "\u2019s", "'\u017f", "''", "'"]
DIGITS = "0123456789\u0660\u0661\u0966\u0e53\u2075\u2164\u2460\u3007\u3024\u0bf0\U0001d7d8\U0001f102\U00010107\uff13\xb2\xbd\u0f33"
MARKS = "\u0301\u0300\u0316\u0327\u0334\u0345\u093c\u094d\u0e38\u3099\u20dd\u0bbe\u09d7\u05b0\u064b\u1dce\u0489\ufe0f\u200d\U0001f3fd\u1161\u11a8"


def random_character(rng):
    while True:
        first, last = rng.choice(RANGES)
        c = rng.randint(first, last)
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


def random_piece(rng, specials):
    kind = rng.randrange(16)
    if kind < 4:
        return rng.choice(["", " ", " ", "  "]) + rng.choice(WORDS) + rng.choice(["", "", "", rng.choice(TAILS), ",", "."])
    if kind == 4:
        return "".join(rng.choice(SPACES) for _ in range(rng.randint(1, 4)))
    if kind == 5:
        return rng.choice(" \n\t\r") * rng.randint(1, 20)
    if kind == 6:
        return "".join(rng.choice(DIGITS) for _ in range(rng.randint(1, 6)))
    if kind == 7:
        return random_character(rng) + "".join(rng.choice(MARKS) for _ in range(rng.randint(1, 4)))
    if kind == 8:
        return rng.choice(["👩\u200d👩\u200d👧", "🇩🇪", "👍🏽", "❤️", "한국어", "ᄒ\u1161ᆫ", "日本語", "ﬁ", "İstanbul", "ΣΊΣΥΦΟΣ", "ǅ", "Åé", "½", "ㇰ"])
    if kind == 9:
        special = rng.choice(specials)
        cut = rng.randrange(4)
        return special[:-1] if cut == 0 else special[1:] if cut == 1 else special
    if kind == 10:
        return rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") * rng.randint(1, 5)
    if kind == 11:
        return rng.choice(["", " "]) + rng.choice(WORDS).capitalize() + rng.choice(MARKS)
    if kind == 12:
        return rng.choice("a\u2581é你#") * rng.randint(1, 70)
    return "".join(random_character(rng) for _ in range(rng.randint(1, 4)))


def random_string(rng, specials):
    return "".join(random_piece(rng, specials) for _ in range(rng.choice([1, 1, 2, 2, 3, 4, 6, 10, 20])))


class Subject:
    """One tokenizer.json and both programs that read it."""

    def __init__(self, name, path, binary):
        self.name, self.path, self.binary = name, path, binary
        self.peer = Tokenizer.from_file(path)
        self.peer.no_truncation()
        self.peer.no_padding()
        self.specials = [t.content for t in self.peer.get_added_tokens_decoder().values()] or ["<none>"]

    def ours(self, texts, special, add_special):
        command = [self.binary, "inspect", "tokens", "--model", self.path]
        command += ["--special"] * special + ["--add-special"] * add_special
        done = subprocess.run(command, input="".join(json.dumps(t) + "\n" for t in texts), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{self.name}: {' '.join(command)} ended with {done.returncode}: {done.stderr}")
        lines = done.stdout.splitlines()
        if len(lines) != len(texts):
            sys.exit(f"{self.name}: {len(texts)} lines in, {len(lines)} out")
        return [json.loads(line) for line in lines]

    def theirs(self, texts, special, add_special):
        self.peer.encode_special_tokens = not special
        return [self.peer.encode(t, add_special_tokens=add_special).ids for t in texts]

    def differing(self, texts, mode):
        ours, theirs = self.ours(texts, *mode), self.theirs(texts, *mode)
        return [(t, a, b) for t, a, b in zip(texts, ours, theirs) if a != b]

    def smallest(self, text, mode):
        """Delete stretches of the text, then single characters, for as long as a difference remains."""
        step = max(1, len(text) // 2)
        while True:
            shorter = [text[:i] + text[i + step:] for i in range(0, len(text), step)]
            left = self.differing([s for s in shorter if s], mode)
            if left:
                text = left[0][0]
            elif step == 1:
                return self.differing([text], mode)[0]
            step = max(1, min(step // (1 if left else 2), len(text) // 2))

    def check(self, texts):
        """True if all ids agree, with special tokens parsed and not, with and without those of the post-processor."""
        for mode in [(True, False), (False, False), (True, True)]:
            found = self.differing(texts, mode)
            if found:
                text, a, b = self.smallest(min(found, key=lambda f: len(f[0]))[0], mode)
                print(f"{self.name}: {len(found)} of {len(texts)} strings differ (special={mode[0]}, add_special={mode[1]}). Smallest:\n"
                      f"  text   {json.dumps(text)}\n  ours   {a}\n  theirs {b}")
                return False
        return True


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def byte_level(*before, use_regex=False, add_prefix_space=False):
    last = {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": use_regex}
    return {"type": "Sequence", "pretokenizers": [*before, last]}


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|"
         r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def metaspace(scheme, split=True):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split}


def variants(base):
    """(name, tokenizer.json) of changed tokenizers."""
    def changed(name, **parts):
        doc = copy.deepcopy(base)
        doc.update({k: v for k, v in parts.items() if k in ("normalizer", "pre_tokenizer", "post_processor")})
        vocab = doc["model"]["vocab"]
        free = 1 + max([*vocab.values(), *(t["id"] for t in doc["added_tokens"])])
        for token in parts.get("added", []):
            known = vocab.get(token["content"])
            doc["added_tokens"].append({**token, "id": free if known is None else known})
            free += known is None
        doc["model"].update(parts.get("model", {}))
        return name, doc

    def added(content, **flags):
        token = {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
        return {**token, **flags}

    tokens = [added("time", single_word=True), added("<mask>", lstrip=True, special=True), added("<x>", rstrip=True),
              added("WATER", normalized=True), added("<x><y", normalized=True, lstrip=True, rstrip=True), added("\u00e9", normalized=True),
              added(" who", single_word=True, normalized=True), added("ple", special=True, single_word=True)]
    forms = [{"type": t} for t in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents")]
    replace = {"type": "Replace", "pattern": {"Regex": r"\s{2,}|[\p{Lu}\d]+"}, "content": " x"}
    for form in forms:
        yield changed(form["type"], normalizer=form, added=tokens)
    yield changed("strip", normalizer={"type": "Strip", "strip_left": True, "strip_right": True}, added=tokens)
    yield changed("nfd-accents-lower", normalizer={"type": "Sequence", "normalizers": [forms[1], forms[5], forms[4], replace]}, added=tokens)
    yield changed("bert-cased", added=tokens, normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                                                           "strip_accents": None, "lowercase": False})
    yield changed("bert-accents", normalizer={"type": "BertNormalizer", "clean_text": False, "handle_chinese_chars": False,
                                              "strip_accents": True, "lowercase": False})
    yield changed("roberta", post_processor={"type": "RobertaProcessing", "sep": ["b", 2], "cls": ["a", 1], "trim_offsets": True,
                                             "add_prefix_space": True})
    if base["model"]["type"] == "WordPiece":
        yield changed("whitespace", pre_tokenizer={"type": "Whitespace"})
        yield changed("whitespace-punctuation", pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "Digits", "individual_digits": False}]})
        for behavior in ("Removed", "MergedWithPrevious", "MergedWithNext"):
            yield changed(f"punctuation-{behavior}", pre_tokenizer={"type": "Punctuation", "behavior": behavior})
        return
    if base["model"].get("byte_fallback"):
        for scheme in ("first", "never", "always"):
            for cut in (True, False):
                yield changed(f"metaspace-{scheme}-{cut}", normalizer=None, pre_tokenizer=metaspace(scheme, cut), added=tokens)
        yield changed("no-fallback", model={"byte_fallback": False})
        yield changed("no-fuse", model={"byte_fallback": False, "fuse_unk": False})
        yield changed("ignore-merges", model={"ignore_merges": True}, pre_tokenizer=metaspace("first"), normalizer=None)
        # Without tokens that reach across a space, words are independent: the way Llama 2's and Mistral's vocabularies are.
        name, doc = changed("words")
        vocab, merges = doc["model"]["vocab"], []
        inner = {t for t in vocab if "\u2581" in t.lstrip("\u2581")}
        doc["model"]["vocab"] = {t: i for t, i in vocab.items() if t not in inner}
        doc["model"]["merges"] = [m for m in doc["model"]["merges"] if not inner & {m[0], m[1], m[0] + m[1]}]
        yield name, doc
        return
    yield changed("gpt2", pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, added=tokens)
    yield changed("gpt2-split", pre_tokenizer=byte_level(split({"Regex": GPT2}, "Removed", True)))
    yield changed("gpt2-known", pre_tokenizer=byte_level(split({"Regex": GPT2})))
    yield changed("llama3", pre_tokenizer=byte_level(split({"Regex": LLAMA3})), model={"ignore_merges": True}, added=tokens,
                  post_processor={"type": "Sequence", "processors": [
                      {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
                      {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "a", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                       "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                       "special_tokens": {"a": {"id": "a", "ids": [1, 2], "tokens": ["a", "b"]}}}]})
    yield changed("llama3-pcre", pre_tokenizer=byte_level(split({"Regex": LLAMA3}, "Removed", True)))
    yield changed("o200k", pre_tokenizer=byte_level(split({"Regex": O200K})))
    yield changed("deepseek", pre_tokenizer=byte_level(split({"Regex": r"\p{N}{1,3}"}), split({"Regex": "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"}), split(
        {"Regex": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"})))
    yield changed("words", pre_tokenizer=byte_level(split({"Regex": r"\w+|\d|\p{Han}"}, "MergedWithNext"), split({"String": "e"}, "MergedWithPrevious")))
    yield changed("digits", pre_tokenizer=byte_level({"type": "Digits", "individual_digits": False}, split({"Regex": r"\P{L}"}, "Contiguous"), use_regex=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizers", nargs="+")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--strings", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--sweep", action="store_true")
    args = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    print(f"seed {args.seed}, {args.strings} strings each")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        subjects = []
        for given in args.tokenizers:
            path = os.path.join(given, "tokenizer.json") if os.path.isdir(given) else given
            name = os.path.basename(given.rstrip("/"))
            subjects.append((name, path))
            if args.variants:
                with open(path, encoding="utf-8") as f:
                    base = json.load(f)
                for variant, doc in variants(base):
                    subjects.append((f"{name}/{variant}", os.path.join(folder, f"{len(subjects)}.json")))
                    with open(subjects[-1][1], "w", encoding="utf-8") as f:
                        json.dump(doc, f)
        for name, path in subjects:
            subject = Subject(name, path, args.binary)
            rng = random.Random(f"{args.seed} {name}")
            texts = [random_string(rng, subject.specials) for _ in range(args.strings)]
            if args.sweep:
                texts += [f"a{chr(c)}b {chr(c)} " for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
            equal = subject.check(texts)
            failed += not equal
            print(f"{'equal    ' if equal else 'DIFFERENT'} {name}: {len(texts)} strings, {sum(map(len, texts))} characters", flush=True)
    print(f"{len(subjects) - failed} of {len(subjects)} tokenizers equal")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
