"""What the model says next: awaited for the whole, or read as it comes."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol

from api.answers.collected import Collected
from api.answers.parser import AnswerParser
from api.answers.parsers import parser_of
from api.cluster import ModelInfo
from api.errors import InvalidRequest
from api.inferlet.context_effects import Decode, Generate, Generated, Left, NextDistribution, NextPiece, Turn
from api.inferlet.host import host
from api.inferlet.sampling import Candidates, Choose, Sampler
from api.inferlet.stopping import StopCondition
from api.inferlet.turn_lock import Pieces, TurnLock
from api.tools import ToolCall
from api.turns import Finish, Stop, TurnRequest

NOTHING = Generated((), (), ())


class Extended(Protocol):
    """The context that a generation extends."""

    info: ModelInfo
    lock: TurnLock

    def turn(self, request: TurnRequest) -> Turn:
        """The next turn there, with all that was filled as its prompt."""
        ...

    def extend(self, turn: Turn, output: Generated) -> None:
        """Append what a turn has made of its prompt, and its output."""
        ...

    def step(self, token: int) -> object:
        """Append a token that the program has chosen."""
        ...


class Generation:
    """One generation on a context; see ``Context.generate``. It begins when it is awaited or read; a second time raises
    ``InvalidRequest``.

    Attributes:
        ids: the tokens that have come.
        text: their text; where there are tools to call, without the calls and the reasoning.
        calls: of tools, that are complete.
        reasoning: where there are tools to call; else it is in the text.
        finish: how it ended; None until then.
    """

    def __init__(
        self,
        context: Extended,
        request: TurnRequest,
        unfinished: StopCondition | None,
        stop: StopCondition | None,
        sampler: Sampler,
    ) -> None:
        self.ids: tuple[int, ...] = ()
        self.text = ""
        self.calls: tuple[ToolCall, ...] = ()
        self.reasoning = ""
        self.finish: Finish | None = None
        self._context = context
        self._parser: AnswerParser | None = None
        self._answer = Collected()
        self._request = request
        self._test = unfinished
        self._stop = stop
        self._sampler = sampler
        self._has_begun = False
        self._reader: weakref.ref[Pieces] | None = None

    def __await__(self) -> Generator[Any, None, str]:
        return self._whole().__await__()

    def __aiter__(self) -> Pieces:
        self._begin()
        chosen, lock = self._sampler.choose, self._context.lock
        pieces = Pieces(self._pieces() if chosen is None else self._chosen(chosen), lock)
        self._reader = weakref.ref(pieces)
        return pieces

    def _begin(self) -> None:
        if self._has_begun:
            raise InvalidRequest("a generation is awaited or read once: ask the context for another one")
        self._has_begun = True

    async def _whole(self) -> str:
        if self._sampler.choose is not None or self._test is not None:
            async with aclosing(self.__aiter__()) as pieces:
                async for _ in pieces:
                    pass
            return self.text
        self._begin()
        async with self._context.lock:
            turn = self._turn()
            output = await host().begin(Generate(turn))
            self._context.extend(turn, output)
        self._take(output)
        return self.text

    async def _pieces(self) -> AsyncGenerator[str]:
        async with self._context.lock:
            self._note_reader()
            turn = self._turn()
            output = NOTHING
            try:
                while self.finish is None:
                    more = await host().begin(NextPiece(turn, output))
                    for token in _tokens(more):
                        output = _joined(output, token)
                        self._context.extend(turn, output)
                        if text := self._take(self._tested(output, token)):
                            yield text
                        if self.finish:
                            break
            finally:
                if output.finish is None:
                    host().tell(Left(turn))

    async def _chosen(self, choose: Choose) -> AsyncGenerator[str]:
        """Each token drawn by the program's own function."""
        context = self._context
        async with context.lock:
            self._note_reader()
            while self.finish is None:
                request = replace(self._request, stop=Stop(1), distribution=self._sampler.num_candidates)
                turn = context.turn(request)
                prompt_ids, distribution = await host().begin(NextDistribution(turn))
                context.extend(turn, Generated(prompt_ids, (), ()))
                token = choose(Candidates.of(distribution))
                context.step(token)
                yield self._chose(turn, token)

    def _turn(self) -> Turn:
        turn = self._context.turn(self._request)
        if tools := self._request.callable_tools:
            call_ids = f"call_{turn.context_id}_{turn.request.turn_id}_"
            self._parser = parser_of(self._context.info.answers, call_ids, tools)
        return turn

    def _note_reader(self) -> None:
        reader = self._reader() if self._reader else None
        if reader is not None:
            self._context.lock.read_by(reader)

    def _chose(self, turn: Turn, token: int) -> str:
        ids = (*self.ids, token)
        text = host().perform(Decode(turn.model, ids))
        piece = text.removeprefix(self.text) if text.startswith(self.text) else ""
        self._take(Generated((), (token,), (piece,), self._end(ids, text)))
        return piece

    def _end(self, ids: tuple[int, ...], text: str) -> Finish | None:
        if self._stop is None:
            return Finish("eos") if ids[-1] in self._context.info.eos_ids else None
        return Finish("stop") if self._stop.holds(ids, text) else None

    def _tested(self, output: Generated, token: Generated) -> Generated:
        """The token, as the last one where the condition that the engine cannot test holds."""
        if self._test is None or not self._test.holds(output.ids, output.text):
            return token
        return replace(token, finish=token.finish or Finish("stop"))

    def _take(self, piece: Generated) -> str:
        """What is new of the text."""
        self.ids += piece.ids
        self.finish = piece.finish
        text = piece.text if self._parser is None else self._parsed(self._parser, piece)
        self.text += text
        return text

    def _parsed(self, parser: AnswerParser, piece: Generated) -> str:
        answer = self._answer
        events = [event for token in zip(piece.ids, piece.pieces, strict=True) for event in parser.token(*token)]
        for event in events + (parser.finish(piece.finish.tail) if piece.finish else []):
            answer.take(event)
        self.calls, self.reasoning = answer.calls, answer.reasoning
        return answer.text[len(self.text) :]


def _tokens(output: Generated) -> Iterator[Generated]:
    """Its tokens one by one, so that what a program is given does not depend on when it came; the last has its end."""
    last = len(output.ids) - 1
    for index in range(max(1, len(output.ids))):
        ids, pieces = output.ids[index : index + 1], output.pieces[index : index + 1]
        yield Generated(output.prompt_ids, ids, pieces, output.finish if index >= last else None)


def _joined(before: Generated, piece: Generated) -> Generated:
    prompt_ids = before.prompt_ids or piece.prompt_ids
    return Generated(prompt_ids, before.ids + piece.ids, before.pieces + piece.pieces, piece.finish)
