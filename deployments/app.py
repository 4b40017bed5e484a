"""The application builder: what ``import_path`` in cluster.yaml names.

Annotations are not postponed here: Serve looks at the builder's to know what to make of ``args``.
"""

from ray import serve

from deployments.config import GreenroomConfig
from deployments.gateway import gateway_deployment
from deployments.pool import pool_deployment


def build(args: GreenroomConfig) -> serve.Application:
    """The whole application: a gateway, and a pool for each model. Serve validates ``args`` from the YAML."""
    return gateway_deployment(args, [pool_deployment(model, args.share) for model in args.models])
