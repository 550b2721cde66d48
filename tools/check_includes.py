#!/usr/bin/env python3
"""Checks that each room in csrc/ includes only what its CMakeLists.txt lists: `ove_room(... KNOWS ...)` for a library,
`target_link_libraries` for an extension module. A room is a folder; it may always include its own headers."""

from __future__ import annotations

import re
import sys
from pathlib import Path

SOURCES = {".h", ".cpp", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"/]+)/', re.MULTILINE)


def targets(room: Path) -> dict[str, set[str]]:
    """The targets that a room defines, with those that they are linked with."""
    text = re.sub(r"#.*", "", (room / "CMakeLists.txt").read_text())
    found: dict[str, set[str]] = {}
    for name, arguments in re.findall(r"ove_room\(\s*(\w+)([^)]*)\)", text):
        found[f"ove_{name}"] = set(arguments.partition("KNOWS")[2].split())
    for name, arguments in re.findall(r"target_link_libraries\(\s*(\w+)([^)]*)\)", text):
        found.setdefault(name, set()).update(arguments.split())
    return found


def violations(csrc: Path) -> list[str]:
    rooms = {path.parent: targets(path.parent) for path in sorted(csrc.glob("*/CMakeLists.txt"))}
    folder_of = {target: room.name for room, defined in rooms.items() for target in defined}
    found = []
    for room, defined in rooms.items():
        allowed = {folder_of[known] for links in defined.values() for known in links if known in folder_of}
        for path in sorted(p for p in room.rglob("*") if p.suffix in SOURCES):
            for match in INCLUDE.finditer(text := path.read_text()):
                included = match[1]
                if included == room.name or included in allowed or not (csrc / included).is_dir():
                    continue
                line = text.count("\n", 0, match.start(1)) + 1
                found.append(f"{path}:{line}: {room.name} includes {included}, which its KNOWS does not list")
    return found


def main() -> int:
    found = violations(Path(sys.argv[1] if len(sys.argv) > 1 else "csrc"))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
