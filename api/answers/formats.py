"""How models write what is not plain text: calls of tools, and reasoning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from api.errors import Unsupported


@dataclass(frozen=True, slots=True)
class ParameterFormat:
    """How a model writes one argument: ``head``, its name, ``middle``, its value, ``tail``.

    A string is its text as it is; any other value is JSON.
    """

    head: str
    middle: str
    tail: str


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How a model writes calls: ``opening``, ``lead``, the first call, ``between``, the next one, …, ``closing``.

    Each call is ``head``, the tool's name, ``number``, ``middle``, the arguments as JSON, and ``tail``.

    Attributes:
        name: what operators call it.
        marks: texts within the others that are one token each in most models, and mean nothing else then.
        opening: opens the calls, wherever it comes in an answer.
        lead, tail, number: regular expressions, of the syntax that Python and llguidance share.
        between: None where there is one call at most.
        is_bare: the first call at the start of an answer is one without ``opening`` too.
        parameters: None where the arguments are JSON; else how each of them is written, one after another.
        has_keywords: the arguments are Python's keyword arguments, instead of either.
        has_channels: answers are messages in channels: see ``api.answers.channels``. The texts are then those of a call
            in a prompt; all marks must be tokens.
    """

    name: str
    marks: tuple[str, ...]
    opening: str
    lead: str
    head: str
    middle: str
    tail: str
    between: str | None
    closing: str
    is_bare: bool = False
    parameters: ParameterFormat | None = None
    has_keywords: bool = False
    number: str = ""
    has_channels: bool = False


_TAGS = ("<tool_call>", "</tool_call>")
_GLM = (*_TAGS, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
_KIMI = tuple(
    f"<|tool_call{mark}|>" for mark in ("s_section_begin", "s_section_end", "_begin", "_argument_begin", "_end")
)
_CHANNELS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|constrain|>")
_DEEPSEEK = tuple(f"<｜tool▁{mark}｜>" for mark in ("calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep"))

CALL_FORMATS: Mapping[str, CallFormat] = {
    found.name: found
    for found in (
        CallFormat(
            "hermes", _TAGS, "<tool_call>", r"\n", '{"name": "', '", "arguments": ', r"\}\n",
            "</tool_call>\n<tool_call>\n", "</tool_call>",
        ),
        CallFormat(
            "pocket", _TAGS, "<tool_call>", "", '{"name": "', '", "arguments": ', r"\}",
            "</tool_call><tool_call>", "</tool_call>",
        ),
        CallFormat(
            "llama3", ("<|python_tag|>",), "<|python_tag|>", "", '{"name": "', '", "parameters": ', r"\}",
            None, "", is_bare=True,
        ),
        CallFormat(
            "mistral", ("[TOOL_CALLS]",), "[TOOL_CALLS]", r" ?\[", '{"name": "', '", "arguments": ',
            r'(, "id": "[A-Za-z0-9]{9}")?\}', ", ", "]",
        ),
        CallFormat(
            "mistral_args", ("[TOOL_CALLS]", "[ARGS]"), "[TOOL_CALLS]", "", "", "[ARGS]", "", "[TOOL_CALLS]", "",
        ),
        CallFormat(
            "deepseek_v3", _DEEPSEEK, "<｜tool▁calls▁begin｜>", "", "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
            "\n```json\n", r"\n```", "<｜tool▁call▁end｜>\n", "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ),
        CallFormat(
            "deepseek_v31", _DEEPSEEK, "<｜tool▁calls▁begin｜>", "", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "",
            "<｜tool▁call▁end｜>", "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ),
        CallFormat(
            "granite", ("<|tool_call|>",), "<|tool_call|>", r" ?\[", '{"name": "', '", "arguments": ', r"\}",
            ", ", "]",
        ),
        CallFormat(
            "qwen3_coder", _TAGS, "<tool_call>", r"\n", "<function=", ">\n", r"<\/function>\n",
            "</tool_call>\n<tool_call>\n", "</tool_call>",
            parameters=ParameterFormat("<parameter=", ">\n", "\n</parameter>\n"),
        ),
        CallFormat(
            "glm4", _GLM, "<tool_call>", "", "", "\n", "", "</tool_call>\n<tool_call>", "</tool_call>",
            parameters=ParameterFormat("<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n"),
        ),
        CallFormat(
            "glm47", _GLM, "<tool_call>", "", "", "", "", "</tool_call><tool_call>", "</tool_call>",
            parameters=ParameterFormat("<arg_key>", "</arg_key><arg_value>", "</arg_value>"),
        ),
        CallFormat(
            "minimax_m2", ("<minimax:tool_call>", "</minimax:tool_call>"), "<minimax:tool_call>", r"\n",
            '<invoke name="', '">\n', r"<\/invoke>\n", "", "</minimax:tool_call>",
            parameters=ParameterFormat('<parameter name="', '">', "</parameter>\n"),
        ),
        CallFormat("phi4", (), "functools[", "", '{"name": "', '", "arguments": ', r"\}", ", ", "]"),
        CallFormat(
            "kimi_k2", _KIMI, "<|tool_calls_section_begin|>", "", "<|tool_call_begin|>functions.",
            "<|tool_call_argument_begin|>", "", "<|tool_call_end|>", "<|tool_call_end|><|tool_calls_section_end|>",
            number=":[0-9]{1,9}",
        ),
        CallFormat(
            "harmony", _CHANNELS, "<|start|>assistant to=functions.", "", "", "<|channel|>commentary json<|message|>",
            "", None, "", has_channels=True,
        ),
        CallFormat(
            "olmo3", ("<function_calls>", "</function_calls>"), "<function_calls>", "", "", "(", r"\)", "\n",
            "</function_calls>", has_keywords=True,
        ),
        CallFormat(
            "lfm2", ("<|tool_call_start|>", "<|tool_call_end|>"), "<|tool_call_start|>", r"\[", "", "(", r"\)", ", ",
            "]<|tool_call_end|>", has_keywords=True,
        ),
        CallFormat(
            "pythonic", ("<|python_start|>", "<|python_end|>"), "<|python_start|>", r"\[", "", "(", r"\)", ", ", "]",
            is_bare=True, has_keywords=True,
        ),
    )
}  # fmt: skip
"""Of Hermes and Qwen; of ``pocket``; of Llama 3; of older and of newer models of Mistral; of DeepSeek V3 and R1, and of
V3.1; of Granite 3; of Qwen 3 Coder and Qwen 3.5; of GLM 4.5, and of 4.7; of MiniMax M2; of Phi-4-mini; of Kimi K2; of
gpt-oss; of Olmo 3; of LFM2; of Llama 4 and 3.2, where a template asks for lists of calls as Python writes them."""

CHANNEL_REASONING = ("<|channel|>analysis<|message|>", "<|end|>")
REASONING_MARKS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """What the answers of one model look like.

    Attributes:
        calls: None for a model that calls no tools.
        reasoning: the marks around what comes before the answer proper; None for a model that does not reason.
        starts_in_reasoning: the chat template has opened the reasoning already.
        mark_ids: (mark, token id) of the marks that are one token in this model. The same characters in other tokens
            are plain text then.
    """

    calls: CallFormat | None = None
    reasoning: tuple[str, str] | None = None
    starts_in_reasoning: bool = False
    mark_ids: tuple[tuple[str, int], ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks of both, whether they are tokens or not."""
        reasoning = () if self.has_channels else self.reasoning or ()
        return (*(self.calls.marks if self.calls else ()), *reasoning)

    @property
    def has_channels(self) -> bool:
        """Whether they are messages in channels."""
        return self.calls is not None and self.calls.has_channels

    def require_calls(self) -> CallFormat:
        """The format of calls.

        Raises:
            Unsupported: there is none.
        """
        if self.calls is None:
            raise Unsupported(
                "this model has no tools: its chat template has no calls of them, or none in a format that is known "
                f"({', '.join(CALL_FORMATS)})"
            )
        return self.calls

    def with_symbols(self, text: str) -> str:
        """A text of the format, in which a character that no text has replaces each mark that is a token."""
        for symbol, (mark, _) in zip(symbols(self.mark_ids), self.mark_ids, strict=True):
            text = text.replace(mark, symbol)
        return text


def symbols(marks: Iterable[object]) -> list[str]:
    """A noncharacter for each."""
    return [chr(0xFDD2 + number) for number, _ in enumerate(marks)]
