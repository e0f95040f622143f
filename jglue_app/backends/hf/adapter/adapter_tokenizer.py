"""The tokenizer of a model with an adapter: the one that was saved with the adapter, if its ids are the model's."""

from __future__ import annotations

import copy
from typing import Any

from jglue_app.backends.hf.adapter.adapter_files import AdapterFiles
from jglue_app.backends.hf.checkpoint.checkpoint_files import read_json_object
from jglue_app.backends.hf.tokenization.tokenizer_loading import load_tokenizer
from jglue_app.errors import ModelError, first_line

_TEMPLATE, _SETTINGS = "chat_template.jinja", "tokenizer_config.json"


def choose_tokenizer(files: AdapterFiles, own: Any, name: str, rows: int) -> Any:
    """The tokenizer that belongs to a model with an adapter.

    Training saves the tokenizer with the adapter, often with another chat template or end token than the model's: the
    adapter was trained with that one. What is merged has it too. Where the vocabulary is missing, that of the model is
    used with the adapter's chat template.

    Args:
        files: the adapter.
        own: the model's tokenizer.
        name: of the model, for messages.
        rows: tokens that the model has an embedding for.

    Raises:
        ModelError: it gives a token another id than the model's tokenizer, has more tokens than the model, ends
            answers with another token and has no vocabulary, or cannot be loaded.
    """
    if not files.has_tokenizer:
        return _without_vocabulary(files, own, name)
    try:
        tokenizer = load_tokenizer(files.name, {"pretrained_model_name_or_path": str(files.folder)})
        there, here = tokenizer.get_vocab(), own.get_vocab()
    except ModelError:
        raise
    except Exception as e:  # Of transformers or tokenizers: of any kind.
        raise ModelError(
            "The tokenizer that was saved with the adapter {adapter} could not be loaded ({reason}). Take its files "
            "out of the folder to use that of {model}.",
            adapter=files.name,
            model=name,
            reason=first_line(e),
        ) from e
    other = min((token for token in there.keys() & here.keys() if there[token] != here[token]), default=None)
    if other is not None:
        raise ModelError(
            "The tokenizer that was saved with the adapter {adapter} gives {token!r} the id {there}, and that of "
            "{model} gives it {here}: the adapter was made for another model.",
            adapter=files.name,
            token=other,
            there=there[other],
            here=here[other],
            model=name,
        )
    beyond = min((token for token, id_ in there.items() if id_ >= rows and token not in here), default=None)
    if beyond is not None:
        raise ModelError(
            "The tokenizer that was saved with the adapter {adapter} has the token {token!r} (id {id}), and {model} "
            "has an embedding for {rows} tokens. Merge the adapter into its base model with the added tokens, and "
            "name the merged folder as the model.",
            adapter=files.name,
            token=beyond,
            id=there[beyond],
            model=name,
            rows=rows,
        )
    return tokenizer


def _without_vocabulary(files: AdapterFiles, own: Any, name: str) -> Any:
    """The model's tokenizer with the chat template that was saved with an adapter, if there is one."""
    file, settings = files.folder / _TEMPLATE, files.folder / _SETTINGS
    table = read_json_object(settings, files.name) if settings.is_file() else {}
    end = table.get("eos_token")
    end = end.get("content") if isinstance(end, dict) else end
    if isinstance(end, str) and end != getattr(own, "eos_token", None):
        raise ModelError(
            "The adapter {adapter} was saved with the end token {there!r}, which is not that of {model} ({here!r}), "
            "and without the vocabulary of its tokenizer. Add the files of its tokenizer, such as tokenizer.json.",
            adapter=files.name,
            there=end,
            model=name,
            here=getattr(own, "eos_token", None),
        )
    try:
        template = file.read_text("utf-8") if file.is_file() else table.get("chat_template")
    except (OSError, UnicodeError) as e:
        raise ModelError(
            "The chat template of the adapter {adapter} cannot be read ({reason}). Fetch or save the adapter again.",
            adapter=files.name,
            reason=first_line(e),
        ) from e
    if isinstance(template, list):  # Of several names, as transformers stores them.
        template = {str(one["name"]): one["template"] for one in template}
    if not isinstance(template, str | dict) or template == getattr(own, "chat_template", None):
        return own
    tokenizer = copy.copy(own)
    tokenizer.chat_template = template
    return tokenizer
