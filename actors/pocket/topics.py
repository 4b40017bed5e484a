"""Subjects that the model can say a few sentences about, one after another."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """A subject, and what is said about it, in order."""

    subject: str
    lines: tuple[str, ...]


TOPICS = (
    Topic("the sea", (
        "The sea covers most of our planet.",
        "Its water is salty because rivers carry salt into it.",
        "The moon pulls at the sea, and so the tides come and go.",
        "Whales sing to each other over long distances in it.",
    )),
    Topic("cats", (
        "Cats sleep for most of the day.",
        "They see well in the dark and hear better than we do.",
        "A cat purrs when it is content, and sometimes when it is ill.",
        "Cats land on their feet because they turn while they fall.",
    )),
    Topic("dogs", (
        "Dogs have lived with people for a very long time.",
        "They smell far better than they see.",
        "A dog wags its tail to tell others how it feels.",
        "Some dogs herd sheep, some guard houses, and some only sleep.",
    )),
    Topic("music", (
        "Music is sound with a plan.",
        "A melody is a row of notes that you can sing.",
        "Rhythm is when the notes come, and harmony is which notes sound together.",
        "A song often stays in the head because its parts repeat.",
    )),
    Topic("trains", (
        "Trains roll on steel rails with very little effort.",
        "The first ones were pulled by steam engines.",
        "Many trains today run on electric power from a wire.",
        "A night train lets you sleep while you travel.",
    )),
    Topic("the moon", (
        "The moon goes around the earth once in about four weeks.",
        "It shines because the sun lights it.",
        "We always see the same side of it.",
        "People walked on it for the first time in 1969.",
    )),
    Topic("bread", (
        "Bread is made of flour, water and salt.",
        "Yeast fills the dough with small bubbles, and so it rises.",
        "The crust gets brown and tasty in the heat of the oven.",
        "Old bread makes good toast.",
    )),
    Topic("books", (
        "A book lets you hear somebody who is far away or long gone.",
        "The first books were written by hand.",
        "Printing made books cheap, and so many people learned to read.",
        "A good book can be read twice.",
    )),
    Topic("trees", (
        "Trees make sugar out of light, air and water.",
        "A tree adds a ring to its trunk every year.",
        "Some trees lose their leaves in autumn to save water in winter.",
        "The oldest trees are thousands of years old.",
    )),
    Topic("coffee", (
        "Coffee is made from the roasted seeds of a fruit.",
        "It grows where it is warm and there is no frost.",
        "It keeps people awake because of the caffeine in it.",
        "Some drink it with milk, and some drink it black.",
    )),
    Topic("football", (
        "In football two teams of eleven try to score goals.",
        "Only the goalkeeper may use the hands.",
        "A match lasts ninety minutes and often a little more.",
        "It is played in nearly every country.",
    )),
    Topic("rain", (
        "Rain falls when the drops in a cloud get too heavy.",
        "Plants need it, and so do rivers.",
        "Sun and rain together can make a rainbow.",
        "Many people like to listen to it in bed.",
    )),
    Topic("bees", (
        "Bees live together in a hive with one queen.",
        "They dance to tell each other where the flowers are.",
        "They make honey to live on in winter.",
        "Without bees there would be little fruit.",
    )),
    Topic("mountains", (
        "Mountains rise where the plates of the earth push together.",
        "It gets colder the higher you climb.",
        "Snow stays on the highest ones all year.",
        "Rivers begin in the mountains and end in the sea.",
    )),
)  # fmt: skip
"""What the model knows about the world, all of it."""
