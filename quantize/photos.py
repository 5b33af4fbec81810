# SPDX-License-Identifier: Apache-2.0
"""Real pictures that scikit-learn ships (china.jpg, flower.jpg), as inputs of any network.

For networks whose data sets cannot be shipped: crops, and the events that an event camera would see
of them.  Everything is seeded.
"""

import numpy as np

from hw.network import NetworkConfig

PICTURES = ("china.jpg", "flower.jpg")
SMALLEST_CROP = 64      # pixels of the photograph, which has 427 x 640
CONTRAST = 0.2          # change of log intensity that makes an event, as of common event cameras
DARK = 0.05             # added to intensities in [0, 1]: the logarithm of black
STEPS = 4               # of the movement, per timestep
REACH = 0.06            # largest distance from rest, as a share of the image
NOISE = 0.002           # events per pixel and step that nothing caused


def _pictures() -> list[np.ndarray]:
    from sklearn.datasets import load_sample_image  # takes a second to import
    return [load_sample_image(name) for name in PICTURES]


def crops(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """Random parts of both photographs in turn, float32 [count, 3, height, width] in [0, 1].

    Each is a window of random place and size in the wanted proportions, mirrored half of the time,
    and resized with antialiasing.
    """
    from PIL import Image  # only this function needs Pillow
    rng, pictures = np.random.default_rng([seed, 1]), _pictures()
    images = np.empty((count, 3, height, width), np.float32)
    for number in range(count):
        picture = pictures[number % len(pictures)]
        limit = min(picture.shape[0] / height, picture.shape[1] / width)
        # Never enlarged, unless the photograph itself is too small.
        least = min(max(SMALLEST_CROP / max(height, width), 1), limit)
        zoom = rng.uniform(least, limit)
        window = int(height * zoom), int(width * zoom)
        y, x = (int(rng.integers(0, size - part + 1))
                for size, part in zip(picture.shape, window))
        part = picture[y:y + window[0], x:x + window[1]]
        part = part[:, ::-1] if rng.integers(2) else part
        resized = Image.fromarray(np.ascontiguousarray(part)).resize(
            (width, height), Image.Resampling.BOX)
        images[number] = np.asarray(resized, np.float32).transpose(2, 0, 1) / 255
    return images


def events(count: int, timesteps: int, height: int, width: int, seed: int) -> np.ndarray:
    """Simulated event counts of pictures in motion, int64 [count, timesteps, 2, height, width].

    As CIFAR10-DVS was recorded: a picture moves along a closed path before an event camera.  A
    pixel emits an event of its polarity (0 brighter, 1 darker) for every change of its logarithmic
    intensity by CONTRAST; a few events are noise.
    """
    rng = np.random.default_rng([seed, 2])
    margin = int(np.ceil(REACH * max(height, width))) + 1
    scenes = crops(count, height + 2 * margin, width + 2 * margin, seed).mean(1)
    counts = np.zeros((count, timesteps, 2, height, width), np.int64)
    for number, scene in enumerate(scenes):
        intensity, phase = np.log(scene.astype(np.float64) + DARK), rng.uniform(0, 2 * np.pi, 2)
        steps = timesteps * STEPS
        seen = None
        for step in range(steps + 1):
            # A figure of eight: every edge moves, whatever its direction.
            turn = 2 * np.pi * step / steps
            offset = margin + REACH * np.array([height, width]) * np.sin(
                np.array([turn, 2 * turn]) + phase)
            now = _window(intensity, offset, height, width)
            if seen is None:
                seen = now
                continue
            change = np.trunc((now - seen) / CONTRAST).astype(np.int64)
            seen = seen + change * CONTRAST
            frame = counts[number, (step - 1) // STEPS]
            frame[0] += np.maximum(change, 0)
            frame[1] += np.maximum(-change, 0)
        counts[number] += rng.random(counts[number].shape) < NOISE * STEPS
    return counts


def _window(image: np.ndarray, offset: np.ndarray, height: int, width: int) -> np.ndarray:
    """Part of an image at a fractional offset (y, x), bilinear."""
    (y, x), (fy, fx) = offset.astype(int), offset % 1
    part = image[y:y + height + 1, x:x + width + 1]
    rows = part[:-1] * (1 - fy) + part[1:] * fy
    return rows[:, :-1] * (1 - fx) + rows[:, 1:] * fx


def inputs(network: NetworkConfig, count: int, seed: int) -> np.ndarray:
    """What a network reads, before normalization: crops, or event counts if it reads events.

    [count, 3, H, W] float32, or [count, T, 2, H, W] int64.  ValueError if it has not 3 channels, or
    not 2 for events.
    """
    channels = 3 if network.static_input else 2
    if network.in_channels != channels:
        kind = "a network of pictures" if network.static_input else "an event network"
        raise ValueError(f"in_channels of {kind} must be {channels}, not {network.in_channels!r}")
    if network.static_input:
        return crops(count, network.image_height, network.image_width, seed)
    return events(count, network.timesteps, network.image_height, network.image_width, seed)
