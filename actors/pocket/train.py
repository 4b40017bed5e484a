"""Train ``pocket`` from nothing on dialogues made as it goes: ``python -m actors.pocket.train --steps 3400 --out DIR``.

Every step makes its own dialogues from its number, so that a run that is stopped can be taken up again: DIR holds the
state, and from every report a checkpoint of the averaged weights. Matrices are multiplied in bfloat16, or in float32
where the processor cannot do that: ``--float32``.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from actors.pocket.batches import Batch, batch_of, encoded, training_batch
from actors.pocket.chat_template import CALL_BEGIN
from actors.pocket.dialogues import Mixture, dialogue
from actors.pocket.model import hidden_states, new_model
from actors.pocket.muon import Muon
from actors.pocket.tokenizer import ROLES, build_tokenizer, keep_tokenizer
from actors.pocket.wiring import lay_copying_circuit, lay_number_line

LENGTHS = (64, 128, 256, 512, 1024, 2000)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learned for ``num_steps`` steps, or to their end.

    Attributes:
        weights: how often each of ``LENGTHS`` is drawn.
        rate: after the main training, the factor of the learning rate from which it falls.
        decision_weight: of the first token of an answer, and of the one after the opening of a call; others have 1.
    """

    num_steps: int
    weights: tuple[float, ...]
    mixture: Mixture
    rate: float = 0.5
    batch_tokens: int = 2048
    decision_weight: float = 1.0


CURRICULUM = (
    Lesson(400, (5, 5, 1, 0, 0, 0), Mixture(copying=0.6)),
    Lesson(1600, (3, 5, 4, 1, 0, 0), Mixture(copying=0.45)),
    Lesson(sys.maxsize, (2, 4, 5, 3, 0.5, 0.2), Mixture(copying=0.35)),
)
"""Short dialogues first."""
REVISIONS = (
    Lesson(500, (3, 4, 5, 2, 0.5, 0.2), Mixture(copying=0.3, topics=0.35)),
    Lesson(500, (3, 4, 5, 2, 0.5, 0.2), Mixture(copying=0.3, topics=0.5)),
)
"""After all steps, for what they show too rarely."""
ADDITION = Lesson(250, (1, 4, 5, 2, 0.3, 0.1), Mixture(0.35, topics=0.3, number_words=0.1, old_clients=0.4))
ADDITIONS = (
    Lesson(350, (1, 4, 5, 2, 0.3, 0.1), Mixture(0.35, topics=0.3, number_words=0.08, old_clients=0.2)),
    *[ADDITION] * 8,
)
"""After these, for what they do not show at all: number words, and the prompts of old clients."""
TOOLS = (
    Lesson(
        1600, (0, 0.7, 4, 3, 0, 0), Mixture(0.35, 0.3, number_words=0.1, old_clients=0.3, tools=0.7), rate=1.0,
        batch_tokens=1024, decision_weight=8,
    ),
    *[
        Lesson(
            300, (0.3, 2, 5, 4, 0.3, 0.1), Mixture(0.4, 0.25, number_words=0.1, old_clients=0.25, tools=0.45),
            decision_weight=4,
        )
    ] * 4,
)  # fmt: skip
"""After these, to call tools. ``--start`` takes them alone, from a checkpoint that has had all else.

The shipped checkpoint has not had them; see ``README.md`` for what a run of 600 steps showed.
"""
LATER = (*REVISIONS, *ADDITIONS, *TOOLS)
"""In each of these the rate rises once more, and falls to nothing."""
REPORT_INTERVAL = 250
REPORTED = Mixture(copying=0.4, number_words=0.05, tools=0.4)
NUM_WARM_UP_STEPS = 60
ALIKE = 0.98
"""The cosine between embeddings from which on they are those of unused tokens."""
DECAY_SHARE = 0.5
"""The last part of all steps, in which the learning rate falls."""


class Training:
    """The model, its optimisers and its average, and how far they have come."""

    def __init__(self, directory: Path, total_steps: int, start: Path | None = None, is_float32: bool = False) -> None:
        self.directory = directory
        self.total_steps = total_steps
        self.num_steps = 0
        self.num_tokens = 0
        self.precision = torch.float32 if is_float32 else torch.bfloat16
        directory.mkdir(parents=True, exist_ok=True)
        if start is not None:
            keep_tokenizer(start, directory)
        elif not (directory / "tokenizer.json").exists():
            build_tokenizer(directory)
        self.tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(directory)
        self.decisions = torch.tensor(self.tokenizer.convert_tokens_to_ids([ROLES["assistant"], CALL_BEGIN]))
        torch.manual_seed(0)
        self.model = new_model(self.tokenizer)
        lay_copying_circuit(self.model)
        lay_number_line(self.model, self.tokenizer)
        self.average = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        matrices = [value for value in self.model.model.layers.parameters() if value.ndim == 2]
        others = [value for name, value in self.model.named_parameters() if value.ndim == 1 or "embed" in name]
        self.optimisers = (
            Muon(matrices, lr=0.01, weight_decay=0.01, precision=self.precision),
            torch.optim.AdamW(others, lr=0.0012, betas=(0.9, 0.98), weight_decay=0.0),
        )
        self.rates = [optimiser.param_groups[0]["lr"] for optimiser in self.optimisers]
        self._load()

    def start_from(self, checkpoint: Path) -> None:
        """Take the lessons on tools alone, from a checkpoint that has had all else; nothing where steps were taken."""
        if self.num_steps:
            return
        self.num_steps = self.total_steps + sum(lesson.num_steps for lesson in (*REVISIONS, *ADDITIONS))
        earlier = LlamaForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
        self.model.load_state_dict(earlier.state_dict())
        renew_unused(self.model.model.embed_tokens.weight)
        for name, value in self.model.named_parameters():
            self.average[name].copy_(value.detach())

    def run(self) -> None:
        """Train until all steps are taken."""
        losses: list[float] = []
        last_step = self.total_steps + sum(lesson.num_steps for lesson in LATER)
        while self.num_steps < last_step:
            losses.append(self._step())
            if self.num_steps % REPORT_INTERVAL == 0 or self.num_steps == last_step:
                self._report(losses)
                losses.clear()

    def _step(self) -> float:
        """One batch, one update; the mean loss per token learned, in nats."""
        seed = f"train {self.num_steps}"
        lesson, rate_scale = lesson_at(self.num_steps, self.total_steps)
        length = random.Random(seed).choices(LENGTHS, lesson.weights)[0]
        batch = training_batch(self.tokenizer, seed, lesson.batch_tokens // length, length, lesson.mixture)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == torch.bfloat16):
            loss = batch_loss(self.model, batch, self.decisions, lesson.decision_weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            optimiser.param_groups[0]["lr"] = rate * rate_scale
            optimiser.step()
            optimiser.zero_grad()
        self.num_steps += 1
        self.num_tokens += batch.ids.numel()
        weight = 1 / min(self.num_steps + 1, 200)
        for name, value in self.model.named_parameters():
            self.average[name].lerp_(value.detach(), weight)
        return float(loss.detach())

    def _report(self, losses: list[float]) -> None:
        trained = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        self._take(self.average)
        mean = sum(losses) / max(1, len(losses))
        replies = exact_replies(self.model, self.tokenizer)
        spent = f"{self.num_tokens / 1e6:.1f}M tokens, {time.process_time() / 60:.1f} min"
        print(f"step {self.num_steps}, {spent}, loss {mean:.3f} | {replies}", flush=True)
        save_checkpoint(self.model, self.directory)
        self._take(trained)
        self._save()

    def _take(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                value.copy_(weights[name])

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "num_steps": self.num_steps,
            "num_tokens": self.num_tokens,
        }
        torch.save(state, self.directory / "training.pt")

    def _load(self) -> None:
        path = self.directory / "training.pt"
        if not path.exists():
            return
        state = torch.load(path)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.num_steps, self.num_tokens = state["num_steps"], state["num_tokens"]


def lesson_at(step: int, total_steps: int) -> tuple[Lesson, float]:
    """The lesson of a step, and the factor of the learning rate: rising, constant, then falling in a line to nothing.

    In each later lesson it rises and falls once more.
    """
    if step < total_steps:
        lesson, _ = _lesson_of(CURRICULUM, step)
        fall = (total_steps - step) / (total_steps * DECAY_SHARE)
        return lesson, min(1.0, (step + 1) / NUM_WARM_UP_STEPS, fall)
    lesson, step = _lesson_of(LATER, step - total_steps)
    return lesson, lesson.rate * min((step + 1) / NUM_WARM_UP_STEPS, 1 - step / lesson.num_steps)


def _lesson_of(lessons: Sequence[Lesson], step: int) -> tuple[Lesson, int]:
    """The lesson that a step is in, and which step of the lesson it is."""
    for lesson in lessons[:-1]:
        if step < lesson.num_steps:
            return lesson, step
        step -= lesson.num_steps
    return lessons[-1], step


@torch.no_grad()
def renew_unused(embedding: torch.Tensor) -> None:
    """Draw the embeddings of tokens that no training has shown so far anew: all of these have become alike.

    Args:
        embedding: (vocabulary, hidden), float32; changed in place.
    """
    directions = F.normalize(embedding - embedding.mean(0), dim=1)
    unused = (directions @ directions.T).fill_diagonal_(0).amax(1) > ALIKE
    shown = embedding[~unused]
    drawn = torch.randn(int(unused.sum()), embedding.shape[1], generator=torch.Generator().manual_seed(0))
    embedding[unused] = shown.mean(0) + drawn * shown.std(0)


def batch_loss(
    model: LlamaForCausalLM, batch: Batch, decisions: torch.Tensor, decision_weight: float = 1.0
) -> torch.Tensor:
    """Mean cross-entropy of the tokens to be learned, in nats.

    Args:
        decisions: (count,), int64: the tokens after which the next one has ``decision_weight`` in the mean.
    """
    hidden = hidden_states(model, batch.ids, batch.positions)
    losses = F.cross_entropy(model.lm_head(hidden[batch.learned]), batch.targets, reduction="none")
    weights = torch.where(torch.isin(batch.ids[batch.learned], decisions), decision_weight, 1.0)
    return (losses * weights).sum() / weights.sum()


@torch.no_grad()
def exact_replies(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> str:
    """The share of replies, by kind, of which every token is the likeliest one; on held-out values."""
    right: dict[str, list[bool]] = defaultdict(list)
    for index in range(8):
        talks = [dialogue(f"report {index} {row}", 10, REPORTED, held_out_values=True) for row in range(8)]
        batch = batch_of([encoded(tokenizer, talk, 400) for talk in talks])
        likeliest = model.lm_head(hidden_states(model, batch.ids, batch.positions)).argmax(-1)
        hits = likeliest[:, :-1] == batch.ids[:, 1:]
        for row, hit in zip(batch.rows, hits, strict=True):
            for reply in row.replies:
                right[reply.kind].append(bool(hit[reply.start - 1 : reply.stop - 1].all()))
    return " ".join(f"{kind} {sum(hits) / len(hits):.2f}" for kind, hits in sorted(right.items()))


def save_checkpoint(model: LlamaForCausalLM, directory: Path) -> None:
    """Write the configuration, and the weights rounded to float16; loaders widen them as the configuration says."""
    model.config.save_pretrained(directory)
    model.generation_config.save_pretrained(directory)
    weights = {name: value.detach().to(torch.float16).contiguous() for name, value in model.named_parameters()}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3400)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=Path, metavar="CHECKPOINT", help="take only the lessons on tools, from here")
    parser.add_argument("--float32", action="store_true", help="multiply matrices in float32")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    training = Training(arguments.out, arguments.steps, arguments.start, arguments.float32)
    if arguments.start:
        training.start_from(arguments.start)
    training.run()


if __name__ == "__main__":
    main()
