"""The store: runs on disk as folders of versions that exist whole or not at all."""

from wmloop.store.atomic import UnknownOutcomeError
from wmloop.store.draft import KEPT_SNAPSHOTS, Draft
from wmloop.store.evaluations import Evaluation
from wmloop.store.latest import latest_run
from wmloop.store.making import private_folder
from wmloop.store.names import check_run_name, list_runs, new_run_name, require_free
from wmloop.store.notes import take_notes
from wmloop.store.store import Store
from wmloop.store.version import FORMAT, Fault, Version

__all__ = [
    "FORMAT",
    "KEPT_SNAPSHOTS",
    "Draft",
    "Evaluation",
    "Fault",
    "Store",
    "UnknownOutcomeError",
    "Version",
    "check_run_name",
    "latest_run",
    "list_runs",
    "new_run_name",
    "private_folder",
    "require_free",
    "take_notes",
]
