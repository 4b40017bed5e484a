"""What the journal keeps of a thread: little more than what was said, whatever is said."""

from __future__ import annotations

from actors.inferlets.records import Returned, decode
from api.inferlet.context_effects import Generated
from api.inferlet_events import Completed
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.caller import calling, text_of
from tests.actors.threads.scripted import ScriptedEngine


async def test_the_pieces_of_an_answer_do_not_repeat_its_prompt(small: SmallCluster) -> None:
    engine = small.engines[0]
    assert isinstance(engine, ScriptedEngine)
    engine.script = lambda messages: "y" * 100
    async with calling(small) as caller:
        answer = await caller.prompt("x" * 6000)
        assert text_of(answer["blocks"][-1]) == "y" * 100
        assert (await caller.prompt("more", answer["thread_id"]))["run"]["usage"]["cached_tokens"] > 6000
    lines = await small.inferlets.recorded(answer["thread_id"])
    assert sum(map(len, lines)) < 200_000


async def test_the_pieces_that_a_program_reads_do_not_repeat_its_prompt(small: SmallCluster) -> None:
    program = await launched(
        small,
        """
        @inferlet
        async def main(args: Args) -> object:
            context = get_auto_model().create_context()
            context.fill_user("say yyy" + "y" * 2000)
            pieces = [piece async for piece in context.generate(stop=max_len(50))]
            before = context.length
            context.fill_user("say more")
            await context.generate(stop=max_len(50))
            return ["".join(pieces), before]
        """,
    )
    end = (await all_events(program))[-1]
    assert isinstance(end, Completed)
    assert end.value == ["y" * 50, len("\1user\nsay yyy\2\1assistant\n") + 2000 + 50]
    decoded = [decode(line) for line in await small.inferlets.recorded(program.instance_id)]
    pieces = [one.result for one in decoded if isinstance(one, Returned) and isinstance(one.result, Generated)]
    assert sum(len(piece.prompt_ids) > 0 for piece in pieces) == 2, "one of each turn"
