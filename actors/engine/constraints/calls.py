"""Answers with calls, in llguidance's grammar language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from actors.engine.constraints.answers import AnswerConstraint
from actors.engine.constraints.marks import marked
from actors.engine.constraints.regex import literal
from api.answers.formats import AnswerFormat, CallFormat
from api.answers.parser import bare_call

MAX_CALLS = 32
_GAP = "[ \\n]{1,4}"


class AnswerGrammar:
    """Writes the rules of one constraint, with the rules that are given for arguments and for the text.

    Until it opens a call, a model writes what it likes: a lexeme that ends with what opens a call is beside one that
    does not contain it, so the first mark of a call leaves nothing but calls.
    """

    def __init__(self, constraint: AnswerConstraint, arguments: Mapping[str, str], text: str | None) -> None:
        self._constraint = constraint
        self._arguments = arguments
        self._text = text
        self._ids = dict(constraint.format.mark_ids)

    def write(self) -> str:
        """The grammar, from its rule ``start``."""
        format = self._constraint.format
        if format.has_channels:
            return "\n".join(self._channel_rules())
        rules = [f"start: {self._reasoning(format)} answer", *self._reasoning_rules(format)]
        answers = [] if self._constraint.mode == "required" else ["said"]
        if self._constraint.mode != "none" and self._constraint.tools:
            assert format.calls is not None
            answers.append("called")
            rules += self._call_rules(format.calls)
        rules += [
            f"answer: {' | '.join(answers)}",
            f"GAP: /{_GAP}/",
            "ANY: /(?s:.+)/",
            f"SAID: {self._said('(?s:.+)')}",
        ]
        if "said" in answers:
            rules.append(f"said: {self._text or 'SAID?'}")
        return "\n".join(rules)

    # Messages in channels.

    def _channel_rules(self) -> Iterator[str]:
        tools = self._constraint.tools if self._constraint.mode != "none" else ()
        answers = ["final"] * (self._constraint.mode != "required") + ["called"] * bool(tools)
        later = self._marked("<|end|><|start|>assistant")
        yield "start: thought? answer"
        yield "ANY: /(?s:.+)/"
        yield f"thought: {self._marked('<|channel|>analysis<|message|>')} ANY? {later}"
        yield f"answer: {' | '.join(answers)}"
        yield f"final: {self._marked('<|channel|>final<|message|>')} said"
        yield f"said: {self._text or 'ANY?'}"
        if tools:
            has_lead = self._constraint.mode == "auto" and self._text is None
            yield f"called: {'lead? ' if has_lead else ''}({' | '.join(f'call_{n}' for n, _ in enumerate(tools))})"
            yield f"lead: {self._marked('<|channel|>commentary<|message|>')} ANY? {later}"
            yield f'kind: " json" | " "? {self._marked("<|constrain|>json")}'
        for number, tool in enumerate(tools):
            name = f" to=functions.{tool.name}"
            heads = (self._marked(f"<|channel|>commentary{name}"), self._marked(f"{name}<|channel|>commentary"))
            yield f"call_{number}: ({' | '.join(heads)}) kind? {self._marked('<|message|>')} arguments_{number}"
            yield f"arguments_{number}: {self._arguments[tool.name]}"

    # Reasoning.

    def _reasoning(self, format: AnswerFormat) -> str:
        if format.reasoning is None:
            return ""
        begin = self._marked(format.reasoning[0])
        return "thought" if format.starts_in_reasoning else f"({begin} thought)?"

    def _reasoning_rules(self, format: AnswerFormat) -> Iterator[str]:
        if format.reasoning is not None:
            yield "thought: thinking GAP?"
            end = format.reasoning[1]
            is_token = end in self._ids
            yield f"thinking: ANY? {self._marked(end)}" if is_token else f"thinking[lazy]: /(?s:.*){literal(end)}/"

    # Text.

    def _said(self, pattern: str) -> str:
        """A terminal for texts of this pattern, without those that would be taken for calls."""
        calls = self._constraint.format.calls
        unsaid: list[str] = []
        if calls is not None and self._constraint.mode != "none":
            if calls.opening not in self._ids and not pattern.endswith(literal(calls.opening)):
                unsaid.append(f"(?s:.*){literal(calls.opening)}(?s:.*)")
            if calls.is_bare:
                unsaid.append(f"[ \\n\\r\\t]*{literal(calls.head) or bare_call(calls)}(?s:.*)")
        return " & ".join([f"/{pattern}/", *(f"~/{one}/" for one in unsaid)])

    # Calls.

    def _call_rules(self, calls: CallFormat) -> Iterator[str]:
        needs_opening = not calls.is_bare
        has_lead = self._constraint.mode == "auto" and self._text is None
        opened = "opening calls" if has_lead else f"{self._marked(calls.opening)} calls"
        bare = "calls" if self._constraint.mode == "required" else "GAP? calls"
        yield f"called: {opened}" if needs_opening else f"called: {opened} | {bare}"
        if has_lead and calls.opening in self._ids:
            yield f"opening: SAID? {self._marked(calls.opening)}"
        elif has_lead:
            yield "opening[lazy]: OPENING"
            yield f"OPENING: {self._said(f'(?s:.*){literal(calls.opening)}')}"
        several = f" ({self._marked(calls.between)} call)" if calls.between is not None else ""
        more = f"{several}{{0,{MAX_CALLS - 1}}}" if several and self._constraint.has_many else ""
        yield f"calls: {_pattern(calls.lead)} call{more} {self._marked(calls.closing)}"
        yield f"call: {' | '.join(f'call_{number}' for number, _ in enumerate(self._constraint.tools))}"
        for number, tool in enumerate(self._constraint.tools):
            name, middle = self._marked(calls.head + tool.name), self._marked(calls.middle)
            before = f"{name} {_pattern(calls.number)} {middle}"
            yield f"call_{number}: {before} arguments_{number} {_pattern(calls.tail)}"
            yield f"arguments_{number}: {self._arguments[tool.name]}"

    def _marked(self, text: str) -> str:
        return marked(text, self._ids)


def _pattern(pattern: str) -> str:
    return f"/{pattern}/" if pattern else ""
