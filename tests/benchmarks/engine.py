"""The torch engine alone, beside ``generate`` of ``transformers`` on a static batch of equally long prompts.

    python -m tests.benchmarks.engine --model DIR

Prints, for each number of contexts: the ratio of tokens/s, tokens/s of both, and for the engine the time to the first
token and per later token (mean, milliseconds). ``generate`` has the easier task: nobody joins, nobody leaves.

Then, for a short and a long prompt: how long forks of one context take that go on together, as a multiple of one alone.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from actors.engine.contract import Admission, Engine, tokens_hash
from actors.engine.text.tokenizer import Tokenizer
from actors.engine.torch.engine import TorchEngine, TorchSettings
from api.turns import Sampling, Stop
from tests.actors.engine.text.tokenizers_in_small import byte_level_tokenizer

GREEDY = Sampling()
POCKET = Path(__file__).resolve().parents[2] / "actors" / "pocket" / "checkpoint"


@dataclass(frozen=True, slots=True)
class Measured:
    """tokens/s over all contexts, and the mean times in seconds."""

    tokens_per_s: float
    first_token_s: float
    per_token_s: float


async def measure_engine(engine: Engine, prompts: list[list[int]], num_tokens: int) -> Measured:
    """All prompts at once, each a turn on a temporary context."""
    started_at = time.perf_counter()
    for number, prompt in enumerate(prompts):
        name, stop = str(number), Stop(max_tokens=num_tokens, at_eos=False)
        engine.admit(
            Admission(name, name, 0, tokens_hash(()), tuple(prompt), GREEDY, stop, create=True, is_temporary=True)
        )
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    num_output = 0
    while len(last) < len(prompts):
        outputs = await engine.step()
        now = time.perf_counter() - started_at
        for output in outputs:
            num_output += len(output.ids)
            first.setdefault(output.turn_id, now)
            if output.finish is not None:
                last[output.turn_id] = now
    elapsed = time.perf_counter() - started_at
    per_token = mean((last[name] - first[name]) / max(1, num_tokens - 1) for name in last)
    return Measured(num_output / elapsed, mean(first.values()), per_token)


async def measure_forks(engine: Engine, prompt: list[int], num_forks: int, num_tokens: int) -> float:
    """Seconds that forks of one context take to go on together."""
    stop, base = Stop(max_tokens=num_tokens, at_eos=False), tokens_hash(prompt)
    fill = Admission("fill", "source", 0, tokens_hash(()), tuple(prompt), GREEDY, stop, create=True, distribution=1)
    engine.admit(fill)
    while not any(output.finish for output in await engine.step()):
        pass
    started_at = time.perf_counter()
    for number in range(num_forks):
        name = f"fork {number}"
        engine.fork("source", name, len(prompt), base)
        engine.admit(Admission(name, name, len(prompt), base, (3 + number,), GREEDY, stop, is_temporary=True))
    num_running = num_forks
    while num_running:
        num_running -= sum(output.finish is not None for output in await engine.step())
    elapsed = time.perf_counter() - started_at
    engine.close("source")
    return elapsed


def measure_generate(model: Any, prompts: list[list[int]], num_tokens: int) -> float:
    """tokens/s of ``generate`` on all prompts as one batch."""
    ids = torch.tensor(prompts, device=model.device)
    started_at = time.perf_counter()
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=num_tokens,
        eos_token_id=None,
        pad_token_id=0,
    )
    return len(prompts) * num_tokens / (time.perf_counter() - started_at)


def write_random_llama(path: Path) -> Path:
    """A Llama of three million random parameters."""
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    byte_level_tokenizer().save_pretrained(path)
    return path


async def run(arguments: argparse.Namespace, path: Path) -> None:
    """Measure and print."""
    settings = TorchSettings(
        model_path=path, num_threads=arguments.threads, device=arguments.device, is_lean=arguments.is_lean
    )
    engine = await TorchEngine.open(settings, Tokenizer.load(path))
    info = engine.info
    model = AutoModelForCausalLM.from_pretrained(path, dtype="auto" if info.device != "cpu" else torch.float32)
    model = model.to(info.device).eval()
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{path}: {num_parameters / 1e6:.1f}M parameters, {info.device}, {torch.get_num_threads()} threads")
    print(f"prompts of {arguments.prompt} tokens, {arguments.output} tokens each, best of {arguments.repeat}")
    print("contexts  ratio  engine/s  generate/s  first token ms  per token ms")
    for num_contexts in arguments.contexts:
        chance = random.Random(num_contexts)
        prompts = [chance.choices(range(3, info.vocab_size), k=arguments.prompt) for _ in range(num_contexts)]
        runs = [await measure_engine(engine, prompts, arguments.output) for _ in range(arguments.repeat)]
        best = max(runs, key=lambda measured: measured.tokens_per_s)
        plain = max(measure_generate(model, prompts, arguments.output) for _ in range(arguments.repeat))
        print(
            f"{num_contexts:8d}  {best.tokens_per_s / plain:5.2f}  {best.tokens_per_s:8.0f}  {plain:10.0f}"
            f"  {best.first_token_s * 1e3:14.1f}  {best.per_token_s * 1e3:12.2f}"
        )
    print("forks  prompt  times one  engine/s")
    for length in (arguments.prompt, info.max_context_tokens // 2):
        prompt = random.Random(length).choices(range(3, info.vocab_size), k=length)
        for num_forks in arguments.forks:
            pairs = [
                [await measure_forks(engine, prompt, number, arguments.output) for number in (1, num_forks)]
                for _ in range(arguments.repeat)
            ]
            alone, together = (min(column) for column in zip(*pairs, strict=True))
            speed = num_forks * arguments.output / together
            print(f"{num_forks:5d}  {length:6d}  {together / alone:9.2f}  {speed:8.0f}")
    await engine.stop()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a checkpoint; without: the embedded one, or a random Llama")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--no-lean", dest="is_lean", action="store_false", help="run the modules of transformers")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--contexts", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--forks", type=int, nargs="*", default=[8])
    parser.add_argument("--prompt", type=int, default=48, help="tokens")
    parser.add_argument("--output", type=int, default=64, help="tokens")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as directory:
        path = arguments.model or (POCKET if (POCKET / "config.json").is_file() else None)
        asyncio.run(run(arguments, path or write_random_llama(Path(directory))))


if __name__ == "__main__":
    main()
