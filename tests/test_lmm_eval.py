"""The plug-in for lmms-eval, on lmms-eval itself where it is installed, else on a stand-in of its base class."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="ove_codec[lmm] is not installed")

from ove_codec.lmm import Answerer, Conversation, LMMForConditionalGeneration, LMMProcessor
from support import clips, ffmpeg
from support import lmm as tiny


@dataclass
class Request:
    """What the plug-in reads of lmms-eval's Instance."""

    args: tuple[Any, ...]


class Hook:
    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, Any]] = []

    def add_partial(self, attr: str, request: Any, result: Any) -> None:
        self.seen.append((attr, request, result))


def stand_in() -> dict[str, types.ModuleType]:
    """Modules with the names that the plug-in imports of lmms-eval."""

    class Lmms:
        is_simple = True

        def __init__(self) -> None:
            self.task_dict: dict[str, Any] = {}
            self.cache_hook = Hook()

    @dataclass(frozen=True)
    class ModelManifest:
        model_id: str
        simple_class_path: str | None = None
        chat_class_path: str | None = None
        aliases: tuple[str, ...] = ()

    names = ("lmms_eval", "lmms_eval.api", "lmms_eval.api.model", "lmms_eval.models", "lmms_eval.models.registry_v2")
    modules = {name: types.ModuleType(name) for name in names}
    modules["lmms_eval.api.model"].lmms = Lmms  # type: ignore[attr-defined]
    modules["lmms_eval.models.registry_v2"].ModelManifest = ModelManifest  # type: ignore[attr-defined]
    return modules


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    try:
        import_module("lmms_eval.models")
    except ImportError:
        for name, module in stand_in().items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.delitem(sys.modules, "ove_codec.lmm.lmms_eval", raising=False)
    return import_module("ove_codec.lmm.lmms_eval")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lmm")
    model = tiny.model()
    model.save_pretrained(folder)
    tiny.processor(model.config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip(stream_folder: Path) -> Path:
    if not ffmpeg.has_libx265():
        pytest.skip("ffmpeg with libx265 makes the clip")
    return clips.moving_clip(stream_folder)


def answer(saved: Path, messages: list[dict[str, Any]], images: Any = (), videos: Any = (), **settings: Any) -> str:
    """What the model says, without the plug-in."""
    model = LMMForConditionalGeneration.from_pretrained(saved).eval()
    processor = LMMProcessor.from_pretrained(saved)
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    batch = processor(text, images, videos)
    tokens = model.generate(**batch, do_sample=False, pad_token_id=0, eos_token_id=2, **settings)
    return processor.batch_decode(tokens[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)[0].strip()


def made(plugin: Any, saved: Path, kind: str = "OveLMM", docs: Any = None, **options: Any) -> Any:
    lm = getattr(plugin, kind)(str(saved), device="cpu", dtype="float32", **options)
    lm.task_dict = {"task": {"test": docs or {}}}
    lm.cache_hook = Hook()
    return lm


def asked(content: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_generate_until(plugin: Any, saved: Path, clip: Path, batch_size: int) -> None:
    pictures = [tiny.picture(i) for i in range(2)]
    docs = {0: [pictures[0]], 1: [[str(clip)]], 2: pictures, 3: None}
    texts = ["what is seen?", "what moves?", "<image> or <image>?", "what <image> is that?"]
    lm = made(plugin, saved, docs=docs, batch_size=batch_size)
    settings: list[dict[str, Any]] = [{"max_new_tokens": n, "temperature": 0, "until": ["\n\n"]} for n in (6, 6, 4, 6)]
    requests = [Request((texts[i], settings[i], lambda doc: doc, i, "task", "test")) for i in range(4)]
    expected = [
        answer(saved, asked("<image>\nwhat is seen?"), pictures[:1], max_new_tokens=6),
        answer(saved, asked("<video>\nwhat moves?"), (), [clip], max_new_tokens=6),
        answer(saved, asked("<image> or <image>?"), pictures, max_new_tokens=4),
        answer(saved, asked("what  is that?"), max_new_tokens=6),
    ]
    assert lm.generate_until(requests) == expected and not lm.unreadable
    assert {result for _, _, result in lm.cache_hook.seen} == set(expected)
    end = next(text for text in expected if len(text) > 3)[2:4]
    settings[0]["until"] = end
    assert lm.generate_until(requests[:1]) == [expected[0].split(end)[0]]


def test_chat_messages(plugin: Any, saved: Path, clip: Path) -> None:
    picture = tiny.picture()
    parts = [
        {"type": "video", "url": str(clip), "start_time": 0.3, "end_time": 0.8},
        {"type": "text", "text": "and <image> "},
        {"type": "image", "url": picture},
        {"type": "text", "text": "?"},
    ]
    lm = made(plugin, saved, "OveLMMChat", {0: parts}, system_prompt="be brief")
    assert not plugin.OveLMMChat.is_simple and plugin.OveLMM.is_simple
    request = Request(("", lambda doc: [{"role": "user", "content": doc}], {"max_new_tokens": 5}, 0, "task", "test"))
    messages = [{"role": "system", "content": "be brief"}, *asked("<video>\nand  <image>\n?")]
    expected = answer(saved, messages, [picture], [{"video": clip, "start": 0.3, "end": 0.8}], max_new_tokens=5)
    assert lm.generate_until([request]) == [expected]


def test_rounds(plugin: Any, saved: Path) -> None:
    pictures = [tiny.picture(i) for i in range(3)]
    seen: list[tuple[Any, ...]] = []

    def next_question(doc: Any, previous_output: Any, round_idx: int, previous_round_info: Any) -> tuple[Any, ...]:
        seen.append((previous_output, round_idx, previous_round_info))
        return [doc[round_idx]], f"{previous_output[-1]} and then?", round_idx == 2, previous_output, round_idx * 10

    first = answer(saved, asked("<image>\nwhat?"), pictures[:1], max_new_tokens=3)
    second = answer(saved, asked(f"<image>\n{first} and then?"), pictures[1:2], max_new_tokens=3)
    settings = {"max_new_tokens": 3}
    lm = made(plugin, saved, docs={0: pictures})
    request = Request(("what?", settings, lambda doc: doc[0], next_question, 0, "task", "test"))
    assert lm.generate_until_multi_round([request]) == [[first, second]]
    assert seen == [([first], 1, None), ([first, second], 2, 10)]

    def messages(doc: Any, round_idx: int = 0, previous_output: Any = None, previous_round_info: Any = None) -> Any:
        text = "what?" if not round_idx else f"{previous_output[-1]} and then?"
        told = [{"role": "user", "content": [{"type": "image", "url": doc[round_idx]}, {"type": "text", "text": text}]}]
        return told if not round_idx else (told, round_idx == 2, previous_output, None)

    chat = made(plugin, saved, "OveLMMChat", {0: pictures})
    assert chat.generate_until_multi_round([Request(("", messages, settings, 0, "task", "test"))]) == [[first, second]]


def test_loglikelihood(plugin: Any, saved: Path) -> None:
    picture = tiny.picture()
    lm = made(plugin, saved, docs={0: picture})
    greedy = answer(saved, asked("<image>\nwhat?"), [picture], max_new_tokens=3)
    processor = LMMProcessor.from_pretrained(saved)
    model = LMMForConditionalGeneration.from_pretrained(saved).eval()
    for target in (" a box", greedy, lambda doc: " a box"):
        request = Request(("what?", target, lambda doc: [doc], 0, "task", "test"))
        ((found, is_greedy),) = lm.loglikelihood([request])
        text = target if isinstance(target, str) else " a box"
        prompt = processor.apply_chat_template(asked("<image>\nwhat?"), add_generation_prompt=True)
        batch = processor(prompt, [picture])
        added = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        expected = 0.0
        for token in added:  # one at a time
            with torch.no_grad():
                expected += float(model(**batch).logits[0, -1].log_softmax(-1)[token])
            batch["input_ids"] = torch.cat([batch["input_ids"], torch.tensor([[token]])], 1)
            batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        assert found == pytest.approx(expected, abs=1e-4)
        if text == " a box":
            assert not is_greedy
    assert lm.loglikelihood([Request(("", " a box"))])[0][0] < 0
    assert lm.loglikelihood([Request(("", ""))]) == [(0.0, True)]


def test_unreadable_samples_have_empty_answers(plugin: Any, saved: Path, tmp_path: Path) -> None:
    lm = made(
        plugin,
        saved,
        docs={0: ["none.mp4"], 1: [tiny.picture()]},
        batch_size=2,
        unreadable_file=str(tmp_path / "u.jsonl"),
    )
    requests = [Request(("what?", {"max_new_tokens": 4}, lambda doc: doc, i, "task", "test")) for i in range(2)]
    answers = lm.generate_until(requests)
    assert answers[0] == "" and answers[1] == answer(saved, asked("<image>\nwhat?"), [tiny.picture()], max_new_tokens=4)
    assert list(lm.unreadable) == ["task/test/0"] and "none.mp4" in lm.unreadable["task/test/0"]
    (line,) = (tmp_path / "u-0.jsonl").read_text().splitlines()
    assert json.loads(line) == {"sample": "task/test/0", "reason": lm.unreadable["task/test/0"]}
    request = Request(("what?", " a", lambda doc: doc, 0, "task", "test"))
    assert lm.loglikelihood([request]) == [(-float("inf"), False)]


def test_model_arguments(plugin: Any, saved: Path) -> None:
    lm = made(plugin, saved, budget=16, num_frames=4, video_size=64, timestamps=True, batch_size="2")
    reader = lm._answerer.processor.reader
    assert reader.select == {"budget": 16, "num_frames": 4, "keep_first_frame": False} and reader.video_size == 64
    assert lm._answerer.processor.timestamps and lm.batch_size == 2 and lm.device == torch.device("cpu")
    frames = made(plugin, saved, video_mode="frames", num_frames=4)._answerer.processor.reader
    assert frames.num_frames == 4 and frames.video_mode == "frames"
    for name in ("budgets", "budget"):
        with pytest.raises(ValueError, match=f"unknown model argument {name} .video_mode is frames."):
            plugin.OveLMM(str(saved), device="cpu", video_mode="frames", **{name: 3})


def test_registration(plugin: Any) -> None:
    manifest = plugin.manifest()
    assert manifest.model_id == "ove_lmm"
    for path, kind in ((manifest.simple_class_path, plugin.OveLMM), (manifest.chat_class_path, plugin.OveLMMChat)):
        module, name = path.rsplit(".", 1)
        assert getattr(import_module(module), name) is kind
    text = Path(__file__).parents[1].joinpath("pyproject.toml").read_text()
    assert '[project.entry-points."lmms_eval.models"]\nove_lmm = "ove_codec.lmm.lmms_eval:manifest"' in text
    if hasattr(sys.modules["lmms_eval.models"], "get_model"):  # lmms-eval itself
        registry = type(sys.modules["lmms_eval.models"].MODEL_REGISTRY_V2)()
        registry.register_manifest(manifest)
        assert registry.get_model_class("ove_lmm") is plugin.OveLMMChat
        assert registry.get_model_class("ove_lmm", force_simple=True) is plugin.OveLMM


def test_missing_lmms_eval_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmms_eval.api.model", None)
    monkeypatch.delitem(sys.modules, "ove_codec.lmm.lmms_eval", raising=False)
    with pytest.raises(ImportError, match="pip install lmms-eval"):
        import_module("ove_codec.lmm.lmms_eval")


def test_answers_in_order_of_conversations() -> None:
    model = tiny.model()
    answerer = Answerer(model, tiny.processor(model.config, prompt="plain"), batch_size=2)
    pictures = [tiny.picture(i) for i in range(3)]
    conversations = [Conversation(tiny.question("<image>"), [p]) for p in pictures]
    conversations.insert(1, Conversation(tiny.question("<image>"), [], name="lacks"))
    together = list(answerer.answers(conversations, max_new_tokens=4, do_sample=False))
    alone = [next(answerer.answers([c], max_new_tokens=4, do_sample=False)) for c in conversations]
    assert together == alone and together[1] == "" and list(answerer.unreadable) == ["lacks"]
    with pytest.raises(ValueError, match="batch_size must be 1 or more, not 0"):
        Answerer(model, answerer.processor, 0)
