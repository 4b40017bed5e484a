"""What Serve is told by environment variables: it reads them where Ray was started, and nowhere else."""

from __future__ import annotations

SERVE_ENVIRONMENT = {
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
}
"""A replica does all its work in one event loop: ours never block, and handing on costs more than the work."""
