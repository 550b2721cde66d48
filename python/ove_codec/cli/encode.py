"""`ove-codec encode`: features of the selected patches."""

from __future__ import annotations

import argparse
import os
import warnings
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from ove_codec.cli import common, select
from ove_codec.cli.writing import check_suffix, write_arrays

if TYPE_CHECKING:
    from ove_codec.models import OVEncoder, OVEncoderConfig, OVEncoderOutput
    from ove_codec.selection import Selection
    from ove_codec.tokenizer import Tokens


def add_commands(commands: common.Commands[Any]) -> None:
    parser = common.add_command(
        commands,
        "encode",
        encode,
        "compute features of the selected patches with a 3D-RoPE vision transformer",
        reads="video",
        description="Selects patches as 'select' does, reads their pixels and encodes them. With -o: last_hidden_state "
        "(N, hidden) and pooler_output (1, hidden) float32, positions (N, 3) t, h, w, frame_ids (T,) display indices.",
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="NAME|DIR",
        help="directory of a model (config.json, model.safetensors), or the name of a configuration, such as "
        "ov-encoder-large, for random weights",
    )
    parser.add_argument(
        "-o", "--out", metavar="OUT", help="file for the features: .npz, .safetensors, or .npy (last_hidden_state only)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of random weights (default: 0)")
    select.add_transcode(parser, default="auto")
    common.add_on_damage(parser)
    select.add_selection_options(parser)
    common.add_threads(parser)
    common.add_json(parser)


def encode(args: argparse.Namespace) -> None:
    import torch

    from ove_codec.tokenizer import tokenize

    suffix = check_suffix(args.out, (".npz", ".safetensors", ".npy")) if args.out else ""
    if args.threads > 0:
        torch.set_num_threads(args.threads)
    # What is wrong with the arguments is told before the long work begins.
    config = configuration(args.model)
    with common.replacing(args.out) if args.out else nullcontext() as part:
        video, selection = select.selection_of(args)
        if selection.geometry.patch_size != config.patch_size:
            raise ValueError(
                f"the model takes patches of {config.patch_size} samples, but those of the selection have "
                f"{selection.geometry.patch_size}: pass --patch-size {config.patch_size} and a --size that is a "
                "multiple of it"
            )
        if len(selection) == 0:
            raise ValueError("no patch is selected: lower --tau, or set --budget")
        tokens = tokenize(video, selection, threads=args.threads)
        output = run(load(args.model, args.seed), tokens)
        if part is not None:
            write_arrays(part, suffix, arrays_of(output, tokens, selection), {})
    assert output.last_hidden_state is not None
    shape = list(output.last_hidden_state.shape)
    pooled = None if output.pooler_output is None else list(output.pooler_output.shape)
    facts = {
        "file": args.file,
        "out": args.out,
        "model": args.model,
        **select.selection_facts(selection),
        "last_hidden_state": shape,
        "pooler_output": pooled,
        "mean": float(output.last_hidden_state.mean()),
        "std": float(output.last_hidden_state.std()),
    }
    lines = [
        *select.selection_lines(selection)[:-1],
        ("features", f"{shape}, mean {facts['mean']:.4f}, standard deviation {facts['std']:.4f}"),
        ("pooled", pooled or "none, the model has no head"),
    ]
    common.print_facts(facts, args.json, [*lines, ("file", args.out)] if args.out else lines)


def configuration(model: str) -> OVEncoderConfig:
    """The configuration of a directory or a name; OSError or ValueError where there is none."""
    from ove_codec.models import OVEncoderConfig

    if os.path.isdir(model):
        return OVEncoderConfig.from_file(model)
    try:
        return OVEncoderConfig.named(model)
    except ValueError as error:
        raise ValueError(f"--model {model} is not a directory, and {error}") from None


def load(model: str, seed: int) -> OVEncoder:
    """The encoder of a directory, or one with random weights of a named configuration, with a warning."""
    import torch

    from ove_codec.models import OVEncoder

    if os.path.isdir(model):
        return OVEncoder.from_pretrained(model)
    warnings.warn(
        f"{model} is a configuration without weights: they are random (seed {seed}), so the features mean nothing; "
        f"pass --model a directory with trained weights",
        stacklevel=2,
    )
    torch.manual_seed(seed)
    return OVEncoder.from_config(model).eval()


def run(model: OVEncoder, tokens: Tokens) -> OVEncoderOutput:
    """Encodes with a progress bar that moves layer by layer."""
    import torch

    blocks = model.encoder.layers
    with ExitStack() as stack, torch.inference_mode():
        bar = common.progress(range(len(blocks)), len(blocks), " layers")

        def advance(*_: Any) -> None:
            next(bar, None)

        for block in blocks:
            stack.callback(block.register_forward_hook(advance).remove)
        output: OVEncoderOutput = model(tokens.patches, tokens.positions, tokens.cu_seqlens)
        advance()  # past the last one, which takes the bar away
    return output


def arrays_of(output: OVEncoderOutput, tokens: Tokens, selection: Selection) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of the output file, those of the patches first."""
    assert output.last_hidden_state is not None
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "last_hidden_state": output.last_hidden_state.numpy(),
        "positions": tokens.positions.numpy().astype(np.int32),
        "frame_ids": selection.frame_ids,
    }
    if output.pooler_output is not None:
        arrays["pooler_output"] = output.pooler_output.numpy()
    return arrays
