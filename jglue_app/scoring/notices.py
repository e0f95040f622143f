"""What a reader has to know before believing a score: floors, defaults, oracles, other settings. No I/O.

A `Notice` carries facts; `sentence` makes a message of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jglue_app.messages import Joined, Message, mark
from jglue_app.prompts.thoughts import is_ignored
from jglue_app.scoring.metric_names import metric_message
from jglue_app.scoring.precision import effect_notices, rounded_to
from jglue_app.scoring.types import Estimate, PrecisionEffect, Preset, ScoringProtocol, TaskReport
from jglue_app.tasks import TASKS
from jglue_app.types import ELSEWHERE, ModelInfo, Notice, Prompt, RunSpec, Task

MAX_NAMES = 4
"""Names that a sentence repeats."""
SENTENCES = {
    "on_floor_default": mark(
        "{metric} {value} cannot be told from {floor}, what never giving a readable answer scores here: under "
        "{protocol} an unreadable output counts as {default}."
    ),
    "on_floor_constant": mark("{metric} {value} cannot be told from {floor}, what one constant answer scores."),
    "below_floor": mark("{metric} {value} is below {floor}, what one constant answer scores."),
    "no_correlation": mark(
        "{metric} {value} cannot be told from 0: these items do not show that the numbers follow the similarity."
    ),
    "left_out": mark(
        "{k} of {n} items have no usable log-likelihoods (missing, NaN or infinite) and are not in this score."
    ),
    "assumed_choices": mark(
        'acc_norm divides by the lengths of {asked}. If other texts were ranked, name them as "choices" in the '
        "predictions."
    ),
    "defaults": mark(
        "{k} of {n} outputs could not be read and count as {default} under {protocol}; {luck} of these are right, by "
        "chance."
    ),
    "defaults_similarity": mark("{k} of {n} outputs could not be read and count as {default} under {protocol}."),
    "unfinished_thoughts": mark(
        "{k} of {n} outputs never end their thought, and nothing is read from it. Raise “Thinking limit (tokens)” "
        "(--max-thinking-tokens), or turn “Thinking” off (--thinking off)."
    ),
    "thinking_ignored": mark(
        "Thinking was asked for, and nothing in the prompts turns it on: the model answered as it does without. Choose "
        "the format chat, and a model whose template has a switch for thinking."
    ),
    "assumed_thought": mark(
        "{k} of {n} lines close a thought ({closing}) without opening it ({mark}): the prompts are taken to have "
        'opened one in every line, and the {cut} lines that close none to be unfinished thoughts. Give "thought": "" '
        "in lines of which that is not so."
    ),
    "imported_strange": mark(
        "{k} of {n} answers of the log of {harness} are to no item of the data here and are left out ({first})."
    ),
    "imported_doubtful": mark(
        "{k} of {n} answers of the log of {harness} fit two items of the data, which nothing in it tells apart, and "
        "are left out ({first})."
    ),
    "imported_missing": mark("{k} of {n} items of the data have no answer in the log of {harness} ({first})."),
    "imported_changed": mark(
        "{k} of {n} items were asked by {harness} with another text than the data here has, such as {first}: scores "
        "say nothing about these exact items."
    ),
    "imported_unchecked": mark(
        "{k} of {n} items were brought together with the answers of {harness} by their ids alone, for the log has no "
        "texts ({first})."
    ),
    "imported_gold": mark(
        "{k} of {n} items have another right answer in the log of {harness} than in the data here, such as {first}. "
        "Scores here go by the data."
    ),
    "imported_gold_unknown": mark(
        "What {harness} took to be the right answer is not in the log, or cannot be told, of {k} of {n} items "
        "({first})."
    ),
    "imported_several": mark(
        "Of {k} of {n} items the log of {harness} holds several outputs: the first of each is scored."
    ),
    "imported_trimmed": mark(
        "{k} of {n} outputs are in the log of {harness} as they are after it has cut, trimmed and normalised (NFKC) "
        "them: what the model wrote is not known."
    ),
    "imported_number": mark(
        "{k} of {n} outputs are in the log of {harness} as -2.0 alone, which it writes for what it cannot read: they "
        "are taken as empty."
    ),
    "imported_processed": mark(
        "{k} of {n} outputs were changed by filters or processors of {harness} before it scored them; here they are "
        "scored as the model wrote them."
    ),
    "imported_score": mark(
        "{harness} has printed {metric} {printed}; {protocol} gives {here} for the same outputs against the data here."
    ),
    "thought_closed": mark(
        "The prompts open a thought, or leave one to the model. Answers were ranked after the same prompts with the "
        "thought closed."
    ),
    "ranked_in_thought": mark(
        "The answers of {k} items were ranked inside a thought that the prompt has opened, by an earlier version: "
        "these log-likelihoods say little. Delete the run and make it again."
    ),
    "asked_otherwise": mark(
        "The prompt asked for {asked}, but {protocol} reads {read} alone. With its own wording style ({style}) the "
        "score would mean something."
    ),
    "oracle": mark(
        "No answer was given more tokens than the longest gold answer has: this oracle gives a part of the answer away."
    ),
    "items_left_out": mark(
        "{k} of {n} items are not scored: {protocol} leaves out those whose lexicographically largest reference has "
        "more than 37.5 characters."
    ),
    "old_labels": mark(
        "{protocol} held answers against the labels of JGLUE v1.1, and so does this score: {k} of {n} items here have "
        "another label than in v1.3."
    ),
    "undefined_as_zero": mark("{metric} is undefined here and counts as 0 under {protocol}."),
    "no_logprobs": mark(
        "{protocol} ranks the answers by log-likelihood, and there are none: run with “Method: Both” (--method "
        "both), or add choice_logprobs to the predictions."
    ),
    "no_text": mark(
        "{protocol} reads generated text, and there is none: run with “Method: Both” (--method both), or add text to "
        "the predictions."
    ),
    "cosines": mark(
        "{protocol} reads a number that a model wrote, and this run has cosines of embeddings: only official scores "
        "them."
    ),
    "cosine_scale": mark(
        "These numbers are cosines of embeddings ({source}; prefix: {prefix}), on a scale of their own and not 0–5: "
        "only how they order the items, and how linearly they follow the gold values, is scored."
    ),
    "not_covered": mark("{protocol} does not score {task}."),
    "other_settings": mark(
        "The run was not made as {protocol} makes it: {settings}. `run --protocol {protocol}` sets all of that."
    ),
    "quantized": mark(
        "The weights of this checkpoint are quantized already ({quantized}): scores are those of the rounded model and "
        "log-likelihoods are approximate. They say nothing about the model at full precision."
    ),
    "approximate": mark(
        "The model computed in {precision}: log-likelihoods are approximate, and where two answers are nearly equal "
        "another may come out than in float32."
    ),
    "float32_ranked": mark(
        "{precision}: the first choice differs for {k} of {n} items that were also ranked in float32; "
        "log-probabilities differ by {largest} at most (median {median})."
    ),
    "float32_written": mark("{precision}: the text differs for {k} of {n} items that were also written in float32."),
    "within_rounding": mark(
        "{task}: the difference between A and B may be rounding alone. Of {n} items that were also ranked in float32, "
        "{k} have another first choice than in {precision}; so up to {high:.0f} % of all items may (95 % interval)."
    ),
    "ranked_by_first_token": mark(
        "The server gives no log-probabilities of whole answers: they were ranked by the most likely first tokens, "
        "which is approximate. Do not set these beside rankings of whole answers."
    ),
    "no_temperature": mark(
        "The server does not take temperature 0: answers are sampled, and another run may give others."
    ),
    "varying_answers": mark(
        "The server gave several answers to one prompt at temperature 0: another run may give others."
    ),
    "several_servers": mark(
        "{count} configurations of the server (system_fingerprint) answered in this run: {names}. Differences between "
        "items may be theirs."
    ),
    "server_left_out": mark(
        "A server of the pool answered known questions otherwise during this run and was left out; nothing that it "
        "answered afterwards is stored: {server}"
    ),
}
"""Kind → sentence."""


EMBEDDING_TITLES = {
    "sentence_transformers": mark("a model of sentence-transformers"),
    "hf": mark("the mean of a language model's hidden states"),
    "openai_api": mark("a server's embeddings"),
}
"""Backend of an embedding run → what its vectors are."""


def sentence(notice: Notice) -> Message:
    """A notice for people."""
    facts: dict[str, object] = dict(notice.facts)
    if "metric" in facts:
        facts["metric"] = metric_message(str(facts["metric"]))
    # Facts are stored as texts: a list of names is one with commas.
    facts |= {key: Joined(", ", str(facts[key]).split(", ")) for key in ("names", "first") if key in facts}
    text = Message(SENTENCES[notice.kind], **facts)
    return Message("By log-likelihood: {text}", text=text) if notice.reading == "choose" else text


def of_task(
    report: TaskReport,
    spec: RunSpec,
    protocol: ScoringProtocol,
    task: Task,
    *,
    luck: int,
    left_out: int,
    surface_forms: Sequence[str],
) -> tuple[Notice, ...]:
    """What concerns one subset.

    Args:
        report: its scores.
        spec: of the run.
        protocol: what scored them.
        task: the subset.
        luck: unreadable outputs whose default happens to be the gold answer.
        left_out: items whose log-likelihoods are missing or not finite although something was answered.
        surface_forms: how the prompts wanted the labels written; empty where answers are open.
    """
    notices: list[Notice] = []
    if report.unscored in ("no_logprobs", "no_text", "cosines", "not_covered"):
        notices.append(Notice(report.unscored, facts={"protocol": protocol.name, "task": task.title}))
    if spec.embeds and report.metrics:
        source = Message(EMBEDDING_TITLES.get(spec.model.backend, spec.model.backend))
        prefix = repr(spec.prompt.prefix) if spec.prompt.prefix else Message("none")
        notices.append(Notice("cosine_scale", facts={"source": source, "prefix": prefix}))
    for name, score in report.metrics.items():
        notices += _floors(name, "strict", score, report, protocol)
    for name, score in list(report.choose.items())[:1]:
        notices += _floors(name, "choose", score, report, protocol)
    if left_out and (protocol.lenient or task.name in protocol.ranked):
        reading = "strict" if task.name in protocol.ranked else "choose"
        notices.append(Notice("left_out", "", reading, {"k": left_out, "n": sum(report.outcomes.values())}))
    if "acc_norm" in report.metrics and spec.model.backend == "predictions" and tuple(surface_forms) == task.labels:
        lengths = Message("the choices' words") if "choice0" in task.fields else " / ".join(surface_forms)
        notices.append(Notice("assumed_choices", "acc_norm", facts={"asked": lengths}))
    default = protocol.defaults.get(task.name)
    if default is not None and report.unreadable:
        kind = "defaults_similarity" if task.kind == "score" else "defaults"
        facts: dict[str, str | float] = {
            "k": report.unreadable,
            "n": report.n,
            "default": str(default),
            "protocol": protocol.name,
        }
        notices.append(Notice(kind, facts=facts if task.kind == "score" else {**facts, "luck": luck}))
    if task.name in protocol.literal and surface_forms and tuple(surface_forms) != task.labels and protocol.preset:
        words = {"asked": " / ".join(surface_forms), "read": " / ".join(task.labels), "style": protocol.preset.style}
        notices.append(Notice("asked_otherwise", facts={**words, "protocol": protocol.name}))
    if task.kind == "span" and spec.decoding.oracle_length:
        notices.append(Notice("oracle"))
    return tuple(notices)


def of_data(
    report: TaskReport, protocol: ScoringProtocol, task: Task, *, not_scored: int, relabelled: int
) -> tuple[Notice, ...]:
    """What a protocol makes of the data of one subset.

    Args:
        report: its scores.
        protocol: what scored them.
        task: the subset.
        not_scored: items that the system leaves out.
        relabelled: items that it held against another label.
    """
    facts: dict[str, str | float] = {"protocol": protocol.name}
    notices: list[Notice] = []
    if not_scored:
        notices.append(Notice("items_left_out", facts={**facts, "k": not_scored, "n": report.planned + not_scored}))
    if relabelled:
        notices.append(Notice("old_labels", facts={**facts, "k": relabelled, "n": report.n}))
    rules = protocol.rules.get(task.name)
    if rules and task.kind == "score" and rules.undefined == "zero":
        undefined = (name for name, e in report.metrics.items() if e.value == 0 and e.low is None and e.n > 1)
        notices += [Notice("undefined_as_zero", name, facts={**facts, "metric": name}) for name in undefined]
    return tuple(notices)


def of_thoughts(unfinished: int, n: int, *, closed: bool, inside: int = 0) -> tuple[Notice, ...]:
    """What concerns thoughts in one subset.

    Args:
        unfinished: outputs that never end their thought.
        n: outputs.
        closed: whether answers were ranked after prompts whose thought had been closed for that.
        inside: items whose answers were ranked within an opened thought, as earlier versions did.
    """
    notices = [Notice("unfinished_thoughts", facts={"k": unfinished, "n": n})] if unfinished else []
    notices += [Notice("ranked_in_thought", "", "choose", {"k": inside})] if inside else []
    return (*notices, *([Notice("thought_closed", "", "choose")] if closed else []))


def _floors(name: str, reading: str, score: Estimate, report: TaskReport, protocol: ScoringProtocol) -> list[Notice]:
    if score.value is None or score.low is None or score.high is None:
        return []
    facts = {"metric": name, "value": _number(score.value), "protocol": protocol.name}
    if name in ("pearson", "spearman"):
        return [Notice("no_correlation", name, reading, facts)] if score.low <= 0 else []
    # What is taken for a text that cannot be read is no floor of a ranking.
    default = report.default_floors.get(name) if reading == "strict" else None
    constant = report.floor(name, reading)
    if default is not None and report.unreadable and score.low <= default <= score.high:
        facts |= {"floor": _number(default), "default": str(protocol.defaults[report.task])}
        return [Notice("on_floor_default", name, reading, facts)]
    if constant is None:
        return []
    facts |= {"floor": _number(constant)}
    if score.high < constant:
        return [Notice("below_floor", name, reading, facts)]
    return [Notice("on_floor_constant", name, reading, facts)] if score.low <= constant else []


def of_run(
    spec: RunSpec,
    protocol: ScoringProtocol,
    model: ModelInfo | None = None,
    prompts: Sequence[Prompt] = (),
    effect: PrecisionEffect | None = None,
) -> tuple[Notice, ...]:
    """What concerns the whole run: rounded weights or numbers and what that changes, thinking that none of its prompts
    turns on, settings other than those of the protocol's system."""
    ignored = spec.prompt.thinking == "on" and bool(prompts) and all(map(is_ignored, prompts))
    thinking = (Notice("thinking_ignored"),) if ignored else ()
    measured = effect_notices(effect) if effect else ()
    return (*_precision(spec, model), *measured, *_of_server(model), *thinking, *_settings(spec, protocol))


def _of_server(model: ModelInfo | None) -> tuple[Notice, ...]:
    """What of a model on a server makes its answers less sure than those of a model that runs here."""
    if model is None:
        return ()
    notices: list[Notice] = [Notice("ranked_by_first_token", reading="choose")] if model.ranking else []
    if model.sampling:
        notices.append(Notice("no_temperature" if model.sampling == "temperature" else "varying_answers"))
    if len(model.answered_by) > 1:
        facts: dict[str, str | int | float] = {"count": len(model.answered_by)}
        facts |= {"names": ", ".join(model.answered_by[:MAX_NAMES])}
        notices.append(Notice("several_servers", facts=facts))
    notices += [Notice("server_left_out", facts={"server": server}) for server in model.left_out[:MAX_NAMES]]
    return tuple(notices)


def _precision(spec: RunSpec, model: ModelInfo | None) -> tuple[Notice, ...]:
    """Weights that are rounded in their files, and what the user has chosen to round."""
    precision = rounded_to(spec, model)
    already = (Notice("quantized", facts={"quantized": model.quantized}),) if model and model.quantized else ()
    return (*already, Notice("approximate", facts={"precision": precision})) if precision else already


def _settings(spec: RunSpec, protocol: ScoringProtocol) -> tuple[Notice, ...]:
    preset = protocol.preset
    if preset is None or spec.model.backend in ELSEWHERE or spec.embeds:
        return ()
    settings: list[Message] = []
    prompt = spec.prompt
    if prompt.style != preset.style:
        settings.append(Message("style {here} instead of {there}", here=prompt.style, there=preset.style))
    if prompt.format != preset.format:
        settings.append(Message("format {here} instead of {there}", here=prompt.format, there=preset.format))
    system_shots = dict(preset.shots_by_task)
    differences: dict[Message, list[str]] = {}
    for task in (task for task in spec.tasks if task in protocol.metrics):
        here, there = prompt.for_task(task).shots, system_shots.get(task, preset.shots)
        if here != there:
            text = Message("{here} instead of {there} examples", here=here, there=there)
            differences.setdefault(text, []).append(TASKS[task].title)
    settings += _each_in_its_tasks(differences)
    if (limit := spec.decoding.max_new_tokens) is not None:
        settings.append(Message("at most {limit} new tokens instead of the style's own limits", limit=limit))
    settings += _generation_settings(spec, protocol, preset)
    if not settings:
        return ()
    return (Notice("other_settings", facts={"protocol": protocol.name, "settings": Joined("; ", settings)}),)


def _each_in_its_tasks(differences: Mapping[Message, Sequence[str]]) -> list[Message]:
    return [
        Message("{difference} in {tasks}", difference=text, tasks=Joined(", ", titles))
        for text, titles in differences.items()
    ]


def _generation_settings(spec: RunSpec, protocol: ScoringProtocol, preset: Preset) -> list[Message]:
    """How the run generates text otherwise than the protocol's system; nothing where its text is not looked at."""
    generated = [task for task in spec.tasks if task in protocol.metrics and task not in protocol.ranked]
    if spec.decoding.method == "choose":
        return []
    differences: dict[Message, list[str]] = {}
    for task in generated:
        here = spec.decoding.for_task(task).repetition_penalty
        there = dict(preset.repetition_penalty).get(task, 1.0)
        if here != there:
            if there == 1:
                text = Message("repetition penalty {here:g} instead of none", here=here)
            elif here == 1:
                text = Message("no repetition penalty instead of {there:g}", there=there)
            else:
                text = Message("repetition penalty {here:g} instead of {there:g}", here=here, there=there)
            differences.setdefault(text, []).append(TASKS[task].title)
        if TASKS[task].kind == "span" and spec.decoding.oracle_length != preset.oracle_length:
            if spec.decoding.oracle_length:
                text = Message("answers cut at the gold answer's length")
            else:
                text = Message("answers not cut at the gold answer's length")
            differences.setdefault(text, []).append(TASKS[task].title)
    return _each_in_its_tasks(differences)


def _number(value: float) -> str:
    return f"{value:.3f}"
