"""Chat templates of models and wording styles that loop, grow, or reach for what is outside of them.

Each is rendered in a process of its own that has few gigabytes of addresses. Refused is a sentence of ours within some
seconds, or a text of moderate length with nothing of the machine in it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.outcome import Outcome
from tests.attacks.world import World
from tests.ui.conftest import ROOT

CHAT, STYLE = "chat templates", "wording styles"
ADDRESS_SPACE = 6 * 2**30
"""Importing transformers takes half of it."""
DEEP = 20_000
CHAT_TEMPLATES = (
    # Without an end.
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{{ 9 ** (9 ** 9) }}",
    "{{ lipsum(n=100000, max=1000) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "{{ range(99999) | map('string') | map('length') | map('string') | join | replace('1', '11' * 9999) }}",
    "{{ ('a' * 60000) is filter(('a' * 60000)) }}",
    "{% set ns = namespace(n=0) %}{% for a in range(9999) %}{% for b in range(9999) %}{% set ns.n = ns.n + 1 %}"
    "{% endfor %}{% endfor %}",
    # Growing.
    "{{ 'a' * 10 ** 10 }}",
    "{{ 'a'.center(10 ** 10) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:>1000000000}'.format('x') }}",
    "{{ [1] | batch(10 ** 9, 'x') | list }}",
    "{{ [0] * 10 ** 10 }}",
    "{{ 'x' | indent(10 ** 9, true) }}",
    "{{ 'ab'.join(['c' * 999999] * 99999) }}",
    "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=[0]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
    "{% for i in range(99999) %}{{ messages }}{% endfor %}",
    "{{ messages | tojson(indent=999999999) }}",
    "{{ 'a' * 2000000 }}",
    # Deep.
    "{{ " + "(" * DEEP + "1" + ")" * DEEP + " }}",
    "{% if 1 %}" * 2000 + "x" + "{% endif %}" * 2000,
    "{{ 1" + " + 1" * 100_000 + " }}",
    # Outside of the sandbox.
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.environ }}",
    "{{ self.__init__.__globals__.__builtins__.__import__('os').environ }}",
    "{{ joiner.__init__.__globals__['os'].popen('env').read() }}",
    "{{ ('{0.__init__.__globals__}' | format(cycler)) }}{{ '{0.__class__}'.format(cycler) }}",
    "{{ messages | attr('__class__') | attr('__mro__') }}",
    "{{ namespace.__init__.__globals__ }}{{ lipsum.__globals__.os.environ }}{{ url_for.__globals__ }}",
    "{% include '/proc/self/environ' %}{% import '/etc/passwd' as x %}{% extends '/etc/passwd' %}",
    "{{ strftime_now('%s' * 99999) }}{{ raise_exception(messages) }}",
    "{{ messages.append(messages) }}{{ messages }}{{ messages[0].update({'content': messages}) }}",
)
QUESTION = 'question = "{}"\n'
STYLES = {
    "question that repeats a field": QUESTION.format("$sentence1" * 6_000),
    "question that formats": QUESTION.format("{0.__class__} %s %(x)s ${sentence1.__class__}"),
    "question that names a builtin": QUESTION.format("$__builtins__ ${self}"),
    "question with many dollars": QUESTION.format("$$" * 30_000),
    "question of 10 MB": QUESTION.format("語" * 3_500_000),
    "stop of every text": QUESTION.format("x") + 'stop = [""]\n',
    "stop of 20,000 texts": QUESTION.format("x") + f"stop = {json.dumps([str(n) for n in range(12_000)])}\n",
    "tokens without an end": QUESTION.format("x") + "max_new_tokens = 999999999999999999999\n",
    "lists in lists": f"x = {'[' * 20_000}{']' * 20_000}\n",
    "tables in tables": f"[{'.'.join('a' * 9_000)}]\nx = 1\n",
    "inline tables": f"x = {'{a=' * 5_000}1{'}' * 5_000}\n",
    "infinity": QUESTION.format("x") + "max_new_tokens = inf\n",
    "a date": "question = 1979-05-27\n",
    "NUL": 'question = "a\\u0000b"\n',
    "a lone surrogate": 'question = "\\ud800"\n',
}


def attack(world: World) -> Iterator[Outcome]:
    """All templates, then all styles, one child after the other where one ends it."""
    folder = world.folder / "templates"
    folder.mkdir()
    files = {}
    for at, text in enumerate(CHAT_TEMPLATES[:: 3 if world.quick else 1]):
        files[folder / f"{at}.jinja"] = (CHAT, text)
    for name, text in STYLES.items():
        files[folder / f"{name}.toml"] = (STYLE, _style(text))
    for path, (_, text) in files.items():
        path.write_text(text, "utf-8")
    secret = world.secrets["HF_TOKEN"]
    left = list(files)
    while left:
        command = [sys.executable, "-m", "tests.attacks.template_child", *map(str, left)]
        environment = {**os.environ, "HF_TOKEN": secret, "JGLUE_MODE": "local", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, preexec_fn=_limited
        )
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        for path, row in zip(left, said, strict=False):
            kind, text = files[path]
            yield Outcome(kind, _named(path, text), row["through"])
        if len(said) < len(left):
            kind, text = files[left[len(said)]]
            yield Outcome(
                kind, _named(left[len(said)], text), f"the process ended with {done.returncode}: {done.stderr[-200:]}"
            )
        left = left[len(said) + 1 :]


def _named(path: Path, text: str) -> str:
    return path.stem if path.suffix == ".toml" else text[:100]


def _style(text: str) -> str:
    """A whole style, as far as a text leaves that open."""
    more = "" if "max_new_tokens" in text else "max_new_tokens = 8\n"
    answers = '[jnli.answers]\nentailment = "a"\ncontradiction = "b"\nneutral = "c"\n'
    return f'title = "x"\nnote = "x"\n[jnli]\ninstruction = "x"\n{text}{more}{answers}'


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
