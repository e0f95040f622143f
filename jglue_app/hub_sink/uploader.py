"""The process that sends a run to the Hub: one job on standard input, the lines of `child_process` on standard output.

The job has the address of the Hub, the token, the repository, whether it is private, and the folder to send. If
standard input ends early, the process that wanted it is gone, and this one ends too.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

from jglue_app.child_process import error_line
from jglue_app.errors import InputError, JglueAppError, NetworkError, first_line


def main() -> None:
    """Do the job of the first line of standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # Output of the client must not mix with ours.
    job = json.loads(sys.stdin.readline() or "{}")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    code = 0
    answer: dict[str, Any] = {}
    try:
        answer = {"result": send(job)}
    except JglueAppError as e:
        answer = error_line(e)
    except BaseException:
        traceback.print_exc()
        code = 1
    if answer:
        with contextlib.suppress(OSError):
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    sys.stderr.flush()
    os._exit(code)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(3)


def send(job: Mapping[str, Any]) -> dict[str, Any]:
    """Make the repository if it is not there, and put the files of a folder into it with one commit.

    Raises:
        InputError: the Hub refuses the token or the repository.
        NetworkError: it cannot be reached, or fails.
    """
    import httpx
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    repository = job["repository"]
    api = HfApi(endpoint=job["endpoint"], token=job["token"])
    try:
        api.create_repo(repository, repo_type="dataset", private=job["private"], exist_ok=True)
        private = bool(api.repo_info(repository, repo_type="dataset").private)
        if job["private"] and not private:
            raise InputError(
                "The repository {repository} is there already, and public. Make it private on the Hub, or tick "
                "“public”. Nothing was sent.",
                repository=repository,
            )
        api.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=job["folder"],
            commit_message="A run of JGLUE side by side",
        )
    except HfHubHTTPError as e:
        _refused(e.response.status_code, repository, e)
    # Of versions of the Hub's client before 2, and of later ones.
    except (httpx.HTTPError, httpx2.HTTPError, OSError) as e:
        raise NetworkError(
            "{server} cannot be reached ({reason}). The run here is untouched: send it again later.",
            server=job["endpoint"],
            reason=first_line(e),
        ) from None
    return {"url": f"{job['endpoint']}/datasets/{repository}", "private": private}


def _refused(status: int, repository: str, error: Exception) -> NoReturn:
    """Raise what the Hub's answer means."""
    if status == 401:
        raise InputError(
            "The Hub does not take your sign-in any more. Sign out, sign in again, and send the run again."
        )
    if status == 403:
        raise InputError(
            "The Hub does not let this application write to {repository}. Sign out, sign in again and allow it to make "
            "repositories; if there is a repository of this name that was not made here, rename that one.",
            repository=repository,
        )
    if status == 429:
        raise NetworkError("The Hub takes no more from this account for now. Send the run again in some minutes.")
    raise NetworkError(
        "The Hub answered with status {status} ({reason}). The run here is untouched: send it again later.",
        status=status,
        reason=first_line(error),
    )


if __name__ == "__main__":
    main()
