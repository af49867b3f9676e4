#!/usr/bin/env python3
"""Pins the chat template of a Hugging Face model for dmoerm.

    source launch/env.sh; "$DMOERM_PYTHON" launch/pin_chat_template.py MODEL_DIR [--out FILE.json]

Reads the model's Jinja template, finds out what it writes between the contents of a conversation, and proves on random conversations that
the form written to FILE renders the same texts as Jinja does. Set backbone.chat_template to FILE then. A template that the form cannot express
is refused, with the first conversation that differs. Needs jinja2, which comes with torch. docs/chat_templates.md says more.
"""
import argparse
import hashlib
import itertools
import json
import os
import random
import re
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

SCHEMA = 1
ROLES = ("system", "user", "assistant")
NEEDED = ("start>user", "user>assistant", "assistant>user", "user>generation", "user>response", "response>end")
TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Unpinnable(Exception):
    """The form cannot express this template."""


class Refused(Exception):
    """The template raised an error for a conversation."""


# --- The model's template, rendered as transformers does ---
class Generation(jinja2.ext.Extension):
    """{% generation %} ... {% endgeneration %}: marks what the assistant said, and writes its body."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Unpinnable(f"{path}: not valid JSON: {error}") from None


def text_of(token):
    return token.get("content") if isinstance(token, dict) else token


class Model:
    """The chat template and the special tokens in a model's directory."""

    def __init__(self, folder, name="default"):
        config = read_json(os.path.join(folder, "tokenizer_config.json"))
        self.file, self.source = self.find(folder, config, name)
        named = {**read_json(os.path.join(folder, "special_tokens_map.json")), **{k: v for k, v in config.items() if v is not None}}
        self.tokens = {key: text_of(named[key]) for key in TOKENS if isinstance(text_of(named.get(key)), str)}
        added = read_json(os.path.join(folder, "tokenizer.json")).get("added_tokens")
        if added is None:
            added = config.get("added_tokens_decoder", {}).values()
        self.special = sorted((t["content"] for t in added if t.get("special") and t["content"]), key=len, reverse=True)
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
        environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)

        def raise_exception(message):
            raise jinja2.TemplateError(message)

        environment.globals["raise_exception"] = raise_exception
        try:
            self.template = environment.from_string(self.source)
        except jinja2.TemplateSyntaxError as error:
            raise Unpinnable(f"{self.file}: line {error.lineno} of the template: {error.message}") from None

    @staticmethod
    def find(folder, config, name):
        """The file and text of the template, in the order of transformers."""
        if not os.path.isdir(folder):
            raise Unpinnable(f"{folder}: there is no such directory")
        path = os.path.join(folder, "chat_template.jinja")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                return "chat_template.jinja", file.read()
        for file, found in (("chat_template.json", read_json(os.path.join(folder, "chat_template.json"))), ("tokenizer_config.json", config)):
            found = found.get("chat_template")
            if isinstance(found, list):
                found = {entry["name"]: entry["template"] for entry in found}
            if isinstance(found, dict):
                if name not in found:
                    raise Unpinnable(f"{folder}/{file}: no template is named {name}; there are {', '.join(found)}: choose one with --name")
                found = found[name]
            if found:
                return file, found
        raise Unpinnable(f"{folder}: no chat_template in tokenizer_config.json, chat_template.json or chat_template.jinja: use a named "
                         "template (chatml, llama3, mistral, plain, dmoerm)")

    def render(self, prompt, response=None, **tokens):
        """The text of a prompt up to its response; or of the whole conversation with the response."""
        messages = [{"role": role, "content": content} for role, content in prompt]
        if response is not None:
            messages.append({"role": "assistant", "content": response})
        try:
            return self.template.render(messages=messages, tools=None, documents=None, add_generation_prompt=response is None,
                                        **{**self.tokens, **tokens})
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise Refused(str(error)) from None


# --- The form, rendered like src/tokenizer/chat_form.cpp ---
def stripped(content, step):
    kind, text = step[0], (step[1] if len(step) > 1 else None)
    if kind in ("strip", "lstrip", "rstrip"):
        return getattr(content, kind)(text)
    if kind == "before_first":
        return content[:content.find(text)] if text in content else ""
    at = content.rfind(text)
    return content if at < 0 else content[at + len(text):].lstrip(step[2]) if len(step) > 2 else content[at + len(text):]


def write_edge(elements, content):
    text = ""
    for element in elements:
        if isinstance(element, str):
            text += element
        elif "token" in element:
            text += element["token"]
        else:
            piece = content
            for step in element["content"]:
                piece = stripped(piece, step)
            text += piece
    return text


def edges_of(roles, last):
    """Names of the edges of a conversation; `last` is generation or response."""
    stops = ["start", *roles, last] + ["end"] * (last == "response")
    return [f"{a}>{b}" for a, b in zip(stops, stops[1:])]


def render_form(form, prompt, response=None):
    """The text of a conversation whose edges are all in the form."""
    names = edges_of([role for role, _ in prompt], "generation" if response is None else "response")
    contents = [content for _, content in prompt] + [response, None]
    return "".join(write_edge(form["edges"][name], content) for name, content in zip(names, contents))


# --- Probing ---
def mark_of(number):
    return f"Qz{number}jXk{number}"


def shown(prompt, response=None):
    lines = [f"  {role}: {json.dumps(content, ensure_ascii=False)}" for role, content in prompt]
    return "\n".join(lines + ([] if response is None else [f"  response: {json.dumps(response, ensure_ascii=False)}"]))


class Misplaced(Exception):
    def __init__(self, number, what):
        super().__init__(what)
        self.number, self.what = number, what


def pieces_of(model, roles, last):
    """The texts that the template writes before, between and after the contents of a conversation."""
    prompt = [(role, mark_of(i)) for i, role in enumerate(roles)]
    count = len(roles) + (last == "response")
    text = model.render(prompt, mark_of(len(roles)) if last == "response" else None)
    pieces, done = [], 0
    for number in range(count):
        if text.count(mark_of(number)) != 1:
            raise Misplaced(number, "leaves out" if mark_of(number) not in text else "repeats")
        at = text.find(mark_of(number), done)
        if at < 0:
            raise Misplaced(number, "moves")
        pieces.append(text[done:at])
        done = at + len(mark_of(number))
    return pieces + [text[done:]]


class Probe:
    """Finds the text of each edge, which stands between two neighbours."""

    def __init__(self, model, fold_system):
        self.model, self.fold_system = model, fold_system
        self.texts, self.seen, self.absent, self.notes = {}, {}, set(), []

    def example(self, roles, last):
        prompt = [(role, mark_of(i)) for i, role in enumerate(roles)]
        return shown(prompt, mark_of(len(roles)) if last == "response" else None)

    def give_up(self, edges, roles, last, why):
        """Handles a conversation that the form cannot express: excludes it by leaving out one of its optional edges, or gives up.
        `edges` are those that may cause it, the likeliest first."""
        open_edges = [e for e in edges if e not in NEEDED and e != "system>user"]
        if not open_edges:
            raise Unpinnable(f"{why} in this conversation:\n{self.example(roles, last)}")
        blamed = [e for e in open_edges if e not in self.texts] or open_edges
        systems = [e for e in blamed if e.endswith(">system")]
        edge = (systems or blamed)[0]
        if edge == "start>system" and not self.fold_system:
            raise Unpinnable(f"{why} in this conversation:\n{self.example(roles, last)}\n"
                             "With --fold-system a system message becomes the start of the next user turn instead, with an empty line "
                             "behind it.")
        if not edge.endswith(">system"):
            raise Unpinnable(f"{why} in this conversation:\n{self.example(roles, last)}")
        self.absent.add(edge)
        self.notes.append(f"{why}: {where_of(edge)} becomes part of the user's turn")

    def learn(self, roles, last):
        """@return False if earlier results must be learnt again"""
        edges = edges_of(roles, last)
        if self.absent.intersection(edges):
            return True
        try:
            pieces = pieces_of(self.model, roles, last)
        except Refused as error:
            unknown = [e for e in edges if e not in self.texts and e not in NEEDED]
            if not [e for e in edges if e not in NEEDED]:
                raise Unpinnable(f"the template fails: {error}: in this conversation:\n{self.example(roles, last)}") from None
            if len(unknown) == 1:
                self.absent.add(unknown[0])
                if unknown[0].endswith("start>system") or unknown[0] == "user>user":
                    self.notes.append(f"the template refuses {where_of(unknown[0])} ({error}): it becomes part of the user's turn")
            return True
        except Misplaced as error:
            role = (*roles, "response")[error.number]
            self.give_up([edges[error.number], *edges], roles, last, f"the template {error.what} the content of message {error.number + 1} ({role})")
            return False
        for edge, piece in zip(edges, pieces):
            if self.texts.setdefault(edge, piece) == piece:
                self.seen.setdefault(edge, (roles, last))
                continue
            others = [e for e in edges if e != edge]
            self.give_up(others, roles, last,
                         f"the template writes {piece!r} at {edge}, but {self.texts[edge]!r} in another conversation "
                         f"({' '.join(self.seen[edge][0])})")
            return False
        return True

    def run(self):
        shapes = [(*roles, "user") for n in range(5) for roles in itertools.product(ROLES, repeat=n)]
        shapes = [(roles, last) for roles in shapes for last in ("generation", "response")]
        shapes.sort(key=lambda shape: (sum(e not in NEEDED for e in edges_of(*shape)), len(shape[0])))
        while not all(self.learn(*shape) for shape in shapes):
            self.texts.clear()
            self.seen.clear()
        self.learn_ends()
        systems = [e for e in self.texts if e.endswith(">system")]
        if systems and "system>user" not in self.texts:
            raise Unpinnable("the template takes a system message, but no user turn behind it")

    def learn_ends(self):
        """Adds prompts that do not end with a user's turn, if the text after them is the same for all of them."""
        for last in ("generation", "response"):
            for role in ("system", "assistant"):
                edge, found = f"{role}>{last}", set()
                for before in (("user",), ("user", "assistant", "user"), ("system", "user"), ()):
                    roles = (*before, role)
                    edges = edges_of(roles, last)
                    if not set(edges) - {edge} <= set(self.texts):
                        continue
                    try:
                        pieces = pieces_of(self.model, roles, last)
                    except (Refused, Misplaced):
                        found.add(None)
                        continue
                    same = all(e == edge or self.texts[e] == piece for e, piece in zip(edges, pieces))
                    found.add(pieces[len(roles)] if same else None)
                    self.seen.setdefault(edge, (roles, last))
                if len(found) == 1 and None not in found:
                    self.texts[edge] = found.pop()


def where_of(edge):
    before, role = edge.split(">")
    article = "an" if role == "assistant" else "a"
    return f"{article} {role} turn " + {"start": "at the start", "assistant": "behind an assistant turn"}.get(before, f"behind a {before} turn")


def probe_contents(marks):
    contents = ["  \n\tA b\u3000 c\x1c \n\t ", "\n\nA\n\n", "  A  ", "\tA\u00a0"]
    for opening, closing in itertools.permutations(marks, 2):
        contents += [f"{opening}\nr\n{closing}\n\nA", f" \n{opening}\n\n r \n{closing} \n\n A \n", f"A{closing}B{opening}C{closing}\nD"]
    return contents + [f"A{mark}\n B" for mark in marks] + [f"{mark}\n\n A" for mark in marks]


def turns_that_write(literal, marks):
    """Elements that may produce `literal` before a content, the likelier first."""
    strips = [[], [["strip"]], [["rstrip"]], [["lstrip"]], [["strip", "\n"]], [["rstrip", "\n"]], [["lstrip", "\n"]]]
    splits = [[["after_last", mark, *chars]] + strip for mark in marks for chars in ([], ["\n"]) for strip in strips]
    for steps in strips + splits:
        yield [literal, {"content": steps}]
    for opening, closing in itertools.permutations(marks, 2):
        shape = re.fullmatch(rf"(.*{re.escape(opening)}\s*?)(\s*{re.escape(closing)}\s*)", literal, re.DOTALL)
        if not shape:
            continue
        between = shape[1][shape[1].rindex(opening) + len(opening):] + shape[2][:shape[2].index(closing)]
        for cut in range(len(between) + 1):
            head = shape[1][:shape[1].rindex(opening) + len(opening)] + between[:cut]
            tail = between[cut:] + shape[2][shape[2].index(closing):]
            for ends in ([["strip", "\n"]], [["strip"]], []):
                thought = [["before_first", closing], ["after_last", opening], *ends]
                for steps in splits:
                    if steps[0][1] == closing:
                        yield [head, {"content": thought}, tail, {"content": steps}]


def find_turn(model, probe, edge, marks):
    """The elements of an edge before a content."""
    roles, last = probe.seen[edge]
    at = edges_of(roles, last).index(edge)
    prompt = [(role, mark_of(i)) for i, role in enumerate(roles)]
    pieces = pieces_of(model, roles, last)
    before = "".join(piece + mark_of(i) for i, piece in enumerate(pieces[:at]))
    after = "".join(mark_of(at + i) * (i > 0) + piece for i, piece in enumerate(pieces[at + 1:]))
    wanted = []
    for content in probe_contents(marks):
        try:
            if at == len(roles):
                wanted.append((content, model.render(prompt, content)))
            else:
                changed = prompt[:at] + [(roles[at], content)] + prompt[at + 1:]
                wanted.append((content, model.render(changed, mark_of(len(roles)) if last == "response" else None)))
        except Refused as error:
            raise Unpinnable(f"the template refuses a content of {edge}: {error}: {json.dumps(content, ensure_ascii=False)}") from None
    best, failing = -1, ""
    for elements in turns_that_write(probe.texts[edge], marks):
        wrong = next((i for i, (content, text) in enumerate(wanted) if before + write_edge(elements, content) + after != text), None)
        if wrong is None:
            return elements
        if wrong > best:
            best, failing = wrong, f"{json.dumps(wanted[wrong][0], ensure_ascii=False)} becomes\n{json.dumps(wanted[wrong][1], ensure_ascii=False)}"
    raise Unpinnable(f"the template changes the content at {edge} in a way that the form cannot express: {failing}")


def with_tokens(elements, special):
    """Literal texts cut at special tokens."""
    result = []
    pattern = re.compile("|".join(map(re.escape, special))) if special else None
    for element in elements:
        if not isinstance(element, str):
            result.append(element)
            continue
        done = 0
        for found in pattern.finditer(element) if pattern else ():
            result += [element[done:found.start()]] * (found.start() > done) + [{"token": found.group()}]
            done = found.end()
        result += [element[done:]] * (done < len(element))
    return result


def find_form(model, fold_system=False):
    """The pinned form of a template, not proven yet, and notes for the user."""
    probe = Probe(model, fold_system)
    probe.run()
    marks = sorted(set(re.findall(r"split\(\s*['\"]([^'\"]+)['\"]", model.source)))
    edges = {}
    for edge, literal in sorted(probe.texts.items()):
        leads_to_content = not edge.endswith((">generation", ">end"))
        elements = find_turn(model, probe, edge, marks) if leads_to_content else [literal]
        edges[edge] = with_tokens(elements, model.special)
    mark = mark_of(99)
    starts = "bos_token" in model.tokens and model.render([("user", "a")], bos_token=mark).startswith(mark)
    return {"starts_with_bos": starts, "edges": edges}, probe.notes


# --- The proof ---
WORDS = ("the of and a to in is you that it he was for on are as with his they at be this have from or one had by word but what all were we "
         "when your can said there use an each which she do how their if").split()
ODD = ["e\u0301", "n\u0303o", "\u0928\u093f", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea", "日本語", "你好，世界", "한국어", "שלום",
       "مرحبا", "ﬁ", "İ", "\u00ad", "\u200b", "\ufeff", "\u2028", "\u0085", "\x1f", "\x00", "ẞ", "½", "'", '"', "\\", "\\n", "&lt;", "<b>", "`", "```\ncode\n```",
       "{{ x }}", "{% raw %}", "{#", "%}", "{", "}", "$", "[INST]", "[/INST]", "<<SYS>>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<think>", "</think>",
       "<|eot_id|>", "User:", "system", "assistant\n"]
BLANKS = [" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u3000", "\xa0", "\x0b", "\x1c"]


def random_text(rng, literals):
    pieces = []
    for _ in range(rng.choice([1, 1, 2, 3, 5, 8])):
        kind = rng.randrange(8)
        pieces.append(rng.choice(WORDS) if kind < 3 else rng.choice(ODD) if kind < 5 else rng.choice(literals) if kind == 5 and literals
                      else rng.choice(BLANKS) if kind == 6 else chr(rng.choice([rng.randrange(0x20, 0x3000), rng.randrange(0x3000, 0xD800),
                                                                               rng.randrange(0x1F300, 0x1FB00)])))
    text = rng.choice(["", " "]).join(pieces)
    text = rng.choice(["", "", "", *BLANKS]) + text + rng.choice(["", "", "", *BLANKS])
    return text if text.strip() else text + rng.choice(WORDS)


def literals_of(model):
    """Texts that the template writes or looks for, which a content may hold by chance. Preference data has no tools."""
    quoted = re.findall(r"'([^'\n]{2,60})'|\"([^\"\n]{2,60})\"", model.source)
    found = {(a or b).replace("\\n", "\n") for a, b in quoted} | set(model.special[:50]) | set(model.tokens.values())
    return sorted(text for text in found if text.strip() and "tool" not in text.lower())


def random_conversation(rng, literals):
    roles = ["system"] * rng.randrange(2)
    if rng.random() < 0.65:
        roles += ["user", "assistant"] * rng.choice([0, 0, 1, 1, 2, 4]) + ["user"]
    else:
        roles += [rng.choice(ROLES) for _ in range(rng.randint(0, 4))] + ["user"] * (rng.random() < 0.9)
    roles = roles or ["user"]
    return [(role, random_text(rng, literals)) for role in roles], random_text(rng, literals)


def is_plain(prompt):
    roles = [role for role, _ in prompt]
    return roles == ["user" if i % 2 == 0 else "assistant" for i in range(len(roles))] and roles[-1] == "user"


def differs(model, form, prompt, response):
    """(Jinja's text, the form's) where they differ, else None. @throws Refused"""
    for last in (None, response):
        theirs, ours = model.render(prompt, last), render_form(form, prompt, last)
        if theirs != ours:
            return theirs, ours
    return None


def smallest(model, form, prompt, response):
    """A shorter conversation that differs too."""
    def still(candidate):
        try:
            return all(text.strip() for _, text in candidate[0]) and candidate[1].strip() and covers(form, candidate[0]) and differs(model, form, *candidate)
        except Refused:
            return False

    best = (prompt, response)
    for _ in range(30):
        prompt, response = best
        shorter = [(prompt[:i] + prompt[j:], response) for i in range(len(prompt)) for j in (i + 1, i + 2) if prompt[:i] + prompt[j:]]
        shorter += [(prompt, "x")] * (response != "x")
        shorter += [(prompt[:i] + [(role, "x")] + prompt[i + 1:], response) for i, (role, text) in enumerate(prompt) if text != "x"]
        shorter += [(prompt[:i] + [(role, text[:n] + text[n + 1:])] + prompt[i + 1:], response) for i, (role, text) in enumerate(prompt) for n in range(len(text))]
        shorter += [(prompt, response[:n] + response[n + 1:]) for n in range(len(response))]
        best = next((candidate for candidate in shorter if still(candidate)), None)
        if best is None:
            return prompt, response
    return best


def covers(form, prompt):
    roles = [role for role, _ in prompt]
    return all(edge in form["edges"] for last in ("generation", "response") for edge in edges_of(roles, last))


def prove(model, form, count, seed):
    """Compare `count` random conversations. @return how many more the template itself refused. @throws Unpinnable"""
    rng, literals = random.Random(seed), literals_of(model)
    done = refused = 0
    while done < count:
        prompt, response = random_conversation(rng, literals)
        if not covers(form, prompt):
            continue
        try:
            found = differs(model, form, prompt, response)
        except Refused as error:
            if is_plain(prompt) or refused > 20 * count:
                raise Unpinnable(f"the template refuses this conversation: {error}\n{shown(prompt, response)}") from None
            refused += 1
            continue
        if found:
            prompt, response = smallest(model, form, prompt, response)
            theirs, ours = differs(model, form, prompt, response)
            raise Unpinnable(f"the form found does not render what the template renders ({done} random conversations were equal before):\n"
                             f"{shown(prompt, response)}\n  Jinja: {json.dumps(theirs, ensure_ascii=False)}\n  form:  {json.dumps(ours, ensure_ascii=False)}")
        done += 1
    return refused


def blank_differs(model, form, seed, count=200):
    """An example of a conversation with an empty message that the form renders differently from the template, or None."""
    rng, literals = random.Random(seed), literals_of(model)
    for _ in range(count):
        prompt, response = random_conversation(rng, literals)
        at = rng.randrange(len(prompt))
        prompt[at] = (prompt[at][0], rng.choice(["", " ", "\n"]))
        try:
            if covers(form, prompt) and differs(model, form, prompt, response):
                return prompt, response
        except Refused:
            continue
    return None


# --- The file ---
def sha256(text):
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def canonical(form):
    return json.dumps(form, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def file_text(name, model, form, proof):
    head = {"schema_version": SCHEMA, "name": name, "source": {"file": model.file, "sha256": sha256(model.source)}, "proof": proof,
            "sha256": sha256(canonical(form))}
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in head.items()]
    edges = [f"      {json.dumps(edge)}: {json.dumps(elements, ensure_ascii=False)}" for edge, elements in form["edges"].items()]
    return "\n".join(["{", *lines, '  "form": {', f'    "starts_with_bos": {json.dumps(form["starts_with_bos"])},', '    "edges": {',
                      ",\n".join(edges), "    }", "  }", "}", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL_DIR", help="Directory with tokenizer_config.json and tokenizer.json")
    parser.add_argument("--out", metavar="FILE", help="File to write, ending in .json (default: NAME-OF-THE-DIRECTORY.chat.json)")
    parser.add_argument("--name", default="default", help="Name of the template, if the model has several (default: default)")
    parser.add_argument("--fold-system", action="store_true",
                        help="If the form cannot express how the template treats a system message, put it before the next user turn")
    parser.add_argument("--conversations", type=int, default=1000, help="Number of random conversations in the proof (default: 1000)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    name = os.path.basename(os.path.realpath(args.model))
    out = args.out or f"{name}.chat.json"
    if not out.endswith(".json"):
        parser.error(f"--out {out}: the name must end in .json")
    try:
        model = Model(args.model, args.name)
        form, notes = find_form(model, args.fold_system)
        refused = prove(model, form, args.conversations, args.seed)
        blank = blank_differs(model, form, args.seed)
    except Unpinnable as error:
        print(f"pin_chat_template.py: {args.model}: {error}\nNothing was written.", file=sys.stderr)
        return 2
    for note in notes:
        print(f"note: {note}")
    if blank:
        print(f"note: the template treats messages without text differently from the form, e.g.:\n{shown(*blank)}")
    if not model.special:
        print("note: no special tokens in tokenizer.json or tokenizer_config.json: the template is plain text throughout")
    proof = {"conversations": args.conversations, "seed": args.seed, "jinja2": jinja2.__version__}
    with open(out + ".tmp", "w", encoding="utf-8") as file:
        file.write(file_text(name, model, form, proof))
    os.replace(out + ".tmp", out)
    print(f"{model.file}: {args.conversations} random conversations rendered as Jinja renders them"
          + (f"; {refused} more were refused by the template itself" if refused else ""))
    print(f"{out}: form {sha256(canonical(form))[:12]}, {len(form['edges'])} edges. In the configuration:\n"
          f"  backbone: {{chat_template: {out if '/' in out else './' + out}}}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
