"""The concept bank: spherical k-means on one and several ranks, by torch and by faiss, and its command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from ove_codec.cli import main
from ove_codec.training.clustering import Bank, cluster, cluster_faiss
from ove_codec.training.features import FeatureFiles
from ove_codec.training.ranks import Ranks
from support import cluster_checks
from support.workers import Workers


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    group = Workers("support.cluster_checks", 4, tmp_path_factory.mktemp("cluster"))
    yield group
    group.close()


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureFiles:
    return cluster_checks.features(tmp_path_factory.mktemp("features"))


@pytest.mark.parametrize("check", cluster_checks.CHECKS)
def test_ranks(workers: Workers, check: str) -> None:
    assert workers.report(check) == ""


def twin(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """One Lloyd step, row by row."""
    sums = np.zeros_like(centres)
    for row in rows:
        sums[int(np.argmax([row @ centre for centre in centres]))] += row
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)


def test_a_pass_is_lloyds(features: FeatureFiles) -> None:
    rows = features.unit_rows(0, len(features)).astype(np.float64)
    chosen = np.sort(np.random.default_rng(3).choice(len(rows), 7, replace=False))
    bank = cluster(features, 7, ranks=Ranks(), iterations=1, seed=3)
    np.testing.assert_allclose(_unsplit(bank), twin(rows, rows[chosen]), atol=1e-5)


def _unsplit(bank: Bank) -> np.ndarray:
    assert (bank.counts > 0).all()  # none was empty, so none was moved beside another
    return bank.centres.numpy()


@pytest.mark.parametrize("batch", [None, 64])
def test_groups_are_found(features: FeatureFiles, batch: int | None) -> None:
    bank = cluster(features, 33, ranks=Ranks(), iterations=30, batch=batch, seed=1)
    assert bank.cosine[-1] > 0.97 and bank.cosine[-1] > bank.cosine[0]
    assert (bank.counts > 0).all() and bank.counts.sum() == len(features)
    assert bank.centres.norm(dim=1).allclose(torch.ones(33))


def test_empty_centres_split_crowded_ones(tmp_path: Path) -> None:
    """Many equal rows and few others: first centres fall together, and are moved to where the features are."""
    rows = np.concatenate([np.tile([[1.0, 0, 0]], (50, 1)), np.eye(3)[1:], [[-1, 0.1, 0], [0, -1, 0.1]]])
    rows[:50, 1] = np.linspace(-0.2, 0.2, 50)
    np.save(tmp_path / "x.npy", rows)
    bank = cluster(FeatureFiles([tmp_path / "x.npy"]), 6, ranks=Ranks(), iterations=40, seed=0, tolerance=-1)
    assert (bank.counts > 0).sum() >= 5


def test_faiss_and_torch_agree(features: FeatureFiles) -> None:
    pytest.importorskip("faiss", reason="the other k-means")
    ours = cluster(features, 11, ranks=Ranks(), iterations=30, seed=1)
    theirs = cluster_faiss(features, 11, iterations=30)
    assert theirs.cosine[-1] == pytest.approx(ours.cosine[-1], abs=0.03)
    assert theirs.centres.norm(dim=1).allclose(torch.ones(11)) and theirs.counts.sum() == len(features)


@pytest.mark.parametrize("method", ["torch", "faiss"])
def test_command(features: FeatureFiles, tmp_path: Path, method: str, capsys: pytest.CaptureFixture[str]) -> None:
    if method == "faiss":
        pytest.importorskip("faiss")
    (tmp_path / "names.txt").write_text("\n".join(f"{n}.png" for n in range(len(features))))
    folder = str(features.files[0].parent)
    command = ["cluster", folder, "-o", str(tmp_path / "bank"), "-k", "11", "-m", "3", "--method", method, "--json"]
    assert main([*command, "--names", str(tmp_path / "names.txt"), "--device", "cpu"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["k"] == 11 and facts["method"] == method and facts["mean_cosine"] > 0.9
    bank = load_file(tmp_path / "bank" / "centres.safetensors")
    labels = np.load(tmp_path / "bank" / "labels.npy")
    expected = features.unit_rows(0, len(features)) @ bank["centres"].T
    assert np.array_equal(labels[:, 0], expected.argmax(1)) and labels.shape == (330, 3)
    lines = (tmp_path / "bank" / "labels.jsonl").read_text().splitlines()
    assert json.loads(lines[7]) == {"file": "7.png", "labels": labels[7].tolist()}
    assert main([*command, "--device", "cpu"]) == 1  # it already exists
    assert "already exists" in capsys.readouterr().err


def test_bad_features(tmp_path: Path) -> None:
    rows = np.ones((5, 3), np.float32)
    rows[3, 1] = np.nan
    np.save(tmp_path / "nan.npy", rows)
    with pytest.raises(ValueError, match=r"nan\.npy, row 3 has the norm nan"):
        cluster(FeatureFiles([tmp_path / "nan.npy"]), 2, ranks=Ranks())
    save_file({"features": np.zeros((2, 4), np.float32)}, tmp_path / "zero.safetensors")
    with pytest.raises(ValueError, match=r"zero\.safetensors, row 0 has the norm 0"):
        FeatureFiles([tmp_path / "zero.safetensors"]).unit_rows(0, 1)
    with pytest.raises(ValueError, match="the same width"):
        FeatureFiles([tmp_path])
    with pytest.raises(ValueError, match="k must be 1 to the 5 features"):
        cluster(FeatureFiles([tmp_path / "nan.npy"]), 6, ranks=Ranks())
    np.save(tmp_path / "ints.npy", np.ones((3, 3), np.int64))
    with pytest.raises(ValueError, match="int64, but features must be floating point"):
        FeatureFiles([tmp_path / "ints.npy"])
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(ValueError, match=r"text\.npy is not a \.npy file"):
        FeatureFiles([tmp_path / "text.npy"])


def test_rows_across_files(features: FeatureFiles) -> None:
    whole = features.unit_rows(0, len(features))
    for first, last in ((0, 1), (95, 105), (100, 230), (329, 330)):
        assert np.array_equal(features.unit_rows(first, last), whole[first:last])
