"""Pin what `fetch` takes (`make pin`): write the hub's commits and the files' sha256 into params.yaml.

For a base model it also lists the files anew if a listed file has no digest or does not exist (where the store lists
files, as most web servers do not), and takes the pooling and the text prefix from the model's own sentence-transformers
files. Review the difference before you commit it: from then on these files are trusted.
"""

import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from {{ cookiecutter.package_name }}.common.io import read_json, sha256_of
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.paths import PARAMS
from {{ cookiecutter.package_name }}.sources.addresses import download, files_below
from {{ cookiecutter.package_name }}.sources.base_model import CONFIG, TOKENIZER
from {{ cookiecutter.package_name }}.sources.hub import pinned
from tools.shared import edited, run

# In order of preference.
WEIGHTS = (
    r"model\.safetensors",
    r"model-\d+-of-\d+\.safetensors|model\.safetensors\.index\.json",
    r"pytorch_model\.bin",
    r"pytorch_model-\d+-of-\d+\.bin|pytorch_model\.bin\.index\.json",
)
VOCABULARY = r"vocab\.(txt|json)|merges\.txt|(spiece|spm|sentencepiece\.bpe|tokenizer)\.model"
BESIDE_VOCABULARY = r"(tokenizer_config|special_tokens_map|added_tokens)\.json"
POOLING, PROMPTS = "1_Pooling/config.json", "config_sentence_transformers.json"
MODULES, OUR_MODULES = "modules.json", ("Transformer", "Pooling", "Normalize")
OUR_POOLING = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
MISSING = "no such file|may not do this"  # S3 says the latter of a missing file, unless it may be listed


def main() -> None:
    """Pin `fetch.data` and `fetch.model` in params.yaml, with its comments and order unchanged."""
    with edited(PARAMS) as params:
        for source in params["fetch"].values():
            if source["uri"].startswith("hf://"):
                source["uri"] = pinned(source["uri"])
            before = dict(source["sha256"])
            there = files_below(source["uri"]) if source["into"] == "models/base" else None
            if there is not None and not (all(before.values()) and before.keys() <= {*there}):
                source["sha256"] = instead_of(source["sha256"], files_of_model(source["uri"], there))
            for name in source["sha256"]:
                source["sha256"][name] = with_copy_of(f"{source['uri']}/{name}", sha256_of)
                print(f"{source['uri']}/{name}\n  {source['sha256'][name]}")
            if source["sha256"] != before and source["into"] == "models/base":
                take_over(params["text"], source["uri"], there)


def files_of_model(uri: str, there: list[str]) -> list[str]:
    """The files that a model needs, in the form nearest to the one that `fetch` writes."""

    def like(form: str) -> list[str]:
        return [name for name in there if re.fullmatch(form, name)]

    weights = next(filter(None, map(like, WEIGHTS)), [])
    vocabulary = like(VOCABULARY)
    tokenizer = [TOKENIZER] if TOKENIZER in there else vocabulary and vocabulary + like(BESIDE_VOCABULARY)
    if CONFIG not in there or not weights or not tokenizer:
        raise UserError(
            f"{uri} holds no base model that can be used",
            expected=f"{CONFIG}; model.safetensors or pytorch_model.bin, or shards; {TOKENIZER} or a known vocabulary",
            found=", ".join(sorted(there)[:12]) or "nothing",
            fix="correct `uri` below fetch.model in params.yaml, or choose another model",
        )
    return sorted([CONFIG, *weights, *tokenizer])


def instead_of(old: CommentedMap, names: list[str]) -> CommentedMap:
    """A list of files without digests. What follows the old list in params.yaml (an empty line) follows this one."""
    new = CommentedMap(dict.fromkeys(names))
    if [*old][-1] in old.ca.items:
        new.ca.items[names[-1]] = old.ca.items[[*old][-1]]
    return new


def take_over(text: CommentedMap, uri: str, there: list[str] | None) -> None:
    """Set `text.pooling` and `text.prefix` to those of the model, if its files name them. there: None if unknown."""
    read = {name: file for name in (PROMPTS, POOLING, MODULES) if (file := file_of(uri, name, there)) is not None}
    found, prompts = {}, read.get(PROMPTS, {}).get("prompts") or {}
    if prefix := prompts.get(read.get(PROMPTS, {}).get("default_prompt_name")):
        found["prefix"] = prefix
    if POOLING in read:
        found["pooling"] = pooling_of(read[POOLING], bool(found))
    for key in sorted({"pooling", "prefix"} - found.keys()):
        others = f", or one of its prompts: {prompts}" if prompts and key == "prefix" else ""
        print(f"the model's files name no text.{key}: it stays {text[key]!r}; see whether that fits this model{others}")
    for kind in [module["type"].rpartition(".")[2] for module in read.get(MODULES, [])]:
        if kind not in OUR_MODULES:
            print(f"the model's module {kind} is left out, so its vectors are not those of its page")
    text.update(found)
    if found:
        print(f"as the model says, {' and '.join(f'text.{key} is now {found[key]!r}' for key in sorted(found))}")


def file_of(uri: str, name: str, there: list[str] | None) -> Any:
    """What a JSON file of the model holds, None if the model has no such file. there: None if unknown."""
    if there is not None and name not in there:
        return None
    try:
        return with_copy_of(f"{uri}/{name}", read_json)
    except (UserError, ValueError) as error:  # ValueError: a page instead of the file
        if there or (isinstance(error, UserError) and not re.search(MISSING, str(error))):
            raise
        return None


def pooling_of(config: dict[str, Any], has_prefix: bool) -> str:
    """How a sentence-transformers model pools, as `text.pooling` names it. Raises UserError for any other pooling."""
    chosen = (re.fullmatch("pooling_mode_(.+?)(_tokens?)?", key) for key in config if config[key] is True)
    modes = [match[1] for match in chosen if match]
    if named := config.get("pooling_mode"):
        modes = [named] if isinstance(named, str) else named
    if has_prefix and not config.get("include_prompt", True):
        modes = [f"{mode} without the prefix" for mode in modes]
    if len(modes) != 1 or modes[0] not in OUR_POOLING:
        raise UserError(
            "the base model pools in a way that text.pooling does not have",
            expected=f"one of {', '.join(OUR_POOLING)} in {POOLING}",
            found=" and ".join(modes) or "none",
            fix="choose another model under fetch.model in params.yaml",
        )
    return OUR_POOLING[modes[0]]


def with_copy_of(address: str, read: Callable[[Path], Any]) -> Any:
    """What the function `read` returns for a copy of the file at the address."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "file"
        download(address, copy)
        return read(copy)


if __name__ == "__main__":
    sys.exit(run(main))
