"""Pie's tutorial "Interactive Chat": talks until its user says exit."""

from api.inferlet import Args, Sampler, ends_with_any, get_auto_model, inferlet, max_len, recv, send


@inferlet
async def chat(args: Args) -> None:
    model = get_auto_model()
    context = model.create_context()
    context.fill_system("You are a helpful, respectful and honest assistant.")
    send("Hello, user! How can I help you today?")
    while True:
        message = await recv()
        if message.lower() == "exit":
            send("Goodbye!")
            break
        context.fill_user(message)
        reply = await context.generate(Sampler.top_p(0.6, 0.95), max_len(256).or_(ends_with_any(model.eos_tokens())))
        send(reply)
