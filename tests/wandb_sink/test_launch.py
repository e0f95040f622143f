"""W&B Launch: the form, the job made of this checkout, and launched evaluations against the stand-in server."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from jglue_app import evaluate, messages, open_run
from jglue_app.errors import InputError, StoreError, UnknownNameError
from jglue_app.launch import form, grid
from jglue_app.launch import job as jobs
from jglue_app.messages import say
from jglue_app.runs.plan import make_plan
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.settings import ASSETS, Settings
from jglue_app.tasks import DEFAULT_TASKS
from jglue_app.types import Decoding, ModelSpec, PromptSpec
from tests.launch_server import LaunchServer
from tests.wandb_server import Run

ROOT = Path(__file__).resolve().parents[2]
QUEUES = ROOT / "assets" / "launch"
KEY = "k" * 40
WANDB = str(Path(sys.executable).with_name("wandb"))
KEYS = {"jnli": "sentence_pair_id", "marc_ja": "review_id"}
ANSWERS = {"jnli": ("含意", [-1.0, -2.0, -3.0]), "marc_ja": ("肯定", [-2.0, -1.0])}


def table(path: Path, seconds: float = 0.0, leave_out: int = 0) -> Path:
    """The same answer to every sample item of JNLI, and to every one of MARC-ja, but for the last of each."""
    rows = []
    for task, (text, logprobs) in ANSWERS.items():
        lines = (ASSETS / "samples" / task / "valid.json").read_text("utf-8").splitlines()
        for line in lines[: len(lines) - leave_out]:
            same = {"task": task, "text": text, "choice_logprobs": logprobs, "seconds": seconds}
            rows.append({"item_id": json.loads(line)[KEYS[task]], **same})
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


@dataclass
class Machine:
    """Somebody's machine: a home of its own, a key, and processes in it."""

    server: LaunchServer
    home: Path
    code: Path = ROOT
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(exist_ok=True)
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "LD_LIBRARY_PATH") if name in os.environ}
        self.env = kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "WANDB_API_KEY": KEY,
            "WANDB_BASE_URL": self.server.url,
            "WANDB_ERROR_REPORTING": "false",
            "JGLUE_RUNS_DIR": str(self.home / "runs"),
            "JGLUE_CACHE_DIR": str(self.home / "cache"),
            "HF_HUB_OFFLINE": "1",
            **self.env,
        }

    def start(self, *command: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=cwd or self.home,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )

    def app(self, *arguments: str) -> subprocess.Popen[str]:
        """The command line of this application."""
        return self.start(sys.executable, "-m", "jglue_app", *arguments, cwd=self.code)

    def python(self, code: str) -> subprocess.Popen[str]:
        return self.start(sys.executable, "-W", "ignore", "-c", code, cwd=ROOT)

    def launched(self, run: str, config: Mapping[str, Any], **env: str) -> subprocess.Popen[str]:
        """The entry point with the environment that an agent gives it."""
        more = {"WANDB_LAUNCH": "True", "WANDB_RUN_ID": run, "WANDB_ENTITY": "tester", "WANDB_PROJECT": "direct"}
        more |= {"WANDB_CONFIG": json.dumps(dict(config)), "WANDB_ARTIFACTS": "{}"}
        command = (sys.executable, "-m", "jglue_app.launch")
        return self.start(*command, cwd=ROOT, **more, WANDB_DIR=str(self.home), **env)


def end(process: subprocess.Popen[str], code: int = 0) -> str:
    """What it said, once it has ended with an exit code."""
    try:
        said, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        # The client would go on trying for hours.
        process.kill()
        raise
    assert process.returncode == code, said
    assert KEY not in said
    return said


def overrides(**fields: Any) -> str:
    return json.dumps({"overrides": {"run_config": fields}})


def wait_for(condition: Any, process: subprocess.Popen[str] | None = None, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        ended = process is not None and process.poll() is not None
        assert not ended and time.monotonic() < deadline, process and process.communicate()[0]
        time.sleep(0.05)


# --- the form -------------------------------------------------------------------------------------------


def test_a_model_name_is_enough_and_asks_for_a_full_evaluation(settings: Settings) -> None:
    asked = form.read({**form.defaults(), "model_name": "owner/model"})
    assert asked == form.read({"model_name": " owner/model ", "shots": None})
    assert [asked.values[name] for name in ("data", "limit", "protocol", "method")] == [
        "official",
        0,
        "official",
        "both",
    ]
    asked = form.read({"model_name": "owner/model", "data": "sample"})
    plan = form.plan(asked, settings)
    assert (
        plan.spec
        == make_plan(
            settings, ModelSpec("owner/model"), list(DEFAULT_TASKS), data_kind="sample", decoding=Decoding("both")
        ).spec
    )


@pytest.mark.parametrize(("value", "penalty"), [(0, 1.0), (1.2, 1.2), (1, 1.0)])
def test_a_repetition_penalty_of_the_form_is_that_of_the_run(settings: Settings, value: float, penalty: float) -> None:
    asked = form.read({"model_name": "owner/model", "data": "sample", "tasks": "jnli", "repetition_penalty": value})
    assert form.plan(asked, settings).spec.decoding.repetition_penalty == penalty


def test_every_field_reaches_the_plan_that_run_would_make(settings: Settings) -> None:
    asked = form.read(
        {
            "model_name": "owner/model",
            "tasks": "jnli, marc_ja",
            "data": "sample",
            "limit": 3.0,
            "protocol": "stability-jp",
            "method": "choose",
            "style": "number",
            "format": "alpaca",
            "shots": 2,
            "quantization": "8bit",
            "dtype": "float16",
            "max_new_tokens": 7,
            "system": "一行目\n二行目",
            "revision": "v1",
            "gguf_file": "a.gguf",
            "allow_bin": True,
            "device": "cpu",
            "memory": 2,
        }
    )
    assert (asked.values["limit"], asked.memory, asked.device) == (3, 2.0, "cpu")
    expected = make_plan(
        settings,
        ModelSpec("owner/model", "hf", "v1", "float16", "8bit", "a.gguf", True),
        ["jnli", "marc_ja"],
        data_kind="sample",
        limit=3,
        prompt=PromptSpec("number", "alpaca", 2, system="一行目\n二行目"),
        decoding=Decoding("choose", 7),
    )
    plan = form.plan(asked, settings)
    assert plan.spec == expected.spec and plan.ids == expected.ids


def test_a_protocol_alone_brings_the_settings_of_its_own_system(settings: Settings) -> None:
    plan = form.plan(form.read({"model_name": "m.jsonl", "protocol": "stability-jp", "data": "sample"}), settings)
    assert (plan.spec.prompt.style, plan.spec.model.backend) == ("stability-jp", "scripted")
    assert plan.spec.tasks == tuple(name for name in DEFAULT_TASKS if name in PROTOCOLS["stability-jp"].metrics)
    assert "jsts" not in plan.spec.tasks


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "model_name is empty"),
        ({"model_name": "  "}, "model_name is empty"),
        ({"model_name": 7}, "model_name takes a text, not 7."),
        ({"shots": "7"}, 'shots takes a whole number, not "7". Write it without quotation marks.'),
        ({"shots": 1.5}, "shots takes a whole number, not 1.5."),
        ({"limit": True}, "limit takes a whole number, not true."),
        ({"limit": -1}, "limit takes a whole number of at least 0, not -1."),
        ({"shots": 17}, "shots takes a whole number from -1 to 16, not 17."),
        ({"memory": float("nan")}, "memory takes a finite number"),
        ({"allow_bin": "true"}, "allow_bin takes true or false"),
        ({"tasks": ["jnli"]}, 'tasks takes a text, not ["jnli"].'),
        ({"tasks": " , "}, "tasks is empty."),
        ({"revision": "a\nb"}, "revision takes at most"),
        ({"system": "x" * 10_001}, "system has 10,001 characters"),
    ],
)
def test_what_a_field_does_not_take_is_refused_by_its_name(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        form.read(({} if "model_name" in given or not given else {"model_name": "m"}) | given)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"model": "x"}, "Unknown field of the Launch form 'model'. Did you mean 'model_name'?"),
        ({"shot": 3}, "Did you mean 'shots'?"),
        ({"quantization": "8-bit"}, "Unknown quantization '8-bit'. Did you mean '8bit'?"),
        ({"format": "chatml"}, "Unknown format 'chatml'. Did you mean 'chat'?"),
        ({"protocol": "official-jp"}, "Unknown protocol"),
        ({"tasks": "jnli,jsqad"}, "Unknown subset in tasks 'jsqad'. Did you mean 'jsquad'?"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest_one(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        form.read({"model_name": "m", **given})
    assert told in str(caught.value)


def test_all_mistakes_are_named_at_once_in_the_order_of_the_form() -> None:
    wrong = {
        "shot": 3,
        "memory": -1,
        "quantization": "8-bit",
        "shots": "7",
        "limit": -1,
        "tasks": "jnli,jsqad",
        "protocol": "official-jp",
        "allow_bin": "true",
        "dtype": "float17",
        "system": "x" * 10_001,
        "model_name": " ",
    }
    with pytest.raises(InputError) as caught:
        form.read(wrong)
    told = str(caught.value)
    assert told.startswith("11 things in the Launch form have to be corrected. (1) model_name is empty")
    said = re.split(r" \(\d+\) ", told)[1:]
    begins = ["model_name is", "Unknown subset in tasks 'jsqad'", "limit takes", "Unknown protocol", "shots takes"]
    begins += ["Unknown quantization", "Unknown dtype", "system has 10,001", "allow_bin takes", "memory takes"]
    assert [part for part, begin in zip(said, begins, strict=False) if not part.startswith(begin)] == []
    assert said[len(begins) :] == [part for part in said if part.startswith("Unknown field of the Launch form 'shot'.")]
    japanese = say(messages.of(caught.value), "ja")
    assert japanese.startswith("Launch のフォームに直すところが 11 か所あります。（1）model_name")


def test_the_sweep_of_the_job_has_fields_of_the_form_alone() -> None:
    sweep = yaml.safe_load((QUEUES / "sweep.yaml").read_text("utf-8"))
    names, values = zip(*((k, v.get("values", [v.get("value")])) for k, v in sweep["parameters"].items()), strict=True)
    trials = [form.read(dict(zip(names, trial, strict=True))) for trial in itertools.product(*values)]
    assert len({(trial.request.a.style, trial.request.a.shots) for trial in trials}) == 4


GRID_OF = '[run]\nmodel = "owner/a"\n[factors]\nshots = [0, 2]\n'


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"grid": GRID_OF, "style": "number"}, "style stands in the grid itself"),
        ({"grid": GRID_OF, "model_name": "owner/b"}, "The grid names its models itself: owner/a."),
        ({"grid": "[factors]\nshots = [0, 2]"}, "The grid names no model, and model_name is empty."),
        ({"grid": "nothing.toml", "model_name": "m"}, "nothing.toml: cannot be read"),
        ({"grid": "[factors]\nshot = [0]", "model_name": "m"}, "Did you mean 'shots'?"),
    ],
)
def test_what_does_not_go_with_a_grid_is_refused(given: dict[str, Any], told: str) -> None:
    def read() -> None:
        found = form.read(given)
        grid.read(found.grid, str(found.values["model_name"]))

    with pytest.raises(InputError) as caught:
        read()
    assert told in str(caught.value)


def test_a_grid_is_a_text_or_a_file_and_takes_the_models_name_where_it_has_none(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[factors]\nshots = [0, 2]", "utf-8")
    for text in ("[factors]\nshots = [0, 2]", str(tmp_path / "mine.toml")):
        asked = form.read({"grid": text, "model_name": "owner/model"})
        found = grid.read(asked.grid, "owner/model")
        assert found.common["model"] == "owner/model" and [f.levels for f in found.factors] == [("0", "2")]
    assert grid.read(GRID_OF, "").common["model"] == "owner/a" and form.read({"grid": GRID_OF}).grid == GRID_OF


@pytest.mark.parametrize(
    ("of_form", "of_grid", "first"),
    [
        (None, "stability-jp", "stability-jp"),
        ("official", "stability-jp", "stability-jp"),
        ("llm-jp-eval", "stability-jp", "llm-jp-eval"),
        (None, "official", "official"),
    ],
)
def test_a_grids_own_protocol_stands_first_where_the_form_names_no_other(
    settings: Settings, of_form: str | None, of_grid: str, first: str
) -> None:
    text = f'protocol = "{of_grid}"\n[run]\ndata = "sample"\nlimit = 1\n[factors]\nshots = [0, 2]\n'
    asked = form.read({"grid": text, "model_name": "synthetic-echo", "protocol": of_form})
    assert grid.protocol_of(asked, grid.plan(asked, settings)) == first


def test_the_schema_has_every_field_and_stays_in_the_dialect() -> None:
    found = form.schema()["properties"]
    assert list(found) == list(form.defaults())
    assert [name for name, field_ in found.items() if field_.get("required")] == ["model_name"]
    known = {"type", "title", "description", "enum", "minimum", "maximum", "required", "placeholder"}
    for name, default in form.defaults().items():
        assert set(found[name]) <= known
        if "enum" in found[name]:
            assert found[name]["enum"][0] == default and len(found[name]["enum"]) > 1
    assert found["shots"]["type"] == "integer" and found["memory"]["type"] == "number"
    assert found["allow_bin"]["type"] == "boolean" and "Default: false." in found["allow_bin"]["description"]


def test_the_schema_is_printed_without_the_client() -> None:
    code = (
        "import runpy, sys; sys.argv = ['launch', '--schema'];"
        "runpy.run_module('jglue_app.launch', run_name='__main__');"
        "print({'wandb', 'torch'} & set(sys.modules), file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert json.loads(told.stdout) == form.schema()
    assert told.stderr.strip() == "set()"


# --- the job --------------------------------------------------------------------------------------------


def test_the_code_of_a_job_is_what_an_evaluation_needs_and_no_more(tmp_path: Path) -> None:
    names = jobs.export(tmp_path)
    assert sorted(names) == sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert {"requirements.txt", "jglue_app/launch/__main__.py", "assets/samples/jnli/valid.json"} <= set(names)
    assert {Path(name).suffix for name in names} <= {"", ".csv", ".txt", ".po", ".py", ".toml", ".json"}
    assert not [name for name in names if "__pycache__" in name or name.startswith(("assets/show", "assets/screen"))]
    ignored = (QUEUES / "Dockerfile.dockerignore").read_text("utf-8").split()
    assert ignored == ["*", *(f"!{pattern}" for pattern in jobs.FILES)]


def test_the_code_of_a_job_starts_without_the_checkout(tmp_path: Path) -> None:
    names = jobs.export(tmp_path)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-W", "ignore", "-m", "jglue_app.launch", "--schema"]
    printed = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    assert json.loads(printed.stdout) == form.schema()
    # What it says is said in every language.
    catalogues = {path.relative_to(ROOT).as_posix() for path in (ROOT / "jglue_app").rglob("*.po")}
    assert catalogues and catalogues <= set(names)


def test_a_checkout_that_misses_files_makes_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ROOT", tmp_path)
    with pytest.raises(StoreError, match="has no requirements"):
        jobs.export(tmp_path / "copy")


GRID = """
name = "styles"
[run]
tasks = ["jnli"]
data = "sample"
limit = 3
method = "both"
[factors]
style = ["ja-labels", "number"]
"""
QUEUE_UP = """
import json, wandb
from wandb.sdk.launch import utils
from wandb.sdk.launch.inputs import internal
from wandb.sdk.launch.sweeps.utils import construct_scheduler_args, load_launch_sweep_config
from jglue_app.launch import form
warned = []
wandb.termwarn = warned.append
internal._validate_schema(form.schema())
sweep = load_launch_sweep_config("assets/launch/sweep.yaml")
assert construct_scheduler_args(sweep, "queue", "project", return_job=True)["job"] == sweep["job"]
for name in ("local-process", "local-container", "kubernetes"):
    queue = json.load(open(f"assets/launch/queue-{name}.json"))
    utils.validate_launch_resource_args({name: queue["resource_config"]})
    queue = wandb.Api().upsert_run_queue(name, **queue, entity="tester")
chosen = utils.fetch_and_validate_template_variables(queue, ["gpus=2", "memory=64Gi"])
print(json.dumps([warned, chosen]))
"""


@dataclass
class Launched:
    """What has come of a launch through a queue, and of what was done beside it."""

    server: LaunchServer
    run: Run
    said: dict[str, str]
    model: Path


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """A job made by the command, queued for one model, run by an agent; other processes run while that polls."""
    folder = tmp_path_factory.mktemp("launch")
    model = table(folder / "model.jsonl")
    make = ("launch-job", "--project", "tester/jobs", "--json")
    jobs.export(folder / "code")  # Nobody edits it meanwhile.
    with LaunchServer(users={KEY: "tester"}) as server:
        machine = Machine(server, folder / "home", folder / "code")
        making, queues = machine.app(*make), machine.python(QUEUE_UP)
        said = {"made": end(making), "queues": end(queues)}
        command = (WANDB, "launch", "-j", "tester/jobs/jglue:latest", "-e", "tester", "-p", "jobs")
        config = overrides(model_name=str(model), data="sample", tasks="jnli, marc_ja", limit=20)
        said["queued"] = end(machine.start(*command, "-q", "local-process", "-c", config))
        agent = machine.start(WANDB, "launch-agent", "-q", "local-process", "-e", "tester", "-j", "1")
        try:
            of_grid = machine.launched("a-grid", {"model_name": str(model), "grid": GRID})
            said["again"] = end(machine.app(*make))
            said["image"] = end(machine.app(*make, "--image", "registry.example/jglue:1"))
            said["grid"] = end(of_grid)
            wait_for(lambda: any(run.exit_code is not None for run in evaluations(server)), agent)
        finally:
            server.stop_agents = True
            said["agent"] = end(agent)
        (run,) = evaluations(server)
        yield Launched(server, run, said, model)


def evaluations(server: LaunchServer) -> list[Run]:
    return [run for run in server.runs.values() if (run.job_type, run.project) == ("evaluation", "jobs")]


@pytest.mark.slow
def test_the_command_makes_a_job_once_for_the_same_code(launched: Launched) -> None:
    made, again = (json.loads(launched.said[name].partition("\n")[2]) for name in ("made", "again"))
    assert made == {"path": "tester/jobs/jglue", "version": "v0", "changed": True}
    assert again == {**made, "changed": False}
    code, job = launched.server.artifact("code-jglue"), launched.server.artifact("tester/jobs/jglue")
    assert (code.version, job.version) == (0, 0)
    assert code.files["jglue_app/errors.py"] == (ROOT / "jglue_app" / "errors.py").read_bytes()
    assert not [name for name in code.files if "__pycache__" in name or ".git" in name]
    source = json.loads(job.files["wandb-job.json"])["source"]
    assert source["entrypoint"] == ["python", "-m", "jglue_app.launch"]
    assert job.metadata == {"input_schemas": {"@wandb.config": form.schema()}}
    assert "cli_create_job" not in {run.job_type for run in launched.server.runs.values()}


@pytest.mark.slow
def test_an_image_makes_a_job_of_its_own(launched: Launched) -> None:
    job = launched.server.artifact("tester/jobs/jglue-image")
    assert json.loads(job.files["wandb-job.json"])["source"] == {"image": "registry.example/jglue:1"}
    assert job.metadata == {"input_schemas": {"@wandb.config": form.schema()}}


@pytest.mark.slow
def test_the_client_accepts_the_schema_and_the_queues(launched: Launched) -> None:
    assert json.loads(launched.said["queues"]) == [[], {"gpus": 2, "memory": "64Gi"}]
    queues = launched.server.queues
    assert {queue.resource for queue in queues.values()} == set(queues) and "kubernetes" in queues
    assert queues["local-container"].variables["gpus"]["default"] == "all"


@pytest.mark.slow
def test_a_launch_given_a_model_name_evaluates_it_in_the_launched_run(launched: Launched) -> None:
    (item,) = launched.server.queues["local-process"].items
    run = launched.run
    assert (item.state, item.run, item.error, item.warnings) == ("CLAIMED", run.id, None, [])
    assert (run.path, run.state, run.exit_code) == (f"tester/jobs/{run.id}", "finished", 0)
    local = evaluate(str(launched.model), ["jnli", "marc_ja"], data="sample", limit=20, method="both")
    report = local.report()
    for task, found in report.tasks.items():
        at = f"jglue/{task}/accuracy"
        expected = found.metrics["accuracy"]
        assert [run.summary[key] for key in (at, f"{at}/low", f"{at}/n")] == [expected.value, expected.low, expected.n]
        assert run.summary[f"jglue/{task}/choose/accuracy"] == found.choose["accuracy"].value
        rows = launched.server.table(run, f"predictions/{task}")
        assert {row["item_id"] for row in rows} == set(local.answered()[task])
    assert run.summary["jglue/average"] == report.average.value
    assert run.summary["push/state"] == "complete" and run.summary["push/finished"] is True
    assert "push/error" not in run.summary
    spec = local.data().spec
    held = launched.server.artifact(f"jglue-run-{spec.spec_id}")
    assert (held.type, held.run) == ("jglue-run", run.id) and "records.jsonl" in held.files
    assert run.display_name == spec.label and {"jglue", "official", "sample"} <= set(run.tags)


@pytest.mark.slow
def test_the_runs_config_holds_what_came_of_the_form(launched: Launched) -> None:
    config = launched.run.config
    # Overridden keys are locked against the run itself.
    assert (config["tasks"], config["limit"], config["data_kind"]) == (["marc_ja", "jnli"], 20, "sample")
    assert (config["style"], config["format"], config["shots"]) == ("ja-labels", "plain", 0)
    assert config["launch"]["tasks"] == "jnli, marc_ja" and config["launch"]["style"] == "auto"
    # The form's own words stay; what is made of them names no folder of the machine.
    assert (config["model_name"], config["model"]) == (str(launched.model), launched.model.name)


@pytest.mark.slow
def test_progress_arrives_as_it_goes(launched: Launched) -> None:
    rows = launched.run.history
    for key in ("_step", "progress/items"):
        assert [row[key] for row in rows] == sorted({row[key] for row in rows})
    assert rows[-1]["progress/items"] == 40 and rows[-1]["progress/share"] == 1
    assert rows[-1]["progress/jnli/score"] == launched.run.summary["jglue/jnli/accuracy"]
    console = "".join(launched.run.lines["output.log"])
    assert "Progress is at" in console and "JNLI: 20/20 items" in console and KEY not in console
    assert launched.server.unknown == []


@pytest.mark.slow
def test_a_launch_given_a_grid_makes_its_runs_and_puts_its_tables_into_the_launched_run(launched: Launched) -> None:
    found = launched.server.run("tester/direct/a-grid")
    assert (found.state, found.exit_code, found.job_type, found.group) == ("finished", 0, "grid", "styles")
    assert found.summary["push/state"] == "complete" and found.config["model_name"] == str(launched.model)
    members = [launched.server.run(f"tester/direct/{id_}") for id_ in found.config["members"]]
    assert [run.config["factors"] for run in members] == [{"style": "ja-labels"}, {"style": "number"}]
    assert {(run.group, run.job_type, run.summary["push/items"]) for run in members} == {("styles", "evaluation", 3)}
    rows = launched.server.table(found, "grid/levels")
    expected = {run.config["style"]: run.summary["jglue/jnli/choose/accuracy"] for run in members}
    scores = {row["level"]: row["mean"] for row in rows if (row["subset"], row["reading"]) == ("JNLI", "choose")}
    assert scores == pytest.approx(expected)


# --- how it fails ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_launch_fails_and_says_why(tmp_path: Path) -> None:
    holes = table(tmp_path / "holes.jsonl", leave_out=2)
    with LaunchServer(users={KEY: "tester"}) as server:
        machine = Machine(server, tmp_path / "home")
        starts = (
            machine.launched("nothing", {"data": "sample"}),
            machine.launched("holes", {"model_name": str(holes), "data": "sample", "tasks": "jnli"}),
        )
        said, _ = (end(process, code) for process, code in zip(starts, (2, 6), strict=True))
        run = server.run("tester/direct/nothing")
        assert (run.state, run.exit_code, run.job_type) == ("failed", 2, "evaluation")
        assert run.summary["push/state"] == "failed" and "model_name is empty" in run.summary["push/error"]
        assert "error: model_name is empty" in said and "Traceback" not in said
        assert "error: model_name is empty" in "".join(run.lines["output.log"])
        # What there is of answers is sent all the same.
        run = server.run("holes")
        assert (run.state, run.exit_code, run.summary["push/state"]) == ("failed", 6, "complete")
        assert run.summary["push/finished"] is False and "jglue/jnli/accuracy" in run.summary
        assert "2 items have no output" in run.summary["push/error"] and "unfinished" in run.tags
        assert {run.id for run in server.runs.values()} == {"nothing", "holes"} and server.unknown == []


@pytest.mark.slow
def test_a_launch_that_is_told_to_stop_goes_on_where_it_stopped(tmp_path: Path) -> None:
    asked = {"model_name": str(table(tmp_path / "slow.jsonl", seconds=0.4)), "tasks": "jnli", "data": "sample"}
    with LaunchServer(users={KEY: "tester"}) as server:
        machine = Machine(server, tmp_path / "home")
        first = machine.launched("kept", {**asked, "limit": 8})
        wait_for(lambda: any(file.stat().st_size for file in machine.home.glob("runs/*/records.jsonl")), first)
        first.send_signal(signal.SIGTERM)
        said = end(first, 130)
        run = server.run("kept")
        assert (run.state, run.summary["push/state"]) == ("failed", "stopped")
        assert "unfinished" in run.tags and "jglue/jnli/accuracy" not in run.summary
        assert "of 8 items done" in said and "of 8 items done" in run.summary["push/error"]
        (folder,) = (machine.home / "runs").iterdir()
        done = len(open_run(folder).data().records)
        assert 0 < done < 8

        end(machine.launched("kept", {**asked, "limit": 8}, WANDB_RESUME="allow"))
        run = server.run("kept")
        assert (run.state, run.summary["push/state"], run.summary["push/items"]) == ("finished", "complete", 8)
        assert "unfinished" not in run.tags and "push/error" not in run.summary
        for key in ("_step", "progress/items"):
            steps = [row[key] for row in run.history]
            assert steps == sorted(set(steps))
        assert steps[-1] == 8
        assert server.unknown == []


@pytest.mark.slow
def test_a_launch_that_is_told_to_stop_does_not_wait_for_a_server_that_has_fallen_silent(tmp_path: Path) -> None:
    asked = {"model_name": str(table(tmp_path / "slow.jsonl", seconds=0.4)), "tasks": "jnli", "data": "sample"}
    with LaunchServer(users={KEY: "tester"}) as server:
        machine = Machine(server, tmp_path / "home")
        process = machine.launched("silent", asked)
        wait_for(lambda: any(file.stat().st_size for file in machine.home.glob("runs/*/records.jsonl")), process)
        server.slow("", 600)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        said = end(process, 130)
        # By itself after 25: the page on Launch says so.
        assert 20 < time.monotonic() - began < 40
        assert "of 45 items done" in said
        (folder,) = (machine.home / "runs").iterdir()
        assert open_run(folder).data().records
