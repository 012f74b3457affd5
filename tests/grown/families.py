"""Tiny base models of many transformer families, with seeded weights: folders as a hub would give them.

A folder holds `config.json`, `model.safetensors` and `tokenizer.json`. The weights are saved from the class that the
families' known checkpoints are saved from, so that some have a prefix, a head, a decoder, or lack a pooler. They are
drawn wider than for training, norms and biases included, so that a wrong mask or position changes what comes out.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn

LIMIT = 64  # tokens, where positions are learned
VOCABULARY = 600
LETTERS = list("▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'\"()-")
ENDINGS = ("", "", "s", "er", "ly", "ing")
WORDS = (
    "the a an this that every her our some no",
    "film story actor scene book plot song draft ending voice page camera",
    "is was seems feels remains looks became sounded and with of",
    "warm funny tender bright clever moving dull loud hollow clumsy stale tired good bad but short long",
)


def corpus() -> Iterator[str]:
    """Sentences that the tokenizers are trained on; with endings, so that a word is part of other words."""
    draw = random.Random(0)
    for _ in range(800):
        words = " ".join(draw.choice(choices.split()) + draw.choice(ENDINGS) for choices in WORDS)
        yield words.capitalize() + draw.choice(".!?") if draw.random() < 0.5 else words


@dataclass(frozen=True)
class Kind:
    """How a tokenizer splits, its special tokens by id, what it adds to a text, and three roles."""

    splits: str
    special: str
    single: str
    pad: str | None = None
    first: str | None = None
    last: str | None = None


def framed(splits: str, special: str, first: str, last: str, pad: str) -> Kind:
    """A kind that puts a token before and after a text."""
    return Kind(splits, special, f"{first} $A {last}", pad=pad, first=first.partition(":")[0], last=last)


BERT = ("[CLS]", "[SEP]", "[PAD]")
ALBERT = ("[CLS]", "[SEP]", "<pad>")
ROBERTA = ("<s>", "</s>", "<pad>")
LLAMA3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|end_of_text|>")
END = "<|endoftext|>"

KINDS = {
    "bert": framed("wordpiece", "[PAD] [UNK] [CLS] [SEP] [MASK]", *BERT),
    "funnel": framed("wordpiece", "<pad> <unk> <cls> <sep> <mask> <s> </s>", "<cls>:2", "<sep>", "<pad>"),
    "mpnet": framed("wordpiece", "<s> <pad> </s> [UNK] <mask>", *ROBERTA),
    "roberta": framed("bytes", "<s> <pad> </s> <unk> <mask>", *ROBERTA),
    "deberta": framed("bytes", "[PAD] [CLS] [SEP] [UNK] [MASK]", *BERT),
    "modernbert": framed("bytes", "[UNK] [CLS] [SEP] [PAD] [MASK]", *BERT),
    "eurobert": framed("bytes", "<|begin_of_text|> <|end_of_text|> <|mask|>", *LLAMA3),
    "xlm_roberta": framed("unigram", "<s> <pad> </s> <unk> <mask>", *ROBERTA),
    "camembert": framed("unigram", "<s>NOTUSED <pad> </s>NOTUSED <unk> <unk>NOTUSED <s> </s> <mask>", *ROBERTA),
    "albert": framed("unigram", "<pad> <unk> [CLS] [SEP] [MASK]", *ALBERT),
    "big_bird": framed("unigram", "<pad> </s> <s> <unk> [CLS] [SEP] [MASK]", *ALBERT),
    "fnet": framed("unigram", "<unk> <s> </s> <pad> [CLS] [SEP] [MASK]", *ALBERT),
    "deberta_v2": framed("unigram", "[PAD] [CLS] [SEP] [UNK] [MASK]", *BERT),
    "xlm": framed("spaces", "<s> </s> <pad> <unk> <special0> <special1>", "<s>", "</s>", "<pad>"),
    "gemma": framed("spaces", "<pad> <eos> <bos> <unk> <mask>", "<bos>", "<eos>", "<pad>"),
    "xlnet": Kind("unigram", "<unk> <s> </s> <cls> <sep> <pad> <mask>", "$A <sep> <cls>:2", "<pad>", "<s>", "</s>"),
    "t5": Kind("unigram", "<pad> </s> <unk>", "$A </s>", pad="<pad>", last="</s>"),
    "gpt2": Kind("bytes", END, "$A", first=END, last=END),
    "qwen": Kind("bytes", f"{END} <|im_start|> <|im_end|>", f"$A {END}", first=END, last=END),
    "llama": Kind("spaces", "<unk> <s> </s>", "<s> $A", first="<s>", last="</s>"),
}


def untrained(splits: str) -> Tokenizer:
    """A tokenizer without a vocabulary."""
    tokenizer = Tokenizer(models.Unigram() if splits == "unigram" else models.BPE())
    if splits == "wordpiece":
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    elif splits == "bytes":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def train(tokenizer: Tokenizer, splits: str, special: list[str]) -> None:
    """Train a tokenizer, the same one in every run; the trainers of the library do not see to that everywhere."""
    sizes: dict[str, Any] = {"vocab_size": VOCABULARY, "special_tokens": special, "show_progress": False}
    unknown = next((token for token in special if token.lower() in ("<unk>", "[unk]")), None)
    if splits == "unigram":  # the last bits of its scores are not the same in every run
        trainer = trainers.UnigramTrainer(initial_alphabet=LETTERS, unk_token=unknown, **sizes)
        tokenizer.train_from_iterator(corpus(), trainer)
        scored = [(token, round(score, 1)) for token, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
        scored[len(special) :] = sorted(scored[len(special) :], key=lambda pair: (-pair[1], pair[0]))
        tokenizer.model = models.Unigram(scored, unk_id=special.index(unknown))
        return
    alphabet = pre_tokenizers.ByteLevel.alphabet() if splits == "bytes" else LETTERS
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(initial_alphabet=alphabet, **sizes))
    if splits == "spaces":
        tokenizer.model.unk_token = unknown
    if splits == "wordpiece":  # its trainer numbers what follows on a word's start in another order in every run
        pieces = sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)
        pieces += [f"##{piece}" for piece in pieces[len(special) :]]
        tokenizer.model = models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token=unknown)


@cache
def tokenizer_of(kind: str) -> Tokenizer:
    """The trained tokenizer of a kind."""
    made = KINDS[kind]
    special = made.special.split()
    tokenizer = untrained(made.splits)
    train(tokenizer, made.splits, special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=made.single, special_tokens=list(zip(special, range(len(special)), strict=True))
    )
    return tokenizer


@dataclass(frozen=True)
class Family:
    """A model class of transformers, its tokenizer, the tokens its positions allow (None: no limit), its config."""

    model: str
    kind: str
    longest: int | None
    config: dict[str, Any]


def family(model: str, kind: str, longest: int | None = LIMIT, **config: Any) -> Family:
    """A family whose config names its sizes as BERT's does."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    return Family(model, kind, longest, sizes | {"max_position_embeddings": LIMIT} | config)


ROBERTA_LIKE = {"max_position_embeddings": LIMIT + 2, "type_vocab_size": 1}  # positions start after the pad's id, 1
DEBERTA = {"relative_attention": True, "position_biased_input": False, "pos_att_type": ["c2p", "p2c"]}
DEBERTA_V3 = DEBERTA | {"position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True}
ROPE = {"longest": None, "num_key_value_heads": 2, "head_dim": 8}
GEMMA = {"use_bidirectional_attention": True, "query_pre_attn_scalar": 8, "sliding_window": 16} | ROPE
ESM = {"position_embedding_type": "rotary", "token_dropout": True, "mask_token_id": 4}
DISTILBERT = {"dim": 32, "n_layers": 1, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": LIMIT}
ROC_BERT = {"pronunciation_vocab_size": 8, "shape_vocab_size": 8, "pronunciation_embed_dim": 8, "shape_embed_dim": 8}
FNET = {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 64, "max_position_embeddings": LIMIT}
FUNNEL = {"d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64, "block_sizes": [1, 1], "num_decoder_layers": 1}
GPT2 = {"n_positions": LIMIT, "n_embd": 32, "n_layer": 1, "n_head": 4}
T5 = {"decoder_start_token_id": 0, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
XLM = {"emb_dim": 32, "n_layers": 1, "n_heads": 4, "max_position_embeddings": LIMIT, "unk_index": 3, "mask_index": 5}
XLNET = {"d_model": 32, "n_layer": 1, "n_head": 4, "d_inner": 64}
BART = {"d_model": 32, "max_position_embeddings": LIMIT} | {
    f"{side}_{size}": number
    for side in ("encoder", "decoder")
    for size, number in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 64))
}

FAMILIES = {
    "bert": family("BertModel", "bert"),
    "bert_with_head": family("BertForSequenceClassification", "bert"),
    "distilbert": Family("DistilBertForMaskedLM", "bert", LIMIT, DISTILBERT),
    "electra": family("ElectraForPreTraining", "bert", embedding_size=16),
    "convbert": family("ConvBertModel", "bert", embedding_size=16),
    "ernie": family("ErnieModel", "bert", use_task_id=True),
    "megatron_bert": family("MegatronBertForPreTraining", "bert"),
    "mobilebert": family("MobileBertForPreTraining", "bert", embedding_size=16, intra_bottleneck_size=16),
    "nomic_bert": family("NomicBertModel", "bert", None),
    "roc_bert": family("RoCBertModel", "bert", **ROC_BERT),
    "layoutlm": family("LayoutLMModel", "bert"),
    "roformer": family("RoFormerForMaskedLM", "bert"),
    "squeezebert": family("SqueezeBertModel", "bert", embedding_size=32),
    "funnel": Family("FunnelModel", "funnel", None, FUNNEL),
    "mpnet": family("MPNetForMaskedLM", "mpnet", max_position_embeddings=LIMIT + 2),
    "roberta": family("RobertaForMaskedLM", "roberta", **ROBERTA_LIKE),
    "roberta_prelayernorm": family("RobertaPreLayerNormForMaskedLM", "roberta", **ROBERTA_LIKE),
    "data2vec": family("Data2VecTextModel", "roberta", **ROBERTA_LIKE),
    "xmod": family("XmodModel", "xlm_roberta", default_language="en_XX", **ROBERTA_LIKE),
    "xmod_without_language": family("XmodModel", "xlm_roberta", **ROBERTA_LIKE),
    "ibert": family("IBertForMaskedLM", "roberta", **ROBERTA_LIKE),
    "longformer": family("LongformerForMaskedLM", "roberta", attention_window=[8], **ROBERTA_LIKE),
    "luke": family("LukeModel", "roberta", entity_vocab_size=8, entity_emb_size=16, **ROBERTA_LIKE),
    "mra": family("MraModel", "roberta", **ROBERTA_LIKE),
    "markuplm": family("MarkupLMModel", "roberta", **ROBERTA_LIKE),
    "esm": family("EsmForMaskedLM", "roberta", None, **ESM),
    "xlm_roberta": family("XLMRobertaForMaskedLM", "xlm_roberta", **ROBERTA_LIKE),
    "xlm_roberta_xl": family("XLMRobertaXLForMaskedLM", "xlm_roberta", **ROBERTA_LIKE),
    "camembert": family("CamembertForMaskedLM", "camembert", **ROBERTA_LIKE),
    "jina_v3": family("JinaEmbeddingsV3Model", "xlm_roberta", None),
    "gte": family("GteModel", "xlm_roberta", None),
    "albert": family("AlbertForMaskedLM", "albert", embedding_size=16),
    "rembert": family("RemBertModel", "albert", input_embedding_size=16, output_embedding_size=24),
    "nystromformer": family("NystromformerForMaskedLM", "albert"),
    "yoso": family("YosoModel", "albert"),
    "big_bird": family("BigBirdForPreTraining", "big_bird", block_size=4, num_random_blocks=1),
    "fnet": Family("FNetForPreTraining", "fnet", LIMIT, FNET),
    "deberta": family("DebertaForMaskedLM", "deberta", None, **DEBERTA),
    "deberta_v2": family("DebertaV2ForMaskedLM", "deberta_v2", None, **DEBERTA_V3),
    "xlnet": Family("XLNetLMHeadModel", "xlnet", None, XLNET),
    "xlm": Family("XLMWithLMHeadModel", "xlm", LIMIT, XLM),
    "flaubert": Family("FlaubertWithLMHeadModel", "xlm", LIMIT, XLM),
    "modernbert": family("ModernBertForMaskedLM", "modernbert", None, local_attention=16),
    "modernbert_decoder": family("ModernBertDecoderForCausalLM", "modernbert", None, local_attention=16),
    "eurobert": family("EuroBertForMaskedLM", "eurobert", mask_token_id=2, **ROPE),
    "embedding_gemma": family(
        "Gemma3TextModel", "gemma", num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"], **GEMMA
    ),
    "t5": Family("T5ForConditionalGeneration", "t5", None, T5),
    "mt5": Family("MT5ForConditionalGeneration", "t5", None, T5),
    "umt5": Family("UMT5ForConditionalGeneration", "t5", None, T5),
    "bart": Family("BartModel", "roberta", LIMIT, BART),
    "gpt2": Family("GPT2LMHeadModel", "gpt2", LIMIT, GPT2),
    "opt": family("OPTForCausalLM", "roberta", ffn_dim=64),
    "gpt_neox": family("GPTNeoXForCausalLM", "gpt2", None),
    "llama": family("LlamaForCausalLM", "llama", **ROPE),
    "mistral": family("MistralForCausalLM", "llama", sliding_window=16, **ROPE),
    "mixtral": family("MixtralForCausalLM", "llama", num_local_experts=2, num_experts_per_tok=1, **ROPE),
    "qwen2": family("Qwen2ForCausalLM", "qwen", None, num_key_value_heads=2),
    "qwen3": family("Qwen3ForCausalLM", "qwen", **ROPE),
}


def config_of(made: Family) -> transformers.PreTrainedConfig:
    """The config of a family, which names the tokens that its tokenizer has for padding, start and end."""
    tokenizer, kind = tokenizer_of(made.kind), KINDS[made.kind]
    roles: dict[str, Any] = {
        f"{role}_token_id": tokenizer.token_to_id(token) if token else None
        for role, token in (("pad", kind.pad), ("bos", kind.first), ("eos", kind.last))
    }
    if made.kind == "modernbert":
        roles |= {"cls_token_id": roles["bos_token_id"], "sep_token_id": roles["eos_token_id"]}
    config = getattr(transformers, made.model).config_class
    return config(vocab_size=tokenizer.get_vocab_size(), **roles, **made.config)


@torch.no_grad()
def draw_weights(model: nn.Module) -> None:
    """Draw every weight from seeded numbers; those of norms around 1."""
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            weight.normal_(0, 0.2)
        else:
            weight.normal_(float(name.endswith("weight")), 0.1)


def write_family(name: str, directory: Path) -> None:
    """Write the base model of a family into a new directory."""
    made = FAMILIES[name]
    model = getattr(transformers, made.model)(config_of(made))
    draw_weights(model)
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    tokenizer_of(made.kind).save(str(directory / "tokenizer.json"))
