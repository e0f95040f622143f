"""Every action of the page for programs: API endpoints, which are MCP tools too when the page is started with `--mcp`.

They take and give plain values. What they may do is what the page may do: the same limits, the same visitor's runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import gradio as gr
from gradio.events import api

from jglue_app import prompt_lab
from jglue_app.audit import auditor
from jglue_app.backends.named_models import named_models
from jglue_app.data import files as data
from jglue_app.errors import InputError, JglueAppError, UnknownNameError
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_text import to_command_line, to_url_query
from jglue_app.runs.store import dumps
from jglue_app.scoring.disagreement import dissents
from jglue_app.scoring.protocols import PROTOCOLS, get_protocol
from jglue_app.scoring.protocols.decisions import as_table as decisions_table
from jglue_app.scoring.waterfall import as_table
from jglue_app.tasks import CORE, get_task
from jglue_app.types import Item
from jglue_app.ui import controls
from jglue_app.ui.endpoint_parameters import FIRST_OF_ONE, FIRST_OF_TWO, request_of, with_request_parameters
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import BEAT_S, changes
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import compare, full, results, wandb_panel
from jglue_app.ui.tabs import waterfall as why
from jglue_app.ui.tabs.lab import look, start_sweep
from jglue_app.ui.views.items import FILTERS, item_rows
from jglue_app.ui.visitor import visitor


def build(desk: AppState) -> None:
    """Add the endpoints to the surrounding Blocks."""
    for function in (*_runs(desk), *_stored(desk), *_audit(), *_lab(desk)):
        api(function, concurrency_limit=16)
    _files(desk)


def _plain(value: Any) -> Any:
    """Records and dataclasses as plain values."""
    return json.loads(dumps(value))


def _told(error: JglueAppError) -> gr.Error:
    """What a program is told: the sentence, and no traceback."""
    return gr.Error(str(error), print_exception=False)


Said = TypeVar("Said")


def waited(desk: AppState, job: Job, said: Said) -> Iterator[Said]:
    """Say something about once a second until a job is over, so that a client who has left is noticed, and end the job
    then: nobody else will ask for what it gives. What is over within a second says nothing.

    Raises:
        InputError: it failed.
    """
    try:
        while not job.over.wait(BEAT_S):
            yield said
    finally:
        if not job.over.is_set():
            desk.jobs.halt(job)
    if job.state == "failed":
        raise InputError(str(job.failure or "") or f"An unexpected fault; its number is {job.incident}.")


# --- making runs ----------------------------------------------------------------------------------------


def _runs(desk: AppState) -> tuple[Any, ...]:
    settings = desk.settings

    def read(given: Mapping[str, Any]) -> RunRequest:
        values = {**request_of(given), "allow_bin": given.get("allow_bin", False) and not settings.public}
        return controls.read(values, settings)

    def follow(job: Job) -> Iterator[dict[str, Any]]:
        for _ in changes(job):
            desk.grant_access(job)
            yield state(job)
        desk.grant_access(job)
        yield state(job)

    def state(job: Job) -> dict[str, Any]:
        if job.state == "failed":
            raise gr.Error(
                str(job.failure or "") or f"An unexpected fault; its number is {job.incident}.", print_exception=False
            )
        runs = {side: made.run for side, made in job.made.items()}
        bars = [
            {"side": side, "task": task, "done": e.done, "total": e.total, "items_per_s": e.items_per_s}
            for (side, task), e in list(job.bars.items())
        ]
        return {
            "state": "stopped" if job.stop.is_set() else job.state,
            "runs": runs,
            "progress": bars,
            "notices": job.notices,
        }

    def compare_models(request: gr.Request, **given: Any) -> Iterator[dict[str, Any]]:
        """Run one model, or two side by side, and store what they answer. Gives the state again and again; the last
        has the ids of the runs, for `scores`, `items` and `item`."""
        try:
            job = desk.jobs.runs(visitor(request), compare.KIND, read(given))
        except JglueAppError as e:
            raise _told(e) from e
        yield from follow(job)

    def full_run(request: gr.Request, **given: Any) -> Iterator[dict[str, Any]]:
        """Every item of a split in the background. Leaving off reading does not end it; `stop` does. The same
        call again goes on where it was stopped."""
        try:
            if settings.public:
                raise InputError("A public server makes no full runs. Run the application on your own machine.")
            job = full.begin(desk, visitor(request), read(given))
        except JglueAppError as e:
            raise _told(e) from e
        yield from follow(job)

    def stop(request: gr.Request, kind: str = "compare") -> str:
        """Stop your own work. What it has finished is kept.

        Args:
            kind: compare, full, sweep, try or push.
        """
        job = desk.jobs.latest(visitor(request), kind)
        if job is None or not job.active:
            return "Nothing of yours is going on."
        desk.jobs.halt(job)
        return "Stopping. What is finished is kept; the same call again goes on from there."

    def repeat(**given: Any) -> dict[str, str]:
        """The command line and the link that ask for a comparison; runs nothing."""
        try:
            found = read(given)
        except JglueAppError as e:
            raise _told(e) from e
        return {"command": to_command_line(found), "link": f"?{to_url_query(found)}"}

    def models() -> list[dict[str, Any]]:
        """The named models with their sizes, licences and usual prompt formats."""
        found: list[dict[str, Any]] = _plain(list(named_models().values()))
        return found

    def protocols(name: str = "") -> list[dict[str, Any]]:
        """The protocols: what each scores, every decision of one, and where its system's own code makes it.

        Args:
            name: One of them; empty for all.
        """
        try:
            return [decisions_table(protocol) for protocol in ([get_protocol(name)] if name else PROTOCOLS.values())]
        except JglueAppError as e:
            raise _told(e) from e

    two, one = RunRequest(b=controls.DEFAULT_B), RunRequest(data="official", limit=None)
    return (
        with_request_parameters(compare_models, FIRST_OF_TWO, two),
        with_request_parameters(full_run, FIRST_OF_ONE, one, leave_out=("limit",)),
        stop,
        with_request_parameters(repeat, FIRST_OF_TWO, two, leave_out=("allow_bin",)),
        models,
        protocols,
    )


# --- stored runs ----------------------------------------------------------------------------------------


def _stored(desk: AppState) -> tuple[Any, ...]:
    def runs(request: gr.Request) -> list[dict[str, Any]]:
        """The stored runs that you may look at, the newest first, and those that came with the application; at last
        those that are damaged, each with what is wrong."""
        owner = visitor(request)
        whole: list[dict[str, Any]] = [
            {"run": name, "label": r.label, "created": r.created, "done": r.done, "planned": r.planned}
            for name, r in desk.runs(owner).items()
        ]
        return whole + [{"run": name, "damaged": why} for name, why in desk.damaged(owner).items()]

    def scores(request: gr.Request, a: str, b: str = "", protocol: str = "official") -> dict[str, Any]:
        """Every score of a run under a protocol; of two runs also the differences on the items both have answered.
        Of a run that you have made since the server was started these are the items that you have asked for.

        Args:
            a: Id of a run, from `runs`.
            b: Id of another run; empty for none.
            protocol: The name of a protocol, from `protocols`.
        """
        owner = visitor(request)
        try:
            if not b:
                report: dict[str, Any] = _plain(desk.report(owner, a, protocol, requested_only=True))
                return report
            both: dict[str, Any] = _plain(desk.comparison(owner, a, b, protocol, requested_only=True))
            return both
        except JglueAppError as e:
            raise _told(e) from e

    def items(request: gr.Request, a: str, b: str = "", filter: str = "all") -> list[dict[str, Any]]:
        """The items of a run or two, each with its question, gold answer, what was said and how that fell out. Of a run
        that you have made since the server was started these are the items that you have asked for.

        Args:
            a: Id of a run.
            b: Id of another run; empty for none.
            filter: all, disagree, only_a, only_b, knows (ranked right, written in no shape to count), form, unreadable.
        """
        owner = visitor(request)
        try:
            if filter not in FILTERS:
                raise UnknownNameError("filter", filter[:50], FILTERS)
            left = desk.judged(owner, a, requested_only=True)
            right = desk.judged(owner, b, requested_only=True) if b else None
        except JglueAppError as e:
            raise _told(e) from e
        names = {"t": "title", "k": "task", "i": "item_id", "q": "question", "g": "gold", "a": "a_said", "b": "b_said"}
        names |= {"ao": "a_outcome", "bo": "b_outcome", "f": "filters"}
        rows = item_rows(left, right, "en")
        return [{names[k]: v for k, v in row.items()} for row in rows if filter == "all" or filter in row["f"]]

    def item(request: gr.Request, run: str, task: str, item_id: str) -> dict[str, Any]:
        """One item of a run: its fields, the prompt as the model saw it, the raw output, and how every protocol reads
        and counts it.

        Args:
            run: Id of a run.
            task: The subset.
            item_id: The item's id.
        """
        owner = visitor(request)
        try:
            found = desk.judged(owner, run).get(get_task(task).name, {}).get(item_id)
            if found is None:
                raise InputError(
                    "The run has no answer to {task} {item_id!r}. `items` lists what it has.",
                    task=task,
                    item_id=item_id[:100],
                )
            judged = desk.item_judgements(owner, run, task, item_id)
        except JglueAppError as e:
            raise _told(e) from e
        return {"item": _plain(found.item), "record": _plain(found.record), "judgements": _plain(judged)}

    def disagreements(request: gr.Request, run: str, task: str) -> list[dict[str, Any]]:
        """Items of a run that some protocols count right and others wrong, with the rules by which they do.

        Args:
            run: Id of a run.
            task: The subset.
        """
        try:
            name = get_task(task).name
            owner = visitor(request)
            # What has been judged is kept: a long run is not judged again with every call.
            judged = {
                protocol: {name: desk.judged(owner, run, protocol, requested_only=True).get(name, {})}
                for protocol in PROTOCOLS
            }
            return [
                {"item_id": d.item.id, "gold": _plain(d.item.gold), "verdicts": _plain(d.verdicts)}
                for d in dissents(judged).get(name, [])
            ]
        except JglueAppError as e:
            raise _told(e) from e

    def explain(request: gr.Request, run: str, start: str = why.START, end: str = why.END) -> list[dict[str, Any]]:
        """How the scores of a run under one protocol become those under another: the decisions in which the two differ,
        switched one at a time, with the score after each and the items it moves.

        Args:
            run: Id of a run.
            start: The protocol to begin with.
            end: The protocol to arrive at.
        """
        try:
            found = why.ways(desk, visitor(request), run, start, end)
        except JglueAppError as e:
            raise _told(e) from e
        return [_plain(as_table(way)) for way in found.values()]

    def leaderboard(
        request: gr.Request,
        protocol: str = "official",
        against: str = "official",
        data: str = "sample",
        tasks: list[str] = list(CORE),  # noqa: B006  # As above.
    ) -> list[dict[str, Any]]:
        """The stored runs ranked by the mean of their main metrics, and their ranks under another protocol.

        Args:
            protocol: The protocol that ranks.
            against: The protocol whose ranks are compared.
            data: Runs over sample data, official (dev) data or the official test sets: sample, official or test.
            tasks: Subsets that count; those that one of the protocols does not score are left out.
        """
        try:
            get_protocol(protocol)
            get_protocol(against)
            entries, _ = results.ranked(desk, visitor(request), data, tasks, protocol, against, "en")
        except JglueAppError as e:
            raise _told(e) from e
        found: list[dict[str, Any]] = _plain(entries)
        return found

    def delete_run(request: gr.Request, run: str, confirm: bool = False) -> str:
        """Delete a stored run for good.

        Args:
            run: Id of the run.
            confirm: Must be true: a deleted run cannot be brought back.
        """
        try:
            if not confirm:
                raise InputError("Nothing was deleted. Set confirm to true to delete the run for good.")
            desk.delete(visitor(request), run)
        except JglueAppError as e:
            raise _told(e) from e
        return f"deleted {run}"

    def push_to_wandb(
        request: gr.Request,
        run: str,
        compare_with: str = "",
        project: str = "",
        entity: str = "",
        key: str = "",
        protocol: str = "official",
    ) -> list[dict[str, Any]]:
        """Send a stored run to Weights & Biases, or two and what joins them. Again, it updates the same W&B runs.

        Args:
            run: Id of a run, from `runs`.
            compare_with: Id of another run to compare it with; empty for none.
            project: W&B project; empty for jglue, or as the server is set.
            entity: W&B user or team; empty for the key's own.
            key: W&B API key, for this push only; empty for the server's own where it is lent.
            protocol: The protocol whose scores stand first; all are sent.
        """
        try:
            get_protocol(protocol)
            job = wandb_panel.begin(desk, visitor(request), run, compare_with, project, entity, key, protocol)
            job.over.wait()
            if job.stop.is_set():
                raise InputError("The push was stopped. What had arrived stays; push again to complete it.")
            if job.state == "failed":
                raise InputError(str(job.failure or "") or f"An unexpected fault; its number is {job.incident}.")
        except JglueAppError as e:
            raise _told(e) from e
        found: list[dict[str, Any]] = _plain(job.result)
        return found

    return runs, scores, items, item, disagreements, explain, leaderboard, delete_run, push_to_wandb


def _files(desk: AppState) -> None:
    """Export and import, whose files need components to travel."""

    def export_run(request: gr.Request, run: str, format: str, protocol: str) -> str:
        """A run as one row an item (jsonl, csv, parquet), its folder packed to bring it elsewhere (zip), or what other
        projects read (every-eval-ever, hub-eval-results, lm-eval).

        Args:
            run: Id of the run.
            format: jsonl, csv, parquet, zip, every-eval-ever, hub-eval-results or lm-eval.
            protocol: Whose scores the formats of other projects hold.
        """
        try:
            return str(results.export_file(desk, visitor(request), run, format, protocol).path)
        except JglueAppError as e:
            raise _told(e) from e

    def import_run(file: str | None) -> str:
        """Bring in a run from a .zip file that export_run has made, or from a log of another harness; gives its id.

        Args:
            file: The .zip file, or the log. Of a log that has a part of the items, these alone are imported.
        """
        try:
            if not file:
                raise InputError("There is no file. Choose a .zip file that this application has exported.")
            return results.import_files(desk, [Path(file)], partial=True)[0].name
        except JglueAppError as e:
            raise _told(e) from e

    run = gr.Textbox(label="run", visible=False)
    format = gr.Textbox("jsonl", label="format", visible=False)
    protocol = gr.Textbox("official", label="protocol", visible=False)
    out = gr.File(label="file", visible=False)
    into = gr.File(label="file", visible=False)
    name = gr.Textbox(label="run", visible=False)
    gr.Button(visible=False).click(export_run, [run, format, protocol], out, api_name="export_run")
    gr.Button(visible=False).click(import_run, into, name, api_name="import_run")


# --- published scores -----------------------------------------------------------------------------------


def _audit() -> tuple[Any, ...]:
    def audit_score(
        task: str = "jnli", score: str = "0.3016", n: int = 0, metric: str = "", system: str = "", scale: str = ""
    ) -> dict[str, Any]:
        """What a published score is consistent with: constant answers, numbers of items, its interval, and published
        scores that it cannot be told from. Each finding is a sentence with its reason.

        Args:
            task: The subset: marc_ja, jsts, jnli, jsquad, jcommonsenseqa or jcola.
            score: The score as it is printed, such as 0.3016 or 30.16.
            n: The number of items; 0 if it is not known.
            metric: accuracy, acc_norm, balanced_accuracy, macro_f1, mcc, exact_match, f1, char_f1, pearson or spearman;
                empty if it is not known.
            system: Whose protocol gave it, such as wandb-2023 or stability-jp; empty if it is not known.
            scale: fraction or percent; empty to decide by the value.
        """
        try:
            found = auditor.audit_score(task, score, n=n or None, metric=metric, system=system, scale=scale)
        except JglueAppError as e:
            raise _told(e) from e
        return cast(dict[str, Any], _plain(found.plain()))

    def audit_table(
        table: str, columns: dict[str, str] | None = None, system: str = "", scale: str = ""
    ) -> dict[str, Any]:
        """What a whole leaderboard is consistent with: scores on a floor, impossible scores, mixed scales, and groups
        of models that cannot be told apart.

        Args:
            table: CSV, TSV, a Markdown table or JSON, with a row for each model.
            columns: Head of a column and what it is, such as {"score": "jnli:acc"}; none where heads name subsets.
            system: Whose protocol gave the scores; empty if it is not known.
            scale: fraction or percent; empty to decide by the values of each column.
        """
        try:
            found = auditor.audit_table(table, columns=columns, system=system, scale=scale)
        except JglueAppError as e:
            raise _told(e) from e
        return cast(dict[str, Any], _plain(found.plain()))

    return audit_score, audit_table


# --- prompts --------------------------------------------------------------------------------------------


def _lab(desk: AppState) -> tuple[Any, ...]:
    settings = desk.settings

    def find(task: str, item_id: str, kind: str, fields: dict[str, str] | None, gold: str) -> Item:
        if fields:
            known = get_task(task)
            if not isinstance(fields, dict) or any(not isinstance(fields.get(k, ""), str) for k in known.fields):
                raise InputError(
                    "The fields of {title} are an object of texts: {fields}.",
                    title=known.title,
                    fields=", ".join(known.fields),
                )
            return prompt_lab.make_item(known, fields, gold)
        items = data.load(settings, get_task(task).name, data=kind).items
        found = next((i for i in items if i.id == item_id), None) if item_id else items[0]
        if found is None:
            raise InputError(
                "{task} has no item {item_id!r}. The first one is {id!r}.",
                task=task,
                item_id=item_id[:100],
                id=items[0].id,
            )
        return found

    def show_prompt(
        request: gr.Request,
        task: str = "jnli",
        item_id: str = "",
        model: str = "gemma-3-270m",
        format: str = "plain",
        style: str = "ja-labels",
        shots: int = 0,
        data: str = "sample",
        fields: dict[str, str] | None = None,
        gold: str = "",
    ) -> Iterator[dict[str, Any]]:
        """A prompt token by token, the tokens each legal answer takes, and the linter's warnings. Loads the tokenizer
        alone.

        Args:
            task: The subset.
            item_id: Id of an item; empty for the first.
            model: A registry name or Hub id.
            format: Prompt format: plain, chat, rinna, rinna_bilingual, alpaca or llama2.
            style: Wording style.
            shots: Solved examples, 0 to 16.
            data: sample or official.
            fields: The texts of an item of your own, such as {"sentence1": "…", "sentence2": "…"}, instead of an id.
            gold: Its gold answer: a label, a number for JSTS, or accepted spans, one a line.
        """

        def work(job: Job) -> None:
            job.result = _plain(look(desk, side, item, job, data))

        try:
            side = controls.read_side({"model": model, "format": format, "style": style, "shots": shots})
            item = find(task, item_id, data, fields, gold)
            job = desk.jobs.aside(visitor(request), "look", work)
            yield from waited(desk, job, {"state": "waiting"})
        except JglueAppError as e:
            raise _told(e) from e
        yield job.result

    def try_prompt(
        request: gr.Request,
        task: str = "jnli",
        item_id: str = "",
        model: str = "gemma-3-270m",
        format: str = "plain",
        style: str = "ja-labels",
        shots: int = 0,
        data: str = "sample",
        fields: dict[str, str] | None = None,
        gold: str = "",
    ) -> Iterator[dict[str, Any]]:
        """Have a model answer one item; nothing is stored. Gives the prompt, the raw output and how it is read.

        Args:
            task: The subset.
            item_id: Id of an item; empty for the first.
            model: A registry name or Hub id.
            format: Prompt format.
            style: Wording style.
            shots: Solved examples, 0 to 16.
            data: sample or official.
            fields: The texts of an item of your own, instead of an id.
            gold: Its gold answer: a label, a number for JSTS, or accepted spans, one a line.
        """

        def work(job: Job) -> None:
            with desk.jobs.turn(job) as mine:
                if mine:
                    job.result = prompt_lab.try_item(settings, desk.pool, side, item, job.stop.is_set, data=data)

        try:
            side: Side = controls.read_side({"model": model, "format": format, "style": style, "shots": shots})
            item = find(task, item_id, data, fields, gold)
            job = desk.jobs.start(visitor(request), "try", work)
            yield from waited(desk, job, {"state": "waiting"})
            if job.result is None:
                raise InputError("It was stopped before there was an answer. Try it again.")
        except JglueAppError as e:
            raise _told(e) from e
        answered = job.result.answered
        yield {"record": _plain(answered.record), "judgement": _plain(answered.judgement)}

    def sweep_formats(
        request: gr.Request,
        task: str = "jnli",
        formats: list[str] = ["plain", "alpaca", "rinna", "llama2"],  # noqa: B006  # As above.
        styles: list[str] = ["ja-labels"],  # noqa: B006  # As above.
        items: int = 10,
        model: str = "gemma-3-270m",
        shots: int = 0,
        data: str = "sample",
    ) -> Iterator[list[dict[str, Any]]]:
        """The same items in several prompt formats: scores, and how many answers change when only the format does.

        Args:
            task: The subset.
            formats: At least two formats, or one and several styles; the first is what the others are compared with.
            styles: Wording styles.
            items: How many items.
            model: A registry name or Hub id.
            shots: Solved examples, 0 to 16.
            data: sample or official.
        """
        owner = visitor(request)
        try:
            side = controls.read_side({"model": model, "shots": shots})
            job = start_sweep(desk, owner, task, prompt_lab.variants(side, formats, styles), items, data, "en")
            nothing: list[dict[str, Any]] = []
            yield from waited(desk, job, nothing)
            desk.grant_access(job)
            rows = prompt_lab.sweep_table(desk.library, task, job.result or [])
        except JglueAppError as e:
            raise _told(e) from e
        out = [{**_plain(row), "run": row.path.name} for row in rows]
        for row in out:
            del row["path"]
        yield out

    return show_prompt, try_prompt, sweep_formats
