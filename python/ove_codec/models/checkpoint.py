"""Encoder weights on disk: `config.json` beside `model.safetensors`, in one file or in shards with an index."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import safetensors
import torch
from safetensors.torch import save_file
from torch import nn

from ove_codec.models.config import CONFIG_FILE, OVEncoderConfig
from ove_codec.models.layers import init_weights

Model = TypeVar("Model", bound=nn.Module)

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
WRAPPERS = ("_orig_mod.", "module.")  # torch.compile and DistributedDataParallel put these before the names


def load(make: Callable[[OVEncoderConfig], Model], directory: str | os.PathLike[str], dtype: torch.dtype) -> Model:
    """Reads an encoder from a local directory, in eval mode; nothing is downloaded. `make` builds it from its config.

    The prefixes of torch.compile and DistributedDataParallel are taken off the names. A head that the files lack
    altogether is initialised, with a warning; so is the final norm when the head is missing too.

    Raises:
        FileNotFoundError: the directory, `config.json` or the weights are missing.
        ValueError: a file is damaged, or tensors are missing, unknown or of another shape; the message lists them.
    """
    root = with_config(directory)
    config = OVEncoderConfig.from_file(root)
    with torch.device("meta"):
        model = make(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    state, shapes = read_tensors(weight_files(root), expected, dtype, unwrapped)
    missing = expected.keys() - shapes.keys()

    def absent(part: str) -> bool:
        names = {name for name in expected if name.startswith(f"{part}.")}
        return bool(names) and names <= missing

    initialised = [part for part in ("layernorm_post", "head") if absent("head") and absent(part)]
    missing = {name for name in missing if name.split(".")[0] not in initialised}
    check_fit(root, expected, shapes, missing)

    model.load_state_dict(state, strict=False, assign=True)
    for part in initialised:
        module = model.get_submodule(part).to_empty(device="cpu").to(dtype)
        module.apply(partial(init_weights, std=config.initializer_range))
    if initialised:
        parts = " and ".join(initialised)
        warnings.warn(
            f"{root} has no weights for {parts}: they are initialised at random and must be trained", stacklevel=3
        )
    return model.eval()


def save(model: nn.Module, config: OVEncoderConfig, directory: str | os.PathLike[str]) -> None:
    """Writes `config.json` and `model.safetensors`."""
    root = Path(directory)
    root.mkdir(parents=True, exist_ok=True)
    config.save(root)
    state = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, root / WEIGHTS_FILE, metadata={"format": "pt"})


def with_config(directory: str | os.PathLike[str]) -> Path:
    """The directory; raises FileNotFoundError where it has no `config.json`."""
    root = Path(directory)
    if not (root / CONFIG_FILE).is_file():
        raise FileNotFoundError(
            f"{root} is not a directory with a {CONFIG_FILE}; models are read from local files only, so download the "
            "model first"
        )
    return root


def weight_files(root: Path, wanted: Callable[[str], bool] = lambda name: True) -> list[Path]:
    """The one file, or the shards in which the index has a `wanted` tensor; those must lie in the directory itself."""
    if (root / WEIGHTS_FILE).is_file():
        return [root / WEIGHTS_FILE]
    index = root / INDEX_FILE
    if not index.is_file():
        raise FileNotFoundError(f"{root} holds neither {WEIGHTS_FILE} nor {INDEX_FILE}")
    try:
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = {file for tensor, file in shards.items() if wanted(tensor)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is not an index of safetensors shards: {error!r}") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"{index} names the shard {name!r}, which is not in the same directory")
        if not (root / name).is_file():
            raise FileNotFoundError(f"{root / name} is missing, but {INDEX_FILE} names it")
    return sorted(root / name for name in names)


def read_tensors(
    files: Iterable[Path],
    expected: Mapping[str, tuple[int, ...]],
    dtype: torch.dtype,
    name_of: Callable[[str], str | None],
) -> tuple[dict[str, torch.Tensor], dict[str, tuple[int, ...]]]:
    """The tensors of safetensors files that have an expected shape, and the shapes of all, by their names in the model.

    Args:
        files: to be read.
        expected: shapes by name; tensors of other names or shapes are not read.
        dtype: to which the tensors are converted.
        name_of: the name in the model of a name in a file; None leaves the tensor out.

    Raises:
        ValueError: a file is damaged.
    """
    state: dict[str, torch.Tensor] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        try:
            with safetensors.safe_open(file, framework="pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118 (not a mapping)
                    if (name := name_of(key)) is None:
                        continue
                    shapes[name] = tuple(tensors.get_slice(key).get_shape())
                    if shapes[name] == expected.get(name):
                        state[name] = tensors.get_tensor(key).to(dtype)
        except safetensors.SafetensorError as error:
            raise ValueError(f"{file} is damaged or not a safetensors file: {error}") from error
    return state, shapes


def check_fit(
    root: Path,
    expected: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    missing: Iterable[str],
) -> None:
    """Raises ValueError, with their names, where tensors are missing, not expected or of another shape."""
    unknown = shapes.keys() - expected.keys()
    wrong = {name for name in shapes.keys() & expected.keys() if shapes[name] != expected[name]}
    problems = (
        _listed("missing", (f"{name} {expected[name]}" for name in missing)),
        _listed("unknown", (f"{name} {shapes[name]}" for name in unknown)),
        _listed("of another shape", (f"{name} is {shapes[name]}, expected {expected[name]}" for name in wrong)),
    )
    if any(problems):
        raise ValueError(f"the tensors in {root} do not fit its {CONFIG_FILE}: " + "; ".join(filter(None, problems)))


def has_wrapped_names(directory: str | os.PathLike[str]) -> bool:
    """Whether weights in a local directory carry the prefixes of wrappers; False where there are none to read."""
    try:
        files = weight_files(Path(directory))
        with safetensors.safe_open(files[0], framework="pt") as tensors:
            return any(name.startswith(WRAPPERS) for name in tensors.keys())  # noqa: SIM118 (not a mapping)
    except (OSError, ValueError, safetensors.SafetensorError):
        return False


def unwrapped(name: str) -> str:
    """The name of a tensor without the prefixes of wrappers."""
    while name.startswith(WRAPPERS):
        name = name[name.index(".") + 1 :]
    return name


def _listed(what: str, items: Iterable[str], limit: int = 8) -> str:
    found = sorted(items)
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return f"{what}: {', '.join(found[:limit])}{more}" if found else ""
