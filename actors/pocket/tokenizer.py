"""The tokenizer of ``pocket``: byte-level BPE, small, cut so that a name is the same tokens everywhere.

A space sticks to a lower-case word behind it, but stands alone before a capital, a digit or a foreign letter: "Anna" is
tokenised alike at the start of a message, behind a space and behind a bracket, and recalling it is copying its tokens.
Numbers up to 99 are one token each, and so is the ``###`` of old clients' prompts.

The marks of a call to a tool (``<tool_call>``, ``</tool_call>``, the role ``<|tool|>``) and pairs of signs that JSON is
written with are one token each too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from actors.pocket.chat_template import CALL_BEGIN, CALL_END, CHAT_TEMPLATE
from actors.pocket.dialogues import dialogue

VOCAB_SIZE = 1024
MAX_CONTEXT_TOKENS = 2048
BEGIN, END = "<s>", "</s>"
ROLES = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>", "tool": "<|tool|>"}
FIRST_SPECIALS = [BEGIN, END, ROLES["system"], ROLES["user"], ROLES["assistant"]]
LAST_MERGES = (("#", "#"), ("##", "#"), ('"', ":"), ("Ġ", '"'), ("{", '"'), ('"', ","))
LAST_TOKENS = (AddedToken(CALL_BEGIN, normalized=False), AddedToken(CALL_END, normalized=False))
"""As other models have them, the marks of a call are no special tokens: they are part of the text."""
NUM_LAST = len(LAST_MERGES) + len(LAST_TOKENS) + 1
WORDS = Regex(r" ?[a-z]+|'[a-z]+|\p{Lu}?[\p{L}\p{M}]+|[0-9]{1,2}(?![0-9])|[0-9]| ?[^\s\p{L}\p{M}0-9']+|\s|.")


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn the merges from these texts; specials come first in the vocabulary, then the 256 bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(WORDS, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - NUM_LAST,
        special_tokens=FIRST_SPECIALS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=extended(tokenizer),
        bos_token=BEGIN,
        eos_token=END,
        pad_token=END,
        additional_special_tokens=list(ROLES.values()),
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_CONTEXT_TOKENS,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def extended(tokenizer: Tokenizer) -> Tokenizer:
    """The same with the last merges and tokens, which come after all others in the vocabulary."""
    description = json.loads(tokenizer.to_str())
    for left, right in LAST_MERGES:
        description["model"]["vocab"].setdefault(left + right, len(description["model"]["vocab"]))
        description["model"]["merges"].append([left, right])
    longer = Tokenizer.from_str(json.dumps(description))
    longer.add_tokens(list(LAST_TOKENS))
    longer.add_special_tokens([ROLES["tool"]])
    return longer


def training_texts(num_dialogues: int = 6000) -> Iterator[str]:
    """What the merges are learned from: dialogues, and every number that is to be one token."""
    for number in range(100):
        yield f"{number} " * 400
    for index in range(num_dialogues):
        for message in dialogue(f"tokenizer {index}", 8).messages():
            yield message.content


def build_tokenizer(directory: Path) -> None:
    """Train the tokenizer and save it in a checkpoint directory."""
    _save(train_tokenizer(training_texts()), directory)


def keep_tokenizer(checkpoint: Path, directory: Path) -> None:
    """Save the tokenizer of this checkpoint, with the chat template as it is now, in another directory."""
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.chat_template = CHAT_TEMPLATE
    _save(tokenizer, directory)


def _save(tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    tokenizer.save_pretrained(directory)
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    for loaded in ("is_local", "local_files_only"):
        settings.pop(loaded, None)
    path.write_text(json.dumps(settings, indent=2) + "\n")
