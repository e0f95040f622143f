"""Models on the servers of the tests, described in a file of endpoints as an operator would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.endpoints import served_model
from jglue_app.settings import Settings
from tests.api_server import ApiServer
from tests.api_server.model import BOS, EOS, PIECES, SPECIAL


def toml(value: object) -> str:
    """A value as TOML has it, in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def with_endpoints(settings: Settings, **endpoints: Mapping[str, object]) -> Settings:
    """The settings with a file of these endpoints; it lies beside the cache folder."""
    endpoints = {name: _with_both_prices(entry) for name, entry in endpoints.items()}
    path = Path(settings.cache_dir).parent / "endpoints.toml"
    tables = [
        f"[{name}]\n" + "\n".join(f"{key} = {toml(value)}" for key, value in entry.items())
        for name, entry in endpoints.items()
    ]
    path.write_text("\n\n".join(tables) + "\n", "utf-8")
    return replace(settings, endpoints_file=path)


def _with_both_prices(entry: Mapping[str, object]) -> dict[str, object]:
    """The entry with a price of 0 beside one that stands alone, which the file may not have."""
    models = entry.get("models")
    found = dict(entry)
    if isinstance(models, Mapping):
        found["models"] = {n: _with_both_prices(m) if isinstance(m, Mapping) else m for n, m in models.items()}
    if ("price_in" in found) != ("price_out" in found):
        found = {"price_in": 0.0, "price_out": 0.0, **found}
    return found


def with_server(settings: Settings, server: ApiServer, **entry: object) -> Settings:
    """The settings with one endpoint `here`, which is this server."""
    return with_endpoints(settings, here={"base_url": server.base_url, **entry})


def served(settings: Settings, server: ApiServer, **entry: object) -> ServedModel:
    """The model `tiny` on this server."""
    return served_model("here:tiny", with_server(settings, server, **entry))


def write_tokenizer(folder: Path, *, chat: bool = False, pieces: Sequence[str] = PIECES) -> Path:
    """The server's tokenizer as a folder that transformers reads.

    With `chat`, it has the template in which the server renders chats. With other `pieces`, it is not the server's.
    """
    import numpy as np
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, decoders, models, processors
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    names = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    # All pieces have one score, so that the fewest are taken: here the same as the longest from left to right.
    raw = Tokenizer(models.Unigram([(name, -1.0) for name in names], unk_id=EOS, byte_fallback=True))
    raw.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    bos = SPECIAL[BOS]
    raw.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, BOS)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=bos, eos_token=SPECIAL[EOS])
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    if chat:
        tokenizer.chat_template = (
            "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{{ eos_token }}{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>{% endif %}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    LlamaConfig(vocab_size=len(names), bos_token_id=BOS, eos_token_id=EOS).save_pretrained(folder)
    # A folder without weights is not taken for a model.
    save_file({"nothing": np.zeros(1, np.float32)}, folder / "model.safetensors")
    return folder
