"""Files of models and answers of servers: headers of weights, settings, tokenizers, endpoints.toml, hostile JSON."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from jglue_app.backends import endpoints, model_facts, relevant_files
from jglue_app.backends.endpoint_settings import Endpoint, EndpointModel
from jglue_app.backends.openai_api import failures, next_tokens, responses
from jglue_app.settings import Settings, load_settings
from jglue_app.types import ModelSpec
from tests.fuzz.blobs import blob_maker, mutate
from tests.fuzz.target import Target
from tests.fuzz.targets.data import in_file
from tests.fuzz.texts import text_maker
from tests.fuzz.trees import json_maker, tree_maker

ENDPOINT = Endpoint("vllm", "http://127.0.0.1:8000/v1", key_env="KEY", models={"m": EndpointModel()})


def _settings(folder: Path) -> Settings:
    return replace(load_settings(), cache_dir=folder / "cache", runs_dir=folder / "runs", public=False)


# --- servers ----------------------------------------------------------------------------------------------

_LOGPROBS = {
    "content": [{"token": "A", "logprob": -0.1, "top_logprobs": [{"token": "A", "logprob": -0.1}]}],
    "token_logprobs": [None, -1.0, -2.0],
    "top_logprobs": [None, {"A": -0.5}, {"B": -1.0}],
}
_USAGE = {
    "prompt_tokens": 2,
    "completion_tokens": 1,
    "total_tokens": 3,
    "completion_tokens_details": {"reasoning_tokens": 0},
}
ANSWERS: tuple[dict[str, Any], ...] = (
    {
        "model": "m",
        "system_fingerprint": "fp",
        "usage": _USAGE,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "text": "答え",
                "message": {"content": "答え", "reasoning_content": "考え", "refusal": None},
                "logprobs": _LOGPROBS,
                "prompt_logprobs": [None, {"5": {"logprob": -1.0}}],
            }
        ],
        "data": [{"index": 0, "embedding": [0.1, 0.2]}, {"index": 1, "embedding": [0.3, 0.4]}],
    },
    {"choices": [{"message": {"content": [{"type": "text", "text": "a"}]}}], "usage": None},
    {"error": {"message": "no", "code": 400, "type": "x", "param": None}},
)


def _answers(folder: Path) -> Target:
    """Whatever an endpoint answers to any of the requests."""
    readers: tuple[Callable[[Any], object], ...] = (
        partial(responses.chat_answer, ENDPOINT),
        partial(responses.completion_answer, ENDPOINT),
        partial(responses.echoed_logprobs, ENDPOINT),
        partial(responses.prompt_logprobs, ENDPOINT),
        partial(responses.prompt_tokens, ENDPOINT),
        lambda answer: responses.vectors(ENDPOINT, answer, 2),
        responses.token_counts,
        lambda answer: next_tokens._places(ENDPOINT, answer, "echo", (5, 6)),
        lambda answer: next_tokens._places(ENDPOINT, answer, "prompt_logprobs", (4, 5)),
    )
    make = tree_maker(ANSWERS, [-1.5, 10**7, "stop", [None, -1.0], [{"1": {"logprob": -1}}, {"1": {"logprob": -1}}]])

    def read(answer: Any) -> object:
        if not isinstance(answer, dict):
            return None
        found: list[object] = []
        for reader in readers:
            try:
                found.append(reader(answer))
            except failures.RequestError as e:
                found.append(str(e.as_run_error().message))
        return found

    return Target("answers of servers", make, read, [ANSWERS[0]])


def _refusals(folder: Path) -> Target:
    """Statuses, headers and bodies of errors."""
    tree = tree_maker(ANSWERS[2:])
    text = text_maker(
        ("<html>", "context length", "quota", "model", "sk-1234567890", "120", "Wed, 21 Oct 2026 07:28:00 GMT", "-")
    )

    def make(rng: Random) -> tuple[int, str, Any]:
        status = rng.choice((300, 301, 400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 503, 599))
        return status, text(rng)[:3_000], tree(rng) if rng.random() < 0.5 else text(rng)

    def read(given: tuple[int, str, Any]) -> object:
        headers = {"retry-after": given[1], "retry-after-ms": given[1][::-1]}
        error = failures.of_status(ENDPOINT, given[0], headers, given[2], "m", "sk-1234567890")
        assert "sk-12345678" not in str(error.message)
        return str(error.as_exception()), error.retry_after

    return Target("refusals of servers", make, read, [(429, "120", {"error": "x"})])


TOML = """
[vllm]
base_url = "http://127.0.0.1:8000/v1"
tokenizer = "llm-jp/llm-jp-3-1.8b"
models = { "llm-jp/llm-jp-3-1.8b" = {} }
requests_at_once = 8

[openai]
base_url = "https://api.openai.com/v1"
key_env = "OPENAI_API_KEY"
interfaces = ["chat"]
headers = { "x-title" = "$TITLE" }
query = { "api-version" = "2024-10-21" }
body = { top_k = 1 }
can = { seed = false }
price_in = 0.15
price_out = 0.60
[openai.models."gpt-4o-mini"]
price_in = 0.15
price_out = 0.60
context_length = 128000
[openai.visitors]
budget = 1.0
budget_per_day = 10.0
tokens = 1000
tokens_per_day = 10000
"""


def _endpoints(folder: Path) -> Target:
    settings = replace(_settings(folder), endpoints_file=folder / "given" / "endpoints.toml")
    pieces = (
        *(
            "[vllm]",
            "[a.b]",
            "[[a]]",
            "base_url = ",
            '"http://',
            '"https://[::1]:',
            "file:///etc/passwd",
            "@",
            "models = ",
            "{",
            "}",
        ),
        *(
            "key_env = ",
            '"sk-0123456789"',
            "price_in = ",
            "nan",
            "inf",
            "-1",
            "1e999",
            "true",
            "1979-05-27",
            "[",
            "]",
            "\n",
            "$X",
            '"',
        ),
        *(
            "headers = ",
            "body = ",
            "can = ",
            "visitors = ",
            "timeout = ",
            "id = ",
            "hidden = ",
            "#",
            "0x7f000001",
            "a.a.a.",
        ),
    )
    text = text_maker(pieces, (TOML,), longest=10_000)

    def make(rng: Random) -> bytes:
        made = "a." * 4_000 + "a = 1" if rng.random() < 0.005 else text(rng)
        return made.encode("utf-8" if rng.random() < 0.9 else "utf-16", "replace")

    def read(_: Path) -> object:
        return endpoints.read_endpoints(settings), endpoints.served_models(replace(settings, public=True))

    return Target("endpoints.toml", make, read, [TOML.encode()], in_file(folder, "endpoints.toml"))


# --- weights ----------------------------------------------------------------------------------------------


def _text(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def gguf_header(layers: int = 2, kind: int = 15) -> bytes:
    """A header of a GGUF file with some settings of each type, and no tensors."""
    pairs = [
        _text(b"general.architecture") + struct.pack("<I", 8) + _text(b"llama"),
        _text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + _text(b"a") + _text(b"b"),
        _text(b"tokenizer.ggml.scores") + struct.pack("<IIQ2f", 9, 6, 2, 0.0, 1.0),
        _text(b"llama.block_count") + struct.pack("<II", 4, layers),
        _text(b"a.nested") + struct.pack("<IIQIQ2B", 9, 9, 1, 0, 2, 1, 1),
        _text(b"general.file_type") + struct.pack("<II", 4, kind),
    ]
    return struct.pack("<4sIQQ", b"GGUF", 3, 0, len(pairs)) + b"".join(pairs)


def _gguf(folder: Path) -> Target:
    from jglue_app.backends.hf.checkpoint.gguf import file_type
    from jglue_app.backends.hf.checkpoint.gguf_header import list_entries

    header = gguf_header()
    deep = header[:24] + _text(b"a") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 1_500
    make = blob_maker([header, deep], [struct.pack("<I", n) for n in (8, 9, 13)] + [b"block_count"])
    examples = [header, gguf_header(kind=0)]

    def large() -> list[bytes]:
        texts = struct.pack("<IIQ", 9, 8, 120_000) + _text(b"") * 120_000
        return [header[:24] + _text(b"a") + texts, header[:24] + b"\0" * 1_000_000]

    def read(path: Path) -> object:
        return file_type(path), list_entries(path)

    return Target("GGUF header", make, read, examples, in_file(folder, "m.gguf"), large)


_TENSORS: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "model.embed_tokens.weight": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]},
    "lm_head.weight": {"dtype": "BF16", "shape": [4, 2], "data_offsets": [32, 48]},
}


def safetensors_file(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + b"\0" * 48


def _safetensors(folder: Path) -> Target:
    from jglue_app.backends.hf.checkpoint import checkpoint_files, weight_headers

    tree = json_maker([_TENSORS], values=[[4, 2], [0, 32], "F32", [2**40, 2**40]])
    damaged = blob_maker([safetensors_file(json.dumps(_TENSORS).encode())], [b"data_offsets", b"[" * 60])

    def make(rng: Random) -> bytes:
        if rng.random() < 0.3:
            return damaged(rng)
        header = tree(rng)
        return safetensors_file(header, rng.choice((None, None, None, 2**63, 0, len(header) + 1)))

    def read(path: Path) -> object:
        found = weight_headers.keys_of(path), checkpoint_files.count_weights([path])
        return found, weight_headers.read_headers([path], "m")

    def large() -> list[bytes]:
        return [safetensors_file(b"[" * 1_000_000), safetensors_file(b'{"a":' * 200_000)]

    examples = [safetensors_file(json.dumps(_TENSORS).encode())]
    return Target("safetensors header", make, read, examples, in_file(folder, "model.safetensors"), large)


CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "rope_scaling": None,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128, "load_in_8bit": False},
    "text_config": {"hidden_size": 16},
    "layer_types": ["full_attention"],
}
_KINDS = (
    "gpt2",
    "bert",
    "qwen3",
    "t5",
    "mpt",
    "gemma3",
    "llava",
    "GPT2LMHeadModel",
    "BertModel",
    "bitsandbytes",
    "awq",
    "fp8",
)


def _model_folder(folder: Path) -> Target:
    """A folder whose config.json, or another file of settings, is odd: from facts to the checks before loading."""
    import torch
    from safetensors.torch import save_file

    from jglue_app.backends.hf.checkpoint.model_folder import model_in_folder

    settings, model = _settings(folder), folder / "model"
    model.mkdir()
    save_file({"model.embed_tokens.weight": torch.zeros(32, 16)}, model / "model.safetensors")
    plain = {name: value for name, value in CONFIG.items() if name not in ("quantization_config", "text_config")}
    config = json_maker([CONFIG, plain, plain], values=[*_KINDS, 2**31, 10**9, 0, True, {"load_in_8bit": True}])
    index = {"metadata": {"total_size": 1}, "weight_map": {"a": "model.safetensors", "b": "../x", "c": "/etc/passwd"}}
    others: dict[str, Callable[[Random], bytes]] = {
        "generation_config.json": json_maker([{"eos_token_id": [2], "temperature": 1.0, "max_length": 20}]),
        "tokenizer_config.json": json_maker([{"chat_template": "{{ messages }}", "tokenizer_class": "LlamaTokenizer"}]),
        "model.safetensors.index.json": json_maker([index]),
        "adapter_config.json": json_maker([{"peft_type": "LORA", "base_model_name_or_path": "x", "r": 8}]),
        "modules.json": json_maker([[{"idx": 0, "name": "0", "path": "", "type": "x"}]]),
    }
    names = [*others]

    def make(rng: Random) -> tuple[bytes, str, bytes]:
        if rng.random() < 0.7:
            return config(rng), "", b""
        name = rng.choice(names)
        return json.dumps(plain).encode(), name, others[name](rng)

    def place(made: tuple[bytes, str, bytes]) -> ModelSpec:
        for name in names:
            (model / name).unlink(missing_ok=True)
        (model / "config.json").write_bytes(made[0])
        if made[1]:
            (model / made[1]).write_bytes(made[2])
        return ModelSpec(str(model))

    def read(spec: ModelSpec) -> object:
        relevant_files.relevant_files(model)
        model_facts.usual_format(str(model), settings)
        model_facts.has_chat_template(model)
        found = model_in_folder(spec, settings)
        assert found is not None
        return _built(json.loads((model / "config.json").read_text("utf-8")))

    return Target("config.json of a model", make, read, [(json.dumps(plain).encode(), "", b"")], place, share=0.3)


def _built(config: dict[str, Any]) -> object:
    """The size of what passes the checks: a number of layers that nothing can hold must not."""
    for name in ("num_hidden_layers", "n_layer", "num_layers", "n_layers"):
        layers = config.get(name)
        assert not isinstance(layers, int | float) or 0 < layers <= 10_000, f"{name} = {layers} passes"
    return config


# --- tokenizers -------------------------------------------------------------------------------------------


def _tokenizer_json() -> dict[str, Any]:
    vocabulary = {"<s>": 0, "</s>": 1, "<unk>": 2, "a": 3, "b": 4, "ab": 5, "▁": 6}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": k,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for text, k in list(vocabulary.items())[:3]
        ],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True},
        "post_processor": None,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "vocab": vocabulary, "merges": [["a", "b"]]},
    }


def _sentencepiece() -> bytes:
    import io

    import sentencepiece

    out = io.BytesIO()
    texts = iter(["今日は天気がよい", "犬が走る", "abc abc"] * 20)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=texts, model_writer=out, vocab_size=40, hard_vocab_limit=False, minloglevel=2
    )
    return out.getvalue()


def _tokenizer(folder: Path) -> Target:
    """A folder with a tokenizer, in each format, whose files are odd; opened as the linter opens it."""
    from jglue_app.backends.hf.tokenization.tokenizer import open_tokenizer

    settings, model = _settings(folder), folder / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({**CONFIG, "quantization_config": None, "text_config": None}))
    weights = {"model.embed_tokens.weight": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]}}
    (model / "model.safetensors").write_bytes(safetensors_file(json.dumps(weights).encode()))
    settings_file = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": {"content": "<unk>", "lstrip": False, "__type": "AddedToken"},
        "add_bos_token": True,
        "model_max_length": 1e30,
        "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        "added_tokens_decoder": {"0": {"content": "<s>", "special": True}},
        "additional_special_tokens": ["<x>"],
        "sp_model_kwargs": {},
        "extra_ids": 0,
    }
    table, tokenizer, piece = (
        json.dumps(settings_file).encode(),
        json.dumps(_tokenizer_json()).encode(),
        _sentencepiece(),
    )
    odd_table, odd_tokenizer, odd_piece = (
        json_maker([settings_file]),
        json_maker([_tokenizer_json()]),
        blob_maker([piece]),
    )
    added = json_maker([{"<x>": 40, "<y>": 41}])
    ranks = b"\n".join(base64.b64encode(bytes([n])) + b" %d" % n for n in range(256))

    def make(rng: Random) -> dict[str, bytes]:
        slow = table.replace(
            b"PreTrainedTokenizerFast", rng.choice((b"LlamaTokenizer", b"T5Tokenizer", b"XGLMTokenizer"))
        )
        match rng.randrange(6):
            case 0:
                return {"tokenizer_config.json": odd_table(rng), "tokenizer.json": tokenizer}
            case 1:
                return {"tokenizer_config.json": table, "tokenizer.json": odd_tokenizer(rng)}
            case 2:
                return {"tokenizer_config.json": slow, "tokenizer.model": odd_piece(rng)}
            case 3:
                return {
                    "tokenizer_config.json": odd_table(rng).replace(b"PreTrainedTokenizerFast", b"LlamaTokenizer"),
                    "tokenizer.model": piece,
                }
            case 4:
                data = bytearray(ranks)
                mutate(rng, data, rng.randint(0, len(data)), [b"= ", b"\n", b"99999999999"])
                return {"tokenizer_config.json": slow, "tokenizer.model": bytes(data)}
            case _:
                return {"tokenizer_config.json": table, "tokenizer.json": tokenizer, "added_tokens.json": added(rng)}

    def place(made: dict[str, bytes]) -> ModelSpec:
        for path in model.iterdir():
            if path.name not in ("config.json", "model.safetensors"):
                path.unlink()
        for name, content in made.items():
            (model / name).write_bytes(content)
        return ModelSpec(str(model))

    def read(spec: ModelSpec) -> object:
        opened = open_tokenizer(spec, settings, lambda _: None)
        return opened.encode_text("答えは ab です。"), opened.info

    examples = [{"tokenizer_config.json": table, "tokenizer.json": tokenizer}]
    return Target("tokenizer files", make, read, examples, place, share=0.05)


def _template(folder: Path) -> Target:
    """Chat templates, which run in a process of their own under limits; of this one the time is measured."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    from jglue_app.backends.hf.tokenization.chat_template import TemplateRefusedError, render_template

    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer_json()))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(folder / "tokenizer.json")), bos_token="<s>", eos_token="</s>"
    )
    sound = "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    pieces = (
        *("{{", "}}", "{%", "%}", " for m in messages ", " endfor ", " if enable_thinking ", " endif ", "m['content']"),
        *(
            "range(9)",
            "'a' * 99",
            ".__class__",
            "|upper",
            "|tojson",
            " set x = ",
            "[",
            "]",
            "(",
            ")",
            "raise_exception('no')",
        ),
        *(
            "namespace()",
            "strftime_now('%Y')",
            "loop.index",
            " generation ",
            "{#",
            "#}",
            "-",
            "'",
            '"',
            "~",
            " % ",
            "** 9",
        ),
    )
    turns = [{"role": "user", "content": "質問"}]

    def read(template: str) -> object:
        tokenizer.chat_template = template
        return render_template(tokenizer, "m", turns, thinking="off", generation=True)

    make = text_maker(pieces, (sound,), longest=5_000)
    return Target("chat template", make, read, (sound,), share=0.03, allowed=(TemplateRefusedError,))


TARGETS: dict[str, Callable[[Path], Target]] = {
    "answers of servers": _answers,
    "refusals of servers": _refusals,
    "endpoints.toml": _endpoints,
    "GGUF header": _gguf,
    "safetensors header": _safetensors,
    "config.json of a model": _model_folder,
    "tokenizer files": _tokenizer,
    "chat template": _template,
}
