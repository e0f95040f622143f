"""Finding a model's files: folders, GGUF files, and a Hub that is a real server on the loopback address."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from jglue_app.backends import open_backend
from jglue_app.backends.hf.checkpoint.find_weights import find_model
from jglue_app.errors import JglueAppError, ModelError, ModelNotFoundError, NetworkError, UnknownNameError
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec
from tests.backends.contract import collect, make_prompt, never, text_of

ROOT = Path(__file__).resolve().parents[2]

TinyModel = Callable[..., Path]


@pytest.fixture
def folder(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """A model folder that the test may write to."""
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))


def as_bin(folder: Path) -> None:
    """Replace the safetensors of a folder by pickled weights."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def weight_names(folder: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        return list(file.keys())


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


# --- folders and files ----------------------------------------------------------------------------------


def test_a_folder_without_config_is_refused(folder: Path, settings: Settings) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"holds no config\.json\. Give a transformers model folder"):
        open_backend(ModelSpec(str(folder)), settings)


def test_a_folder_without_weights_is_refused(folder: Path, settings: Settings) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"has no safetensors weights\.$"):
        open_backend(ModelSpec(str(folder)), settings)


def test_a_folder_with_gguf_weights_only_names_the_remedy(folder: Path, settings: Settings) -> None:
    (folder / "model.safetensors").rename(folder / "model.Q4.gguf")
    with pytest.raises(ModelNotFoundError, match=r"model\.Q4\.gguf"):
        open_backend(ModelSpec(str(folder)), settings)


def test_bin_weights_are_refused_unless_asked_for(folder: Path, settings: Settings) -> None:
    as_bin(folder)
    with pytest.raises(ModelError, match=r"only pickled \.bin weights\. .*\(--allow-bin\)"):
        open_backend(ModelSpec(str(folder)), settings, device="cpu")


def test_bin_weights_that_are_asked_for_answer_as_safetensors_do(
    folder: Path, tiny_model: TinyModel, settings: Settings
) -> None:
    as_bin(folder)
    prompts = [make_prompt("今日は"), make_prompt("答え：冬")]
    texts = []
    for spec in (ModelSpec(str(folder), allow_bin=True), ModelSpec(str(tiny_model("llama")))):
        backend = open_backend(spec, settings, device="cpu")
        texts.append([text_of(r) for _, r in sorted(collect(backend.generate(prompts, 8, never)).items())])
    assert texts[0] == texts[1]


class Malicious:
    """Unpickling this creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_bin_weights_run_no_code(folder: Path, settings: Settings, tmp_path: Path) -> None:
    import torch

    as_bin(folder)
    marker = tmp_path / "executed"
    torch.save({"lm_head.weight": Malicious(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="could not be loaded"):
        open_backend(ModelSpec(str(folder), allow_bin=True), settings, device="cpu")
    assert not marker.exists()


def test_a_configuration_that_brings_code_is_refused(folder: Path, settings: Settings) -> None:
    edit_json(folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling_own.OwnModel"})
    with pytest.raises(ModelError, match="run code from its repository, which this application never does"):
        open_backend(ModelSpec(str(folder)), settings)


def test_the_code_of_a_tokenizer_is_never_run_nor_offered(
    folder: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "executed"
    (folder / "own.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n", "utf-8")
    edit_json(
        folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]}, tokenizer_class="OwnTokenizer"
    )
    asked: list[str] = []

    def answer_yes(question: str) -> str:
        asked.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", answer_yes)
    with pytest.raises(ModelError):
        open_backend(ModelSpec(str(folder)), settings, device="cpu")
    assert not marker.exists()
    assert not asked


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"5", b'"x"', b"null", b"\xff\xfe", b"{}", b'{"model_type": "no"}']
)
def test_a_configuration_that_is_none_is_said(folder: Path, settings: Settings, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"\.$"):
        open_backend(ModelSpec(str(folder)), settings, device="cpu")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("tokenizer.json", b"{", "could not be loaded"),
        ("tokenizer.json", b"{}", "could not be loaded"),
        ("tokenizer.json", b"", "tokenizer.json of .* is empty. Fetch"),
        ("tokenizer.json", POINTER, "tokenizer.json of .* is a pointer of Git LFS .* Run `git lfs pull`"),
        ("tokenizer_config.json", b"[", "tokenizer_config.json of .* cannot be read"),
        ("tokenizer_config.json", b"", "tokenizer_config.json of .* is empty. Fetch"),
        ("generation_config.json", b"{", "generation_config.json of .* cannot be read"),
        ("generation_config.json", b'{"eos_token_id": "</s>"}', "names a token that ends a text by '</s>'"),
        ("generation_config.json", b'{"eos_token_id": [1, 2.5]}', "names a token that ends a text by 2.5"),
        ("config.json", b'\xef\xbb\xbf{"model_type": "llama"}', "config.json of .* begins with a byte-order mark"),
        ("config.json", POINTER, "config.json of .* is a pointer of Git LFS"),
        ("model.safetensors", b"", "model.safetensors of .* is empty. Fetch"),
        ("model.safetensors", b"\xff" * 100, "model.safetensors of .* is no safetensors file"),
        ("model.safetensors", b"\x02" + b"\0" * 7 + b"[]", "model.safetensors of .* is no safetensors file"),
        ("model.safetensors", POINTER, "model.safetensors of .* is a pointer of Git LFS"),
        # A list of 1,000 bytes, of which 2 are there: 8 + 2 of 8 + 1,000.
        ("model.safetensors", (1000).to_bytes(8, "little") + b"{}", "is cut off: 10 of 1,008 bytes are there"),
    ],
    ids=range(16),
)
def test_a_damaged_file_is_said(folder: Path, settings: Settings, name: str, content: bytes, sentence: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=sentence):
        open_backend(ModelSpec(str(folder)), settings, device="cpu")


def test_weights_whose_end_is_missing_are_said_with_the_bytes(folder: Path, settings: Settings) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1000])
    with pytest.raises(ModelError, match=f"is cut off: {len(whole) - 1000:,} of {len(whole):,} bytes are there"):
        open_backend(ModelSpec(str(folder)), settings, device="cpu")


@pytest.mark.parametrize("content", [b"", POINTER, None])
def test_damaged_pickled_weights_are_said(folder: Path, settings: Settings, content: bytes | None) -> None:
    as_bin(folder)
    whole = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(whole[:-1000] if content is None else content)
    with pytest.raises(ModelError, match=r"pytorch_model\.bin of .* is (empty|a pointer of Git LFS|cut off)"):
        open_backend(ModelSpec(str(folder), allow_bin=True), settings, device="cpu")


def test_a_folder_in_the_home_folder_may_be_written_with_a_tilde(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert find_model(ModelSpec("~/model"), settings, print).path == str(folder)


def test_a_folder_is_known_by_its_content(folder: Path, settings: Settings) -> None:
    before = find_model(ModelSpec(str(folder)), settings, print).commit
    assert find_model(ModelSpec(str(folder)), settings, print).commit == before
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert find_model(ModelSpec(str(folder)), settings, print).commit != before


def test_a_gguf_file_that_is_not_there_is_said(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(ModelNotFoundError, match=r"There is no file .*none\.gguf\. Give the path of a \.gguf file"):
        open_backend(ModelSpec(str(tmp_path / "none.gguf")), settings)


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "  \n", "a b", "a/b/c", "/", "//", "../../etc", "../../etc/passwd", "/etc/passwd", "owner/"),
        *(
            "/owner",
            "owner//name",
            "~nobody-of-that-name/x",
            "a\0b",
            "a" * 300,
            "owner/" + "名" * 3000,
            "-a/b",
            "a..b/c",
        ),
        *("モデル/名前", "owner/name@main", "https://huggingface.co/owner/name", "\ud800/x", "a/b.gguf", "\0.gguf"),
        *("x" * 5000 + ".gguf", "~nobody-of-that-name/x.gguf", "owner/name", "name"),
    ],
)
def test_an_id_of_any_shape_ends_in_one_sentence(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "one" / "two").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "one" / "two")
    with pytest.raises(JglueAppError) as caught:
        open_backend(ModelSpec(name), settings, device="cpu")
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message.replace(name, "")


def test_without_network_an_unknown_id_names_the_embedded_model(settings: Settings) -> None:
    with pytest.raises(NetworkError, match=r"owner/name is not on this machine.*the embedded model gemma-3-270m"):
        open_backend(ModelSpec("owner/name"), settings, device="cpu")


# --- public mode ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["owner/name", "..", "/etc", "{folder}", "{folder}/x.gguf", "gemma-3-270M", ""])
def test_public_mode_runs_models_of_the_registry_only(folder: Path, settings: Settings, name: str) -> None:
    public = replace(settings, public=True)
    with pytest.raises(UnknownNameError, match="This server runs the listed models only"):
        open_backend(ModelSpec(name.format(folder=folder)), public, device="cpu")


def test_public_mode_offers_the_nearest_name(settings: Settings) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'gemma-3-270m'\?"):
        open_backend(ModelSpec("gemma-3-270"), replace(settings, public=True), device="cpu")


# --- the Hub --------------------------------------------------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The part of the Hub's interface that is asked of it: a model's facts, and its files."""

    repositories: dict[str, Path]
    hidden: set[str]
    """Repositories whose facts and files are refused."""
    gated: set[str]
    """Repositories whose facts are told and files refused."""
    broken: set[str]
    """Repositories at which the server fails."""
    pages: set[str]
    """Repositories for which something else answers, such as the sign-in page of a hotel."""
    asked: list[str] = field(default_factory=list)
    commit: str = COMMIT
    """Of the main branch of every repository."""

    def facts(self, name: str) -> dict[str, Any]:
        files = sorted(p for p in self.repositories[name].rglob("*") if p.is_file())
        siblings = [{"rfilename": str(p.relative_to(self.repositories[name])), "size": p.stat().st_size} for p in files]
        return {"id": name, "modelId": name, "sha": self.commit, "siblings": siblings, "tags": [], "downloads": 0}

    def serve(self) -> ThreadingHTTPServer:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path).strip("/")
                hub.asked.append(f"{self.command} {path}")
                parts = path.split("/")
                if parts[:2] == ["api", "models"]:
                    self._api("/".join(parts[2:4]), parts[4:])
                elif len(parts) > 4 and parts[2] == "resolve":
                    self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
                else:
                    self._error(404, "EntryNotFound")

            do_HEAD = do_GET  # noqa: N815

            def _refused(self, name: str) -> bool:
                if name in hub.hidden or (name in hub.gated and not self.path.startswith("/api/")):
                    self._error(403, "GatedRepo")
                elif name in hub.broken:
                    self._error(500, "")
                elif name in hub.pages:
                    self._send(200, b"<html>Please sign in.</html>", {"Content-Type": "text/html"})
                elif name not in hub.repositories:
                    # The Hub says 401 of what does not exist, so that private names are not told.
                    self._error(401, "RepoNotFound")
                else:
                    return False
                return True

            def _api(self, name: str, rest: list[str]) -> None:
                if self._refused(name):
                    return
                if rest[:1] == ["revision"] and rest[1] not in ("main", hub.commit):
                    self._error(404, "RevisionNotFound")
                elif rest[:1] in ([], ["revision"]):
                    self._send(200, json.dumps(hub.facts(name)).encode(), {"Content-Type": "application/json"})
                else:
                    self._error(404, "EntryNotFound")

            def _file(self, name: str, revision: str, path: str) -> None:
                if self._refused(name):
                    return
                file = hub.repositories[name] / path
                if revision not in ("main", hub.commit):
                    self._error(404, "RevisionNotFound")
                elif not file.is_file():
                    self._error(404, "EntryNotFound", {"X-Repo-Commit": hub.commit})
                else:
                    content = file.read_bytes()
                    etag = hashlib.sha256(content).hexdigest()
                    self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": hub.commit})

            def _error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
                self._send(status, b"{}", {"X-Error-Code": code, **(headers or {})})

            def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(content))}).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


CHILD = """
import json, sys
from dataclasses import replace
from jglue_app.backends import open_backend
from jglue_app.errors import JglueAppError
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec
from tests.backends.contract import collect, make_prompt, never, text_of

found = {}
for name, fields, public in json.load(sys.stdin):
    settings = replace(load_settings(), public=public)
    try:
        backend = open_backend(ModelSpec(**fields), settings, device="cpu")
        text = text_of(collect(backend.generate([make_prompt("今日は")], 8, never))[0])
        found[name] = {"error": None, "commit": backend.info.commit, "text": text}
    except JglueAppError as e:
        found[name] = {"error": type(e).__name__, "message": str(e)}
print("RESULT" + json.dumps(found))
"""

Found = dict[str, dict[str, Any]]


@dataclass
class World:
    """What became of each case."""

    there: Found
    """With the Hub there."""
    away: Found
    """Afterwards, with the Hub away."""
    asked: list[str]
    """What the Hub was asked."""


def in_a_process_of_its_own(endpoint: str, home: Path, cases: dict[str, ModelSpec]) -> Found:
    """Open each model in a new process that takes `endpoint` for the Hub.

    The address is read when huggingface_hub is imported, hence the process. Names that begin with "public" are
    opened in public mode.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "JGLUE_"))}
    env |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hub"), "HOME": str(home), "PYTHONPATH": str(ROOT)}
    env |= {"JGLUE_CACHE_DIR": str(home / "cache"), "OMP_NUM_THREADS": "1"}
    rows = [(name, asdict(spec), name.startswith("public")) for name, spec in cases.items()]
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=json.dumps(rows), env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found: Found = json.loads(done.stdout.split("RESULT")[1])
    return found


REFUSED = {
    "missing": (ModelSpec("tiny/none"), "ModelNotFoundError", "There is no model 'tiny/none' on this machine or on"),
    "hidden": (ModelSpec("tiny/hidden"), "ModelAccessError", "tiny/hidden is gated or private. Accept its terms"),
    "gated": (ModelSpec("tiny/gated"), "ModelAccessError", "tiny/gated is gated or private. Accept its terms"),
    "revision": (ModelSpec("tiny/good", revision="v9"), "ModelNotFoundError", "tiny/good has no revision 'v9'"),
    "bin": (ModelSpec("tiny/bin"), "ModelError", "tiny/bin has only pickled .bin weights. In local mode"),
    "code": (ModelSpec("tiny/code"), "ModelError", "tiny/code needs to run code from its repository"),
    "gguf only": (
        ModelSpec("tiny/gguf"),
        "ModelNotFoundError",
        "It has GGUF files: name tiny.gguf as the “GGUF",
    ),
    "gguf name": (
        ModelSpec("tiny/gguf", gguf_file="big.gguf"),
        "ModelNotFoundError",
        "tiny/gguf has no file 'big.gguf'. Its GGUF files: tiny.gguf.",
    ),
    "no gguf": (ModelSpec("tiny/good", gguf_file="a.gguf"), "ModelNotFoundError", "Its GGUF files: none."),
    "no model": (ModelSpec("tiny/dataset"), "ModelNotFoundError", "no config.json: it is not a transformers model"),
    "broken": (ModelSpec("tiny/broken"), "NetworkError", "cannot be reached (HfHubHTTPError)"),
    "page": (ModelSpec("tiny/page"), "NetworkError", "tiny/page is not on this machine and http://127.0.0.1"),
    "adapter": (
        ModelSpec("tiny/adapter"),
        "ModelError",
        "tiny/adapter holds an adapter (adapter_config.json) for the model owner/base, and is not named",
    ),
    "adapter beside": (
        ModelSpec("tiny/beside"),
        "ModelError",
        "tiny/beside holds an adapter (adapter_config.json) for",
    ),
    "embedder": (ModelSpec("tiny/embedder"), "ModelError", "tiny/embedder is an embedding model"),
    "masked": (ModelSpec("tiny/masked"), "ModelError", "tiny/masked is an encoder (a masked language model)"),
    "shard missing": (ModelSpec("tiny/broken-off"), "ModelNotFoundError", "The weight file b.safetensors of tiny/br"),
    "shard outside": (ModelSpec("tiny/outside"), "ModelError", "names a file outside the model (../b.safetensors)"),
    "blank": (ModelSpec("  "), "ModelNotFoundError", "There is no model '  '"),
    "traversal": (ModelSpec("../../nowhere"), "ModelNotFoundError", "An id looks like owner/name"),
    "three parts": (ModelSpec("a/b/c"), "ModelNotFoundError", "An id looks like owner/name"),
    "space": (ModelSpec("tiny/go od"), "ModelNotFoundError", "There is no model 'tiny/go od'"),
    "question": (ModelSpec("tiny/good?x=1"), "ModelNotFoundError", "There is no model"),
    "japanese": (ModelSpec("モデル/名前"), "ModelNotFoundError", "There is no model 'モデル/名前'"),
    "odd revision": (ModelSpec("tiny/good", revision="../.."), "ModelNotFoundError", "has no revision '../..'"),
    "public": (ModelSpec("tiny/good"), "UnknownNameError", "This server runs the listed models only."),
    "public revision": (ModelSpec("Qwen/Qwen3-0.6B", revision="refs/pr/1"), "InputError", "leave out revision"),
    "public bin": (ModelSpec("Qwen/Qwen3-0.6B", allow_bin=True), "InputError", "leave out revision"),
    "public gguf": (ModelSpec("Qwen/Qwen3-0.6B", gguf_file="x.gguf"), "InputError", "leave out revision"),
}
LOADED = {
    "good": ModelSpec("tiny/good"),
    "good at a commit": ModelSpec("tiny/good", revision=COMMIT),
    "bin as asked": ModelSpec("tiny/bin", allow_bin=True),
    "gguf as asked": ModelSpec("tiny/gguf", gguf_file="tiny.gguf"),
    "two copies": ModelSpec("tiny/twice"),
    "public good": ModelSpec("Qwen/Qwen3-0.6B"),
}


@pytest.fixture(scope="module")
def world(tiny_model: TinyModel, tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """All cases, opened while the Hub is there and once more when it is away."""
    place = tmp_path_factory.mktemp("hub")
    good = tiny_model("llama")
    with_bin, with_code = (Path(shutil.copytree(good, place / name)) for name in ("bin", "code"))
    as_bin(with_bin)
    edit_json(with_code / "config.json", auto_map={"AutoModelForCausalLM": "modeling_own.OwnModel"})
    with_gguf, dataset = place / "gguf", place / "dataset"
    for folder in (with_gguf, dataset):
        folder.mkdir()
    shutil.copy(good / "config.json", with_gguf)
    shutil.copy(tiny_gguf, with_gguf)
    (dataset / "data.csv").write_text("a,b\n", "utf-8")
    alone, beside, embedder, masked, broken_off, outside, twice = (
        place / name for name in ("alone", "beside", "embedder", "masked", "broken-off", "outside", "twice")
    )
    for folder in (beside, embedder, masked, twice):
        shutil.copytree(good, folder)
    for folder in (alone, broken_off, outside):
        folder.mkdir()
    for folder in (alone, beside):
        (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}', "utf-8")
        (folder / "adapter_model.safetensors").write_bytes(b"?")
    (embedder / "modules.json").write_text("[]", "utf-8")
    edit_json(masked / "config.json", model_type="bert", architectures=["BertForMaskedLM"])
    for folder, shard in ((broken_off, "b.safetensors"), (outside, "../b.safetensors")):
        shutil.copy(good / "config.json", folder)
        (folder / "a.safetensors").write_bytes(b"?")
        index = {"weight_map": {"x": "a.safetensors", "y": shard}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    (twice / "model.safetensors").rename(twice / "model-00001-of-00001.safetensors")
    shutil.copy(twice / "model-00001-of-00001.safetensors", twice / "consolidated.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weight_names(good), "model-00001-of-00001.safetensors")}
    (twice / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    repositories = {
        "tiny/adapter": alone,
        "tiny/beside": beside,
        "tiny/embedder": embedder,
        "tiny/masked": masked,
        "tiny/broken-off": broken_off,
        "tiny/outside": outside,
        "tiny/twice": twice,
        "tiny/good": good,
        "tiny/gated": good,
        "Qwen/Qwen3-0.6B": good,
        "tiny/bin": with_bin,
        "tiny/code": with_code,
        "tiny/gguf": with_gguf,
        "tiny/dataset": dataset,
    }
    hub = Hub(repositories, hidden={"tiny/hidden"}, gated={"tiny/gated"}, broken={"tiny/broken"}, pages={"tiny/page"})
    home = place / "home"
    server = hub.serve()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        refused = {name: spec for name, (spec, _, _) in REFUSED.items()}
        there = in_a_process_of_its_own(endpoint, home, refused | LOADED)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    away = in_a_process_of_its_own(endpoint, home, LOADED | {"never fetched": ModelSpec("tiny/else")})
    return World(there, away, hub.asked)


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.slow
def test_the_hub_refuses_with_a_sentence_that_says_what_to_do(world: World, case: str) -> None:
    found, (_, kind, says) = world.there[case], REFUSED[case]
    assert found["error"] == kind, found
    assert says in found["message"]
    assert found["message"].endswith(".")
    assert "\n" not in found["message"]


@pytest.mark.parametrize("case", LOADED)
@pytest.mark.slow
def test_a_repository_loads_from_the_hub_and_again_without_it(
    world: World, open_tiny: Callable[..., Backend], case: str
) -> None:
    text = text_of(collect(open_tiny("llama").generate([make_prompt("今日は")], 8, never))[0])
    for found in (world.there[case], world.away[case]):
        assert found["error"] is None, found
        assert found["text"] == text
        if "gguf" not in case:
            assert found["commit"] == COMMIT


@pytest.mark.slow
def test_what_was_never_fetched_needs_the_network(world: World) -> None:
    found = world.away["never fetched"]
    assert found["error"] == "NetworkError"
    assert "tiny/else is not on this machine and http://127.0.0.1" in found["message"]
    assert "use the embedded model gemma-3-270m" in found["message"]


@pytest.mark.slow
def test_each_repository_is_downloaded_once_and_refused_ones_never(world: World) -> None:
    weights = [q for q in world.asked if q.startswith("GET") and q.endswith((".safetensors", ".bin", ".gguf"))]
    repositories = sorted(question.split("/resolve/")[0] for question in weights)
    assert repositories == [
        *("GET Qwen/Qwen3-0.6B", "GET tiny/bin", "GET tiny/gguf", "GET tiny/good", "GET tiny/twice"),
    ]


@pytest.mark.slow
def test_nobody_is_asked_to_convert_weights(world: World) -> None:
    assert not [question for question in world.asked if "commits" in question or "discussions" in question]
