"""The page below a path of another server, as behind nginx."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.ui.conftest import free_port, serve

CONFIG = """daemon off; pid {folder}/pid; error_log {folder}/errors;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{
    listen 127.0.0.1:{port};
    location /below/ {{
      proxy_pass {address}/; proxy_http_version 1.1; proxy_buffering off;
      proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}"""


@pytest.mark.slow
def test_all_that_the_document_names_is_found_below_the_path_of_a_proxy(tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if nginx is None:
        pytest.skip("This test needs nginx; install your system's package `nginx-light`.")
    port = free_port()
    with serve(tmp_path / "runs", {"GRADIO_ROOT_PATH": "/below"}) as address:
        (tmp_path / "nginx.conf").write_text(CONFIG.format(folder=tmp_path, port=port, address=address), "utf-8")
        with subprocess.Popen([nginx, "-c", str(tmp_path / "nginx.conf")]) as process:
            try:
                time.sleep(1)
                below = f"http://127.0.0.1:{port}/below"
                visitor = httpx.Client(timeout=60)
                page = visitor.get(f"{below}/?lang=en")
                assert (page.status_code, visitor.cookies["jg_lang"]) == (200, "en")
                assert f'"root":"{below}"' in page.text
                picture = re.findall(r'og:image" content="([^"]+)"', page.text)
                assert picture == [f"{below}/preview.png"]
                files = re.findall(r'href="\./((?:assets/|theme)[^"]+)"', page.text)
                assert len(files) > 20
                for one in [*picture, *(f"{below}/{name}" for name in files)]:
                    assert visitor.get(one).status_code == 200, one
            finally:
                process.terminate()
                process.wait(timeout=20)
