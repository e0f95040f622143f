"""What the page calls an option of a run and its values, where they stand in a label or a table."""

from __future__ import annotations

from jglue_app.messages import word
from jglue_app.results.local_paths import PROMPT_WORDS, last_part
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_options import Option, options
from jglue_app.ui.controls import choice_key, label_keys
from jglue_app.ui.views import SHORT, short

_FLAGS = {"True": "thinking_on", "False": "thinking_off"}


def option_name(name: str, lang: str) -> str:
    """What the page calls an option; the name itself where there is no such option."""
    option = _option(name)
    return word(label_keys(option)[0] if option else name, lang, name)


def option_value(name: str, value: str, lang: str) -> str:
    """A value of an option in short: a choice as its control has it, of a path the last part."""
    option = _option(name)
    if option is not None and option.kind == "flag" and value in _FLAGS:
        return word(_FLAGS[value], lang)
    if option is not None and name != "style" and value in option.choices and (key := choice_key(option, value)):
        return word(key, lang)
    return short(value if name in PROMPT_WORDS else last_part(value), SHORT)


def _option(name: str) -> Option | None:
    return options(Side).get(name) or options(RunRequest).get(name)
