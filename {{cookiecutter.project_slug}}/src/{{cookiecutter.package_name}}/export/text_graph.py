"""One ONNX file from text to probabilities: the tokenizer inside the graph, for callers in any language.

BERT's tokenizer treats a text character by character before it looks words up in the vocabulary: it drops control
characters, strips accents, lower-cases, and sets punctuation apart. The operators of onnxruntime-extensions do the same
by rules of their own, which differ in many scripts. So those steps are not described again here: the tokenizer itself,
and `cleaning.clean` before it, are asked once for every character, and the answers become a table inside the graph.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import InferenceSession
from onnxruntime_extensions import get_library_path
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from ..config import Task
from ..errors import UserError
from ..inference.classifier import open_session
from ..text.cleaning import clean
from ..text.tokenization import encode, load_tokenizer

TEXT_MODEL = "model.text.onnx"

# WordpieceTokenizer keeps the pieces before one that the vocabulary lacks, where the tokenizer makes the whole word
# unknown; so words are told apart by marks, and of a failed one only the unknown token stays.
# Padding is id 0, as in `tokens.pad`.
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
    places = Range (minus_one, after_longest, one)
    start = Unsqueeze (starts, axis)
    length = Unsqueeze (lengths, axis)
    wanted = Add (start, places)
    count = Size (ids)
    index = Clip (wanted, zero, count)
    ids_and_padding = Concat <axis = 0> (ids, padding)
    id = Gather (ids_and_padding, index)

    is_first = Less (places, zero)
    is_inside = Less (places, length)
    is_last = Equal (places, length)
    last_or_padding = Where (is_last, last, zero)
    without_first = Where (is_inside, id, last_or_padding)
    input_ids = Where (is_first, first, without_first)
    is_real = LessOrEqual (places, length)
    attention_mask = Cast <to = 7> (is_real)
}
"""
# The tokenizer drops both from texts. The first stands for any character that the vocabulary lacks.
UNKNOWN, MARK = "\ufffd", "\ue000"
# Every plane that holds characters; the last two are private.
CHARACTERS = (range(0xD800), range(0xE000, 0x40000), range(0xE0000, 0xE1000))

KINDS = {
    "plain": ["A warm, funny film.", "it's so-so -- at best"],
    "empty": [""],
    "white space": [" ", "a\u00a0b\u3000c \t d  e\u2003f"],
    "line ends": ["a\r\nb\nc\u2028d\u0085e"],
    "punctuation": ["“Wow” – it’s… «good», 100 % #1 @you $5 €5 a/b_c ^~`|¿¡§"],
    "accents": ["Amélie Łódź Škoda naïve", "tiếng Việt", "ångström ÆØ"],
    "combining accents": ["Ame\u0301lie nai\u0308ve", "x\u0323\u0302"],
    "ligatures and fractions": ["ﬁlm Ⅷ ½ ㎏ Ǆ ™", "straße STRAẞE"],
    "Turkish dotted I": ["İstanbul ılık"],
    "Greek and Cyrillic": ["ΤΑΙΝΊΑ ταινίας", "Хороший ёлка"],
    "Hebrew and Arabic": ["סֶרֶט", "فيلمٌ جميل"],
    "Devanagari and Thai": ["फ़िल्म अच्छी", "สวัสดีครับ"],
    "CJK": ["日本語の映画がいい", "中国電影", "ｶﾞ ゛Ａ", "豈 𠀀"],
    "Hangul": ["한국어 영화", "\u1112\u1161\u11ab"],
    "emoji": ["😀 good👍🏽!", "🇩🇪 ❤️"],
    "zero-width joiner": ["👩\u200d👩\u200d👧", "na\u200dme"],
    "zero-width space": ["na\u200bme \ufeffa\u00adb"],
    "NUL": ["a\x00b", "\x00"],
    "control characters": ["a\x07b \x1b[0m c\x7fd"],
    "mangled Windows characters": ["\x93quoted\x94 it\x92s \x85"],
    "special tokens": ["a [MASK] b[SEP]c", "[CLS] [PAD] [UNK] [mask]"],
    "unknown characters in words": ["warmↀfilm", "abꙮ", "ꙮab cd"],
    "replacement character": ["a\ufffdb", "\ufffd"],
    "private use": ["a\ue000b \U000f0000c"],
    "unassigned": ["a\u0378b \U0003fffd"],
    "very long words": ["a" * 100, "a" * 101, "ab-" * 200],
    "longer than the limit": ["a warm and funny film " * 400],
}


def with_tokenizer(graph: onnx.ModelProto, tokenizer: Path, max_length: int, task: Task) -> onnx.ModelProto:
    """The graph behind its tokenizer: `text` (batch, string) to `probabilities` and `logits` (batch x labels).

    graph: `input_ids` and `attention_mask` to `logits`. Texts need no cleaning before; those of a batch are padded to
    its longest, and one batch holds at least one text. The file needs the operators of onnxruntime-extensions.
    Raises UserError when the tokenizer is not BERT's.
    """
    front = onnx.compose.add_prefix(
        tokenizing(load_tokenizer(tokenizer, max_length), max_length), "tokenizer/", rename_inputs=False
    )
    versions = {opset.domain: opset.version for opset in graph.opset_import}
    for opset in front.opset_import:
        opset.version = versions.get(opset.domain, opset.version)
    front.ir_version = graph.ir_version
    whole = onnx.compose.merge_models(
        front, graph, [(f"tokenizer/{name}", name) for name in ("input_ids", "attention_mask")]
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
    """Refuse what the graph cannot do."""
    parts = (tokenizer.model, tokenizer.normalizer, tokenizer.pre_tokenizer)
    kinds = (models.WordPiece, normalizers.BertNormalizer, pre_tokenizers.BertPreTokenizer)
    if not all(map(isinstance, parts, kinds)) or len(tokenizer.encode("").ids) != 2:
        raise UserError(
            "this tokenizer cannot be put into the graph",
            expected="the tokenizer of BERT: WordPiece, with one token before the text and one after it",
            found=", ".join(type(part).__name__ for part in parts),
            fix="set export_onnx.text_graph: false",
        )


def character_table(tokenizer: Tokenizer) -> dict[str, str]:
    """What cleaning and the tokenizer make of each character, with spaces around what stands alone.

    Left out are those that become one character that the vocabulary lacks: nothing can be told of them.
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


def open_text_session(graph: Path | bytes, threads: int | None = None) -> InferenceSession:
    """A session that knows the operators of the tokenizer; threads: None for all cores."""
    return open_session(graph, threads, operators=get_library_path())


def run_over_texts(session: InferenceSession, texts: Sequence[str]) -> np.ndarray:
    """Logits of every text, rows x labels, float32, in the order given."""
    batches = [np.array(texts[start : start + 32], dtype=object) for start in range(0, len(texts), 32)]
    return np.concatenate([np.asarray(session.run(["logits"], {"text": batch})[0]) for batch in batches])


def tokenized_otherwise(tokenizer: Path, max_length: int) -> dict[str, bool]:
    """For every kind of text, whether the graph makes other tokens of it than `predict` does."""
    ours = load_tokenizer(tokenizer, max_length)
    session = open_text_session(tokenizing(ours, max_length).SerializeToString())
    return {
        kind: [tokens_of(session, [text])[0] for text in texts] != encode(ours, [clean(text) for text in texts])
        for kind, texts in KINDS.items()
    }


def tokens_of(session: InferenceSession, texts: Sequence[str]) -> list[list[int]]:
    """The token ids that a tokenizing graph makes of a batch of texts."""
    ids, mask = (np.asarray(value) for value in session.run(None, {"text": np.array(texts, dtype=object)}))
    return [row[real == 1].tolist() for row, real in zip(ids, mask, strict=True)]
