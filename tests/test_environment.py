"""What a process finds around it: locales, no home folder, proxies, certificate files, closed folders and streams.

Real processes in such surroundings, as few as there can be; the rest is asked of the functions.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import certifi
import httpx
import pytest
from huggingface_hub import constants

from jglue_app import environment
from jglue_app.backends.hf.checkpoint.find_weights import find_model
from jglue_app.cli.tables import print_json
from jglue_app.data import files
from jglue_app.errors import InputError
from jglue_app.settings import Settings, load_settings
from jglue_app.types import ModelSpec
from jglue_app.wandb_sink.login import Target, operator_key
from jglue_app.wandb_sink.login import target as wandb_target

ROOT = Path(__file__).resolve().parent.parent
NETWORK = (*environment.PROXIES, "NO_PROXY", *environment.CERTIFICATES, *environment.REQUESTS_CERTIFICATES)
REFUSES = "http://127.0.0.1:9"
"""A proxy at which nobody listens."""
HUB = "https://huggingface.co"


def works(*command: str) -> bool:
    """Whether this machine lets us start a process so."""
    found = shutil.which(command[0])
    return bool(found) and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0


UNKNOWN_USER = ("unshare", "--user", "--map-user=54321", "--map-group=54321")
NO_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
"""As root, but bound by permissions as anybody is."""


def surroundings(**more: str) -> dict[str, str]:
    """Next to nothing: what a container gives to a process."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **more}


def product(
    *words: str | Path, env: Mapping[str, str], before: tuple[str, ...] = (), cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [*before, sys.executable, "-m", "jglue_app", *map(str, words)]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, timeout=120, check=False)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxy or certificate of this machine; what a test has set aside is forgotten after it."""
    for name in NETWORK:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    environment._faults.clear()
    yield
    environment._faults.clear()


# --- locales ----------------------------------------------------------------------------------------------

TEXTS = {"text": "矛盾👍 café 𠮷野家 ¥100 ‾ \\ \ud83d", "nan": float("nan"), "numbers": [1.5, float("inf")]}


class Stream:
    """Standard output in some encoding."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.bytes = b""

    def write(self, text: str) -> int:
        self.bytes += text.encode(self.encoding, "backslashreplace")
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(
    "encoding", ["utf-8", "cp932", "shift_jis", "euc_jp", "iso2022_jp", "latin-1", "ascii", "cp1252", "gb18030"]
)
def test_json_is_json_of_the_same_values_in_every_locale(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    print_json(TEXTS)
    found = json.loads(stream.bytes.decode(encoding))
    # JSON has no word for what is no number; nothing else may change, not even the half of a pair.
    assert found == {"text": TEXTS["text"], "nan": None, "numbers": [1.5, None]}


def test_json_stays_readable_where_the_locale_can_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream("cp932")
    monkeypatch.setattr(sys, "stdout", stream)
    print_json({"text": "矛盾"})
    assert stream.bytes.decode("cp932") == '{\n  "text": "矛盾"\n}\n'


def test_a_process_whose_output_is_cp932_writes_json_and_a_table(tmp_path: Path) -> None:
    text = "関係は「矛盾」です👍\n質問：café 𠮷野家"
    (tmp_path / "p.jsonl").write_text(json.dumps({"item_id": "sn001", "text": text}) + "\n")
    env = surroundings(HOME=str(tmp_path), PYTHONUTF8="0", PYTHONIOENCODING="cp932")
    words = ("score", "--task", "jnli", "--data", "sample", "--predictions", tmp_path / "p.jsonl", "--partial")
    machine = product(*words, "--protocol", "all", "--json", env=env)
    assert machine.returncode == 0, machine.stderr
    assert text in [row["text"] for row in json.loads(machine.stdout.decode("cp932"))["disagreements"]]
    table = product(*words, "--protocol", "all", env=env)
    assert table.returncode == 0, table.stderr
    assert "「関係は「矛盾」です\\U0001f44d\\u23ce質問：caf\\xe9" in table.stdout.decode("cp932")


# --- streams, numbers, warnings -----------------------------------------------------------------------------


def test_a_closed_or_full_standard_output_ends_in_no_traceback(tmp_path: Path) -> None:
    command = f"{sys.executable} -m jglue_app models"
    env = surroundings(HOME=str(tmp_path))
    closed = subprocess.run(["sh", "-c", f"{command} >&- 2>&-"], env=env, capture_output=True, check=False)
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, b"", b"")
    if Path("/dev/full").exists():
        full = subprocess.run(["sh", "-c", f"{command} >/dev/full"], env=env, capture_output=True, check=False)
        assert full.returncode == 2
        assert full.stderr.startswith(b"error: Standard output cannot be written (No space left on device).")
        assert full.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("GRADIO_SERVER_PORT", "http", "GRADIO_SERVER_PORT takes a whole number, not 'http'"),
        ("GRADIO_SERVER_PORT", "70000", "GRADIO_SERVER_PORT takes a port from 0 to 65535"),
        ("GRADIO_DEBUG", "yes", "GRADIO_DEBUG takes a whole number"),
        ("GRADIO_NUM_PORTS", "", "GRADIO_NUM_PORTS takes a whole number"),
    ],
)
def test_a_number_of_the_pages_library_that_is_none_is_named(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/tmp")
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=says):
        environment.check_page()


# --- a home folder ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not works(*UNKNOWN_USER), reason="needs user namespaces")
def test_a_user_without_name_and_home_can_work_and_is_told_where_caches_go(tmp_path: Path) -> None:
    env = surroundings(TMPDIR=str(tmp_path))
    found = product("data", "list", "--json", env=env, before=UNKNOWN_USER, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)) == 19
    where = tmp_path / "jglue-app-54321"
    assert found.stderr.decode() == (
        f"note: This user has no home folder: caches go to {where}. Set HOME or JGLUE_CACHE_DIR to keep them "
        "elsewhere.\n"
    )
    assert where.stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "~").exists()


@pytest.mark.skipif(not works(*UNKNOWN_USER), reason="needs user namespaces")
def test_where_no_home_folder_can_be_made_the_variables_to_set_are_named(tmp_path: Path) -> None:
    (tmp_path / "jglue-app-54321").write_text("Somebody else's.")
    env = surroundings(TMPDIR=str(tmp_path))
    refused = product("data", "list", env=env, before=UNKNOWN_USER, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert "Set JGLUE_CACHE_DIR (or HOME)" in refused.stderr.decode()
    served = product("data", "list", env={**env, "JGLUE_CACHE_DIR": str(tmp_path)}, before=UNKNOWN_USER, cwd=tmp_path)
    assert served.returncode == 0, served.stderr


def test_an_empty_home_is_none_and_not_the_root_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("JGLUE_CACHE_DIR")
    assert load_settings().cache_dir.is_relative_to(Path.home())
    assert Path.home() != Path("/")


def test_wandb_without_a_home_folder_has_no_key_and_the_usual_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NETRC", "WANDB_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert wandb_target("jglue") == Target("", "jglue", "https://api.wandb.ai")
    assert operator_key("https://api.wandb.ai") == ""


# --- proxies ----------------------------------------------------------------------------------------------


def test_no_proxy_is_asked_for_this_machine_and_what_was_excepted_before_still_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", REFUSES)
    monkeypatch.setenv("NO_PROXY", "wandb.example,10.0.0.1")
    assert environment.prepare() == []
    environment.ask_no_proxy_for("192.168.1.5")
    environment.prepare()
    hosts = ["wandb.example", "10.0.0.1", "localhost", "127.0.0.1", "::1", "192.168.1.5"]
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == ",".join(hosts)
    assert all(urllib.request.proxy_bypass(host) for host in hosts)
    assert not urllib.request.proxy_bypass("huggingface.co")
    assert os.environ["HTTP_PROXY"] == REFUSES


def test_without_a_proxy_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    environment.prepare()
    assert not {"NO_PROXY", "no_proxy"} & set(os.environ)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HTTPS_PROXY", "http://[::1", "HTTPS_PROXY takes the address of a proxy"),
        ("HTTPS_PROXY", "http://user:secret@proxy:port", "HTTPS_PROXY takes the address of a proxy"),
        ("https_proxy", "bad:proxy:x", "https_proxy takes the address of a proxy"),
        ("ALL_PROXY", "socks4://proxy:1080", "ALL_PROXY names a proxy of the kind 'socks4'"),
        ("ALL_PROXY", "socks5://user:secret@proxy:1080", "ALL_PROXY names a SOCKS proxy, .*pip install socksio"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_by_name_where_it_is_needed_and_without_its_password(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "SOCKS" in says and find_spec("socksio"):
        pytest.skip("socksio is here")
    monkeypatch.setenv(name, value)
    with pytest.raises((ValueError, httpx.InvalidURL, ImportError)):
        httpx.Client()  # What happened before, for every address.
    environment.prepare()
    httpx.Client().close()
    with pytest.raises(InputError, match=says) as caught:
        environment.check_network(HUB)
    assert "secret" not in str(caught.value)
    environment.check_network("http://127.0.0.1:8080")
    monkeypatch.setenv(name, "http://proxy.example:3128")
    environment.prepare()
    environment.check_network(HUB)


def test_exceptions_that_the_http_library_cannot_read_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "fd00::/8,example.com:8080,::1")
    with pytest.raises((ValueError, httpx.InvalidURL)):
        httpx.Client()
    assert environment.prepare() == ["Entries of NO_PROXY that cannot be read are left out: fd00::/8."]
    assert os.environ["NO_PROXY"] == "example.com:8080,::1"
    httpx.Client().close()


# --- certificates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_certificate_file_that_cannot_be_used_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "damaged.pem").write_text("-----BEGIN CERTIFICATE-----\nnothing\n")
    (tmp_path / "empty.pem").write_bytes(b"")
    for file in ("missing.pem", "damaged.pem", "empty.pem"):
        monkeypatch.setenv(name, str(tmp_path / file))
        environment.prepare()
        with pytest.raises(InputError, match=f"^{name} names {tmp_path / file}, which .*or unset it"):
            environment.check_network(HUB, requests=True)
        environment.check_network("http://127.0.0.1:8080", requests=True)
        httpx.Client().close()
    monkeypatch.setenv(name, certifi.where())
    environment.prepare()
    environment.check_network(HUB, requests=True)
    assert os.environ[name] == certifi.where()


def test_a_certificate_file_that_is_damaged_later_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bundle.pem"
    for content, usable in ((Path(certifi.where()).read_bytes(), True), (b"nothing", False)):
        file.write_bytes(content)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        environment.prepare()
        assert (os.environ.get("SSL_CERT_FILE") == str(file)) is usable
        assert (environment.faults() == []) is usable


def test_a_folder_of_certificates_is_looked_for_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
    environment.prepare()
    with pytest.raises(InputError, match=r"SSL_CERT_DIR names .*missing, which is not a folder"):
        environment.check_network(HUB)
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'missing'}{os.pathsep}{tmp_path}")
    environment.prepare()
    environment.check_network(HUB)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path))
    environment.prepare()
    with pytest.raises(InputError, match=r"SSL_CERT_FILE names .*, which is a folder"):
        environment.check_network(HUB)


def test_fetching_and_the_hub_name_the_variable_and_ask_nobody(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    load_settings()
    sentence = r"^SSL_CERT_FILE names /nonexistent/ca\.pem, which cannot be read \(No such file or directory\)\."
    with pytest.raises(InputError, match=sentence):
        files.fetch(settings, "jnli", "valid")
    with pytest.raises(InputError, match=sentence):
        find_model(ModelSpec("nobody/nothing"), settings, lambda _: None)


# --- the page ---------------------------------------------------------------------------------------------


def test_the_page_is_served_without_home_through_no_proxy_and_without_the_certificate_file(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = surroundings(
        TMPDIR=str(tmp_path),
        JGLUE_RUNS_DIR=str(tmp_path / "runs"),
        HTTP_PROXY=REFUSES,
        http_proxy=REFUSES,
        ALL_PROXY="socks5://127.0.0.1:9",
        SSL_CERT_FILE="/nonexistent/ca.pem",
        PYTHONUNBUFFERED="1",
    )
    before = UNKNOWN_USER if works(*UNKNOWN_USER) else ()
    command = [*before, sys.executable, "-m", "jglue_app", "serve", "--port", str(port)]
    with (tmp_path / "said").open("w+") as said:
        process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=said, stderr=subprocess.STDOUT)
        try:
            here = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            for _ in range(240):
                if process.poll() is not None:
                    break
                try:
                    page = here.open(f"http://127.0.0.1:{port}/", timeout=30).read()
                    break
                except OSError:
                    time.sleep(0.5)
            assert process.poll() is None, (tmp_path / "said").read_text()
            assert b"JGLUE" in page
        finally:
            process.terminate()
            process.wait(30)
    words = (tmp_path / "said").read_text()
    assert "note: SSL_CERT_FILE names /nonexistent/ca.pem" in words
    assert "Traceback" not in words


# --- folders ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.getuid() == 0 and not works(*NO_OVERRIDE), reason="root may do everything here")
def test_folders_that_are_closed_or_no_folders_are_named(tmp_path: Path) -> None:
    closed, file = tmp_path / "closed", tmp_path / "file"
    closed.mkdir()
    file.write_text("x")
    closed.chmod(0)
    before = NO_OVERRIDE if os.getuid() == 0 else ()
    env = surroundings(HOME=str(tmp_path))
    try:
        for words, more, code, says in (
            (
                ("runs",),
                {"JGLUE_RUNS_DIR": str(file)},
                5,
                "The folder for runs {file} cannot be read (Not a directory)",
            ),
            (("data", "list"), {"JGLUE_DATA_DIR": str(closed)}, 2, "cannot be read (Permission denied)"),
            (("show-prompt", "--style", str(closed / "x.toml")), {}, 2, "{closed}/x.toml cannot be used"),
        ):
            found = product(*words, env={**env, **more}, before=before, cwd=tmp_path)
            assert found.returncode == code, found.stderr
            assert says.format(file=file, closed=closed) in found.stderr.decode()
            assert "Traceback" not in found.stderr.decode()
    finally:
        closed.chmod(0o700)
