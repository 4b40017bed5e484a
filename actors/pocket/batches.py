"""Dialogues as token batches: ids, positions, and which tokens the model is to learn to say."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from actors.pocket.dialogues import Dialogue, Mixture, dialogue
from actors.pocket.old_clients import as_old_client
from actors.pocket.tokenizer import BEGIN, END, MAX_CONTEXT_TOKENS, ROLES

TOKENS_PER_EXCHANGE = 22


@dataclass(frozen=True, slots=True)
class Spoken:
    """A reply inside a row: its tokens are at ``start`` to ``stop``, the end token included."""

    kind: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Row:
    """One dialogue in tokens; ``starts`` are the positions where messages begin."""

    ids: list[int]
    starts: list[int]
    replies: list[Spoken]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one length.

    Attributes:
        ids, positions: (batch, length), int64.
        learned: (batch, length), bool: whether the *next* token is to be learned here.
        targets: (number of learned,), int64, in the order of ``ids[learned]``.
    """

    ids: Tensor
    positions: Tensor
    learned: Tensor
    targets: Tensor
    rows: list[Row]


def encoded(tokenizer: PreTrainedTokenizerFast, talk: Dialogue, num_tokens: int) -> Row:
    """A dialogue in the chat template's tokens, cut behind the last exchange that fits."""
    begin, end = tokenizer.convert_tokens_to_ids([BEGIN, END])
    roles = {role: tokenizer.convert_tokens_to_ids(token) for role, token in ROLES.items()}
    messages = talk.messages()
    contents = tokenizer([message.content for message in messages], add_special_tokens=False)["input_ids"]
    kinds = iter(exchange.kind for exchange in talk.exchanges)
    row = Row([begin], [], [])
    pending: list[int] = []
    for message, content in zip(messages, contents, strict=True):
        pending += [roles[message.role], *content, end]
        if message.role != "assistant":
            row.starts.append(len(row.ids) + len(pending) - len(content) - 2)
            continue
        if len(row.ids) + len(pending) > num_tokens:
            break
        row.ids.extend(pending)
        row.replies.append(Spoken(next(kinds), len(row.ids) - len(content) - 1, len(row.ids)))
        pending = []
    return row


def encoded_as_old_client(
    tokenizer: PreTrainedTokenizerFast, talk: Dialogue, num_tokens: int, chance: random.Random
) -> Row:
    """A dialogue as an old client's plain text, cut behind the last exchange that fits."""
    segments = as_old_client(talk, chance)
    texts = [text for segment in segments for text in (segment.prompt, segment.answer)]
    pieces = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    row = Row([tokenizer.bos_token_id] if chance.random() < 0.3 else [], [], [])
    for exchange, prompt, answer in zip(talk.exchanges, pieces, pieces, strict=True):
        if len(row.ids) + len(prompt) + len(answer) > num_tokens:
            break
        row.starts.append(len(row.ids))
        row.ids.extend((*prompt, *answer))
        row.replies.append(Spoken(exchange.kind, len(row.ids) - len(answer), len(row.ids)))
    return row


def batch_of(rows: list[Row], chance: random.Random | None = None, pad: int = 1) -> Batch:
    """Put rows beside each other, padded on the right.

    Args:
        chance: where given, half of the rows get gaps between their messages, so that short dialogues teach
            distances up to the whole context.
    """
    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), pad)
    learned = torch.zeros((len(rows), length), dtype=torch.bool)
    positions = torch.arange(length).repeat(len(rows), 1)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        for reply in row.replies:
            learned[index, reply.start - 1 : reply.stop - 1] = True
        if chance is not None and chance.random() < 0.5:
            _open_gaps(positions[index], row.starts, chance)
    targets = ids[:, 1:][learned[:, :-1]]
    return Batch(ids, positions, learned, targets, rows)


def _open_gaps(positions: Tensor, starts: list[int], chance: random.Random) -> None:
    slack = MAX_CONTEXT_TOKENS - len(positions)
    room = int(slack * chance.random())
    places = chance.choices(starts, k=min(len(starts), chance.choice((1, 2, 4, 8))))
    for place in places:
        positions[place:] += int(room * chance.random() / len(places))


def training_batch(
    tokenizer: PreTrainedTokenizerFast, seed: str, num_rows: int, num_tokens: int, mixture: Mixture
) -> Batch:
    """Fresh training dialogues of up to ``num_tokens`` tokens each; the seed decides everything."""
    num_exchanges = max(2, num_tokens // TOKENS_PER_EXCHANGE)
    rows = []
    for index in range(num_rows):
        chance = random.Random(f"{seed} {index} form")
        talk = dialogue(f"{seed} {index}", num_exchanges, mixture)
        if not talk.has_tools and chance.random() < mixture.old_clients:
            row = encoded_as_old_client(tokenizer, talk, num_tokens, chance)
        else:
            row = encoded(tokenizer, talk, num_tokens)
        if row.replies:
            rows.append(row)
    return batch_of(rows, random.Random(seed), tokenizer.pad_token_id)
