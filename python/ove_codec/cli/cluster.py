"""`ove-codec cluster`: features to a bank of concepts and labels of every sample."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from ove_codec.cli import common

CENTRES_FILE = "centres.safetensors"
LABELS_FILE = "labels.npy"
COSINES_FILE = "cosines.npy"
ABOUT_FILE = "bank.json"
NAMED_FILE = "labels.jsonl"
_FAISS_BYTES = 8 << 30


def add_commands(commands: common.Commands[Any]) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "cluster",
        help="cluster features into a bank of concepts, and label every sample",
        description=f"Spherical k-means of features (n, D), in .npy or .safetensors files (tensor 'features'). Writes "
        f"{CENTRES_FILE} (k, D), {LABELS_FILE} (n, m) int32, the nearest centres of every row, {COSINES_FILE} (n, m) "
        f"float16, and {ABOUT_FILE}. In the processes of torchrun, features and centres are divided among them.",
    )
    parser.set_defaults(run=cluster)
    parser.add_argument(
        "features", nargs="+", metavar="FEATURES", help=".npy or .safetensors files, or folders of them"
    )
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help="directory to write")
    parser.add_argument("-k", type=int, required=True, metavar="K", help="number of centres")
    parser.add_argument("-m", "--labels", type=int, default=10, metavar="M", help="labels per sample (default: 10)")
    parser.add_argument(
        "--iterations", type=int, default=20, metavar="N", help="maximum number of passes (default: 20)"
    )
    parser.add_argument("--batch", type=int, metavar="N", help="rows between updates (default: one update per pass)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the first centres (default: 0)")
    parser.add_argument(
        "--method",
        choices=("auto", "faiss", "torch"),
        default="auto",
        help="auto: faiss if it is installed, in a single process, for features of at most 8 GiB; otherwise torch",
    )
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="device of --method torch (default: auto)"
    )
    parser.add_argument(
        "--names", metavar="FILE", help=f"file names, one a row of the features: writes {NAMED_FILE} for 'pack' too"
    )
    common.add_json(parser)


def cluster(args: argparse.Namespace) -> None:
    from ove_codec.training.features import FeatureFiles
    from ove_codec.training.launch import choose_device, process_group

    if args.method == "faiss" and args.batch is not None:
        raise ValueError("--batch is for --method torch: leave it out, or add --method torch")
    features = FeatureFiles([Path(path) for path in args.features])
    names = _names(args.names, len(features)) if args.names else None
    target = Path(args.out)
    if target.exists():
        raise FileExistsError(f"{target} already exists: remove it, or choose another directory")
    device = choose_device(args.device)
    with process_group(device) as ranks:
        part = target.with_name(f".{target.name}.partial")
        if ranks.rank == 0:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        ranks.barrier()
        about = _write(args, features, part, ranks, device)
        ranks.barrier()
        if ranks.rank == 0:
            if names is not None:
                _write_named(part, names)
            part.rename(target)
            facts = {"out": args.out, **about}
            common.print_facts(facts, args.json, list(facts.items()))


def _write(args: argparse.Namespace, features: Any, part: Path, ranks: Any, device: Any) -> dict[str, Any]:
    import numpy as np
    from numpy.lib.format import open_memmap
    from safetensors.torch import save_file
    from tqdm import tqdm

    from ove_codec.training import clustering

    total, width = features.shape
    small = ranks.world == 1 and total * width * 4 <= _FAISS_BYTES and args.batch is None
    faiss = args.method == "faiss" or (args.method == "auto" and small and _has_faiss())
    bar = tqdm(total=total, unit=" rows", disable=True if ranks.rank else None, file=sys.stderr, delay=0.5)

    def progress(done: int, _: int) -> None:
        bar.n = done
        bar.refresh()

    with bar:
        if faiss:
            bank = clustering.cluster_faiss(features, args.k, iterations=args.iterations, seed=args.seed)
        else:
            bank = clustering.cluster(
                features, args.k, ranks=ranks, device=device, iterations=args.iterations, batch=args.batch,
                seed=args.seed, progress=progress,
            )  # fmt: skip
        m = min(args.labels, args.k)
        outputs = ((LABELS_FILE, np.int32), (COSINES_FILE, np.float16))
        if ranks.rank == 0:
            for name, dtype in outputs:
                open_memmap(part / name, "w+", dtype, (total, m)).flush()
        ranks.barrier()
        labels, cosines = (np.load(part / name, mmap_mode="r+") for name, _ in outputs)
        clustering.assign(features, bank, m, labels, cosines, ranks=ranks, progress=progress)
        labels.flush()
        cosines.flush()
    centres, counts = clustering.whole(bank, ranks)
    about = {
        "k": args.k,
        "features": total,
        "width": width,
        "labels": m,
        "method": "faiss" if faiss else "torch",
        "seed": args.seed,
        "passes": len(bank.cosine),
        "mean_cosine": bank.cosine[-1],
        "empty": int((counts == 0).sum()),
        "largest": int(counts.max()),
    }
    if ranks.rank == 0:
        save_file({"centres": centres, "counts": counts}, part / CENTRES_FILE)
        (part / ABOUT_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return about


def _has_faiss() -> bool:
    from importlib.util import find_spec

    return find_spec("faiss") is not None


def _names(file: str, count: int) -> list[str]:
    names = Path(file).read_text(encoding="utf-8").splitlines()
    if len(names) != count:
        raise ValueError(f"{file} has {len(names)} names, the features have {count} rows")
    return names


def _write_named(folder: Path, names: list[str]) -> None:
    import numpy as np

    labels = np.load(folder / LABELS_FILE, mmap_mode="r")
    with open(folder / NAMED_FILE, "w", encoding="utf-8") as out:
        for name, row in zip(names, labels, strict=True):
            out.write(json.dumps({"file": name, "labels": row.tolist()}) + "\n")
