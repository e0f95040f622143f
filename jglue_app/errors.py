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
    │   ├── GpuTimeError          no GPU is lent, or it was taken back
    │   └── PeerError             another harness, asked for comparison, failed in its own environment
    ├── NetworkError              exit 4: a server could not be reached or did not answer properly
    └── StoreError                exit 5: a run directory cannot be used
        └── RunBusyError          another process is writing to it

Every message says what is wrong and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from jglue_app.messages import Joined, Message, mark, of

EXIT_INCOMPLETE = 6
"""Exit code of a command whose run has items without an output."""
EXIT_INTERRUPTED = 130
"""Exit code of a command that was interrupted, as a shell has it; those of errors are at their classes."""
MAX_QUOTED_CHARS = 200
"""Characters of a name that a sentence repeats."""
MAX_REASON_CHARS = 300
"""Characters of a lower layer's message that a sentence repeats."""
MIN_KEY_FRAGMENT = 8
"""Parts of a key of at least this many characters are never shown."""
SYSTEM_REASONS = (
    mark("No space left on device"),
    mark("Permission denied"),
    mark("Operation not permitted"),
    mark("No such file or directory"),
    mark("File exists"),
    mark("Is a directory"),
    mark("Not a directory"),
    mark("Directory not empty"),
    mark("Read-only file system"),
    mark("File name too long"),
    mark("Disk quota exceeded"),
    mark("Input/output error"),
    mark("Too many open files"),
    mark("Connection refused"),
    mark("Connection reset by peer"),
    mark("Address already in use"),
)
"""What the operating system gives as the reason of an `OSError`, as far as it is translated."""


class JglueAppError(Exception):
    """Base of all errors meant for people.

    Args:
        template: the sentence in English with `{name}` for each value, or a message that is complete.
        values: what the template names.
    """

    exit_code = 1
    option = ""
    """Name of the option of a request that is at fault, such as `limit` or `a.shots`; empty where it is no single
    one."""

    def __init__(self, template: str, /, **values: object) -> None:
        self.message = template if isinstance(template, Message) else Message(template, **values)
        super().__init__(self.message)

    def __reduce__(self) -> tuple[object, ...]:
        # A subclass may take other arguments than the message, which is all that there is to keep.
        return _restore, (type(self), self.message)


def _restore(kind: type[JglueAppError], message: Message) -> JglueAppError:
    error = kind.__new__(kind)
    JglueAppError.__init__(error, message)
    return error


def error_at(place: str, error: JglueAppError) -> JglueAppError:
    """The same error, saying where it happened: the name of another machine."""
    return _restore(type(error), Message("{place}: {reason}", place=place, reason=error.message))


class InputError(JglueAppError):
    """The request itself is at fault."""

    exit_code = 2


class UnknownNameError(InputError):
    """A name that is in none of our tables; the message offers the nearest ones.

    Args:
        kind: what was named, e.g. "task": a template, with its entry in the catalogue.
        name: what was given.
        known: the names that exist.
        hint: a further sentence, if any; a message where it is to be translated.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = list(known)
        # A name from outside may be of any length, and is compared with each that is known.
        name = name if len(name) <= MAX_QUOTED_CHARS else f"{name[:MAX_QUOTED_CHARS]}…"
        near = difflib.get_close_matches(name, names, n=1)
        super().__init__(
            Message(
                "Unknown {kind} {name!r}.{guess} Known: {known}.{hint}",
                kind=kind if isinstance(kind, Message) else Message(kind),
                name=name,
                guess=Message(" Did you mean {near!r}?", near=near[0]) if near else "",
                known=Joined(", ", names),
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


class GpuTimeError(ModelError):
    """A GPU that is lent by the second is not lent for this, or was taken back."""


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


def first_line(error: BaseException) -> str:
    """The first line of a lower layer's message, for use inside a sentence of ours; at most 300 characters.

    An error of ours gives its message, and a reason of the operating system that is known one that can be translated.
    """
    message = of(error)
    if isinstance(message, Message):
        return message
    return _known((message.strip().splitlines() or [type(error).__name__])[0][:MAX_REASON_CHARS])


def reason_of(error: BaseException) -> str:
    """Why something could not be read, written or reached: of an `OSError` what the system says, without number and
    path, as a message where it is known; of any other error its first line."""
    if isinstance(error, OSError) and error.strerror:
        return _known(str(error.strerror)[:MAX_REASON_CHARS])
    return first_line(error)


def _known(reason: str) -> str:
    return Message(reason) if reason in SYSTEM_REASONS else reason


def redact_key(key: str, text: str) -> str:
    """A text with `[key]` for a key and for every part of it of `MIN_KEY_FRAGMENT` characters or more: servers quote
    keys in part."""
    out, start = [], 0
    while start < len(text):
        length = 0
        while start + length < len(text) and text[start : start + length + 1] in key:
            length += 1
        out.append("[key]" if length >= MIN_KEY_FRAGMENT else text[start])
        start += length if length >= MIN_KEY_FRAGMENT else 1
    return "".join(out)
