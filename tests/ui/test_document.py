"""The document that is sent instead of Gradio's, and how it and other answers are compressed."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator

import brotli
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from jglue_app.ui import gradio_files
from jglue_app.ui.compression import CompressionMiddleware, KnownAnswers, accepted_encoding
from jglue_app.ui.document import DocumentMiddleware, Head, as_script, narrow_rules, rewritten, without_comments
from jglue_app.ui.gradio_files import NONE, CompressedFiles, GradioFilesMiddleware, needed_files
from jglue_app.ui.preview import PreviewMiddleware

HEAD = Head("en", "A & B", 'Say "hello"', "data:,")
CONFIG = {
    "components": [
        {"id": 1, "props": {"label": '__i18n__{"key": "jg_run"}'}, "api_info": {"type": "string"}, "skip_api": False},
        {"id": 2, "props": {"choices": [['__i18n__{"key": "jg_style_ja-labels"}', "ja-labels"]]}},
    ],
    "dependencies": [],
    "css": ".x { color: red }\n@media (max-width: 9px) { .x { color: blue } }",
    "js": "() => {\n  // A comment.\n  run(`a`);\n}",
    "theme_hash": "abc",
    "i18n_translations": {
        "en": {"jg_run": "Run", "jg_stop": "Stop", "jg_style_ja-labels": "Labels"},
        "ja": {"jg_run": "実行"},
    },
}
HTML = (
    '<!doctype html><html lang="en"><head><meta property="og:title" content="Gradio" />'
    '<meta name="twitter:image" content="https://elsewhere.example/x.png" />'
    f"<script>window.gradio_config = {json.dumps(CONFIG)};</script>"
    '<script>window.gradio_api_info = {"named_endpoints": {"/x": {}}};</script>'
    '<script>const root = "";</script><link rel="manifest" href="/manifest.json" /></head>'
    "<body><gradio-app></body></html>"
)
LONG = "日本語の文章です。" * 200


def test_the_document_has_one_language_and_says_only_of_itself() -> None:
    before, config, after = rewritten(HTML, HEAD, NONE, api=False)
    assert config["i18n_translations"] == {"en": {"jg_run": "Run", "jg_style_ja-labels": "Labels"}}
    assert config["components"][0] == {"id": 1, "props": {"label": '__i18n__{"key": "jg_run"}'}}
    assert (config["js"], config["footer_links"]) == ("() => {\nrun(`a`);\n}", [])
    assert "<title>A &amp; B</title>" in before
    assert 'content="Say &quot;hello&quot;"' in before
    for foreign in ("Gradio", "elsewhere.example", "manifest.json", "/x"):
        assert foreign not in before + after.replace("window.gradio_api_info", "")
    assert '{"named_endpoints": {}, "unnamed_endpoints": {}}' in after


def test_the_page_that_shows_how_to_call_it_keeps_what_that_takes() -> None:
    _, config, after = rewritten(HTML, HEAD, NONE, api=True)
    assert config["components"][0]["api_info"] == {"type": "string"}
    assert config["footer_links"] == ["api"]
    assert '{"named_endpoints": {"/x": {}}}' in after


def test_a_link_to_the_page_is_shown_with_a_picture_from_the_address_that_visitors_use() -> None:
    html = HTML.replace('"theme_hash"', '"root": "https://host.example/below", "theme_hash"')
    before, _, _ = rewritten(html, HEAD, NONE, api=False)
    for said in (
        'property="og:image" content="https://host.example/below/preview.png"',
        'property="og:url" content="https://host.example/below/"',
        'name="twitter:image" content="https://host.example/below/preview.png"',
        'name="twitter:title" content="A &amp; B"',
    ):
        assert before.count(f"<meta {said}>") == 1
    assert "og:image" not in rewritten(HTML, HEAD, NONE, api=False)[0]
    visits = TestClient(Starlette(middleware=[Middleware(PreviewMiddleware)]), root_path="/below")
    answer = visits.get("/preview.png")
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (1200, 630)
    assert len(answer.content) <= 100_000
    assert visits.get("/other/preview.png").status_code == 404


def test_no_text_ends_the_script_it_stands_in() -> None:
    value = {"text": "</script><script>alert(1)</script><!-- あ"}
    script = as_script(value)
    assert not [sign for sign in ("</", "<!--", "<script") if sign in script]
    assert json.loads(script) == value


def test_rules_for_narrow_screens_go_before_others_in_the_document() -> None:
    assert narrow_rules(CONFIG["css"]) == "@media (max-width: 9px) { #jg-before { .x { color: blue } } }"  # type: ignore[arg-type]


def test_a_script_with_a_text_of_several_lines_stays_as_it_is() -> None:
    script = "const a = `\n  // no comment\n`;"
    assert without_comments(script) == script
    assert without_comments("  a();\n\n  // x\n  b(); // y") == "a();\nb(); // y"


# --- the middleware ---------------------------------------------------------------------------------------


async def write(html: str, request: Request) -> str:
    if "fail" in request.query_params:
        raise ValueError("no")
    return html.replace("書く", "書いた" * 100)


def client(*routes: Route) -> TestClient:
    middleware = [Middleware(CompressionMiddleware), Middleware(DocumentMiddleware, write=write)]
    return TestClient(Starlette(routes=list(routes), middleware=middleware))


def page(request: Request) -> Response:
    return HTMLResponse("<p>書く</p>")


@pytest.mark.parametrize("encoding", ["br", "gzip", "identity"])
def test_the_document_is_written_anew_with_its_own_length_and_encoding(encoding: str) -> None:
    with client(Route("/", page)).stream("GET", "/", headers={"accept-encoding": encoding}) as answer:
        raw = b"".join(answer.iter_raw())
    assert int(answer.headers["content-length"]) == len(raw)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers.get("content-encoding") == (None if encoding == "identity" else encoding)
    plain = {"br": brotli.decompress, "gzip": gzip.decompress}.get(encoding, bytes)(raw)
    assert plain.decode() == f"<p>{'書いた' * 100}</p>"


def test_head_is_answered_without_a_document_and_states_no_length() -> None:
    def written(request: Request) -> Response:
        raise AssertionError("the document was written")

    answer = client(Route("/", written)).head("/", headers={"accept-encoding": "br"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "content-length" not in answer.headers
    assert client(Route("/", page)).head("/other").status_code == 404


def test_gradios_document_is_sent_where_ours_cannot_be_written(caplog: pytest.LogCaptureFixture) -> None:
    assert client(Route("/", page)).get("/?fail=1").text == "<p>書く</p>"
    assert "the document stays as Gradio writes it" in caplog.text


def test_other_addresses_and_answers_are_not_written_anew() -> None:
    def fault(request: Request) -> Response:
        return HTMLResponse("書く", 500)

    assert client(Route("/other", page)).get("/other").text == "<p>書く</p>"
    assert client(Route("/", fault)).get("/").text == "書く"


def test_each_event_of_a_stream_arrives_by_itself() -> None:
    async def events() -> AsyncIterator[str]:
        for at in range(3):
            yield f"data: {at}{LONG}\n\n"

    def stream(request: Request) -> Response:
        return StreamingResponse(events(), media_type="text/event-stream")

    sent: list[bytes] = []
    for encoding, decoder in (("br", brotli.Decompressor().process), ("gzip", None)):
        with client(Route("/s", stream)).stream("GET", "/s", headers={"accept-encoding": encoding}) as answer:
            assert (answer.headers["content-encoding"], "content-length" in answer.headers) == (encoding, False)
            sent = list(answer.iter_raw())
        text = b"".join(map(decoder, sent)) if decoder else gzip.decompress(b"".join(sent))
        assert text.decode() == "".join(f"data: {at}{LONG}\n\n" for at in range(3))
        assert len(b"".join(sent)) < len(LONG)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, br;q=0", "gzip"),
        ("br;q=0.000, gzip;q=0.1", "gzip"),
        ("*", "br"),
        ("*;q=0, gzip", "gzip"),
        ("deflate", ""),
        ("identity", ""),
        ("", ""),
        ("brotli;q=1", ""),
        ("gzip;q=x", "gzip"),
    ],
)
def test_the_encoding_is_one_that_is_accepted(header: str, encoding: str) -> None:
    assert accepted_encoding(header) == encoding


def test_short_answers_files_and_parts_of_files_stay_as_they_are() -> None:
    def answers(headers: dict[str, str], status: int = 200) -> Route:
        return Route("/x", lambda request: PlainTextResponse(LONG, status, headers, "application/json"))

    for route in (
        answers({"etag": '"a"'}),
        answers({"content-range": "bytes 0-1/2"}, 206),
        answers({"content-encoding": "x"}),
        Route("/x", lambda request: JSONResponse(1)),
        Route("/x", lambda request: PlainTextResponse(LONG, media_type="text/plain")),
    ):
        with client(route).stream("GET", "/x", headers={"accept-encoding": "br"}) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers.get("content-encoding") in (None, "x")
        assert int(answer.headers["content-length"]) == len(raw)


def test_an_answer_that_was_sent_before_is_compressed_better_and_is_nobody_elses() -> None:
    known = KnownAnswers()
    first, second = (f"{name}{LONG}".encode() for name in ("a", "b"))
    assert known.get(first) is None
    known._worker.shutdown()
    compressed = known.get(first)
    assert compressed is not None
    assert brotli.decompress(compressed) == first
    assert known._compressed.get(second) is None


# --- Gradio's files ---------------------------------------------------------------------------------------


def test_the_files_of_a_page_are_those_of_its_components() -> None:
    html = gradio_files.TEMPLATE.read_text("utf-8")
    none, some = (needed_files(html, kinds, "ja") for kinds in ([], ["html", "tabs", "tabitem"]))
    assert set(none.scripts) < set(some.scripts)
    assert some.scripts[0].startswith("index-")
    assert any(name.startswith("ja-") for name in none.scripts)
    assert any(name.startswith("Blocks-") for name in none.scripts)
    assert any(name.startswith("HTML-") for name in set(some.scripts) - set(none.scripts))
    assert not [name for name in some.scripts if name.startswith(("markdown", "ApiDocs", "Settings"))]
    assert needed_files("<html></html>", ["html"], "ja") == NONE


def test_files_are_sent_in_the_encoding_that_is_accepted_and_may_be_kept() -> None:
    files = needed_files(gradio_files.TEMPLATE.read_text("utf-8"), ["state"], "en")
    sent = CompressedFiles([files])
    rules = "\n".join((gradio_files.FOLDER / name).read_text("utf-8") for name in files.sheets)
    middleware = [Middleware(GradioFilesMiddleware, files=sent)]
    visits = TestClient(Starlette(middleware=middleware))
    for accepted in ("identity", "br"):
        answer = visits.get(f"/assets/{files.sheet}", headers={"accept-encoding": accepted})
        assert answer.text == rules
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"] == "text/css; charset=utf-8"
    for name in ("nothing.js", "..%2Findex.html", ""):
        assert visits.get(f"/assets/{name}").status_code == 404
