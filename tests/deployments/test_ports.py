from __future__ import annotations

import socket

import pytest

from deployments import ports, serve_environment
from deployments.ports import free_ports, free_range


def test_free_ports_differ() -> None:
    assert len(set(free_ports(5))) == 5


def test_a_row_has_no_port_that_somebody_listens_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        monkeypatch.setattr(ports, "_BELOW_THE_SYSTEMS", range(taken - 10, taken + 20))
        for _ in range(20):
            assert taken not in free_range(5)
        with pytest.raises(OSError, match="no 25 free ports in a row"):
            free_range(25)


def test_two_rays_of_one_machine_have_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_environment, "find_spec", lambda name: object())
    names = ("RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT", "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT")
    environments = [serve_environment.serve_environment() for _ in range(5)]
    rows = {tuple(int(environment[name]) for name in names) for environment in environments}
    assert len(rows) > 1
    assert len({environment["RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"] for environment in environments}) == 5
    assert all(1024 < first and last - first == 199 for first, last in rows)
