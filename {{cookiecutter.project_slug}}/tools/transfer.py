"""`make push` and `make pull`: DVC's own, but they end soon and say why when something is wrong.

The remote is asked before anything is sent, and again and again meanwhile: DVC tries for minutes to reach one that is
gone. After a push every object is looked up, because DVC takes the listing of a directory for all of its members; after
a pull that failed, those that did not come, because DVC does not name them.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from collections import deque
from io import BufferedReader
from pathlib import Path

from audit import CHECKOUT, Audit
from dvc.data_cloud import Remote
from dvc.exceptions import DvcException
from remote import ANSWER_SECONDS, ask

from {{ cookiecutter.package_name }}.errors import UserError

SECONDS_BETWEEN = 4


def main() -> int:
    """Push or pull everything of this checkout; 0 when it is all there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("push", "pull"))
    parser.add_argument("--remote", metavar="NAME")
    arguments = parser.parse_args()
    try:
        audit = Audit(arguments.remote, make=arguments.verb == "push")
        remote = audit.remotes[audit.default]
        code, words = run_dvc(arguments.verb, remote)
        if code and "Unable to acquire lock" in words:
            raise UserError(
                f"DVC could not {arguments.verb}",
                expected="no other DVC command at work in this checkout",
                found="one that holds DVC's lock",
                fix="wait until it has ended, then type the same again",
            )
        if arguments.verb == "push":
            after_push(audit)
        elif code:
            after_failed_pull(audit)
    except (UserError, DvcException) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what was sent or came is kept", file=sys.stderr)
        return 130
    return 0


def run_dvc(verb: str, remote: Remote) -> tuple[int, str]:
    """Run DVC and watch the remote meanwhile; its exit code and its last words. Raises UserError if the remote goes."""
    environment = os.environ | ({"DVC_IGNORE_ISATTY": "1"} if sys.stderr.isatty() else {})
    command = ["dvc", verb, "--remote", remote.name]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as dvc:
        words: deque[bytes] = deque(maxlen=200)
        reader = threading.Thread(target=pass_on, args=(dvc.stderr, words), daemon=True)
        reader.start()
        failures, answered = 0, time.monotonic()
        while True:
            try:
                code = dvc.wait(SECONDS_BETWEEN)
                break
            except subprocess.TimeoutExpired:
                pass
            try:
                ask(remote)
                failures, answered = 0, time.monotonic()
            except UserError:
                failures += 1
                if failures == 2 or time.monotonic() - answered > ANSWER_SECONDS:
                    dvc.kill()
                    raise
        reader.join()
    if code:
        ask(remote)
    return code, b"".join(words).decode(errors="replace")


def pass_on(stream: BufferedReader, words: deque[bytes]) -> None:
    """Show what DVC says as it says it, and keep the end."""
    while part := stream.read1():
        words.append(part)
        sys.stderr.buffer.write(part)
        sys.stderr.buffer.flush()


def after_push(audit: Audit) -> None:
    """Look up every object, and send those again that DVC left out."""
    audit.collect([CHECKOUT])
    audit.examine(deep=False)
    if audit.wrong():
        audit.report()
        audit.repair()
    if audit.wrong():
        raise UserError(
            "not everything is in the remote",
            expected="every object of this checkout",
            found=f"{len(audit.wrong())} that are neither there nor in the local cache; they are named above",
            fix="push from a checkout that has them, or make them again: `dvc repro --force`",
        )


def after_failed_pull(audit: Audit) -> None:
    """Name the objects that did not come, and what is wrong with them."""
    audit.collect([CHECKOUT])
    audit.needed = {key: n for key, n in audit.needed.items() if not Path(audit.cache.oid_to_path(n.oid)).exists()}
    audit.examine(deep=True)
    if audit.wrong():
        audit.report()
        raise UserError(
            "not everything could be pulled",
            expected="every object of this checkout, sound, in the remote",
            found=f"{len(audit.wrong())} that are not; they are named above",
            fix="`make audit REPAIR=1` in a checkout that has them in its cache",
        )
    raise UserError(
        "DVC could not put everything in its place",
        expected="every object of this checkout, sound, in the remote; they are",
        found="an error that DVC tells above",
        fix="mend that, then type `make pull` again; what came is kept in the cache",
    )


if __name__ == "__main__":
    sys.exit(main())
