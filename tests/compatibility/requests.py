"""What the application is asked for, once by `make.py` and again by the tests. `A`, `B`, `HUB` and `LOG` are stored
runs by their ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ENVIRONMENT = {
    "JGLUE_RUNS_DIR": "runs",
    "JGLUE_CACHE_DIR": "cache",
    "HF_HUB_OFFLINE": "1",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NETRC": "no-netrc",
    "WANDB_CONFIG_DIR": "no-wandb-config",
    "COLUMNS": "200",
}
"""Of every call. Folders are below the working folder, so that no path of a machine gets into a file;
nothing listens at the proxy, so that no call leaves the machine."""
TASKS = "marc_ja,jsts,jnli,jsquad,jcommonsenseqa,jcola"

PROTOCOLS = (
    "official,wandb-2023-0shot,wandb-2023-4shot,wandb-2023-10-0shot,stability-jp,stability-jp-capped,llm-jp-eval,"
    "swallow-202411,nejumi-4,flexeval,lm-eval-ja"
)
"""All that there were; others may come."""

COMMANDS = (
    "runs --json",
    f"rescore A --protocol {PROTOCOLS} --json",
    f"rescore LOG --protocol {PROTOCOLS} --json",
    "rescore A --protocol official,stability-jp --tasks jnli --json",
    "rescore A --explain wandb-2023-0shot stability-jp --json",
    "compare A B --json",
    "compare A B --protocol wandb-2023-4shot --json",
    "compare A B --protocol lm-eval-ja --json",
    "leaderboard --data sample --json",
    "leaderboard --data sample --protocol llm-jp-eval --against official --json",
    "leaderboard --json",
    f"score --task jnli --data sample --predictions answers/predictions.jsonl --partial --protocol {PROTOCOLS} --json",
    "score --task jcommonsenseqa --data sample --predictions answers/ranked.csv --partial "
    f"--protocol {PROTOCOLS} --json",
)
"""Commands that read what is stored and print JSON."""

EXPORTS: Mapping[str, str] = {
    "exports/a.jsonl": "export A",
    "exports/a.csv": "export A",
    "exports/log.jsonl": "export LOG",
    "exports/a-every-eval-ever.zip": "export A --as every-eval-ever",
    "exports/a-lm-eval.zip": "export A --as lm-eval",
    "exports/a-lm-eval-ja.zip": "export A --as lm-eval --protocol lm-eval-ja",
    "exports/hub-every-eval-ever.zip": "export HUB --as every-eval-ever --protocol llm-jp-eval",
    "exports/hub-eval-results.yaml": "export HUB --as hub-eval-results",
}
"""File → what writes it."""

EXIT_CODES = (
    "",
    "--version",
    "--help",
    "nonsense",
    "run --nonsense",
    "run --tasks nonsense --data sample",
    "run --data nonsense",
    "run --data sample --shots 99 --tasks jnli",
    "run --data sample --format nonsense --tasks jnli",
    "run --data sample --tasks jnli --limit 0",
    "run --model answers/a.jsonl --data sample --tasks jnli --thinking on --limit 1 --runs-dir new",
    "run --data sample --tasks jnli --repetition-penalty 0",
    "run --model missing.jsonl --data sample --tasks jnli",
    "run --model answers/damaged.jsonl --data sample --tasks jnli",
    "run --model answers/a.jsonl --data sample --tasks jnli --limit 3 --runs-dir new",
    "run --model answers/a.jsonl --data sample --tasks jnli --limit 4 --runs-dir new",
    "run --model answers/a.jsonl --data sample --tasks jnli --offline",
    "run --model answers/a.jsonl --data sample --tasks jnli --wandb",
    "compare --a answers/a.jsonl --data sample",
    "compare A",
    "compare A missing",
    "rescore missing",
    "rescore A --protocol nonsense",
    "rescore A --labels v1.1",
    "rescore damaged",
    "score --task jnli --data sample --predictions missing.jsonl",
    "score --task jnli --data sample --predictions answers/predictions.jsonl",
    "runs",
    "leaderboard --report",
    "export A new/a.nonsense",
    "export A new/a.csv",
    "export A new/a.yaml --as hub-eval-results",
    "export A new/a.csv --protocol official",
    "import a.zip",
    "import a.zip --runs-dir new-runs",
    "import a.zip --runs-dir new-runs",
    "import answers/damaged.jsonl --runs-dir new-runs",
    "delete missing --yes",
    "push A",
    "pull nonsense",
    "protocols nonsense",
    "models",
    "audit nonsense",
    "show-prompt --style nonsense --data sample",
    "data nonsense",
    "data fetch --task jnli",
)
"""Commands, in this order, of whose outcome the exit code is held."""

LINKS = (
    "a=gemma-3-270m",
    "tasks=jnli&data=sample&limit=5&method=both&a=gemma-3-270m&b=gemma-3-270m&b-shots=3",
    "tasks=marc_ja,jsts,jnli,jsquad,jcommonsenseqa&data=official&limit=all&split=test&method=generate&a=Qwen/Qwen3-0.6B"
    "&a-format=chat&a-thinking=on&a-max-thinking-tokens=2048&a-repetition-penalty=1.2&b=rinna/japanese-gpt-neox-3.6b"
    "&b-format=rinna&b-style=wandb-2023&b-shots=4&b-quantization=8bit&b-dtype=float16",
    "tasks=jcola,jsts&data=official&limit=1&method=choose&a=EleutherAI/pythia-410m&a-dtype=bfloat16&a-style=number",
    "b=cyberagent/open-calm-small&b-thinking=default&b-format=chat&b-repetition-penalty=0.9",
    "tasks=jnli,jsts&data=sample&limit=2&method=generate&a=answers/a.jsonl",
    "tasks=jnli,jsquad&data=sample&limit=2&method=generate&a=answers/a.jsonl&a-format=alpaca&a-shots=1"
    "&b=answers/b.jsonl&b-format=chat&b-thinking=on&b-max-thinking-tokens=64&b-style=flexeval&b-repetition-penalty=1.2",
    "tasks=marc_ja,jsts,jnli,jsquad,jcommonsenseqa&data=sample&limit=1&method=both&a=answers/a.jsonl&b=answers/a.jsonl"
    "&a-dtype=float32&b-dtype=float16&b-quantization=8bit&b-style=lm-eval-ja",
)
"""Queries of links as people keep them."""

ENDPOINTS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("repeat", {}),
    ("repeat", {"tasks": ["jnli"], "data": "test", "limit": 0, "b_model": "", "a_thinking": "on", "a_format": "chat"}),
    ("runs", {}),
    ("scores", {"a": "A"}),
    ("scores", {"a": "HUB", "protocol": "swallow-202411"}),
    ("scores", {"a": "A", "b": "B", "protocol": "flexeval"}),
    ("items", {"a": "B", "b": "B", "filter": "form"}),
    ("items", {"a": "B"}),
    ("item", {"run": "A", "task": "jnli", "item_id": "sn018"}),
    ("disagreements", {"run": "A", "task": "jnli"}),
    ("explain", {"run": "A", "start": "official", "end": "flexeval"}),
    ("leaderboard", {"protocol": "wandb-2023-0shot", "data": "official", "tasks": ["jnli", "jsts"]}),
)
"""Endpoint, arguments."""


def with_run_ids(text: str, runs: Mapping[str, str]) -> str:
    """A command, or an argument, with the ids of the runs that it names."""
    return " ".join(runs.get(word.lower(), word) if word.isupper() else word for word in text.split(" "))
