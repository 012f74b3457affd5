"""Why a store did not give or take a file, and how to fix that: one table from cause to fix.

It serves S3, web servers, the Hugging Face hub and, if any, DVC's remotes. Braces in a fix hold the name of a setting,
which is filled in as you type it for the program at hand.
"""

import errno
import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import UserError

HTTP = {
    "certificate": "SSL_CERT_FILE=FILE in the environment",
    "endpoint": "correct `uri` in params.yaml",
    "rights": "write a login into ~/.netrc: machine HOST login NAME password WORD; or take the file by hand",
    "file": "correct `uri` or the name below sha256 in params.yaml; where a store lists no files, list them there",
}
S3 = HTTP | {
    "certificate": "AWS_CA_BUNDLE=FILE in the environment",
    "endpoint": "AWS_ENDPOINT_URL=ADDRESS in the environment (unset it for AWS)",
    "region": "AWS_DEFAULT_REGION=REGION in the environment",
    "profile": "AWS_PROFILE=NAME in the environment",
    "key": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
    "keys": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
    "bucket": "correct `uri` in params.yaml",
    "rights": "ask for s3:GetObject and s3:ListBucket on the bucket",
}
HUB = HTTP | {
    "endpoint": "HTTPS_PROXY=ADDRESS names a proxy, HF_ENDPOINT=ADDRESS a mirror (unset it for huggingface.co)",
    "rights": "log in: hf auth login, or HF_TOKEN in the environment",
}


class Cause(NamedTuple):
    """A problem, its fix, and what shows it: an S3 code, a type of error, or words of a message."""

    problem: str
    fix: str
    shown_by: str


# The first match counts: what S3 calls AccessDenied may be about a KMS key.
CAUSES = (
    Cause("the transfer broke off", "type the same again", "ClientPayloadError|IncompleteRead|ResponseStreamingError"),
    Cause("the service sends from one address to another without end", "{endpoint}", "TooManyRedirects"),
    Cause(
        "addresses of this form are not read here",
        "take one that begins with hf://, s3://, https:// or pkg://, or a path",
        "Protocol not known|Please install",
    ),
    Cause(
        "the certificate of the service is out of date, or the clock of this machine is wrong",
        "set the clock (`date` shows it), or ask who runs the service for a new certificate",
        "certificate has expired|certificate is not yet valid",
    ),
    Cause(
        "the certificate is that of another host",
        "name the host that it is made for: {endpoint}",
        "Hostname mismatch|IP address mismatch|certificate is not valid for",
    ),
    Cause(
        "the certificate of the service is signed by nobody that is known here",
        "name the file (PEM) of the authority that signed it, itself if none did: {certificate}",
        "CERTIFICATE_VERIFY_FAILED",
    ),
    Cause(
        "the file of the certificates cannot be read",
        "name one that is there, in PEM: {certificate}",
        "HTTPClientError.*No such file|NO_CERTIFICATE_OR_CRL_FOUND|PEM lib",
    ),
    Cause(
        "no secure connection to the service",
        "a service without TLS has an address with http://: {endpoint}",
        "SSLError|WRONG_VERSION_NUMBER|ssl.c",
    ),
    Cause(
        "the proxy does not answer",
        "correct or unset HTTP_PROXY and HTTPS_PROXY; NO_PROXY=HOST asks a host without one",
        "ProxyConnectionError|ProxyError|through the proxy|Unknown scheme for proxy",
    ),
    Cause(
        "no host has the name of the service",
        "is the network up, a VPN missing, HTTPS_PROXY right? {endpoint}",
        "gaierror|Name or service not known|nodename nor servname|name resolution",
    ),
    Cause(
        "this is no address of a service",
        "write it as https://HOST:PORT: {endpoint}",
        "Invalid endpoint|UnsupportedProtocol|InvalidProxiesConfigError",
    ),
    Cause(
        "the single sign-on of AWS has run out, or never began",
        "`aws sso login` (with --profile NAME if it is not the default)",
        "SSOTokenLoadError|UnauthorizedSSOTokenError|TokenRetrievalError|SSOError|UnauthorizedException",
    ),
    Cause(
        "the credential_process of AWS's configuration failed",
        "run that command of ~/.aws/config by itself until it prints keys as JSON",
        "custom-process|JSONDecodeError",
    ),
    Cause(
        "AWS's configuration cannot be used",
        "correct what is named above in ~/.aws/config; a role needs sts:AssumeRole; try `aws sts get-caller-identity`",
        "(ConfigParse|InvalidConfig|LoopConfig|(Credential|Metadata)Retrieval|UnknownCredential)Error|ConfigNotFound|AssumeRole",
    ),
    Cause("no such AWS profile", "name one of ~/.aws/config: {profile}", "ProfileNotFound"),
    Cause("only half of the keys", "give both: {keys}", "PartialCredentialsError"),
    Cause("no keys for the service", "{keys}; after `aws configure sso`, {profile}", "NoCredentials|NoAuthToken"),
    Cause(
        "the KMS key that encrypts the objects cannot be used",
        "ask for kms:Decrypt and kms:GenerateDataKey on it, or its owner to enable it",
        r"kms:|KMS\.",
    ),
    Cause(
        "the keys have expired",
        "get new ones, as you got these: `aws sso login`, or {keys} with {token}",
        "ExpiredToken|TokenRefreshRequired|RequestExpired",
    ),
    Cause(
        "the session token does not belong to the keys",
        "unset it for keys that need none, or get all three anew: {token}",
        r"\bInvalidToken|InvalidClientTokenId|UnrecognizedClientException",
    ),
    Cause("the service does not know the access key", "correct {key}", "InvalidAccessKeyId"),
    Cause("the service refuses the secret key", "correct {secret}", "SignatureDoesNotMatch"),
    Cause(
        "the service has another time than this machine",
        "set this machine's clock (`date` shows it; `timedatectl set-ntp true` keeps it right)",
        "RequestTimeTooSkewed|RequestInTheFuture",
    ),
    Cause(
        "the service is overloaded, or asks for fewer requests",
        "wait a minute, then type the same again; what was sent is kept",
        r"SlowDown|Throttl|RequestLimitExceeded|Too ?Many ?Requests|BandwidthLimitExceeded|\b(429|502|503|504)\b",
    ),
    Cause("no such bucket", "{bucket}, or make the bucket", "NoSuchBucket|InvalidBucketName|Invalid bucket name"),
    Cause("the bucket is in another region", "{region}", "PermanentRedirect|HeaderMalformed|LocationConstraint"),
    Cause("this is no region", "write it as eu-central-1: {region}", "InvalidRegionError|NoRegionError"),
    Cause(
        "the object lies in an archive",
        "`aws s3api restore-object` brings it back in hours; keep objects in a storage class without restoring",
        "InvalidObjectState",
    ),
    Cause(
        "the service does not take the checksums of newer AWS clients",
        "export AWS_REQUEST_CHECKSUM_CALCULATION=when_required AWS_RESPONSE_CHECKSUM_VALIDATION=when_required",
        "MissingContentLength|x-amz-content-sha256|XAmzContentSHA256Mismatch|FlexibleChecksumError",
    ),
    Cause("the keys may not do this", "{rights}", r"AccessDenied|AllAccessDisabled|\b40[13]\b|Forbidden|Unauthorized"),
    Cause("no such file", "{file}", r"NoSuchKey|NoSuchVersion|FileNotFoundError|\b404\b|IsADirectoryError"),
    Cause(
        "the service takes no more data",
        "see whether its disk is full; then type the same again, what was sent is kept",
        "InternalError|ServiceUnavailable|InsufficientStorage|StorageFull|QuotaExceeded|ENOSPC",
    ),
    Cause("a permission is missing", "`ls -ld` shows who may; ask them", "EACCES"),
    Cause("the disk is read-only", "name another directory: {file}", "EROFS"),
    Cause("the service does not answer", "does it work, and is the network up? {endpoint}", "Timeout|TimedOut"),
    Cause(
        "nothing answers at the address of the service",
        "is the service up? {endpoint}",
        "EndpointConnectionError|ConnectError|ConnectionError|ConnectionClosedError|ClientConnectorError|Disconnected",
    ),
)


def quieten_botocore() -> None:
    """Keep botocore from also printing the tracebacks of the errors that it raises."""
    for name in ("botocore", "aiobotocore"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def cause_of(words: str, settings: Mapping[str, str]) -> tuple[str, str] | None:
    """The problem that an error's words show, and its fix; None if nothing in the table matches them."""
    known = defaultdict(lambda: "the setting", settings)
    for cause in CAUSES:
        if re.search(cause.shown_by, words, re.DOTALL):
            return cause.problem, cause.fix.format_map(known)
    return None


def words_of(error: BaseException | None) -> str:
    """The words of an error and of the errors behind it: codes of S3 and of the system, types, messages."""
    words: list[str] = []
    while error:
        response: Any = getattr(error, "response", None)
        if isinstance(response, dict):
            words.append(response.get("Error", {}).get("Code", ""))
        words.append(errno.errorcode.get(getattr(error, "errno", None) or 0, ""))
        words += [*(kind.__name__ for kind in type(error).__mro__), str(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(words)


def in_one_line(error: BaseException) -> str:
    """An error in its own words: its type and the beginning of its message."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:300]


def refusal(
    problem: str, error: BaseException, expected: str, settings: Mapping[str, str], beside: str = ""
) -> UserError:
    """The error for a transfer that failed: with its cause and fix if the table has them. beside: further words."""
    known = cause_of(words_of(error) + beside, settings)
    cause, fix = known or ("", "check the address, the network and the credentials")
    problem = f"{problem}: {cause}" if cause else problem
    return UserError(problem, expected=expected, found=in_one_line(error) + beside, fix=fix)
