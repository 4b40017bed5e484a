"""What is told of a user who types."""

from __future__ import annotations

from api.settings import ApiKey, ApiSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.caller import calling, text_of
from tests.actors.threads.test_asks import _holds, rests


async def test_typing_brings_the_threads_actor_before_the_prompt_comes(small: SmallCluster) -> None:
    async with calling(small) as caller:
        thread_id = (await caller.prompt("say one"))["thread_id"]
        await rests(small, thread_id)
        await caller.ask("POST", f"/api/threads/{thread_id}/typing", status=204)
        assert any(_holds(slot, thread_id) for slot in small.slots.values())
        answer = await caller.prompt("list", thread_id)
        assert text_of(answer["blocks"][0]) == "system: Help. | user: say one | assistant: one | user: list"


async def test_nobody_types_in_anothers_thread(small: SmallCluster) -> None:
    keys = tuple(ApiKey.of(f"key-of-{owner}-{'x' * 20}", owner) for owner in ("ada", "bob"))
    settings = ApiSettings(api_keys=keys)
    ada_key, bob_key = (f"key-of-{owner}-{'x' * 20}" for owner in ("ada", "bob"))
    async with calling(small, settings, ada_key) as ada, calling(small, settings, bob_key) as bob:
        thread_id = (await ada.prompt("say one"))["thread_id"]
        await bob.ask("POST", f"/api/threads/{thread_id}/typing", status=404)
        await ada.ask("DELETE", f"/api/threads/{thread_id}", status=204)
        await ada.ask("POST", f"/api/threads/{thread_id}/typing", status=410)
