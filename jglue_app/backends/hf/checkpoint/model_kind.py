"""Whether a checkpoint is a causal language model, by its config.json and the names of its files.

Only causal language models can be compared. Encoders, reward models, embedding models and others are rejected by name
before any weight is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from jglue_app.errors import ModelError
from jglue_app.messages import Message, mark

ENCODER = mark("an encoder (a masked language model), in which every token sees those after it")
PERMUTATION = mark("a permutation language model, which does not read from left to right")
ENCODER_DECODER = mark("an encoder-decoder model")
CLASSIFIER = mark("a reward model or classifier, which gives scores in place of text")
EXTRACTOR = mark("a model with an answer-extraction head, which writes no text")
EMBEDDING = mark("an embedding model, without an output layer for text")
NOT_TEXT = mark("a model for images, sound or other than text alone")
LENGTH_DEPENDENT = mark("a model whose scores depend on the length of the whole text")
ASSISTANT = mark("a drafting assistant, which cannot answer without its main model")
DRAFTING = mark("a model with heads that draft several tokens at once, which are not used here")
DIFFUSION = mark("a diffusion model, which does not write from left to right")
BIDIRECTIONAL = mark("a model whose prompt tokens see those after them")
PADDING_POSITIONS = mark("a decoder that counts positions from its padding token on, which is not done here")

NOT_CAUSAL = {
    # Encoders that transformers offers for text generation all the same; causal only with `is_decoder` in config.json.
    **dict.fromkeys(
        (
            *("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie"),
            *("megatron-bert", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer"),
            *("xlm-roberta", "xlm-roberta-xl", "xmod"),
        ),
        ENCODER,
    ),
    # Predicts masked tokens, or the next one of a sentence to which a mask is added.
    "xlm": ENCODER,
    "xlnet": PERMUTATION,
    # A prompt is read in both directions, and only what is generated after it from left to right.
    "cpmant": BIDIRECTIONAL,
}
"""The 19 model types in transformers' table of text-generation models that are not causal → their kind."""

OTHER_INPUT = {
    **dict.fromkeys(
        ("git", "trocr", "whisper", "musicgen", "musicgen_melody", "moshi", "got_ocr2", "moss_transcribe_diarize"),
        NOT_TEXT,
    ),
    "gemma4_assistant": ASSISTANT,
    "gemma4_unified_assistant": ASSISTANT,
    # Tokens are sorted into chunks over the whole text, so a longer one gives the same tokens other neighbours.
    "reformer": LENGTH_DEPENDENT,
}
"""More of that table → their kind: causal, but made to follow an image, a sound or another model, or with scores that
depend on the length of the text."""

COUNT_FROM_PADDING = frozenset(
    ("camembert", "data2vec-text", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod")
)
"""Those model types whose first position is not 0 but the one after the padding token's id."""

HEAD_KINDS = (
    (r"MaskedLM|ForPreTraining$|ForMaskGeneration|NextSentencePrediction|MaskedDiffusion", ENCODER),
    (r"[Dd]iffusion|^LLaDA|^Dream", DIFFUSION),
    (r"Classification|Reward|Regression|ValueHead|Critic|MultipleChoice|DoubleHeads|CrossEncoder", CLASSIFIER),
    (r"QuestionAnswering", EXTRACTOR),
    (r"Image|Vision|Video|Audio|Speech|CTC|XVector|ObjectDetection|Segmentation|DepthEstimation", NOT_TEXT),
    (r"Embedding|Retrieval|SentenceTransformer", EMBEDDING),
    (r"Seq2SeqLM|EncoderDecoder", ENCODER_DECODER),
)
"""Pattern of an architecture's name → its kind, where its head is not one that generates text."""

LANGUAGE_HEAD = re.compile(r"(.+?)(ForCausalLM|LMHeadModel|LMHead|WithLMHead|ForConditionalGeneration)$")
"""Architectures that generate text: the name before the head, and the head."""


def reject_unless_causal(name: str, config: Mapping[str, Any]) -> None:
    """Reject a checkpoint that is no causal language model.

    Args:
        name: of the model, for the message.
        config: the table of its config.json.

    Raises:
        ModelError: what would be loaded as a text-generation model is none, or not what config.json names.
    """
    listed = config.get("architectures")
    names = [listed] if isinstance(listed, str) else listed if isinstance(listed, list) else []
    architectures = [a for a in names if isinstance(a, str)]
    type_ = config.get("model_type")
    if not isinstance(type_, str) or type_ not in CONFIG_MAPPING:
        # A type that transformers does not have: its kind is reported first, if the architecture tells it.
        for architecture in architectures:
            if kind := _kind_by_head(architecture):
                raise not_causal_lm(name, kind, architecture)
        return
    built = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(type_)
    _reject_by_type(name, config, type_, architectures, built)
    assert isinstance(built, str)
    for architecture in architectures:
        if architecture != built:
            _reject_other_architecture(name, type_, architecture, built)


def _reject_by_type(name: str, config: Mapping[str, Any], type_: str, architectures: list[str], built: object) -> None:
    """Raise ModelError if the model type or the head of an architecture is not that of a causal language model."""
    settings = _with_defaults(type_, config)
    evidence = architectures[0] if architectures else type_
    if settings.get("is_encoder_decoder"):
        raise not_causal_lm(name, ENCODER_DECODER, evidence)
    for architecture in architectures:
        if architecture != built and (kind := _kind_by_head(architecture)):
            raise not_causal_lm(name, kind, architecture)
    if type_ in OTHER_INPUT:
        raise not_causal_lm(name, OTHER_INPUT[type_], evidence)
    # With `is_decoder` the attention of these encoders is causal, except for three that ignore it.
    if type_ in NOT_CAUSAL and (type_ in ("xlm", "xlnet", "cpmant") or not settings.get("is_decoder")):
        raise not_causal_lm(name, NOT_CAUSAL[type_], evidence)
    if type_ in COUNT_FROM_PADDING:
        raise not_causal_lm(name, PADDING_POSITIONS, evidence)
    if type_ == "reformer" and not settings.get("is_decoder"):
        raise not_causal_lm(name, BIDIRECTIONAL, evidence)
    if not isinstance(built, str):
        parts = isinstance(config.get("text_config"), Mapping) or getattr(CONFIG_MAPPING[type_], "sub_configs", None)
        kind = NOT_TEXT if parts else ENCODER if _is_encoder_type(type_) else ""
        raise not_causal_lm(name, kind, evidence)


def _reject_other_architecture(name: str, type_: str, architecture: str, built: str) -> None:
    """Raise ModelError if an architecture may not be the one that transformers builds.

    Other spellings (`LLaMAForCausalLM`, `MPTForCausalLM`) and text parts of larger models are the same model. Any other
    class may compute something else with weights that all fit.
    """
    head = LANGUAGE_HEAD.fullmatch(architecture)
    if head is None:
        raise not_causal_lm(name, EMBEDDING if architecture.endswith(("Model", "Encoder")) else "", architecture)
    built_head = LANGUAGE_HEAD.fullmatch(built)
    same = built_head is not None and _normalized(built_head[1]) == _normalized(head[1])
    if head[2] == "ForConditionalGeneration" and not same:
        raise not_causal_lm(name, NOT_TEXT, architecture)
    if re.match("Medusa|Eagle|Hydra", architecture) and not same:
        raise not_causal_lm(name, DRAFTING, architecture)
    if not same and _normalized(head[1]) != _normalized(type_):
        raise ModelError(
            "The config.json of {name} names the class {architecture}, and transformers would "
            "build {built} in its place, because that belongs to the model_type {model_type}. "
            "Correct the one that is wrong, or choose another model.",
            name=name,
            architecture=architecture,
            built=built,
            model_type=type_,
        )


def _kind_by_head(architecture: str) -> str:
    """The kind of an architecture by its head; empty if it may be one that generates text."""
    return next((kind for pattern, kind in HEAD_KINDS if re.search(pattern, architecture)), "")


def _normalized(name: str) -> str:
    return re.sub(r"[^a-z0-9]|text$", "", name.lower())


def _is_encoder_type(type_: str) -> bool:
    return bool(re.search("bert|luke|mpnet|electra|roformer|nystromformer|canine|funnel|esm|splinter|ernie", type_))


def _with_defaults(type_: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The table with the defaults of the model type where it says nothing; the table itself if there are none."""
    try:
        defaults = CONFIG_MAPPING[type_]()
    except Exception:  # Types that are composed of others have no defaults; they are told apart by their names.
        defaults = None
    names = ("is_encoder_decoder", "is_decoder")
    return {**{name: getattr(defaults, name, False) for name in names}, **config} | (
        {"is_encoder_decoder": True} if type_.endswith("encoder-decoder") else {}
    )


def not_causal_lm(name: str, kind: str, evidence: str) -> ModelError:
    """The error of a checkpoint that is no causal language model.

    Args:
        name: of the model.
        kind: one of the kinds above; empty if it is not known.
        evidence: what tells it: an architecture, a model type or a file.
    """
    if not kind:
        return ModelError(
            "{name} is of a kind ({evidence}) that transformers does not load for writing text. Only causal language "
            "models, which read text from left to right, can be compared.",
            name=name,
            evidence=evidence,
        )
    return ModelError(
        "{name} is {kind} ({evidence}). Only causal language models, which read text from left to right, can be "
        "compared.",
        name=name,
        kind=Message(kind),
        evidence=evidence,
    )


def reject_embedding_model(name: str, names: Collection[str]) -> None:
    """Reject a model of sentence-transformers, which may name itself a causal language model in its config.json.

    Args:
        name: of the model, for the message.
        names: of its files, with `/` between folders.

    Raises:
        ModelError: it is one.
    """
    marks = {"modules.json", "config_sentence_transformers.json", "1_Pooling/config.json"} & set(names)
    if marks:
        raise not_causal_lm(name, EMBEDDING, min(marks))
