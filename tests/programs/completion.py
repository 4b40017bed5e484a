"""Text completion: goes on with what it is given."""

from api.inferlet import Args, get_auto_model, inferlet, max_len


@inferlet
async def completion(args: Args) -> str:
    context = get_auto_model().create_context()
    context.fill(args.value_from_str(["--prompt"], default="Hello"))
    return await context.generate(stop=max_len(args.value_from_str(["--tokens"], default=16)))
