"""Who may import whom (docs/architecture.md), read from the imports themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

import icnet_cli

PACKAGE = Path(icnet_cli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TIERS = (
    ("cli",),
    ("benchmark", "doctor", "pruning"),
    ("training", "pipeline", "export"),
    ("evaluation",),
    ("inference", "reports"),
    ("checkpoints",),
    ("models", "data", "video"),
    ("pixels",),
)
TIER_OF = {room: tier for tier, rooms in enumerate(TIERS) for room in rooms}
EVERYBODYS = {"errors", "config", "classes", "documents", "outputs"}
# What a room may import besides the rooms to its right.
FREE: dict[str, set[str]] = {
    "models": set(),
    "errors": set(),
    "documents": set(),
    "outputs": {"errors"},
    "config": {"errors"},
    "classes": {"errors", "config"},
}
# Third-party modules that one room alone may import.
OWNERS = {"typer": "cli", "rich": "cli", "click": "cli", "av": "video"}


def imports(source: str, package: str = "icnet_cli") -> Iterator[str]:
    """Every module name that a source in `package` imports, anywhere; `from a import b` gives a and a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = resolve_name("." * node.level + (node.module or ""), package)
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    """`data` for icnet_cli/data/layouts.py; the file's own stem beside the rooms."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def own_rooms(room: str, source: str) -> set[str]:
    """What of ours a source in `room` imports, that room itself included."""
    names = (name.split(".") for name in imports(source, f"icnet_cli.{room}"))
    rooms = {parts[1] for parts in names if parts[0] == "icnet_cli" and len(parts) > 1}
    return rooms & (set(TIER_OF) | EVERYBODYS | {"__main__"})


def offences(room: str, source: str) -> list[str]:
    """What a source in `room` does that its room may not."""
    found = [
        f"{room} imports {name}"
        for name in imports(source, f"icnet_cli.{room}")
        for owner in [OWNERS.get(name.split(".")[0], room)]
        if owner != room
    ]
    for other in own_rooms(room, source) - {room} - FREE.get(room, EVERYBODYS):
        if room == "models" or TIER_OF.get(other, -1) <= TIER_OF.get(room, len(TIERS)):
            found.append(f"{room} imports {other}")
    if room not in ("cli", "__main__"):
        calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
        names = {function.id for function in calls if isinstance(function, ast.Name)}
        found += [f"{room} calls {name}()" for name in names & {"print", "exit"}]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_keeps_to_its_room(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        room = "cli"  # the doors of the house: they may open any room
    assert offences(room, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("data", "from icnet_cli.training import trainer"),
        ("data", "import icnet_cli.video.reader"),
        ("pipeline", "def f():\n    from icnet_cli import training"),
        ("models", "from icnet_cli.pixels.cv import cv2"),
        ("models", "from icnet_cli.errors import usage_error"),
        ("evaluation", "import av"),
        ("pipeline", "from rich.console import Console"),
        ("errors", "from icnet_cli.pixels import labels"),
        ("inference", "print('hello')"),
    ],
)
def test_an_offence_is_seen(room: str, source: str) -> None:
    assert offences(room, source)


def test_every_room_is_in_the_picture() -> None:
    rooms = {room_of(path) for path in FILES} - {"__init__", "__main__"}
    assert rooms <= set(TIER_OF) | EVERYBODYS


def reached(room: str) -> set[str]:
    """The rooms that `room` imports, and theirs."""
    found, waiting = set(), [room]
    while waiting:
        here = waiting.pop()
        sources = (path.read_text(encoding="utf-8") for path in FILES if room_of(path) == here)
        new = {other for source in sources for other in own_rooms(here, source)} - found
        found |= new
        waiting += new
    return found


def module_of(path: Path) -> str:
    """icnet_cli.data.layouts for icnet_cli/data/layouts.py, icnet_cli.data for its __init__.py."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules() -> dict[str, set[str]]:
    """What each file imports of ours, inside functions and for types too. The package itself, the door, is left out."""
    modules = {module_of(path) for path in FILES} - {"icnet_cli"}
    found = {}
    for path in FILES:
        package = ".".join(path.parent.relative_to(PACKAGE.parent).parts)
        found[module_of(path)] = set(imports(path.read_text(encoding="utf-8"), package)) & modules
    return found


def circle(imported: dict[str, set[str]]) -> list[str]:
    """The modules of a circle of imports; empty where there is none."""
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_file_needs_one_that_needs_it() -> None:
    assert circle(imported_modules()) == []


def test_a_circle_is_seen() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}
    imported = imported_modules()
    assert "icnet_cli.pipeline.sources" in imported["icnet_cli.pipeline.live"]
    imported["icnet_cli.pipeline.sources"].add("icnet_cli.pipeline.live")
    assert circle(imported)


@pytest.mark.parametrize("room", ["training", "evaluation", "inference"])
def test_training_runs_where_pyav_is_not_installed(room: str) -> None:
    assert "video" not in reached(room)


def test_opencv_is_imported_in_one_place() -> None:
    users = [
        path.relative_to(PACKAGE)
        for path in FILES
        if "cv2" in set(imports(path.read_text("utf-8"), "icnet_cli.x"))
    ]
    assert users == [Path("pixels/cv.py")]


@pytest.mark.parametrize(
    "arguments", [None, ["--help"], ["--version"], ["segment", "--help"], ["segment", "a", "--alpha", "7"]]
)
def test_what_needs_no_network_loads_no_torch(arguments: list[str] | None) -> None:
    """Importing the package, help, the version and refused arguments answer at once."""
    script = "import sys, icnet_cli\n"
    if arguments is not None:
        script += f"sys.argv[1:] = {arguments!r}\nfrom icnet_cli.__main__ import main\n"
        script += "try:\n    main()\nexcept SystemExit:\n    pass\n"
    script += "sys.exit(int(bool({'torch', 'av', 'cv2'} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
