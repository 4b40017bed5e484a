"""The settings that actors were given last, kept where Ray keeps the arguments of their first start.

Ray starts an actor that has died with these arguments again, whatever it was told since.
"""

from __future__ import annotations

import pickle

import ray
from ray.experimental import internal_kv

from actors.settings import NAMESPACE, ClusterSettings
from api.logs import event_logger

log = event_logger("greenroom.settings")

_KEY = "settings"


def keep(settings: ClusterSettings) -> None:
    """Keep them for actors that are started again. Blocks: not for an event loop."""
    try:
        internal_kv._internal_kv_put(_KEY, pickle.dumps(settings), namespace=NAMESPACE)
    except Exception:
        log.exception("the settings count, but an actor that is started again will have those of its first start")


def latest() -> ClusterSettings | None:
    """In an actor that was started again, those that were kept last; None in one that starts for the first time.

    Blocks, and so belongs into a constructor.
    """
    try:
        if not ray.get_runtime_context().was_current_actor_reconstructed:
            return None
        kept = internal_kv._internal_kv_get(_KEY, namespace=NAMESPACE)
    except Exception:
        log.exception("the latest settings cannot be read: those of the first start count")
        return None
    return pickle.loads(kept) if kept else None
