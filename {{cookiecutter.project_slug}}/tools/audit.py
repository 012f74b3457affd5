"""Look up in the remote every object that this checkout, a commit or all commits need: `make audit`.

    make audit                  what the checkout needs: is it there, has it the right size?
    make audit REV=v1.2.0       what a commit or a tag needs; ALL=1: what all commits on branches and tags need
    make audit DEEP=1           read every object and compare its hash
    make audit REPAIR=1         upload again, from a sound local cache, what is missing or corrupt

DVC itself looks only whether an object exists, and takes the object that lists a directory for all of its members.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from dvc.data_cloud import Remote
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo.brancher import switch
from dvc_data.hashfile.db import HashFileDB, get_index
from objects import blocks, dangling_uploads, held_by, md5_of
from remote import ask, open_repo, told

from {{ cookiecutter.package_name }}.errors import UserError

CHECKOUT = "checkout"
READERS = 8


@dataclass
class Needed:
    """An object, the first revision and out that need it, and what is wrong with it in the remote."""

    oid: str
    remote: str
    size: int | None
    out: str
    revision: str
    wrong: str = ""


@dataclass
class Folder:
    """The members of a directory, and the bytes that they have together."""

    members: list[Needed]
    size: int | None


def main() -> int:
    """Print what is wrong; 0 when all that is needed is sound, or was mended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--rev", metavar="COMMIT")
    which.add_argument("--all", action="store_true")
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--remote", metavar="NAME")
    arguments = parser.parse_args()
    try:
        audit = Audit(arguments.remote)
        audit.collect(distinct_states() if arguments.all else [arguments.rev or CHECKOUT])
        audit.examine(deep=arguments.deep)
        audit.report()
        audit.report_extra(left_over=arguments.all)
        if arguments.repair and audit.wrong():
            audit.repair()
    except (UserError, DvcException) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    return 1 if audit.wrong() else 0


def distinct_states() -> list[str]:
    """The commits of all branches and tags, oldest first; one for each state of the files that name objects."""
    states: dict[str, str] = {}
    for commit in git("rev-list", "--reverse", "--branches", "--tags", "--remotes", "HEAD").split():
        files = git("ls-tree", "-r", commit).splitlines()
        naming = [line for line in files if line.endswith((".dvc", "dvc.lock", "dvc.yaml"))]
        states.setdefault("\n".join(naming), commit)
    return list(states.values())


def short_name(revision: str) -> str:
    """The first digits of a commit. Raises UserError where there is none of this name."""
    try:
        return git("rev-parse", "--short=9", "--verify", "--quiet", f"{revision}^0").strip()
    except subprocess.CalledProcessError:
        raise UserError(
            "there is no such commit",
            expected="a commit, a tag or a branch",
            found=revision,
            fix="name another: REV=…; `git log --oneline` lists them",
        ) from None


def git(*command: str) -> str:
    """What Git prints."""
    return subprocess.run(["git", *command], capture_output=True, text=True, check=True).stdout


class Audit:
    """What revisions need, compared with what the remotes hold."""

    def __init__(self, remote: str | None, *, make: bool = False) -> None:
        self.repo = open_repo(remote)
        self.cache: HashFileDB = self.repo.cache.local
        self.remotes: dict[str, Remote] = {}
        self.make = make
        self.default = self.open(remote).name
        self.needed: dict[tuple[str, str], Needed] = {}
        self.folders: dict[tuple[str, str], Folder] = {}

    def open(self, name: str | None) -> Remote:
        """The remote with this name, which is known to answer; a directory is made if `make` says so."""
        if name not in self.remotes:
            remote = self.repo.cloud.get_remote(name)
            ask(remote, make=self.make)
            self.remotes[remote.name] = remote
            return remote
        return self.remotes[name]

    def collect(self, revisions: Iterable[str]) -> None:
        """Note every object that the revisions need."""
        for revision in revisions:
            name = CHECKOUT if revision == CHECKOUT else short_name(revision)
            with nullcontext() if revision == CHECKOUT else switch(self.repo, revision):
                for out in self.repo.index.outs:
                    if out.use_cache and out.can_push and out.hash_info and not out.stage.is_repo_import:
                        self.note_out(out, name)

    def note_out(self, out: Output, revision: str) -> None:
        """Note the object of an out and, where it is a directory, those of its members."""
        remote = self.open(out.remote or self.default).name
        path = out.fs.relpath(out.fs_path, self.repo.root_dir)
        key = remote, str(out.hash_info.value)
        if not out.is_dir_checksum:
            self.note(key, out.meta.size, path, revision)
        elif key not in self.folders:
            listing = self.listing(key)
            self.note(key, len(listing) if listing else None, path, revision)
            members = [
                self.note((remote, entry["md5"]), None, f"{path}/{entry['relpath']}", revision)
                for entry in json.loads(listing or b"[]")
            ]
            self.folders[key] = Folder(members, out.meta.size if members else None)

    def note(self, key: tuple[str, str], size: int | None, out: str, revision: str) -> Needed:
        """Note one object; it is looked up once, whoever else needs it."""
        remote, oid = key
        return self.needed.setdefault(key, Needed(oid, remote, size, out, revision))

    def listing(self, key: tuple[str, str]) -> bytes | None:
        """The object that lists a directory, from the cache or the remote; None where neither has a sound one."""
        remote, oid = key
        for odb in (self.cache, self.remotes[remote].odb):
            try:
                with told(self.remotes[remote]), odb.fs.open(odb.oid_to_path(oid), "rb") as file:
                    found = file.read()
            except FileNotFoundError:
                continue
            if md5_of([found]) == oid.removesuffix(".dir"):
                return found
        return None

    def examine(self, *, deep: bool) -> None:
        """Look at every needed object and note what is wrong with it."""
        held: dict[tuple[str, str], int] = {}
        for name, remote in self.remotes.items():
            oids = {oid for other, oid in self.needed if other == name}
            held |= {(name, oid): size for oid, size in held_by(remote, {oid[:2] for oid in oids}).items()}
        doubtful = set(held) if deep else self.doubtful(held)
        for key, need in self.needed.items():
            need.wrong = "" if key in held else "missing"
        self.read({key: held[key] for key in doubtful & self.needed.keys()})
        for name in {need.remote for need in self.wrong()}:
            get_index(self.remotes[name].odb).clear()  # DVC's own notes of what the remote holds are wrong

    def doubtful(self, held: dict[tuple[str, str], int]) -> set[tuple[str, str]]:
        """The objects that have another size than the lock says or the cache has; only reading them tells more."""
        found = set()
        for key, need in self.needed.items():
            cached = Path(self.cache.oid_to_path(need.oid))
            if need.size is None and cached.exists():
                need.size = cached.stat().st_size
            if key in held and (need.size != held[key] if need.size is not None else need.oid.endswith(".dir")):
                found.add(key)
        for folder in self.folders.values():
            keys = [(member.remote, member.oid) for member in folder.members]
            if folder.size not in (None, sum(held.get(key, 0) for key in keys)):
                found |= held.keys() & set(keys)
        return found

    def read(self, sizes: dict[tuple[str, str], int]) -> None:
        """Read objects from the remote, several at a time and in blocks, and compare their hashes."""

        def look(key: tuple[str, str]) -> None:
            need, size = self.needed[key], sizes[key]
            remote = self.remotes[need.remote]
            with told(remote):
                sound = md5_of(blocks(remote.odb, need.oid, size)) == need.oid.removesuffix(".dir")
            other_size = f" ({size} bytes instead of {need.size})" if need.size not in (None, size) else ""
            need.wrong = "" if sound else f"corrupt{other_size}"

        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(look, sizes))

    def wrong(self) -> list[Needed]:
        """The objects that are not sound."""
        return [need for need in self.needed.values() if need.wrong]

    def report(self) -> None:
        """Print one line for each object that is not sound, and the count."""
        wrong = sorted(self.wrong(), key=lambda need: need.out)
        if wrong:
            print(f"{'object':<36}  {'needed by':<10}  out: what is wrong")
        for need in wrong:
            print(f"{need.oid:<36}  {need.revision:<10}  {need.out}: {need.wrong}")
        print(f"{len(self.needed) - len(wrong)} of {len(self.needed)} objects are sound in {', '.join(self.remotes)}")

    def report_extra(self, *, left_over: bool) -> None:
        """Print what takes space in the remotes and nobody needs; it harms nothing."""
        for name, remote in self.remotes.items():
            begun = dangling_uploads(remote)
            if begun:
                print(f"{name}: {len(begun)} uploads were begun and never ended, the oldest on {min(begun):%Y-%m-%d};")
                print("  they only take space: let a lifecycle rule of the bucket abort them")
            if left_over:
                held = held_by(remote, {f"{number:02x}" for number in range(256)})
                extra = [size for oid, size in held.items() if (name, oid) not in self.needed]
                print(f"{name}: {len(extra)} objects ({sum(extra) / 1e6:.1f} MB) are needed by no branch or tag")

    def repair(self) -> None:
        """Upload what is not sound again, from the cache where that is sound, and read it back."""
        able = [need for need in self.wrong() if self.is_cached(need.oid)]
        for name, remote in self.remotes.items():
            oids = [need.oid for need in able if need.remote == name]
            # The listing of a directory comes last: it must never be there before its members.
            for part in ([o for o in oids if not o.endswith(".dir")], [o for o in oids if o.endswith(".dir")]):
                if part:
                    self.upload(remote, part)
            held = held_by(remote, {oid[:2] for oid in oids})
            self.read({(name, oid): held[oid] for oid in oids if oid in held})
        left = self.wrong()
        print(f"{len(able) - len([need for need in able if need.wrong])} objects uploaded again and read back")
        if left:
            print(f"{len(left)} are not sound in the local cache either: repair them from a checkout that has them,")
            print("  or make them again with `dvc repro --force`:")
            print("".join(f"  {need.oid}  {need.out}\n" for need in left), end="")

    def is_cached(self, oid: str) -> bool:
        """Whether the local cache has the object, and its bytes have that hash."""
        path = Path(self.cache.oid_to_path(oid))
        return path.exists() and md5_of(blocks(self.cache, oid, path.stat().st_size)) == oid.removesuffix(".dir")

    def upload(self, remote: Remote, oids: list[str]) -> None:
        """Put objects of the cache in place of those in the remote."""
        odb = remote.odb
        with told(remote):
            for oid in oids:
                if odb.exists(oid):
                    odb.fs.remove(odb.oid_to_path(oid))
            odb.add([self.cache.oid_to_path(oid) for oid in oids], self.cache.fs, oids, check_exists=False)


if __name__ == "__main__":
    sys.exit(main())
