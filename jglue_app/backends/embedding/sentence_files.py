"""The files of a model of sentence-transformers: a folder, or a repository of the Hugging Face Hub.

Nothing is loaded here, and neither torch nor transformers is imported for a folder. Code of a repository is never run,
and pickled weights are not read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jglue_app.backends.fingerprint import as_path
from jglue_app.backends.named_models import named_models
from jglue_app.backends.relevant_files import json_object
from jglue_app.errors import ModelError, ModelNotFoundError
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

MODULES = "modules.json"
"""The file by which a model of sentence-transformers is known."""
CONFIG = "config_sentence_transformers.json"
OWN_CLASSES = "sentence_transformers."
DOWNLOADED = ("*.json", "*.txt", "*.model", "*.vocab", "*.jinja", "*.spm", "*.safetensors")
NOT_DOWNLOADED = ("onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*")


def is_sentence_model(spec: ModelSpec, settings: Settings) -> bool:
    """Whether a model is one of sentence-transformers, by its modules.json.

    Raises:
        ModelError, NetworkError: it is not on this machine, and the Hub does not say.
    """
    named = named_models().get(spec.id)
    path = as_path(spec.id)
    if (named and named.package) or path is None or spec.id.endswith(".gguf"):
        return False
    if path.is_dir():
        return (path / MODULES).is_file()
    return _hub_file(spec, settings, MODULES) is not None


def stored_config(spec: ModelSpec, settings: Settings) -> Mapping[str, Any]:
    """The table of a model's config_sentence_transformers.json; empty if it has none.

    Raises:
        ModelError, NetworkError: it is not on this machine, and the Hub does not give it.
    """
    path = as_path(spec.id)
    if path is not None and path.is_dir():
        return json_object(path / CONFIG)
    file = _hub_file(spec, settings, CONFIG)
    return json_object(file) if file else {}


def find_folder(spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> tuple[Path, str]:
    """The folder with a model's files, which are downloaded if they are not here, and their commit; empty for a folder
    of the user.

    Raises:
        ModelError: one of its kinds: no such model, gated, not of sentence-transformers, or with code of its own or
            pickled weights.
        NetworkError: the Hub cannot be reached and the model is not cached.
    """
    path = as_path(spec.id)
    if path is not None and path.is_dir():
        check_folder(path, spec.id)
        return path, ""
    notify(Message("Fetching {model} from the Hugging Face Hub, unless it is cached.", model=spec.id))
    folder = _snapshot(spec, settings)
    check_folder(folder, spec.id)
    return folder, folder.name


def check_folder(folder: Path, name: str) -> None:
    """Reject what cannot be loaded without running code of the model or reading pickled weights.

    Raises:
        ModelError: which of these it is.
    """
    if not (folder / MODULES).is_file():
        raise ModelNotFoundError(
            "{model} has no modules.json: it is no model of sentence-transformers. Choose --source hidden-states for a "
            "causal language model.",
            model=name,
        )
    for module in modules_of(folder, name):
        kind, at = str(module.get("type") or ""), str(module.get("path") or "")
        if not kind.startswith(OWN_CLASSES):
            raise ModelError(
                "{model} needs code of its own ({kind}), which is never run here. Choose a model of the classes of "
                "sentence-transformers.",
                model=name,
                kind=kind or MODULES,
            )
        place = folder / at
        if not place.resolve().is_relative_to(folder.resolve()):
            raise ModelError("The modules.json of {model} names a folder outside it ({path}).", model=name, path=at)
        _reject_pickled(place, name)
        activation = json_object(place / "config.json").get("activation_function")
        if isinstance(activation, str) and not activation.startswith("torch."):
            raise ModelError(
                "{model} needs code of its own ({kind}), which is never run here. Choose a model of the classes of "
                "sentence-transformers.",
                model=name,
                kind=activation,
            )
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            "{model} is an adapter on another model. Merge it first, and name the merged model.", model=name
        )


def modules_of(folder: Path, name: str) -> list[Mapping[str, Any]]:
    """The entries of a folder's modules.json, in order; raises ModelError where it is no list of them."""
    try:
        table = json.loads((folder / MODULES).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        table = None
    if not isinstance(table, list) or not table or not all(isinstance(module, dict) for module in table):
        raise ModelError("The modules.json of {model} is no list of modules. Get the file again.", model=name)
    return table


def _reject_pickled(place: Path, name: str) -> None:
    """Reject a module whose weights are there as a pickle alone."""
    names = [path.name for path in place.iterdir()] if place.is_dir() else []
    pickled = [file for file in names if file.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt"))]
    if pickled and not any(file.endswith(".safetensors") for file in names):
        raise ModelError(
            "The weights of {model} are pickled ({file}), which can run code, and are not read. Choose a model with "
            "safetensors.",
            model=name,
            file=min(pickled),
        )


# --- on the Hub -----------------------------------------------------------------------------------------


def _hub_file(spec: ModelSpec, settings: Settings, name: str) -> Path | None:
    """A small file of a repository, from the cache where the Hub does not answer; None if it has none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        _require_network()
        return Path(hf_hub_download(spec.id, name, revision=spec.revision, token=settings.hub_token))
    except LocalEntryNotFoundError as e:  # It is an EntryNotFoundError too, and says that the Hub was not asked.
        return _cached_file(spec, name, e)
    except EntryNotFoundError:
        return None
    except Exception as e:  # Of the HTTP library, a proxy's page, a name that no repository can have.
        return _cached_file(spec, name, e)


def _cached_file(spec: ModelSpec, name: str, error: Exception) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    for known in (name, "config.json"):
        try:
            path = hf_hub_download(spec.id, known, revision=spec.revision, local_files_only=True)
        except (LocalEntryNotFoundError, OSError, ValueError):
            continue
        return Path(path) if known == name else None
    raise _hub_error(spec, error) from error


def _snapshot(spec: ModelSpec, settings: Settings) -> Path:
    from huggingface_hub import snapshot_download

    chosen: dict[str, Any] = {
        "revision": spec.revision,
        "allow_patterns": list(DOWNLOADED),
        "ignore_patterns": list(NOT_DOWNLOADED),
    }
    try:
        _require_network()
        return Path(snapshot_download(spec.id, token=settings.hub_token, **chosen))
    except Exception as e:  # As above.
        try:
            folder = Path(snapshot_download(spec.id, local_files_only=True, **chosen))
        except Exception:  # Of the same kinds; what matters is why the Hub did not answer.
            raise _hub_error(spec, e) from e
        return folder


def _require_network() -> None:
    from huggingface_hub import constants

    from jglue_app import environment

    if not constants.HF_HUB_OFFLINE:
        environment.check_network(constants.ENDPOINT)


def _hub_error(spec: ModelSpec, error: Exception) -> Exception:
    """The sentence for an error of the Hub, as for other models."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    from jglue_app.backends.hf.checkpoint import hub_weights

    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else 0
    if isinstance(error, GatedRepoError) or (
        status in (401, 403) and not isinstance(error, RepositoryNotFoundError | RevisionNotFoundError)
    ):
        return hub_weights.gated(spec)
    if isinstance(error, HFValidationError | RepositoryNotFoundError | RevisionNotFoundError):
        return hub_weights.not_found(spec, error)
    return hub_weights.unreachable(spec, error)
