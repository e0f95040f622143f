"""The files of a model of sentence-transformers: a folder, or a repository of the Hugging Face Hub.

Nothing is loaded here, and neither torch nor transformers is imported for a folder. Code of a repository is never run,
and pickled weights are not read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from jglue_app.backends.fingerprint import as_path
from jglue_app.backends.named_models import named_models
from jglue_app.backends.relevant_files import json_object
from jglue_app.errors import ModelError, ModelNotFoundError
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec
from jglue_app.whole_files import write_atomically

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
        raise _no_modules(name)
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


def _no_modules(name: str) -> ModelNotFoundError:
    return ModelNotFoundError(
        "{model} has no modules.json: it is no model of sentence-transformers. Choose --source hidden-states for a "
        "causal language model.",
        model=name,
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

    try:
        if name not in _names_on_hub(spec, settings):
            return None
        return Path(hf_hub_download(spec.id, name, revision=spec.revision, token=settings.hub_token))
    except Exception as e:  # Of the HTTP library, a proxy's page, a name that no repository can have.
        return _cached_file(spec, name, e)


def _names_on_hub(spec: ModelSpec, settings: Settings) -> set[str]:
    """The files of a repository. Unlike a download this is not tried again for half a minute."""
    from huggingface_hub import HfApi

    _require_network()
    info = HfApi(token=settings.hub_token).model_info(spec.id, revision=spec.revision, timeout=20)
    return {file.rfilename for file in info.siblings or ()}


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
    """The folder of a repository's files in the cache of the Hub, downloaded as far as they are not there; as a whole
    from there where the Hub does not answer."""
    from huggingface_hub import hf_hub_download

    def fetch(name: str, revision: str | None) -> Path:
        return Path(hf_hub_download(spec.id, name, revision=revision, token=settings.hub_token))

    try:
        names = [name for name in sorted(_names_on_hub(spec, settings)) if _is_loaded(name)]
        if MODULES not in names:
            raise _no_modules(spec.id)
        # By the name of the revision, so that the cache has its commit; then by the commit, which cannot move.
        folder = fetch(MODULES, spec.revision).parent
        for name in names:
            fetch(name, folder.name)
        marker = _marker(settings, folder.name)
        marker.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(marker, json.dumps(names))
        return folder
    except ModelError:
        raise
    except Exception as e:  # As above.
        return _cached_snapshot(spec, settings, e)


def _is_loaded(name: str) -> bool:
    """Whether a file of a repository may be read when its model is loaded."""
    return any(fnmatch(name, pattern) for pattern in DOWNLOADED) and not any(
        fnmatch(name, pattern) for pattern in NOT_DOWNLOADED
    )


def _marker(settings: Settings, commit: str) -> Path:
    """Where the names of the files of a commit are kept once all of them are here: a download may have broken off."""
    return settings.cache_dir / "sentence-models" / f"{commit}.json"


def _cached_snapshot(spec: ModelSpec, settings: Settings, error: Exception) -> Path:
    modules = _cached_file(spec, MODULES, error)
    if modules is None:
        raise _no_modules(spec.id)
    try:
        names = json.loads(_marker(settings, modules.parent.name).read_text("utf-8"))
    except (OSError, ValueError):
        names = None
    if not isinstance(names, list) or not all((modules.parent / str(name)).is_file() for name in names):
        raise _hub_error(spec, error) from error
    return modules.parent


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
