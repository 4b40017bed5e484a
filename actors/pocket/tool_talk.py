"""Conversations beside tools, in training: requests that one of them answers, that none does, and other talk."""

from __future__ import annotations

from collections.abc import Callable

from actors.pocket.conversation import Conversation
from actors.pocket.draw import plain
from actors.pocket.invented_tools import drawn_tool, drawn_tools
from actors.pocket.small_talk import CHAT
from actors.pocket.tools import Tool, keywords

NUM_TOOLS = ((1, 2, 3, 4, 6, 9), (5, 5, 6, 3, 1, 0.3))
STORIES = tuple(remark for remark in CHAT if any("{noun}" in prompt for prompt in remark.prompts))
"""What a user tells of a thing, which might be one that a tool is about."""


def talk_with_tools(conversation: Conversation, num_exchanges: int, anything: Callable[[], None]) -> None:
    """Fill a conversation; ``anything`` adds an exchange of any other kind."""
    draw = conversation.draw
    conversation.tools = drawn_tools(draw, draw.random.choices(*NUM_TOOLS)[0])
    while len(conversation.exchanges) < num_exchanges:
        style = draw.random.random()
        if style < 0.55:
            tool = draw.item(conversation.tools)
            conversation.ask_tool(tool)
            conversation.take_result(tool)
        elif style < 0.75:
            conversation.ask_missing_tool(_missing_tool(conversation))
        elif style < 0.8:
            conversation.chat(draw.item(STORIES), noun=draw.item(conversation.tools).noun)
        else:
            _speak_of_no_tool(conversation, anything)


def _missing_tool(conversation: Conversation) -> Tool:
    """One whose words no tool of this conversation has; the verb is often that of one."""
    known = {word for tool in conversation.tools for word in keywords(tool)}
    while True:
        tool = drawn_tool(conversation.draw)
        if not known & set(tool.noun.split()):
            return tool


def _speak_of_no_tool(conversation: Conversation, anything: Callable[[], None]) -> None:
    """Something that a tool cannot be meant by: what the user asks for has no word of any."""
    known = {word for tool in conversation.tools for word in tool.noun.split()}
    while True:
        before = len(conversation.exchanges)
        anything()
        asked = [one for one in conversation.exchanges[before:] if one.kind == "decline"]
        if not any(known & set(plain(one.prompt).split()) for one in asked):
            return
        del conversation.exchanges[before:]
