from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.decoding import Mode, decode
from common.errors import UserError
from common.image_files import HEIF, find_images


def encoded(image: Image.Image, encoding: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, encoding, **options)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_white_on_transparency_is_no_blank_picture(mode: Mode) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (2, 2, 6, 6))
    with pytest.raises(ValueError, match="white on transparency, of which nothing is left over white"):
        decode(encoded(image), mode, 100)
    image.paste((254, 255, 255, 255), (2, 2, 6, 6))
    assert decode(encoded(image), "RGB", 100).getextrema()[0] == (254, 255)
    assert decode(encoded(Image.new("RGBA", (8, 8), "white")), "L", 100).getextrema() == (255, 255)  # opaque


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_white_on_a_transparent_colour_is_no_blank_picture_either(mode: str) -> None:
    image = Image.new("L", (8, 8), 0)
    image.paste(255, (2, 2, 6, 6))
    black = (0, 0, 0) if mode == "RGB" else 0
    data = encoded(image.convert(mode), transparency=black)
    with pytest.raises(ValueError, match="white on transparency, of which nothing is left over white"):
        decode(data, "L", 100)


def test_transparency_lies_over_white() -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert decode(encoded(image), "RGB", 100).getpixel((0, 0)) == (255, 255, 255)
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 255))
    assert decode(encoded(image), "RGB", 100).getpixel((0, 0)) == (10, 20, 30)


def test_sixteen_bits_keep_their_upper_eight() -> None:
    values = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
    assert np.asarray(decode(encoded(Image.fromarray(values)), "L", 100)).tolist() == [[0, 1, 128, 255]]


def test_a_png_with_zeros_in_place_of_its_data_is_refused() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    whole = encoded(Image.fromarray(pixels))
    half = len(whole) // 2
    hole = whole[:half] + bytes(len(whole) - half - 20) + whole[-20:]
    for data in (hole, whole[:half] + bytes(half), whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :]):
        with pytest.raises((SyntaxError, OSError)):
            decode(data, "L", 10_000)
    assert np.array_equal(np.asarray(decode(whole, "L", 10_000)), pixels)


@pytest.mark.parametrize(
    ("mode", "encoding"), [("P", "PNG"), ("CMYK", "JPEG"), ("1", "PNG"), ("LA", "PNG"), ("L", "GIF")]
)
def test_other_modes_keep_their_colour(mode: str, encoding: str) -> None:
    colour = Image.new("RGB", (8, 8), (255, 0, 0) if mode in ("P", "CMYK") else (255, 255, 255))
    decoded = decode(encoded(colour.convert(mode), encoding), "RGB", 100)
    red, green, _ = np.asarray(decoded).mean((0, 1))
    assert red > 240
    assert (green < 20) == (mode in ("P", "CMYK"))


def test_colours_of_16_bits_with_12_bits_in_them_are_refused() -> None:
    def png(value: int) -> bytes:
        """Write a PNG of 2×2 pixels of 16 bits a channel, which Pillow cannot."""

        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        rows = (b"\0" + struct.pack(">6H", *[value] * 6)) * 2
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

    with pytest.raises(ValueError, match="samples of 16 bits, but none above 16383: 14 bits or fewer"):
        decode(png(3000), "RGB", 100)
    assert decode(png(32768), "RGB", 100).getpixel((0, 0)) == (128, 128, 128)


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


FOREIGN = ("jxl", "jp2", "CR2", "cr3", "NEF", "arw", "dng", "orf", "rw2", "psd", "svg", "tga", "zip", "7z", "egg")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("suffix", [*FOREIGN, *([] if HEIF else ["HEIC", "heif"])])
def test_pictures_that_cannot_be_read_are_named(tmp_path: Path, suffix: str, zipped: bool) -> None:
    assert_named(tmp_path, f"one.{suffix}", b"", zipped)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["one", "one.png.part", "one.jpg~", "one.png ", "one.image", "one.jpg_original"])
@pytest.mark.parametrize("encoding", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "JPEG2000"])
def test_pictures_of_other_names_are_named(tmp_path: Path, name: str, encoding: str, zipped: bool) -> None:
    assert_named(tmp_path, name, encoded(Image.new("RGB", (3, 2)), encoding), zipped)


def assert_named(home: Path, name: str, data: bytes, zipped: bool) -> None:
    files = {
        "a/1.png": encoded(Image.new("L", (3, 2))),
        f"a/{name}": data,
        "a/BM.db": b"BMW, the car, is no bitmap.    ",
    }
    files |= {"a/note.txt": b"x", "a/.hidden.heic": b"", "__MACOSX/a/one.heic": b"", "a/sheet.pdf": b"%PDF-1.7"}
    source = home / ("in.zip" if zipped else "in")
    if zipped:
        with zipfile.ZipFile(source, "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
    else:
        for path, content in files.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(content)
    with pytest.raises(UserError) as caught:
        find_images(source)
    place = f"{source}:a/{name}" if zipped else source / "a" / name
    assert str(caught.value).startswith(
        f"1 of 2 pictures in {source} cannot be read: {place}; save them as PNG or JPEG"
    )
    assert "\n" not in str(caught.value)


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.png").symlink_to("absent")
    with pytest.raises(UserError, match=r"1\.png \(no file, or a link to nothing\)"):
        find_images(tmp_path)


def test_heic_under_another_name_is_refused_or_read(tmp_path: Path) -> None:
    data = b"\0\0\0\x18ftypheic" + bytes(40)
    with pytest.raises((ValueError, OSError)):
        decode(data, "L", 100)
