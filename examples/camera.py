"""A camera to the encoder: the tokens of the last seconds, every second, and how long that takes.

`python examples/camera.py SOURCE [--model FOLDER]` reads what PyAV opens: an address such as rtsp://..., a device, or a
file, which is read as fast as it can be. Without a folder the encoder has random weights. Needs `pip install av`.
"""

import argparse
import time

import torch

import ove_codec
from ove_codec.models import OVEncoder, OVEncoderConfig


def encoder(folder: str | None) -> OVEncoder:
    if folder is not None:
        return OVEncoder.from_pretrained(folder).eval()
    torch.manual_seed(0)
    small = OVEncoderConfig(hidden_size=192, intermediate_size=768, num_hidden_layers=6, num_attention_heads=3)
    return OVEncoder(small).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--model", help="folder of an encoder that save_pretrained wrote")
    parser.add_argument("--window", type=float, default=4.0, help="seconds (default: %(default)s)")
    parser.add_argument("--stride", type=float, default=1.0, help="seconds (default: %(default)s)")
    parser.add_argument("--budget", type=int, default=512, help="tokens of a window (default: %(default)s)")
    args = parser.parse_args()
    import av

    model = encoder(args.model)
    patch_size = model.config.patch_size
    with av.open(args.source) as container:
        video = container.streams.video[0]
        context = video.codec_context
        live = ove_codec.Stream(
            context.name, context.extradata, window=args.window, stride=args.stride, preset="ove", fps=8.0,
            patch_size=patch_size, budget=args.budget,
        )  # fmt: skip
        for packet in container.demux(video):
            came = time.perf_counter()
            windows = live.push(packet) if packet.size else live.flush()  # PyAV ends with an empty packet
            for window in windows:
                tokens = window.tokens
                made = time.perf_counter()
                with torch.inference_mode():
                    features = model(tokens.patches, tokens.positions, tokens.cu_seqlens).last_hidden_state
                done = time.perf_counter()
                steps = f"{len(tokens)} tokens in {1000 * (made - came):.0f} ms"
                steps += f", {len(features)} features in {1000 * (done - made):.0f} ms"
                print(f"{window.start:8.2f} to {window.end:8.2f} s: {steps}")
                for loss in window.lost:
                    print(f"    lost: packets {loss.packet} to {loss.end - 1}: {loss.reason}")


if __name__ == "__main__":
    main()
