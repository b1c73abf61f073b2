from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from common.images import decode


def encoded(image: Image.Image, encoding: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, encoding, **options)
    return stream.getvalue()


def test_transparency_lies_over_white() -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert decode(encoded(image), "RGB", 100).getpixel((0, 0)) == (255, 255, 255)
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 255))
    assert decode(encoded(image), "RGB", 100).getpixel((0, 0)) == (10, 20, 30)


def test_sixteen_bits_keep_their_upper_eight() -> None:
    values = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
    assert np.asarray(decode(encoded(Image.fromarray(values)), "L", 100)).tolist() == [[0, 1, 128, 255]]


@pytest.mark.parametrize(
    ("mode", "encoding"), [("P", "PNG"), ("CMYK", "JPEG"), ("1", "PNG"), ("LA", "PNG"), ("L", "GIF")]
)
def test_other_modes_keep_their_colour(mode: str, encoding: str) -> None:
    colour = Image.new("RGB", (8, 8), (255, 0, 0) if mode in ("P", "CMYK") else (255, 255, 255))
    decoded = decode(encoded(colour.convert(mode), encoding), "RGB", 100)
    red, green, _ = np.asarray(decoded).mean((0, 1))
    assert red > 240
    assert (green < 20) == (mode in ("P", "CMYK"))


@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "TIFF"])
def test_exif_rotation_is_undone(encoding: str) -> None:
    image = Image.new("L", (16, 8), 0)
    image.paste(255, (0, 0, 8, 8))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise: the left becomes the top
    decoded = np.asarray(decode(encoded(image, encoding, exif=exif), "L", 1000))
    assert decoded.shape == (16, 8)
    assert decoded[:6].min() > 200
    assert decoded[10:].max() < 50


def test_samples_of_32_bits_are_refused() -> None:
    data = encoded(Image.fromarray(np.ones((2, 2), dtype=np.float32)), "TIFF")
    with pytest.raises(ValueError, match="32 bits"):
        decode(data, "L", 100)
