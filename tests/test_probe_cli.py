"""`ove-codec probe` from clips to tables: against a plain twin, killed and resumed, in several processes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ove_codec
from ove_codec.cli import main, make_parser
from ove_codec.models import OVEncoder
from ove_codec.probes import AttentiveHead, ProbeRecipe, Setting, reading
from ove_codec.probes.datasets import dataset_info, known_datasets
from ove_codec.probes.families import BACKBONES
from ove_codec.probes.run import summary
from ove_codec.probes.tables import load_results, page, plot, table4, table5
from probe_twin import TwinHead, train_alone
from support import actions, backbones, ffmpeg

needs_x265 = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")

TRAIN, VAL, EPOCHS, BATCH = 27, 13, 6, 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of three actions with manifests, and the weights of a tiny encoder."""
    folder = tmp_path_factory.mktemp("probe")
    rows = {}
    for seed, (name, count) in enumerate((("train", TRAIN), ("val", VAL))):
        rows[name] = actions.action_clips(folder, count, seed)
        lines = [f"{clip},{actions.ACTIONS[label]}" for clip, label in rows[name]]
        (folder / f"{name}.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    both = [{"path": c, "label": n, "split": split} for split, found in rows.items() for c, n in found]
    (folder / "both.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in both))
    (folder / "classes.txt").write_text("\n".join(actions.ACTIONS))
    backbones.save_ov_encoder(folder / "weights")
    return folder


def command(data: Path, out: Path, *more: str, **options: Any) -> list[str]:
    """The arguments of a run; options that are None are left out, and with `manifest` the two manifests."""
    values = {
        "dataset": "actions", "backbone": "ov-encoder-codec", "weights": data / "weights", "budget": "24",
        "patches-per-frame": 64, "cache": out / "cache", "results": out / "results", "epochs": EPOCHS,
        "batch-size": BATCH, "dtype": "float32", "device": "cpu", "workers": 1,
    }  # fmt: skip
    if "manifest" not in options:
        values |= {"train": data / "train.csv", "val": data / "val.csv", "class-names": data / "classes.txt"}
    values |= options
    arguments = [f"--{name}={value}" for name, value in values.items() if value is not None]
    return ["probe", "run", *arguments, *more]


SWEEP: dict[str, Any] = {"lr": "1e-3,3e-3", "seeds": "1,2"}
CODEC = ("--preset=paper", "--num-frames=8", "--no-keep-first-frame")


def printed(capsys: pytest.CaptureFixture[str], argv: Sequence[str]) -> str:
    assert main(list(argv)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], argv: Sequence[str]) -> str:
    assert main(list(argv)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    return err


def environment() -> dict[str, str]:
    paths = [str(Path(ove_codec.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def two_processes(argv: list[Any], **options: Any) -> list[subprocess.Popen[str]]:
    """The processes of this command, started as torchrun does; `options` are those of Popen."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = environment() | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(argv, env=shared | {"RANK": rank, "LOCAL_RANK": rank}, text=True, **options) for rank in "01"
    ]


@pytest.fixture(scope="module")
def result(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of a plain run of two settings and two seeds, in one process."""
    out = tmp_path_factory.mktemp("plain")
    assert main(command(data, out, *CODEC, **SWEEP)) == 0
    (file,) = (out / "results").glob("*.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


# The whole way


@needs_x265
def test_run_matches_twin(result: dict[str, Any], data: Path) -> None:
    """Selection, tokens, features, order of the clips, training and evaluation, done again in the plainest way."""
    model = OVEncoder.from_pretrained(data / "weights")

    def features(split: str) -> tuple[list[Tensor], list[int]]:
        tokens, labels = [], []
        for line in (data / f"{split}.csv").read_text().splitlines()[1:]:
            name, action = line.split(",")
            selection = ove_codec.select(
                data / name, "paper", size=32, patch_size=4, budget=24, num_frames=8, keep_first_frame=False
            )
            patches = ove_codec.tokenize(data / name, selection)
            with torch.no_grad():
                tokens.append(model(patches.patches, patches.positions).last_hidden_state)
            labels.append(actions.ACTIONS.index(action))
        return tokens, labels

    train, val = features("train"), features("val")
    for entry, index in itertools.product(result["seeds"], range(2)):
        orders = [np.random.default_rng([entry["seed"], epoch]).permutation(TRAIN) for epoch in range(EPOCHS)]
        batches = [order[i : i + BATCH].tolist() for order in orders for i in range(0, TRAIN, BATCH)]
        twin = TwinHead(backbones.HIDDEN, 3)
        generator = torch.Generator().manual_seed(entry["seed"])
        twin.load_state_dict(AttentiveHead(backbones.HIDDEN, 3, generator).state_dict())
        head = entry["heads"][index]
        train_alone(twin, *train, batches, head["lr"], head["weight_decay"])
        with torch.no_grad():
            right = (twin(val[0]).argmax(1) == torch.tensor(val[1])).sum()
        assert head["last"] == pytest.approx(100 * int(right) / VAL)
        assert head["accuracies"][-1] == head["last"] and len(head["accuracies"]) == EPOCHS
        assert head["best"] == max(head["accuracies"]) == head["accuracies"][head["best_epoch"] - 1]


@needs_x265
def test_what_a_result_holds(result: dict[str, Any], data: Path) -> None:
    assert (result["dataset"], result["classes"], result["backbone"]) == ("actions", 3, "ov-encoder-codec")
    assert (result["budget"], result["patches_per_frame"], result["preset"]) == (24, 64, "paper")
    assert result["params"] == {"num_frames": 8, "keep_first_frame": False}
    assert result["clips"]["train"] == {"listed": TRAIN, "read": TRAIN, "official": None}
    assert result["unreadable"] == {"train": [], "val": []}
    assert [seed["seed"] for seed in result["seeds"]] == [1, 2]
    assert {(h["lr"], h["weight_decay"]) for h in result["seeds"][0]["heads"]} == {(1e-3, 0.0), (3e-3, 0.0)}
    for row in result["summary"]:
        heads = [h for seed in result["seeds"] for h in seed["heads"] if h["lr"] == row["lr"]]
        for name in ("last", "best"):
            a, b = (head[name] for head in heads)
            assert row[name]["mean"] == pytest.approx((a + b) / 2)
            assert row[name]["deviation"] == pytest.approx(abs(a - b) / 2**0.5)
    first, second = (row["last"]["mean"] for row in result["summary"])
    assert first >= second
    assert summary(result["seeds"][:1])[0]["last"]["deviation"] is None


@needs_x265
def test_second_run_reads_and_trains_nothing(
    result: dict[str, Any], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Several budgets and seeds as JSON; then the same again, from what is on disk."""
    options: dict[str, Any] = {"budget": "24,64", **SWEEP}
    first = json.loads(printed(capsys, command(data, tmp_path, *CODEC, "--json", **options)))
    assert [entry["budget"] for entry in first] == [24, 64]
    assert first[0] == result
    monkeypatch.setattr(reading, "read_codec", None)
    monkeypatch.setattr(torch.optim.AdamW, "step", None)
    assert json.loads(printed(capsys, command(data, tmp_path, *CODEC, "--json", **options))) == first
    text = printed(capsys, command(data, tmp_path, *CODEC, **options))
    best = result["summary"][0]
    assert f"lr {best['lr']:g}, weight decay 0: last epoch {best['last']['mean']:.1f} ± " in text
    assert "actions.ov-encoder-codec.24.paper." in text


@needs_x265
def test_killed_and_resumed(data: Path, tmp_path: Path) -> None:
    """A run that is killed while it trains goes on where it was, to the result of one that was not."""
    options: dict[str, Any] = {"epochs": 16, "seeds": "3"}
    argv = command(data, tmp_path / "killed", *CODEC, "--checkpoint-seconds=0", **options)
    with subprocess.Popen([sys.executable, "-m", "ove_codec.cli", *argv], env=environment()) as process:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "killed").glob("results/checkpoints/*.safetensors")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not list((tmp_path / "killed").glob("results/*.json"))
    steps = []
    step = torch.optim.AdamW.step

    def counted(optimizer: torch.optim.AdamW, *arguments: Any) -> Any:
        steps.append(1)
        return step(optimizer, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", counted)
        assert main(command(data, tmp_path / "killed", *CODEC, **options)) == 0
    assert len(steps) < 48  # 16 epochs of 3
    assert main(command(data, tmp_path / "whole", *CODEC, **options)) == 0
    resumed, whole = (
        json.loads(next((tmp_path / name).glob("results/*.json")).read_text()) for name in ("killed", "whole")
    )
    assert resumed == whole


@needs_x265
def test_two_processes(result: dict[str, Any], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torchrun starts them: shards, batches and the validation set are shared out, the result is that of one."""
    code = (
        "import sys; from ove_codec.cli import main; from ove_codec.probes import cache;"
        "cache._SHARD_CLIPS = 4; sys.exit(main(sys.argv[1:]))"
    )
    argv = command(data, tmp_path, *CODEC, "--json", **SWEEP)
    processes = two_processes([sys.executable, "-c", code, *argv], stdout=subprocess.PIPE)
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[1] == ""  # one process speaks
    (shared,) = json.loads(outputs[0])
    for seed, expected in zip(shared["seeds"], result["seeds"], strict=True):
        for head, alone in zip(seed["heads"], expected["heads"], strict=True):
            assert head["accuracies"] == alone["accuracies"]
            assert head["losses"] == pytest.approx(alone["losses"], abs=1e-4)
    shards = list((tmp_path / "cache").rglob("*.safetensors"))
    assert len(shards) == -(-TRAIN // 4) + -(-VAL // 4)
    assert not list(tmp_path.rglob("*.part"))


@needs_x265
def test_known_data_set_frames_and_unreadable_clips(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (data / "both.jsonl").read_text().splitlines()
    lines.insert(2, json.dumps({"path": "gone.mp4", "label": 1, "split": "val"}))
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(lines))
    options: dict[str, Any] = {
        "dataset": "hmdb51", "backbone": "ov-encoder", "budget": "128", "manifest": manifest, "root": data,
        "epochs": None, "batch-size": None,
    }  # fmt: skip
    argv = command(data, tmp_path, "--protocol=page", **options)
    assert main([*argv, "--verbose"]) == 0
    out, err = capsys.readouterr()
    assert (
        "unreadable, val line 3: gone.mp4: " in err and f"left out as unreadable: 1 of {TRAIN + VAL + 1} clips" in err
    )
    assert err.count("seed 1, epoch ") == 10
    assert "OV-Encoder (Frame) patches_per_frame=64, HMDB51, 128 patches\n" in out
    result = json.loads(next((tmp_path / "results").glob("*.json")).read_text())
    assert (result["recipe"]["epochs"], result["recipe"]["batch_size"]) == (10, 16)
    assert result["clips"]["val"] == {"listed": VAL + 1, "read": VAL, "official": 1530}
    assert [clip["name"] for clip in result["unreadable"]["val"]] == ["gone.mp4"]
    tables = printed(capsys, ["probe", "tables", str(tmp_path / "results")])
    assert "seeds 1, 10 epochs (released scripts: 30, page: 10), lr 0.0001, weight decay 0" in tables
    assert f"val {VAL} of {VAL + 1} clips read (officially 1530)" in tables

    assert main([*argv, "--max-unreadable=0"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.endswith("ove-codec: unreadable clips: 1, more than --max-unreadable 0\n")
    features = printed(capsys, [*argv[:-1], "--features-only", f"--manifest={data / 'both.jsonl'}"])
    assert features.startswith("128 patches: features in ")


@needs_x265
def test_class_folders(result: dict[str, Any], data: Path, tmp_path: Path) -> None:
    """Folders of classes give what the manifests of the same clips give, up to the order of the clips."""
    for split in ("train", "val"):
        for line in (data / f"{split}.csv").read_text().splitlines()[1:]:
            name, action = line.split(",")
            (tmp_path / split / action).mkdir(parents=True, exist_ok=True)
            (tmp_path / split / action / name).symlink_to(data / name)
    folders: dict[str, Any] = {"train": tmp_path / "train", "val": tmp_path / "val", "class-names": None}
    assert main(command(data, tmp_path, *CODEC, **folders, **SWEEP)) == 0
    found = json.loads(next((tmp_path / "results").glob("*.json")).read_text())
    assert found["classes"] == 3 and found["clips"] == result["clips"]
    assert found["summary"][0]["last"]["mean"] == pytest.approx(result["summary"][0]["last"]["mean"], abs=25)


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        ({"dataset": "mine", "class-names": None}, (), "unknown data set 'mine'; choose from ssv2.*classes"),
        ({"dataset": "ssv2"}, (), "Something-Something V2 has 174 classes, not 3"),
        ({"val": None}, (), "give --train and --val, or a --manifest"),
        ({"manifest": "m.csv"}, (), "give --train and --val, or a --manifest"),
        ({"val": "TRAIN"}, (), "27 clips are in both the training and the validation set"),
        ({"lr": "0"}, (), "lr must be positive"),
        ({"epochs": 0}, (), "epochs must be 1 or more"),
        ({"seeds": "1,1"}, (), "seeds must be different"),
        ({"backbone": "ov-encoder"}, ("--preset=paper",), "selection options are for ov-encoder-codec"),
        ({"backbone": "clip"}, (), "holds a model of type 'onevision_encoder'; CLIP is"),
        ({"weights": "none"}, (), "not a directory with a config.json"),
        ({"backbone": "ov-encoder", "budget": "100"}, (), "budget must be a multiple of the 64 patches"),
        ({"workers": -1}, (), "workers and clips_at_once must be 1 or more"),
        ({"device": "abacus"}, (), "device 'abacus' is unknown"),
    ],
)
@needs_x265
def test_bad_runs(
    options: dict[str, Any], more: Sequence[str], message: str, data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import re

    argv = command(data, tmp_path, *more)
    for name, value in options.items():
        argv = [argument for argument in argv if not argument.startswith(f"--{name}=")]
        argv += [] if value is None else [f"--{name}={data / 'train.csv' if value == 'TRAIN' else value}"]
    err = refused(capsys, argv)
    assert re.search(message, err) and err.count("\n") == 1


# Names, tables and the plot


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, ["probe", "list"])
    assert "Diving48 V2: 48 classes, 30 epochs (the page says 10), train / test" in text
    assert "Something-Something V2: 174 classes, 10 epochs, train / validation" in text
    facts = json.loads(printed(capsys, ["probe", "list", "--json"]))
    assert list(facts["backbones"]) == list(BACKBONES) and facts["budgets"] == [512, 1024, 2048, 4096]


def test_defaults_are_the_protocol_s() -> None:
    required = ["--dataset=k400", "--backbone=clip", "--weights=w", "--cache=c", "--results=r"]
    args = make_parser().parse_args(["probe", "run", *required])
    assert (args.preset, args.budget, args.patches_per_frame) == ("probe", [2048], 256)
    assert (args.lr, args.weight_decay, args.seeds, args.features) == ([1e-4], [0.0], [1], "cache")
    recipe = ProbeRecipe()
    assert (recipe.settings, recipe.min_lr, recipe.clip_norm) == ((Setting(1e-4, 0.0),), 1e-7, 5.0)
    assert (recipe.betas, recipe.eps, recipe.label_smoothing) == ((0.9, 0.999), 1e-8, 0.1)


@pytest.mark.parametrize("option", ["--patch-size=3", "--size=3", "--tau=3", "--frame-ids=3", "--backbone=none"])
def test_wrong_usage(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(command(tmp_path, tmp_path, option))
    assert end.value.code == 2 and option.partition("=")[0] in capsys.readouterr().err


def test_command_line_needs_no_torch() -> None:
    code = "import sys; from ove_codec.cli import main; main(['probe', 'list']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True, stdout=subprocess.DEVNULL)


def test_known_data_sets() -> None:
    known = known_datasets()
    classes = {"ssv2": 174, "diving48": 48, "perception_test": 63, "charadesego": 157, "epic_verb": 97,
               "epic_noun": 300, "k400": 400, "hmdb51": 51}  # fmt: skip
    assert {key: info.classes for key, info in known.items()} == classes
    longer = {key for key, info in known.items() if info.epochs["scripts"] == 30}
    assert longer == {"hmdb51", "diving48", "perception_test"}
    assert all(info.epochs["scripts"] in (10, 30) and info.epochs["page"] == 10 for info in known.values())
    small = {key: info.batch_size for key, info in known.items() if info.batch_size != 128}
    assert small == {"ssv2": 32, "diving48": 32, "perception_test": 32, "hmdb51": 16}
    assert dataset_info("mine", 4).classes == 4
    with pytest.raises(ValueError, match="classes must be positive"):
        dataset_info("mine", 0)


def test_page_figures_fit_each_other() -> None:
    """Averages are those of the columns, and Table 5 repeats figures of Table 4."""
    figures = page()
    rows = {(row["method"], row["patches"]): row for row in figures["table4"]}
    assert len(rows) == len(figures["table4"]) == 16
    titles = {family.title for family in BACKBONES.values()}
    for (method, _), row in rows.items():
        assert method in titles and list(row["accuracy"]) == list(known_datasets())
        assert sum(row["accuracy"].values()) / 8 == pytest.approx(row["average"], abs=0.051)
    assert {method for method, _ in rows} == titles
    for row in figures["table5"]:
        for budget in (2048, 4096):
            same = rows[row["method"], budget]["accuracy"][row["dataset"]]
            # The page gives SigLIP2 on Perception Test as 52.7 and 53.3 in both tables, and so on.
            assert row["accuracy"][str(budget)] == same


def made(dataset: str, backbone: str, budget: int, values: Sequence[float], **changes: Any) -> dict[str, Any]:
    seeds = [
        {"seed": n, "heads": [{"lr": 1e-4, "weight_decay": 0.0, "last": value, "best": value + 1, "best_epoch": 1}]}
        for n, value in enumerate(values)
    ]
    codec = BACKBONES[backbone].takes == "codec"
    known = known_datasets()
    return {
        "format": 1, "dataset": dataset, "title": known[dataset].title if dataset in known else dataset,
        "method": BACKBONES[backbone].title, "budget": budget, "patches_per_frame": 256,
        "preset": "probe" if codec else None, "params": {} if codec else None, "recipe": {"epochs": 10},
        "official_epochs": dataset_info(dataset, None if dataset in known else 2).epochs,
        "model": {"model": "m", "hidden_size": 8, "patch_size": 14}, "clips": {}, "seeds": seeds,
        "summary": summary(seeds), **changes,
    }  # fmt: skip


def cells(table: str, *names: str) -> list[str]:
    """The cells of the one row that begins with these."""
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {' | '.join(names)} |")]
    return [cell.strip() for cell in row.strip("|").split("|")][len(names) :]


def test_tables_without_results_are_the_page_s() -> None:
    low, high = table4([]).split("**16 frames / 4096 patches**")
    assert "**8 frames / 2048 patches**" in low
    assert cells(low, "OV-Encoder (Codec)") == [
        "ViT-L/14", "224", "- (60.2)", "- (58.5)", "- (67.2)", "- (60.0)", "- (12.3)", "- (62.3)", "- (53.9)",
        "- (84.4)", "- (83.4)",
    ]  # fmt: skip
    assert cells(high, "DINOv3")[2:5] == ["- (59.1)", "- (58.3)", "- (61.3)"]
    assert "CLIP" not in [line.split("|")[1].strip() for line in high.splitlines() if line.startswith("|")]
    assert cells(table5([]), "Diving48", "OV-Encoder (Codec)") == ["- (46.5)", "- (54.9)", "- (67.2)", "- (69.4)"]
    header = table5([]).splitlines()[0]
    assert "512 patches (96.9 % fewer)" in header and "4096 patches (75.0 % fewer)" in header


def test_tables_with_results() -> None:
    results = [
        made("diving48", "ov-encoder-codec", 2048, [60, 62]),
        made("diving48", "ov-encoder-codec", 512, [40]),
        made("mine", "siglip2", 2048, [10]),
        made("diving48", "ov-encoder-codec", 2048, [70], preset="bitcost"),
        made("diving48", "ov-encoder-codec", 2048, [71], params={"num_frames": 8}),
        *(made(key, "aimv2", 4096, [n]) for n, key in enumerate(known_datasets())),
    ]
    table = table4(results)
    sections = table.split("**")
    assert [name for name in sections if "patches" in name and "|" not in name] == [
        "2 frames / 512 patches", "8 frames / 2048 patches", "16 frames / 4096 patches",
    ]  # fmt: skip
    low = sections[sections.index("8 frames / 2048 patches") + 1]
    assert cells(low, "OV-Encoder (Codec)")[4] == "61.0 ± 1.4 / 62.0 ± 1.4 (67.2)"
    assert cells(low, "OV-Encoder (Codec)")[2] == "- (60.2)"  # no average of some
    assert cells(low, "OV-Encoder (Codec) bitcost")[4] == "70.0 / 71.0"
    assert cells(low, "OV-Encoder (Codec) num_frames=8")[4] == "71.0 / 72.0"
    assert cells(low, "SigLIP2")[-1] == "10.0 / 11.0" and cells(low, "SigLIP2")[2] == "- (53.1)"
    assert cells(sections[-1], "AIMv2")[2:5] == ["3.5 / 4.5 (56.4)", "0.0 / 1.0 (57.2)", "1.0 / 2.0 (55.7)"]
    assert cells(table5(results), "Diving48", "OV-Encoder (Codec)")[:3] == [
        "40.0 / 41.0 (46.5)", "- (54.9)", "61.0 ± 1.4 / 62.0 ± 1.4 (67.2)",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"two results of OV-Encoder \(Codec\) on diving48 with 512 patches"):
        table4([*results, results[1]])


def test_files_that_are_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, message in (
        ("{", "not a JSON file"),
        ("[]", "not a result of a probe"),
        ('{"format": 1}', "lacks dataset"),
    ):
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            load_results([tmp_path])
    assert "no such file" in refused(capsys, ["probe", "tables", str(tmp_path / "none")])


def test_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is an extra")
    budgets = (512, 1024, 2048)
    results = [
        *(made("diving48", "ov-encoder-codec", budget, [40 + n, 42 + n]) for n, budget in enumerate(budgets)),
        made("perception_test", "siglip2", 1024, [30]),
    ]
    for number, result in enumerate(results):
        (tmp_path / f"{number}.json").write_text(json.dumps(result))
    files = [str(tmp_path / f"{number}.json") for number in range(4)]
    printed(capsys, ["probe", "tables", *files, f"--plot={tmp_path / 'a.svg'}"])
    plot(results, tmp_path / "b.svg")
    plot(results, tmp_path / "c.png")
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (tmp_path / "b.svg").read_text()  # the same results, the same file
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    for text in ("Diving48", "Perception Test", "OV-Encoder (Codec), page", "2048"):
        assert f"<!-- {text} -->" in drawn
    assert "DINOv3" not in drawn
    with pytest.raises(ValueError, match="no results to draw"):
        plot([], tmp_path / "d.svg")


def test_plot_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"the plot needs matplotlib: pip install 'ove_codec\[probe\]'"):
        plot([made("diving48", "siglip2", 512, [1])], tmp_path / "a.svg")
