"""What a process finds around it (streams, a home folder, proxies, certificate files), put in order before it is used.

A variable that names a damaged certificate file or an unusable proxy makes the HTTP library fail at its first use, even
for the page's own address. Such a variable is taken out of the environment of this process and remembered here, and
whatever would need it is refused with its sentence: nothing is sent by another way than the one that was set.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import ipaddress
import os
import stat
import sys
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from jglue_app.errors import InputError, reason_of
from jglue_app.messages import Joined, Message

LOOPBACK = ("localhost", "127.0.0.1", "::1")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Read by Python's and the Hub's HTTP libraries."""
REQUESTS_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Read by the `requests` library, which W&B's client uses."""
SCHEMES = ("http", "https", "socks5", "socks5h")
PAGE_NUMBERS = ("GRADIO_SERVER_PORT", "GRADIO_NUM_PORTS", "GRADIO_NODE_NUM_PORTS", "GRADIO_DEBUG", "GRADIO_NUM_WORKERS")

_faults: dict[str, str] = {}
"""Variable → what is wrong with it, as a sentence with a way out. It is no longer in the environment."""


def prepare() -> list[str]:
    """Put the environment of this process in order; may be called again. Nothing is raised.

    - Without a home folder (no `HOME`, and a user id without an entry), a private folder among the temporary ones
      becomes `HOME`: libraries look there for caches and logins.
    - Proxies are never asked for addresses of this machine.
    - Certificate files and proxies that cannot be used are set aside, for `check_network` to tell.

    Returns:
        Sentences about what was done that somebody should know.
    """
    notes = _home()
    _certificates()
    notes += _proxies()
    return notes


def faults() -> list[str]:
    """What is wrong with variables that were set aside."""
    return list(_faults.values())


def check_network(url: str, *, requests: bool = False) -> None:
    """Before anything is asked of a server: whether the proxy and the certificates that are set for it can be used.

    Args:
        url: its address.
        requests: whether the library `requests` is among what asks.

    Raises:
        InputError: one of them cannot; names the variable.
    """
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), parts.hostname or ""
    except ValueError:
        return  # Whoever uses the address says what is wrong with it.
    if scheme == "https":
        for name in CERTIFICATES:
            if name in _faults:
                raise InputError(_faults[name])
        for name in REQUESTS_CERTIFICATES if requests else ():
            if wrong := _bundle(name, os.environ.get(name, "")):
                raise InputError(wrong)
    if host in LOOPBACK or urllib.request.proxy_bypass(host):
        return
    set_aside = {name.lower(): fault for name, fault in _faults.items()}
    if setting := set_aside.get(f"{scheme}_proxy"):
        raise InputError(setting)
    if (setting := set_aside.get("all_proxy")) and scheme not in urllib.request.getproxies():
        raise InputError(setting)


def check_page() -> None:
    """Before the page's library is imported, which reads numbers of its own from the environment.

    Raises:
        InputError: one of them is no number.
    """
    for name in PAGE_NUMBERS:
        value = os.environ.get(name)
        if value is not None and not (value.isascii() and value.isdecimal()):
            raise InputError(
                "{name} takes a whole number, not {value!r}. Correct or unset it.", name=name, value=value[:100]
            )
    if int(os.environ.get("GRADIO_SERVER_PORT") or 0) > 65535:
        raise InputError("GRADIO_SERVER_PORT takes a port from 0 to 65535. Correct or unset it.")
    if "GRADIO_TEMP_DIR" not in os.environ:
        # Gradio's own folder has one name for all users of a machine: it may be somebody else's.
        with contextlib.suppress(OSError):
            default = Path(tempfile.gettempdir()) / "gradio"
            if default.exists() and not os.access(default, os.W_OK | os.X_OK):
                os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="jglue-gradio-")


def ask_no_proxy_for(*hosts: str) -> None:
    """Addresses that no proxy is asked for, in addition to those of `NO_PROXY`. Without a proxy nothing is changed."""
    if not any(os.environ.get(name) or os.environ.get(name.lower()) for name in PROXIES):
        return  # With NO_PROXY alone, Python would no longer ask the system for its proxies.
    either = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    for name in ("no_proxy", "NO_PROXY"):
        entries = [entry.strip() for entry in (os.environ.get(name) or either).split(",") if entry.strip()]
        if "*" not in entries:
            entries += [host for host in hosts if host and host not in entries]
        os.environ[name] = ",".join(entries)


def repair_streams() -> None:
    """Make the standard streams writable whatever the locale: characters that they cannot write are spelled out
    (`\\u2713`), and a closed one becomes the null device, so that no file that is opened later takes its place."""
    with contextlib.suppress(OSError):
        handle = os.open(os.devnull, os.O_RDWR)
        while handle <= 2:
            handle = os.open(os.devnull, os.O_RDWR)
        os.close(handle)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            with contextlib.suppress(OSError):
                setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


# --- a home folder ----------------------------------------------------------------------------------------


def has_home() -> bool:
    """Whether this user has a home folder by name; it may still not be there."""
    try:
        return Path.home().is_absolute()
    except (RuntimeError, KeyError):
        return False


def _home() -> list[str]:
    if os.environ.get("HOME") == "":
        del os.environ["HOME"]  # Python would take it for the root folder.
    if has_home():
        return []
    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        folder = Path(tempfile.gettempdir()) / f"jglue-app-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return []
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != user or not os.access(folder, os.W_OK | os.X_OK):
        return []  # Somebody else's: what lies there cannot be trusted.
    os.environ["HOME"] = str(folder)
    return [
        Message(
            "This user has no home folder: caches go to {folder}. Set HOME or JGLUE_CACHE_DIR to keep them elsewhere.",
            folder=folder,
        )
    ]


# --- certificates -----------------------------------------------------------------------------------------


def _certificates() -> None:
    for name, check in (("SSL_CERT_FILE", _file), ("SSL_CERT_DIR", _folders)):
        value = os.environ.get(name)
        if value is None:
            continue
        _faults.pop(name, None)
        if value and (fault := check(name, value)):
            _faults[name] = fault
            del os.environ[name]


def _bundle(name: str, value: str) -> str:
    """What is wrong with a variable that names a file or a folder of certificates; empty if nothing."""
    return "" if not value or Path(value).is_dir() else _file(name, value)


@functools.lru_cache(maxsize=8)
def _parse_certificates(path: str, mtime_ns: int, size: int) -> None:
    """Read a file of certificates as it is now, once: it takes 30 ms, and every look at the settings asks for it.

    Raises:
        ssl.SSLError, OSError, ValueError: it cannot be used; the next call reads it again.
    """
    import ssl

    ssl.create_default_context(cafile=path)


def _file(name: str, value: str) -> str:
    import ssl

    try:
        path = Path(value)
        if path.is_dir():
            return Message(
                "{name} names {path}, which is a folder. Point it at a file of certificates, or unset it.",
                name=name,
                path=value,
            )
        with path.open("rb"):
            pass
        status = path.stat()
        _parse_certificates(value, status.st_mtime_ns, status.st_size)
    except ssl.SSLError:
        return Message(
            "{name} names {path}, which holds no usable certificates. Point it at a file that does, or unset it.",
            name=name,
            path=value,
        )
    except (OSError, ValueError) as e:
        return Message(
            "{name} names {path}, which cannot be read ({reason}). Point it at a file of certificates, or unset it.",
            name=name,
            path=value,
            reason=reason_of(e),
        )
    return ""


def _folders(name: str, value: str) -> str:
    if any(part and Path(part).is_dir() for part in value.split(os.pathsep)):
        return ""
    return Message(
        "{name} names {path}, which is not a folder. Point it at a folder of certificates, or unset it.",
        name=name,
        path=value,
    )


# --- proxies ----------------------------------------------------------------------------------------------


def _proxies() -> list[str]:
    for name in [spelling for upper in PROXIES for spelling in (upper, upper.lower())]:
        value = os.environ.get(name)
        if value is None:
            continue
        _faults.pop(name, None)
        if value and (fault := _proxy(name, value)):
            _faults[name] = fault
            del os.environ[name]
    ask_no_proxy_for(*LOOPBACK)
    return _exceptions()


def _proxy(name: str, value: str) -> str:
    """What is wrong with a proxy; empty if nothing. The address is not repeated: a password may stand in it."""
    import httpx

    url = value.strip()
    url = url if "://" in url else f"http://{url}"
    scheme = url.split("://", 1)[0].lower()
    wrong = Message(
        "{name} takes the address of a proxy, such as http://proxy.example:8080, and it holds something else. "
        "Correct or unset it.",
        name=name,
    )
    if scheme.isalnum() and scheme not in SCHEMES:
        return Message(
            "{name} names a proxy of the kind {scheme!r}; known are {known}. Correct or unset it.",
            name=name,
            scheme=scheme,
            known=Joined(", ", SCHEMES),
        )
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0 or any(c.isspace() for c in url):
            return wrong
        httpx.Proxy(url)
    except (ValueError, httpx.InvalidURL):
        return wrong
    if scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        return Message(
            "{name} names a SOCKS proxy, for which the package socksio is missing. Install it "
            "(`pip install socksio`), or unset {name}.",
            name=name,
        )
    return ""


def _exceptions() -> list[str]:
    """Entries of NO_PROXY that the HTTP library cannot read (`fd00::/8`) would end every request with an exception."""
    if not any(":" in os.environ.get(name, "").replace("::1", "") for name in ("no_proxy", "NO_PROXY")):
        return []  # The usual case, without importing the library.
    left_out: dict[str, None] = {}
    for name in ("no_proxy", "NO_PROXY"):
        entries = [entry.strip() for entry in os.environ.get(name, "").split(",") if entry.strip()]
        bad = [entry for entry in entries if not _readable(entry)]
        if bad:
            os.environ[name] = ",".join(entry for entry in entries if entry not in bad)
            left_out.update(dict.fromkeys(bad))
    if not left_out:
        return []
    return [Message("Entries of NO_PROXY that cannot be read are left out: {entries}.", entries=Joined(", ", left_out))]


def _is_v6(entry: str) -> bool:
    try:
        ipaddress.IPv6Address(entry.split("/")[0])
    except ValueError:
        return False
    return True


def _readable(entry: str) -> bool:
    import httpx

    try:
        # As the library makes patterns of the entries.
        pattern = entry if "://" in entry else f"all://[{entry}]" if _is_v6(entry) else f"all://*{entry}"
        nothing = httpx.MockTransport(lambda _: httpx.Response(200))
        httpx.Client(mounts={pattern: None}, transport=nothing, trust_env=False).close()
    except (ValueError, httpx.InvalidURL):
        return False
    return True
