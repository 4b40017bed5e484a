"""ReAct: the model names a tool and its input, the program calls it, the model goes on with what it said."""

import operator
import re
from collections.abc import Callable

from api.inferlet import Args, Regex, get_auto_model, inferlet, max_len, send

OPERATORS: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
ACTION = Regex(r"Action: calculate\([1-9] [+*-] [1-9]\)\n")


def calculate(expression: str) -> int:
    left, sign, right = expression.split()
    return OPERATORS[sign](int(left), int(right))


@inferlet
async def react(args: Args) -> dict[str, object]:
    context = get_auto_model().create_context()
    context.fill_user("Please add 2 and 3 with calculate(a + b).")
    calls = []
    for _ in range(args.value_from_str(["--steps"], default=2)):
        action = await context.generate(constraint=ACTION)
        found = re.search(r"\((.*)\)", action)
        assert found is not None
        observation = calculate(found[1])
        calls.append([found[1], observation])
        context.fill(f"Observation: {observation}\n")
        send(f"{action.strip()} -> {observation}")
    context.fill("Answer:")
    answer = await context.generate(stop=max_len(8))
    return {"calls": calls, "answer": answer, "transcript": context.text}
