"""Digests of effects do not change from release to release: a journal that has them would not replay."""

from __future__ import annotations

import hashlib
from dataclasses import make_dataclass
from typing import Any

import pytest

from actors.inferlets.digest import digest
from api.cluster import Retention
from api.constraints import Choice
from api.inferlet.context_effects import (
    Decode,
    Encode,
    Export,
    Generate,
    Generated,
    Import,
    Mask,
    Models,
    NextDistribution,
    NextPiece,
    Prefix,
    ResidentTokens,
    Turn,
)
from api.inferlet.effects import (
    Acknowledge,
    BeginTopic,
    Broadcast,
    Effect,
    Launch,
    NextChildEvent,
    NextTopicEvent,
    Now,
    Pull,
    Pulled,
    Push,
    Random,
    Receive,
    Release,
    Send,
    SendToChild,
    StoreDelete,
    StoreGet,
    StoreList,
    StorePut,
    TerminateChild,
    Until,
)
from api.inferlet.work_effects import AnswerWork, Log, NextOutput, Work
from api.topics import Cursor
from api.turns import BeginningOfText, Message, Sampling, Stop, Text, Tokens, TurnRequest

REQUEST = TurnRequest(
    "t",
    (Message("user", "m"), Text("x"), Tokens((1,)), BeginningOfText()),
    Sampling(0.5, 3, 0.9, 0.1, 1.1, 0.2, 0.3, ((7, 1.5),), 42, 2),
    Stop(4, False, ((1, 2),), ("<x>",), ("<y>",), 2),
    100,
    False,
    (1, 2),
    Choice(("a", "b")),
    3,
)
TURN = Turn("c", "pocket", (1, 2), REQUEST, Retention("adaptive", 9), ((2, 0, 1),), "pirate")
PLAIN = Turn("c", "pocket", (1,), TurnRequest("t", ()), Retention())
PULLED = Pulled("work", 3, {"a": [1, None]}, "receipt", 1)
FROZEN: list[tuple[Effect[Any], str, str]] = [
    (Acknowledge(PULLED), "00c0031c4db02294", "00c0031c4db02294"),
    (AnswerWork("call_1", ["x"]), "03478d3e55d321f0", "03478d3e55d321f0"),
    (BeginTopic("news", False), "94ec7455e1166e70", "94ec7455e1166e70"),
    (Broadcast("news", "value"), "f2cc09dd27376429", "f2cc09dd27376429"),
    (Decode("pocket", (1, 2)), "ed6a1a3219b90ccb", "8e3f38747b2a2dd9"),
    (Encode("pocket", (Text("x"),), 3, "user", True), "87aea57bcd0f4788", "87aea57bcd0f4788"),
    (Export("name", Prefix("pocket", "c", (1,), (), "user", "pirate")), "e60be265a3098881", "96a79f3db7379986"),
    (Generate(TURN), "cde55aaad0e6bf44", "cde55aaad0e6bf44"),
    (Generate(PLAIN), "f4c67e2f8370c36c", "c2d61d6f85b63592"),
    (Import("pocket", "name"), "21dd53e9e3b2c03a", "21dd53e9e3b2c03a"),
    (Launch("program", ("a", "b"), "name"), "79f01c49c42a142b", "79f01c49c42a142b"),
    (Log({"a": 1}), "0754baea6c82c76b", "0754baea6c82c76b"),
    (Mask("c", "pocket", (1, 2, 3), ((2, 0, 1),), 0, 1), "efb3700596c2bbec", "efb3700596c2bbec"),
    (Models(), "333290208a5a1cf4", "333290208a5a1cf4"),
    (NextChildEvent("child", -1, None), "e98098e303260ac2", "e98098e303260ac2"),
    (NextDistribution(PLAIN), "f09cf2ca0a54d9e9", "e137ec1134892be3"),
    (NextOutput(Work("call_1", str), 2, True), "5f4b80640adac5fc", "5f4b80640adac5fc"),
    (NextPiece(TURN, Generated((1,), (2, 3), ("a", "b"))), "e56da90968b654d8", "e56da90968b654d8"),
    (NextTopicEvent("news", Cursor("epoch", 4), 0.5), "7db0e3181b45f917", "7db0e3181b45f917"),
    (Now(), "d9e7d0ef64dd2b9c", "d9e7d0ef64dd2b9c"),
    (Pull("work", None), "09bfee56b299411d", "09bfee56b299411d"),
    (Push("work", [1, 2]), "5fd8b4ce7a4f0585", "5fd8b4ce7a4f0585"),
    (Random(), "1c464aef00d20125", "1c464aef00d20125"),
    (Receive(0.01), "0af5e80c9279e3c5", "0af5e80c9279e3c5"),
    (Release(PULLED), "bfafa63f1b042fb3", "bfafa63f1b042fb3"),
    (ResidentTokens("c"), "d309278b3f12009c", "d309278b3f12009c"),
    (Send({"a": "b"}), "1529ee47c03e3666", "1529ee47c03e3666"),
    (SendToChild("child", b"bytes"), "5d997da643a5087f", "5d997da643a5087f"),
    (StoreDelete("key"), "3d59a1223c06178c", "3d59a1223c06178c"),
    (StoreGet("key"), "7d8134c69ffa2255", "7d8134c69ffa2255"),
    (StoreList("k"), "521303cb05aef1d4", "521303cb05aef1d4"),
    (StorePut("key", 1.5), "57e006676fd4607f", "57e006676fd4607f"),
    (TerminateChild("child"), "8b51d5ab0b507d3d", "8b51d5ab0b507d3d"),
    (Until(1.5), "3166e86ba7dd9925", "3166e86ba7dd9925"),
]


@pytest.mark.parametrize(("effect", "format_0", "format_1"), FROZEN, ids=lambda value: type(value).__name__)
def test_every_effect_keeps_its_digests(effect: Effect[Any], format_0: str, format_1: str) -> None:
    assert (digest(effect, 0), digest(effect, 1)) == (format_0, format_1)


def test_there_is_a_digest_for_every_effect() -> None:
    every = {kind.__name__ for kind in Effect.__subclasses__() if kind.__module__.startswith("api.")}
    assert {type(effect).__name__ for effect, _, _ in FROZEN} == every


def test_format_0_is_the_text_that_earlier_releases_wrote() -> None:
    def hashed(text: str) -> str:
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    prefix = "Prefix(model='pocket', context_id='c', tokens=(1,), holes=(), role=None)"
    assert digest(Export("name", Prefix("pocket", "c", (1,))), 0) == hashed(f"Export(name='name', prefix={prefix})")
    assert digest(Launch("p", ("a",), None), 0) == hashed("Launch(program='p', arguments=('a',), name=None)")
    assert digest(Send({"a": [b"x", 1.5]}), 0) == hashed("Send(value={'a': [b'x', 1.5]})")
    assert digest(NextPiece(PLAIN, Generated((), (1, 2), ("", ""))), 0) == hashed("NextPiece(c, t, 2)")


def test_a_new_optional_field_changes_no_digest() -> None:
    before = make_dataclass("Ask", [("key", str)], bases=(Effect,), frozen=True)
    after = make_dataclass("Ask", [("key", str), ("hint", int | None, None)], bases=(Effect,), frozen=True)
    assert digest(before("k"), 1) == digest(after("k"), 1)
    assert digest(after("k", 1), 1) != digest(after("k"), 1)


def test_other_arguments_have_another_digest() -> None:
    assert len({digest(Receive(timeout), 1) for timeout in (None, 0.0, 0.5)}) == 3
    assert digest(Send(1), 1) != digest(Send("1"), 1)
    assert digest(Encode("m", (Tokens((1,)),)), 1) != digest(Encode("m", (Text("1"),)), 1)
