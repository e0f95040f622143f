"""Why no GPU was lent, or why it was taken back: what `spaces` raises, in sentences with what is left to do.

`spaces` raises `gradio.Error` with a title that says what happened, and a message for people. They are told apart by
these, as there is nothing else; gradio itself is not imported here.
"""

from __future__ import annotations

import re

from jglue_app.backends.zero_gpu.space import embedded_model
from jglue_app.errors import GpuTimeError, JglueAppError, ModelError
from jglue_app.messages import Message

_SECONDS = re.compile(r"\((\d+)s requested vs\. (-?\d+)s left\)")
_WAIT = re.compile(r"Try again in (?:(\d+) days?, )?(\d+):(\d\d):(\d\d)")


class QuotaError(GpuTimeError):
    """The visitor's quota has no room for a request.

    Args:
        message: the sentence.
        left: seconds that are left; None if that is not known.
    """

    left: int | None = None


class KilledError(GpuTimeError):
    """The process was killed: its seconds were over, or it ran out of memory."""


def killed(seconds: int) -> KilledError:
    """The process did not come to its end."""
    return KilledError(
        Message(
            "The GPU was taken back after the {seconds} s that were asked for, before the answers were finished. Run "
            "again to go on from there, or ask for fewer examples or shorter thoughts. {without_gpu}",
            seconds=seconds,
            without_gpu=without_gpu(),
        )
    )


def refusal(error: BaseException, seconds: int) -> JglueAppError | None:
    """An error of `spaces` as one of ours; None if it is of no kind that is known.

    Args:
        error: what was raised.
        seconds: what was asked for.
    """
    title, text = str(getattr(error, "title", "")), str(getattr(error, "message", error))
    if title == "ZeroGPU quota exceeded":
        return _no_gpu_free() if "No GPU was available" in text else _quota(text, seconds)
    if title == "ZeroGPU pending credits exceeded":
        return GpuTimeError(
            "Other GPU work of yours is still going on, and your quota is set aside for it. Run again when it has "
            "ended, to go on from there. {without_gpu}",
            without_gpu=without_gpu(),
        )
    if title == "ZeroGPU illegal duration":
        return GpuTimeError(
            "One request may not take {seconds} s of GPU time here. Choose a smaller model or fewer examples, or sign "
            "in to huggingface.co. {without_gpu}",
            seconds=seconds,
            without_gpu=without_gpu(),
        )
    if title == "ZeroGPU queue timeout" or (title == "ZeroGPU client error" and "No GPU was available" in text):
        return _no_gpu_free()
    if title == "ZeroGPU client error" and "Expired" in text:
        return GpuTimeError(
            "The permission to use the GPU that came with the last click is over. Press Run again to go on from there. "
            "{without_gpu}",
            without_gpu=without_gpu(),
        )
    if title == "ZeroGPU worker error":
        return killed(seconds) if "aborted" in text else _failed(text)
    if title.startswith("ZeroGPU") or "ZeroGPU API" in text:
        return GpuTimeError(
            "ZeroGPU gave no GPU ({reason}). Run again in a few minutes to go on from there. {without_gpu}",
            reason=(title or text)[:100],
            without_gpu=without_gpu(),
        )
    return None


def without_gpu() -> Message:
    """What can be done without a GPU."""
    return Message(
        "What is answered is kept. Without a GPU, the stored comparisons and results stay open, and {model} answers a "
        "few items on the processor.",
        model=embedded_model(),
    )


def _quota(text: str, seconds: int) -> QuotaError:
    wait = _WAIT.search(text)
    if numbers := _SECONDS.search(text):
        requested, left = int(numbers[1]), max(0, int(numbers[2]))
        error = QuotaError(
            Message(
                "Your GPU time is used up: {requested} s were asked for, and {left} s of your daily quota on ZeroGPU "
                "are left.{wait} Run again then to go on from there. {without_gpu}",
                requested=requested,
                left=left,
                wait=_more_in(*(int(part or 0) for part in wait.groups())) if wait else "",
                without_gpu=without_gpu(),
            )
        )
        error.left = left
        return error
    if "runs limit" in text:
        return QuotaError(
            Message(
                "You have used the GPU as often as your quota on ZeroGPU allows. Run again later to go on from there. "
                "{without_gpu}",
                without_gpu=without_gpu(),
            )
        )
    return QuotaError(
        Message(
            "ZeroGPU lends no GPU for this request of {seconds} s: it does not know whose quota it is, or the Space "
            "has used its own. Open this page at huggingface.co, signed in there. Run again to go on from there. "
            "{without_gpu}",
            seconds=seconds,
            without_gpu=without_gpu(),
        )
    )


def _more_in(days: int, hours: int, minutes: int, seconds: int) -> Message:
    """When there is more, rounded up to a minute."""
    hours, minutes = divmod((24 * days + hours) * 60 + minutes + (seconds > 0), 60)
    if not hours:
        return Message(" More is there in {minutes} min.", minutes=minutes)
    return Message(" More is there in {hours} h {minutes} min.", hours=hours, minutes=minutes)


def _no_gpu_free() -> GpuTimeError:
    return GpuTimeError(
        "No GPU became free within a minute. Run again to go on from there. {without_gpu}", without_gpu=without_gpu()
    )


def _failed(kind: str) -> ModelError:
    return ModelError(
        "The model failed on the GPU ({kind}; the Space's log says more). Try another dtype or quantization, or choose "
        "another model.",
        kind=kind[:100],
    )
