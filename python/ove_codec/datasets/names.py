"""Names of the folders of clips."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

from ove_codec.datasets import places
from ove_codec.datasets.clips import Clip


def plain(name: Any) -> str:
    """As much of it as may stand in a file's name."""
    return re.sub(r"[^\w.-]+", "_", places.printable(str(name)))[-80:]


def path_of(clip: Clip) -> str:
    """What tells the clip from all others, printable."""
    return places.printable(clip.place) if clip.member is None else clip.where


def stem_of(clip: Clip) -> str:
    """The name of its file, without suffix."""
    video = clip.place if clip.member is None else clip.name
    return plain(os.path.splitext(os.path.basename(video))[0]) or "clip"


def folder_of(clip: Clip) -> str:
    """The folder of its files."""
    identity = plain(clip.row.get("id", clip.name))
    return f"sample_{identity}__{stem_of(clip)}__{hashlib.sha1(path_of(clip).encode()).hexdigest()[:8]}"
