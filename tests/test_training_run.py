"""Whole runs in one process: killed, not finite, with bad data, evaluated, exported; and what recipes refuse."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from ove_codec.cli import main
from ove_codec.data import HeadData, Mixture, synthetic, write_shards
from ove_codec.data.inputs import ImageInput
from ove_codec.data.shards import Sample
from ove_codec.models import OVEncoder, OVEncoderConfig
from ove_codec.training import checkpoint, recipe
from ove_codec.training.evaluation import linear_probe, nearest_neighbours
from ove_codec.training.journal import encoder_flops
from ove_codec.training.launch import process_group
from ove_codec.training.optimization import learning_rate, parameter_groups
from ove_codec.training.recipe import Optimizer, as_json, load_recipe
from ove_codec.training.skips import TrainingError
from ove_codec.training.trainer import Trainer
from support import recipes

yaml = pytest.importorskip("yaml", reason="recipes are YAML")
CPU = torch.device("cpu")
KILLS = int(os.environ.get("OVE_KILLS", "3"))  # in random places; more take longer


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Bits depend on the number of threads, and the processes that are compared must have the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    recipes.make_data(folder)
    return folder


def run(data: Path, out: Path, **changes: Any) -> dict[str, float]:
    with process_group(CPU) as ranks:
        return Trainer(recipes.recipe(data, out, **changes), ranks, CPU).run()


def write_recipe(data: Path, out: Path, file: Path, **changes: Any) -> str:
    file.write_text(yaml.safe_dump(recipes.values(data, out, **changes)))
    return str(file)


def tensors(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as part:
            found |= {name: part.get_tensor(name) for name in part.keys()}  # noqa: SIM118 (not a mapping)
    return found


def _run_forever(data: str, out: str) -> None:
    torch.set_num_threads(1)
    run(Path(data), Path(out), run__steps=20 * KILLS, output__checkpoint_every=2, model__drop_path=0.3)


def test_a_killed_run_goes_on_from_its_last_whole_checkpoint(data: Path, tmp_path: Path) -> None:
    """Killed at any moment, also while it writes; it ends with the bits of a run that nothing happened to."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "ove_codec.training.trainer", "ove_codec.training.checkpoint"])
    moments = random.Random(4)
    steps: list[int] = []
    for _ in range(KILLS):
        process = context.Process(target=_run_forever, args=(str(data), str(tmp_path / "killed")))
        process.start()
        before = steps[-1] if steps else 0
        end = time.monotonic() + 60
        while not (found := checkpoint.complete(tmp_path / "killed")) or int(found[-1].name[5:]) <= before:
            assert process.is_alive() and time.monotonic() < end
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.1))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        left = checkpoint.complete(tmp_path / "killed")[-1]
        checkpoint.read_state(left)
        steps.append(int(left.name[5:]))
    assert steps == sorted(set(steps)) and steps[0] > 0
    last = steps[-1] + 3
    options: dict[str, Any] = {"run__steps": 20 * KILLS, "output__checkpoint_every": 2, "model__drop_path": 0.3}
    for name in ("killed", "whole"):
        with process_group(CPU) as ranks:
            trainer = Trainer(recipes.recipe(data, tmp_path / name, **options), ranks, CPU)
            if name == "killed":
                trainer.load(checkpoint.complete(tmp_path / name)[-1])
            assert not list((tmp_path / name).glob(".step-*.partial"))  # what the kill has left is gone
            batches = trainer.mixture.batches(last)
            while trainer.step < last:
                trainer.update(*trainer.gradients(batches))
            trainer.save()
            trainer.checkpoints.wait()
    ends = [tensors(tmp_path / name / f"step-{last:08}") for name in ("killed", "whole")]
    assert ends[0].keys() == ends[1].keys() and len(ends[0]) > 50
    assert [name for name, tensor in ends[0].items() if not torch.equal(tensor, ends[1][name])] == []


def test_only_the_newest_checkpoints_stay_and_the_log_follows(data: Path, tmp_path: Path) -> None:
    figures = run(data, tmp_path / "a", output__keep=1, output__checkpoint_every=1, run__steps=4)
    assert [path.name for path in checkpoint.complete(tmp_path / "a")] == ["step-00000004"]
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2, 3, 4] and log[-1]["loss"] == figures["loss"]
    assert log[-1]["token_mix"] == {"image": 1.0} and log[-1]["tokens_per_second"] > 0
    run(data, tmp_path / "a", output__keep=1, output__checkpoint_every=1, run__steps=4)  # there is nothing to do
    run(data, tmp_path / "a", output__keep=1, run__steps=5)
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5]


def test_checkpoints_that_stay(data: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"output__checkpoint_every": 1, "output__keep": 2, "output__keep_every": 3}
    run(data, tmp_path / "a", run__steps=8, **options)
    assert [int(path.name[5:]) for path in checkpoint.complete(tmp_path / "a")] == [3, 6, 7, 8]


def test_a_run_whose_time_is_over_goes_on_later(data: Path, tmp_path: Path) -> None:
    """Every start does one step at least, and saves it."""
    for step in (1, 2):
        with process_group(CPU) as ranks:
            trainer = Trainer(recipes.recipe(data, tmp_path / "a", run__max_minutes=1e-9), ranks, CPU)
            assert trainer.run()["loss"] > 0 and (trainer.step, trainer.total) == (step, 6)
        assert checkpoint.complete(tmp_path / "a")[-1].name == f"step-{step:08}"
    run(data, tmp_path / "a")
    run(data, tmp_path / "whole")
    ends = [tensors(tmp_path / name / "step-00000006") for name in ("a", "whole")]
    assert [name for name, tensor in ends[0].items() if not torch.equal(tensor, ends[1][name])] == []


def test_figures_are_averages_since_the_last_ones(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(data, tmp_path / "each", output__log_every=1)
    capsys.readouterr()
    run(data, tmp_path / "three", output__log_every=3)
    each, three = (
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("each", "three")
    )
    assert [line["step"] for line in three] == [3, 6]
    for n, line in enumerate(three):
        for name in ("loss", "grad_norm", "lr", "loss_pictures"):
            assert line[name] == pytest.approx(sum(x[name] for x in each[3 * n : 3 * n + 3]) / 3)
        assert 0 <= line["data_wait"] < 1 and line["memory_gib"] > 0.01 and line["skipped_steps"] == 0
    # Standard error is no terminal here.
    lines = capsys.readouterr().err.splitlines()
    assert [line[: len("step 3 of 6: loss")] for line in lines] == ["step 3 of 6: loss", "step 6 of 6: loss"]
    assert lines[0].endswith(" min left")


def test_steps_that_are_not_finite_can_be_left_out(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"run__max_skipped_steps": 2, "output__checkpoint_every": 1}
    original = Mixture.__getitem__

    def poison(self: Mixture, micro: int) -> Any:
        batch = original(self, micro)
        if micro in (1, 4, 6):
            batch.patches[0] = float("inf")
        return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mixture, "__getitem__", poison)
        run(data, tmp_path / "a", run__steps=3, **options)
        before, after = (tensors(tmp_path / "a" / f"step-0000000{n}") for n in (1, 2))
        assert all(torch.equal(before[name], after[name]) for name in before)
        with pytest.raises(TrainingError, match=r"step 6: the loss is nan.*allow more than 2 such steps"):
            run(data, tmp_path / "a", run__steps=9, **options)  # the checkpoint knows of the first one
    assert [r.message[:7] for r in caplog.records if "The step is skipped" in r.message] == ["step 1:", "step 4:"]
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [line["skipped_steps"] for line in log] == [0, 1, 1, 1, 2, 2]
    assert "loss" not in log[1] and log[2]["loss"] > 0


def test_what_is_frozen_stays(data: Path, tmp_path: Path) -> None:
    frozen = {"model__freeze": ["embeddings.*", "encoder.layers.0.*"]}
    run(data, tmp_path / "a", run__steps=2, output__checkpoint_every=1, **frozen)
    before, after = (tensors(tmp_path / "a" / f"step-0000000{n}") for n in (1, 2))
    stays = {name for name in before if name.startswith("backbone.") and torch.equal(before[name], after[name])}
    expected = {n for n in before if n.startswith(("backbone.embeddings.", "backbone.encoder.layers.0."))}
    assert stays == expected and len(expected) > 10
    assert not any(name.startswith("optimizer.exp_avg.embeddings") for name in after)
    for patterns, message in (
        (["layers.0"], r"matches 'layers\.0'; choose from embeddings\.\*, "),
        (["*"], "nothing to train"),
    ):
        with pytest.raises(ValueError, match=message):
            run(data, tmp_path / "b", model__freeze=patterns)


def test_a_global_batch_needs_whole_micro_batches(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.global_batch 12 is not a multiple of data\.batch 8 on 1 ranks"):
        run(data, tmp_path / "a", data__global_batch=12)
    with pytest.raises(ValueError, match=r"leave out run\.accumulate"):
        recipes.recipe(data, tmp_path / "a", data__global_batch=16, run__accumulate=2)
    assert recipes.recipe(data, tmp_path / "a", data__global_batch=32).accumulate(2) == 2


def test_a_checkpoint_that_does_not_fit(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "a", run__steps=1)
    with pytest.raises(ValueError, match="another model"):
        run(data, tmp_path / "a", model__config__num_hidden_layers=1)
    with pytest.raises(ValueError, match=r"does not fit this recipe: .*head.pictures"):
        run(data, tmp_path / "a", heads__pictures__centres=140)
    path = checkpoint.complete(tmp_path / "a")[-1]
    next(path.glob("*.safetensors")).write_bytes(b"")
    with pytest.raises(ValueError, match=r"is damaged: .*safetensors is missing, or does not have"):
        run(data, tmp_path / "a")


def test_a_damaged_checkpoint_gives_way_to_an_older_one(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, whole = tmp_path / "a", tmp_path / "whole"
    options: dict[str, Any] = {"output__checkpoint_every": 1, "output__keep": 1}
    run(data, out, run__steps=2, output__checkpoint_every=1, output__keep=2)
    file = next((out / "step-00000002").glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-5] ^= 1  # of a tensor: sizes and headers are as they were
    file.write_bytes(content)
    run(data, out, run__steps=3, **options)
    assert "step-00000002 is damaged" in caplog.text and f"resumes from {out}/step-00000001" in caplog.text
    # What is damaged does not count among the newest, and what comes of the run is as if nothing had happened.
    assert [path.name for path in checkpoint.complete(out)] == ["step-00000003"]
    assert (out / "step-00000002.damaged").is_dir()
    run(data, whole, run__steps=3, **options)
    ends = [tensors(folder / "step-00000003") for folder in (out, whole)]
    assert [name for name, tensor in ends[0].items() if not torch.equal(tensor, ends[1][name])] == []


def test_one_run_at_a_time_in_a_folder(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "a", run__steps=1)
    (tmp_path / "a" / ".step-00000002.partial").mkdir()
    hold = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(tmp_path / "a" / checkpoint.LOCK_FILE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(BlockingIOError, match="another run is using this folder"):
            run(data, tmp_path / "a", run__steps=2)
        assert (tmp_path / "a" / ".step-00000002.partial").is_dir()
        other.communicate("\n")
    run(data, tmp_path / "a", run__steps=2)


def _run_until_asked(data: str, out: str) -> None:
    torch.set_num_threads(1)
    run(Path(data), Path(out), run__steps=100000, output__checkpoint_every=100000)


def test_a_run_that_is_asked_to_end_saves_its_step(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    process = multiprocessing.get_context("spawn").Process(target=_run_until_asked, args=(str(data), str(out)))
    process.start()
    end = time.monotonic() + 60
    while not (out / "log.jsonl").is_file():
        assert process.is_alive() and time.monotonic() < end
        time.sleep(0.01)
    process.terminate()
    process.join(60)
    assert process.exitcode == 128 + signal.SIGTERM
    (left,) = checkpoint.complete(out)
    checkpoint.check(left)
    last = json.loads((out / "log.jsonl").read_text().splitlines()[-1])["step"]
    assert int(left.name[5:]) == last


def test_another_batch_needs_the_recipes_word(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "a", run__steps=1)
    with pytest.raises(
        ValueError, match=r"data\.batch 8, but this run has ranks 1 and data\.batch 4: .*run\.elastic: true"
    ):
        run(data, tmp_path / "a", run__steps=2, data__batch=4)
    run(data, tmp_path / "a", run__steps=2, data__batch=4, run__elastic=True)


def test_a_loss_that_is_not_finite_at_once(data: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        original = Mixture.__getitem__

        def poison(self: Mixture, micro: int) -> Any:
            batch = original(self, micro)
            batch.patches[0] = float("nan")
            return batch

        patch.setattr(Mixture, "__getitem__", poison)
        with pytest.raises(TrainingError, match="Nothing was updated, and there is no checkpoint yet"):
            run(data, tmp_path / "a")


def test_a_loss_that_is_not_finite_stops_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "a", run__steps=3)
    before = tensors(tmp_path / "a" / "step-00000003")
    with process_group(CPU) as ranks:
        trainer = Trainer(recipes.recipe(data, tmp_path / "a", run__steps=9), ranks, CPU)
        poisoned: list[str] = []
        original = Mixture.__getitem__

        def poison(self: Mixture, micro: int) -> Any:
            batch = original(self, micro)
            if micro == 4:
                batch.patches[int(batch.cu_seqlens[2])] = float("nan")
                poisoned.append(batch.names[2])
            return batch

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Mixture, "__getitem__", poison)
            with pytest.raises(TrainingError, match="step 4: the loss is nan, from the sample") as caught:
                trainer.run()
        assert poisoned[0] in str(caught.value) and "Nothing was updated" in str(caught.value)
        state = {name: t for name, t in trainer.tensors().items() if name.startswith("backbone.")}
        assert all(tensor.isfinite().all() for tensor in state.values())
    assert [path.name for path in checkpoint.complete(tmp_path / "a")] == ["step-00000003"]
    after = tensors(tmp_path / "a" / "step-00000003")
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_bad_data_stops_with_step_and_sample(tmp_path: Path) -> None:
    good = next(iter(synthetic.picture_samples(1, 0, False)))[1]["png"]
    members = [(f"{n}", {"png": good, "json": json.dumps({"labels": [n]}).encode()}) for n in range(6)]
    list(write_shards(members, tmp_path, "pictures", 1 << 20))
    with pytest.raises(TrainingError, match=r"step \d: sample pictures-000000\.tar/5 has the label 5, outside"):
        run(tmp_path, tmp_path / "a", heads__pictures__centres=5, data__batch=2)
    assert not checkpoint.complete(tmp_path / "a")
    for number in range(4):
        members[number] = (f"{number}", {"png": b"broken", "json": b'{"labels": [0]}'})
    list(write_shards(members, tmp_path / "broken", "pictures", 1 << 20))
    out = tmp_path / "b"
    with pytest.raises(TrainingError, match=r"11 of \d+ samples could not be read, more than data.max_skipped=0.1"):
        run(tmp_path / "broken", out, data__batch=1, data__max_skipped=0.1, run__steps=40)
    skipped = [json.loads(line) for line in (out / "skipped.jsonl").read_text().splitlines()]
    assert len(skipped) == 11 and all(int(line["sample"][-1]) < 4 for line in skipped)


def test_initial_centres(data: Path, tmp_path: Path) -> None:
    bank = torch.randn(synthetic.PICTURE_CONCEPTS, 32)
    save_file({"centres": bank}, tmp_path / "bank.safetensors")
    np.save(tmp_path / "bank.npy", bank.numpy())
    for name in ("bank.safetensors", "bank.npy"):
        with process_group(CPU) as ranks:
            recipe = recipes.recipe(data, tmp_path / "a", heads__pictures__init=str(tmp_path / name))
            assert torch.equal(Trainer(recipe, ranks, CPU).heads["pictures"].get_parameter("weight"), bank)
    np.save(tmp_path / "narrow.npy", bank[:, :8].numpy())
    with pytest.raises(ValueError, match=r"shape \(128, 8\), but the head needs \(128, 32\)"):
        run(data, tmp_path / "a", heads__pictures__init=str(tmp_path / "narrow.npy"))


def test_learning(tmp_path: Path) -> None:
    """The loop learns shapes from concepts: neighbours agree far above chance, 0.125, and above the first weights."""
    folder = tmp_path / "data"
    synthetic.write(folder, pictures=1600, tests=100, clips=8)
    recipe = yaml.safe_load((Path(__file__).parents[1] / "models" / "recipes" / "tiny.yaml").read_text())
    text = json.dumps(recipe).replace("data/synthetic", str(folder)).replace("runs/tiny", str(tmp_path / "run"))
    (tmp_path / "tiny.yaml").write_text(text)
    small = ["data.workers=0", "optimizer.ema=0.9", "heads.clips.weight=1", "output.checkpoint_every=1000"]
    small += ["model.config.hidden_size=64", "model.config.intermediate_size=256", "model.config.num_attention_heads=2"]
    accuracies = []
    for steps in (1, 200):
        command = [
            f"--set=run.steps={steps}",
            f"--set=output.folder={tmp_path}/{steps}",
            *(f"--set={s}" for s in small),
        ]
        assert main(["train", str(tmp_path / "tiny.yaml"), *command]) == 0
        log = (tmp_path / str(steps) / "log.jsonl").read_text().splitlines()
        accuracies.append(json.loads(log[-1])["knn_accuracy"])
    assert accuracies[1] > max(0.4, accuracies[0] + 0.1), accuracies
    mix = json.loads(log[-2])["token_mix"]
    assert {"image", "ocr", "codec"} <= set(mix) and sum(mix.values()) == pytest.approx(1)

    assert main(["export", f"{tmp_path}/200", f"{tmp_path}/model"]) == 0
    model = OVEncoder.from_pretrained(tmp_path / "model")
    saved = tensors(tmp_path / "200" / "step-00000200")
    assert all(torch.equal(p, saved[f"average.{name}"]) for name, p in model.named_parameters())
    assert main(["export", f"{tmp_path}/200", f"{tmp_path}/last", "--no-average"]) == 0
    last = OVEncoder.from_pretrained(tmp_path / "last")
    assert all(torch.equal(p, saved[f"backbone.{name}"]) for name, p in last.named_parameters())
    assert main(["export", f"{tmp_path}/200", f"{tmp_path}/model"]) == 1
    assert main(["export", f"{tmp_path}/data", f"{tmp_path}/other"]) == 1


def test_export_for_transformers(data: Path, tmp_path: Path) -> None:
    """Code that knows the published RoPE only must refuse the export; transformers makes what was trained on."""
    transformers = pytest.importorskip("transformers", reason="the extra 'hf' is not installed")
    from ove_codec.models.hf import OneVisionEncoderImageProcessor, OneVisionEncoderModel

    run(data, tmp_path / "run", run__steps=1)
    directory = tmp_path / "model"
    assert main(["export", f"{tmp_path}/run", str(directory)]) == 0
    model = OVEncoder.from_pretrained(directory)
    assert model.config.rope_layout == "interleaved"
    assert json.loads((directory / "config.json").read_text())["model_type"] == "ove_encoder"
    loaded = transformers.AutoModel.from_pretrained(directory, dtype=torch.float32)
    assert type(loaded) is OneVisionEncoderModel and loaded.config.rope_layout == "interleaved"

    size, patch = 64, model.config.patch_size
    picture = Image.fromarray(synthetic.picture(3, 1, 2, np.random.default_rng(3))).resize((144, 96))
    png = io.BytesIO()
    picture.save(png, "png")
    kind = ImageInput(size=size, augment=False)
    tokens = kind.tokens(Sample("a", {"png": png.getvalue()}), patch, np.random.default_rng(0))
    with torch.no_grad():
        expected = model(tokens.patches, tokens.positions, tokens.cu_seqlens).last_hidden_state
        packed = loaded(patches=tokens.patches, patch_positions=tokens.positions, cu_seqlens=tokens.cu_seqlens)
    assert torch.equal(packed.last_hidden_state, expected)
    for processor in (OneVisionEncoderImageProcessor, transformers.AutoImageProcessor):
        inputs = processor.from_pretrained(directory)(picture, return_tensors="pt")
        assert inputs["pixel_values"].shape == (1, 3, size, size)
        with torch.no_grad():
            torch.testing.assert_close(loaded(**inputs).last_hidden_state[0], expected, rtol=0, atol=0.05)
    loaded.save_pretrained(tmp_path / "again")
    assert OVEncoder.from_pretrained(tmp_path / "again").config == model.config


def test_bfloat16_and_recomputed_activations(data: Path, tmp_path: Path) -> None:
    """They begin with the loss of a plain run, and keep float32 weights."""
    plain = run(data, tmp_path / "plain", run__steps=1)["loss"]
    assert run(data, tmp_path / "blocks", run__steps=1, run__checkpoint_activations=True)["loss"] == plain
    assert run(data, tmp_path / "half", run__steps=1, run__precision="bf16")["loss"] == pytest.approx(plain, rel=0.02)
    saved = tensors(tmp_path / "half" / "step-00000001")
    kinds = {t.dtype for name, t in saved.items() if not name.startswith("random")}
    assert kinds == {torch.float32}


def test_tensorboard(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="event files are written with it")
    run(data, tmp_path / "a", run__steps=1, output__tensorboard=True)
    assert list((tmp_path / "a" / "tensorboard").glob("events.*"))


def test_traces(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "a", run__steps=3, output__profile=[2, 9])
    trace = json.loads((tmp_path / "a" / "profile" / "rank-0.json").read_text())
    assert any("addmm" in event.get("name", "") for event in trace["traceEvents"])


def test_wandb(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with the calls of the package: what is passed on, and that a resumed run is the same there."""
    calls: list[Any] = []

    class Remote:
        def log(self, values: dict[str, float], step: int) -> None:
            calls.append((step, values["loss"]))

        def finish(self) -> None:
            calls.append("finish")

    def init(**options: Any) -> Remote:
        calls.append((options["project"], options["id"], options["resume"], options["config"]["run"]["seed"]))
        return Remote()

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "wandb", None)
        with pytest.raises(ModuleNotFoundError, match="pip install wandb"):
            run(data, tmp_path / "a", output__wandb="videos")
    monkeypatch.setitem(sys.modules, "wandb", type("wandb", (), {"init": staticmethod(init)}))
    for steps in (1, 2):
        run(data, tmp_path / "a", run__steps=steps, output__wandb="videos")
    assert [call[0] for call in calls if isinstance(call, tuple)] == ["videos", 1, "videos", 2]
    assert calls[0] == calls[3] and calls[0][2:] == ("allow", 0) and calls.count("finish") == 2


# Parts


def test_rates_of_blocks() -> None:
    model = OVEncoder(OVEncoderConfig.from_dict(recipes.MODEL))
    scales = {
        name: group["scale"]
        for group in parameter_groups(model, 0.05, 0.5, 2)
        for name, p in model.named_parameters()
        if any(p is q for q in group["params"])
    }
    assert len(scales) == len(list(model.parameters()))
    first = {"embeddings": 0.25, "layernorm_pre": 0.25, "encoder.layers.0": 0.5, "encoder.layers.1": 1.0}
    for name, scale in scales.items():
        assert scale == next((value for start, value in first.items() if name.startswith(start + ".")), 1.0), name


def test_stochastic_depth() -> None:
    """Sequences lose whole branches, by the rate of their block; on average nothing changes."""
    torch.manual_seed(0)
    model = OVEncoder(OVEncoderConfig.from_dict({**recipes.MODEL, "num_hidden_layers": 3})).train()
    length, count = 5, 600
    patches, positions = torch.randn(length, 768).repeat(count, 1), torch.zeros(length * count, 3, dtype=torch.int64)
    bounds = torch.arange(0, length * count + 1, length)
    plain = model(patches[:length], positions[:length], output_hidden_states=True).hidden_states
    model.encoder.drop_path = 0.4
    dropped = model(patches, positions, bounds, output_hidden_states=True).hidden_states
    assert plain is not None and dropped is not None
    rows = [states.unflatten(0, (count, length)) for states in dropped]
    torch.testing.assert_close(rows[1], plain[1].expand_as(rows[1]))  # the first block loses nothing
    unchanged = (rows[2] == rows[1]).all(2).all(1).float().mean()  # both branches of the second, at 0.2 each
    assert unchanged == pytest.approx(0.04, abs=0.03)
    unchanged = (rows[3] == rows[2]).all(2).all(1).float().mean()
    assert unchanged == pytest.approx(0.16, abs=0.05)
    model.eval()
    whole, one = model(patches, positions, bounds), model(patches[:length], positions[:length])
    torch.testing.assert_close(whole.last_hidden_state[:length], one.last_hidden_state)


def test_learning_rates() -> None:
    recipe = Optimizer(lr=1.0, warmup=10, schedule="cosine", final_lr=0.1)
    rates = [learning_rate(step, 110, recipe) for step in range(110)]
    assert rates[:10] == pytest.approx([(n + 1) / 10 for n in range(10)]) and rates[10] == 1
    assert rates[-1] == pytest.approx(0.1) and rates[10:] == sorted(rates[10:], reverse=True)
    half = learning_rate(60, 111, Optimizer(lr=1.0, warmup=10, schedule="polynomial", power=2))
    assert half == pytest.approx(0.25)
    assert learning_rate(99, 100, Optimizer(lr=1.0, warmup=0.5, schedule="constant")) == 1


def test_operations_of_a_step() -> None:
    config = OVEncoderConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=2, patch_size=8
    )
    math_only = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)  # whose products can be counted
    with math_only, FlopCounterMode(display=False) as counter:
        pooled = OVEncoder(config)(torch.randn(97, 192), torch.zeros(97, 3), [0, 30, 80, 97]).pooler_output
        assert pooled is not None
        pooled.sum().backward()
    assert encoder_flops(config, [30, 50, 17]) == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_what_decays() -> None:
    model = OVEncoder.from_config("ov-encoder-base")
    decaying, resting = (
        {name for name, p in model.named_parameters() if any(p is q for q in group["params"])}
        for group in parameter_groups(model, 0.05)
    )
    assert len(decaying) + len(resting) == len(list(model.parameters()))
    assert {name.rsplit(".", 1)[-1] for name in decaying} == {"weight", "in_proj_weight"}
    assert all("norm" in name or name.endswith(("bias", "probe")) for name in resting) and "head.probe" in resting


def test_nearest_neighbours() -> None:
    train = torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1], [0.1, 1]])
    classes = torch.tensor([0, 0, 1, 2])
    test = torch.tensor([[2.0, 0.1], [0.0, 5], [0.04, 1]])
    assert nearest_neighbours(train, classes, test, torch.tensor([0, 1, 1]), 1) == 1
    assert nearest_neighbours(train, classes, test, torch.tensor([0, 1, 1]), 2, rows=2) == 1  # the nearer one decides
    assert nearest_neighbours(train, classes, test, torch.tensor([1, 1, 0]), 1) == pytest.approx(1 / 3)


# Recipes


@pytest.mark.parametrize("module", ["training", "lmm"])
def test_recipes_without_their_extra(module: str) -> None:
    if module == "lmm":
        pytest.importorskip("transformers")
    code = f"import sys; sys.modules['pydantic'] = None; import ove_codec.{module}.recipe"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "recipes are read with PyYAML and pydantic: pip install 'ove_codec[train]'" in done.stderr


def test_recipes_in_the_repository() -> None:
    found = sorted((Path(__file__).parents[1] / "models" / "recipes").glob("*.yaml"))
    assert {"tiny.yaml", "base-stage1.yaml", "large-stage2-8gpu.yaml", "large-stage2-128gpu.yaml"} <= {
        f.name for f in found
    }
    for file in found:
        recipe = load_recipe(file)
        patch = recipe.model.resolved().patch_size
        for name, head in recipe.heads.items():
            HeadData(tuple(head.shards), head.centres, head.max_labels, recipe.share(name), head.inputs)
            assert all(kind.most_tokens(patch) <= 2048 for kind in head.inputs.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run__step": 4}, r"unknown key run\.step; did you mean steps\?"),
        (
            {"heads__pictures__inputs__image__sise": 4},
            r"unknown key heads\.pictures\.inputs\.image\.sise; did you mean size",
        ),
        ({"heads__pictures__inputs": {"film": {}}}, r"inputs\.film; choose from image, ocr, codec, frame, "),
        ({"heads__pictures__inputs": {}}, r"heads\.pictures\.inputs must hold one or more of image, ocr, "),
        ({"heads__pictures__inputs__image__size": "big"}, r"inputs\.image\.size must be of type int, not 'big'"),
        ({"heads__pictures__inputs__image__size": -1}, r"inputs\.image: size must be positive, not -1"),
        ({"run__ranks": True}, r"run\.ranks must be of type int, not True"),
        ({"data__batch": 0, "run__sed": 1}, r"r\.yaml: data\.batch .*; unknown key run\.sed; did you mean seed"),
        ({"heads__pictures__centres": "many"}, r"heads\.pictures\.centres must be of type int, not 'many'"),
        ({"optimizer__lr": None}, r"optimizer\.lr must be of type float"),
        ({"optimizer__schedule": "linear"}, r"optimizer\.schedule must be one of"),
        ({"run__samples": 3.0}, "steps or samples, not both"),
        ({"data__batch": 0}, r"data\.batch must be 1 to"),
        ({"model__settings__hidden": 3}, "unknown keys: hidden"),
        ({"model__weights": "there"}, "either config, for random weights, or weights"),
        ({"heads": {}}, "heads is empty"),
        ({"evaluation": {"train": [], "test": []}}, r"evaluation\.input is missing"),
    ],
)
def test_recipes_with_mistakes(data: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = write_recipe(data, tmp_path / "out", tmp_path / "r.yaml", **changes)
    with pytest.raises(ValueError, match=message):
        load_recipe(file)
    assert main(["train", file]) == 1 and not (tmp_path / "out").exists()


def test_values_on_the_command_line(data: Path, tmp_path: Path) -> None:
    file = write_recipe(data, tmp_path / "out", tmp_path / "r.yaml")
    assert json.loads(as_json(load_recipe(file)))["heads"]["pictures"]["inputs"]["image"]["size"] == 64
    recipe = load_recipe(file, ["run.steps=null", "run.samples=1e4", "optimizer.lr=3e-4", "run.accumulate=2"])
    assert recipe.optimizer.lr == 3e-4 and recipe.steps(5) == round(1e4 / (8 * 5 * 2))
    with pytest.raises(ValueError, match="must be KEY=VALUE"):
        load_recipe(file, ["run.steps"])
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ValueError, match="is not valid YAML"):
        load_recipe(tmp_path / "broken.yaml")


def test_linear_probe() -> None:
    """Classes that planes part are told apart, however far from 0 the features lie."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(3).repeat(20)
    rows = torch.eye(3)[classes] * 4 + 100 + torch.randn(60, 3, generator=generator) * 0.3
    assert linear_probe(rows, classes, rows, classes) == 1
    assert linear_probe(rows, classes, rows, classes.roll(1)) < 0.1


def test_recipes_for_other_ranks_or_without_shards(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="for 8 ranks, but 1 are running"):
        run(data, tmp_path / "a", run__ranks=8)
    with pytest.raises(FileNotFoundError, match="no shard fits"):
        run(tmp_path, tmp_path / "a")


def test_every_key_is_documented() -> None:
    parts: list[Any] = [
        recipe.Model,
        recipe.Head,
        recipe.Data,
        recipe.Optimizer,
        recipe.Run,
        recipe.Output,
        recipe.Evaluation,
    ]
    for part in parts:
        listed = str(part.__doc__).partition("Attributes:")[2]
        missing = [name for name in part.model_fields if not re.search(rf"(^|[\n ,]){name}[,:]", listed)]
        assert missing == [], part
