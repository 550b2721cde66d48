"""Training through Trainer: parts, rates, stages, and samples that cannot be read."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="ove_codec[lmm] is not installed")
pytest.importorskip("accelerate", reason="ove_codec[lmm] is not installed")

from transformers import AutoModelForCausalLM, TrainingArguments

from ove_codec.lmm import (
    LlavaDataset,
    LMMConfig,
    LMMForConditionalGeneration,
    LMMProcessor,
    LMMSample,
    LMMTrainer,
    set_trainable,
    train,
)
from ove_codec.lmm.convert import convert
from ove_codec.lmm.convert import main as convert_main
from ove_codec.models import OVEncoder, OVEncoderConfig
from support import clips, ffmpeg, fsdp_stage
from support import lmm as tiny

PARTS = ("vision_tower", "projector", "language_model")


def conversation(text: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": text}, {"from": "gpt", "value": answer}]


def jsonl(file: Path, records: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def records_with_images(folder: Path, count: int = 2) -> list[dict[str, Any]]:
    answers = ["a box moves", "the clip is seen"]
    for i in range(count):
        tiny.picture(i).save(folder / f"{i}.png")
    return [
        {"id": str(i), "image": f"{i}.png", "conversations": conversation("<image>\nwhat is seen?", answers[i % 2])}
        for i in range(count)
    ]


def arguments(folder: Path, **options: Any) -> TrainingArguments:
    values = {
        "output_dir": str(folder), "per_device_train_batch_size": 2, "learning_rate": 5e-3, "max_steps": 3,
        "report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1, "use_cpu": True,
    }  # fmt: skip
    return TrainingArguments(**{**values, **options})


@pytest.mark.parametrize("tower", list(tiny.TOWERS))
def test_two_samples_are_learnt(tower: str, tmp_path: Path) -> None:
    if not ffmpeg.has_libx265():
        pytest.skip("ffmpeg with libx265 makes the clip")
    records = records_with_images(tmp_path, 1)
    clip = clips.moving_clip(tmp_path)
    records.append({"id": "v", "video": clip.name, "conversations": conversation("<video>", "a clip")})
    model = tiny.model(tower)
    processor = tiny.processor(model.config)
    data = LlavaDataset(jsonl(tmp_path / "data.jsonl", records), processor)
    args = arguments(tmp_path, max_steps=30, learning_rate=1e-2, warmup_steps=2)
    trainer = LMMTrainer(model, args, processor, [data[0], data[1]])  # read once
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[0] > 3 and losses[-1] < 0.2 * losses[0]

    model.eval()
    prompt = processor.sample(conversation("<video>", "")[:1], (), [clip], add_generation_prompt=True)
    batch = processor.collate([prompt], padding_side="left", labels=False)
    tokens = model.generate(**batch, max_new_tokens=12, do_sample=False, eos_token_id=processor.tokenizer.eos_token_id)
    assert processor.batch_decode(tokens[:, batch["input_ids"].shape[1] :]) == ["a clip<|im_end|>"]


def test_parts_are_frozen_and_have_rates_of_their_own(tmp_path: Path) -> None:
    model = tiny.model()
    processor = tiny.processor(model.config)
    data = LlavaDataset(jsonl(tmp_path / "data.jsonl", records_with_images(tmp_path)), processor)
    set_trainable(model, ["projector", "language_model"])
    before = {name: p.clone() for name, p in model.named_parameters()}
    rates = {"projector": 1e-2}
    trainer = LMMTrainer(
        model,
        arguments(tmp_path, lr_scheduler_type="constant", weight_decay=0.1),
        processor,
        data,
        learning_rates=rates,
    )
    trainer.train()
    optimizer: Any = getattr(trainer.optimizer, "optimizer", trainer.optimizer)  # accelerate wraps it
    names = {id(p): name for name, p in model.named_parameters()}
    seen = []
    for group in optimizer.param_groups:
        for p in group["params"]:
            name = names[id(p)]
            seen.append(name)
            assert group["lr"] == (1e-2 if name.startswith("projector") else 5e-3), name
            assert group["weight_decay"] == (0.1 if p.ndim > 1 else 0.0), name
    assert sorted(seen) == sorted(name for name, p in model.named_parameters() if p.requires_grad)
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) == name.startswith("vision_tower"), name
    for names_, message in ((["tower"], "train must name parts of vision_tower"), ([], "train must name one or more")):
        with pytest.raises(ValueError, match=message):
            set_trainable(model, names_)
    with pytest.raises(ValueError, match=r"learning_rates must be for the parts vision_tower, .* not head"):
        LMMTrainer(model, arguments(tmp_path), processor, data, learning_rates={"head": 1.0})


def test_unreadable_samples_are_counted_not_replaced(tmp_path: Path) -> None:
    records = records_with_images(tmp_path, 4)
    (tmp_path / "1.png").unlink()
    (tmp_path / "2.png").write_bytes(b"no picture")
    model = tiny.model()
    processor = tiny.processor(model.config)
    data = LlavaDataset(jsonl(tmp_path / "data.jsonl", records), processor)
    args = arguments(tmp_path, max_steps=-1, num_train_epochs=2, per_device_train_batch_size=1)
    trainer = LMMTrainer(model, args, processor, data, max_unreadable=0.5)
    trainer.train()
    assert trainer.state.global_step == 8
    assert sorted(s.line for s in trainer.unreadable.values()) == [2, 3]
    assert [entry["unreadable"] for entry in trainer.state.log_history if "unreadable" in entry][-1] == 2
    assert all(entry.get("loss", 0) == entry.get("loss", 0) for entry in trainer.state.log_history)  # none is NaN
    file = trainer.write_unreadable(tmp_path)
    assert file is not None
    listed = {row["line"]: row for row in map(json.loads, file.read_text().splitlines())}
    assert listed[2]["id"] == "1" and listed[2]["reason"].endswith("1.png: no such image")
    assert "2.png" in listed[3]["reason"]

    other = LMMTrainer(model, args, processor, data)
    assert other.write_unreadable(tmp_path / "none", resumed=True) is None
    assert other.write_unreadable(tmp_path, resumed=True) == file and len(other.unreadable) == 2

    strict = LMMTrainer(model, args, processor, data, max_unreadable=0.2)
    with pytest.raises(RuntimeError, match=r"1 of 4 samples cannot be read, more than the max_unreadable share of 0.2"):
        strict.train()


def test_unreadable_samples_of_workers_are_counted(tmp_path: Path) -> None:
    records = records_with_images(tmp_path, 4)
    (tmp_path / "0.png").unlink()
    model = tiny.model()
    processor = tiny.processor(model.config)
    data = LlavaDataset(jsonl(tmp_path / "data.jsonl", records), processor)
    args = arguments(tmp_path, max_steps=-1, num_train_epochs=1, dataloader_num_workers=1)
    trainer = LMMTrainer(model, args, processor, data, max_unreadable=1.0)
    trainer.train()
    assert [s.line for s in trainer.unreadable.values()] == [1]


def test_accumulated_batches_weigh_every_token_alike(tmp_path: Path) -> None:
    records = records_with_images(tmp_path)
    records[1]["conversations"][1]["value"] = "a box moves in the clip and is seen and moves and moves"
    changed = []
    for size in (1, 2):
        model = tiny.model()
        processor = tiny.processor(model.config)
        data = LlavaDataset(jsonl(tmp_path / "data.jsonl", records), processor)
        args = arguments(
            tmp_path, per_device_train_batch_size=size, gradient_accumulation_steps=2 // size, max_steps=1,
            optim="sgd", learning_rate=0.1, max_grad_norm=0.0,
        )  # fmt: skip
        LMMTrainer(model, args, processor, data).train()
        changed.append(model)
    start = tiny.model()
    apart, together = (dict(model.named_parameters()) for model in changed)
    for name, before in start.named_parameters():
        torch.testing.assert_close(apart[name], together[name], atol=1e-6, rtol=1e-4, msg=name)
        assert name.startswith("vision_tower") or not torch.equal(apart[name], before), name


def test_sharded_training(tmp_path: Path) -> None:
    """Two processes of FSDP2 with rates of parts and recomputed blocks train what one does, and save it whole."""
    jsonl(tmp_path / "data.jsonl", records_with_images(tmp_path, 8))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "support.fsdp_stage"]
    folders = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    processes = [
        subprocess.Popen(
            [*command, str(rank), "2", str(port), str(tmp_path)],
            env={**os.environ, "PYTHONPATH": folders},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    facts = json.loads((tmp_path / "facts-0.json").read_text())
    assert {"Block", "Qwen3DecoderLayer", "SpatialMergeProjector"} <= set(facts["sharded"])
    model = tiny.model()
    alone = train.run_stage(
        model,
        tiny.processor(model.config),
        fsdp_stage.stage(tmp_path, per_device_train_batch_size=4),
        tmp_path / "alone",
    )
    losses = [entry["loss"] for entry in alone.state.log_history if "loss" in entry]
    assert facts["losses"] == pytest.approx(losses, rel=1e-4)
    saved = LMMForConditionalGeneration.from_pretrained(tmp_path / "out")
    for (name, one), (_, many) in zip(model.named_parameters(), saved.named_parameters(), strict=True):
        torch.testing.assert_close(one, many, rtol=1e-3, atol=1e-5, msg=name)


def test_packed_rows(tmp_path: Path) -> None:
    """Samples in one row see themselves alone: loss and gradients are those of a padded batch."""
    records = records_with_images(tmp_path, 2)
    records[1]["conversations"][1]["value"] = "a box moves in the clip and is seen"
    records.append({"id": "t", "conversations": conversation("what is seen?", "a clip")})
    losses, moved = [], []
    for packed in (False, True):
        model = tiny.model()
        processor = tiny.processor(model.config)
        data = LlavaDataset(jsonl(tmp_path / "data.jsonl", records), processor)
        args = arguments(
            tmp_path, per_device_train_batch_size=3, max_steps=1, optim="sgd", learning_rate=0.1, max_grad_norm=0.0
        )
        trainer = LMMTrainer(model, args, processor, data, packed=packed)
        batch = next(iter(trainer.get_train_dataloader()))
        assert ("attention_mask" in batch) != packed and (len(batch["input_ids"]) == 1) == packed
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
        moved.append(dict(model.named_parameters()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for name, p in moved[0].items():
        torch.testing.assert_close(p, moved[1][name], rtol=1e-4, atol=1e-6, msg=name)


def test_only_logits_of_targets_are_kept_in_training() -> None:
    model = tiny.model()
    processor = tiny.processor(model.config)
    samples = [
        processor.sample(tiny.question("<image>", "a box moves"), [tiny.picture()]),
        processor.sample(tiny.question("", "a clip")),
    ]
    batch = processor.collate(samples)
    whole = model(**batch)
    model.train()
    some = model(**batch)
    places = (batch["labels"] != -100).any(0).nonzero()[:, 0] - 1
    torch.testing.assert_close(some.logits, whole.logits[:, places])
    torch.testing.assert_close(some.loss, whole.loss)
    assert some.logits.shape[1] < 0.7 * whole.logits.shape[1]


LLAVA = [
    {"id": "1", "image": "a.jpg", "conversations": conversation("<image>\nwhat?", "a box")},
    {"id": "2", "image": "a.jpg", "conversations": conversation("what?", "a box")},
    {"id": 3, "video": "b.mp4", "conversations": conversation("<image>\nwhat?", "a clip")},
    {"id": "4", "conversations": conversation("what?", "a box")},
    {"id": "5", "image": "a.jpg", "conversations": conversation("<image><image>", "two")},
    {"id": "6", "conversations": conversation("what?", "a box")[:1]},
]
PART = [{"type": "text", "text": "what?"}, {"type": "image", "image": "a.jpg"}, {"type": "video", "path": "b.mp4"}]
SHAREGPT: list[dict[str, Any]] = [
    {
        "system": "be short",
        "messages": [{"role": "user", "content": PART}, {"role": "assistant", "content": "a box"}],
    },
    {
        "id": "x",
        "conversations": [
            {"from": "gpt", "value": "hello"},
            *conversation("<video>what?", "a"),
            *conversation("so?", "b"),
        ],
        "videos": ["b.mp4"],
    },
    {"conversations": [{"from": "observation", "value": "{}"}]},
]


def test_converters(tmp_path: Path) -> None:
    (tmp_path / "llava.json").write_text(json.dumps(LLAVA))
    jsonl(tmp_path / "sharegpt.json", SHAREGPT)
    found: dict[str, tuple[list[tuple[int, str]], list[dict[str, Any]]]] = {}
    for name in ("llava", "sharegpt"):
        skipped = convert(tmp_path / f"{name}.json", tmp_path / f"{name}.jsonl")
        written = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        found[name] = (skipped, [json.loads(line) for line in written])
    skipped, lines = found["llava"]
    assert [number for number, _ in skipped] == [5, 6]
    assert skipped[0][1] == "it has 2 <image> placeholders, but 1 images" and "do not alternate" in skipped[1][1]
    first = {"id": "1", "images": ["a.jpg"], "conversations": conversation("<image>\nwhat?", "a box")}
    assert lines[0] == first and lines[1] == {**first, "id": "2"}
    assert lines[2] == {"id": "3", "videos": ["b.mp4"], "conversations": conversation("<video>\nwhat?", "a clip")}
    assert lines[3] == {"id": "4", "conversations": conversation("what?", "a box")}
    skipped, lines = found["sharegpt"]
    assert [number for number, _ in skipped] == [3] and "must be system, user" in skipped[0][1]
    assert lines[0]["conversations"] == [
        {"from": "system", "value": "be short"},
        *conversation("what?<image><video>", "a box"),
    ]
    assert (lines[0]["images"], lines[0]["videos"], lines[0]["id"]) == (["a.jpg"], ["b.mp4"], "1")
    assert lines[1]["conversations"] == [*conversation("<video>what?", "a"), *conversation("so?", "b")]

    tiny.picture().save(tmp_path / "a.jpg")  # what is written is what is read
    data = LlavaDataset(tmp_path / "llava.jsonl", tiny.processor(tiny.config()))
    assert [isinstance(data[n], LMMSample) for n in range(4)] == [True, True, False, True]
    (tmp_path / "none.json").write_text('[{"text": 1}]')
    with pytest.raises(ValueError, match=r"no record is a conversation .*; record 1: it has no list named"):
        convert(tmp_path / "none.json", tmp_path / "none.jsonl")
    (tmp_path / "none.json").write_text('[{"text": 1}')
    with pytest.raises(SystemExit):
        convert_main([str(tmp_path / "none.json"), str(tmp_path / "none.jsonl")])
    assert not list(tmp_path.glob("none.jsonl*"))
    assert convert_main([str(tmp_path / "sharegpt.json"), str(tmp_path / "again.jsonl")]) == 0


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with a tower, a language model with tokenizer, and data."""
    torch.manual_seed(0)
    OVEncoder.from_config(OVEncoderConfig.from_dict(tiny.TOWERS["ov"])).save_pretrained(tmp_path / "tower")
    AutoModelForCausalLM.from_config(tiny.config().text_config).save_pretrained(tmp_path / "lm")
    tiny.tokenizer().save_pretrained(tmp_path / "lm")
    jsonl(tmp_path / "data.jsonl", records_with_images(tmp_path))
    return tmp_path


def recipe_of(folder: Path) -> dict[str, Any]:
    stage = {
        "data": str(folder / "data.jsonl"),
        "arguments": {
            "max_steps": 2, "warmup_ratio": 0.1, "per_device_train_batch_size": 2, "use_cpu": True, "save_steps": 1,
            "disable_tqdm": True,
            "gradient_checkpointing": True, "learning_rate": 1e-3, "lr_scheduler_type": "constant_with_warmup",
        },
    }  # fmt: skip
    return {
        "output_dir": str(folder / "out"),
        "model": {
            "vision_tower": str(folder / "tower"), "language_model": str(folder / "lm"),
            "select_layer": -2, "merge_size": 2, "projector": "mlp",
        },
        "processor": {"reader": {"min_image_patches": 4, "max_image_patches": 36}, "max_length": 512},
        "stages": [
            {**stage, "name": "projector", "train": ["projector"], "prompt": "plain",
             "learning_rates": {"projector": 1e-2}},
            {**stage, "name": "full", "train": list(PARTS), "learning_rates": {"vision_tower": 2e-6}},
        ],
    }  # fmt: skip


def test_stages_of_a_recipe(parts: Path) -> None:
    file = parts / "recipe.json"
    file.write_text(json.dumps(recipe_of(parts)))
    recipe = train.read_recipe(file)
    model = train.run(recipe)
    first = LMMForConditionalGeneration.from_pretrained(parts / "out" / "projector")
    last = LMMForConditionalGeneration.from_pretrained(parts / "out" / "full")
    for (name, a), (_, b), (_, c) in zip(*(m.named_parameters() for m in (first, last, model)), strict=True):
        assert torch.equal(b, c), name
        assert not torch.equal(a, b) or not b.any() or "embed_tokens" in name, name
    # The first stage has changed nothing but the projector.
    tower = OVEncoder.from_pretrained(parts / "tower").state_dict()
    for name, p in first.vision_tower.model.named_parameters():
        assert torch.equal(p, tower[name])
    assert LMMProcessor.from_pretrained(parts / "out" / "projector").prompt == "plain"
    processor = LMMProcessor.from_pretrained(parts / "out" / "full")
    assert processor.prompt == "chat" and processor.reader.merge_size == 2 and processor.max_length == 512
    assert first.config.select_layer == -2 and first.config.projector == "mlp"

    # Resumed when both stages are finished, nothing is trained; when the second is under way, it goes on.
    again = train.run(recipe, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), last.parameters(), strict=True))
    (parts / "out" / "full" / "trainer_state.json").unlink()
    recipe["stages"][1]["arguments"]["max_steps"] = 3
    longer = train.run(recipe, resume=True)
    state = json.loads((parts / "out" / "full" / "trainer_state.json").read_text())
    assert state["global_step"] == 3
    assert not torch.equal(longer.projector.linear_1.weight, last.projector.linear_1.weight)

    # A saved model is where another recipe begins.
    further = {
        **recipe_of(parts), "output_dir": str(parts / "more"), "model": {"directory": str(parts / "out" / "projector")},
        "processor": {"prompt": "chat"}, "stages": recipe_of(parts)["stages"][1:],
    }  # fmt: skip
    loaded, saved = train.load(further)
    assert torch.equal(loaded.projector.linear_1.weight, first.projector.linear_1.weight)
    assert saved.prompt == "chat" and saved.reader.max_image_patches == 36


def test_recipes_on_a_base(parts: Path) -> None:
    (parts / "base.yaml").write_text(
        "model: {vision_tower: a, language_model: b, merge_size: 1}\nstages: []\nseed: 3\n"
    )
    (parts / "own.yaml").write_text(
        "base: base.yaml\noutput_dir: out\nmodel: {vision_tower: c}\nstages: [{name: x, data: d, train: [projector]}]\n"
    )
    recipe = train.read_recipe(parts / "own.yaml")
    assert recipe["model"] == {"vision_tower": "c", "language_model": "b", "merge_size": 1} and recipe["seed"] == 3
    (parts / "more.yaml").write_text(
        "base: own.yaml\nstages: [{name: x, arguments: {max_steps: 2}}, {name: y, data: e, train: [projector]}]\n"
    )
    assert train.read_recipe(parts / "more.yaml")["stages"] == [
        {"name": "x", "data": "d", "train": ["projector"], "arguments": {"max_steps": 2}},
        {"name": "y", "data": "e", "train": ["projector"]},
    ]


STAGE = {"name": "a", "data": "b", "train": ["projector"]}
TABLE3 = Path(__file__).parents[1] / "models" / "table3"


def test_recipes_of_table_3(tmp_path: Path) -> None:
    from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig
    from transformers.models.siglip2.configuration_siglip2 import Siglip2VisionConfig

    large = OVEncoderConfig.named("ov-encoder-large").to_dict()
    columns = {
        "ov-encoder-lang-codec": large,
        "qwen3-vit-frame": Qwen3VLVisionConfig(),
        "ov-encoder-codec": large,
        "ov-encoder-frame": large,
        "siglip2-frame": Siglip2VisionConfig(hidden_size=1152),
    }
    assert {file.stem for file in TABLE3.glob("*.yaml")} == {"base", "one-gpu", *columns}
    for name, tower in (*columns.items(), ("one-gpu", large)):
        recipe = train.read_recipe(TABLE3 / f"{name}.yaml")
        options = {k: v for k, v in recipe["model"].items() if k not in ("vision_tower", "language_model")}
        config = LMMConfig(tower, tiny.TEXT, 5, **options)
        settings_ = dict(recipe["processor"])
        reader = LMMProcessor.for_model(config, tiny.tokenizer(), settings_.pop("reader"), **settings_).reader
        side = reader.video_size // reader.patch_size
        budget = reader.num_frames * side**2 if reader.video_mode == "frames" else reader.select["budget"]
        assert (side, budget) == (36, 8 * 36**2), name
        assert (reader.video_mode == "codec") == name.endswith(("codec", "gpu"))
        devices = 1 if name == "one-gpu" else 8
        batches = []
        for stage in recipe["stages"]:
            given = {
                **stage["arguments"],
                "bf16": False,
                "use_cpu": True,
                "output_dir": str(tmp_path),
                "report_to": "none",
            }
            given["warmup_steps"] = given.pop("warmup_ratio", 0)
            made = TrainingArguments(**given)
            assert made.fsdp is (True if devices > 1 and stage["name"] == "full" else None)
            assert made.fsdp is None or made.fsdp_plugin_args["fsdp_version"] == 2
            batches.append(made.per_device_train_batch_size * made.gradient_accumulation_steps * devices)
            assert all(isinstance(rate, float) for rate in stage["learning_rates"].values())
            assert isinstance(stage["arguments"]["learning_rate"], float) and set(stage["train"]) <= set(PARTS)
        assert batches == [256, 128], name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": []}, "there must be at least one stage, and stages must have different names"),
        ({"outputdir": "x"}, "unknown key outputdir; did you mean output_dir"),
        ({"output_dir": None}, "output_dir is missing"),
        ({"stages": [{"name": "a", "data": "b"}]}, r"stages\[0\]\.train is missing"),
        (
            {"stages": [{"name": "a", "data": "b", "train": [], "lr": 1}]},
            r"unknown key stages\[0\]\.lr; choose from name, data, ",
        ),
        (
            {"stages": [{"name": "a", "data": "b", "train": ["head"]}]},
            r"stages\[0\]\.train\[0\] must be one of .*projector",
        ),
        ({"processor": {"reader": {"sise": 1}}}, r"recipe\.json: unknown key processor\.reader\.sise"),
        (
            {"stages": [{"name": "a", "data": "b", "train": ["projector"], "arguments": {"bf61": 1}}]},
            "arguments.bf61; did you mean bf16",
        ),
        ({"base": "recipe.json"}, "the recipe is based on itself"),
    ],
)
def test_bad_recipes(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    values = {k: v for k, v in {**recipe_of(tmp_path), **changes}.items() if v is not None}
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message):
        train.read_recipe(file)


def test_bad_files_and_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.yaml").write_text("- 1")
    (tmp_path / "bad.yaml").write_text("{")
    for name, message in (
        ("list.yaml", "must hold a mapping"),
        ("bad.yaml", "is not valid YAML or JSON"),
        ("no.yaml", "No such"),
    ):
        with pytest.raises(SystemExit):
            train.main([str(tmp_path / name)])
        assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match="model lacks vision_tower"):
        train.load({"model": {"language_model": "x"}})
    with pytest.raises(ValueError, match="model names a directory, so merge_size cannot be given"):
        train.load({"model": {"directory": "x", "merge_size": 1}})


def test_command(parts: Path) -> None:
    recipe = recipe_of(parts)
    recipe["stages"] = recipe["stages"][:1]
    recipe["stages"][0]["arguments"]["max_steps"] = 1
    (parts / "recipe.json").write_text(json.dumps(recipe))
    assert train.main([str(parts / "recipe.json")]) == 0
    assert (parts / "out" / "projector" / "model.safetensors").is_file()
