"""What decoding makes of every kind of pixel that is let in: as it was drawn, and as second decoders have it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from common.decoding import decode
from common.errors import UserError
from common.predictor import as_image
from tests.common.drawn import DRAWN, HEIGHT, WIDTH, over_white
from tests.common.test_decoding import encoded

READ = [(name, data, shown) for name, data, shown in DRAWN if shown is not None]
REFUSED = [(name, data) for name, data, shown in DRAWN if shown is None]
LUMA = [0.299, 0.587, 0.114]
# OpenCV leaves out the transparent grey of a PNG, takes an unused fourth byte of a BMP for alpha, and does not read
# plain PPM, or bit fields of 16.
NOT_OPENCV = ("without", "alpha 0", "plain", "BMP 16")


def pixels(data: bytes, mode: Any = "RGB") -> np.ndarray:
    return np.asarray(decode(data, mode, 10**6)).astype(float)


def test_names_are_of_one_file() -> None:
    assert len({name for name, *_ in DRAWN}) == len(DRAWN) > 250


@pytest.mark.parametrize(("name", "data", "shown"), READ, ids=[name for name, *_ in READ])
def test_pixels_are_those_that_were_drawn(name: str, data: bytes, shown: np.ndarray) -> None:
    shown = np.broadcast_to(shown, (HEIGHT, WIDTH, 3))
    # Rounding: of 16 bits, of alpha, and of colours that were multiplied with it.
    close = 3 if "premultiplied" in name else 2 if "alpha" in name or "channels" in name else 1
    assert np.abs(pixels(data) - shown).max() <= close
    assert np.abs(pixels(data, "L") - shown @ LUMA).max() <= close + 0.5


@pytest.mark.parametrize(("name", "data"), REFUSED, ids=[name for name, _ in REFUSED])
def test_what_would_be_misread_is_refused(name: str, data: bytes) -> None:
    with pytest.raises((ValueError, OSError)):
        decode(data, "RGB", 10**6)


@pytest.mark.parametrize(("name", "data", "shown"), READ, ids=[name for name, *_ in READ])
def test_a_second_decoder_agrees(name: str, data: bytes, shown: np.ndarray) -> None:
    second = of_tifffile(data) if name.startswith("TIFF") else of_opencv(data, name)
    if second is None:
        pytest.skip("no second decoder reads it")
    assert np.abs(pixels(data) - second).max() <= 3


@pytest.mark.parametrize("decoded", [False, True])
def test_an_image_opened_by_pil_is_read_as_its_file_is_or_refused(decoded: bool) -> None:
    for name, data, _ in DRAWN:
        try:
            image = Image.open(io.BytesIO(data))
            if decoded:
                image.load()
        except (OSError, SyntaxError, ValueError):
            continue
        try:
            read = np.asarray(as_image(image, "RGB", 10**6, "image 0"))
        except UserError:
            assert decoded or name in dict(REFUSED), name
        else:
            assert np.array_equal(read, pixels(data)), name


def of_opencv(data: bytes, name: str = "") -> np.ndarray | None:
    """Decode with OpenCV, laid over white: H×W×3 in 0 to 255."""
    if any(part in name for part in NOT_OPENCV) and "RGB" not in name:
        return None
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None:
        return None
    most = int(name.split()[-1]) if " to " in name else 65535 if read.dtype == np.uint16 else 255
    values = (read.reshape(*read.shape[:2], -1) / most * 255)[..., ::-1]  # blue, green, red, alpha
    return over_white(values[..., 1:], values[..., :1] / 255) if values.shape[2] == 4 else values


def of_tifffile(data: bytes) -> np.ndarray | None:
    """Read the samples with tifffile and make colours of them: H×W×3 in 0 to 255."""
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        try:
            values = page.asarray()
        except NotImplementedError:  # some depths
            return of_opencv(data) if page.photometric != 0 else None
        if page.photometric == 3:
            return (page.colormap >> 8).T[values.astype(int)]
        values = np.moveaxis(values, 0, -1) if page.planarconfig == 2 else values.reshape(*values.shape[:2], -1)
        values = values / (2**page.bitspersample - 1) * 255
        kinds = [int(kind) for kind in page.extrasamples]
    if page.photometric == 0:
        return 255 - values
    if page.photometric == 5:
        return (255 - values[..., :3]) * (255 - values[..., 3:]) / 255
    if kinds == [1]:
        return values[..., :3] + 255 - values[..., 3:]
    return over_white(values[..., :3], values[..., 3:] / 255) if kinds == [2] else values[..., :3]


def picture(channels: int = 3) -> np.ndarray:
    """Draw blocks that any compression keeps."""
    colours = np.random.default_rng(1).integers(0, 256, (4, 5, channels), dtype=np.uint8)
    return np.kron(colours, np.ones((16, 16, 1), dtype=np.uint8))


@pytest.mark.parametrize(
    ("encoding", "mode", "options"),
    [
        ("JPEG", "L", {}),
        ("JPEG", "RGB", {"subsampling": 0}),
        ("JPEG", "RGB", {"subsampling": 2, "progressive": True}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "RGB", {"keep_rgb": True}),
        ("GIF", "RGB", {}),
        ("GIF", "L", {"interlace": 1}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"lossless": True, "exact": True}),
        ("BMP", "P", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "RGB", {"compression": "packbits"}),
        ("TIFF", "RGB", {"compression": "jpeg"}),
        ("TIFF", "1", {"compression": "group4"}),
    ],
)
def test_a_second_decoder_agrees_on_what_pillow_writes(encoding: str, mode: str, options: dict[str, Any]) -> None:
    image = Image.fromarray(picture(4), "RGBA") if mode == "RGBA" else Image.fromarray(picture()).convert(mode)
    data = encoded(image, encoding, **options)
    second = of_opencv(data)
    if second is None:
        pytest.skip("OpenCV does not read it")
    assert np.abs(pixels(data) - second).max() <= 4


def test_transparency_of_gif_is_white() -> None:
    image = Image.fromarray(picture()).quantize(16)
    shown = np.asarray(image.convert("RGB")).copy()
    shown[np.asarray(image) == 3] = 255
    assert np.array_equal(pixels(encoded(image, "GIF", transparency=3)), shown)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("encoding", ["AVIF", "HEIF"])
def test_what_telephones_write(encoding: str, mode: str) -> None:
    if encoding == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed").register_heif_opener()
    elif not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    drawn = picture(len(mode)).astype(float)
    shown = over_white(drawn[..., :3], drawn[..., 3:] / 255) if mode == "RGBA" else drawn
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise; in HEIC this is ignored, as that says it elsewhere
    data = encoded(Image.fromarray(drawn.astype(np.uint8)), encoding, quality=100, exif=exif)
    difference = np.abs(pixels(data) - (np.rot90(shown, -1) if encoding == "AVIF" else shown))
    assert np.median(difference) <= 3 and difference.mean() <= 6  # colours run over the edges of blocks
