"""A scene with the statistics of natural video: what the benchmark's own clips show.

The world is a picture of dead leaves, opaque bodies of all sizes that occlude each other, which has the edges and the
power spectrum of photographs (Lee, Mumford and Huang, "Occlusion models for natural images", 2001). A hand-held camera
pans and zooms over it, bodies that move on their own cross the view, one of them is not rigid, the exposure drifts, the
sensor is noisy, and half way there is a cut.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

CUT = 0.55  # the share of the frames before the cut
LEAVES = 4000
# x, y, speed and radius as shares of the frame's height, phase; the last is the one that waves
BODIES = (
    (0.2, 0.4, 0.33, 0.16, 0.0),
    (1.3, 0.7, -0.21, 0.11, 2.0),
    (0.7, 0.2, 0.12, 0.07, 4.0),
    (1.1, 0.4, 0.05, 0.28, 1.0),
)


def cloud(rng: np.random.Generator, size: int, slope: float) -> Plane:
    """Periodic noise of a power spectrum 1/f^(2 slope), of mean 0 and deviation 1."""
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    f[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / f**slope
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, (size, size))
    return np.asarray(field / field.std(), np.float32)


def world(rng: np.random.Generator, height: int) -> list[Plane]:
    """Luma and the two chroma planes, in 0..1, of a square with sides of twice the height of the frame, periodic."""
    size = 2 * height
    planes = [np.full((size, size), value, np.float32) for value in (0.5, 0.5, 0.5)]
    texture = cloud(rng, size, 1.0)
    # The radii follow r^-3 between the bounds; what is painted later lies in front.
    small, large = 0.01 * height, 0.6 * height
    radii = 1 / np.sqrt(small**-2 + rng.random(LEAVES) * (large**-2 - small**-2))
    for radius in radii:
        x, y = rng.random(2) * size
        reach = int(radius * 1.5) + 1
        dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
        angle, stretch = rng.random() * np.pi, 1 + 0.5 * rng.random()
        u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        inside = (u / stretch) ** 2 + (v * stretch) ** 2 < radius**2
        rows, columns = (dy[inside] + int(y)).astype(int) % size, (dx[inside] + int(x)).astype(int) % size
        shading = 0.08 * (u[inside] / radius) * rng.standard_normal()
        rough = 0.12 * rng.random() ** 3  # most surfaces are smooth
        color = np.clip(0.5 + rng.standard_normal(3) * (0.16, 0.04, 0.04), 0.05, 0.95)
        planes[0][rows, columns] = color[0] + shading + rough * texture[rows, columns]
        planes[1][rows, columns], planes[2][rows, columns] = color[1], color[2]
    # The blur of a lens.
    for plane in planes:
        for axis in (0, 1):
            plane[:] = 0.5 * plane + 0.25 * (np.roll(plane, 1, axis) + np.roll(plane, -1, axis))
    return planes


def between(plane: Plane, y: Plane, x: Plane) -> Plane:
    """Bilinear samples of a periodic plane at the points (y, x), or on the grid of vectors y and x."""
    size = len(plane)
    top, left = np.floor(y), np.floor(x)
    fy, fx = y - top, x - left
    i, j = top.astype(np.int32) % size, left.astype(np.int32) % size
    i1, j1 = (i + 1) % size, (j + 1) % size
    if x.ndim == 1:
        fy = fy[:, None]
        rows = plane[i] * (1 - fy) + plane[i1] * fy
        return np.asarray(rows[:, j] * (1 - fx) + rows[:, j1] * fx, np.float32)
    above = plane[i, j] * (1 - fx) + plane[i, j1] * fx
    below = plane[i1, j] * (1 - fx) + plane[i1, j1] * fx
    return np.asarray(above * (1 - fy) + below * fy, np.float32)


def camera(t: float, shot: int) -> tuple[float, float, float]:
    """Where the view's centre is, in heights of the frame, and its zoom, at `t` seconds."""
    x, y = 0.004 * np.sin(t * 9.1) + 0.003 * np.sin(t * 14.7 + 1), 0.003 * np.sin(t * 11.3 + 2)
    if shot == 0:
        return 0.5 + 0.06 * t + x, 0.6 + y, 1 + 0.01 * t
    return 1.4 - 0.02 * t + x, 1.5 + 0.03 * t + y, 0.9 - 0.015 * t


def view(planes: list[Plane], t: float, shot: int, width: int, height: int, step: int) -> list[Plane]:
    """The noiseless luma (step 1) or chroma (step 2) of one frame."""
    cx, cy, zoom = camera(t, shot)
    yy, xx = (np.arange(0, side, step, dtype=np.float32) for side in (height, width))
    x, y = cx * height + (xx - width / 2) / zoom, cy * height + (yy - height / 2) / zoom
    shown = planes[:1] if step == 1 else planes[1:]
    out = [between(plane, y, x) for plane in shown]
    for number, (x0, y0, speed, radius, phase) in enumerate(BODIES):
        u, v = xx - (x0 + speed * t) * height, yy - (y0 + 0.05 * np.sin(2 * t + phase)) * height
        reach = 1.5 * radius * height
        columns, rows = (slice(*np.searchsorted(w, (-reach, reach))) for w in (u, v))
        u, v = u[columns][None], v[rows][:, None]
        inside = np.hypot(u, v * 0.8) < radius * height * (1 + 0.2 * np.sin(np.arctan2(v, u) * 3 + phase))
        turn = 0.15 * np.sin(t + phase)
        wave = 0.006 * height * np.sin(v / height * 40 + 7 * t) if number == len(BODIES) - 1 else 0
        x = (0.3 + 0.4 * number) * height + u * np.cos(turn) - v * np.sin(turn) + wave
        y = (1.2 - 0.3 * number) * height + u * np.sin(turn) + v * np.cos(turn)
        for plane, target in zip(shown, out, strict=True):
            target[rows, columns][inside] = between(plane, y[inside][None], x[inside][None])[0]
    return out


def frames(width: int, height: int, count: int, rate: int = 30, seed: int = 1) -> Iterator[bytes]:
    """Raw frames in yuv420p."""
    rng = np.random.default_rng(seed)
    planes = world(rng, height)
    grain = rng.standard_normal((height + 64, width + 64), np.float32)
    for number in range(count):
        t, shot = number / rate, int(number >= CUT * count)
        gain = 1 + 0.03 * np.sin(0.8 * t)
        i, j = rng.integers(0, 64, 2)
        (luma,) = view(planes, t, shot, width, height, 1)
        luma = luma * gain + grain[i : i + height, j : j + width] * (0.002 + 0.004 * np.sqrt(np.maximum(luma, 0)))
        yield b"".join(
            np.clip(np.rint(16 + 219 * plane), 16, 240).astype(np.uint8).tobytes()
            for plane in (luma, *view(planes, t, shot, width, height, 2))
        )
