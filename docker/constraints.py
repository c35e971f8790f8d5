"""Print constraints for pip: what is installed stays, and what is not is taken as in a file.

Aeolus itself is not constrained, so that a newer checkout can take an older one's place.

`python constraints.py FILE`, in the Python environment that is to be kept.
"""

import re
import sys
from importlib.metadata import distributions
from pathlib import Path


def normalized(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


installed = {normalized(each.metadata["Name"]): each.version for each in distributions()}
wanted = (line.partition("#")[0].strip() for line in Path(sys.argv[1]).read_text().splitlines())
pins = {
    normalized(name): version
    for name, separator, version in (line.partition("==") for line in wanted)
    if separator
}
for name, version in sorted((pins | installed).items()):
    if name in ("aeolus", "aeolus-client"):
        continue
    print(f"{name}=={version}")
