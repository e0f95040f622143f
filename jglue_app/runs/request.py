"""Every option of a run or a comparison, once: type, default, bounds, choices and help.

The command line, the page, programs (Python, HTTP and MCP), the Launch form, links and printed commands are all built
of the fields here, and all make a `RunRequest` of what they are given. What a field needs for that is in
`request_options`; the sentences about values that a field does not take are in `request_errors`.

A field without a title is none of these options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic.dataclasses import dataclass

from jglue_app.backends import BACKENDS, backend_for
from jglue_app.data.files import DATA_KINDS, SPLITS, Progress
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.messages import mark
from jglue_app.prompts.examples import SHOT_SELECTIONS
from jglue_app.prompts.formats import FORMATS
from jglue_app.prompts.thoughts import THINKING
from jglue_app.runs.request_checks import check_caps, in_sentences, read_values, with_limit
from jglue_app.runs.request_errors import of_option
from jglue_app.runs.request_options import (
    MAX_WHOLE,
    Traits,
    integral,
    none_if_zero,
    options,
    split_by_task,
    split_names,
)
from jglue_app.settings import Settings
from jglue_app.tasks import DEFAULT_TASKS, TASKS
from jglue_app.types import Decoding, ModelSpec, PromptSpec, RunSpec, is_sample
from jglue_app.version import __version__

if TYPE_CHECKING:
    from jglue_app.runs.plan import Plan, SharedFiles

METHODS = ("generate", "choose", "both")
QUANTIZATIONS = ("none", "8bit", "4bit")
DTYPES = ("auto", "float32", "bfloat16", "float16")
MAX_SHOTS = 16
MAX_NEW_TOKENS = 4096
MAX_THINKING_TOKENS = 32_768
MAX_BUDGET = 1_000_000_000
MAX_SYSTEM = 10_000
"""Characters of a system turn that page, links and forms take."""

SAME_SIDES = mark("A and B are the same. Change one of them, such as the number of examples.")

CONFIG = ConfigDict(extra="forbid", defer_build=True)
"""Validators are built when the first request is made: `--help` makes none."""

M = TypeVar("M")
Whole = Annotated[int, BeforeValidator(integral), Field(strict=True, gt=-MAX_WHOLE, lt=MAX_WHOLE)]
Penalty = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Money = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True)]


def known_splits(tasks: Iterable[str] = tuple(TASKS)) -> tuple[str, ...]:
    """The splits that any of the subsets has."""
    more = (files.more_splits for name in tasks if (files := TASKS[name].files))
    return tuple(dict.fromkeys((*SPLITS, *(split for splits in more for split in splits))))


@dataclass(frozen=True, config=CONFIG)
class Side:
    """One model with its prompt."""

    model: Annotated[
        Text,
        Field(title="Model", description="Registry name, Hub id, folder, .gguf file, or ENDPOINT:MODEL"),
    ] = "gemma-3-270m"
    format: Annotated[
        Text,
        Field(
            title="Format",
            description="Prompt format: plain, chat, rinna, rinna_bilingual, alpaca or llama2",
        ),
        Traits(panel="Prompt", without="the protocol's own", choices=lambda: tuple(FORMATS), from_protocol=True),
    ] = "plain"
    style: Annotated[
        Text,
        Field(
            title="Style",
            description="Wording style: a name, or the path of your own .toml file",
        ),
        Traits(panel="Prompt", without="the protocol's own", from_protocol=True),
    ] = "ja-labels"
    shots: Annotated[
        Whole,
        Field(
            ge=0,
            title="Examples",
            description="Number of solved examples",
        ),
        Traits(panel="Prompt", without="as the protocol has them", from_protocol=True, cap=MAX_SHOTS),
    ] = 0
    quantization: Annotated[
        Text,
        Field(title="Quantization", description="none, 8bit or 4bit; on a CPU these save memory, not time"),
        Traits(panel="Model and machine", choices=lambda: QUANTIZATIONS),
    ] = "none"
    dtype: Annotated[
        Text,
        Field(title="dtype", description="auto, float32, bfloat16 or float16"),
        Traits(panel="Model and machine", choices=lambda: DTYPES),
    ] = "auto"
    thinking: Annotated[
        Text,
        Field(
            title="Thinking",
            description="Thinking before the answer, for --format chat and models whose template has a switch for it: "
            "off, on, or default (the template's own)",
        ),
        Traits(panel="Answering", choices=lambda: THINKING),
    ] = "off"
    max_thinking_tokens: Annotated[
        Whole | None,
        Field(
            ge=1,
            le=MAX_THINKING_TOKENS,
            title="Tokens of a thought",
            description="Limit on tokens of a thought, beside those of the answer",
        ),
        Traits(panel="Answering", without="they share one limit"),
    ] = None
    repetition_penalty: Annotated[
        Penalty,
        Field(
            title="Repetition penalty",
            description="Lower the scores of tokens that stand in the prompt or were written: above 0, such as 1.2; 1 "
            "is none",
        ),
        Traits(panel="Answering", without="as the protocol has it", from_protocol=True),
    ] = 1.0
    shots_by_task: Annotated[
        tuple[tuple[str, Annotated[Whole, Field(ge=0)]], ...],
        BeforeValidator(split_by_task),
        Field(
            title="Examples of single subsets",
            description="Number of solved examples of subsets that have another one, such as jsquad=2,jsts=3",
        ),
        Traits(panel="Prompt", without="as the protocol has them", from_protocol=True, cap=MAX_SHOTS),
    ] = ()
    repetition_penalty_by_task: Annotated[
        tuple[tuple[str, Penalty], ...],
        BeforeValidator(split_by_task),
        Field(
            title="Repetition penalty of single subsets",
            description="Repetition penalty of subsets that have another one, such as jsquad=1.2",
        ),
        Traits(panel="Answering", without="as the protocol has it", from_protocol=True),
    ] = ()
    shot_selection: Annotated[
        Text,
        Field(title="Selection of examples", description="How examples are chosen: fixed, random or balanced"),
        Traits(panel="Prompt", choices=lambda: SHOT_SELECTIONS, command_prefix=False),
    ] = "balanced"
    shot_seed: Annotated[
        Whole,
        Field(title="Seed of the examples", description="Seed of the choice of examples"),
        Traits(panel="Prompt", command_prefix=False),
    ] = 0
    system: Annotated[
        Text,
        Field(title="System turn", description="Text of the system turn"),
        Traits(panel="Prompt", cap=MAX_SYSTEM, multiline=True, command_prefix=False),
    ] = ""
    revision: Annotated[
        Text | None,
        Field(title="Revision", description="Branch, tag or commit on the Hub"),
        Traits(panel="Model and machine", local_only=True, follows_a="same model"),
    ] = None
    adapter: Annotated[
        Text | None,
        Field(title="Adapter", description="PEFT adapter on the model's weights: Hub id or folder"),
        Traits(panel="Model and machine", local_only=True, follows_a="same model"),
    ] = None
    gguf_file: Annotated[
        Text | None,
        Field(title="GGUF file", description="File in a Hub repository that holds GGUF weights"),
        Traits(panel="Model and machine", local_only=True, follows_a="same model"),
    ] = None
    backend: Annotated[
        Text | None,
        Field(
            title="Backend",
            description="hf, openai_api (a server of endpoints.toml) or scripted (a table of answers)",
        ),
        Traits(
            panel="Model and machine",
            without="openai_api for ENDPOINT:MODEL, scripted for .jsonl files, else hf",
            choices=lambda: tuple(BACKENDS),
            local_only=True,
            follows_a="never",
        ),
    ] = None

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, value: Any, handler: Callable[[Any], Side], info: ValidationInfo) -> Side:
        return in_sentences(cls, value, handler, info)

    @classmethod
    def of(cls, model: ModelSpec, prompt: PromptSpec, decoding: Decoding) -> Side:
        """The side of a run with these settings.

        Raises:
            InputError: one of them is out of its bounds.
        """
        return cls(
            model=model.id,
            format=prompt.format,
            style=prompt.style,
            shots=prompt.shots,
            quantization=model.quantization,
            dtype=model.dtype,
            thinking=prompt.thinking,
            max_thinking_tokens=decoding.max_thinking_tokens,
            repetition_penalty=decoding.repetition_penalty,
            shots_by_task=prompt.shots_by_task,
            repetition_penalty_by_task=decoding.repetition_penalty_by_task,
            shot_selection=prompt.shot_selection,
            shot_seed=prompt.shot_seed,
            system=prompt.system,
            revision=model.revision,
            adapter=model.adapter,
            gguf_file=model.gguf_file,
            backend=None if model.backend == backend_for(model.id) else model.backend,
        )

    @property
    def prompt(self) -> PromptSpec:
        """How items become text."""
        return PromptSpec(
            style=self.style,
            format=self.format,
            shots=self.shots,
            shot_seed=self.shot_seed,
            shot_selection=self.shot_selection,
            system=self.system,
            shots_by_task=self.shots_by_task,
            thinking=self.thinking,
        )


@dataclass(frozen=True, config=CONFIG)
class RunRequest:
    """A run of one model, or a comparison of two. The defaults are what the page begins with."""

    tasks: Annotated[
        tuple[str, ...],
        BeforeValidator(split_names),
        Field(
            min_length=1,
            title="Subsets",
            description="Subsets, separated by commas, or 'all' that the protocol scores (jcola if named)",
        ),
        Traits(panel="Questions", from_protocol=True, command_default="all"),
    ] = DEFAULT_TASKS
    data: Annotated[
        Text,
        Field(title="Data", description="official (JGLUE v1.3) or sample (embedded items)"),
        Traits(panel="Questions", choices=lambda: DATA_KINDS, command_default="official"),
    ] = "sample"
    limit: Annotated[
        Whole | None,
        Field(ge=1, title="Items per subset", description="Items per subset"),
        Traits(panel="Questions", without="all", command_default=None),
    ] = 5
    method: Annotated[
        Text,
        Field(
            title="Method",
            description="generate, choose (log-likelihood of each answer) or both",
        ),
        Traits(panel="Answering", without="as the protocol needs", choices=lambda: METHODS, from_protocol=True),
    ] = "both"
    a: Side = Field(default_factory=Side)
    b: Side | None = None
    allow_bin: Annotated[
        bool,
        Field(strict=True, title="Allow .bin", description="Accept pickled .bin weights, read weights-only"),
        Traits(panel="Model and machine", local_only=True, in_link=False),
    ] = False
    split: Annotated[
        Text,
        Field(title="Split", description="train, valid or test; JCoLA also has out_of_domain"),
        Traits(panel="Questions", choices=known_splits, by_subset=True),
    ] = "valid"
    seed: Annotated[
        Whole,
        Field(title="Seed", description="Seed of the order in which items are taken under a limit"),
        Traits(panel="Questions"),
    ] = 0
    max_new_tokens: Annotated[
        Whole | None,
        Field(
            ge=1,
            le=MAX_NEW_TOKENS,
            title="New tokens",
            description="Limit on new tokens",
        ),
        Traits(panel="Answering", without="the style's own"),
    ] = None
    oracle_length: Annotated[
        bool,
        Field(
            strict=True,
            title="Oracle length",
            description="Cut JSQuAD answers at the longest gold answer's token count: an oracle",
        ),
        Traits(without="the protocol's own", from_protocol=True),
    ] = False
    budget: Annotated[
        Money | None,
        BeforeValidator(none_if_zero),
        Field(
            title="Budget",
            description="Most that a run's paid requests may cost, in the currency of the endpoint",
        ),
        Traits(panel="Model and machine", without="no paid item is sent unless that is agreed to", cap=MAX_BUDGET),
    ] = None
    marc_ja: Annotated[
        Text | None,
        Field(title="MARC-ja file", description="Your own MARC-ja file in the official format"),
        Traits(panel="Questions", local_only=True, in_link=False, cap=4_096),
    ] = None

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, value: Any, handler: Callable[[Any], RunRequest], info: ValidationInfo) -> RunRequest:
        request = in_sentences(cls, value, handler, info)
        if request.split not in known_splits():
            unknown = UnknownNameError(mark("split"), request.split, known_splits(request.tasks))
            raise of_option("split", unknown)
        return request

    @property
    def sides(self) -> dict[Literal["a", "b"], Side]:
        """The sides there are."""
        return {"a": self.a} if self.b is None else {"a": self.a, "b": self.b}

    def model_of(self, side: Side) -> ModelSpec:
        """The model of a side."""
        name = side.model.strip()
        return ModelSpec(
            name,
            side.backend or backend_for(name),
            side.revision,
            side.dtype,
            side.quantization,
            side.gguf_file,
            self.allow_bin,
            adapter=side.adapter,
        )

    def decoding_of(self, side: Side) -> Decoding:
        """How answers of a side are obtained."""
        return Decoding(
            self.method,
            self.max_new_tokens,
            self.oracle_length,
            side.max_thinking_tokens,
            side.repetition_penalty,
            side.repetition_penalty_by_task,
        )

    def for_page(self, settings: Settings) -> RunRequest:
        """The request as a visitor of the page may make it: on a public server, all items are as many as are allowed.

        Raises:
            InputError: more than the page takes, or on a public server something that concerns its files.
        """
        for part in (self, *self.sides.values()):
            check_caps(with_limit(options(type(part)), settings.max_items), part, "page", "")
        if self.a == self.b:
            raise InputError(SAME_SIDES)
        if not settings.public:
            return self
        for part in (self, *self.sides.values()):
            for name, option in options(type(part)).items():
                if option.traits.local_only and getattr(part, name) != option.default:
                    raise InputError(
                        "A public server does not take {name}. Run the application on your own machine.",
                        name=option.flag,
                    )
        return self if self.limit is not None else replace(self, limit=settings.max_items)

    def plans(
        self,
        settings: Settings,
        *,
        progress: Progress | None = None,
        answers: bool = True,
        shared: SharedFiles | None = None,
    ) -> Plans:
        """One plan for each side; for the arguments see `plan.make_plan`.

        Raises:
            InputError: what cannot be done, with a remedy.
            ModelError: the files of the model are being written.
            NetworkError: a data file is missing and cannot be downloaded.
        """
        from jglue_app.runs.plan import make_plan  # It checks what it is given by the fields here.

        plans = [
            (
                name,
                make_plan(
                    settings,
                    self.model_of(side),
                    self.tasks,
                    data_kind=self.data,
                    split=self.split,
                    limit=self.limit,
                    seed=self.seed,
                    prompt=side.prompt,
                    decoding=self.decoding_of(side),
                    marc_ja=Path(self.marc_ja) if self.marc_ja else None,
                    budget=self.budget,
                    progress=progress,
                    answers=answers,
                    shared=shared,
                ),
            )
            for name, side in self.sides.items()
        ]
        if len(plans) == 2 and plans[0][1].spec == plans[1][1].spec:
            raise InputError(SAME_SIDES)
        return plans

    @classmethod
    def of_spec(cls, spec: RunSpec) -> RunRequest | None:
        """What asks for a stored run again; None where it was made by another version of this application, or of
        outputs made elsewhere."""
        if spec.split not in known_splits():
            return None
        try:
            found = cls(
                tasks=spec.tasks,
                data="sample" if is_sample(spec.data_version) else "official",
                limit=spec.limit,
                method=spec.decoding.method,
                a=Side.of(spec.model, spec.prompt, spec.decoding),
                allow_bin=spec.model.allow_bin,
                split=spec.split,
                seed=spec.seed,
                max_new_tokens=spec.decoding.max_new_tokens,
                oracle_length=spec.decoding.oracle_length,
            )
        except InputError:
            return None
        # Whatever files the model has by now: another run, if they are others.
        model = replace(spec.model, files_sha256=None)
        parts = (found.model_of(found.a), found.a.prompt, found.decoding_of(found.a), __version__)
        return found if parts == (model, spec.prompt, spec.decoding, spec.code_version) else None

    @classmethod
    def of_pair(cls, a: RunSpec, b: RunSpec) -> RunRequest | None:
        """What asks for two stored runs again, side by side; None where one request cannot."""
        left, right = cls.of_spec(a), cls.of_spec(b)
        if left is None or right is None or left != replace(right, a=left.a):
            return None
        return replace(left, b=right.a)


Plans = list[tuple[Literal["a", "b"], "Plan"]]


def read_budget(given: float | None) -> float | None:
    """A budget that was given beside a request, read as that of a request is: None for 0, with which it is said that
    there is none.

    Raises:
        InputError: it is no amount of money.
    """
    return None if given is None else read_values(RunRequest, {"budget": given}, "program").budget
