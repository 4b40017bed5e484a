"""Serve on the connected Ray cluster: what runs there, and starting and ending Greenroom in it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException

from actors.cluster.greenroom import DIRECTORY, JOURNAL
from actors.settings import NAMESPACE
from deployments.app import application
from deployments.changes import Part, sentences
from deployments.failures import CommandFailed, sentence_of_trace
from deployments.plan import Plan
from deployments.rollout import APPLICATION, problem_of

logging.getLogger("ray.serve").setLevel(logging.CRITICAL)

_SERVE_NAMESPACE = "serve"


def is_deployed() -> bool:
    """Whether Greenroom is an application of this Serve."""
    return APPLICATION in serve.status().applications


def problem() -> str:
    """Why Greenroom, or a part of it, cannot run, in a sentence; "" where nothing says so."""
    application = serve.status().applications.get(APPLICATION)
    return problem_of(application) if application else ""


def other_applications() -> list[str]:
    """Names of the Serve applications that are not ours."""
    return sorted(set(serve.status().applications) - {APPLICATION})


def other_actors() -> list[str]:
    """Names of the named actors that are neither ours nor Serve's."""
    ours = (NAMESPACE, _SERVE_NAMESPACE)
    return sorted(actor["name"] for actor in _named_actors() if actor["namespace"] not in ours)


def changes(plan: Plan, is_proxied: bool) -> list[str]:
    """What ``deploy`` would change, a sentence for each part of the application."""
    gateway = _application(plan, is_proxied)._bound_deployment
    pools = (pool._bound_deployment for pool in gateway.init_args[1])
    return sentences(_deployed(), [Part.wanted(deployment) for deployment in (gateway, *pools)])


def deploy(plan: Plan, is_proxied: bool) -> None:
    """Send the application to Serve, started where it does not run; returns before anything of it does.

    Args:
        is_proxied: proxies of Serve's listen; else the gateway does, and where Serve is started it gets none.

    Raises:
        CommandFailed: Serve does not take it.
    """
    try:
        serve.start(proxy_location="Disabled")
        target = serve.RunTarget(_application(plan, is_proxied), APPLICATION, logging_config=_mutable(plan.logging))
        serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    except (RayServeException, RayError, RuntimeError, ValueError, TimeoutError) as error:
        raise CommandFailed(f"Serve does not take the application: {sentence_of_trace(str(error))}") from error


def remove_application() -> None:
    """Take Greenroom out of Serve; running turns get the time that the configuration gives them. Idempotent."""
    if is_deployed():
        serve.delete(APPLICATION)


def remove_actors() -> int:
    """End every actor of ours that outlives the application; how many there were.

    The directory goes first, so that it starts no new ones, and the journal last.
    """
    names = [actor["name"] for actor in _named_actors() if actor["namespace"] == NAMESPACE]
    for name in sorted(names, key=lambda name: (name != DIRECTORY, name == JOURNAL)):
        try:
            ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)
        except ValueError:
            continue
    return len(names)


def _application(plan: Plan, is_proxied: bool) -> serve.Application:
    return application(plan.config.model_copy(update={"listen": None}) if is_proxied else plan.config)


def _deployed() -> list[Part]:
    """What Serve was given last."""
    client = _get_global_client(raise_if_no_controller_running=False)
    infos = ray.get(client._controller.list_deployments_internal.remote()) if client else {}
    return [Part.deployed(key.name, info) for key, (info, _) in infos.items() if key.app_name == APPLICATION]


def _named_actors() -> list[Mapping[str, str]]:
    return list(ray.util.list_named_actors(all_namespaces=True))


def _mutable(logging: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return dict(logging) if logging else None
