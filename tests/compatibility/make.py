"""Makes the folder `stored/`, which the tests here hold the application to.

    python -m tests.compatibility.make NEW-FOLDER

What is in the repository was made by version 0.1.0, before its modules were moved into folders, and stays as it is:
files of that time are what has to be read. Made by a later version and compared with `diff -r`, nothing may differ but
time stamps, facts of the machine, and the version. Items are the samples that come with the application.

    answers/                  tables of answers for `run`, files for `score`, a log for `import`
    runs/                     run folders: A and B of tables of answers; HUB, the answers of A as if a model of the Hub
                              had given them to official items; LOG, imported
    a.zip                     A as `export` packs it
    exports/                  in the formats of `export`
    index.json                A, B, HUB, LOG: their ids; the version
    commands.json.gz          command → the JSON that it prints
    exit-codes.json           command → exit code, in this order
    errors.json               kind of error → exit code
    options.json              command → options
    endpoints.json            endpoint → parameters
    endpoint-answers.json.gz  what endpoints answer
    links.json                link → what the page shows, the command and the link that it prints
    specs.json                printed command → the runs that it makes
    launch.json               JSON schema of the Launch form
    wandb-….json.gz           what W&B is sent
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jglue_app
from tests.compatibility import interface
from tests.compatibility.interface import Json, call
from tests.compatibility.requests import (
    COMMANDS,
    ENDPOINTS,
    ENVIRONMENT,
    EXIT_CODES,
    EXPORTS,
    LINKS,
    TASKS,
    with_run_ids,
)

A: Mapping[str, tuple[str, Sequence[float] | None]] = {
    "marc_ja sm018": ("肯定", (-0.2, -1.9)),
    "marc_ja sm020": ("評価は「否定」です。", (-0.7, -0.9)),
    "marc_ja sm022": ("", (-2.0, -0.1)),
    "jsts ss008": ("4.5", None),
    "jsts ss029": ("近さは1.0くらいです", None),
    "jsts ss041": ("2", None),
    "jnli sn018": ("<think>\n前提には夜とあるので、", (-1.0, -0.5, -3.0)),
    "jnli sn032": ("<think>動物は犬のこと。</think>\n含意", (-0.3, -2.0, -1.5)),
    "jnli sn038": ("entailment", (-0.4, -1.5, -1.0)),
    "jsquad sq006p0q2": ("立石寺", None),
    "jsquad sq011p0q1": ("永昌寺という寺", None),
    "jsquad sq013p0q1": ("わかりません\ud83d", None),
    "jcommonsenseqa 900018": ("ウ", (-3.0, -2.0, -0.5, -4.0, -5.0)),
    "jcommonsenseqa 900032": ("イースト", (-3.0, -2.0, -1.0, -0.5, -5.0)),
    "jcola 900018": ("正文", (-1.0, -0.5)),
    "jcola 900020": ("正文", (-0.25, -1.5)),
    "jcola 900022": ("これは非文です", (-0.5, -1.0)),
}
"""Item → text, log-probabilities of its labels. There is nothing for the third item of JCommonsenseQA: an error."""
B = dict(A) | {
    "marc_ja sm020": ("否定", (-0.9, -0.7)),
    "marc_ja sm022": ("否定", (-2.0, -0.1)),
    "jsts ss029": ("0.5", None),
    "jnli sn018": ("矛盾", (-1.0, -0.5, -3.0)),
    "jnli sn038": ("中立", (-0.4, -1.5, -1.0)),
    "jsquad sq013p0q1": ("53分", None),
    "jcommonsenseqa 900032": ("ウ", (-3.0, -2.0, -0.5, -1.0, -5.0)),
    "jcommonsenseqa 900038": ("エ", (-3.0, -2.0, -1.0, -0.5, -5.0)),
}
PREDICTIONS = (
    {"item_id": "sn001", "text": "関係は「矛盾」です。"},
    {"item_id": "sn002", "text": "中立", "choices": ["含意", "矛盾", "中立"], "choice_logprobs": [-2.0, -1.0, -0.5]},
    {"item_id": "sn003", "text": "まだ考えています", "thought": "<think>"},
    {"item_id": "sn005", "text": "", "thought": ""},
)
RANKED = (
    ("item_id", "text", "choice_logprobs", "choices"),
    ("900001", "4", "[-3, -2, -2.5, -4, -1]", ""),
    ("900002", "切手", "[-3, -2, -1, -4, -5]", '["手袋", "便箋", "切手", "名刺", "付箋"]'),
)
LOG = (
    {"lm_output": "矛盾", "extra_info": {"sentence_pair_id": "sn001"}, "references": ["矛盾"]},
    {"lm_output": " 中立\n", "extra_info": {"sentence_pair_id": "sn002"}, "references": ["中立"]},
    {"lm_output": "わからない", "extra_info": {"sentence_pair_id": "sn003"}, "references": ["含意"]},
)


def main(folder: Path) -> None:
    """Make everything below a new folder."""
    folder.mkdir()
    os.chdir(folder)
    for name in [name for name in os.environ if name.startswith(("JGLUE_", "WANDB_"))]:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)
    _write_answers()
    runs = _make_runs()
    _write("index.json", {"version": jglue_app.__version__, "runs": runs})
    Path("exports").mkdir()
    for file, command in EXPORTS.items():
        export(Path(file), command, runs)
        if file.endswith((".csv", ".jsonl")):
            Path(f"{file}.gz").write_bytes(gzip.compress(Path(file).read_bytes(), mtime=0))
            Path(file).unlink()
    _must("export", runs["a"], "a.zip")

    _write("commands.json.gz", {line: json.loads(_must(*with_run_ids(line, runs).split(" "))) for line in COMMANDS})
    _write("options.json", interface.options())
    _write("launch.json", interface.launch_schema())
    _write("errors.json", interface.exit_codes())
    a, b, hub = (Path("runs", runs[name]) for name in ("a", "b", "hub"))
    _write("wandb-a.json.gz", interface.wandb_run(a, "official"))
    _write("wandb-hub.json.gz", interface.wandb_run(hub, "llm-jp-eval"))
    _write("wandb-comparison.json.gz", interface.wandb_comparison(a, b, "wandb-2023-0shot"))
    with interface.served(Path("runs").resolve()) as page:
        _write("endpoints.json", page.endpoints())
        answers = [page.predict(name, arguments_with_ids(given, runs)) for name, given in ENDPOINTS]
        links = {link: page.open_link(link) for link in LINKS}
    _write("endpoint-answers.json.gz", answers)
    _write("links.json", links)
    commands = [link["command"] for link in links.values() if "answers/" in link["command"]]
    _write("specs.json", {command: interface.specs_of(command, f"made/{k}") for k, command in enumerate(commands)})
    _write("exit-codes.json", [[line, call(*with_run_ids(line, runs).split()).code] for line in EXIT_CODES])
    for scratch in ("made", "new", "new-runs", "damaged", "cache"):
        shutil.rmtree(scratch, ignore_errors=True)
    for lock in Path("runs").glob("*/.lock"):
        lock.unlink()


def export(file: Path, command: str, runs: Mapping[str, str]) -> None:
    """Write an export."""
    name, run, *options = with_run_ids(command, runs).split(" ")
    _must(name, run, str(file), *options)


def arguments_with_ids(given: Mapping[str, Any], runs: Mapping[str, str]) -> Json:
    """Arguments of an endpoint with the ids of the runs that they name."""
    return {
        key: runs.get(str(value).lower(), value) if key in ("a", "b", "run") else value for key, value in given.items()
    }


def _must(*arguments: str) -> str:
    result = call(*arguments)
    assert result.code == 0, (arguments, result.err)
    return result.out


def _write(name: str, value: Any) -> None:
    text = json.dumps(value, separators=(",", ":")) + "\n"
    if name.endswith(".gz"):
        Path(name).write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        Path(name).write_text(text, "utf-8")


def _write_answers() -> None:
    Path("answers", "jnli").mkdir(parents=True)
    for name, table in (("a", A), ("b", B)):
        rows = []
        for item, (text, logprobs) in table.items():
            task, id_ = item.split(" ")
            rows.append({"task": task, "item_id": id_, "text": text, "choice_logprobs": logprobs})
        _write_lines(Path(f"answers/{name}.jsonl"), rows)
    _write_lines(Path("answers/predictions.jsonl"), PREDICTIONS)
    _write_lines(Path("answers/jnli/outputs.jsonl"), LOG)
    Path("answers/damaged.jsonl").write_text('{"item_id": 1.5}\n', "utf-8")
    with Path("answers/ranked.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(RANKED)


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def _make_runs() -> dict[str, str]:
    """A, B, HUB and LOG → id."""
    common = ("--tasks", TASKS, "--data", "sample", "--limit", "3", "--method", "both")
    assert call("run", "--model", "answers/a.jsonl", *common).code == 6
    (a,) = Path("runs").iterdir()
    assert call("run", "--model", "answers/b.jsonl", "--shots", "1", *common).code == 0
    (b,) = set(Path("runs").iterdir()) - {a}
    log = Path(_must("import", "answers/jnli", "--data", "sample", "--partial").strip())
    return {"a": a.name, "b": b.name, "hub": _make_hub(a), "log": log.name}


def _make_hub(a: Path) -> str:
    """A run as a model of the Hub leaves it, with the items and most answers of another; its id."""
    folder = Path("made/hub")
    folder.mkdir(parents=True)
    manifest = json.loads((a / "manifest.json").read_text("utf-8"))
    spec = manifest["spec"]
    spec["model"] |= {"id": "owner/model-1e3", "backend": "hf", "revision": "main", "quantization": "8bit"}
    spec["model"]["files_sha256"] = "ab" * 32
    spec["prompt"] |= {"format": "chat", "thinking": "on"}
    spec["decoding"] |= {"max_thinking_tokens": 64, "repetition_penalty_by_task": [["jsts", 1.1]]}
    spec |= {"data_version": "v1.3", "limit": None}
    for facts in manifest["data"].values():
        facts |= {"source": "official", "version": "v1.3", "items": 3}
    manifest["model"] |= {
        **{"name": "owner/model-1e3", "commit": "0123456789" * 4, "dtype": "bfloat16", "device": "cuda:0"},
        **{"context_length": 2048, "bos": "<s>", "adds_bos": True, "eos": "</s>", "memory_bytes": 2**28},
        **{"engine": "packed", "prefix": "<s>", "tokenizer_source": "tokenizer.json", "tokenizer_round_trip": True},
        **{"tokenizer_unknown": 0.0, "quantized": ""},
    }
    manifest["model_files"] = {"model.safetensors": "cd" * 32}
    manifest["thought"] = {"opened": "<think>\n", "ranked": "after the closed thought", "turned_on": True}
    manifest |= {
        "label": "model-1e3 · chat · ja-labels · 0-shot · 8bit · thinking",
        "created": "2026-11-02T03:04:05+00:00",
    }
    records = [json.loads(line) for line in (a / "records.jsonl").read_text("utf-8").splitlines()]
    manifest["records"] = {"answered": len(records), "tried": len(records)}
    # The id follows from the spec; an import gives a run its own.
    for id_ in ("0" * 16, ""):
        id_ = id_ or Path(_must("import", str(folder), "--runs-dir", "made/ids").strip()).name
        manifest["spec_id"] = id_
        for record in records:
            record["spec_id"] = id_
            record.pop("crc32", None)  # As records were before they had one.
            record["prompt"]["thought"] = "<think>\n"
            record["error"] = None
            record["output"] = (record["output"] or {"text": "考え中です", "choice_logprobs": None}) | {
                **{"prompt_tokens": 40, "new_tokens": 12, "seconds": 0.25},
                "finish": "length" if record["item_id"] in ("sn018", "900038") else "stop",
            }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
        (folder / "items.jsonl").write_bytes((a / "items.jsonl").read_bytes())
        _write_lines(folder / "records.jsonl", records)
    return Path(_must("import", str(folder)).strip()).name


if __name__ == "__main__":
    main(Path(sys.argv[1]))
