"""A tokenizer read without ``transformers`` does what ``AutoTokenizer`` does; all others are left to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError
from transformers import AutoTokenizer

from actors.engine.text.plain_tokenizer import PlainTokenizer
from actors.engine.text.tokenizer import Tokenizer
from deployments.config import embedded_model
from tests.actors.engine.text.tokenizers_in_small import (
    byte_fallback_tokenizer,
    byte_level_tokenizer,
    metaspace_tokenizer,
)

TEXTS = [
    "",
    " ",
    "Hello, who are you?",
    "  two  spaces \n\n",
    "Grüße, 日本語 🙂",
    "a<s>b</s>c<|im_end|>d",
    "<|user|>\ufffd",
]
CONVERSATION = [
    {"role": "system", "content": "Be <brief> & kind."},
    {"role": "user", "content": " Hi! "},
    {"role": "assistant", "content": "Hello."},
]


@pytest.fixture(params=[byte_level_tokenizer, byte_fallback_tokenizer, metaspace_tokenizer, None])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make: Callable[[], Any] | None = request.param
    if make is None:
        return Path(embedded_model())
    make().save_pretrained(tmp_path)
    return tmp_path


def test_everything_is_as_transformers_has_it(directory: Path) -> None:
    plain, oracle = PlainTokenizer.read(directory), AutoTokenizer.from_pretrained(directory)
    assert plain is not None
    assert len(plain) == len(oracle)
    assert (plain.bos_token_id, plain.eos_token_id) == (oracle.bos_token_id, oracle.eos_token_id)
    assert plain.all_special_tokens == oracle.all_special_tokens
    assert plain.all_special_ids == oracle.all_special_ids
    assert {*plain.added_tokens_decoder} == {*oracle.added_tokens_decoder}
    for text in TEXTS:
        ids = plain.encode(text, add_special_tokens=False)
        assert ids == oracle.encode(text, add_special_tokens=False)
        for skip in (True, False):
            options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": False}
            assert plain.decode(ids, **options) == oracle.decode(ids, **options)
    for token_id in range(len(oracle)):
        assert plain.convert_ids_to_tokens(token_id) == oracle.convert_ids_to_tokens(token_id)
    assert plain.convert_ids_to_tokens(1_000_000) is None


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_conversation_is_rendered_as_transformers_does(tmp_path: Path, length: int) -> None:
    oracle = byte_level_tokenizer()
    oracle.chat_template = (
        "{%- for message in messages %}\n"
        "    {%- if message.role == 'never' %}{%- continue %}{%- endif %}\n"
        "  {{ bos_token }}{{ message | tojson }}\n"
        "{% endfor %}\n"
        "{% if add_generation_prompt %}go{% endif %}{% if tools %}tools{% endif %}"
    )
    oracle.save_pretrained(tmp_path)
    plain = PlainTokenizer.read(tmp_path)
    assert plain is not None
    tools = [{"type": "function", "function": {"name": "f"}}] if length == 3 else None
    options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": length % 2 == 0, "tools": tools}
    conversation = CONVERSATION[:length]
    assert plain.apply_chat_template(conversation, **options) == oracle.apply_chat_template(conversation, **options)


def test_a_template_may_refuse(tmp_path: Path) -> None:
    oracle = byte_level_tokenizer()
    oracle.chat_template = "{{ raise_exception('no system messages') }}"
    oracle.save_pretrained(tmp_path)
    plain = PlainTokenizer.read(tmp_path)
    assert plain is not None
    with pytest.raises(TemplateError, match="no system messages"):
        plain.apply_chat_template(CONVERSATION, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("fields", [{"tokenizer_class": "LlamaTokenizer"}, {"bos_token": "<unheard of>"}])
def test_what_only_transformers_knows_is_left_to_it(tmp_path: Path, fields: dict[str, Any]) -> None:
    byte_level_tokenizer().save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    assert PlainTokenizer.read(tmp_path) is None
    assert Tokenizer.load(tmp_path).encode("the dog")
