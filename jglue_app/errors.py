"""Everything this package raises on purpose.

    JglueAppError                 a sentence for a person, with a way out
    ├── InputError                exit 2: what was asked for cannot be done as asked
    │   ├── UnknownNameError      a task, style, format, split, protocol or model that does not exist
    │   ├── DataError             a data file that is damaged, altered or not in the official format
    │   ├── StyleError            a wording-style file that cannot be used
    │   └── BusyError             the same person's work is still going on
    ├── ModelError                exit 3: the model cannot be loaded or cannot answer
    │   ├── ModelNotFoundError    no such repository, revision or file
    │   ├── ModelAccessError      gated or private
    │   ├── DeviceError           the device, memory or library that a setting needs is missing
    │   └── PeerError             another harness, asked for comparison, failed in its own environment
    ├── NetworkError              exit 4: a server could not be reached or did not answer properly
    └── StoreError                exit 5: a run directory cannot be used
        └── RunBusyError          another process is writing to it

Every message says what is wrong and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from jglue_app.messages import Message, mark

OS_REASONS = frozenset(
    (
        mark("No space left on device"),
        mark("Permission denied"),
        mark("No such file or directory"),
        mark("Is a directory"),
        mark("Not a directory"),
        mark("Read-only file system"),
        mark("File name too long"),
    )
)
"""The operating system's words that sentences most often hold."""
MAX_SAID = 200
"""Characters of a name that a sentence repeats."""


class JglueAppError(Exception):
    """Base of all errors meant for people.

    Args:
        template: the sentence in English with `{name}` for each value, or a message that is complete.
        values: what the template names.
    """

    exit_code = 1

    def __init__(self, template: str, /, **values: object) -> None:
        self.message = template if isinstance(template, Message) else Message(template, **values)
        super().__init__(self.message)


class InputError(JglueAppError):
    """The request itself is at fault."""

    exit_code = 2


class UnknownNameError(InputError):
    """A name that is in none of our tables; the message offers the nearest ones.

    Args:
        kind: what was named, e.g. "task".
        name: what was given.
        known: the names that exist.
        hint: a further sentence, if any.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = list(known)
        # A name that somebody has sent may be of any length, and is compared with each that is known.
        name = name if len(name) <= MAX_SAID else f"{name[:MAX_SAID]}…"
        near = difflib.get_close_matches(name, names, n=1)
        super().__init__(
            Message(
                "Unknown {kind} {name!r}.{guess} Known: {known}.{hint}",
                kind=Message(kind),
                name=name,
                guess=Message(" Did you mean {near!r}?", near=near[0]) if near else "",
                known=", ".join(names),
                hint=Message(" {hint}", hint=hint) if hint else "",
            )
        )


class DataError(InputError):
    """A data file that must not be scored on."""


class StyleError(InputError):
    """A wording style that misses something or names what does not exist."""


class BusyError(InputError):
    """Work of the same person is still going on."""


class ModelError(JglueAppError):
    """The model side failed."""

    exit_code = 3


class ModelNotFoundError(ModelError):
    """No such repository, revision or weight file."""


class ModelAccessError(ModelError):
    """The repository exists but may not be read with the present credentials."""


class DeviceError(ModelError):
    """A device, a library or memory is missing."""


class PeerError(ModelError):
    """Another harness failed in its own environment."""


class NetworkError(JglueAppError):
    """A server could not be reached."""

    exit_code = 4


class StoreError(JglueAppError):
    """A run directory that cannot be read or written."""

    exit_code = 5


class RunBusyError(StoreError):
    """Another process holds the run directory."""


def os_reason(error: OSError) -> str:
    """What the operating system says went wrong, as a message where its words are known here."""
    return Message(error.strerror) if error.strerror in OS_REASONS else error.strerror or str(error)


def first_line(error: BaseException) -> str:
    """The first line of a lower layer's message, for use inside a sentence of ours; at most 300 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
