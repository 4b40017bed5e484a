"""Parallel branches with a judge: the same beginning goes on in several ways, and the judge picks one by its number."""

import asyncio

from api.inferlet import Args, Choice, get_auto_model, inferlet, max_len

TASKS = ("Please count from 1 to 3.", "Hello! My name is Ada.", "What is your name?")


@inferlet
async def branches(args: Args) -> dict[str, object]:
    model = get_auto_model()
    shared = model.create_context()
    shared.fill_system("You are a helpful assistant.")
    await shared.flush()

    async def branch(task: str) -> str:
        context = shared.fork()
        context.fill_user(task)
        return await context.generate(stop=max_len(12))

    answers = await asyncio.gather(*(branch(task) for task in TASKS))
    judge = shared.fork()
    judge.fill_user("Which is best? " + " ".join(f"{number}: {answer}" for number, answer in enumerate(answers)))
    verdict = await judge.generate(constraint=Choice(tuple(str(number) for number in range(len(answers)))))
    return {"answers": list(answers), "verdict": verdict, "best": answers[int(verdict)]}
