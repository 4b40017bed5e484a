"""Four roles that pass a story on over topics: ideas, plot, characters, and the writer, who has seen all three."""

from api.inferlet import Args, broadcast, get_auto_model, inferlet, max_len, subscribe

ROLES = {
    "idea": ([], "Give an idea for a story."),
    "plot": (["idea"], "Give the plot."),
    "people": (["idea", "plot"], "Name the people."),
    "writer": (["idea", "plot", "people"], "Write the story."),
}


@inferlet
async def swarm(args: Args) -> dict[str, object]:
    role = args.value_from_str(["--role"], default="idea")
    story = args.value_from_str(["--story"], default="story")
    sources, task = ROLES[role]
    seen = {source: await subscribe(f"{story}/{source}") for source in sources}
    context = get_auto_model().create_context()
    context.fill_user(" ".join([*seen.values(), task]))
    text = await context.generate(stop=max_len(12))
    await broadcast(text, f"{story}/{role}")
    return {"seen": seen, "said": text}
