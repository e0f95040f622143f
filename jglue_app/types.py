"""The vocabulary of the whole package: frozen records and two protocols, standard library only.

Data flows one way: Item → Prompt → Output, stored as a Record; Record → Parsed → Judgement → Report.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

from jglue_app.messages import Message

Kind = Literal["choice", "score", "span"]
Finish = Literal["stop", "length", "overflow", "empty", "scored"]
Source = Literal["official", "user", "sample"]
SET_ONLY: Mapping[str, bool] = {"set_only": True}
"""Metadata of a field that is stored where it is not at its default, so that other records stay as they were before it
was added."""
IMPORTED = "imported"
"""Backend of a run that was made of another harness's log; its `PromptSpec.style` is that harness and its version."""
ELSEWHERE = ("predictions", IMPORTED)
"""Backends of outputs that were made elsewhere."""
EMBED = "embed"
"""`Decoding.method` of a run whose outputs are cosines of embeddings."""
EMBEDDING_SOURCES = {
    "sentence_transformers": "sentence embeddings",
    "hf": "mean of hidden states",
    "openai_api": "embeddings of a server",
}
"""Backend of such a run → what its vectors are, for people."""
NO_STYLE = "none"
"""`PromptSpec.style` and `format` of such a run: its texts are embedded as they are."""


TWO_BYTES = ("bfloat16", "float16")
"""Dtypes of half the precision: scores are approximate where they are the user's choice."""


@dataclass(frozen=True, slots=True)
class Item:
    """One JGLUE example."""

    task: str
    """Name of the subset, a key of `TASKS`."""
    id: str
    """Identifier, unique within the file it came from."""
    fields: Mapping[str, str]
    """The texts a wording style may name, e.g. `sentence1`; JSQuAD has `title`, `context` and `question`."""
    gold: tuple[str, ...] | float
    """Accepted answers (canonical label, or spans with the best first); a similarity in 0–5 for JSTS."""
    choices: tuple[str, ...] = ()
    """Canonical labels in their fixed order; empty where answers are open (JSTS, JSQuAD)."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The items of one file, with where they came from."""

    task: str
    split: str
    items: tuple[Item, ...]
    source: Source
    """`official` (JGLUE), `user` (a person's own file) or `sample` (shipped with this application)."""
    version: str
    """`v1.3`, `sample-1`, or `user`."""
    path: str
    """The file that was read."""
    sha256: str
    """Checksum of the file, 64 hex digits."""
    note: str = ""
    """How the file differs from the official one although it holds the same, as a sentence; else empty."""
    left_out: int = 0
    """Items of the file that are not in `items` because they would give away what is evaluated."""


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """How an item becomes text."""

    style: str = "ja-labels"
    """Wording style: a name in `assets/prompts/` or the path of a TOML file."""
    format: str = "plain"
    """Prompt format, a key of `FORMATS`."""
    shots: int = 0
    """Number of solved examples before the question."""
    shot_seed: int = 0
    """Seed of the choice of examples."""
    shot_selection: str = "balanced"
    """`fixed`, `random` or `balanced`; see `prompts.examples`."""
    system: str = ""
    """Text of the system turn, for the formats that have one."""
    shots_by_task: tuple[tuple[str, int], ...] = ()
    """(subset, number of examples) where a subset has another number than `shots`."""
    thinking: str = "off"
    """What a chat template is told about thinking before the answer: `off`, `on`, or `default` (nothing)."""
    prefix: str = ""
    """Text before each sentence that is embedded; of embedding runs alone."""

    def for_task(self, task: str) -> PromptSpec:
        """The same for one subset: `shots` is its own number."""
        return replace(self, shots=dict(self.shots_by_task).get(task, self.shots), shots_by_task=())

    @property
    def most_shots(self) -> int:
        """The largest number of examples of any subset."""
        return max(self.shots, *(n for _, n in self.shots_by_task), 0)


@dataclass(frozen=True, slots=True)
class Prompt:
    """Exactly what the model sees for one item, and which answers are legal."""

    task: str
    item_id: str
    text: str
    """The whole input as text; a BOS that the tokenizer adds by itself is not in it."""
    messages: tuple[Mapping[str, str], ...] | None
    """Chat turns that `text` was rendered from; None for formats without a chat template."""
    stop: tuple[str, ...]
    """Strings that end a generation; they are not part of the output."""
    answers: tuple[str, ...]
    """The surface form of each of the item's choices, in the same order; empty for open answers."""
    lead: str
    """Text between prompt and answer when an answer is appended for scoring (a space in `llama2`)."""
    shot_ids: tuple[str, ...]
    """Ids of the examples shown."""
    sha256: str
    """Checksum of `text`."""
    thought: str = ""
    """The mark of a thought that the end of `text` leaves open, as it stands there, such as `<think>`. `free` where the
    model may think before it answers, `<|start|>assistant` where it names the channel of its message first. Empty where
    an answer is asked for at once."""
    ranked_text: str = ""
    """The input that log-likelihoods of answers were taken after, where that is not `text`: the same with its thought
    closed."""
    thinking: str = field(default="", metadata=SET_ONLY)
    """What a server that renders `messages` itself is told about thinking: `off`, `on` or `default`. Empty where
    `text` is the whole input."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What answers. Never holds a secret."""

    id: str
    """A registry name, a Hub id `owner/name`, a local folder, a `.gguf` file, a table for `scripted`, or
    `ENDPOINT:MODEL` for `openai_api`."""
    backend: str = "hf"
    """A key of `BACKENDS`; of an embedding run, of `EMBEDDERS`."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; None for the default branch."""
    dtype: str = "auto"
    """`auto` (float32 on a CPU, bfloat16 on an accelerator that has it), `float32`, `bfloat16` or `float16`."""
    quantization: str = "none"
    """`none`, `8bit` or `4bit` (bitsandbytes)."""
    gguf_file: str | None = None
    """File name inside a Hub repository that holds GGUF weights."""
    allow_bin: bool = False
    """Accept pickled `.bin` weights (read weights-only) when a repository has no safetensors."""
    files_sha256: str | None = None
    """Checksum over the files that the model is loaded from, filled in when a run is planned; None if not known. Of a
    model on a server, over what the handshake with it gave."""
    adapter: str | None = field(default=None, metadata=SET_ONLY)
    """A PEFT adapter on the model's weights: a Hub id or a local folder."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How answers are obtained."""

    method: str = "generate"
    """`generate`, `choose` (log-likelihood of each legal answer) or `both`; `embed` (cosine of the embeddings of the
    two sentences of JSTS)."""
    max_new_tokens: int | None = None
    """Upper bound on generated tokens; None for what the wording style says for the subset."""
    oracle_length: bool = False
    """Give each JSQuAD answer no more tokens than the longest of the item's own gold answers has. It gives a part of
    the answer away."""
    max_thinking_tokens: int | None = None
    """Upper bound on tokens of a thought, beside those of the answer; None if the answer's limit is for both."""
    repetition_penalty: float = 1.0
    """Before the most likely token is taken, the scores (logits) of all tokens that stand in the prompt or were written
    are divided by this if they are positive, else multiplied by it (Keskar et al. 2019). 1 is none."""
    repetition_penalty_by_task: tuple[tuple[str, float], ...] = ()
    """(subset, penalty) where a subset has another one than `repetition_penalty`."""

    def for_task(self, task: str) -> Decoding:
        """The same for one subset: `repetition_penalty` is its own."""
        own = dict(self.repetition_penalty_by_task).get(task, self.repetition_penalty)
        return replace(self, repetition_penalty=own, repetition_penalty_by_task=())


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Everything that defines a run."""

    model: ModelSpec
    tasks: tuple[str, ...]
    data_version: str
    """`v1.3` or `sample-1`."""
    data_sha256: Mapping[str, str]
    """Checksums of the files used, keys like `jnli/valid` and `jnli/examples` (the few-shot pool)."""
    prompt: PromptSpec
    style_sha256: str
    """Checksum of the wording-style file."""
    decoding: Decoding
    code_version: str
    split: str = "valid"
    seed: int = 0
    """Seed of the order in which items are taken when there is a limit."""
    limit: int | None = field(default=None, metadata={"identity": False})
    """Items per subset; None for all. Not part of the identity: raising it extends the same run."""

    @property
    def data_kind(self) -> str:
        """Which runs it may be ranked with; see `data_kind`."""
        return data_kind(self.data_version, self.split)

    @property
    def embeds(self) -> bool:
        """Whether the outputs are cosines of embeddings, and not what a model wrote or ranked."""
        return self.decoding.method == EMBED

    @property
    def label(self) -> str:
        """A short human name, e.g. `gemma-3-270m · plain · ja-labels · 3-shot`."""
        model = _last_part(self.model.id)
        if self.model.backend == "openai_api":  # With the endpoint, which tells it from the same model elsewhere.
            model = f"{self.model.id.partition(':')[0]}:{_last_part(self.model.id.partition(':')[2])}"
        if self.model.adapter:
            model += f" + {_last_part(self.model.adapter)}"
        if self.model.backend == "predictions":
            return model
        if self.model.backend == IMPORTED:
            return f"{model} · {self.prompt.style}"
        if self.embeds:
            prefix = [f'prefix "{self.prompt.prefix}"'] if self.prompt.prefix else []
            quantization = [self.model.quantization] if self.model.quantization != "none" else []
            parts = [model, EMBEDDING_SOURCES.get(self.model.backend, self.model.backend), *quantization, *prefix]
            return " · ".join(parts + ([self.split] if self.split != "valid" else []))
        style = self.prompt.style.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".toml")
        counts = sorted({self.prompt.for_task(task).shots for task in self.tasks}) or [self.prompt.shots]
        shots = "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
        parts = [model, self.prompt.format, style, f"{shots}-shot"]
        if self.model.dtype in TWO_BYTES:
            parts.append(self.model.dtype)
        if self.model.quantization != "none":
            parts.append(self.model.quantization)
        if self.prompt.thinking != "off":
            parts.append({"on": "thinking"}.get(self.prompt.thinking, "thinking by default"))
        penalties = sorted({self.decoding.for_task(task).repetition_penalty for task in self.tasks})
        if penalties and penalties != [1]:
            parts.append(f"repetition penalty {'–'.join(dict.fromkeys((f'{penalties[0]:g}', f'{penalties[-1]:g}')))}")
        if self.decoding.oracle_length:
            parts.append("oracle length")
        if self.split != "valid":
            parts.append(self.split)
        return " · ".join(parts)

    @property
    def spec_id(self) -> str:
        """16 hex digits that identify every raw output this spec can produce.

        Fields at their default are left out, so a field added later does not rename old runs.
        """
        text = json.dumps(_identity(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _last_part(name: str) -> str:
    """The last part of a path or Hub id."""
    return name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def is_sample(data_version: str) -> bool:
    """Whether a version of data is one of the samples that come with the application."""
    return data_version.startswith("sample")


def data_kind(data_version: str, split: str) -> str:
    """`sample`; else `official` for the dev files and the split for others, such as `test`: scores over different items
    are never in one ranking."""
    if is_sample(data_version):
        return "sample"
    return "official" if split == "valid" else split


def _identity(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        out = {}
        for f in fields(value):
            v = getattr(value, f.name)
            if f.metadata.get("identity", True) and (f.default is MISSING or v != f.default):
                out[f.name] = _identity(v)
        return out
    if isinstance(value, Mapping):
        return {str(k): _identity(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_identity(v) for v in value]
    return value


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server was sent for one item and gave back for it, as it counts tokens: all requests together."""

    requests: int
    prompt_tokens: int
    new_tokens: int
    """Generated tokens, those of a thought among them."""
    estimated: bool = False
    """Whether the server gave no usable counts for some request, so that its texts were measured here."""

    def plus(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.new_tokens + other.new_tokens,
            self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True)
class Output:
    """What came back from the model, untouched."""

    text: str | None
    """Raw text; None when only choices were scored. Of an embedding run the cosine, with all digits of a float."""
    finish: Finish
    """`stop` (end token or stop string), `length`, `overflow` (the prompt did not fit), `empty` (stopped without
    writing anything but white space), `scored` (no text was asked for: choices were ranked, or a cosine computed)."""
    prompt_tokens: int
    """Tokens of the prompt, special tokens included."""
    new_tokens: int
    """Generated tokens."""
    seconds: float
    """Wall time of the item's batch divided by the batch's items."""
    choice_logprobs: tuple[float, ...] | None = None
    """Summed log-probability (natural logarithm) of each of `Prompt.answers`. It depends a little on the other
    prompts of the batch: by about 3e-5 in float32."""
    reasoning: str | None = field(default=None, metadata=SET_ONLY)
    """The thought, where a server gives it apart from the text; None where it does not."""
    reasoning_tokens: int = field(default=0, metadata=SET_ONLY)
    """Those of `new_tokens` that the thought took, as the server counts them."""
    usage: Usage | None = field(default=None, metadata=SET_ONLY)
    """What a server counted; None where the model ran here."""
    servers: tuple[str, ...] = field(default=(), metadata=SET_ONLY)
    """Addresses of the servers of a pool that answered: mostly one, another too where the first fell silent; empty
    where the model runs here or on one server."""


@dataclass(frozen=True, slots=True)
class RunError:
    """Why an item has no output. Never a low score."""

    kind: str
    """Short machine-readable reason, e.g. `non_finite` or `out_of_memory`."""
    message: str
    """One sentence for people, in English."""
    template: str = ""
    """The sentence's template and values, so that it can be said in another language; empty in older runs."""
    values: Mapping[str, str | int | float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if isinstance(self.message, Message) and not self.template:
            values = {k: v if isinstance(v, int | float) else str(v) for k, v in self.message.values.items()}
            object.__setattr__(self, "template", self.message.template)
            object.__setattr__(self, "values", values)

    @property
    def sentence(self) -> str:
        """The message with its template, where that is known."""
        return Message(self.template, **self.values) if self.template else self.message


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a run. Immutable."""

    spec_id: str
    task: str
    item_id: str
    prompt: Prompt
    output: Output | None = None
    error: RunError | None = None


@dataclass(frozen=True, slots=True)
class Float32Output:
    """What the model of a run that computes in less than float32 answers to one of its items in float32."""

    task: str
    item_id: str
    output: Output


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to know before a score is believed; `scoring.notices` makes sentences of it."""

    kind: str
    """A key of `notices.SENTENCES`."""
    metric: str = ""
    reading: str = "strict"
    """Which reading it is about: `strict` or `choose`."""
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    """The values in the sentence. Counts are whole numbers, and are read as such where a run is stored."""


@dataclass(frozen=True, slots=True)
class RunData:
    """All that is stored of a run, as reports need it."""

    spec: RunSpec
    items: Mapping[str, Mapping[str, Item]]
    """Task → item id → item, for the items the run is to answer."""
    sources: Mapping[str, Source]
    """Task → where its items came from."""
    records: Sequence[Record]
    """One per item at most."""
    model: ModelInfo | None = None
    """What answered; None if it is not known, as for outputs made elsewhere."""
    assumed: tuple[Notice, ...] = ()
    """What was taken for granted when outputs made elsewhere were read."""
    paid_beside: float = 0.0
    """What a run has cost beside its stored answers, in the currency of its model: for requests whose item has none, or
    at other prices."""
    float32: tuple[Float32Output, ...] = ()
    """What the same model answers in float32 to a sample of the items; empty where that was not measured, or the run
    is in float32."""


@dataclass(frozen=True, slots=True)
class Files:
    """The official files of a subset that has a repository of its own, and that are never downloaded."""

    version: str
    path: Callable[[str], str]
    """Split → path below the data folder, in the layout of that repository."""
    how_to_obtain: str
    """How a user comes by them, as a template; `{file}` is the path."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Split → checksum by which a file is known as the official one; another is read as a user's own."""
    more_splits: tuple[str, ...] = ()
    """Splits beside `train`, `valid` and `test`."""


@dataclass(frozen=True, slots=True)
class Task:
    """One JGLUE subset."""

    name: str
    """Key in `TASKS`, also the folder name of its files."""
    title: str
    """The name people use."""
    question: str
    """What the subset asks, in one line: a template, with its entry in the catalogue."""
    kind: Kind
    """`choice` (closed labels), `score` (a number in 0–5) or `span` (free text)."""
    labels: tuple[str, ...]
    """Canonical labels of a `choice` task."""
    metrics: tuple[str, ...]
    """Metric names; the first is the main one."""
    fields: tuple[str, ...]
    """Field names that wording styles may use."""
    rows: Callable[[str], Iterator[tuple[str, Mapping[str, Any]]]]
    """File text → (place in the file, row); a row that is not JSON raises ValueError with its place."""
    item: Callable[[Mapping[str, Any]], Item]
    """Row → Item; raises ValueError or KeyError when the row is not in the official format."""
    aliases: Callable[[Item], Mapping[str, tuple[str, ...]]]
    """Other words that mean a label (other language, choice text), for the lenient reading."""
    stratum: Callable[[Item], str]
    """The group that label-balanced few-shot selection evens out."""
    whole_answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Label → words that mean it where they are the whole answer, and mean too little within a text."""
    core: bool = True
    """Whether the subset is meant by `all` and counts in averages by itself; another one has to be named."""
    distributed: bool = False
    """Whether the JGLUE repository holds its files, so that they can be downloaded."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Split → checksum of the file in that repository, as far as it is known."""
    files: Files | None = None
    """Its files, where a repository of its own holds them."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Facts about a loaded model, for prompts, the manifest and the page."""

    name: str
    commit: str
    """Hub commit, file checksum, or `scripted`."""
    dtype: str
    device: str
    context_length: int | None
    """Most tokens of prompt and answer together; None if unlimited."""
    bos: str
    """Text of the token that opens a sequence; empty if there is none."""
    adds_bos: bool
    """Whether the tokenizer puts BOS before a text by itself."""
    eos: str
    """Text of the token that closes a turn; empty if there is none."""
    has_chat_template: bool
    memory_bytes: int
    """Bytes of the weights in memory."""
    engine: str = ""
    """How prompts go through the model: `packed`, or the name of a slower way; empty if nothing is known of it."""
    engine_reason: str = ""
    """Why not in a faster way; empty if in the fastest."""
    prefix: str = ""
    """Text of all tokens that the tokenizer puts before a text by itself, BOS or others such as `[gMASK]<sop>`."""
    tokenizer_source: str = ""
    """The files that define the tokenizer; empty in older runs, and of backends that have none."""
    tokenizer_round_trip: bool | None = None
    """Whether a fixed Japanese text comes back unchanged from its ids; None where it was not tried."""
    tokenizer_unknown: float | None = None
    """Share of unknown tokens in that text."""
    quantized: str = ""
    """How the weights are quantized in the files already, such as `bnb 4-bit (nf4)`; empty if they are not."""
    adapter: str = ""
    """The kind of the adapter on its weights, such as `LoRA, rank 8`; empty without one."""
    adapter_commit: str = ""
    """Of the adapter: Hub commit, or a checksum over its files; empty without one."""
    continues_text: bool = True
    """Whether a text can be continued; False where only whole chats are answered."""
    ranking: str = ""
    """How answers are ranked where that is approximate: `first token`, by the most likely first tokens of an answer.
    Empty where log-probabilities are of whole answers."""
    sampling: str = ""
    """Why answers may differ from one try to the next: `temperature` (a server does not take temperature 0), `varies`
    (it gave several answers to one prompt); empty where decoding is greedy."""
    answered_by: tuple[str, ...] = ()
    """Configurations (`system_fingerprint`) of a server that answered, in the order in which they were first seen."""
    left_out: tuple[str, ...] = field(default=(), metadata=SET_ONLY)
    """Servers of a pool that were refused during the run, as they answer known questions otherwise, with the reason."""
    price_in: float = 0.0
    """Price of a million tokens of prompts; 0 where nothing is paid."""
    price_out: float = 0.0
    """Price of a million generated tokens."""
    currency: str = ""
    """Of the prices, such as `USD`; empty where nothing is paid."""


class Backend(Protocol):
    """Anything that can answer prompts. Results come in any order, each with the index of its prompt."""

    info: ModelInfo

    def render_chat(self, messages: Sequence[Mapping[str, str]], thinking: str = "off") -> str:
        """Render turns with the model's own chat template; raises ModelError if it has none.

        `thinking` is what the template is told; see `PromptSpec.thinking`.
        """
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[tuple[int, Output | RunError]]:
        """Greedy continuation of each prompt, ended by an end token, a stop string or the token limit.

        `repetition_penalty` lowers the scores of tokens that stand in the prompt or were written; see `Decoding`.
        `should_stop` is asked between tokens; once it is true, unfinished prompts yield nothing.
        """
        ...

    def choose(
        self, prompts: Sequence[Prompt], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Output | RunError]]:
        """Log-probability of each of `Prompt.answers` after the prompt; stops between batches."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens that a text takes, without special ones."""
        ...

    def close(self) -> None:
        """Give memory back. Calling it twice is fine."""
        ...


@dataclass(frozen=True, slots=True)
class NextToken:
    """A token that a model expects at a place."""

    text: str
    """As it is written; where it is a part of a character, its bytes as `<0xE3>`."""
    logprob: float
    id: int | None = None
    """None where a server names tokens by their texts alone."""


@dataclass(frozen=True, slots=True)
class NextTokens:
    """What a model expects at every place of a prompt, before it sees the token that stands there."""

    ids: tuple[int, ...]
    """Tokens of the prompt; empty where only its end is known."""
    top: tuple[tuple[NextToken, ...], ...]
    """The most likely tokens, the likeliest first, at the place of each token of the prompt, and last those that follow
    it. At the first place nothing is known, as a model that has seen nothing says nothing."""
    logprobs: tuple[float | None, ...]
    """Log-probability of each token of the prompt; None for the first, and for one that the model never writes."""


@runtime_checkable
class PredictingBackend(Backend, Protocol):
    """A backend that says which tokens are the most likely ones."""

    def next_tokens(self, prompt: Prompt, count: int, should_stop: Callable[[], bool]) -> NextTokens | RunError | None:
        """The `count` most likely tokens at each place of a prompt; None if it was stopped."""
        ...


class Account(Protocol):
    """What paid requests are charged to; safe for several threads. `backends.spending.Spending` is one."""

    def reserve(self, cost: float, tokens: int = 0) -> bool:
        """Set aside what a request may cost and take at most; False if that is more than is left."""
        ...

    def settle(self, reserved: float, cost: float, reserved_tokens: int = 0, tokens: int = 0) -> None:
        """Give back what was set aside for a request, and note what it did cost and take."""
        ...

    def hold(self, cost: float) -> None:
        """Leave room for good for an answer that was paid for in an earlier session and is found again."""
        ...


@runtime_checkable
class PaidBackend(Backend, Protocol):
    """A backend whose requests may cost money: `info.price_in` and `info.price_out` say how much."""

    spending: Account | None
    """Charged for every request. One that it refuses is not sent, and its prompt yields nothing; None for no limit."""

    def estimate(self, prompts: Sequence[Prompt], max_new_tokens: int, *, generating: bool, choosing: bool) -> Usage:
        """Most that prompts would take: requests, prompt tokens (estimated), and new tokens at their limit.

        Args:
            prompts: what would be sent.
            max_new_tokens: limit of each generated text, its thought included.
            generating: whether texts are generated.
            choosing: whether the answers of each prompt are ranked by log-likelihood.
        """
        ...


@runtime_checkable
class ServerBackend(PaidBackend, Protocol):
    """A backend whose model is on a server, which may not be able to do all that a run needs."""

    def check(self, prompt: PromptSpec, decoding: Decoding, *, ranks: bool) -> None:
        """Raise InputError if the server cannot do what a run needs; `info` is that of such a run afterwards.

        Args:
            prompt: how items become text.
            decoding: how answers are obtained.
            ranks: whether answers are ranked by log-likelihood.
        """
        ...

    def generate_chats(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        thinking_tokens: int | None,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[tuple[int, Output | RunError]]:
        """As `generate`, of prompts that the server renders itself (`Prompt.thinking`).

        The server's one limit on new tokens is that of the answer and that of the thought (`thinking_tokens`) together.
        """
        ...


@dataclass(frozen=True, slots=True)
class Doubt:
    """That it is not sure which model gave the answers since a server was last asked known questions."""

    message: str
    """One sentence for people, in English."""
    is_certain: bool = True
    """Whether it has given other answers; False where it could not be asked."""
    servers: tuple[str, ...] = ()
    """Addresses of the servers of a pool that it is about; empty where there is one server."""


@runtime_checkable
class WatchedBackend(Backend, Protocol):
    """A backend whose model may be replaced by another while it is used."""

    def ask_again(self, seconds: float) -> Doubt | None:
        """Ask known questions again; None where they are answered as when the model was opened.

        Args:
            seconds: how long that may take.
        """
        ...


@dataclass(frozen=True, slots=True)
class TokenizerInfo:
    """What the prompt linter has to know of a tokenizer."""

    name: str
    bos: str
    """Text of the token that opens a sequence; empty if there is none."""
    adds_bos: bool
    """Whether the tokenizer puts BOS before a text by itself."""
    eos: str
    """Text of the token that closes a sequence; empty if there is none."""
    adds_eos: bool
    """Whether the tokenizer puts EOS after a text by itself; here it is left out."""
    ends: tuple[str, ...]
    """Texts of the tokens that end a generation."""
    turn_end: str
    """Text of the token with which the chat template closes the model's turn; empty if there is none."""
    context_length: int | None
    """Most tokens of prompt and answer together; None if unlimited."""
    has_chat_template: bool
    prefix: tuple[str, ...] = ()
    """Texts of all tokens that the tokenizer puts before a text by itself, BOS among them."""
    suffix: tuple[str, ...] = ()
    """Texts of those that it puts after; here they are left out."""
    source: str = ""
    """The files that define the tokenizer."""
    disputed: str = ""
    """A file beside them that defines other ids; empty if there is none."""
    rows: int | None = None
    """Tokens that the model has an embedding for; None if that is not known."""


class Tokenizer(Protocol):
    """A model's tokenizer without its weights."""

    @property
    def info(self) -> TokenizerInfo:
        """Facts about it."""
        ...

    def render_chat(self, messages: Sequence[Mapping[str, str]], thinking: str = "off") -> str:
        """Turns in the model's own chat template, with the opening of the answer; see `Backend.render_chat`."""
        ...

    def encode(self, prompt: Prompt) -> list[int]:
        """Ids of a prompt as the model is given it."""
        ...

    def split(self, prompt: Prompt, answer: str) -> tuple[list[int], list[int]]:
        """Ids of (context, answer) as they are scored: tokenized together, split at the context's length."""
        ...

    def encode_text(self, text: str) -> list[int]:
        """Ids of a text that stands alone, without special tokens."""
        ...

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token as text."""
        ...

    def text(self, ids: Sequence[int]) -> str:
        """Some tokens together as text; a character cut in the middle is U+FFFD."""
        ...

    def special(self, ids: Sequence[int]) -> list[bool]:
        """Of each token whether it is one that no text is made of, such as BOS or the marks of a chat template."""
        ...

    def unknown(self, ids: Sequence[int]) -> int:
        """How many of the tokens stand for text that the tokenizer does not know."""
        ...
