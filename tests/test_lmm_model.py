"""The model of tower, projector and language model: loss, generation, files, towers against their originals."""

from __future__ import annotations

import itertools
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("transformers", reason="ove_codec[lmm] is not installed")

from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from ove_codec.lmm import LMMConfig, LMMForConditionalGeneration, order_for_merge, save_tower
from ove_codec.lmm.towers import build
from ove_codec.models import OVEncoder
from ove_codec.models.hf import OneVisionEncoderModel
from support import clips, ffmpeg
from support import lmm as tiny

needs_x265 = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 makes the clip")
TOWERS = tuple(tiny.TOWERS)


@pytest.fixture(scope="session")
def clip(stream_folder: Path) -> Path:
    if not ffmpeg.has_libx265():
        pytest.skip("ffmpeg with libx265 makes the clip")
    return clips.moving_clip(stream_folder)


def greedy(model: LMMForConditionalGeneration, batch: dict[str, Tensor], steps: int) -> Tensor:
    """The tokens that greedy decoding gives, everything computed again at every step."""
    embeddings = model.embed(
        batch["input_ids"], *(batch[k] for k in ("patches", "patch_positions", "patch_cu_seqlens"))
    )
    ids, mask = batch["input_ids"], batch["attention_mask"]
    for _ in range(steps):
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = model(inputs_embeds=embeddings, attention_mask=mask, position_ids=positions).logits
        new = logits[:, -1].argmax(-1, keepdim=True)
        ids, mask = torch.cat([ids, new], 1), torch.cat([mask, torch.ones_like(new)], 1)
        embeddings = torch.cat([embeddings, model.get_input_embeddings()(new)], 1)
    return ids


@needs_x265
@pytest.mark.parametrize("select_layer", [None, -2])
@pytest.mark.parametrize("tower", TOWERS)
def test_forward_generate_and_files(tower: str, select_layer: int | None, clip: Path, tmp_path: Path) -> None:
    model = tiny.model(tower, select_layer=select_layer)
    batch = tiny.batch_of(tower, model, clip)
    out = model(**batch)
    out.loss.backward()
    assert out.logits.shape == (*batch["input_ids"].shape, tiny.VOCABULARY)
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert all(p.grad.abs().sum() > 0 for name, p in model.named_parameters() if name.startswith("projector.linear"))

    # Padding on the left and the other sample change nothing.
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = model(**batch).logits.log_softmax(-1)
    targets = [[(b, i) for i in range(1, labels.shape[1]) if labels[b, i] != -100] for b in range(2)]
    expected = -np.mean([float(logits[b, i - 1, labels[b, i]]) for b, i in itertools.chain(*targets)])
    assert abs(out.loss.item() - expected) < 1e-5

    settings: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    tokens = model.generate(**batch, **settings)
    assert torch.equal(tokens, greedy(model, batch, 5))
    beams = model.generate(**batch, **settings, num_beams=2, num_return_sequences=2)
    assert beams.shape == (4, batch["input_ids"].shape[1] + 5)
    assert torch.equal(beams[::2, : batch["input_ids"].shape[1]], batch["input_ids"])

    model.save_pretrained(tmp_path)
    back, report = LMMForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert torch.equal(back.eval()(**batch).logits, out.logits)
    assert {n: p.shape for n, p in back.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}
    for name in ("merge_size", "select_layer", "projector", "vision_token_id"):
        assert getattr(back.config, name) == getattr(model.config, name)


OTHERS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama"},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512},
    "mamba": {"model_type": "mamba", "state_size": 4, "conv_kernel": 2, "use_cache": True},
}


@needs_x265
@pytest.mark.parametrize("name", OTHERS)
def test_other_language_models(name: str, clip: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    shared = ("vocab_size", "hidden_size", "num_hidden_layers") + (("num_attention_heads",) if name == "llama" else ())
    text = {key: tiny.TEXT[key] for key in shared if name != "gpt2" or key == "vocab_size"} | OTHERS[name]
    model = LMMForConditionalGeneration(LMMConfig(tiny.TOWERS["ov"], text, 5)).eval()
    p = tiny.processor(model.config)
    batch = p.collate([p.sample(tiny.question("<video>"), (), [clip])], labels=False)
    batch["input_ids"][batch["input_ids"] == p.vision_token_id] = 5
    tokens = model.generate(**batch, max_new_tokens=4, do_sample=False, pad_token_id=0, eos_token_id=None)
    ids, embeddings = batch["input_ids"], model.embed(**{k: v for k, v in batch.items() if k != "attention_mask"})
    for _ in range(4):
        new = model(inputs_embeds=embeddings).logits[:, -1:].argmax(-1)
        ids, embeddings = torch.cat([ids, new], 1), torch.cat([embeddings, model.get_input_embeddings()(new)], 1)
    assert torch.equal(tokens, ids)
    model.save_pretrained(tmp_path)
    back = LMMForConditionalGeneration.from_pretrained(tmp_path, device_map="auto").eval()
    torch.testing.assert_close(back(**batch).logits, model(**batch).logits)


@needs_x265
def test_decoding_with_a_cache(clip: Path) -> None:
    model = tiny.model()
    batch = tiny.batch_of("ov", model, clip)
    del batch["labels"]
    with torch.no_grad():
        first = model(**batch, use_cache=True)
        cache = getattr(first, "cache", None) or first.past_key_values
        name = "cache" if getattr(first, "cache", None) is not None else "past_key_values"
        new = first.logits[:, -1:].argmax(-1)
        mask = torch.cat([batch["attention_mask"], torch.ones_like(new)], 1)
        second = model(input_ids=new, attention_mask=mask, position_ids=mask.cumsum(1)[:, -1:] - 1, **{name: cache})
    expected = greedy(model, batch, 2)
    assert torch.equal(torch.cat([new, second.logits[:, -1:].argmax(-1)], 1), expected[:, -2:])


@needs_x265
def test_samples_do_not_see_each_other(clip: Path) -> None:
    model = tiny.model()
    p = tiny.processor(model.config)
    samples = [
        p.sample(tiny.question("<image>"), [tiny.picture(1)]),
        p.sample(tiny.question("<video><image>"), [tiny.picture(2)], [clip]),
    ]
    together = model(**p.collate(samples, labels=False)).logits
    for i, sample in enumerate(samples):
        alone = model(**p.collate([sample], labels=False)).logits
        torch.testing.assert_close(together[i, : alone.shape[1]], alone[0], atol=2e-5, rtol=0)


@needs_x265
def test_tied_embeddings_and_auto_classes(clip: Path, tmp_path: Path) -> None:
    model = tiny.model(text={"tie_word_embeddings": True})
    batch = tiny.batch_of("ov", model, clip)
    model.save_pretrained(tmp_path)
    tiny.processor(model.config, timestamps=True).save_pretrained(tmp_path)
    back = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert isinstance(back, LMMForConditionalGeneration)
    assert back.get_output_embeddings().weight is back.get_input_embeddings().weight
    assert torch.equal(back(**batch).logits, model(**batch).logits)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), LMMConfig)
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert processor.timestamps and processor.reader == tiny.processor(model.config).reader
    assert processor.vision_token_id == model.config.vision_token_id


@needs_x265
@pytest.mark.parametrize("tower", TOWERS)
def test_gradient_checkpointing(tower: str, clip: Path) -> None:
    model = tiny.model(tower)
    batch = tiny.batch_of(tower, model, clip)

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        model.train()(**batch, use_cache=False).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    plain = gradients()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert model.is_gradient_checkpointing
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient, plain[name], atol=1e-6, rtol=1e-4, msg=name)


@needs_x265
@pytest.mark.parametrize("tower", TOWERS)
def test_attention_and_type_pass_through(tower: str, clip: Path, tmp_path: Path) -> None:
    model = tiny.model(tower)
    batch = tiny.batch_of(tower, model, clip)
    seen = batch["attention_mask"].bool()
    expected = model(**batch).logits[seen]
    model.save_pretrained(tmp_path)
    for name in ("eager", "sdpa"):
        loaded = LMMForConditionalGeneration.from_pretrained(tmp_path, attn_implementation=name)
        parts = (loaded.config, loaded.config.text_config, loaded.config.vision_config)
        assert [part._attn_implementation for part in parts] == [name] * 3
        assert loaded.language_model.config._attn_implementation == name
        torch.testing.assert_close(loaded.eval()(**batch).logits[seen], expected, atol=2e-5, rtol=0)
    half = LMMForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.bfloat16)
    out = half.eval()(**batch)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16} and out.logits.dtype == torch.bfloat16
    torch.testing.assert_close(out.logits[seen].float(), expected, atol=0.05, rtol=0.05)


def grid(frames: int, rows: int, columns: int) -> Tensor:
    axes = (torch.arange(n) for n in (frames, rows, columns))
    return torch.cartesian_prod(*axes)


def test_siglip2_is_that_of_transformers() -> None:
    from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionModel

    torch.manual_seed(0)
    config = tiny.config("siglip2").vision_config
    original = Siglip2VisionModel._from_config(config).eval()
    shapes = [(2, 4), (2, 4), (6, 2)]
    images = [torch.randn(3, rows * tiny.PATCH, columns * tiny.PATCH) for rows, columns in shapes]
    pixels = torch.zeros(3, 12, 3 * tiny.PATCH**2)
    mask = torch.zeros(3, 12, dtype=torch.int32)
    for i, ((rows, columns), image) in enumerate(zip(shapes, images, strict=True)):
        for row, column in itertools.product(range(rows), range(columns)):
            square = image[
                :, row * tiny.PATCH : (row + 1) * tiny.PATCH, column * tiny.PATCH : (column + 1) * tiny.PATCH
            ]
            pixels[i, row * columns + column] = square.permute(1, 2, 0).flatten()
            mask[i, row * columns + column] = 1
    with torch.no_grad():
        out = original(pixels, mask, torch.tensor(shapes), output_hidden_states=True)

        positions = torch.cat([grid(2, 2, 4), grid(1, 6, 2)])
        patches = torch.cat([pixels[i, : r * c] for i, (r, c) in enumerate(shapes)])
        patches = patches.unflatten(1, (-1, 3)).transpose(1, 2).flatten(1)  # our patches have their channels first
        bounds = torch.tensor([0, 16, 28])
        order = torch.from_numpy(order_for_merge(positions, 2, bounds))
        for select_layer, state in (
            (-2, out.hidden_states[-2]),
            (1, out.hidden_states[1]),
            (None, out.last_hidden_state),
        ):
            expected = torch.cat([state[i, : r * c] for i, (r, c) in enumerate(shapes)])
            copy = Siglip2VisionModel._from_config(config).eval()
            copy.load_state_dict(original.state_dict())
            tower = build(config, select_layer, copy)
            got = tower(patches[order], positions[order], bounds)
            torch.testing.assert_close(got, expected[order], atol=1e-5, rtol=0)


def test_qwen3_vl_is_that_of_transformers() -> None:
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

    torch.manual_seed(0)
    config = tiny.config("qwen3vl").vision_config
    original = Qwen3VLVisionModel._from_config(config).eval()
    seen: list[Tensor] = []
    for block in original.blocks:
        block.register_forward_hook(lambda _, __, out: seen.append(out))
    bounds = torch.tensor([0, 24, 40])
    positions = torch.cat([grid(3, 2, 4), grid(1, 4, 4)])
    order = torch.from_numpy(order_for_merge(positions, 2, bounds))
    rows = torch.randn(40, 3 * 2 * tiny.PATCH**2)  # in merge order, as Qwen3-VL's own processor gives them
    with torch.no_grad():
        out = original(rows, grid_thw=torch.tensor([[3, 2, 4], [1, 4, 4]]))
        merged = out[0] if isinstance(out, tuple) else out.pooler_output
        for select_layer, expected in ((None, merged), (-2, seen[1]), (1, seen[0])):
            copy = Qwen3VLVisionModel._from_config(config).eval()
            copy.load_state_dict(original.state_dict())
            tower = build(config, select_layer, copy)
            torch.testing.assert_close(tower(rows, positions[order], bounds), expected, atol=1e-5, rtol=0)
            if tower.merged == 1:  # any order will do
                shuffled = torch.cat([torch.randperm(8) + 8 * i for i in range(3)] + [torch.randperm(16) + 24])
                got = tower(rows[shuffled], positions[order][shuffled], bounds)
                torch.testing.assert_close(got, expected[shuffled], atol=1e-5, rtol=0)
            else:
                with pytest.raises(ValueError, match="positions must be in the order of order_for_merge"):
                    tower(rows, positions, bounds)


def test_ov_tower_takes_the_hidden_state_that_is_asked_for() -> None:
    torch.manual_seed(0)
    config = tiny.config("ov").vision_config
    original = OVEncoder.from_config(tiny_encoder_config()).eval()
    rows, positions = torch.randn(20, 3 * tiny.PATCH**2), torch.randint(0, 50, (20, 3))
    bounds = torch.tensor([0, 8, 20])
    with torch.no_grad():
        out = original(rows, positions, bounds, output_hidden_states=True)
        assert out.hidden_states is not None
        for select_layer, expected in (
            (None, out.last_hidden_state),
            (-1, out.hidden_states[-1]),
            (-2, out.hidden_states[-2]),
            (0, out.hidden_states[0]),
        ):
            copy = OneVisionEncoderModel._from_config(config).eval()
            copy.load_state_dict(original.state_dict())
            got = build(config, select_layer, copy)(rows, positions, bounds)
            torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)


def tiny_encoder_config() -> Any:
    from ove_codec.models import OVEncoderConfig

    return OVEncoderConfig.from_dict(tiny.TOWERS["ov"])


def test_a_batch_without_images_reaches_every_part() -> None:
    model = tiny.model().train()
    p = tiny.processor(model.config)
    batch = p.collate([p.sample(tiny.question("", "a box"))])
    assert "patches" not in batch
    model(**batch).loss.backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.vision_tower.parameters())
    model.vision_tower.requires_grad_(False)
    model.projector.requires_grad_(False)
    torch.testing.assert_close(model(**batch).loss, model.eval()(**batch).loss)


def test_a_batch_without_targets_has_a_loss_of_zero() -> None:
    model = tiny.model().train()
    p = tiny.processor(model.config)
    out = model(**p.collate([p.sample(tiny.question("<image>"), [tiny.picture()])]))
    out.loss.backward()
    assert out.loss.item() == 0 and not any(p.grad.any() for p in model.parameters())


BAD_INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "patches": ({"patches": torch.zeros(8, 5)}, r"patches must be \(N, 192\), got \(8, 5\)"),
    "positions": ({"patch_positions": torch.zeros(7, 3)}, r"patch_positions must be \(8, 3\) integers"),
    "order": ({"patch_positions": grid(1, 2, 4)}, "patch_positions must list blocks of 2 x 2 patches"),
    "negative": ({"patch_positions": torch.zeros(8, 3).long() - 1}, "patch_positions must not be negative"),
    "bounds": (
        {"patch_cu_seqlens": torch.tensor([0, 4])},
        "patch_cu_seqlens must increase from 0 to the 8 patches",
    ),
    "blocks": ({"patch_cu_seqlens": torch.tensor([0, 3, 8])}, "multiples of the 4 patches of a merge block"),
    "count": ({"input_ids": "one more"}, "input_ids hold 3 vision tokens, but 8 patches make 2 features"),
    "no patches": ({"patches": None}, "input_ids hold 2 vision tokens, but patches is None"),
    "no positions": ({"patch_positions": None}, "patches need patch_positions and patch_cu_seqlens"),
    "both": ({"inputs_embeds": torch.zeros(1, 1, 32)}, "give either input_ids or inputs_embeds"),
    "neither": ({"input_ids": None}, "give either input_ids or inputs_embeds"),
    "embeds": ({"input_ids": None, "inputs_embeds": torch.zeros(1, 1, 32)}, "patches need input_ids"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs(case: str) -> None:
    changes, message = BAD_INPUTS[case]
    model = tiny.model()
    token = model.config.vision_token_id
    positions = grid(1, 2, 4)
    batch: dict[str, Any] = {
        "input_ids": torch.tensor([[1, token, token, 2]]),
        "patches": torch.randn(8, 192),
        "patch_positions": positions[torch.from_numpy(order_for_merge(positions, 2))],
        "patch_cu_seqlens": torch.tensor([0, 8]),
    }
    model(**batch)
    if case == "count":
        changes = {"input_ids": torch.tensor([[1, token, token, token]])}
    with pytest.raises(ValueError, match=message):
        model(**{**batch, **changes})


@pytest.mark.parametrize("tower", ["qwen3vl", "siglip2"])
def test_towers_of_frames_take_no_codec_tokens(tower: str) -> None:
    model = tiny.model(tower, merge_size=2)
    rows = torch.randn(8, model.vision_tower.row_size)
    positions = torch.tensor([(0, h, w) for c in (0, 4) for h in (0, 1) for w in (c, c + 1)])  # columns 2, 3 lack
    with pytest.raises(ValueError, match=r"takes whole frames, but frame t=0 has 8 patches of a grid of 2 x 6"):
        model.get_vision_features(rows, positions, torch.tensor([0, 8]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"merge_size": 0}, "merge_size must be a positive number"),
        ({"vision_token_id": 5000}, "vision_token_id 5000 is not one of the 320 tokens"),
        ({"projector": "conv"}, "projector must be one of merger, mlp"),
        ({"select_layer": 4}, "select_layer must be None or one of the tower's 4 hidden states, -4 to 3"),
        (
            {"vision_config": {"model_type": "clip"}},
            "vision_config has the model_type 'clip'; choose from one",
        ),
        ({"vision_config": tiny.TOWERS["qwen3vl"], "merge_size": 3}, "merge_size must be 2, as in the tower's own"),
    ],
)
def test_bad_configurations(options: dict[str, Any], message: str) -> None:
    values = {"vision_config": tiny.TOWERS["ov"], "text_config": tiny.TEXT, "vision_token_id": 5, **options}
    with pytest.raises(ValueError, match=message):
        LMMConfig(**values)


def save_language_model(folder: Path, **text: Any) -> Any:
    torch.manual_seed(1)
    config = AutoConfig.for_model(**{**tiny.TEXT, **text})
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    return model


def published(kind: str, folder: Path) -> Any:
    """A directory with the tower, of the kind that is published; the tower's own model."""
    torch.manual_seed(2)
    values = {k: v for k, v in tiny.TOWERS[kind.split("-")[0]].items() if k != "model_type"}
    if kind == "ov":
        model = OVEncoder.from_config(tiny_encoder_config())
        model.save_pretrained(folder)
        return model
    if kind.startswith("qwen3vl"):
        from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

        text = {k: v for k, v in tiny.TEXT.items() if k != "model_type"}
        text["rope_scaling"] = {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True}
        whole = Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=values))
        part = whole.model.visual
    else:
        from transformers import Siglip2Config, Siglip2Model

        text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
        whole = Siglip2Model(Siglip2Config(text_config=text, vision_config=values))
        part = whole.vision_model
    (part if kind.endswith("-tower") and kind.startswith("qwen") else whole).save_pretrained(folder)
    return part


@pytest.mark.parametrize("kind", ["ov", "qwen3vl", "qwen3vl-tower", "siglip2"])
def test_made_of_pretrained_parts(kind: str, tmp_path: Path) -> None:
    from ove_codec.lmm import from_parts

    language = save_language_model(tmp_path / "lm", vocab_size=300)
    tower = published(kind, tmp_path / "tower")
    model = from_parts(
        tmp_path / "tower", tmp_path / "lm", vision_token_id=310, select_layer=-2, attn_implementation="eager"
    )
    assert not any(p.is_meta for p in model.parameters()) and not any(b.is_meta for b in model.buffers())
    assert model.config.text_config.vocab_size == 311
    weights = dict(model.language_model.named_parameters())
    for name, parameter in language.named_parameters():
        assert torch.equal(weights[name][: len(parameter)], parameter), name
    originals = [p for p in tower.state_dict().values() if p.ndim]
    found = list(model.vision_tower.state_dict().values())
    assert found and all(any(p.shape == o.shape and torch.equal(p, o) for o in originals) for p in found)
    assert model.language_model.config._attn_implementation == "eager"
    assert model.projector.linear_1.weight.std() > 0

    model.save_pretrained(tmp_path / "model")
    back = LMMForConditionalGeneration.from_pretrained(tmp_path / "model")
    states = back.state_dict()
    assert states.keys() == model.state_dict().keys()
    assert all(torch.equal(states[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("select_layer", [None, -1, -2])
def test_the_tower_on_its_own(select_layer: int | None, tmp_path: Path) -> None:
    model = tiny.model(select_layer=select_layer)
    save_tower(model, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore" if select_layer is None else "error", ".*has no weights for head")
        encoder = OVEncoder.from_pretrained(tmp_path)
    rows, positions = torch.randn(8, 3 * tiny.PATCH**2), grid(1, 2, 4)
    with torch.no_grad():
        expected = model.vision_tower(rows, positions, torch.tensor([0, 8]))
        torch.testing.assert_close(encoder(rows, positions).last_hidden_state, expected, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="only an OVEncoder is saved on its own, not a Siglip2Tower"):
        save_tower(tiny.model("siglip2"), tmp_path)


def test_missing_and_unfit_parts(tmp_path: Path) -> None:
    from ove_codec.lmm import from_parts

    save_language_model(tmp_path / "lm")
    with pytest.raises(FileNotFoundError, match=r"none.config\.json is missing"):
        from_parts(tmp_path / "none", tmp_path / "lm", 5)
    with pytest.raises(FileNotFoundError, match=r"none.config\.json is missing"):
        from_parts(tmp_path / "lm", tmp_path / "none", 5)
    with pytest.raises(ValueError, match=r"config\.json: vision_config has the model_type 'qwen3'"):
        from_parts(tmp_path / "lm", tmp_path / "lm", 5)
    published("qwen3vl-tower", tmp_path / "tower")
    from safetensors.torch import load_file, save_file

    file = tmp_path / "tower" / "model.safetensors"
    tensors = load_file(file)
    del tensors["merger.norm.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 are missing \['merger\.norm\.weight'\]"):
        from_parts(tmp_path / "tower", tmp_path / "lm", 5)


def test_library_does_not_import_it() -> None:
    code = "import sys, ove_codec; assert not {'transformers', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_extra_is_named() -> None:
    code = "import sys; sys.modules['transformers'] = None; import ove_codec.lmm"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode and "pip install 'ove_codec[lmm]'" in done.stderr
