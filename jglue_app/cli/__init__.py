"""The command line. It only builds specs and shows reports; what it does is in the Python API, under the same names.

Exit codes: 0 done; 1 unexpected fault; 2 the request is at fault; 3 the model; 4 the network; 5 the run folder;
6 the run is not complete (some items failed); 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from jglue_app import environment
from jglue_app.cli.audit import audit
from jglue_app.cli.bench import bench_command
from jglue_app.cli.data import data_commands
from jglue_app.cli.embed import embed
from jglue_app.cli.grid import grid
from jglue_app.cli.lab import show_prompt, sweep
from jglue_app.cli.launch import launch_job
from jglue_app.cli.lint import lint_prompt
from jglue_app.cli.models import make_showcase, models, serve
from jglue_app.cli.protocols import protocols
from jglue_app.cli.push import push
from jglue_app.cli.runs import compare, run
from jglue_app.cli.scoring import rescore, score
from jglue_app.cli.stored import delete, export, import_run, leaderboard, list_runs, name_run
from jglue_app.cli.wandb import pull
from jglue_app.errors import EXIT_INTERRUPTED, InputError, JglueAppError, first_line, reason_of
from jglue_app.version import __version__

app = typer.Typer(
    help="Compare Japanese language models on JGLUE, item by item.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 2 bad request, 3 model, 4 network, 5 run folder, 6 incomplete, 130 interrupted.",
)


NOT_OURS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE),
    *(errno.EMFILE, errno.ENFILE, errno.ENOLCK, errno.EBUSY, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT),
)
"""Faults of a disk, of permissions or of the limits of a process, wherever they come up."""


def main() -> None:
    """Entry point: errors meant for people become one sentence and an exit code."""
    environment.repair_streams()
    try:
        for sentence in environment.prepare():
            print(f"note: {sentence}", file=sys.stderr)
        try:
            app(prog_name="python -m jglue_app")
        finally:
            _flush()
    except JglueAppError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Warning as e:
        if not sys.warnoptions:
            raise
        print(
            f"error: Warnings are made errors here (PYTHONWARNINGS or -W), and a library warns: {first_line(e)}. "
            "Unset PYTHONWARNINGS.",
            file=sys.stderr,
        )
        sys.exit(InputError.exit_code)
    except BrokenPipeError:
        # Nobody reads any more. Python flushes once more when it exits, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as e:
        if e.errno not in NOT_OURS:
            raise
        print(
            f"error: {e.filename or 'A file'} cannot be used ({reason_of(e)}). Check its permissions and the free "
            "space, or name another place.",
            file=sys.stderr,
        )
        sys.exit(InputError.exit_code)


def _flush() -> None:
    """Write out what is left of standard output, where a full disk or a closed pipe is noticed."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as e:
        # Python flushes once more when it exits, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise InputError(
            "Standard output cannot be written ({reason}). Send it to another place.", reason=reason_of(e)
        ) from e


def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


app.callback(invoke_without_command=True)(_root)
for command in (
    run,
    compare,
    grid,
    embed,
    score,
    rescore,
    audit,
    leaderboard,
    export,
    delete,
    push,
    pull,
    sweep,
    models,
):
    app.command()(command)
app.command()(serve)
app.command()(protocols)
app.command("runs")(list_runs)
app.command("name")(name_run)
app.command("import")(import_run)
app.command("show-prompt")(show_prompt)
app.command("lint-prompt")(lint_prompt)
app.command("make-showcase")(make_showcase)
app.command("launch-job")(launch_job)
app.command("bench")(bench_command)
app.add_typer(data_commands(), name="data")
