"""What deploying a configuration changes of what is deployed: in place, or by restarting what runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.serve import Deployment
from ray.serve._private.config import DeploymentConfig

from deployments.gateway import GATEWAY
from deployments.pool import POOL_PREFIX
from deployments.version import changed_settings

NOTHING = "Nothing changes"


@dataclass(frozen=True, slots=True)
class Part:
    """A deployment of Serve's, ours, as far as it is told of.

    Attributes:
        version: see ``version_of``.
        settings: its ``user_config``.
        scale: how many replicas it has, or between which bounds Serve finds that out.
    """

    name: str
    version: str
    settings: Mapping[str, Any]
    scale: Mapping[str, Any]

    @classmethod
    def wanted(cls, deployment: Deployment) -> Part:
        """One that is to be deployed."""
        return cls._of(deployment.name, deployment.version or "", deployment._deployment_config)

    @classmethod
    def deployed(cls, name: str, info: Any) -> Part:
        """One that Serve was given last, as its ``DeploymentInfo``."""
        return cls._of(name, info.version or "", info.deployment_config)

    @classmethod
    def _of(cls, name: str, version: str, config: DeploymentConfig) -> Part:
        settings = config.user_config if isinstance(config.user_config, Mapping) else {}
        return cls(name, version, settings, _scale_of(config))

    @property
    def title(self) -> str:
        """For people."""
        return "Gateway" if self.name == GATEWAY else f"Model {self.name.removeprefix(POOL_PREFIX)}"


def sentences(deployed: Sequence[Part], wanted: Sequence[Part]) -> list[str]:
    """What happens to each part, in the order of what is wanted; ``NOTHING`` where none changes."""
    before = {part.name: part for part in deployed}
    after = {part.name: part for part in wanted}
    found = [f"{part.title}: {text}" for part in wanted if (text := _change(before.get(part.name), part))]
    found += [f"{part.title}: {_REMOVED}" for name, part in before.items() if name not in after]
    return found or [NOTHING]


_REMOVED = (
    "is removed: running turns get their time to end; its sessions stay in the journal, "
    "and their turns are refused with model_not_found until a model of that name is deployed again"
)


def _change(before: Part | None, after: Part) -> str:
    if before is None:
        return "is added"
    return "; ".join((*_restart(before, after), *_in_place(before, after), *_rescaling(before, after)))


def _restart(before: Part, after: Part) -> Iterator[str]:
    changed = changed_settings(before.version, after.version)
    if not changed:
        return
    why = "" if changed == [""] else f" ({', '.join(changed)})"
    if after.name == GATEWAY:
        yield f"restarts{why}: a new one listens first, and clients go over to it"
    else:
        yield f"restarts{why}: one actor after another, and turns that do not end in time go on where they were"


def _in_place(before: Part, after: Part) -> Iterator[str]:
    old, new = dict(_leaves(before.settings)), dict(_leaves(after.settings))
    if changed := sorted(name for name in old | new if old.get(name) != new.get(name)):
        yield f"takes {', '.join(changed)} in place"


def _rescaling(before: Part, after: Part) -> Iterator[str]:
    names = [name for name in {**before.scale, **after.scale} if before.scale.get(name) != after.scale.get(name)]
    for name in names:
        told = (str(part.scale.get(name, "none")) for part in (before, after))
        yield f"{name}: {' → '.join(told)}"


def _leaves(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their paths; lists, and what is empty, are leaves."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield path + name, value


def _scale_of(config: DeploymentConfig) -> dict[str, Any]:
    scaling = config.autoscaling_config
    if scaling is None:
        return {"num_replicas": config.num_replicas}
    names = ("min_replicas", "max_replicas", "upscale_delay_s", "downscale_delay_s")
    targets = scaling.policy.policy_kwargs if scaling.policy else {}
    return {**{name: getattr(scaling, name) for name in names}, **targets}
