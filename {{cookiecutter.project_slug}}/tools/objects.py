"""The objects of a DVC remote as they are: which it holds, their bytes, and what was begun and never ended.

The audit and the tools behind `make push` and `make pull` look through here.
"""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dvc.data_cloud import Remote
from dvc_data.hashfile.db import HashFileDB
from remote import told

BLOCK = 8 * 2**20
LISTERS = 16


def held_by(remote: Remote, starts: set[str]) -> dict[str, int]:
    """The objects in a remote whose names start so, two digits each, and their sizes."""
    odb = remote.odb
    odb.fs.fs.invalidate_cache()

    def look(start: str) -> list[tuple[str, int]]:
        try:
            with told(remote):
                found = odb.fs.ls(odb.fs.join(odb.path, start), detail=True)
        except FileNotFoundError:
            return []
        return [(start + odb.fs.name(entry["name"]), entry["size"]) for entry in found if is_object(entry)]

    with ThreadPoolExecutor(LISTERS) as pool:
        return dict(pair for pairs in pool.map(look, starts) for pair in pairs)


def is_object(entry: dict[str, Any]) -> bool:
    """Whether an entry of a listing is an object; some S3 servers list an empty folder as one of its own."""
    return entry["type"] == "file" and not entry["name"].endswith("/")


def blocks(odb: HashFileDB, oid: str, size: int) -> Iterator[bytes]:
    """The bytes of an object, a block at a time."""
    storage: Any = odb.fs.fs
    for start in range(0, size, BLOCK):
        yield storage.cat_file(odb.oid_to_path(oid), start=start, end=min(start + BLOCK, size))


def md5_of(parts: Iterable[bytes]) -> str:
    """The MD5 of bytes that come in parts; DVC names objects so."""
    digest = hashlib.md5(usedforsecurity=False)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def dangling_uploads(remote: Remote) -> list:
    """When the uploads were begun that never ended; other remotes than S3 have none."""
    if remote.fs.protocol != "s3":
        return []
    bucket, _, prefix = remote.path.partition("/")
    storage: Any = remote.fs.fs
    with told(remote):
        answer = storage.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
    return [upload["Initiated"] for upload in answer.get("Uploads", [])]
