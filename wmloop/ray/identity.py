"""What decides episodes on a machine: versions, wmloop's own source, and how its processor computes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

import wmloop
from wmloop.device import instructions
from wmloop.envs import versions

#: Where these differ, a node still drives, but its policy may round otherwise.
_ROUNDING = ("instructions",)


@functools.cache
def identity() -> dict[str, str]:
    """Return what decides episodes on this machine, by name."""
    return {
        "wmloop": f"{wmloop.__version__} (source {source()})",
        "torch": str(torch.__version__).partition("+")[0],  # what is behind it names a build, for a GPU perhaps
        **versions(),
        "instructions": instructions(),
    }


def source() -> str:
    """Return the hash of wmloop's own modules, in short."""
    root, made = Path(wmloop.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        made.update(str(path.relative_to(root)).encode() + b"\0")
        made.update(memoryview(path.read_bytes()))
    return made.hexdigest()[:12]


def differing(wanted: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Return in words what of `here` is another version than `wanted`; nothing where all is the same."""
    names = [name for name in wanted if name not in _ROUNDING and wanted[name] != here.get(name)]
    return ", ".join(f"{name} {here.get(name, 'missing')} where this run has {wanted[name]}" for name in names)


def rounding(wanted: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Return in words how another processor than `wanted` computes `here`; nothing where it is the same."""
    return ", ".join(
        f"{name} {here.get(name)} in the place of {wanted[name]}"
        for name in _ROUNDING
        if wanted[name] != here.get(name)
    )
