"""Clients that were cut off come back to a server that is there, and need not wait for it; none of them speaks TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.client import retries as patience


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_DELAY_S", 0.005)


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ``httpx`` client reads those it trusts: 17 ms each time."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(Path(__file__).parent))
