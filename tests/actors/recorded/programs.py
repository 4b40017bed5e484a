"""Programs that make every kind of call, each suspended in its last ``recv``; one for each group of effects."""

from __future__ import annotations

PROGRAMS = {
    "talk": """
        @inferlet
        async def main(args: Args) -> object:
            send({"arguments": list(args.argv), "id": instance_id()})
            send(b"bytes")
            await send([1, 2.5, None, True, "text"])
            first = [random(), now()]
            print("printed")
            message = await recv()
            try:
                await recv(0.01)
            except TimeoutError:
                send("nothing came")
            last = await recv()
            return [first, message.decode(), last, random() == first[0]]
    """,
    "contexts": """
        @inferlet
        async def main(args: Args) -> object:
            model = get_auto_model()
            names = [model.info.name for model in get_all_models()]
            context = model.create_context()
            context.fill_system("S")
            context.fill_user("hello")
            said = [await context.generate(stop=max_len(3))]
            sampled = Sampler.top_k_top_p(0.7, 5, 0.9)
            said.append(await context.generate(sampled, max_len(3), logit_bias={7: 1.5, 8: -2.0}))
            said.append(await context.generate(Sampler.min_p(1.3, 0.05), max_len(2), allowed_tokens=[1, 2, 3]))
            said.append(await context.generate(stop=max_len(2), constraint=Choice(("a", "b"))))
            said.append(await context.generate(stop=max_len(2) | ends_with("<5>")))
            said.append(await context.generate(stop=max_len(2), constraint=JsonSchema('{"type": "object"}')))
            said.append(await context.generate(stop=max_len(2), constraint=Regex("a+")))
            pieces = [piece async for piece in context.generate(stop=max_len(3))]
            async for piece in context.generate(stop=max_len(3)):
                break
            chosen = await context.generate(Sampler.custom(lambda candidates: candidates.ids[-1], 3), max_len(2))
            candidates = await context.next_distribution(2)
            context.step(candidates.ids[1])
            context.fill("filled")
            await context.flush()
            fork = context.fork()
            fork.retain(Retention("drop"))
            said.append(await fork.generate(stop=max_len(2)))
            await fork.mask(1, 3)
            fork.drop()
            fork.refill()
            fork.rollback(fork.length - 2)
            adapted = model.create_context(adapter="pirate")
            adapted.fill("arr")
            said.append(await adapted.generate(stop=max_len(2)))
            await context.export("kept")
            imported = model.import_context("kept")
            said.append(await imported.generate(stop=max_len(2)))
            fork.close()
            message = await recv()
            context.fill_user(message)
            said.append(await context.generate(stop=max_len(3)))
            return [names, said, pieces, chosen, context.tokens, context.text]
    """,
    "half_way": """
        @inferlet
        async def main(args: Args) -> object:
            context = get_auto_model().create_context()
            context.fill("abc")
            generation = aiter(context.generate(stop=max_len(6)))
            pieces = [await anext(generation) for _ in range(2)]
            message = await recv()
            pieces += [piece async for piece in generation]
            return [pieces, message, context.tokens]
    """,
    "topics": """
        @inferlet
        async def main(args: Args) -> object:
            accepted = await broadcast("zero", "news")
            broadcast({"one": 1}, "news")
            reader = subscribe("news")
            heard = [await reader.recv(), (await reader.event()).value]
            try:
                await reader.recv(0.01)
            except TimeoutError:
                heard.append("nothing")
            late = subscribe("later", replay=False)
            waiting = asyncio.create_task(late.recv())
            await asyncio.sleep(0.01)
            waiting.cancel()
            message = await recv()
            await broadcast(message, "news")
            return [accepted.position, heard, await subscribe("news")]
    """,
    "queues": """
        @inferlet
        async def main(args: Args) -> object:
            for number in range(4):
                await push(number, "work")
            first = await pull("work")
            done = await first.ack()
            second = await pull("work")
            await second.release()
            again = await pull("work", 1.0)
            try:
                await pull("none", 0.01)
            except TimeoutError:
                done = [done, "nothing"]
            message = await recv()
            await again.ack()
            third = await pull("work")
            return [done, first.value, again.value, again.num_deliveries, third.value, message]
    """,
    "parent": """
        @inferlet
        async def main(args: Args) -> object:
            child = await launch("CHILD", ["--any"], name="child")
            other = await launch("CHILD")
            heard = [await child.recv(), await other.recv(5.0)]
            await other.terminate()
            try:
                await other.result()
            except ChildFailed:
                heard.append("ended")
            try:
                await launch("0" * 64)
            except Exception as error:
                heard.append(type(error).__name__)
            message = await recv()
            await child.send(message)
            heard.append(await child.result())
            return heard
    """,
    "store": """
        @inferlet
        async def main(args: Args) -> object:
            await store_put("key", {"value": 1})
            await store_put("other", "text")
            found = [await store_get("key"), await store_get("missing"), await store_list(), await store_list("k")]
            found.append(await store_delete("other"))
            found.append(await recv())
            found.append(await store_get("key"))
            return found
    """,
    "continued": """
        @inferlet
        async def main(args: Args) -> object:
            run, heard = args.state or (0, [])
            if run == 0:
                await broadcast("zero", "runs")
                await broadcast("one", "runs")
            heard.append(await subscribe("runs"))
            send(run)
            if run == 0:
                await continue_as_new((run + 1, heard))
            return [run, heard, await recv()]
    """,
    "timers": """
        import time

        async def tick(name, delay):
            await asyncio.sleep(delay)
            send(name)
            return name

        @inferlet
        async def main(args: Args) -> object:
            names = await asyncio.gather(tick("a", 0.02), tick("b", 0.01), tick("c", 0.0))
            names.append(await asyncio.to_thread(lambda: "thread"))
            try:
                await asyncio.wait_for(recv(), 0.01)
            except TimeoutError:
                names.append("no message")
            try:
                async with asyncio.timeout(0.01):
                    await recv()
            except TimeoutError:
                names.append("none again")
            task = asyncio.create_task(recv())
            await asyncio.sleep(0)
            task.cancel()
            names.append(await recv())
            await asyncio.sleep(0.01)
            return names
    """,
}

CHILD = """
    @inferlet
    async def main(args: Args) -> object:
        send("child is here")
        return ["child heard", await recv()]
"""
