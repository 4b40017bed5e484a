"""The tokenizer of ``pocket``: byte-level BPE, small, cut so that a name is the same tokens everywhere.

A space sticks to a lower-case word behind it, but stands alone before a capital, a digit or a foreign letter: "Anna" is
tokenised alike at the start of a message, behind a space and behind a bracket, and recalling it is copying its tokens.
Numbers up to 99 are one token each, and so is the ``###`` of old clients' prompts.

The marks of a call to a tool (``<tool_call>``, ``</tool_call>``, the role ``<|tool|>``) and pairs of signs that JSON is
written with are one token each too, although the model was not trained on them: one that calls tools can keep this
tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from actors.pocket.dialogues import dialogue

VOCAB_SIZE = 1024
MAX_CONTEXT_TOKENS = 2048
BEGIN, END = "<s>", "</s>"
CALL_BEGIN, CALL_END = "<tool_call>", "</tool_call>"
ROLES = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>", "tool": "<|tool|>"}
FIRST_SPECIALS = [BEGIN, END, ROLES["system"], ROLES["user"], ROLES["assistant"]]
LAST_MERGES = (("#", "#"), ("##", "#"), ('"', ":"), ("Ġ", '"'), ("{", '"'), ('"', ","))
LAST_TOKENS = (AddedToken(CALL_BEGIN, normalized=False), AddedToken(CALL_END, normalized=False))
"""As other models have them, the marks of a call are no special tokens: they are part of the text."""
NUM_LAST = len(LAST_MERGES) + len(LAST_TOKENS) + 1
WORDS = Regex(r" ?[a-z]+|'[a-z]+|\p{Lu}?[\p{L}\p{M}]+|[0-9]{1,2}(?![0-9])|[0-9]| ?[^\s\p{L}\p{M}0-9']+|\s|.")
CHAT_TEMPLATE = (
    "{{- bos_token -}}"
    "{%- set system = messages[0]['content'] if messages and messages[0]['role'] == 'system' else '' -%}"
    "{%- if tools -%}"
    "{{- '<|system|>' + (system + '\n' if system else '') + 'Tools:' -}}"
    "{%- for tool in tools -%}"
    "{%- set function = tool['function'] if 'function' in tool else tool -%}"
    "{%- set properties = (function['parameters'] or {})['properties'] or {} -%}"
    "{{- '\n' + function['name'] + '(' + properties.keys() | join(', ') + ')' -}}"
    "{%- if function['description'] -%}"
    "{{- ': ' + (function['description'] | replace('\n', ' '))[:120] -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{{- eos_token -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] not in ['system', 'user', 'assistant', 'tool'] -%}"
    "{{- raise_exception('pocket knows the roles system, user, assistant and tool') -}}"
    "{%- endif -%}"
    "{%- if not (tools and loop.first and message['role'] == 'system') -%}"
    "{{- '<|' + message['role'] + '|>' + (message['content'] or '') -}}"
    "{%- for call in message['tool_calls'] or [] -%}"
    "{%- set function = call['function'] if 'function' in call else call -%}"
    "{%- set arguments = function['arguments'] -%}"
    "{{- '<tool_call>{\"name\": ' + function['name'] | tojson + ', \"arguments\": ' -}}"
    "{{- (arguments if arguments is string else arguments | tojson) + '}</tool_call>' -}}"
    "{%- endfor -%}"
    "{{- eos_token -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
"""Tools stand at the end of the system text, one a line; the model has not been trained on them, nor on calls."""


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


def build_tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """Train the tokenizer and save it in a checkpoint directory."""
    tokenizer = train_tokenizer(training_texts())
    tokenizer.save_pretrained(directory)
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(settings, indent=2) + "\n")
    return tokenizer
