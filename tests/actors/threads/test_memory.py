"""What an agent keeps for its owner, over all of its threads."""

from __future__ import annotations

from api.settings import ApiKey, ApiSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.caller import Caller, calling, text_of
from tests.actors.threads.test_promises import called


async def told(caller: Caller, prompt: str, agent: str = "keeper") -> str:
    """The answer in a thread of its own."""
    answer = await caller.prompt(prompt, agent=agent)
    assert answer["run"]["state"] == "succeeded"
    return text_of(answer["blocks"][-1])


async def test_what_is_noted_in_one_thread_is_known_in_the_next_and_to_nobody_else(small: SmallCluster) -> None:
    keys = ApiSettings(api_keys=tuple(ApiKey.of(f"key-of-{owner}", owner) for owner in ("ada", "bob")))
    async with calling(small, keys, "key-of-ada") as ada, calling(small, keys, "key-of-bob") as bob:
        assert await told(ada, called("note", key="dish", text="soup")) == 'told ["dish"]'
        assert await told(ada, called("note", key="drink", text="tea")) == 'told ["dish", "drink"]'
        assert await told(ada, called("recall", key="dish")) == "told soup"
        assert await told(bob, called("recall", key="dish")) == "told None"
        assert await told(ada, called("note", key="dish", text="")) == 'told ["drink"]'
        assert await told(ada, called("recall", key="dish")) == "told None"


async def test_a_key_that_is_none_and_an_agent_without_memory_are_told_so(small: SmallCluster) -> None:
    async with calling(small) as caller:
        assert "64 characters at most" in await told(caller, called("recall", key="k" * 65))
        assert "agent 'forgetful' has no memory" in await told(caller, called("recall", key="k"), "forgetful")
