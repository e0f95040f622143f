"""Files that are nobody's business, at every place that takes the name of a run, a file or a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from tests.attacks.calls import Answer, Program
from tests.attacks.outcome import Outcome
from tests.attacks.world import MODEL, Served, World

KIND = "traversals"


def names(target: Path) -> list[str]:
    """Ways to write the path of a file that a server must not read."""
    plain = str(target).lstrip("/")
    deep = "../" * 12
    return [
        *(str(target), f"/{target}", f"//{plain}", f"{deep}{plain}", f"./{deep}{plain}", f"/..{'/..' * 12}/{plain}"),
        *(
            deep.replace("/", "\\") + plain,
            f"..\\..\\..\\..\\..\\..\\{plain}",
            f"....//....//....//....//....//....//{plain}",
        ),
        *(quote(f"{deep}{plain}", safe=""), quote(quote(f"{deep}{plain}", safe=""), safe="")),
        *(f"{deep}{plain}".replace("../", "%2e%2e/"), f"{deep}{plain}".replace("../", "%2e%2e%2f")),
        *(f"{deep}{plain}".replace("../", "%252e%252e%252f"), f"{deep}{plain}".replace("../", "..%c0%af")),
        *(f"{deep}{plain}".replace("../", "..%ef%bc%8f"), f"{deep}{plain}".replace("..", "．．")),
        *(
            f"{target}\x00",
            f"{target}%00",
            f"{deep}{plain}\x00.json",
            f"{deep}{plain}%00.json",
            f"shipped:{deep}{plain}",
        ),
        *(
            f"shipped:{target}",
            f"file://{target}",
            f"file:{target}",
            f"~/../..{target}",
            f"{target}/",
            f"{target}/.",
            ".",
        ),
        *("..", "../", "../..", "", "/", "con", "..%00/", f"{'a/../' * 30}{deep}{plain}", f"/proc/self/root{target}"),
        *(
            f"/proc/self/cwd/{deep}{plain}",
            f"/dev/fd/../../..{target}",
            f"link-out/{target.name}",
            "link-to-run",
            "link-out",
        ),
    ]


def _prepare(world: World, server: Served) -> list[Path]:
    """A run, a file and links outside of what the server may show; gives the paths to go for."""
    import shutil

    from jglue_app.results import showcase

    outside = world.folder / f"outside-{server.mode}"
    run = outside / "run"
    shutil.copytree(showcase.run_folder(showcase.run_names()[0]), run)
    text = (run / "manifest.json").read_text("utf-8")
    manifest = json.loads(text)
    manifest["spec"]["model"]["id"] = world.listener.SECRET
    (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    (server.runs / "link-out").symlink_to(outside, target_is_directory=True)
    (server.runs / "link-to-run").symlink_to(run, target_is_directory=True)
    return [world.folder / "secret.txt", run]


_ROUTES = (
    *("/gradio_api/file=", "/gradio_api/file/", "/file=", "/static/", "/assets/", "/svelte/", "/gradio_api/proxy="),
    *("/gradio_api/custom_component/x/client/component/", "/theme.css/", "/preview.png/", "/pwa_icon/", "/report/"),
    *("/gradio_api/stream/", "/gradio_api/deep_link?session_hash=", "/gradio_api/upload_progress?upload_id="),
    *("/?run_a=", "/?deep_link=", "/?runs=", "/?tab=results&runs=", "/?item=", "/monitoring/", "/", "/gradio_api/app/"),
)


def _endpoints() -> dict[str, Callable[[Program, str], Answer]]:
    def endpoint(name: str, parameter: str, **more: object) -> Callable[[Program, str], Answer]:
        return lambda program, text: program.call(name, **{parameter: text}, **more)

    def item_server(program: Program, text: str) -> Answer:
        ids = [one["id"] for one in program.config["components"] if one["props"].get("elem_id") == "items"]
        asked = {"a": text, "b": "", "task": "jnli", "id": "0", "run": text, "protocol": text}
        answers = [
            program.request(
                "POST",
                "/gradio_api/component_server",
                json={"component_id": ids[0], "fn_name": name, "data": asked, "session_hash": program.session},
            )
            for name in ("item", "mark", text)
        ]
        # Gradio answers 500 for a function that there is not.
        return Answer(False, "".join(one.text for one in answers[:2]), max(one.status for one in answers[:2]))

    def upload(program: Program, text: str) -> Answer:
        file = {"path": text, "orig_name": "x.zip", "meta": {"_type": "gradio.FileData"}}
        return program.handler(program.function("import_run"), [file])

    return {
        "scores": endpoint("scores", "a"),
        "scores of B": endpoint("scores", "b", a="shipped:x"),
        "items": endpoint("items", "a"),
        "item": endpoint("item", "run", task="jnli", item_id="0"),
        "disagreements": endpoint("disagreements", "run", task="jnli"),
        "explain": endpoint("explain", "run"),
        "export_run zip": endpoint("export_run", "run", format="zip", protocol="official"),
        "export_run html": endpoint("export_run", "run", format="html", protocol="official"),
        "export_run lm-eval": endpoint("export_run", "run", format="lm-eval", protocol="official"),
        "export format": endpoint("export_run", "format", run="shipped:x", protocol="official"),
        "delete_run": endpoint("delete_run", "run", confirm=True),
        "push_to_wandb": endpoint("push_to_wandb", "run", key="0" * 40),
        "style": endpoint("show_prompt", "style"),
        "format": endpoint("show_prompt", "format"),
        "data": endpoint("show_prompt", "data"),
        "task": endpoint("show_prompt", "task"),
        "model": endpoint("show_prompt", "model"),
        "protocols": endpoint("protocols", "name"),
        "item server": item_server,
        "uploaded file": upload,
    }


def attack(world: World) -> Iterator[Outcome]:
    """All names at all places of the public server."""
    targets = _prepare(world, world.public)
    with Program(world) as program:
        for target in targets:
            for route, name in world.pairs(_ROUTES, names(target)):
                path = route + name.replace(" ", "%20").replace("\x00", "%00").replace("\n", "%0A")
                yield _judged(world, f"{route}{name}", program.get(quote(path, safe="%/?=&:;@\\.~,+-_")))
            for (place, give), name in world.pairs(_endpoints().items(), names(target)):
                yield _judged(world, f"{place}: {name!r}", give(program, name))
        for (name, parameter), text in world.pairs(_texts(program), [one for of in targets for one in names(of)]):
            given = {"a_model": MODEL, "model": MODEL, "tasks": ["jnli"], "limit": 1, "format": "chat", parameter: text}
            if name == "export_run":
                given.pop("format")
            yield _judged(world, f"{name} {parameter}: {text!r}", program.call(name, **given))
    for target in targets:
        if not target.exists():
            yield Outcome(KIND, "delete_run", f"{target.name} is gone")


def _texts(program: Program) -> list[tuple[str, str]]:
    """Every parameter of every endpoint that is a text: some name files on a machine of one's own."""
    return [
        (name.removeprefix("/"), str(parameter["parameter_name"]))
        for name, endpoint in program.info.items()
        for parameter in endpoint["parameters"]
        if parameter["python_type"]["type"].startswith("str")
    ]


def _judged(world: World, tried: str, answer: Answer) -> Outcome:
    if world.listener.SECRET in answer.text or "root:x:0:0" in answer.text:
        return Outcome(KIND, tried, "a file outside was read")
    return Outcome(KIND, tried, answer.fault)
