"""How fast several workers of a Ray cluster are beside one process.

    python -m tests.cluster.speed [--items 160 --workers 2]

Needs ray, and as many idle cores as workers. Two loads: a Llama of random weights, which keeps one core busy in one
process and in each worker; and a table of answers that takes no time, at batches of 64, which shows what an item costs
on its way.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

from jglue_app.backends.pool import ModelPool
from jglue_app.cluster import RayOptions, distribution, run_plans_on_ray
from jglue_app.runs.events import Event
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.runs.runner import run_plan
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings, load_settings
from jglue_app.types import Decoding, ModelSpec
from tests.conftest import _tokenizer

BATCH = 64


def reviews(path: Path, items: int) -> Path:
    """A file of MARC-ja items of the usual length."""
    text = "この商品を買って一週間使いました。色も形も写真のとおりで、届くのも早かったです。"
    rows = [
        {"review_id": str(n), "sentence": f"{n} 番目の感想です。{text}", "label": ("positive", "negative")[n % 2]}
        for n in range(items)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def span(events: Iterator[Event]) -> float:
    """Seconds in which the items of a run were answered, once a model was loaded and the prompts were there."""
    last = [event for event in events if event.kind == "record"][-1]
    assert last.items_per_s is not None
    return last.done / last.items_per_s


def both(settings: Settings, plan: Plan, folder: Path, options: RayOptions) -> tuple[float, float]:
    """Seconds of one process, and of a cluster."""
    there, here = (replace(settings, runs_dir=folder / name) for name in ("cluster", "process"))
    with ModelPool(settings, device="cpu") as pool:
        alone = span(run_plan(plan, pool, here.runs_dir))
        pool.clear()
        return alone, span(run_plans_on_ray([("a", plan)], pool, there, options))


def difference(settings: Settings, plan: Plan, folder: Path) -> float:
    """The largest one between both; texts have to be the same, and so have manifests but for when they were made."""
    stores = [RunStore.of(folder / name, plan.spec) for name in ("cluster", "process")]
    manifests = [{**store.manifest(), "created": ""} for store in stores]
    assert manifests[0] == manifests[1]
    there, here = ({record.item_id: record.output for record in store.records()} for store in stores)
    largest = 0.0
    for item_id, output in here.items():
        other = there[item_id]
        assert output is not None and other is not None and other.text == output.text
        pairs = zip(output.choice_logprobs or (), other.choice_logprobs or (), strict=True)
        largest = max([largest, *(abs(a - b) for a, b in pairs)])
    return largest


def speedup(settings: Settings, folder: Path, items: int, workers: int) -> None:
    """One process with one core, beside workers with one core each."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = _tokenizer(bos=True, pad=True, chat=False, appends_eos=False)
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=2_048, initializer_range=0.1, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder / "llama")
    tokenizer.save_pretrained(folder / "llama")
    path = reviews(folder / "reviews.json", items)
    spec = ModelSpec(str(folder / "llama"), dtype="float32")
    plan = make_plan(settings, spec, ["marc_ja"], marc_ja=path, decoding=Decoding("both", max_new_tokens=16))
    alone, over = both(settings, plan, folder, RayOptions("local", workers, workers, 1, "cpu"))
    print(f"largest difference of a log-probability: {difference(settings, plan, folder):.1e}; texts are the same")
    print(f"{items} items: {alone:.2f} s in one process, {over:.2f} s over {workers} workers: {alone / over:.2f} times")


def overhead(settings: Settings, folder: Path, items: int) -> None:
    """What an item costs on its way to one worker and back."""
    path = reviews(folder / "many.json", items)
    table = folder / "table.jsonl"
    table.write_text("".join(json.dumps({"item_id": str(n), "text": "positive"}) + "\n" for n in range(items)), "utf-8")
    plan = make_plan(settings, ModelSpec(str(table), "scripted"), ["marc_ja"], marc_ja=path)
    with mock.patch.object(distribution, "batch_size", lambda left, *_: min(left, BATCH)):
        alone, over = both(settings, plan, folder / "overhead", RayOptions("local", 1, 1, 1, "cpu"))
    each = (over - alone) / items * 1_000
    print(f"{items} items at batches of {BATCH}: {alone:.2f} s here, {over:.2f} s there: {each:.2f} ms an item")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=160, help="that a model answers")
    parser.add_argument("--table-items", type=int, default=6_400, help="that a table answers")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        settings = replace(load_settings(), data_dir=None)
        if given.table_items:
            overhead(settings, Path(name), given.table_items)
        if given.items:
            speedup(settings, Path(name), given.items, given.workers)


if __name__ == "__main__":
    main()
