"""A tokenizer and a chat template read without ``transformers``, whose import takes longer than the reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Tokenizer

from actors.engine.json_files import read_object

_CLASSES = {"PreTrainedTokenizerFast", "TokenizersBackend"}
"""Those that add nothing to tokenizer.json; each of the others has code of its own in ``transformers``."""

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class PlainTokenizer:
    """What an engine needs of a ``transformers`` tokenizer, under the same names and with the same results."""

    def __init__(self, backend: Tokenizer, config: Mapping[str, Any], chat_template: str | None) -> None:
        self.backend_tokenizer = backend
        self.chat_template = chat_template
        self.special_tokens_map = {name: _content(config[name]) for name in _NAMED if config.get(name)}
        extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
        self.all_special_tokens = list(dict.fromkeys([*self.special_tokens_map.values(), *map(_content, extra)]))

    @classmethod
    def read(cls, model_path: Path) -> PlainTokenizer | None:
        """The tokenizer in a model directory; None where only ``transformers`` knows how to read it."""
        files = [model_path / name for name in ("tokenizer.json", "tokenizer_config.json")]
        if not all(file.is_file() for file in files) or (model_path / "added_tokens.json").is_file():
            return None
        config = read_object(files[1])
        if config.get("tokenizer_class") not in _CLASSES or config.get("auto_map") or config.get("backend") == "custom":
            return None
        template = model_path / "chat_template.jinja"
        chat_template = template.read_text() if template.is_file() else config.get("chat_template")
        if not isinstance(chat_template, str | None) or (model_path / "additional_chat_templates").exists():
            return None
        backend = Tokenizer.from_file(str(files[0]))
        backend.no_truncation()
        backend.no_padding()
        tokenizer = cls(backend, config, chat_template)
        known = all(backend.token_to_id(token) is not None for token in tokenizer.all_special_tokens)
        return tokenizer if known else None

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=True)

    @property
    def bos_token_id(self) -> int | None:
        """The beginning-of-text token."""
        return self._named_id("bos_token")

    @property
    def eos_token_id(self) -> int | None:
        """The end-of-text token."""
        return self._named_id("eos_token")

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of the special tokens that the configuration names."""
        ids = (self.backend_tokenizer.token_to_id(token) for token in self.all_special_tokens)
        return [token_id for token_id in ids if token_id is not None]

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Tokens that are found in a text before it is split, by id."""
        return self.backend_tokenizer.get_added_tokens_decoder()

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """Ids of a text."""
        return self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, ids: Sequence[int], skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> str:
        """The text of ids; cleaning up is not supported."""
        assert not clean_up_tokenization_spaces
        return self.backend_tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def convert_ids_to_tokens(self, token_id: int) -> str | None:
        """A token as the vocabulary spells it; None for an unknown id."""
        return self.backend_tokenizer.id_to_token(token_id)

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]],
        tokenize: bool,
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The text of a conversation; tokenising is not supported.

        Raises:
            jinja2.TemplateError: the template refuses the messages.
        """
        assert not tokenize
        return self._template.render(
            messages=conversation,
            tools=tools,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **self.special_tokens_map,
        )

    @cached_property
    def _template(self) -> Template:
        extensions = [_Generation, loopcontrols]
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
        environment.filters["tojson"] = _to_json
        environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
        return environment.from_string(self.chat_template or "")

    def _named_id(self, name: str) -> int | None:
        token = self.special_tokens_map.get(name)
        return None if token is None else self.backend_tokenizer.token_to_id(token)


class _Generation(Extension):
    """The tag with which a template marks, for training, what the model is to say; it changes nothing in the text."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[Node]:
        """The nodes within."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _content(token: str | Mapping[str, Any]) -> str:
    return token if isinstance(token, str) else str(token["content"])


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    """Unlike jinja's own filter, this one leaves what HTML would escape."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)
