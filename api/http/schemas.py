"""What a client may send to the routes of sessions, programs and inferlets, checked before anything is done with it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from api.cluster import Retention, SessionOptions
from api.http.bodies import Body
from api.http.turn_schemas import TurnId

Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class RetentionBody(Body):
    """What happens to the context between turns; ``threshold`` is in tokens and concerns ``adaptive``."""

    policy: Literal["keep", "drop", "adaptive", "predictive"] = "keep"
    threshold: int = Field(default=256, ge=0)


class OpenSessionBody(Body):
    """``POST /api/sessions``."""

    model: str | None = None
    retention: RetentionBody = RetentionBody()
    max_context: int | None = Field(default=None, ge=1)
    idle_timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    adapter: str | None = None
    title: Title | None = None

    def options(self) -> SessionOptions:
        """The same for the cluster."""
        retention = Retention(self.retention.policy, self.retention.threshold)
        return SessionOptions(self.model, retention, self.max_context, self.idle_timeout_s, self.adapter, self.title)


class RenameBody(Body):
    """``PATCH /api/sessions/{id}``."""

    title: Title


class ForkBody(Body):
    """``POST /api/sessions/{id}/fork``: at a length in tokens, right before a turn, or (neither) at the end."""

    length: int | None = Field(default=None, ge=0)
    turn_id: TurnId | None = None

    @model_validator(mode="after")
    def _check(self) -> ForkBody:
        if self.length is not None and self.turn_id is not None:
            raise ValueError("give length or turn_id, not both")
        return self


class RollbackBody(ForkBody):
    """``POST /api/sessions/{id}/rollback``: to a length in tokens, or to right before a turn."""

    @model_validator(mode="after")
    def _check(self) -> RollbackBody:
        if (self.length is None) == (self.turn_id is None):
            raise ValueError("give either length or turn_id")
        return self


class ProgramBody(Body):
    """``POST /api/programs``: Python source, and the name of its file."""

    source: str = Field(min_length=1)
    file: str = Field(default="program.py", min_length=1, max_length=200, pattern=r"^[^/\\\x00-\x1f]+$")


class LaunchBody(Body):
    """``POST /api/inferlets``: a program by its hash or ``module:function``, once for each ``request_id``."""

    program: str = Field(min_length=1, max_length=300)
    arguments: tuple[Annotated[str, Field(max_length=65_536)], ...] = Field(default=(), max_length=1024)
    name: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")
    request_id: str | None = Field(default=None, min_length=1, max_length=200)
