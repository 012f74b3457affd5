"""Check that each path has one owner, Git, Git LFS or DVC: `make owners`, part of `make lint`.

Git keeps text; Git LFS the documentation pictures that `.gitattributes` names; DVC data and models. Mistakes are
reported before they are committed. Git LFS need not be installed.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dvc.output import Output
from dvc.repo import Repo

from {{ cookiecutter.package_name }}.paths import RAW
from tools.shared import git, run

LARGEST = 1_000_000
POINTER = "version https://git-lfs.github.com/spec/v1"
LONGEST_POINTER = 1024


def main() -> int:
    """Print how many paths each owner has, with --list all paths. Returns 1 if a path has two owners or a wrong one."""
    index = Repo().index
    outs = [out for out in index.outs if out.protocol == "local"]
    deps = [Path(dep.fs_path) for dep in index.deps if dep.protocol == "local" and dep.fs_path]
    tracked = tracked_by_git()
    in_dvc = {path: out for out in outs for path in files_of(Path(out.fs_path))}
    by_lfs = with_lfs_filter([*tracked, *in_dvc])
    mistakes = [
        *mistakes_of_outs(in_dvc, tracked, by_lfs),
        *mistakes_of_git(tracked, by_lfs),
        *line_ends_of_windows(),
        *pointers_read_as_data({*in_dvc, *(path for dep in deps for path in files_of(dep))}),
    ]
    owners = {path: "Git LFS" if path in by_lfs else "Git" for path in tracked}
    owners |= {path: "DVC" for path, out in in_dvc.items() if out.use_cache}
    if "--list" in sys.argv:
        print("".join(f"{owner:<8} {path}\n" for path, owner in sorted(owners.items())), end="")
    print(", ".join(f"{owner}: {count} paths" for owner, count in sorted(Counter(owners.values()).items())))
    for one in mistakes:
        print(f"error: {one}", file=sys.stderr)
    return 1 if mistakes else 0


def tracked_by_git() -> dict[str, int]:
    """The size of every file in Git's index, by path from the project's root."""
    entries = [entry.partition("\t") for entry in git("ls-files", "--stage", "-z").split("\0") if entry]
    blobs = {path: about.split()[1] for about, _, path in entries if not about.startswith("160000")}
    sizes = git("cat-file", "--batch-check=%(objectsize)", given="".join(f"{blob}\n" for blob in blobs.values()))
    return {path: int(size) for path, size in zip(blobs, sizes.split(), strict=True)}


def with_lfs_filter(paths: list[str]) -> set[str]:
    """The paths that `.gitattributes` gives to Git LFS."""
    words = git("check-attr", "-z", "--stdin", "filter", given="".join(f"{path}\0" for path in paths)).split("\0")
    return {path for path, value in zip(words[0::3], words[2::3], strict=False) if value == "lfs"}


def files_of(place: Path) -> list[str]:
    """The path itself and, if it is a directory, the files in it, relative to the project's root."""
    found = [place, *(path for path in place.rglob("*") if path.is_file())] if place.is_dir() else [place]
    root = Path.cwd()
    return [path.relative_to(root).as_posix() for path in map(root.joinpath, found) if path.is_relative_to(root)]


def mistake(path: object, problem: str, expected: str, fix: str, found: str = "") -> str:
    """The message about what is wrong with a path."""
    shown = f"  found:    {found}\n" if found else ""
    return f"{path} {problem}\n  expected: {expected}\n{shown}  fix:      {fix}"


def mistakes_of_outs(in_dvc: dict[str, Output], tracked: dict[str, int], by_lfs: set[str]) -> Iterator[str]:
    """The outs of DVC that Git or Git LFS also owns, and raw data that nobody owns."""
    for path, out in in_dvc.items():
        if path in by_lfs:
            fix = f"remove that line (`git check-attr filter {path}`), then `git add .gitattributes`"
            expected = "an out of DVC that no line of .gitattributes gives to Git LFS"
            yield mistake(path, "has two owners, DVC and Git LFS", expected, fix)
        elif out.use_cache and path in tracked:
            expected = "an out of DVC in no commit; Git has its hash"
            yield mistake(path, "has two owners, DVC and Git", expected, f"`git rm -r --cached {path}`")
    fix = f"`dvc add {RAW}`" + ", after copying here what the link names" * RAW.is_symlink()
    if files_of(RAW)[1:] and not any(Path(path).is_relative_to(RAW) for path in (*in_dvc, *tracked)):
        yield mistake(RAW, "has no owner: it is in no commit and on no remote", "an out of DVC", fix)


def mistakes_of_git(tracked: dict[str, int], by_lfs: set[str]) -> Iterator[str]:
    """Large files in Git, files that should be pointers of Git LFS but are not, and pointers that should not be."""
    begins_so = git("grep", "--cached", "--text", "--files-with-matches", "-z", "-e", f"^{POINTER}$", may_fail=True)
    pointers = set(begins_so.split("\0"))
    for path, size in tracked.items():
        is_pointer = size <= LONGEST_POINTER and path in pointers
        if path in by_lfs and not is_pointer:
            fix = f"install Git LFS, `git lfs install`, then `git add --renormalize {path}`"
            yield mistake(path, "belongs to Git LFS, but Git holds its bytes", "a pointer", fix)
        elif path not in by_lfs and size > LARGEST:
            fix = f"`git rm --cached {path}`, then `dvc add {path}` (data, models), "
            fix += "or put a documentation picture into docs/images"
            yield mistake(path, "is too large for Git", f"at most {LARGEST / 1e6:.0f} MB", fix, f"{size / 1e6:.1f} MB")
        elif path not in by_lfs and is_pointer:
            fix = "put the file itself there, or name it in .gitattributes"
            yield mistake(path, "is a pointer of Git LFS, but not Git LFS's", "its bytes", fix)


def line_ends_of_windows() -> Iterator[str]:
    """The files here whose line ends differ from those in Git: DVC would hash bytes that no other checkout has."""
    for entry in git("ls-files", "--eol", "-z").split("\0"):
        about, _, path = entry.partition("\t")
        if "w/crlf" in about.split() and "eol=lf" in about.split():
            fix = f"`git add {path} && rm {path} && git restore {path}`"
            yield mistake(path, "has the line ends of Windows here", "those that Git keeps", fix)


def pointers_read_as_data(paths: set[str]) -> Iterator[str]:
    """The pointers of Git LFS that DVC would hash, or a stage would read, in place of the data."""
    for path in map(Path, sorted(paths)):
        if path.is_file() and path.stat().st_size <= LONGEST_POINTER and path.read_bytes().startswith(POINTER.encode()):
            problem = "is a pointer of Git LFS, and DVC would take it for the data"
            yield mistake(path, problem, "its bytes", f"`git lfs pull --include {path}`")


if __name__ == "__main__":
    sys.exit(run(main))
