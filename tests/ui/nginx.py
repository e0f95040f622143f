"""A real nginx in front of the page, with TLS, for tests of what a proxy changes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FRAME = """daemon off; pid {folder}/pid; error_log {folder}/errors; worker_processes 1;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
  proxy_http_version 1.1; proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  {servers}
}}"""
"""What nginx needs, and the headers that its documentation has for proxies; all else is as it comes."""


@contextmanager
def nginx(folder: Path, port: int, servers: str) -> Iterator[None]:
    """Run nginx with a certificate that it signed itself; skips the test without nginx.

    Args:
        folder: for its files.
        port: on which it is to answer.
        servers: its `server` blocks.
    """
    program, openssl = (shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") for name in ("nginx", "openssl"))
    if program is None or openssl is None:
        pytest.skip("This test needs nginx and openssl; install your system's packages `nginx-light` and `openssl`.")
    folder.mkdir(exist_ok=True)
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = [openssl, "req", "-x509", *kind, "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    (folder / "nginx.conf").write_text(FRAME.format(folder=folder, servers=servers), "utf-8")
    with subprocess.Popen([program, "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None, (folder / "errors").read_text("utf-8")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)
