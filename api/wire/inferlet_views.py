"""What the inferlet routes answer, as the server writes and the client reads it. Times are seconds since the epoch."""

from __future__ import annotations

from api.inferlets import InferletDescription, State
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

    arguments: tuple[str, ...]
    parent: str | None
    end_position: int

    @classmethod
    def described(cls, description: InferletDescription) -> InferletView:
        """From the cluster's value."""
        return cls(
            **InferletSummaryView.of(description.summary).model_dump(),
            arguments=description.arguments,
            parent=description.parent,
            end_position=description.end_position,
        )


class ProgramsView(View):
    """``GET /api/programs``."""

    programs: tuple[ProgramView, ...]


class InferletsView(View):
    """``GET /api/inferlets``, the latest used first."""

    inferlets: tuple[InferletSummaryView, ...]


class AcceptedView(View):
    """A message was accepted: its position among those of this inferlet."""

    position: int
