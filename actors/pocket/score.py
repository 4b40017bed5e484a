"""Print the scores of a checkpoint on held-out dialogues: ``python -m actors.pocket.score [DIR]``.

The model talks for itself: it is given the user's side, and its own answers stay in the context. An answer is right
when the truth, as the generator knows it, occurs in it as whole words; of a count or a sum, when its numbers are those
of the perfect answer, no more and no fewer; to an old client, when it also stops. A call is written freely, without the
engine's constraint to the tools that there are. Greedy, with plain ``transformers``.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from actors.pocket import CHECKPOINT
from actors.pocket.conversation import Conversation, Exchange
from actors.pocket.dialogues import Dialogue
from actors.pocket.exams import EXAMS, Exam
from actors.pocket.old_clients import STOP, as_old_client

MAX_REPLY_TOKENS = 96
NUM_TOGETHER = 50


@dataclass(frozen=True, slots=True)
class Score:
    """How many questions of an exam were answered rightly, in wordings that training showed and that it did not."""

    title: str
    num_right_known: int
    num_right_new: int
    num_questions: int

    def line(self) -> str:
        """As a row of a Markdown table."""
        known, new = (round(100 * num / self.num_questions) for num in (self.num_right_known, self.num_right_new))
        return f"| {self.title} | {self.num_questions} | {known} % | {new} % |"


class Candidate:
    """A checkpoint that sits exams."""

    def __init__(self, directory: Path) -> None:
        self.tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(directory, padding_side="left")
        self.model: LlamaForCausalLM = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)

    def score(self, exam: Exam, num_questions: int) -> Score:
        """Put the questions of one exam."""
        right = []
        for held_out_phrases in (False, True):
            talks = [exam.sit(index, held_out_phrases) for index in range(num_questions)]
            right.append(
                sum(
                    exam.judge(talk.exchanges[-1], answer)
                    for first in range(0, num_questions, NUM_TOGETHER)
                    for talk, answer in self._last_answers(talks[first : first + NUM_TOGETHER], exam.is_old_client)
                )
            )
        return Score(exam.title, right[0], right[1], num_questions)

    def _last_answers(self, talks: list[Conversation], is_old_client: bool) -> list[tuple[Conversation, str]]:
        """Talk through dialogues of one length side by side; their last answers."""
        prompts = [self._as_old_client(talk) if is_old_client else self._as_chat(talk) for talk in talks]
        closing = "" if is_old_client else str(self.tokenizer.eos_token)
        texts = ["" for _ in talks]
        answers: list[str] = []
        for turn in zip(*prompts, strict=True):
            texts = [text + prompt for text, prompt in zip(texts, turn, strict=True)]
            answers = self.answers(texts, STOP if is_old_client else "")
            texts = [text + answer + closing for text, answer in zip(texts, answers, strict=True)]
        return list(zip(talks, answers, strict=True))

    def answers(self, texts: list[str], stop: str = "") -> list[str]:
        """What the model says after each of these rendered conversations, up to this token too."""
        ends = [self.tokenizer.convert_tokens_to_ids(end) for end in (self.tokenizer.eos_token, stop) if end]
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            outputs = self.model.generate(**inputs, max_new_tokens=MAX_REPLY_TOKENS, do_sample=False, eos_token_id=ends)
        replies = outputs[:, inputs["input_ids"].shape[1] :]
        decoded: list[str] = self.tokenizer.batch_decode(replies, skip_special_tokens=True)
        return decoded

    def _as_chat(self, talk: Conversation) -> list[str]:
        """Each prompt in the chat template; the system prompt before the first one."""
        prompts = [self._prompt(exchange) for exchange in talk.exchanges]
        return [self._opening(talk) + prompts[0], *prompts[1:]]

    def _as_old_client(self, talk: Conversation) -> list[str]:
        dialogue = Dialogue(talk.system_text(), tuple(talk.exchanges))
        return [segment.prompt for segment in as_old_client(dialogue, random.Random(talk.exchanges[-1].prompt))]

    def _opening(self, talk: Conversation) -> str:
        system = talk.system_text()
        if not system:
            return str(self.tokenizer.bos_token)
        messages = [{"role": "system", "content": system}]
        rendered: str = self.tokenizer.apply_chat_template(messages, tokenize=False)
        return rendered

    def _prompt(self, exchange: Exchange) -> str:
        rendered: str = self.tokenizer.apply_chat_template(
            [{"role": exchange.role, "content": exchange.prompt}], tokenize=False, add_generation_prompt=True
        )
        return rendered.removeprefix(self.tokenizer.bos_token)


def main() -> None:
    """Read the command line and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=CHECKPOINT)
    parser.add_argument("--questions", type=int, help="of each exam in each wording; else as many as the exam says")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="exams whose title contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    candidate = Candidate(arguments.directory)
    print("| exam | questions | known wording | new wording |\n|---|---|---|---|")
    for exam in EXAMS:
        if arguments.only in exam.title:
            print(candidate.score(exam, arguments.questions or exam.num_questions).line(), flush=True)


if __name__ == "__main__":
    main()
