"""Convert a tokenizer.json to llama.cpp's vocabulary: byte-level BPE, or BPE over pieces with ▁."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gguf import GGUFValueType, TokenType

from imp_data.errors import UserError
from imp_data.mobile.gguf.chat_template import read_optional_json
from imp_data.mobile.gguf.gguf_file import Metadata
from imp_data.storage.json_files import read_json_object

_SAVE_AGAIN = "save the tokenizer beside the model"
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Tokens without which llama.cpp does not load a model with "phi-3" in its name.
_PHI3_TOKENS = ("</s>", "<unk>", "<s>", "<|endoftext|>")


class Vocabulary(NamedTuple):
    """Tokens by id, padded to the rows of the embedding, and the rules of tokenization."""

    model: str
    pre: str
    tokens: list[str]
    types: list[TokenType]
    scores: list[float] | None
    merges: list[str]
    special: dict[str, int]
    add_bos: bool
    add_space: bool
    strips_right: bool

    def metadata(self, chat_template: str) -> Metadata:
        """Return the tokenizer.* keys."""
        string, number = GGUFValueType.STRING, GGUFValueType.UINT32
        found: dict[str, Any] = {
            "tokenizer.ggml.model": (self.model, string),
            "tokenizer.ggml.pre": (self.pre, string),
            "tokenizer.ggml.tokens": (self.tokens, GGUFValueType.ARRAY, string),
            "tokenizer.ggml.token_type": (self.types, GGUFValueType.ARRAY, GGUFValueType.INT32),
        }
        if self.scores is not None:
            scores = (self.scores, GGUFValueType.ARRAY, GGUFValueType.FLOAT32)
            found["tokenizer.ggml.scores"] = scores
            found["tokenizer.ggml.add_space_prefix"] = (self.add_space, GGUFValueType.BOOL)
        else:
            found["tokenizer.ggml.merges"] = (self.merges, GGUFValueType.ARRAY, string)
        for role, token in self.special.items():
            found[f"tokenizer.ggml.{role}_token_id"] = (token, number)
        found["tokenizer.ggml.add_bos_token"] = (self.add_bos, GGUFValueType.BOOL)
        found["tokenizer.chat_template"] = (chat_template, string)
        return found


def load_vocabulary(folder: Path, rows: int) -> Vocabulary:
    """Return the vocabulary of the folder's tokenizer, padded to `rows` tokens.

    Raise UserError if llama.cpp would tokenize differently.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise UserError(path, "does not exist", _SAVE_AGAIN)
    found = read_json_object(path, _SAVE_AGAIN)
    try:
        return _vocabulary(path, found, _settings(folder), rows)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        problem = f"is not a tokenizer in the format of the library tokenizers ({error!r})"
        raise UserError(path, problem, _SAVE_AGAIN) from error


def _vocabulary(
    path: Path, found: dict[str, Any], settings: dict[str, Any], rows: int
) -> Vocabulary:
    model, added = found["model"], found.get("added_tokens") or []
    if model.get("type") != "BPE":
        raise _unsupported(path, f"model {model.get('type')!r}")
    pieces = bool(model.get("byte_fallback"))
    ids = {**model["vocab"], **{token["content"]: token["id"] for token in added}}
    if max(ids.values()) >= rows:
        problem = f"has ids up to {max(ids.values())}, but the embedding has {rows} rows"
        raise UserError(path, problem, "save the tokenizer that the model was trained with")
    tokens, types = _tokens(ids, added, rows, model.get("unk_token") if pieces else None)
    special = dict(_special(settings, ids))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return Vocabulary(
        model="llama" if pieces else "gpt2",
        pre="default" if pieces else _pre_tokenizer(path, found.get("pre_tokenizer")),
        tokens=tokens,
        types=types,
        scores=_scores(tokens, merges) if pieces else None,
        merges=merges,
        special=special,
        add_bos=_adds_bos(found.get("post_processor"), settings, special.get("bos")),
        add_space=_adds_space(found.get("normalizer")),
        strips_right=any(token.get("rstrip") for token in added)
        and all(token in ids for token in _PHI3_TOKENS),
    )


def _settings(folder: Path) -> dict[str, Any]:
    """Return the tokenizer's settings; earlier versions wrote special tokens to their own file."""
    special = read_optional_json(folder / "special_tokens_map.json")
    return special | read_optional_json(folder / "tokenizer_config.json")


def _unsupported(path: Path, component: str) -> UserError:
    problem = f"{component} is not known to work identically in llama.cpp"
    remedy = "train with the tokenizer of Phi-2, Qwen1.5 or Phi-3, or one of the same kind"
    return UserError(path, problem, remedy)


def _tokens(
    ids: dict[str, int], added: Sequence[dict[str, Any]], rows: int, unknown: str | None
) -> tuple[list[str], list[TokenType]]:
    tokens = [f"[PAD{number}]" for number in range(rows)]
    types = [TokenType.UNUSED] * rows
    for token, number in ids.items():
        tokens[number] = token
        is_byte = unknown and token.startswith("<0x") and token.endswith(">")
        types[number] = TokenType.BYTE if is_byte else TokenType.NORMAL
    for entry in added:
        kind = TokenType.CONTROL if entry["special"] else TokenType.USER_DEFINED
        types[entry["id"]] = kind
    if unknown in ids:
        types[ids[unknown]] = TokenType.UNKNOWN
    return tokens, types


def _scores(tokens: Sequence[str], merges: Sequence[str]) -> list[float]:
    """Return token scores by merge order: llama.cpp merges the pair with the highest score."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merges):
        ranks.setdefault(pair.replace(" ", ""), rank)
    return [-float(ranks.get(token, len(merges))) for token in tokens]


def _pre_tokenizer(path: Path, pre: dict[str, Any] | None) -> str:
    """Return llama.cpp's name of the regular expression that splits text before BPE."""
    steps = (pre or {}).get("pretokenizers") or ([pre] if pre else [])
    patterns = [step["pattern"].get("Regex") for step in steps if step["type"] == "Split"]
    last = steps[-1] if steps else {"type": None}
    if last["type"] == "ByteLevel" and not last.get("add_prefix_space"):
        if not patterns and last.get("use_regex", True):
            return "gpt-2"
        if patterns == [_QWEN2] and not last.get("use_regex", True):
            return "qwen2"
    raise _unsupported(path, "pre_tokenizer")


def _special(settings: dict[str, Any], ids: dict[str, int]) -> Iterator[tuple[str, int]]:
    names = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}
    for role, name in names.items():
        token = settings.get(f"{name}_token")
        token = token["content"] if isinstance(token, dict) else token
        if token in ids:
            yield role, ids[token]


def _adds_bos(post: dict[str, Any] | None, settings: dict[str, Any], bos: int | None) -> bool:
    """Return whether BOS is added, by the post-processor or by the settings."""
    if bos is None:
        return False
    for step in (post or {}).get("processors") or [post or {}]:
        if step.get("type") == "TemplateProcessing":
            return "SpecialToken" in step["single"][0]
    return bool(settings.get("add_bos_token"))


def _adds_space(normalizer: dict[str, Any] | None) -> bool:
    """Return whether ▁ is prepended to a text."""
    steps = (normalizer or {}).get("normalizers") or [normalizer or {}]
    return any(step.get("type") == "Prepend" for step in steps)
