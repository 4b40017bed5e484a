"""Prefix caching across inferlets: one exports a computed beginning, others begin there."""

from api.inferlet import Args, get_auto_model, inferlet, max_len

SYSTEM = "You are a helpful, respectful and honest assistant. " * 4


@inferlet
async def prefix(args: Args) -> dict[str, object]:
    model = get_auto_model()
    if args.value_from_str(["--role"], default="exporter") == "exporter":
        context = model.create_context()
        context.fill_system(SYSTEM)
        await context.export("system")
        return {"length": context.length}
    context = model.import_context("system")
    length = context.length
    context.fill_user("Hello!")
    answer = await context.generate(stop=max_len(12))
    plain = model.create_context()
    plain.fill_system(SYSTEM)
    plain.fill_user("Hello!")
    return {"length": length, "answer": answer, "same": answer == await plain.generate(stop=max_len(12))}
