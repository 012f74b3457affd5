"""Error messages that say what was expected, what was found and how to fix it; and how every command ends."""

import errno
import io
import os
import select
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import NamedTuple


class UserError(Exception):
    """An error that the user can fix. It is printed without a traceback; the traceback of a bug is in a log file."""

    def __init__(self, problem: str, *, expected: str, found: str, fix: str) -> None:
        super().__init__(f"{problem}\n  expected: {expected}\n  found:    {found}\n  fix:      {fix}")


class Cause(NamedTuple):
    """What to say about an error that no stage and no tool handles."""

    problem: str
    expected: str
    fix: str


AGAIN = "then type the same again"
BUG = Cause("this command has a bug", "a result, or a message about what to change", "report it with the log below")
DISK_FULL = Cause("the disk is full", "space for what is written", f"free some (df -h), {AGAIN}")
MEMORY = Cause(
    "memory is used up",
    "less work at once",
    'free some; shorter texts and smaller batches need less; for training see docs/running.md, "A large encoder"',
)
MISSING = Cause("a file is missing", "every file where it was", f"see whether the path is right (ls -l), {AGAIN}")
PERMISSION = Cause("a permission is missing", "files that you may read, folders you may write", "ls -ld shows who may")
READ_ONLY = Cause("the disk is read-only", "a folder that you may write", "work in a folder that you may write")
PACKAGE = Cause("a package is missing", "the packages of requirements.lock", "make setup, then . .venv/bin/activate")
REFUSED = Cause("the system, or a program, refused", "a call that succeeds", f"do what its words above name, {AGAIN}")
OF_THIS_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # full, or read-only
BY_WORDS = {  # torch, safetensors and the libraries of CUDA have words of their own
    DISK_FULL: ("No space left", "Disk quota", "Disc quota", "os error 28", "PytorchStreamWriter", "unexpected pos"),
    MEMORY: ("allocate memory", "std::bad_alloc", "out of memory", "ALLOC_FAILED", "STATUS_NOT_INITIALIZED"),
    READ_ONLY: ("Read-only file system",),
}
BY_TYPE = {  # subclasses count too; by name, because this module imports no library
    "MemoryError": MEMORY,
    "OutOfMemoryError": MEMORY,
    "ModuleNotFoundError": PACKAGE,
    "FileNotFoundError": MISSING,
    "PermissionError": PERMISSION,
    "CalledProcessError": REFUSED,
    "DvcException": REFUSED,
    "BotoCoreError": REFUSED,
    "ClientError": REFUSED,
    "OSError": REFUSED,
}


def run_command(work: Callable[[], int | None], *also: type[Exception], stopped: str = "stopped") -> int:
    """Run a command and return its exit code. An error becomes one message, without a traceback.

    1 after a user's mistake, an error of a type in `also`, or an unforeseen error; 130 when the user stops the command.
    0 when the reader of standard output stops reading early, as `head` does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal with another encoding must not stop a command
    try:
        code = work() or 0
        sys.stdout.flush()
        return code
    except (UserError, *also) as mistake:
        message = "\n".join([str(mistake), *getattr(mistake, "__notes__", ())])
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return 130
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return 0
        message = _unforeseen(error)
    print(f"error: {message}", file=sys.stderr)
    return 1


def _reader_is_gone() -> bool:
    """Whether standard output is the broken pipe. If so, discard the remaining output, to avoid a second error."""
    output = select.poll()
    output.register(sys.stdout.fileno(), select.POLLOUT)  # a Mac answers nothing where nothing is asked
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _unforeseen(error: Exception) -> str:
    """The message about an unforeseen error: its own words, what may fix it, and where the traceback is kept."""
    cause = cause_of(error)
    found = str(error).strip().replace("\n", "\n            ")
    message = UserError(cause.problem, expected=cause.expected, found=f"{type(error).__name__}: {found}", fix=cause.fix)
    try:
        descriptor, name = tempfile.mkstemp(".log", f"{__package__}-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as log:
            log.write(f"{sys.argv}\n")
            traceback.print_exception(error, file=log)
        return f"{message}\n  log:      {name}"
    except OSError:  # no log can be written: print the traceback of a bug; other causes need none
        return f"{message}\n{''.join(traceback.format_exception(error)) if cause is BUG else ''}"


def cause_of(error: BaseException) -> Cause:
    """The cause of an error, found by its message or its type."""
    for cause, words in BY_WORDS.items():
        if any(word in str(error) for word in words):
            return cause
    return next((BY_TYPE[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in BY_TYPE), BUG)


def raise_if_memory(error: BaseException) -> None:
    """Raise the error of a trial again if memory is used up, which says nothing about what was tried."""
    if cause_of(error) is MEMORY:
        raise error
