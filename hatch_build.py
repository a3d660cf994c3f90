"""What hatchling asks as it builds: the project's addresses, and a README whose links lead somewhere from anywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: Where a link of Markdown or HTML leads, if that is to a file of the project: not `https://...`, not `#part`.
_TARGET = re.compile(r"""(\]\(|\b(?:src|href)=")(?!\w+:|#)([^)"\s]+)""")
_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_SHOWN = {".png", ".gif", ".svg", ".jpg", ".webp"}


class CustomMetadataHook(MetadataHookInterface):
    """Fill in `readme` and `urls`, both from `repository` and `branch` under `[tool.wmloop]` in pyproject.toml."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Write the two fields into `metadata`."""
        root = Path(self.root)
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["wmloop"]
        repository, branch = project["repository"], project["branch"]
        text = absolute((root / "README.md").read_text("utf-8"), repository, branch)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = {
            "Homepage": repository,
            "Documentation": f"{repository}/blob/{branch}/docs/index.md",
            "Changelog": f"{repository}/blob/{branch}/CHANGELOG.md",
            "Issues": f"{repository}/issues",
        }


def absolute(text: str, repository: str, branch: str) -> str:
    """Return Markdown whose relative links lead to the repository: pictures to the file, pages to where it is shown."""

    def there(target: re.Match[str]) -> str:
        before, path = target.groups()
        view = "raw" if PurePosixPath(path).suffix in _SHOWN else "blob"
        return f"{before}{repository}/{view}/{branch}/{path}"

    parts = _FENCED.split(text)  # every second one is a program or its output, where brackets mean something else
    return "".join(part if fenced % 2 else _TARGET.sub(there, part) for fenced, part in enumerate(parts))
