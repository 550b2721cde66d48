"""Progress bars on standard error or in a notebook, where work takes more than a moment."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def bar(total: int | None, shown: bool | None, unit: str = " pictures") -> Any:
    """A tqdm bar of `total` steps, or None where their number is not known.

    `shown` is True, False, or None for a bar only where standard error is a terminal.
    """
    from tqdm.auto import tqdm

    disable = None if shown is None else not shown
    return tqdm(total=total, unit=unit, delay=0.5, leave=False, disable=disable, file=sys.stderr)


def watched(items: Iterable[T], total: int | None, shown: bool | None, unit: str = " pictures") -> Iterator[T]:
    """The items, each of which moves the bar."""
    if shown is False:
        yield from items
        return
    with bar(total, shown, unit) as steps:
        for item in items:
            yield item
            steps.update()
