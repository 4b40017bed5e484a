"""Train ``pocket`` from nothing on dialogues made as it goes: ``python -m actors.pocket.train --steps 3400 --out DIR``.

Every step makes its own dialogues from its number, so that a run that is stopped can be taken up again: DIR holds the
state, and from every report a checkpoint of the averaged weights. Matrices are multiplied in bfloat16.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from actors.pocket.batches import Batch, batch_of, encoded, training_batch
from actors.pocket.dialogues import dialogue
from actors.pocket.model import hidden_states, new_model
from actors.pocket.muon import Muon
from actors.pocket.tokenizer import build_tokenizer
from actors.pocket.wiring import lay_copying_circuit, lay_number_line

LENGTHS = (64, 128, 256, 512, 1024, 2000)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learned until a step.

    Attributes:
        weights: how often each of ``LENGTHS`` is drawn.
        copying: the share of exchanges that only tell and recall.
        topics: the share of exchanges that are about a topic and its next lines.
    """

    until: float
    weights: tuple[float, ...]
    copying: float
    topics: float = 0.0


CURRICULUM = (
    Lesson(400, (5, 5, 1, 0, 0, 0), 0.6),
    Lesson(2000, (3, 5, 4, 1, 0, 0), 0.45),
    Lesson(math.inf, (2, 4, 5, 3, 0.5, 0.2), 0.35),
)
"""Short dialogues first."""
REVISIONS = (
    Lesson(math.inf, (3, 4, 5, 2, 0.5, 0.2), 0.3, topics=0.35),
    Lesson(math.inf, (3, 4, 5, 2, 0.5, 0.2), 0.3, topics=0.5),
)
"""Behind all steps, for what they show too rarely."""
REVISION_STEPS = 500
REVISION_RATE = 0.5
"""In each revision the rate falls from this to nothing once more."""
BATCH_TOKENS = 2048
REPORT_INTERVAL = 200
NUM_WARM_UP_STEPS = 60
DECAY_SHARE = 0.5
"""The last part of all steps, in which the learning rate falls."""


class Training:
    """The model, its optimisers and its average, and how far they have come."""

    def __init__(self, directory: Path, total_steps: int) -> None:
        self.directory = directory
        self.total_steps = total_steps
        self.num_steps = 0
        self.num_tokens = 0
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "tokenizer.json").exists():
            build_tokenizer(directory)
        self.tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(directory)
        torch.manual_seed(0)
        self.model = new_model(self.tokenizer)
        lay_copying_circuit(self.model)
        lay_number_line(self.model, self.tokenizer)
        self.average = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        matrices = [value for value in self.model.model.layers.parameters() if value.ndim == 2]
        others = [value for name, value in self.model.named_parameters() if value.ndim == 1 or "embed" in name]
        self.optimisers = (
            Muon(matrices, lr=0.01, weight_decay=0.01),
            torch.optim.AdamW(others, lr=0.0012, betas=(0.9, 0.98), weight_decay=0.0),
        )
        self.rates = [optimiser.param_groups[0]["lr"] for optimiser in self.optimisers]
        self._load()

    def run(self) -> None:
        """Train until all steps are taken."""
        losses: list[float] = []
        last_step = self.total_steps + len(REVISIONS) * REVISION_STEPS
        while self.num_steps < last_step:
            losses.append(self._step())
            if self.num_steps % REPORT_INTERVAL == 0 or self.num_steps == last_step:
                self._report(losses)
                losses.clear()

    def _step(self) -> float:
        """One batch, one update; the mean loss per token learned, in nats."""
        seed = f"train {self.num_steps}"
        lesson = next(lesson for lesson in CURRICULUM if self.num_steps < lesson.until)
        if self.num_steps >= self.total_steps:
            lesson = REVISIONS[(self.num_steps - self.total_steps) // REVISION_STEPS]
        length = random.Random(seed).choices(LENGTHS, lesson.weights)[0]
        batch = training_batch(self.tokenizer, seed, BATCH_TOKENS // length, length, lesson.copying, lesson.topics)
        with torch.autocast("cpu", torch.bfloat16):
            loss = batch_loss(self.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        scale = rate_scale(self.num_steps, self.total_steps)
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            optimiser.param_groups[0]["lr"] = rate * scale
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


def rate_scale(step: int, total_steps: int) -> float:
    """The learning rate's factor: rising, constant, then falling in a line to nothing; in the revision once more."""
    if step >= total_steps:
        return REVISION_RATE * (1 - (step - total_steps) % REVISION_STEPS / REVISION_STEPS)
    return min(1.0, (step + 1) / NUM_WARM_UP_STEPS, (total_steps - step) / (total_steps * DECAY_SHARE))


def batch_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of the tokens to be learned, in nats."""
    hidden = hidden_states(model, batch.ids, batch.positions)
    return F.cross_entropy(model.lm_head(hidden[batch.learned]), batch.targets)


@torch.no_grad()
def exact_replies(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> str:
    """The share of replies, by kind, of which every token is the likeliest one; on held-out values."""
    right: dict[str, list[bool]] = defaultdict(list)
    for index in range(8):
        talks = [dialogue(f"report {index} {row}", 10, 0.4, held_out_values=True) for row in range(8)]
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
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    Training(arguments.out, arguments.steps).run()


if __name__ == "__main__":
    main()
