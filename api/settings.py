"""What the HTTP application can be configured with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

LONGEST_OWNER = 128
MARK_CHARS = 8
"""What a message counts beside its text, and what a part of one does, so that many short ones are not nothing."""
SHORTEST_KEY = 8
_SOURCES = ("key", "key_file", "key_env", "sha256")


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ApiKey(_Settings):
    """A key that clients send as ``Authorization: Bearer <key>``, and its owner.

    A configuration has it as ``key``, as ``key_file``, a file that holds it, as ``key_env``, an environment variable,
    or as ``sha256``. The first three are read where the configuration is validated, and only the digest is kept: what
    is written of validated settings, as for Serve, has no key in it. A short key could be guessed from its digest.
    Several keys may have one owner: they see the same sessions.

    Attributes:
        sha256: of the key in UTF-8; 64 hexadecimal digits.
    """

    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]
    owner: str = Field(min_length=1, max_length=LONGEST_OWNER)

    @classmethod
    def of(cls, key: str, owner: str) -> ApiKey:
        """Of the key itself."""
        return cls.model_validate({"key": key, "owner": owner})

    @model_validator(mode="before")
    @classmethod
    def _keep_digest_only(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        given = [name for name in _SOURCES if fields.get(name) is not None]
        if len(given) != 1:
            raise ValueError("one of key, key_file, key_env and sha256 is needed")
        others = {name: value for name, value in fields.items() if name not in _SOURCES}
        value = fields[given[0]]
        return {**others, "sha256": value if given[0] == "sha256" else digest_of(_key_from(given[0], value))}


class PetalsSettings(_Settings):
    """Limits of the Petals protocol.

    Attributes:
        idle_timeout_s: of an HTTP session and of a socket, from its last use.
        max_sessions: an owner's sessions in the whole cluster, above which no HTTP session is opened.
        default_max_length: tokens of a session whose opening does not say.
        max_pending_messages: messages of one socket that may wait to be served.
        close_timeout_s: time for closing a session, or undoing a failed call, after the client has its answer.
    """

    idle_timeout_s: float = Field(default=300.0, gt=0)
    max_sessions: int = Field(default=1000, ge=1)
    default_max_length: int = Field(default=1024, ge=1)
    max_pending_messages: int = Field(default=64, ge=1)
    close_timeout_s: float = Field(default=10.0, gt=0)


class OpenAISettings(_Settings):
    """Limits of OpenAI's protocol.

    Attributes:
        retention_days: a stored response is kept for so long after the last use of its conversation.
    """

    retention_days: float = Field(default=30.0, gt=0, le=36_500)

    @property
    def retention_s(self) -> float:
        """The same in seconds."""
        return self.retention_days * 86_400.0


class ApiSettings(_Settings):
    """Limits and access of one gateway process; times are seconds.

    Attributes:
        max_body_bytes: of an HTTP body and of one WebSocket message. A message of 1 MiB takes up to six in JSON.
        max_prompt_chars: of the text that one turn adds; a token counts as one, a message as ``MARK_CHARS`` more.
        max_concurrent_requests: HTTP calls in progress in this process, from their heads on.
        max_streams: open event streams in this process.
        max_sockets: open WebSockets in this process.
        owner_share: one owner has at most this part of these three, of sessions, of inferlets, and of what a model
            runs and queues. Who has no key is told from others by the client's address.
        cors_origins: origins, beside its own, whose pages may use this server; "*" is any.
        api_keys: empty leaves the server open, with one owner whose name is "".
        allow_upload: programs, which are code that runs on the cluster, may be uploaded with any key, and adapters
            loaded. Without it only where the server listens on loopback, by programs of this machine and the server's
            own page.
    """

    max_body_bytes: int = Field(default=8 << 20, ge=1024)
    max_prompt_chars: int = Field(default=200_000, ge=1)
    max_concurrent_requests: int = Field(default=256, ge=1)
    max_streams: int = Field(default=1024, ge=1)
    max_sockets: int = Field(default=1024, ge=1)
    owner_share: float = Field(default=0.25, gt=0, le=1)
    cors_origins: tuple[str, ...] = ()
    api_keys: tuple[ApiKey, ...] = ()
    allow_upload: bool = False
    petals: PetalsSettings = Field(default_factory=PetalsSettings)
    openai: OpenAISettings = Field(default_factory=OpenAISettings)

    @model_validator(mode="after")
    def _uploads_need_keys(self) -> ApiSettings:
        if self.allow_upload and not self.api_keys:
            raise ValueError("allow_upload needs api_keys: an uploaded program can do anything")
        return self

    @model_validator(mode="after")
    def _keys_differ(self) -> ApiSettings:
        keys = [api_key.sha256 for api_key in self.api_keys]
        if len(set(keys)) != len(keys):
            raise ValueError("api_keys: two entries have the same key")
        return self


def digest_of(key: str) -> str:
    """The SHA-256 of a key, in hexadecimal."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def _key_from(source: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{source}: text is expected")
    key = value if source == "key" else _read(source, value)
    if len(key) < SHORTEST_KEY or not key.isprintable():
        raise ValueError(f"{source}: a key has {SHORTEST_KEY} characters at least, all of them printable")
    return key


def _read(source: str, value: str) -> str:
    if source == "key_env":
        if value not in os.environ:
            raise ValueError(f"key_env: the environment variable {value} is not set")
        return os.environ[value]
    try:
        return Path(value).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"key_file: {value} cannot be read: {getattr(error, 'strerror', 'it is not text')}") from None
