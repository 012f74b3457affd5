"""Open a DVC remote, ask it quickly whether it answers, and say in words of the settings why it does not.

The tools behind `make push`, `make pull` and `make audit` share this.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError
from dvc.config import Config
from dvc.data_cloud import Remote
from dvc.exceptions import DvcException
from dvc.repo import Repo
from fsspec.asyn import sync

from {{ cookiecutter.package_name }}.errors import UserError

# A client of AWS tries for minutes by default. A remote that answers at all answers within these seconds.
CONNECT_SECONDS = 5
ANSWER_SECONDS = 20
SHORT_TRIES = {"AWS_MAX_ATTEMPTS": "2", "AWS_RETRY_MODE": "standard"}

KEYS = "`dvc remote modify --local {name} {setting} …` (or {variable} in the environment)"
KEY_ID = KEYS.format(name="{name}", setting="access_key_id", variable="AWS_ACCESS_KEY_ID")
SECRET = KEYS.format(name="{name}", setting="secret_access_key", variable="AWS_SECRET_ACCESS_KEY")
ENDPOINT = "is the service up? Its address is `dvc remote modify {name} endpointurl http(s)://HOST:PORT`"
BUCKET = "`dvc remote modify {name} url s3://BUCKET/PATH`, or make the bucket"
REGION = "`dvc remote modify {name} region …`"
FULL = "see whether the disk of {url} is full; then type the same again, what was sent is kept"

# What S3 answers, or the client raises: the problem, and the setting that mends it.
ANSWERS = {
    "InvalidAccessKeyId": ("the remote does not know the access key", KEY_ID),
    "SignatureDoesNotMatch": ("the remote refuses the secret key", SECRET),
    "ExpiredToken": ("the key of the remote has expired", "get a new session token from whoever gave it"),
    "AccessDenied": ("the key may not do this", "ask for s3:ListBucket, s3:GetObject and s3:PutObject on {url}"),
    "NoSuchBucket": ("the remote has no such bucket", BUCKET),
    "InvalidBucketName": ("the remote has no such bucket", BUCKET),
    "PermanentRedirect": ("the bucket is in another region", REGION),
    "AuthorizationHeaderMalformed": ("the bucket is in another region", REGION),
    "RequestTimeTooSkewed": ("the remote has another time than this machine", "set this machine's clock"),
    "NoCredentialsError": ("no keys for the remote", f"{KEY_ID} and {SECRET}"),
    "PartialCredentialsError": ("only half of the keys for the remote", f"{KEY_ID} and {SECRET}"),
    "ProfileNotFound": ("no such AWS profile", "`dvc remote modify --local {name} profile …` (or AWS_PROFILE)"),
    "SSLError": ("no secure connection to the remote", ENDPOINT),
    "EndpointConnectionError": ("nothing answers at the remote's address", ENDPOINT),
    "ConnectTimeoutError": ("nothing answers at the remote's address", ENDPOINT),
    "ConnectionError": ("nothing answers at the remote's address", ENDPOINT),
    "ConnectionClosedError": ("nothing answers at the remote's address", ENDPOINT),
    "FSTimeoutError": ("the remote does not answer", ENDPOINT),
    "ReadTimeoutError": ("the remote does not answer", ENDPOINT),
    "InternalError": ("the remote takes no more data", FULL),
    "ServiceUnavailable": ("the remote takes no more data", FULL),
    "InsufficientStorage": ("the remote takes no more data", FULL),
    "ENOSPC": ("the remote takes no more data", FULL),
}
ANOTHER = ("the remote gives no sensible answer", ENDPOINT)
LOCAL = (
    "the directory of the remote cannot be used",
    "`mkdir -p {url}`, or name another: `dvc remote modify --local {name} url /path`",
)
SAME_AS = {"403": "AccessDenied", "Forbidden": "AccessDenied", "301": "PermanentRedirect"}


def open_repo(name: str | None) -> Repo:
    """This checkout, in which the remote with this name, or the default one, is set as it can be right."""
    os.environ.update(SHORT_TRIES)
    config = Config(".dvc", validate=False)  # DVC's own complaint about a wrong address names another setting
    name = name or config["core"].get("remote")
    url = config["remote"].get(name, {}).get("url")
    if not url:
        raise UserError(
            "there is no such remote",
            expected=f"one of: {', '.join(config['remote']) or 'none is set'}",
            found=str(name),
            fix="`dvc remote add --default NAME URL`, or name another: REMOTE=NAME",
        )
    if url.startswith(("http://", "https://")):
        raise UserError(
            f"the remote is a web address ({name})",
            expected="url s3://BUCKET/PATH, and the host in endpointurl",
            found=f"url {url}",
            fix=f"`dvc remote modify {name} url s3://BUCKET/PATH` and "
            f"`dvc remote modify {name} endpointurl {'/'.join(url.split('/')[:3])}`",
        )
    try:
        return Repo()
    except DvcException as error:
        raise UserError(
            "the settings of DVC are refused",
            expected="settings that DVC knows",
            found=str(error),
            fix="mend .dvc/config or .dvc/config.local",
        ) from None


def ask(remote: Remote, *, make: bool = False) -> None:
    """See whether the remote answers to these settings. Raises UserError that names the one to mend.

    A directory that is not there yet is made where `make` says so.
    """
    with told(remote, FileNotFoundError):
        if remote.fs.protocol == "s3":
            ask_s3(remote)
        else:
            if make:
                remote.fs.makedirs(remote.path)
            list(remote.fs.ls(remote.path, detail=False))


@contextmanager
def told(remote: Remote, *also: type[Exception]) -> Iterator[None]:
    """Turn what a remote raises into a UserError; that a single object is not there is the caller's to judge."""
    try:
        yield
    except also as error:
        raise explain(remote, error) from error
    except FileNotFoundError:
        raise
    except (OSError, BotoCoreError) as error:
        raise explain(remote, error) from error


def ask_s3(remote: Remote) -> None:
    """List one key, with few tries and short waits."""
    from s3fs import S3FileSystem

    settings = dict(remote.fs.fs_args)
    waits = {"connect_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS}
    settings["config_kwargs"] = {**settings.get("config_kwargs", {}), **waits, "retries": {"total_max_attempts": 1}}
    s3 = S3FileSystem(**settings)
    s3.retries = 1
    bucket, _, prefix = remote.path.partition("/")
    sync(s3.loop, s3._call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1, timeout=ANSWER_SECONDS + 1)


def explain(remote: Remote, error: BaseException) -> UserError:
    """Say which setting of the remote an error comes from."""
    names = list(names_of(error))
    otherwise = LOCAL if remote.fs.protocol == "local" else ANOTHER
    problem, fix = next((ANSWERS[name] for name in names if name in ANSWERS), otherwise)
    url = remote.fs.unstrip_protocol(remote.path)
    endpoint = getattr(remote.fs, "fs_args", {}).get("client_kwargs", {}).get("endpoint_url")
    return UserError(
        f"{problem} ({remote.name})",
        expected=f"an answer from {url}{f' at {endpoint}' if endpoint else ''}",
        found=f"{type(error).__name__}: {error}".splitlines()[0],
        fix=fix.format(name=remote.name, url=url),
    )


def names_of(error: BaseException | None) -> Iterator[str]:
    """What an error is called: the code of an S3 answer or of the system, its kind, and those of what it came from."""
    while error:
        response: Any = getattr(error, "response", None)
        code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
        yield SAME_AS.get(code, code)
        yield errno.errorcode.get(getattr(error, "errno", None) or 0, "")
        yield from (kind.__name__ for kind in type(error).__mro__)
        error = error.__cause__ or error.__context__
