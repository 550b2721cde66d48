"""Makes the canvases of a video in an environment that has what vLLM asks for and codec-video-prep refuses: NumPy 2 and
OpenCV 4.13 or later.

    check_canvases.py VIDEO PACKAGE [--python PYTHON] [--build FOLDER]

PACKAGE is a wheel, or the folder of a build in place, such as python/. PyTorch is left out: canvases do not need it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from shell import install, make_environment, run

REQUIREMENTS = (
    "numpy>=2", "opencv-python-headless>=4.13", "pillow", "safetensors", "tqdm", "typing_extensions",
)  # fmt: skip
_PREINFER = "import sys; from ove_codec.cli.preinfer import main; sys.exit(main())"
# Reads the files as the processors of the checkpoints do, with OpenCV.
_READ = """
import json, sys
from importlib.metadata import version
from pathlib import Path
import cv2, numpy as np
out = Path(sys.argv[1])
meta = json.loads((out / "meta.json").read_text())
images = np.stack([cv2.imread(str(out / name)) for name in meta["canvas_files"]])
positions = np.load(out / "src_patch_position.npy")
print(json.dumps({
    "numpy": np.__version__, "opencv": version("opencv-python-headless"), "python": sys.version.split()[0],
    "images": images.shape, "positions": positions.shape, "filled": int((positions[:, 0] >= 0).sum()),
    "patch": meta["patch"], "frames": len(np.load(out / "frame_ids.npy")),
}))
"""


def check(video: Path, package: Path, python: Path, build: Path) -> dict[str, Any]:
    """What was read of the canvases. Ends the program where a command fails or the files do not fit."""
    made = make_environment(python, build, *REQUIREMENTS)
    environment = {"PYTHONPATH": ""}
    if package.suffix == ".whl":
        install(made, package, alone=True)
    else:
        environment["PYTHONPATH"] = str(package.resolve())
    with tempfile.TemporaryDirectory() as out:
        run([made, "-c", _PREINFER, "--video", video, "--out_dir", out], env=environment)
        facts: dict[str, Any] = json.loads(run([made, "-c", _READ, out], env={"PYTHONPATH": ""}))
    count, height, width, _ = facts["images"]
    patches = count * (height // facts["patch"]) * (width // facts["patch"])
    if facts["positions"] != [patches, 3] or not 0 < facts["filled"] <= patches:
        raise SystemExit(f"error: {facts['positions']} positions do not fit canvases {facts['images']}")
    return facts


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("video", type=Path, metavar="VIDEO")
    parser.add_argument("package", type=Path, metavar="PACKAGE")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="that makes the environment")
    parser.add_argument("--build", type=Path, default=Path("build/canvases"), help="of the environment")
    args = parser.parse_args()
    facts = check(args.video, args.package, args.python, args.build.resolve())
    count, height, width, _ = facts["images"]
    print(
        f"Python {facts['python']}, NumPy {facts['numpy']}, OpenCV {facts['opencv']}: {facts['frames']} frames, "
        f"{count} canvases of {width}x{height}, {facts['filled']} patches"
    )


if __name__ == "__main__":
    main()
