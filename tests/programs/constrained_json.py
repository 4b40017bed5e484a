"""JSON that parses, whatever the model would rather say."""

import json

from api.inferlet import Args, JsonSchema, Sampler, get_auto_model, inferlet, max_len

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
}


@inferlet
async def constrained_json(args: Args) -> object:
    context = get_auto_model().create_context()
    context.fill_user("Hello! My name is Ada.")
    text = await context.generate(Sampler.multinomial(1.0), max_len(120), constraint=JsonSchema(json.dumps(SCHEMA)))
    return json.loads(text)
