"""What a server cannot do of what a run asks for, as sentences, before anything is sent."""

from __future__ import annotations

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.openai_api.capabilities import Capabilities, Interface
from jglue_app.backends.openai_api.ranking import ways_to_rank
from jglue_app.errors import InputError
from jglue_app.types import Decoding, PromptSpec


def refuse_what_it_cannot(
    served: ServedModel, can: Capabilities, prompt: PromptSpec, decoding: Decoding, *, ranks: bool, turns: bool
) -> None:
    """Raise InputError if the server of a model cannot do what a run asks for.

    Args:
        served: the model.
        can: what its server can do.
        prompt, decoding: of the run.
        ranks: whether answers are ranked where the method says so.
        turns: whether chats are sent as turns, which the server renders.
    """
    name, chat = served.id, prompt.format == "chat"
    interface = can.chat if turns else can.completions
    if chat and interface is None:
        raise InputError(
            "{model} answers no chats: its server has no chat/completions. Choose another format, such as plain, "
            "or name its tokenizer in endpoints.toml.",
            model=name,
        )
    if interface is None:
        raise InputError(
            "{model} answers chats only: its server has no completions. Choose chat as “Prompt format” (--format "
            "chat).",
            model=name,
        )
    if can.applies_template and not turns:
        raise InputError(
            "The server of {model} puts a chat template around every text, so that the format {format} would not be "
            "what the model sees. Choose chat as “Prompt format” (--format chat).",
            model=name,
            format=prompt.format,
        )
    if decoding.method != "choose":
        _refuse_generation(served, prompt, decoding, interface, turns=turns)
    ways = ways_to_rank(can, turns)
    if ranks and decoding.method != "generate" and not ways:
        raise InputError(
            "{model} cannot rank answers: its server gives no log-probabilities of a prompt, nor of the most likely "
            "first tokens. Choose free generation as “Method” (--method generate).",
            model=name,
        )


def _refuse_generation(
    served: ServedModel, prompt: PromptSpec, decoding: Decoding, interface: Interface, *, turns: bool
) -> None:
    """The same of what generated texts ask for."""
    name = served.id
    penalties = {decoding.repetition_penalty, *(value for _, value in decoding.repetition_penalty_by_task)}
    if penalties != {1.0} and not interface.repetition_penalty:
        raise InputError(
            "The server of {model} does not apply a repetition penalty. Set “Repetition penalty” to 1, or leave it "
            "out (--repetition-penalty).",
            model=name,
        )
    if not turns:
        return
    if prompt.thinking == "on" and served.facts.thinking is None and not interface.reasoning:
        raise InputError(
            "How {model} is told to think is not described. Set thinking in endpoints.toml (reasoning_effort, "
            "chat_template_kwargs or enable_thinking), or leave “Thinking” at the default of the template "
            "(--thinking).",
            model=name,
        )
    thinks = prompt.thinking == "on" or interface.reasoning
    if thinks and not decoding.max_thinking_tokens:
        raise InputError(
            "{model} thinks before it answers, and the limit on new tokens is too small for that. Give the thought "
            "tokens of its own, such as 2048: “Thinking limit (tokens)” (--max-thinking-tokens).",
            model=name,
        )
