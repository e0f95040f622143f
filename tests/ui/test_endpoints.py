"""What programs can do: every action of the page through gradio's client, and as MCP tools."""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from jglue_app.scoring.protocols import PROTOCOLS
from tests.ui.conftest import ROOT, Tables, serve

ACTIONS = {
    *("compare_models", "full_run", "stop", "repeat", "models", "runs", "scores", "items", "item", "disagreements"),
    *("explain", "protocols"),
    *(
        "leaderboard",
        "delete_run",
        "push_to_wandb",
        "show_prompt",
        "try_prompt",
        "sweep_formats",
        "export_run",
        "import_run",
        "audit_score",
        "audit_table",
    ),
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(tmp_path_factory.mktemp("programs"), mcp=True) as found:
        yield found


@pytest.fixture
def client(address: str) -> Client:
    return Client(address, verbose=False)


def compared(client: Client, model: Path, **more: Any) -> list[dict[str, Any]]:
    job = client.submit(a_model=str(model), tasks=["jnli"], method="generate", api_name="/compare_models", **more)
    return list(job)


def test_every_action_is_an_endpoint_with_a_docstring_and_typed_parameters(client: Client) -> None:
    found = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(found) == {f"/{name}" for name in ACTIONS}
    for name, endpoint in found.items():
        assert len(endpoint["description"].split()) >= 5, name
        for parameter in endpoint["parameters"]:
            assert parameter["python_type"]["type"] not in ("", "Any"), (name, parameter)


def test_a_push_without_any_key_is_refused_in_a_sentence(client: Client) -> None:
    run = client.predict(api_name="/runs")[0]["run"]
    with pytest.raises(AppError, match="There is no key for"):
        client.predict(run=run, api_name="/push_to_wandb")


def test_every_action_is_an_mcp_tool_with_described_parameters(address: str) -> None:
    tools = {tool["name"]: tool for tool in httpx.get(f"{address}/gradio_api/mcp/schema").json()}
    assert set(tools) == ACTIONS
    for name, tool in tools.items():
        for parameter, schema in tool["inputSchema"].get("properties", {}).items():
            assert schema.get("description"), (name, parameter)


def test_an_mcp_client_can_rank_the_stored_runs(address: str) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "leaderboard", "arguments": {"protocol": "stability-jp", "tasks": ["marc_ja"]}},
    }
    headers = {"accept": "application/json, text/event-stream"}
    answer = httpx.post(f"{address}/gradio_api/mcp/", json=call, headers=headers, timeout=30, follow_redirects=True)
    line = next(line for line in answer.text.splitlines() if line.startswith("data:"))
    (content,) = json.loads(line.removeprefix("data:"))["result"]["content"]
    assert "base-0-shot" in content["text"]


def test_a_run_its_scores_its_items_and_one_of_them(client: Client, table: Tables) -> None:
    states = compared(client, table("program", "含意", 0.0), limit=6)
    last = states[-1]
    assert last["state"] == "done"
    assert [(bar["task"], bar["done"], bar["total"]) for bar in last["progress"]] == [("jnli", 6, 6)]
    run = last["runs"]["a"]
    report = client.predict(a=run, api_name="/scores")
    items = client.predict(a=run, api_name="/items")
    right = [row for row in items if row["a_outcome"] == "correct"]
    assert len(items) == 6
    assert report["tasks"]["jnli"]["metrics"]["accuracy"]["value"] == pytest.approx(len(right) / 6)
    one = client.predict(run=run, task="jnli", item_id=items[0]["item_id"], api_name="/item")
    assert one["record"]["output"]["text"] == "含意"
    assert set(one["judgements"]) >= {"official", "flexeval"}
    assert run in {row["run"] for row in client.predict(api_name="/runs")}


def test_half_a_character_in_an_output_is_replaced_on_its_way_to_a_program(client: Client, tmp_path: Path) -> None:
    lines = (ROOT / "assets/samples/jnli/valid.json").read_text("utf-8").splitlines()
    ids = [json.loads(line)["sentence_pair_id"] for line in lines]
    model = tmp_path / "surrogates.jsonl"
    # As JSON escapes: UTF-8 has no half characters.
    model.write_text("".join(json.dumps({"item_id": id_, "text": "含意\ud83d"}) + "\n" for id_ in ids), "utf-8")
    run = compared(client, model, limit=2)[-1]["runs"]["a"]
    rows = client.predict(a=run, api_name="/items")
    assert [row["a_said"] for row in rows] == ["含意‹U+D83D›"] * 2
    one = client.predict(run=run, task="jnli", item_id=rows[0]["item_id"], api_name="/item")
    assert one["record"]["output"]["text"] == "含意\ufffd"


def test_two_shipped_runs_are_compared_and_their_disagreements_listed(client: Client) -> None:
    a, b = "shipped:base-0-shot", "shipped:base-3-shot"
    found = client.predict(a=a, b=b, api_name="/scores")
    assert found["differences"]["marc_ja"]["accuracy"]["verdict"] == "b"
    known = client.predict(a=a, b=b, filter="knows", api_name="/items")
    assert len(known) == 53
    rows = client.predict(run=a, task="marc_ja", api_name="/disagreements")
    assert {v["right"] for v in rows[0]["verdicts"]} >= {True, False}


def test_the_same_call_gives_the_command_and_the_link(client: Client) -> None:
    found = client.predict(tasks=["jnli"], limit=0, a_shots=2, api_name="/repeat")
    assert (
        found["command"]
        == "python -m jglue_app run --model gemma-3-270m --tasks jnli --data sample --method both --shots 2"
    )
    assert found["link"] == "?tasks=jnli&data=sample&limit=all&method=both&a=gemma-3-270m&a-shots=2"


def test_a_run_is_stopped_by_its_owner_and_by_nobody_else(address: str, table: Tables) -> None:
    owner, stranger = Client(address, verbose=False), Client(address, verbose=False)
    job = owner.submit(
        a_model=str(table("stoppable", "含意", 2.0)),
        tasks=["jnli"],
        method="generate",
        limit=40,
        api_name="/compare_models",
    )
    while not (job.outputs() and job.outputs()[-1]["progress"] and job.outputs()[-1]["progress"][0]["done"]):
        assert not job.done()
        time.sleep(0.1)
    assert stranger.predict(api_name="/stop") == "You have no run going on."
    assert owner.predict(api_name="/stop").startswith("Stopping")
    last = list(job)[-1]
    assert last["state"] == "stopped"
    assert set(last["runs"].values()) <= {row["run"] for row in owner.predict(api_name="/runs")}
    assert 0 < last["progress"][0]["done"] < 40


@pytest.mark.slow
def test_a_prompt_is_shown_token_by_token(client: Client) -> None:
    found = client.predict(task="jnli", item_id="sn001", format="alpaca", api_name="/show_prompt")
    assert found["tokens"][0] == {"ids": [2], "text": "<bos>", "special": True}
    assert found["count"] == sum(len(token["ids"]) for token in found["tokens"])
    assert [answer["text"] for answer in found["answers"]] == ["含意", "矛盾", "中立"]


def test_an_item_of_ones_own_is_shown_and_what_it_lacks_is_told(client: Client) -> None:
    fields = {"sentence1": "犬が走る。", "sentence2": "動物が動く。"}
    found = client.predict(fields=fields, gold="entailment", api_name="/show_prompt")
    assert "前提：犬が走る。" in found["prompt"]["text"]
    assert [a["gold"] for a in found["answers"]] == [True, False, False]
    with pytest.raises(AppError, match="sentence2 is empty"):
        client.predict(fields={"sentence1": "犬"}, gold="entailment", api_name="/show_prompt")


def test_a_format_named_twice_is_swept_once(client: Client) -> None:
    with pytest.raises(AppError, match="at least two"):
        client.predict(formats=["plain"] * 1_000, api_name="/sweep_formats")


@pytest.mark.slow
def test_a_prompt_is_answered_and_formats_are_swept(client: Client) -> None:
    one = client.predict(task="jnli", item_id="sn001", shots=3, api_name="/try_prompt")
    assert one["record"]["output"]["text"]
    assert len(one["record"]["output"]["choice_logprobs"]) == 3
    rows = client.predict(task="jnli", formats=["plain", "rinna"], items=2, api_name="/sweep_formats")
    assert [row["side"]["format"] for row in rows] == ["plain", "rinna"]
    assert rows[0]["flips"] is None
    assert rows[1]["flips"]["changed"] in (0, 1, 2)


def test_a_run_travels_as_a_file_and_is_deleted_on_confirmation_alone(
    client: Client, table: Tables, tmp_path: Path
) -> None:
    run = compared(client, table("travel", "矛盾", 0.0), limit=3)[-1]["runs"]["a"]
    packed = tmp_path / "run.zip"
    shutil.copy(client.predict(run, "zip", api_name="/export_run"), packed)
    lines = Path(client.predict(run, "jsonl", api_name="/export_run")).read_text("utf-8").splitlines()
    assert [json.loads(line)["raw"] for line in lines] == ["矛盾"] * 3
    log = zipfile.ZipFile(client.predict(run, "lm-eval", "wandb-2023-0shot", api_name="/export_run"))
    told = json.loads(log.read(log.namelist()[0]))["configs"]["jglue_sample_jnli"]["metadata"]
    assert (told["protocol"], told["n"]) == ("wandb-2023-0shot", "3")
    with pytest.raises(AppError, match="a model card must not claim them"):
        client.predict(run, "hub-eval-results", api_name="/export_run")
    with pytest.raises(AppError, match="confirm"):
        client.predict(run=run, api_name="/delete_run")
    assert client.predict(run=run, confirm=True, api_name="/delete_run") == f"deleted {run}"
    assert client.predict(handle_file(str(packed)), api_name="/import_run") == run


def test_a_log_of_another_harness_is_imported(client: Client, tmp_path: Path) -> None:
    sample = {"lm_output": "矛盾", "extra_info": {"sentence1": "真夜中の静かな通りを、街灯だけが照らしています。"}}
    sample["extra_info"] |= {"sentence2": "通りには昼の日差しが降り注いでいます。", "label": "contradiction"}  # type: ignore[operator]
    log = tmp_path / "outputs.jsonl"
    log.write_text(json.dumps({**sample, "references": ["矛盾"]}, ensure_ascii=False) + "\n", "utf-8")
    run = client.predict(handle_file(str(log)), api_name="/import_run")
    (found,) = [one for one in client.predict(api_name="/runs") if one["run"] == run]
    assert (found["label"], found["done"]) == ("unknown model · flexeval", 1)
    log.write_text("{}", "utf-8")
    with pytest.raises(AppError, match="is no log that is known here"):
        client.predict(handle_file(str(log)), api_name="/import_run")


@pytest.mark.parametrize(
    ("endpoint", "arguments", "sentence"),
    [
        ("/scores", {"a": "../../etc"}, "There is no run"),
        ("/items", {"a": "shipped:base-0-shot", "filter": "nonsense"}, "Unknown filter"),
        ("/leaderboard", {"protocol": "nonsense"}, "Unknown protocol"),
        ("/show_prompt", {"task": "nonsense"}, "Unknown task"),
        ("/show_prompt", {"format": "chat"}, "chat template"),
        ("/sweep_formats", {"formats": ["plain"]}, "at least two"),
        ("/repeat", {"tasks": []}, "at least one subset"),
        ("/repeat", {"limit": 1_000_000}, "20,000"),
        ("/delete_run", {"run": "shipped:base-0-shot", "confirm": True}, "stays"),
    ],
)
def test_a_bad_call_is_answered_with_a_sentence(
    client: Client, endpoint: str, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AppError, match=sentence):
        client.predict(**arguments, api_name=endpoint)


# --- who leaves, and who asks for too much -----------------------------------------------------------------


def lines_of(runs_dir: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in runs_dir.glob("*/records.jsonl"))


@pytest.mark.slow
def test_what_only_a_client_waits_for_ends_when_the_client_has_left(tmp_path: Path, table: Tables) -> None:
    runs_dir = tmp_path / "runs"
    model = str(table("slow", "含意", 1.0))
    arguments: dict[str, list[Any]] = {
        "sweep_formats": ["jsts", ["plain", "alpaca"], ["ja-labels"], 30, model, 0, "sample", 0],
        "try_prompt": ["jsts", "", str(table("slower", "含意", 60.0)), "plain", "ja-labels", 0, "sample", None, "", 0],
    }
    with serve(runs_dir) as address, httpx.Client(timeout=30) as http:
        for endpoint, values in arguments.items():
            asked = http.post(f"{address}/gradio_api/call/{endpoint}", json={"data": values})
            with http.stream("GET", f"{address}/gradio_api/call/{endpoint}/{asked.json()['event_id']}") as answer:
                for line in answer.iter_lines():
                    if line.startswith("event: generating"):
                        break
            began = time.monotonic()
            # The accelerator is free again: another visitor's prompt is answered in its turn.
            other = Client(address, verbose=False).predict(task="jsts", model=model, api_name="/try_prompt")
            assert other["record"]["output"]["text"] == "含意"
            assert time.monotonic() - began < 25
            before = lines_of(runs_dir)
            assert before < 20
            time.sleep(2.5)
            assert lines_of(runs_dir) == before


LONG = "x" * 2_000_000


@pytest.mark.parametrize(
    ("endpoint", "arguments", "sentence"),
    [
        ("/sweep_formats", {"formats": ["plain"] + [f"f{i}" for i in range(50_000)], "styles": ["a"]}, "at most 40"),
        ("/sweep_formats", {"formats": ["plain", LONG]}, "Unknown format"),
        ("/sweep_formats", {"styles": [LONG, "b"]}, "at most 500 characters"),
        (
            "/show_prompt",
            {"task": "jsquad", "fields": {"context": "a", "question": "b"}, "gold": "1\n2\n" * 5_000},
            "x",
        ),
        (
            "/show_prompt",
            {"task": "jsquad", "fields": {"context": "a", "question": "b"}, "gold": "\n".join(map(str, range(4_000)))},
            "4,000 accepted answers",
        ),
        ("/show_prompt", {"fields": {"sentence1": LONG, "sentence2": "b"}, "gold": "entailment"}, "At most 20,000"),
        (
            "/show_prompt",
            {"fields": {"sentence1": ["a"], "sentence2": "b"}, "gold": "entailment"},
            "must be an object whose values are texts",
        ),
        ("/show_prompt", {"model": LONG}, "at most 500 characters"),
        ("/show_prompt", {"task": LONG}, "Unknown task"),
        ("/try_prompt", {"style": LONG}, "at most 500 characters"),
        ("/repeat", {"tasks": [f"t{i}" for i in range(50_000)]}, "Unknown task"),
        ("/repeat", {"a_model": LONG}, "at most 500 characters"),
        ("/compare_models", {"tasks": [LONG]}, "Unknown task"),
        ("/compare_models", {"b_format": "chat"}, "b_format is for B, and there is no b_model"),
        ("/repeat", {"b_shots": 1}, "b_shots is for B, and there is no b_model"),
        ("/leaderboard", {"protocol": LONG}, "Unknown protocol"),
        ("/scores", {"a": LONG}, "There is no run"),
        ("/item", {"run": "shipped:base-0-shot", "task": "jnli", "item_id": LONG}, "has no answer"),
    ],
)
def test_what_is_too_long_is_refused_in_a_short_sentence_at_once(
    client: Client, endpoint: str, arguments: dict[str, Any], sentence: str
) -> None:
    began = time.monotonic()
    if sentence == "x":  # Two different answers, each ten thousand times: they are read once each.
        assert len(client.predict(**arguments, api_name=endpoint)["answers"]) == 2
    else:
        with pytest.raises(AppError, match=sentence) as error:
            client.predict(**arguments, api_name=endpoint)
        assert len(str(error.value)) < 1_000
    # The first of them loads the tokenizer; on a busy machine a call takes a second or two.
    assert time.monotonic() - began < (30 if sentence == "x" else 5)


def test_a_program_can_audit_a_score_and_a_table(client: Client) -> None:
    found = client.predict(task="jnli", score="0.3015", n=2434, api_name="/audit_score")
    assert found["findings"][0]["kind"] == "constant_cut"
    assert found["findings"][0]["text"].startswith("0.3015 is 734 of 2,434")
    table = client.predict(table="model,x\na,19.3\nb,62.1\n", columns={"x": "jcqa"}, api_name="/audit_table")
    assert table["findings"][0]["facts"]["answer"] == "0"
    assert [m["model"] for m in table["columns"][0]["models"]] == ["b", "a"]
    with pytest.raises(AppError, match="outside the range"):
        client.predict(task="jnli", score="130", api_name="/audit_score")
    with pytest.raises(AppError, match="None of the columns"):
        client.predict(table="model,x\na,1\n", api_name="/audit_table")


def test_the_decisions_of_a_protocol_can_be_asked_for(client: Client) -> None:
    (found,) = client.predict(name="swallow-202411", api_name="/protocols")
    assert set(found["subsets"]) == {"jsts", "jnli", "jsquad", "jcommonsenseqa"}
    text = [row["value"] for row in found["subsets"]["jsquad"] if row["decision"] == "references"]
    assert text == ["the first alone"]
    assert len(client.predict(api_name="/protocols")) == len(PROTOCOLS)
    with pytest.raises(AppError, match="Unknown protocol 'swallow'"):
        client.predict(name="swallow", api_name="/protocols")
