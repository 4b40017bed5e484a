"""What the inferlet routes answer, as the server writes and the client reads it. Times are seconds since the epoch."""

from __future__ import annotations

from api.inferlets import State
from api.wire.views import View, called


class ProgramView(View):
    """An entry of ``GET /api/programs``: its hash or ``module:function``, and the file that it was uploaded as."""

    program: str
    file: str


class InferletSummaryView(View):
    """An entry of ``GET /api/inferlets``."""

    id: str = called("id", "instance_id")
    name: str
    program: str
    state: State
    created_at: float
    last_used_at: float


class InferletView(InferletSummaryView):
    """One inferlet; ``end_position`` is the position that its next event will get."""

    id: str = called("id", "summary", "instance_id")
    name: str = called("name", "summary", "name")
    program: str = called("program", "summary", "program")
    state: State = called("state", "summary", "state")
    created_at: float = called("created_at", "summary", "created_at")
    last_used_at: float = called("last_used_at", "summary", "last_used_at")
    arguments: tuple[str, ...]
    parent: str | None
    end_position: int


class ProgramsView(View):
    """``GET /api/programs``."""

    programs: tuple[ProgramView, ...]


class InferletsView(View):
    """``GET /api/inferlets``, the latest used first."""

    inferlets: tuple[InferletSummaryView, ...]


class AcceptedView(View):
    """A message was accepted: its position among those of this inferlet."""

    position: int
