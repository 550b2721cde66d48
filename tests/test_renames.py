"""Public names that have changed keep working under their old spellings, and say so."""

from __future__ import annotations

from importlib import import_module

import pytest

RENAMED = [
    ("lmm", "Sample", "LMMSample"),
    ("lmm.processor", "Sample", "LMMSample"),
    ("probes", "Recipe", "ProbeRecipe"),
    ("probes.cache", "Unreadable", "FailedClip"),
    ("probes.manifest", "Sample", "LabelledClip"),
    ("probes.reading", "CodecInput", "CodecRequest"),
    ("probes.reading", "FrameInput", "FrameRequest"),
    ("probes.train", "Recipe", "ProbeRecipe"),
    ("training.recipe", "Recipe", "TrainingRecipe"),
]


@pytest.mark.parametrize(("module", "old", "new"), RENAMED)
def test_an_old_name_is_the_new_one(module: str, old: str, new: str) -> None:
    if module.startswith("lmm"):
        pytest.importorskip("transformers")
    home = import_module(f"ove_codec.{module}")
    with pytest.warns(DeprecationWarning, match=f"{old} is now called {new}") as caught:
        found = getattr(home, old)
    assert found is getattr(home, new)
    assert caught[0].filename == __file__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        home.Nothing  # noqa: B018 (asked for its error)
