"""`ove-codec probe manifest` on small files of the official form of every data set."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ove_codec.cli import main
from ove_codec.probes.annotations import FORMS
from ove_codec.probes.datasets import known_datasets
from ove_codec.probes.manifest import read_manifest
from support import backbones, ffmpeg
from test_probe_cli import CODEC, command

needs_x264 = pytest.mark.skipif(not ffmpeg.has_libx264(), reason="ffmpeg with libx264 is not installed")

Rows = list[tuple[str, int, tuple[float | None, float | None]]]
WHOLE = (None, None)

PERCEPTION = {
    "video_7": {
        "metadata": {"split": "train", "video_id": "video_7", "frame_rate": 30.0, "num_frames": 300},
        "action_localisation": [
            {"id": 0, "label": "Putting something down", "parent_objects": [1], "timestamps": [0, 1500000],
             "frame_ids": [0, 45], "label_id": 4},
            {"id": 1, "label": "Clapping hands", "parent_objects": [], "timestamps": [2000000, 9999000],
             "frame_ids": [60, 299], "label_id": 62},
        ],
    },
    "video_8": {"metadata": {"frame_rate": 30.0, "num_frames": 30}, "action_localisation": []},
}  # fmt: skip
EGO_COLUMNS = (
    "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length,egocentric,charades_video"
)
EPIC_COLUMNS = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
)
EPIC_ROW = "P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,01:00:03.37,8,202,open door,open,3,door,12,['door'],\"[12]\"\n"
EPIC_OTHER = "P02_02_0,P02,P02_02,00:00:05,00:00:04.00,00:00:08.50,8,202,close bin,close,4,bin,9,['bin'],\"[9]\"\n"
K400 = [f"action {n:03d}" for n in range(400)]
HMDB = [f"move_{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(51)]


def ssv2(template: str = "Putting [something] on [something]", video: str = "78687") -> str:
    entry = {"id": video, "label": "putting a cup on a table", "template": template, "placeholders": ["a cup"]}
    return f"[\n{json.dumps(entry)}\n]"


SSV2_LABELS = json.dumps({"Approaching something": "0", "Putting something on something": "173"})
# Annotation files, videos, and the rows of the training and of the validation set.
FORMS_MADE: dict[str, tuple[dict[str, str], Sequence[str], Rows, Rows]] = {
    "ssv2": (
        {"labels/labels.json": SSV2_LABELS, "labels/train.json": ssv2(), "labels/validation.json":
         ssv2("Approaching [something]", "5")},
        ("20bn/78687.webm", "20bn/5.mp4"),
        [("20bn/78687.webm", 173, WHOLE)],
        [("20bn/5.mp4", 0, WHOLE)],
    ),
    "diving48": (
        {"Diving48_V2_train.json": '[{"vid_name": "a_00001", "label": 26, "start_frame": 0, "end_frame": 135}]',
         "Diving48_V2_test.json": '[{"vid_name": "b_00002", "label": 0, "start_frame": 0, "end_frame": 99}]'},
        ("rgb/a_00001.mp4", "rgb/b_00002.mp4"),
        [("rgb/a_00001.mp4", 26, WHOLE)],
        [("rgb/b_00002.mp4", 0, WHOLE)],
    ),
    "perception_test": (
        {"action_localisation_train.json": json.dumps(PERCEPTION),
         "action_localisation_valid.json": json.dumps({"video_9": PERCEPTION["video_7"]})},
        ("videos/video_7.mp4", "videos/video_9.mp4"),
        [("videos/video_7.mp4", 4, (0.0, 1.5)), ("videos/video_7.mp4", 62, (2.0, 9.999))],
        [("videos/video_9.mp4", 4, (0.0, 1.5)), ("videos/video_9.mp4", 62, (2.0, 9.999))],
    ),
    "charadesego": (
        {"CharadesEgo_v1_train.csv": f"{EGO_COLUMNS}\nAB1EGO,S,Home,7,7,Yes,\"a, b\",cup,d,"
         "c156 1.50 3.20;c000 0.00 9.00;c156 5.00 6.00,30.1,Yes,AB1\nAB2EGO,S,,,,,,,,,3.0,Yes,AB2\n",
         "CharadesEgo_v1_test.csv": f"{EGO_COLUMNS}\nCD1,S,Home,7,7,Yes,a,cup,d,c002 0.00 1.00,30.1,No,CD1\n"},
        ("AB1EGO.mp4", "CD1.mp4"),
        [("AB1EGO.mp4", 156, WHOLE), ("AB1EGO.mp4", 0, WHOLE)],
        [("CD1.mp4", 2, WHOLE)],
    ),
    "epic_verb": (
        {"EPIC_100_train.csv": f"{EPIC_COLUMNS}\n{EPIC_ROW}",
         "EPIC_100_validation.csv": f"{EPIC_COLUMNS}\n{EPIC_OTHER}"},
        ("P01/videos/P01_01.MP4", "P02/videos/P02_02.MP4"),
        [("P01/videos/P01_01.MP4", 3, (0.14, 3603.37))],
        [("P02/videos/P02_02.MP4", 4, (4.0, 8.5))],
    ),
    "epic_noun": (
        {"EPIC_100_train.csv": f"{EPIC_COLUMNS}\n{EPIC_ROW}",
         "EPIC_100_validation.csv": f"{EPIC_COLUMNS}\n{EPIC_OTHER}"},
        ("P01/videos/P01_01.MP4", "P02/videos/P02_02.MP4"),
        [("P01/videos/P01_01.MP4", 12, (0.14, 3603.37))],
        [("P02/videos/P02_02.MP4", 9, (4.0, 8.5))],
    ),
    "k400": (
        {"train.csv": "label,youtube_id,time_start,time_end,split,is_cc\n"
         + "".join(f"{name},{name[-3:]}-_abcdefg,10,20,train,0\n" for name in reversed(K400)),
         "val.csv": "label,youtube_id,time_start,time_end,split\naction 399,bcdefghijk0,5,15,val\n"},
        ("train/action 003/003-_abcdefg_000010_000020.mp4", "val/bcdefghijk0.mkv"),
        [("train/action 003/003-_abcdefg_000010_000020.mp4", 3, WHOLE)],
        [("val/bcdefghijk0.mkv", 399, WHOLE)],
    ),
    "hmdb51": (
        {f"splits/{name}_test_split{split}.txt": f"{name}_x_{split}.avi 1 \n"
         f"{'y' if name in HMDB[3:5] else f'{name}_y'}.avi 2\nz.avi 0\n" for name in HMDB for split in (1, 2)},
        (f"{HMDB[2]}/{HMDB[2]}_x_1.avi", f"{HMDB[4]}/y.avi", f"{HMDB[3]}/y.mp4"),
        [(f"{HMDB[2]}/{HMDB[2]}_x_1.avi", 2, WHOLE)],
        [(f"{HMDB[3]}/y.mp4", 3, WHOLE), (f"{HMDB[4]}/y.avi", 4, WHOLE)],
    ),
}  # fmt: skip


def made(folder: Path, annotations: dict[str, str], videos: Sequence[str]) -> list[str]:
    """Writes files, and empty videos; the arguments for both folders."""
    for name, text in annotations.items():
        (folder / "official" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "official" / name).write_text(text, encoding="utf-8")
    for name in videos:
        (folder / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "videos" / name).touch()
    return [str(folder / "official"), str(folder / "videos"), f"-o={folder / 'm.csv'}"]


def rows(folder: Path, key: str, split: str) -> Rows:
    found = read_manifest(folder / "m.csv", known_datasets()[key].classes, root=folder / "videos", split=split)
    assert all(clip.path.is_file() for clip in found)
    return [(clip.name, clip.label, clip.segment) for clip in found]


def test_every_data_set_has_a_form() -> None:
    assert list(FORMS) == list(FORMS_MADE) == list(known_datasets())


@pytest.mark.parametrize("key", list(FORMS_MADE))
def test_official_forms(key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations, videos, train, val = FORMS_MADE[key]
    arguments = made(tmp_path, annotations, videos)
    assert main(["probe", "manifest", key, *arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert err == "" and facts["bad"] == [] and facts["clips"] == {"train": len(train), "val": len(val)}
    assert rows(tmp_path, key, "train") == train and rows(tmp_path, key, "val") == val
    left_out = (tmp_path / "m.csv.left-out.txt").read_text().splitlines()
    missing = {"k400": 399, "hmdb51": 50 + 49}.get(key, 0)
    assert len(left_out) == len(facts["missing"]) == missing
    if key == "k400":
        assert left_out[0] == (
            f"{tmp_path}/official/train.csv: line 2: there is no video named 399-_abcdefg_000010_000020"
        )

    assert main(["probe", "manifest", key, *arguments, "--split=val"]) == 0
    assert len(rows(tmp_path, key, "val")) == len(val)
    with pytest.raises(ValueError, match="lists no clips of split 'train'"):
        rows(tmp_path, key, "train")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven seconds, as long as the parts that the files name."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    source = "testsrc2=s=112x112:r=5:d=11"
    ffmpeg.run(["-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-pix_fmt", "yuv420p", path])
    return path


@needs_x264
@pytest.mark.parametrize("key", list(FORMS_MADE))
def test_from_official_files_to_a_result(
    key: str, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations, videos, train, val = FORMS_MADE[key]
    arguments = made(tmp_path, annotations, videos)
    for name in videos:
        shutil.copy(video, tmp_path / "videos" / name)
    assert main(["probe", "manifest", key, *arguments]) == 0
    backbones.save_ov_encoder(tmp_path / "weights")
    options = {
        "dataset": key,
        "manifest": tmp_path / "m.csv",
        "root": tmp_path / "videos",
        "epochs": 1,
        "batch-size": 1,
    }
    assert main(command(tmp_path, tmp_path, *CODEC, "--json", **options)) == 0
    out, _ = capsys.readouterr()
    (result,) = json.loads(out[out.index("[") :])
    counted = [(found["listed"], found["read"]) for found in (result["clips"]["train"], result["clips"]["val"])]
    assert counted == [(len(train), len(train)), (len(val), len(val))]
    assert result["seeds"][0]["heads"][0]["losses"][0] > 0


def test_one_file_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations, videos, _, _ = FORMS_MADE["charadesego"]
    official, place, out = made(tmp_path, annotations, videos)
    assert main(["probe", "manifest", "charadesego", official, place, out, "--segments"]) == 0
    parts = [(156, (1.5, 3.2)), (0, (0.0, 9.0)), (156, (5.0, 6.0))]
    assert [row[1:] for row in rows(tmp_path, "charadesego", "train")] == parts
    shown = capsys.readouterr().out
    assert "train     3 clips\n" in shown and "ove-codec probe run --dataset charadesego --manifest" in shown

    file = Path(official, "CharadesEgo_v1_train.csv")
    renamed = file.rename(file.with_name("only1st.csv"))
    assert main(["probe", "manifest", "charadesego", str(renamed), place, out, "--split=val"]) == 0
    assert len(rows(tmp_path, "charadesego", "val")) == 2
    capsys.readouterr()
    assert main(["probe", "manifest", "charadesego", str(renamed), place, out]) == 1
    assert "the file name does not give the split: pass --split train or --split val" in capsys.readouterr().err
    assert main(["probe", "manifest", "charadesego", official, place, out]) == 1
    assert "it holds no CharadesEgo_v1_train.csv; pass the file" in capsys.readouterr().err

    annotations, videos, _, _ = FORMS_MADE["hmdb51"]
    arguments = made(tmp_path / "hmdb", annotations, [f"{HMDB[0]}_x_2.avi"])
    assert main(["probe", "manifest", "hmdb51", *arguments, "--number=2"]) == 0
    assert rows(tmp_path / "hmdb", "hmdb51", "train") == [(f"{HMDB[0]}_x_2.avi", 0, WHOLE)]


def test_class_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part of the classes has no numbers of its own, and takes them from a list."""
    rows_made = f"label,youtube_id,time_start,time_end,split\n{K400[7]},v0123456789,0,10,train\nother,w,0,10,train\n"
    official, *arguments = made(tmp_path, {"train.csv": rows_made}, ["v0123456789.mp4", "w.mp4"])
    assert main(["probe", "manifest", "k400", f"{official}/train.csv", *arguments]) == 1
    assert "names 2 classes, and Kinetics-400 has 400" in capsys.readouterr().err
    (tmp_path / "names.txt").write_text("\n".join(K400[::-1]))
    arguments += ["--split=train", f"--class-names={tmp_path / 'names.txt'}"]
    assert main(["probe", "manifest", "k400", official, *arguments]) == 0
    assert rows(tmp_path, "k400", "train") == [("v0123456789.mp4", 392, WHOLE)]
    assert "train.csv: line 3: its class 'other' is not one of the 400" in capsys.readouterr().err


GOOD_DIVE = '{"vid_name": "a", "label": 1}'
BAD: list[tuple[str, dict[str, str], list[str]]] = [
    ("ssv2", {"train.json": f"[\n{ssv2()[1:-1]},\n{ssv2('Eating [something]')[1:-1]},\n5,\n{{\"id\": \"5\"}}]"},
     [r"train.json: line 6, entry 2: its template 'Eating something' is not in labels.json",
      r"line 8, entry 3: it is not an object", r"line 9, entry 4: it has no template"]),
    ("diving48", {"Diving48_V2_train.json": f'[{GOOD_DIVE}, {{"vid_name": "a", "label": 48}},\n'
     '{"vid_name": "a", "label": -1}, {"vid_name": 3, "label": 1}, {"vid_name": "a", "label": true}]'},
     [r"line 1, entry 2: its class 48 is not one of the 48", r"line 2, entry 3: label must be a whole number, not -1",
      r"entry 4: vid_name must be text, not 3", r"entry 5: label must be a whole number, not True"]),
    ("perception_test", {"all_train.json": json.dumps({
        **PERCEPTION, "video_1": {}, "video_2": 3,
        "video_3": {"metadata": {"frame_rate": 30, "num_frames": 30},
                    "action_localisation": [{"timestamps": [1, 2e9], "label_id": 1}, {"timestamps": [1]},
                                            {"timestamps": [5, 5], "label_id": 1}, {"timestamps": ["x", 1]}]},
        "video_4": {"metadata": {"frame_rate": 0, "num_frames": 30}, "action_localisation": []}})},
     [r"entry 3: it has no metadata", r"entry 4: it is not an object",
      r"entry 5, action 1: its action ends at 2000 s, but the video at 1 s",
      r"action 2: timestamps must be two numbers",
      r"action 3: its part of the video, 5e-06 to 5e-06 s, is empty", r"action 4: timestamps must be a number, not 'x'",
      r"entry 6: action_localisation must be a list, and frame_rate positive"]),
    ("charadesego", {"CharadesEgo_v1_train.csv": "id,actions\na,c001 0 1\na,c157 0 1\na,d1 0 1\na\n,c001 0 1\n"},
     [r"line 3: its class 157 is not one of the 157", r"line 4: 'd1 0 1' is not an action", r"line 5: it has 1 columns",
      r"line 6: 'c001 0 1' is not an action such as c000 0.00 1.00, or the id is missing"]),
    ("epic_verb", {"EPIC_100_train.csv": "video_id,start_timestamp,stop_timestamp,verb_class\n"
     "a,00:00:01,00:00:02.5,1\na,1,00:00:02,1\na,00:00:03,00:00:02,1\na,00:00:01,00:00:02,x\n"},
     [r"line 3: '1' is not a time such as", r"line 4: its part of the video, 3 to 2 s, is empty",
      r"line 5: verb_class must be a whole number, not 'x'"]),
    ("hmdb51", {f"{name}_test_split1.txt": "a.avi 1\nb.avi 7\nc\n" if n == 0 else "" for n, name in enumerate(HMDB)},
     [r"line 2: 'b.avi 7' is not a video name followed by 0, 1 or 2", r"line 3: 'c' is not a video"]),
]  # fmt: skip


@pytest.mark.parametrize(("key", "files", "messages"), BAD)
def test_bad_entries_are_named(
    key: str, files: dict[str, str], messages: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With file and line; the others stay."""
    files = {**files, **({"labels.json": SSV2_LABELS} if key == "ssv2" else {})}
    arguments = made(tmp_path, files, ["a.mp4", "78687.mp4", "5.mp4", "video_7.mp4", "video_3.mp4"])
    (tmp_path / "names.txt").write_text("\n".join(HMDB))
    more = [f"--class-names={tmp_path / 'names.txt'}"] if key == "hmdb51" else []
    assert main(["probe", "manifest", key, *arguments, "--split=train", *more]) == 0
    err = capsys.readouterr().err
    assert err == "".join(f"ove-codec: {line}\n" for line in (tmp_path / "m.csv.left-out.txt").read_text().splitlines())
    assert len(err.splitlines()) == len(messages)
    for message in messages:
        assert re.search(message, err), message
    assert rows(tmp_path, key, "train")


@pytest.mark.parametrize(
    ("key", "files", "message"),
    [
        ("diving48", {"Diving48_V2_train.json": f"[{GOOD_DIVE},\n{GOOD_DIVE}"}, "line 2: the JSON is broken here"),
        ("diving48", {"Diving48_V2_train.json": f"[{GOOD_DIVE}\n{GOOD_DIVE}]"}, "line 2: the JSON is broken here"),
        ("diving48", {"Diving48_V2_train.json": "{}"}, "the file must hold a list of JSON"),
        ("diving48", {"Diving48_V2_train.json": "[" * 100_000}, "line 1: the JSON is broken here"),
        ("diving48", {"Diving48_V2_train.json": "[]"}, "no clip is left: 0 without a video in .*, 0 bad entries"),
        ("diving48", {"Diving48_V2_train.json": '[{"vid_name": "no", "label": 1}]'},
         "no clip is left: 1 without a video in .*; the first, .*line 1, entry 1: no$"),
        ("diving48", {"x/Diving48_V2_train.json": "[]", "y/Diving48_V2_train.json": "[]"},
         "it holds .*x/Diving48.* and .*y/Diving48"),
        ("perception_test", {"all_train.json": "[1]"}, "the file must hold an object of JSON"),
        ("perception_test", {"all_train.json": '{"a" 1}'}, "line 1: the JSON is broken here"),
        ("ssv2", {"train.json": "[]"}, "labels.json: this file is missing"),
        ("epic_noun", {"EPIC_100_train.csv": "video_id,verb_class\n"}, "but these are missing: "),
        ("epic_noun", {"EPIC_100_train.csv": ""}, "line 1: it must name the columns"),
    ],
)  # fmt: skip
def test_files_of_another_form(
    key: str, files: dict[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = made(tmp_path, files, ["a.mp4"])
    assert main(["probe", "manifest", key, *arguments, "--split=train"]) == 1
    assert re.search(message, capsys.readouterr().err.strip())
    assert not (tmp_path / "m.csv").exists()


def test_videos_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files: dict[str, Any] = {"Diving48_V2_train.json": f'[{GOOD_DIVE}, {{"vid_name": "b", "label": 2}}]'}
    arguments = made(tmp_path, files, ["x/a.mp4", "y/a.mkv", "b.mp4", "b.txt"])
    assert main(["probe", "manifest", "diving48", *arguments, "--split=train"]) == 0
    assert "entry 1: x/a.mp4 and y/a.mkv both match its video: remove one" in capsys.readouterr().err
    assert rows(tmp_path, "diving48", "train") == [("b.mp4", 2, WHOLE)]
    assert main(["probe", "manifest", "diving48", arguments[0], str(tmp_path / "no"), arguments[2]]) == 1
    assert "there is no such folder" in capsys.readouterr().err
