"""Do what README says, line by line, as somebody does who has just found the project.

    python tools/door.py [FOLDER]

The commands of README's first block run in FOLDER (a new one, if none is given) in one shell, on a clone of this folder as it
is committed. Prints how long each took; stops at the first that fails, with its exit status.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
_END = "the command has ended with"


def commands() -> list[str]:
    """Return the lines of README's first block, with this folder in the place of the repository's address."""
    block = re.search(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None, "README has no commands"
    return [re.sub(r"https://\S+/wmloop", f"{shlex.quote(str(ROOT))} wmloop", line) for line in block[1].splitlines()]


def main(folder: Path) -> int:
    """Run them; return the status of the one that failed, or 0."""
    shell = subprocess.Popen(
        ["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder, text=True
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    with shell:
        for line in commands():
            print(f"$ {line}", flush=True)
            begun = time.monotonic()
            shell.stdin.write(f"{line}\necho {_END} $?\n")
            shell.stdin.flush()
            status = 1
            for said in shell.stdout:
                if said.startswith(_END):
                    status = int(said.removeprefix(_END))
                    break
                print(f"  {said}", end="", flush=True)
            print(f"  [{time.monotonic() - begun:.0f} s]", flush=True)
            if status:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="wmloop-door-"))))
