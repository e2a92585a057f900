"""The configuration of a transformer for texts: which architectures and keys there are, and nothing else.

The configuration comes from a stranger's folder. transformers takes any key, and some name other models,
files or code; so only the numbers and words below reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trine.errors import ModelError, nearest

LARGEST = 2**24
ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh")
PRECISIONS = ("float32", "float16", "bfloat16")

Check = Callable[[Any], bool]


def _size(value: Any) -> bool:
    return type(value) is int and 1 <= value <= LARGEST


def _layers(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 1000


def _number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _token(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value < LARGEST)


def _activation(value: Any) -> bool:
    return isinstance(value, str) and value in ACTIVATIONS


def _precision(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value in PRECISIONS)


def _checked(check: Check, *keys: str) -> dict[str, Check]:
    return dict.fromkeys(keys, check)


_BERT: dict[str, Check] = {
    **_checked(_size, "vocab_size", "hidden_size", "intermediate_size", "max_position_embeddings"),
    **_checked(_size, "type_vocab_size"),
    **_checked(_layers, "num_hidden_layers", "num_attention_heads"),
    **_checked(_number, "hidden_dropout_prob", "attention_probs_dropout_prob"),
    **_checked(_number, "initializer_range", "layer_norm_eps"),
    **_checked(_activation, "hidden_act"),
    **_checked(_token, "pad_token_id"),
    **_checked(_precision, "dtype", "torch_dtype"),
}
_DISTILBERT: dict[str, Check] = {
    **_checked(_size, "vocab_size", "max_position_embeddings", "dim", "hidden_dim"),
    **_checked(_layers, "n_layers", "n_heads"),
    **_checked(_number, "dropout", "attention_dropout", "initializer_range"),
    **_checked(_activation, "activation"),
    **_checked(lambda value: isinstance(value, bool), "sinusoidal_pos_embds"),
    **{key: _BERT[key] for key in ("pad_token_id", "dtype", "torch_dtype")},
}
_ALBERT = {
    **_BERT,
    "embedding_size": _size,
    "num_hidden_groups": _layers,
    "inner_group_num": _layers,
    "classifier_dropout_prob": _number,
}
_MPNET = {**_BERT, "relative_attention_num_buckets": _size}
ARCHITECTURES: dict[str, dict[str, Check]] = {
    "albert": _ALBERT,
    "bert": _BERT,
    "camembert": _BERT,
    "distilbert": _DISTILBERT,
    "electra": {**_BERT, "embedding_size": _size},
    "mpnet": {key: check for key, check in _MPNET.items() if key != "type_vocab_size"},
    "roberta": _BERT,
    "xlm-roberta": _BERT,
}
"""The keys of each architecture that decide what it computes, and which values they may have."""

AFTER_PADDING = ("camembert", "mpnet", "roberta", "xlm-roberta")
"""Architectures that count positions from the one after the padding token."""

FIXED: dict[str, tuple[Any, ...]] = {
    "add_cross_attention": (False,),
    "chunk_size_feed_forward": (0,),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "output_attentions": (False,),
    "output_hidden_states": (False,),
    "position_embedding_type": ("absolute",),
    "pruned_heads": ({},),
    "return_dict": (True,),
    "torchscript": (False,),
    "use_bfloat16": (False,),
}
"""Keys that may be there with the value they have by default."""

WITHOUT_EFFECT = {
    *("_name_or_path", "_num_labels", "architectures", "bos_token_id", "classifier_dropout", "cls_token_id"),
    *("decoder_start_token_id", "directionality", "down_scale_factor", "eos_token_id", "finetuning_task"),
    *("gap_size", "gradient_checkpointing", "id2label", "label2id", "language", "model_type", "name"),
    *("net_structure_type", "num_labels", "num_memory_blocks", "output_past", "pooler_fc_size"),
    *("pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type"),
    *("prefix", "problem_type", "qa_dropout", "sep_token_id", "seq_classif_dropout", "summary_activation"),
    *("summary_last_dropout", "summary_type", "summary_use_proj", "task_specific_params", "tie_weights_"),
    *(
        "tie_word_embeddings",
        "tokenizer_class",
        "transformers_version",
        "use_cache",
        "task",
        "position_biased",
    ),
}
"""Keys that change nothing about the states of a text; they are left out."""


def known_config(config: Any, *, source: str) -> dict[str, Any]:
    """Returns the part of a configuration that decides what a transformer computes.

    Args:
        config: The parsed config.json of a stranger.
        source: Its name in errors.

    Returns:
        `model_type`, one of `ARCHITECTURES`, and checked values of its keys.

    Raises:
        ModelError: The architecture or a key is not among the known ones, or a value is not allowed.

    Example:
        >>> known_config({"model_type": "bert", "hidden_size": 384, "use_cache": True}, source="config.json")
        {'model_type': 'bert', 'hidden_size': 384}
        >>> known_config({"model_type": "bert", "auto_map": {"AutoModel": "a/b--c.D"}}, source="config.json")
        Traceback (most recent call last):
        trine.errors.ModelError: config.json has the key 'auto_map', which is not one that trine reads for \
bert; choose another sentence encoder
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("model_type"), str):
        raise ModelError(f"{source} has no model_type, so the network cannot be built")
    architecture = config["model_type"]
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"{source} has the model_type {architecture[:40]!r}, which is not supported; "
            f"{nearest(architecture, ARCHITECTURES)}"
        )
    keys, kept = ARCHITECTURES[architecture], {"model_type": architecture}
    for key, value in config.items():
        if key in keys:
            if not keys[key](value):
                raise ModelError(
                    f"{source} has {str(value)[:40]!r} for {key}, which is out of range; choose another "
                    "sentence encoder"
                )
            kept[key] = value
        elif key in FIXED and value not in FIXED[key]:
            raise ModelError(
                f"{source} has {str(value)[:40]!r} for {key}, and only {FIXED[key][0]!r} is supported; "
                "choose another sentence encoder"
            )
        elif key not in FIXED and key not in WITHOUT_EFFECT:
            raise ModelError(
                f"{source} has the key {key[:40]!r}, which is not one that trine reads for {architecture}; "
                "choose another sentence encoder"
            )
    return kept


def width_of(config: Mapping[str, Any]) -> int:
    """The length of the states of a transformer."""
    key = "dim" if config["model_type"] == "distilbert" else "hidden_size"
    return int(config.get(key, 768))


def longest_text(config: Mapping[str, Any]) -> int:
    """The most tokens that a transformer has positions for."""
    positions = int(config.get("max_position_embeddings", 512))
    if config["model_type"] not in AFTER_PADDING:
        return positions
    padding = config.get("pad_token_id", 1)
    return max(1, positions - 1 - int(padding or 0))
