"""What a browser is told it may do with an answer."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from jglue_app.ui.security_headers import ScriptPolicyMiddleware, SecurityHeadersMiddleware, policy

HTML = '<script>alert("あ")</script><script type="module" src="./x.js"></script><script a>\r\n1\r\n</script>'


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    path = Request(scope).url.path
    answer: Response = HTMLResponse(HTML) if path == "/" else JSONResponse({})
    answer.headers["access-control-allow-origin"] = "*"
    await answer(scope, receive, send)


def client(*, public: bool) -> TestClient:
    return TestClient(SecurityHeadersMiddleware(ScriptPolicyMiddleware(site, public), public))


def test_scripts_of_a_document_run_by_their_hashes_and_no_others() -> None:
    rules = dict(rule.split(" ", 1) for rule in policy(HTML, public=False).split("; "))
    # printf 'alert("あ")' | openssl dgst -sha256 -binary | base64; the same of '\n1\n'
    alert, number = "FmHXlkUPE94U2CQMU9gnsC9X+cJj8ekJPHzixSy/sO4=", "PBL+VNcqg2ezLpeQ7yj8J15XmnKAnnIb2qth9B/WTJ4="
    assert rules["script-src"] == f"'self' 'unsafe-eval' 'sha256-{alert}' 'sha256-{number}'"
    assert rules["default-src"] == "'none'" and "connect-src" in rules
    assert not [
        rule
        for name, rule in rules.items()
        if ("*" in rule and name != "frame-ancestors") or ("unsafe-inline" in rule and name != "style-src")
    ]


def test_the_hub_may_show_a_public_page_and_nobody_a_local_one() -> None:
    public, local = client(public=True).get("/"), client(public=False).get("/")
    shown = "frame-ancestors https://huggingface.co https://*.hf.space"
    assert public.headers["content-security-policy"].endswith(shown) and "x-frame-options" not in public.headers
    shown = "frame-ancestors 'self' http://localhost:* http://127.0.0.1:* vscode-webview:"
    assert local.headers["content-security-policy"].endswith(shown) and "x-frame-options" not in local.headers


def test_every_answer_has_the_headers_and_none_lets_other_sites_read_it() -> None:
    for path in ("/", "/gradio_api/info", "/gradio_api/file=/x/y.html"):
        headers = client(public=True).get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in headers["permissions-policy"]
        assert not [name for name in headers if name.startswith("access-control")]
        assert ("sandbox" in headers["content-security-policy"]) == ("file=" in path)
    assert client(public=True).get("/preview.png").headers["cross-origin-resource-policy"] == "cross-origin"
