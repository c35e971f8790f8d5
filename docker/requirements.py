"""Print for pip what our projects need, and not the projects: a layer that their code leaves alone.

`python requirements.py client/pyproject.toml[cli] pyproject.toml[models,chat]`, with the extras
that an image has; what one project needs of the other is left out.
"""

import re
import sys
import tomllib
from pathlib import Path


def normalized(requirement: str) -> str:
    """Return the name of a requirement as PEP 503 compares it."""
    name = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0] if name else requirement).lower()


projects, requirements = set(), set()
for argument in sys.argv[1:]:
    path, _, extras = argument.rstrip("]").partition("[")
    project = tomllib.loads(Path(path).read_text(encoding="utf-8"))["project"]
    projects.add(normalized(project["name"]))
    requirements.update(project["dependencies"])
    for extra in filter(None, extras.split(",")):
        requirements.update(project["optional-dependencies"][extra])
for requirement in sorted(requirements):
    if normalized(requirement) not in projects:
        print(requirement)
