from __future__ import annotations

from deployments.ports import free_ports


def test_free_ports_differ() -> None:
    assert len(set(free_ports(5))) == 5
