"""Models of the Hugging Face hub, through ``huggingface_hub``: found, sized, downloaded into its cache, listed.

Where the hub is, whose token is used, where the cache is and whether the network may be used say the variables of that
package: HF_ENDPOINT, HF_TOKEN (or ``hf auth login``), HF_HOME and HF_HUB_OFFLINE.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.engine.checkpoints.place import HubModel, place_of
from actors.engine.words import sentence_of
from api.errors import InvalidRequest

_WEIGHTS = "*.safetensors"
_CONFIG = "config.json"
_WANTED = (
    _WEIGHTS,
    "*.safetensors.index.json",
    _CONFIG,
    "generation_config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "additional_chat_templates/*",
)
_UNWANTED = ("*/*.safetensors", "*/*.json", "consolidated*", "*.py", "*.bin", "*.pkl", "*.pt", "*.pth")
"""Weights in other forms, and what can run code."""

_TOLD_EVERY_S = 2.0

DOWNLOADING = "downloading"
"""What the stages of a download begin with."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A revision of a model, as far as it is in the cache of this machine.

    Attributes:
        model: pinned.
        weight_bytes: of all weights; ``missing_bytes``: that would be downloaded.
    """

    model: HubModel
    weight_bytes: int
    missing_bytes: int


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A revision of a model in the cache.

    Attributes:
        revision: the commit; ``refs``: the branches and tags that it was downloaded as.
        last_used: seconds since the epoch, as the file system says it.
    """

    repo_id: str
    revision: str
    refs: tuple[str, ...]
    num_bytes: int
    last_used: float


def pinned(model: HubModel) -> HubModel:
    """The same model by its commit, so that every actor of it, whenever it starts, loads the same weights.

    What a branch is, the hub says; where it cannot be reached, the cache.

    Raises:
        InvalidRequest: neither knows it; one sentence.
    """
    if model.is_pinned:
        return model
    from huggingface_hub import HfApi

    with _refusing(model):
        return model.at(HfApi().resolve_revision(model.repo_id, revision=model.revision).resolved)


def look_up(model: HubModel) -> Snapshot:
    """What there is of a model, without downloading it.

    Raises:
        InvalidRequest: it cannot be served, or nothing is known of it; one sentence.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError

    model = pinned(model)
    with _refusing(model):
        try:
            files = snapshot_download(model.repo_id, **_selection(model), dry_run=True, tqdm_class=_bars())
        except DryRunError:  # the hub cannot be reached: what is in the cache is all that there is
            path = Path(snapshot_download(model.repo_id, **_selection(model), local_files_only=True))
            sizes = [file.stat().st_size for file in path.glob(_WEIGHTS)]
            _require_weights(model, bool(sizes))
            return Snapshot(model, sum(sizes), 0)
    weights = [file for file in files if Path(file.filename).match(_WEIGHTS)]
    _require_weights(model, bool(weights))
    missing = sum(file.file_size or 0 for file in files if file.will_download)
    return Snapshot(model, sum(file.file_size or 0 for file in weights), missing)


def download_config(model: HubModel) -> Path:
    """The ``config.json`` alone, from the cache where it is there.

    Raises:
        InvalidRequest: there is none; one sentence.
    """
    from huggingface_hub import hf_hub_download

    with _refusing(model):
        return Path(hf_hub_download(model.repo_id, _CONFIG, revision=model.revision))


def download(model: HubModel, tell: Callable[[str], object]) -> Path:
    """The directory of a model in the cache, downloaded where it is not there yet; what was interrupted goes on.

    Downloads of one model in several processes of a machine, or of a shared folder, wait for each other.

    Args:
        tell: is told how far it is, every few seconds, from any thread.

    Raises:
        InvalidRequest: it cannot be downloaded; one sentence.
    """
    from huggingface_hub import snapshot_download

    found = look_up(model)
    meter = _Meter(found, tell)
    with _refusing(found.model):
        return Path(snapshot_download(model.repo_id, **_selection(found.model), tqdm_class=_bars(meter.add)))


def local_path(path: str, tell: Callable[[str], object]) -> Path:
    """The directory or the GGUF file of a model on this machine: see ``place_of`` and ``download``."""
    place = place_of(path)
    return download(place, tell) if isinstance(place, HubModel) else place


def cached_models() -> tuple[CachedModel, ...]:
    """The models in the cache of this machine, by name and age."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        found = scan_cache_dir()
    except CacheNotFound:
        return ()
    models = [
        CachedModel(
            repo_id=repo.repo_id,
            revision=revision.commit_hash,
            refs=tuple(sorted(revision.refs)),
            num_bytes=revision.size_on_disk,
            last_used=max((file.blob_last_accessed for file in revision.files), default=revision.last_modified),
        )
        for repo in found.repos
        if repo.repo_type == "model"
        for revision in repo.revisions
    ]
    return tuple(sorted(models, key=lambda model: (model.repo_id.lower(), -model.last_used)))


class _Meter:
    """Tells how many bytes of a download have come, now and then."""

    def __init__(self, snapshot: Snapshot, tell: Callable[[str], object]) -> None:
        self._name = snapshot.model.name
        self._total = snapshot.missing_bytes
        self._tell = tell
        self._lock = threading.Lock()
        self._num_bytes = 0.0
        self._told_at = -_TOLD_EVERY_S

    def add(self, num_bytes: float) -> None:
        """Count more bytes; a negative number takes back those of a download that failed."""
        with self._lock:
            self._num_bytes += num_bytes
            now = time.monotonic()
            if self._total and (self._num_bytes >= self._total or now >= self._told_at + _TOLD_EVERY_S):
                self._told_at = now
                done = min(self._num_bytes, self._total)
                self._tell(f"{DOWNLOADING} {self._name}: {done / 1e6:,.0f} of {self._total / 1e6:,.0f} MB")


def _bars(count: Callable[[float], object] | None = None) -> Any:
    """What ``huggingface_hub`` shows its progress with: bars that are not drawn; that of all bytes is counted."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options | {"disable": True})  # type: ignore[no-untyped-call]
            self._is_of_bytes = (options.get("desc") or "").startswith("Reconstructing")

        def update(self, n: float | None = 1) -> bool | None:
            if self._is_of_bytes and count is not None:
                count(n or 0)
            return None

    return Bar


def _selection(model: HubModel) -> dict[str, Any]:
    return {"revision": model.revision, "allow_patterns": list(_WANTED), "ignore_patterns": list(_UNWANTED)}


def _require_weights(model: HubModel, has_weights: bool) -> None:
    if not has_weights:
        raise InvalidRequest(
            f"{model.name} has no weights in safetensors files (a GGUF file: download it, and name the file)"
        )


@contextmanager
def _refusing(model: HubModel) -> Iterator[None]:
    """One sentence on why the hub does not give what it was asked for."""
    try:
        yield
    except InvalidRequest:
        raise
    except Exception as error:  # of any class: of the hub's package, of its HTTP client's, of the file system's
        raise InvalidRequest(_why_not(model, error)) from error


def _why_not(model: HubModel, error: Exception) -> str:
    from huggingface_hub import constants, errors

    hub, cache = constants.ENDPOINT, constants.HF_HUB_CACHE
    causes = [error, *_causes(error)]

    def is_one(*classes: type[BaseException]) -> bool:
        return any(isinstance(cause, classes) for cause in causes)

    statuses = {cause.response.status_code for cause in causes if isinstance(cause, errors.HfHubHTTPError)}
    if is_one(errors.GatedRepoError):
        return (
            f"{model.repo_id} is gated: ask for access at {hub}/{model.repo_id}, and set HF_TOKEN, or say "
            "`hf auth login`, on every node"
        )
    if is_one(errors.RevisionNotFoundError):
        return f"{model.repo_id} has no revision {model.revision} at {hub}"
    if is_one(errors.RepositoryNotFoundError):
        return (
            f"{hub} has no model {model.repo_id}, or it is private (then set HF_TOKEN); "
            "and no directory of that name is here"
        )
    if statuses & {401, 403}:
        return f"{hub} refuses the token in HF_TOKEN, or of `hf auth login`, for {model.repo_id}"
    if is_one(errors.EntryNotFoundError) and not is_one(errors.LocalEntryNotFoundError):
        return f"{model.name} has no {_CONFIG}"
    if constants.is_offline_mode():
        return f"{model.name} is not wholly in the cache {cache}, and HF_HUB_OFFLINE forbids to download it"
    if is_one(errors.LocalEntryNotFoundError, errors.RevisionResolutionError, ConnectionError):
        return f"{model.name} is not wholly in the cache {cache}, and {hub} does not answer"
    return f"{model.name} cannot be downloaded from {hub}: {sentence_of(error)}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
