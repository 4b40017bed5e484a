"""An editor, which is a function: drafts, has two others look at the draft at once, asks a person, and publishes."""

import asyncio

from api.agents import Agent, CallFailed, Prompt, agent, ask, call, emit, status, tool
from api.inferlet import max_len

MAX_TOKENS = 60
DAY_S = 86_400.0

critic = Agent(
    name="critic",
    description="Says what is wrong with a text.",
    system="You are a critic. Say in one sentence what is wrong with the text.",
    max_tokens=MAX_TOKENS,
)


@tool(retry_safe=True)
def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


@tool(needs_approval=True)
async def publish(text: str) -> str:
    """Publish a text."""
    return f"published {len(text)} characters"


@agent(name="editor", tools=[critic, count_words, publish], max_tokens=10 * MAX_TOKENS)
async def edit(prompt: Prompt) -> None:
    """Writes a sentence about something, and publishes it."""
    writing = prompt.model.create_context()
    writing.fill_system("You are a writer. Write one sentence about what you are asked for.")
    writing.fill_user(prompt.text)
    await status("Drafting", "draft")
    draft = await writing.generate(stop=max_len(MAX_TOKENS))
    await emit("reasoning", draft)

    critique, num_words = await asyncio.gather(call(critic, prompt=draft), call(count_words, text=draft))
    style = await ask(f"The draft has {num_words} words. How is it to sound?", str, timeout_s=DAY_S, if_expired="deny")

    writing.fill_user(f"A critic says: {critique}\nWrite it again, so that it sounds {style or 'plain'}.")
    final = writing.generate(stop=max_len(MAX_TOKENS))
    await emit("message", final)
    try:
        await call(publish, text=final.text)
    except CallFailed as refused:
        await emit("message", f"It is not published: {refused}")
