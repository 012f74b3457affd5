"""BERT's tokenizer as an ONNX graph, and a model behind it: from text to probabilities in one file.

Before BERT's tokenizer looks words up in its vocabulary, it works character by character: it drops control characters,
strips accents, lower-cases, and puts spaces around punctuation. The operators of onnxruntime-extensions follow other
rules for many scripts. So the graph holds a table from character to text, filled by `cleaning.clean` and the tokenizer
itself.
"""

import json
import re

import numpy as np
import onnx
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from {{ cookiecutter.package_name }}.config import Task
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.text.cleaning import clean

# WordpieceTokenizer keeps the pieces before one that the vocabulary lacks; the tokenizer replaces the whole word by the
# unknown token. So marks separate the words, and of a word with an unknown piece only that token is kept.
# Padding is id 0, as in `tokenization.pad`.
GRAPH = """
<ir_version: 10, opset_import: ["": 18, "ai.onnx.ml": 4, "ai.onnx.contrib": 1, "com.microsoft": 1]>
tokenizing (string[batch] text) => (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask)
<string[batch, characters] characters, string[pieces] pieces> {
    characters = com.microsoft.Tokenizer <mark = 0, mincharnum = 1, pad_value = " "> (text)
    cleaned = ai.onnx.ml.LabelEncoder (characters)
    words = ai.onnx.contrib.StringJoin (cleaned, nothing, axis)
    marked = ai.onnx.contrib.StringRegexReplace (words, end_of_word, mark)
    pieces, _, first_piece, after_pieces = ai.onnx.contrib.WordpieceTokenizer (marked, no_rows)
    all_ids = ai.onnx.ml.LabelEncoder (pieces)

    is_mark = Less (all_ids, zero)
    marks = Cast <to = 7> (is_mark)
    word = CumSum <exclusive = 1> (marks, zero)
    is_unknown = Equal (all_ids, unknown)
    unknowns = Cast <to = 7> (is_unknown)
    no_word = Mul (all_ids, zero)
    failed_words = ScatterElements <axis = 0, reduction = "max"> (no_word, word, unknowns)
    failed = Gather (failed_words, word)
    is_good = Equal (failed, zero)
    is_good_or_unknown = Or (is_good, is_unknown)
    is_piece = Not (is_mark)
    is_kept = And (is_good_or_unknown, is_piece)
    ids = Compress (all_ids, is_kept)
    kept = Cast <to = 7> (is_kept)
    kept_until = CumSum (kept, zero)
    kept_before = Concat <axis = 0> (padding, kept_until)
    starts = Gather (kept_before, first_piece)
    ends = Gather (kept_before, after_pieces)

    all_lengths = Sub (ends, starts)
    lengths = Min (all_lengths, most)
    longest = ReduceMax <keepdims = 0> (lengths)
    after_longest = Add (longest, one)
    positions = Range (minus_one, after_longest, one)
    start = Unsqueeze (starts, axis)
    length = Unsqueeze (lengths, axis)
    wanted = Add (start, positions)
    count = Size (ids)
    index = Clip (wanted, zero, count)
    ids_and_padding = Concat <axis = 0> (ids, padding)
    id = Gather (ids_and_padding, index)

    is_first = Less (positions, zero)
    is_inside = Less (positions, length)
    is_last = Equal (positions, length)
    last_or_padding = Where (is_last, last, zero)
    without_first = Where (is_inside, id, last_or_padding)
    input_ids = Where (is_first, first, without_first)
    is_real = LessOrEqual (positions, length)
    attention_mask = Cast <to = 7> (is_real)
}
"""
# The tokenizer drops both from texts. UNKNOWN stands for any character that the vocabulary lacks.
UNKNOWN, MARK = "\ufffd", "\ue000"
# Every plane that holds characters; the last two are private.
CHARACTERS = (range(0xD800), range(0xE000, 0x40000), range(0xE0000, 0xE1000))


def with_tokenizer(model: onnx.ModelProto, tokenizer: Tokenizer, max_length: int, task: Task) -> onnx.ModelProto:
    """The model behind its tokenizer: `text` (batch, string) to `probabilities` and `logits` (batch x labels, float32).

    model: from `input_ids` and `attention_mask` to `logits`. Texts need no cleaning; a batch holds at least one, padded
    to its longest. Sessions need the operators of onnxruntime-extensions. Raises UserError when the tokenizer is not
    BERT's.
    """
    front = onnx.compose.add_prefix(tokenizing(tokenizer, max_length), "tokenizer/", rename_inputs=False)
    versions = {opset.domain: opset.version for opset in model.opset_import}
    for opset in front.opset_import:
        opset.version = versions.get(opset.domain, opset.version)
    front.ir_version = model.ir_version
    whole = onnx.compose.merge_models(
        front, model, [(f"tokenizer/{name}", name) for name in ("input_ids", "attention_mask")]
    )
    whole.producer_name = ""
    whole.graph.name = "text_classifier"
    sigmoid = onnx.helper.make_node("Sigmoid", ["logits"], ["probabilities"])
    softmax = onnx.helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1)
    whole.graph.node.append(sigmoid if task == "multi_label" else softmax)
    probabilities = onnx.ValueInfoProto()
    probabilities.CopyFrom(whole.graph.output[0])
    probabilities.name = "probabilities"
    whole.graph.output.insert(0, probabilities)
    onnx.checker.check_model(whole)
    return whole


def tokenizing(tokenizer: Tokenizer, max_length: int) -> onnx.ModelProto:
    """A graph from `text` to `input_ids` and `attention_mask`. Raises UserError when the tokenizer is not BERT's."""
    check(tokenizer)
    wordpiece = tokenizer.model
    vocabulary = dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
    added = sorted((token.content for token in tokenizer.get_added_tokens_decoder().values()), key=len, reverse=True)
    table = character_table(tokenizer) | {token: f" {token} " for token in added}
    first, last = tokenizer.encode("").ids
    model = onnx.parser.parse_model(GRAPH)
    constants = {
        "nothing": np.array("", dtype=object),
        "axis": np.array([1]),
        "end_of_word": np.array([" |$"], dtype=object),
        "mark": np.array([f" {MARK} "], dtype=object),
        "unknown": np.array(vocabulary[wordpiece.unk_token]),
        "no_rows": np.array([], dtype=np.int64),
        "padding": np.array([0]),
        "most": np.array(max_length - 2),
        "zero": np.array(0),
        "one": np.array(1),
        "minus_one": np.array(-1),
        "first": np.array(first),
        "last": np.array(last),
    }
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    # An added token is found in the text as it stands; characters for private use are dropped.
    set_attributes(model, "characters", tokenexp="|".join([*map(re.escape, added), r"\P{Co}"]))
    set_attributes(model, "cleaned", keys_strings=[*table], values_strings=[*table.values()], default_string=UNKNOWN)
    set_attributes(
        model,
        "pieces",
        vocab=json.dumps(vocabulary | {MARK: len(vocabulary)}, ensure_ascii=False),
        suffix_indicator=wordpiece.continuing_subword_prefix,
        unknown_token=wordpiece.unk_token,
        max_input_chars_per_word=wordpiece.max_input_chars_per_word,
    )
    set_attributes(model, "all_ids", keys_strings=[*vocabulary], values_int64s=[*vocabulary.values()], default_int64=-1)
    return model


def check(tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that the graph cannot reproduce."""
    parts = (tokenizer.model, tokenizer.normalizer, tokenizer.pre_tokenizer)
    kinds = (models.WordPiece, normalizers.BertNormalizer, pre_tokenizers.BertPreTokenizer)
    if not all(map(isinstance, parts, kinds)) or len(tokenizer.encode("").ids) != 2:
        raise UserError(
            "this tokenizer cannot become a graph",
            expected="BERT's tokenizer: WordPiece, with one token before the text and one after it",
            found=", ".join(type(part).__name__ for part in parts),
            fix="ship models/onnx as it is: its callers tokenize, as `predict` does",
        )


def character_table(tokenizer: Tokenizer) -> dict[str, str]:
    """The text that cleaning and the tokenizer make of each character, with spaces around a word of its own.

    Without the characters that become a single one outside the vocabulary: they are unknown in any word.
    """
    known = set("".join(tokenizer.get_vocab())) | {" "}
    table = {}
    for character in (chr(code) for codes in CHARACTERS for code in codes):
        # Nothing composes with a digit, and a digit is no punctuation.
        text = tokenizer.normalizer.normalize_str(clean(f"0{character}0"))
        became = " ".join(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))[1:-1]
        if len(became) != 1 or became in known:
            table[character] = became
    return table


def set_attributes(model: onnx.ModelProto, output: str, **attributes: object) -> None:
    """Add attributes to the node with this output."""
    node = next(node for node in model.graph.node if output in node.output)
    node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in attributes.items())
