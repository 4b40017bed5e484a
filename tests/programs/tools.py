"""Tools: the model calls one with arguments that are valid, the program answers, the model goes on from the result."""

import json

from api.inferlet import Args, Tool, ToolChoice, get_auto_model, inferlet, max_len, send

NUMBER = {"type": "integer", "minimum": 0, "maximum": 20}
SCHEMA = {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "required": ["a", "b"]}
ADD = Tool("add", "Adds two numbers.", json.dumps(SCHEMA))


@inferlet
async def tools(args: Args) -> dict[str, object]:
    context = get_auto_model().create_context()
    context.fill_user("What is 2 + 3?")
    asked = context.generate(tools=[ADD], tool_choice=ToolChoice("required"), parallel_tool_calls=False)
    await asked
    (call,) = asked.calls
    arguments = json.loads(call.arguments)
    send(f"{call.name} {call.arguments}")
    context.fill_result(call, str(arguments["a"] + arguments["b"]))
    answer = await context.generate(stop=max_len(16), tools=[ADD], tool_choice=ToolChoice("none"))
    return {"arguments": arguments, "answer": answer, "transcript": context.text}
