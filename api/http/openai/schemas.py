"""The bodies of OpenAI's protocol: types are strict, null is the default, unknown fields are ignored."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from api.cluster import ModelInfo
from api.errors import InvalidRequest
from api.http.bodies import FirstError, bounded, first_of
from api.http.openai.envelope import InvalidField
from api.turns import BOUNDS, MAX_STOP_CHARS, Sampling

MAX_CHOICES = 128
MAX_STOPS = 4
MAX_KEEP_S = 86_400.0

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}

_SUGGESTED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_PLAIN = ("presence_penalty", "frequency_penalty", "seed")

TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=1, lt=2**31)]


class Lenient(FirstError):
    """What every object of a body has in common."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


AnyBody = TypeVar("AnyBody", bound=Lenient)


class StreamOptions(Lenient):
    """``stream_options``."""

    include_usage: bool | None = None


class PromptCacheOptions(Lenient):
    """``prompt_cache_options``.

    With ``prewarm`` the prompt is computed for later requests, and nothing is answered. What is computed is kept for
    ``ttl``, such as "30m", where others may go.
    """

    prewarm: bool | None = None
    ttl: Annotated[str, Field(pattern="^[0-9]{1,4}[smh]$")] | None = None


class SamplingBody(Lenient):
    """What chat completions and completions have in common.

    ``top_k``, ``min_p`` and ``repetition_penalty`` are not OpenAI's own; vLLM has them under these names.
    """

    model: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[TokenId, float] | None = Field(default=None, max_length=1024)
    seed: int | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stop: str | tuple[str, ...] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    prompt_cache_key: str | None = Field(default=None, max_length=1024)
    prompt_cache_options: PromptCacheOptions | None = None

    @property
    def num_choices(self) -> int:
        """Answers to one prompt."""
        return self.n or 1

    @property
    def is_prewarming(self) -> bool:
        """Whether the prompt is computed and nothing else."""
        return bool(self.prompt_cache_options and self.prompt_cache_options.prewarm)

    @property
    def keep_s(self) -> float:
        """For how long what is computed is to be kept, in seconds, ``MAX_KEEP_S`` at most."""
        ttl = self.prompt_cache_options.ttl if self.prompt_cache_options else None
        return min(float(ttl[:-1]) * _SECONDS[ttl[-1]], MAX_KEEP_S) if ttl else 0.0

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def stops(self) -> tuple[str, ...]:
        """Texts that end the answer.

        Raises:
            InvalidField: too many, an empty one, or one that is too long.
        """
        stops = (self.stop,) if isinstance(self.stop, str) else self.stop or ()
        if len(stops) > MAX_STOPS:
            raise InvalidField(f"stop can have {MAX_STOPS} texts, not {len(stops)}", "stop")
        if not all(0 < len(stop) <= MAX_STOP_CHARS for stop in stops):
            raise InvalidField(f"a stop has 1 to {MAX_STOP_CHARS} characters", "stop")
        return stops

    def sampling(self, model: ModelInfo, num_logprobs: int | None, choice: int) -> Sampling:
        """How one of the choices is drawn: the first one with the request's own seed, the others with those after it.

        Raises:
            InvalidField: a value lies outside its bounds.
        """
        fields = {name: getattr(model.sampling, name) for name in _SUGGESTED}
        fields |= {name: value for name in (*_SUGGESTED, *_PLAIN) if (value := getattr(self, name)) is not None}
        biases = tuple((self.logit_bias or {}).items())
        for name, value in [*fields.items(), *(("logit_bias", bias) for _, bias in biases)]:
            try:
                BOUNDS[name].check(name, value)
            except InvalidRequest as error:
                raise InvalidField(str(error), name) from None
        if any(token_id >= model.vocab_size for token_id, _ in biases):
            raise InvalidField(f"logit_bias: token ids must be below {model.vocab_size}", "logit_bias")
        if self.seed is not None:
            fields["seed"] = _later_seed(self.seed, choice)
        return Sampling(**fields, logit_bias=biases, num_logprobs=num_logprobs, raw_logprobs=num_logprobs is not None)


def _later_seed(seed: int, number: int) -> int:
    low, high = int(BOUNDS["seed"].low), int(BOUNDS["seed"].high)
    return (seed - low + number) % (high - low + 1) + low


def parse_body(kind: type[AnyBody], data: bytes) -> AnyBody:
    """Read a request body.

    Raises:
        InvalidRequest: not JSON, or not as the schema says; names the field.
    """
    try:
        return kind.model_validate_json(bounded(data))
    except ValidationError as error:
        first = first_of(error)
        steps = [str(step) for step in first["loc"]]
        message = first["msg"].removeprefix("Value error, ")
        field = ".".join(steps)
        raise InvalidField(f"{field}: {message}" if field else message, steps[0] if steps else None) from None
