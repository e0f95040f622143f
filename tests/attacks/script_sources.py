"""Runs whose texts others wrote: a log of another harness, and a model whose chat template writes into each prompt."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.attacks.calls import Program
from tests.attacks.script_payloads import PAYLOADS
from tests.results.importers.logs import JNLI, written_sample
from tests.served_models import write_tokenizer


def imported(program: Program, folder: Path) -> str:
    """Import a log of lm-eval whose prompts, outputs and fields are payloads; the run's id."""
    folder.mkdir()
    path = folder / "samples_jnli_2026-01-02T03-04-05.678901.jsonl"
    rows = []
    for at, payload in enumerate(PAYLOADS):
        doc = {**JNLI[at % len(JNLI)], "note": payload, payload: payload}
        rows.append({**written_sample(doc, payload, payload, payload), "doc_id": at, "doc_hash": payload})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    with path.open("rb") as log:
        stored = program.http.post("/gradio_api/upload", files={"files": (path.name, log)}).json()[0]
    file = {"path": stored, "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
    answer = program.handler(program.function("import_run"), [file])
    assert answer.ok, answer.text[-500:]
    return str(json.loads(answer.text.rpartition("data:")[2])["output"]["data"][0])


def templated(program: Program, folder: Path) -> str:
    """Ask a model whose chat template writes all payloads around each message, over a few items; the run's id."""
    from transformers import LlamaConfig, LlamaForCausalLM

    write_tokenizer(folder, chat=True)
    words = LlamaConfig.from_pretrained(folder)
    config = LlamaConfig(
        vocab_size=words.vocab_size,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16_384,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    texts = "".join(f"{{{{ {json.dumps(payload)} }}}}" for payload in PAYLOADS)
    messages = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(f"{{{{ bos_token }}}}{texts}{messages}{texts}", "utf-8")
    asked = {"tasks": ["jnli"], "limit": 3, "method": "generate", "a_format": "chat", "b_model": ""}
    answer = program.call("compare_models", a_model=str(folder), **asked)
    found = re.findall(r'"a":\s*"([0-9a-f]{16})"', answer.text)
    assert found, answer.text[-500:]
    return str(found[-1])
