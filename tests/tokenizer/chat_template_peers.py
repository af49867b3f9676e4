#!/usr/bin/env python3
"""Pins chat templates of many kinds with launch/pin_chat_template.py and compares what the program renders with what Jinja renders.

    chat_template_peers.py --binary build/dmoerm [--conversations 1000] [--seed 7] [--model DIR]...

Each template writes what templates of well-known model families write, in few lines. Compared are the texts, and with special tokens parsed
the ids with those that the `tokenizers` package finds in Jinja's text. Templates that the pinned form cannot express must be refused with the
conversation that shows it. --model also pins and compares the template of a model's directory, with its own tokenizer. Exit 0: all as they
should be. Needs: jinja2, tokenizers.
"""
import argparse
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "launch", "pin_chat_template.py")
specification = importlib.util.spec_from_file_location("pin_chat_template", SCRIPT)
pin = importlib.util.module_from_spec(specification)
specification.loader.exec_module(pin)

S, E = {"bos_token": "<s>", "eos_token": "</s>"}, {"eos_token": "<|end|>"}
CHATML = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
GENERATE = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
# name: (template, tokens of tokenizer_config.json, special tokens)
PINNED = {
    "chatml": (CHATML + GENERATE, {}, ["<|im_start|>", "<|im_end|>"]),
    "default-system": (
        "{% if messages[0].role != 'system' %}<|im_start|>system\nBe of help.<|im_end|>\n{% endif %}" + CHATML + GENERATE,
        {"bos_token": "<|im_start|>"}, ["<|im_start|>", "<|im_end|>"]),
    "headers-trimmed-behind-bos": (  # as Llama 3
        "{% for m in messages %}{% set text = '<h>' + m['role'] + '</h>\n\n' + m['content'] | trim + '<eot>' %}"
        "{% if loop.first %}{% set text = bos_token + text %}{% endif %}{{ text }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<h>assistant</h>\n\n' }}{% endif %}", S, ["<s>", "<h>", "</h>", "<eot>"]),
    "dated-unless-told": (  # as Llama 3.2: a system block always, with a date that is fixed where no clock is given
        "{{- bos_token }}\n{%- if strftime_now is defined %}{% set date = strftime_now('%d %b %Y') %}{% else %}{% set date = '26 Jul 2024' %}{% endif %}"
        "{%- if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] | trim %}{% set messages = messages[1:] %}"
        "{% else %}{% set system = '' %}{% endif %}{{- '<h>system</h>\n\nToday: ' + date + '\n\n' + system + '<eot>' }}"
        "{% for m in messages %}{{- '<h>' + m['role'] + '</h>\n\n' + m['content'] | trim + '<eot>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{- '<h>assistant</h>\n\n' }}{% endif %}", S, ["<s>", "<h>", "</h>", "<eot>"]),
    "system-inside-the-first-turn": (  # as Llama 2
        "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}"
        "{% else %}{% set rest = messages %}{% set system = false %}{% endif %}{% for m in rest %}"
        "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
        "{% if loop.first and system is not false %}{% set text = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + m['content'] %}"
        "{% else %}{% set text = m['content'] %}{% endif %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}{% endfor %}", S, ["<s>", "</s>"]),
    "no-system": (  # as the first Mistral
        "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('no') }}{% endif %}"
        "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}",
        S, ["<s>", "</s>"]),
    "other-role-names": (  # as Gemma
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('no') }}{% endif %}"
        "{% set role = 'model' if m.role == 'assistant' else m.role %}{{ '<turn>' + role + '\n' + m.content | trim + '</turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}", {"bos_token": "<bos>"}, ["<bos>", "<turn>", "</turn>"]),
    "line-ends-of-the-template": (  # as Zephyr
        "{% for m in messages %}\n{% if m['role'] == 'user' %}\n{{ '<|user|>\n' + m['content'] + eos_token }}\n"
        "{% elif m['role'] == 'system' %}\n{{ '<|system|>\n' + m['content'] + eos_token }}\n"
        "{% elif m['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + m['content'] + eos_token }}\n{% endif %}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}", S, ["<s>", "</s>"]),
    "end-behind-the-last-turn": (  # as Phi 3, whose tokens take the line end behind them
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ '<eos>' }}{% endif %}", E,
        [{"content": "<|end|>", "rstrip": True}, {"content": "<|user|>", "rstrip": True}, {"content": "<|assistant|>", "rstrip": True},
         {"content": "<|system|>", "lstrip": True}, "<eos>"]),
    "between-turns": (  # as Falcon
        "{% for m in messages %}{% if not loop.first %}{{ '\n\n' }}{% endif %}{{ m.role.title() + ': ' + m.content.strip() }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '\n\nAssistant:' }}{% endif %}", {}, []),
    "one-text-of-neighbours": (  # turns of one role are joined
        "{% for m in messages %}{% if loop.first or messages[loop.index0 - 1].role != m.role %}{{ '<' + m.role + '>' }}{% else %}{{ '\n' }}{% endif %}"
        "{{ m.content }}{% if loop.last or loop.nextitem.role != m.role %}{{ '<end>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}", {}, ["<end>"]),
    "thoughts-of-the-last-answer": (  # as Qwen 3
        "{%- set ns = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}"
        "{%- for m in messages %}{%- set text = m.content %}{%- set thought = '' %}"
        "{%- if m.role == 'assistant' %}{%- if '</think>' in text %}{%- set thought = text.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
        "{%- set text = text.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
        "{%- if loop.index0 > ns.last and (loop.last or thought) %}{{- '<|im_start|>assistant\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + text.lstrip('\n') }}"
        "{%- else %}{{- '<|im_start|>assistant\n' + text }}{%- endif %}{{- '<|im_end|>\n' }}"
        "{%- else %}{{- '<|im_start|>' + m.role + '\n' + text + '<|im_end|>\n' }}{%- endif %}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}", {}, ["<|im_start|>", "<|im_end|>"]),
    "systems-first": (  # as the distilled DeepSeek models: without thoughts, system messages all at the front
        "{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = m.content %}{% endif %}{% endfor %}"
        "{{ bos_token }}{{ ns.system }}{% for m in messages %}{% if m.role == 'user' %}{{ '<User>' + m.content }}"
        "{% elif m.role == 'assistant' %}{{ '<Assistant>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<Assistant><think>\n' }}{% endif %}", S, ["<s>", "</s>", "<User>", "<Assistant>"]),
    "trained-marks": (
        "{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}{{ '<' + m.role + '>' }}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content.rstrip() + eos_token }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}", S, ["<s>", "</s>"]),
}
# name: (template, words of the refusal)
TURNS = "{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% endfor %}"
REFUSED = {
    "today": ("Today is {{ strftime_now('%d %B %Y') }}." + TURNS, "the template fails: 'strftime_now' is undefined"),
    "numbered": ("{% for m in messages %}{{ '[' ~ loop.index ~ ']' + m.role + m.content }}{% endfor %}", "in another conversation"),
    "shortened": ("{% for m in messages %}{{ m.role + m.content[:40] }}{% endfor %}", "conversations were equal before"),
    "last-of-neighbours": (
        "{% for m in messages %}{% if loop.last or loop.nextitem.role != m.role %}{{ '<' + m.role + '>' + m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}", "leaves out the content of message 1"),
    "upper-case": ("{% for m in messages %}{{ m.role + (m.content | upper) }}{% endfor %}", "leaves out"),
    "one-line": (
        "{% for m in messages %}{{ '<' + m.role + '>' + m.content.replace('\n', ' ') }}{% endfor %}", "changes the content at"),
    "words-that-count": (
        "{% for m in messages %}{{ '<' + m.role + ('!' if 'your' in m.content else '') + '>' + m.content }}{% endfor %}", "conversations were equal before"),
    "system-in-the-last-turn": (  # as later Mistral models; with --fold-system it is pinned
        "{% set system = messages[0].content if messages[0].role == 'system' else none %}{% set rest = messages[1:] if system is not none else messages %}"
        "{% for m in rest %}{% if m.role == 'user' %}[INST]{% if loop.last and system is not none %}{{ system + '\n\n' }}{% endif %}{{ m.content }}[/INST]"
        "{% else %}{{ m.content + '</s>' }}{% endif %}{% endfor %}", "With --fold-system"),
    "stripped-where-long": (
        "{% for m in messages %}{{ '<' + m.role + '>' + (m.content | trim if loop.length > 3 else m.content) }}{% endfor %}", "conversations were equal before"),
    "broken": ("{% for m in messages %}", "line 1 of the template"),
}


def byte_letters():
    """The 256 characters that stand for bytes in a byte-level vocabulary."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(b) if b in kept else chr(next(spare)) for b in range(256)]


def write_model(folder, template, tokens, special):
    """A model's directory: a vocabulary of bytes and the special tokens."""
    os.makedirs(folder)
    added = []
    for token in special:
        token = {"content": token} if isinstance(token, str) else token
        added.append({"id": 256 + len(added), "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **token})
    document = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None, "post_processor": None, "decoder": None,
                "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                          "fuse_unk": False, "byte_fallback": False, "vocab": {c: i for i, c in enumerate(byte_letters())}, "merges": []}}
    for name, content in (("tokenizer.json", document), ("tokenizer_config.json", {"chat_template": template, **tokens})):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            json.dump(content, file)


def run_script(model, out, *options):
    done = subprocess.run([sys.executable, SCRIPT, model, "--out", out, "--conversations", "200", *options], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def render(binary, model, form, conversations, *options):
    command = [binary, "inspect", "tokens", "--model", model, "--template", form, *options]
    lines = [json.dumps({"prompt": [{"role": r, "content": c} for r, c in prompt], **({} if response is None else {"response": response})})
             for prompt, response in conversations]
    done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def compare(name, binary, folder, form_file, count, seed):
    """Whether program and Jinja agree on `count` conversations; says so."""
    model = pin.Model(folder)
    with open(form_file, encoding="utf-8") as file:
        form = json.load(file)["form"]
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    rng, literals = random.Random(f"{seed} {name}"), pin.literals_of(model)
    conversations, texts, refused = [], [], 0
    while len(texts) < 2 * count:
        prompt, response = pin.random_conversation(rng, literals)
        if not pin.covers(form, prompt):
            continue
        try:
            texts += [model.render(prompt), model.render(prompt, response)]
            conversations += [(prompt, None), (prompt, response)]
        except pin.Refused:
            refused += 1
    for what, options, wanted in (
            ("text", ["--text"], texts), ("ids", ["--special"], [tokenizer.encode(text, add_special_tokens=False).ids for text in texts])):
        found = render(binary, folder, form_file, conversations, *options)
        if len(found) != len(wanted):
            sys.exit(f"{name}: {len(wanted)} conversations in, {len(found)} out")
        wrong = [(c, a, b) for c, a, b in zip(conversations, found, wanted) if a != b]
        if wrong:
            (prompt, response), ours, theirs = min(wrong, key=lambda w: len(str(w[0])))
            print(f"DIFFERENT {name}: {what} of {len(wrong)} of {len(wanted)} conversations. One of the shortest:\n{pin.shown(prompt, response)}\n"
                  f"  ours   {json.dumps(ours)}\n  theirs {json.dumps(theirs)}")
            return False
    print(f"equal     {name}: {count} conversations, {sum(map(len, texts))} characters"
          + (f"; {refused} more refused by the template" if refused else ""), flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--conversations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--only", help="the one template to look at")
    args = parser.parse_args()
    wrong = []
    with tempfile.TemporaryDirectory() as top:
        models = {os.path.basename(m.rstrip("/")): (m, []) for m in args.model if os.path.exists(os.path.join(m, "tokenizer_config.json"))}
        for name, (template, tokens, special) in PINNED.items():
            models[name] = (os.path.join(top, name), [])
            write_model(models[name][0], template, tokens, special)
        models["system-in-the-last-turn-folded"] = (os.path.join(top, "folded"), ["--fold-system"])
        write_model(os.path.join(top, "folded"), REFUSED["system-in-the-last-turn"][0], S, ["<s>", "</s>"])
        for name, (folder, options) in models.items():
            if args.only not in (None, name):
                continue
            form = os.path.join(top, f"{name}.json")
            code, said = run_script(folder, form, *options)
            if code != 0:
                print(f"REFUSED   {name}: {said}")
            if code != 0 or not compare(name, args.binary, folder, form, args.conversations, args.seed):
                wrong.append(name)
        for name, (template, words) in REFUSED.items():
            if args.only not in (None, name):
                continue
            folder, form = os.path.join(top, "refused-" + name), os.path.join(top, f"{name}.json")
            write_model(folder, template, S, ["<s>", "</s>"])
            code, said = run_script(folder, form)
            held = code == 2 and words in said and not os.path.exists(form)
            print(f"{'refused   ' if held else 'NOT REFUSED '}{name}" + ("" if held else f": code {code}, expected \"{words}\" in: {said}"), flush=True)
            if not held:
                wrong.append(name)
    print("all as they should be" if not wrong else f"wrong: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
