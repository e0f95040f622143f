"""The files of an adapter: in a folder, or of a repository on the Hugging Face Hub. No code of it is ever run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from jglue_app import environment
from jglue_app.backends.adapter_fingerprint import adapter_digest
from jglue_app.backends.fingerprint import as_path
from jglue_app.backends.hf.adapter.adapter_settings import check_settings
from jglue_app.backends.hf.checkpoint.checkpoint_files import read_json_object
from jglue_app.backends.hf.checkpoint.weight_headers import read_headers
from jglue_app.errors import (
    InputError,
    JglueAppError,
    ModelAccessError,
    ModelError,
    ModelNotFoundError,
    NetworkError,
)
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model"),
    *("vocab.json", "merges.txt", "vocab.txt", "spiece.model", "chat_template.jinja"),
)
"""Files of a tokenizer that training saves with an adapter."""
_VOCABULARY_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An adapter on this machine, whose settings were checked."""

    name: str
    """As it was requested."""
    folder: Path
    commit: str
    """Of the repository on the Hub, or `local-` and a checksum over the files."""
    settings: Mapping[str, Any]
    """The table of its adapter_config.json."""

    @property
    def weights(self) -> Path:
        """The file with its weights."""
        return self.folder / WEIGHTS

    @property
    def has_tokenizer(self) -> bool:
        """Whether a tokenizer was saved with it."""
        return any((self.folder / name).is_file() for name in _VOCABULARY_FILES)


def find_adapter(spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> AdapterFiles:
    """Find the adapter of a model's spec, fetch it if it is on the Hub, and check its settings.

    Raises:
        InputError: public mode.
        ModelNotFoundError, ModelAccessError: there is no such adapter, or it is gated.
        ModelError: it has no weights in safetensors, is damaged, or is of a kind that is not applied here.
        NetworkError: the Hub cannot be reached, and the adapter is not cached.
    """
    name = spec.adapter or ""
    if settings.public:
        raise InputError("This server runs the listed models as they are: leave out the adapter.")
    path = as_path(name)
    if path is not None and path.is_dir():
        _check_names(name, {file.name for file in path.iterdir() if file.is_file()}, path)
        folder, commit = path, f"local-{adapter_digest(path, settings)[:16]}"
    else:
        folder, commit = _on_hub(name, settings, notify)
    table = read_json_object(folder / CONFIG, name)
    check_settings(name, table)
    read_headers([folder / WEIGHTS], name)
    return AdapterFiles(name, folder, commit, table)


def _check_names(name: str, names: Collection[str], folder: Path | None = None) -> None:
    """Raise ModelError unless an adapter's files are there, its weights as safetensors."""
    if CONFIG not in names:
        if folder is not None:
            raise ModelNotFoundError(
                "The folder {folder} holds no adapter_config.json. Give the folder in which peft saved an adapter.",
                folder=folder,
            )
        raise ModelNotFoundError(
            "{adapter} has no adapter_config.json: it is no adapter of peft. If it is a whole model, name it as the "
            "model.",
            adapter=name,
        )
    if WEIGHTS in names:
        return
    pickled = sorted(n for n in names if n.startswith("adapter_model") and n.endswith((".bin", ".pt")))
    if pickled:
        raise ModelError(
            "The adapter {adapter} has only pickled weights ({file}), which are not read. Load it with peft and save "
            "it again: `save_pretrained` writes safetensors.",
            adapter=name,
            file=pickled[0],
        )
    raise ModelNotFoundError(
        "The adapter {adapter} has no weights (adapter_model.safetensors). Fetch or save it again.", adapter=name
    )


def _on_hub(name: str, settings: Settings, notify: Callable[[str], None]) -> tuple[Path, str]:
    """Folder and commit of an adapter on the Hub, fetched unless it is cached."""
    if name.count("/") != 1:  # The Hub would look for a repository of its own, or refuse the name.
        raise _not_found(name)
    try:
        if not constants.HF_HUB_OFFLINE:
            environment.check_network(constants.ENDPOINT)
        info = HfApi(token=settings.hub_token).model_info(name, timeout=20)
        names = {f.rfilename for f in info.siblings or []}
    except (LocalEntryNotFoundError, InputError) as e:
        return _in_cache(name, e)
    except GatedRepoError as e:
        raise _gated(name) from e
    except (HFValidationError, RepositoryNotFoundError, EntryNotFoundError) as e:
        raise _not_found(name) from e
    except Exception as e:  # Of the HTTP library, which differs between versions of huggingface_hub; of a proxy's page.
        if isinstance(e, HfHubHTTPError) and e.response is not None and e.response.status_code in (401, 403):
            raise _gated(name) from e
        return _in_cache(name, e)
    _check_names(name, names)
    notify(Message("Fetching the adapter {adapter} from the Hugging Face Hub, unless it is cached.", adapter=name))
    # By the branch, so that the cache has its commit when the Hub does not answer.
    fetch = functools.partial(hf_hub_download, name, token=settings.hub_token)
    try:
        paths = [Path(fetch(file)) for file in (CONFIG, WEIGHTS, *TOKENIZER_FILES) if file in names]
    except GatedRepoError as e:
        raise _gated(name) from e
    except Exception as e:  # As above.
        raise _unreachable(name, e) from e
    return paths[0].parent, info.sha or paths[0].parent.name


def _in_cache(name: str, error: Exception) -> tuple[Path, str]:
    """An adapter that was fetched before, when the Hub does not answer now."""
    try:
        paths = [Path(hf_hub_download(name, file, local_files_only=True)) for file in (CONFIG, WEIGHTS)]
    except HFValidationError as e:
        raise _not_found(name) from e
    except (LocalEntryNotFoundError, OSError):
        raise _unreachable(name, error) from error
    return paths[0].parent, paths[0].parent.name


def _not_found(name: str) -> ModelError:
    return ModelNotFoundError(
        "There is no adapter {adapter!r} on this machine or on the Hugging Face Hub (or it is private). Give the "
        "folder in which peft saved it, or an id like owner/name.",
        adapter=name,
    )


def _gated(name: str) -> ModelAccessError:
    return ModelAccessError(
        "The adapter {adapter} is gated or private. Accept its terms on its page on the Hugging Face Hub and set "
        "HF_TOKEN, or choose another adapter.",
        adapter=name,
    )


def _unreachable(name: str, error: Exception) -> JglueAppError:
    if isinstance(error, InputError):  # It says what is wrong.
        return error
    return NetworkError(
        "The adapter {adapter} is not on this machine and {endpoint} cannot be reached ({error}). Check the "
        "connection, or name a folder.",
        adapter=name,
        endpoint=constants.ENDPOINT,
        error=type(error).__name__,
    )
