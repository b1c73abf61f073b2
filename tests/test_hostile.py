"""Damaged and hostile files: each is refused in one line or read, soon, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import pickle
import signal
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from PIL import Image

from common.cache import cached_images
from common.checkpoints import read_checkpoint
from common.decoding import read_image, resize
from common.errors import UserError
from common.files import replacing
from common.image_files import find_images
from common.out_of_fold import Estimates
from common.runs import find_runs, read_run
from common.tables import read_table
from growth.layouts import read_test_set as growth_test
from growth.layouts import read_training_set as growth_training
from julia import files as julia
from julia.model import CharacterClassifier
from tests.conftest import PARTS_OF_A_FIT, Run
from tests.quick import PATIENCE

SECONDS = 10  # of the processor


def julia_training(folder: Path) -> object:
    return julia.read_training_set(folder, "original")


def julia_test(folder: Path) -> object:
    return julia.read_test_set(folder, "original")


@dataclass(frozen=True)
class Case:
    """A hostile input.

    Attributes:
        name: what it is.
        build: makes it in a folder.
        read: reads it there.
        refused: whether it must be refused; None where both will do.
    """

    name: str
    build: Callable[[Path], object]
    read: Callable[[Path], object]
    refused: bool | None = None


Content = bytes | Callable[[], bytes]  # a function where each test worker would take long to make what one needs


def write(path: Path, data: Content) -> None:
    path.write_bytes(data if isinstance(data, bytes) else data())


class Payload:
    """Would make a file where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("payload-ran",)


def picture(encoding: str = "PNG", size: tuple[int, int] = (24, 16), mode: str = "RGB", **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, encoding, **options)
    return stream.getvalue()


def flipped(data: bytes, share: float) -> bytes:
    changed = bytearray(data)
    changed[int(share * (len(data) - 1))] ^= 1 << int(share * 1000) % 8
    return bytes(changed)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, bits: int = 8, colour: int = 0, more: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def bmp(width: int, height: int) -> bytes:
    header = struct.pack("<IIIIiiHHIIiiII", 600, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + header + bytes(400)


# Images


def image_case(name: str, data: Content, suffix: str = ".png", refused: bool | None = None) -> Case:
    return Case(f"image: {name}", lambda folder: write(folder / f"one{suffix}", data), read_images, refused)


def read_images(folder: Path) -> object:
    read_first: object = None
    for file in find_images(folder):
        try:
            read_first = resize(read_image(file.path, "RGB", 10**6), 16)
        except UserError:
            continue
    cached = cached_images(find_images(folder), 16, "RGB", folder / "cache", 10**6)
    assert read_first is None or np.array_equal(cached[0], read_first)
    return cached


def images() -> Iterator[Case]:
    for encoding in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"):
        data, suffix = picture(encoding), f".{encoding.lower()}"
        for share in (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 0.5, 0.9, 1.0):
            yield image_case(f"{encoding} with a bit flipped at {share}", flipped(data, share), suffix)
        for share in (0.02, 0.2, 0.5, 0.9):
            yield image_case(f"{encoding} cut at {share}", data[: int(share * len(data))], suffix, True)
    yield image_case("nothing", b"", refused=True)
    yield image_case("text", b"hello", refused=True)
    yield image_case("a page of a portal", b"<!DOCTYPE html><html>log in</html>", ".jpg", True)
    yield image_case("JPEG called PNG", picture("JPEG"), refused=False)
    yield image_case("EPS, which starts a program", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", refused=True)
    yield image_case("SVG", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', refused=True)
    yield image_case("PNG of 60000 × 60000", png(60_000, 60_000, bytes(1000)), refused=True)
    yield image_case("PNG of 2^31 - 1 squared", png(2**31 - 1, 2**31 - 1, b""), refused=True)
    yield image_case("PNG of no width", png(0, 9, bytes(9)), refused=True)
    yield image_case("PNG of fewer rows than it says", png(16, 900, bytes(17)))  # Pillow fills it up
    yield image_case("PNG of one row of a million", png(1_000_000, 1, bytes(1_000_001)), refused=False)
    yield image_case("PNG whose rows unpack to 200 MB", lambda: png(9, 9, bytes(200_000_000)))
    yield image_case("PNG with a bomb in a comment", commented)
    yield image_case("PNG of 3 bits", png(9, 9, bytes(90), bits=3), refused=True)
    yield image_case("PNG of an unknown colour type", png(9, 9, bytes(90), colour=5), refused=True)
    yield image_case("PNG with bytes behind its end", picture() + bytes(1000), refused=False)
    yield image_case("GIF that is 60000 wide", b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + bytes(20), ".gif", True)
    frames = [Image.new("L", (9, 9), n % 256) for n in range(500)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    yield image_case("GIF of 500 frames", stream.getvalue(), ".gif", True)
    yield image_case(
        "BMP of negative width",
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 60, 0, 54, 40, -9, 9, 1, 24, 0, 0, 0, 0, 0, 0),
        ".bmp",
        True,
    )
    yield image_case(
        "BMP of negative height",
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 600, 0, 54, 40, 9, -9, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(400),
        ".bmp",
    )
    yield image_case("PPM of a size in 10000 digits", b"P6 " + b"9" * 10_000 + b" 9 255 ", ".ppm", True)
    yield image_case("PPM of negative size", b"P6 -9 9 255 " + bytes(300), ".ppm", True)
    loop = b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 256, 4, 1, 9) + struct.pack("<I", 8)
    yield image_case("TIFF whose directories are a circle", loop, ".tif", True)
    yield Case("a name that is not UTF-8", lambda folder: write(folder / "\udcfc.png", picture()), read_images, True)
    yield Case("a folder called one.png", lambda folder: (folder / "one.png").mkdir(), read_images)
    yield Case("a pipe called one.png", lambda folder: os.mkfifo(folder / "one.png"), read_images, True)
    yield Case("a link to nothing", lambda folder: (folder / "one.png").symlink_to("absent"), read_images, True)
    yield Case("a link to itself", lambda folder: (folder / "one.png").symlink_to("one.png"), read_images)
    yield Case("a link to its own folder", circle, read_images, False)
    yield Case("a file without an end", lambda folder: (folder / "one.png").symlink_to("/dev/zero"), read_images)


def commented() -> bytes:
    return png(9, 9, bytes(90), more=chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9)))


def circle(folder: Path) -> None:
    (folder / "again").symlink_to(folder)
    (folder / "one.png").write_bytes(picture())


# Archives


def zipped(members: dict[str, bytes], **options: Any) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def patched(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Write over a field of each header that begins with a signature."""
    changed, start = bytearray(data), data.find(signature)
    while start >= 0:
        changed[start + offset : start + offset + len(value)] = value
        start = data.find(signature, start + 4)
    return bytes(changed)


CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


def zip_case(name: str, data: Content, refused: bool | None = None) -> Case:
    def read(folder: Path) -> object:
        return cached_images(find_images(folder / "in" / "train.zip"), 8, "L", folder / "cache", 10**6)

    def build(folder: Path) -> None:
        (folder / "in").mkdir()
        write(folder / "in" / "train.zip", data)

    return Case(name, build, read, refused)


def archives() -> Iterator[Case]:
    one = {"train/1.png": picture()}
    good, packed = zipped(one), zipped(one, compression=zipfile.ZIP_DEFLATED)
    for name in ("../../out.png", "/tmp/out.png", "..\\..\\out.png", "C:\\out.png", "train/../../out.png", "./1.png"):
        yield zip_case(f"member {name}", zipped({name: picture()}), False)
    for name in ("a\nb.png", "\x1b[31m.png", "x" * 30_000 + ".png", " .png", "=1+1.png", "\u202egnp.png"):
        yield zip_case(f"member {name[:20]!r}", zipped({name: picture()}), False)
    yield zip_case("member that is a link", link_member(), True)
    yield zip_case("100 MB of zeros", zeros, True)
    bomb = patched(zipped(one), CENTRAL, 24, struct.pack("<I", 2**31 - 1))
    yield zip_case("member of 2 GB, it says", bomb, True)
    small = zipped({"1.png": bytes(20_000_000)}, compression=zipfile.ZIP_DEFLATED)
    yield zip_case("member of 9 bytes, it says", patched(small, CENTRAL, 24, struct.pack("<I", 9)), True)
    yield zip_case("archive in an archive", zipped({"train/1.zip": good}))
    yield zip_case("two members of one name", twice())
    yield zip_case("encrypted", patched(patched(good, LOCAL, 6, b"\1"), CENTRAL, 8, b"\1"), True)
    yield zip_case("unknown packing", patched(patched(good, LOCAL, 8, b"\x63"), CENTRAL, 10, b"\x63"), True)
    yield zip_case("wrong checksum", patched(good, CENTRAL, 16, b"\0\0\0\1"), True)
    for share in (0.1, 0.5, 0.9, 0.99):
        yield zip_case(f"cut at {share}", good[: int(share * len(good))], True)
        yield zip_case(f"flipped at {share}", flipped(packed, share))
    for share in (0.05, 0.3, 0.7, 0.95, 0.97, 1.0):
        yield zip_case(f"packed and flipped at {share}", flipped(packed, share))
    yield zip_case("an end and nothing else", b"PK\5\6" + bytes(18))
    yield zip_case("nothing", b"", True)
    yield zip_case("text", b"hello", True)
    yield zip_case("100,000 members", lambda: zipped({f"{n}.txt": b"" for n in range(100_000)}))


def zeros() -> bytes:
    return zipped({"1.png": bytes(100_000_000)}, compression=zipfile.ZIP_DEFLATED)


def link_member() -> bytes:
    stream, info = io.BytesIO(), zipfile.ZipInfo("1.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


def twice() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("1.png", picture())
        archive.writestr("2.png", b"hello")
    return stream.getvalue().replace(b"2.png", b"1.png")


# Tables


def tables() -> Iterator[Case]:
    wide = ",".join(["ID", "Class", *map(str, range(10**6))]).encode()
    contents: dict[str, tuple[bytes, bool | None]] = {
        "formulas": (b"ID,Class\n=cmd|' /C calc'!A1,a\n1,a\n", True),
        "NULs": (b"ID,Class\n1,a\0\n", True),
        "NULs alone": (bytes(1000), True),
        "a byte order mark": (b"\xef\xbb\xbfID,Class\n1,a\n2,b\n", False),
        "two byte order marks": (b"\xef\xbb\xbf\xef\xbb\xbfID,Class\n1,a\n2,b\n", True),
        "UTF-16": ("ID,Class\n1,a\n".encode("utf-16"), True),
        "Latin-1": (b"ID,Class\n1,\xe9\n", True),
        "a million columns": (wide + b"\n", True),
        "a row of a million cells": (b"ID,Class\n1,a" + b"," * 10**6 + b"\n", None),
        "a cell of ten million letters": (b"ID,Class\n1," + b"a" * 10**7 + b"\n2,b\n", True),
        "an open quote": (b'ID,Class\n1,"a\n2,b\n', True),
        "quotes in quotes": (b'ID,Class\n1,"""a"""\n', True),
        "old line ends": (b"ID,Class\r1,a\r2,b\r", None),
        "Windows line ends": (b"ID,Class\r\n1,a\r\n2,b\r\n", False),
        "no line end": (b"ID,Class\n1,a\n2,b", False),
        "another header": (b"id,class\n1,a\n", True),
        "a column twice": (b"ID,ID\n1,a\n", True),
        "one column": (b"ID\n1\n", True),
        "semicolons": (b"ID;Class\n1;a\n", True),
        "tabs": (b"ID\tClass\n1\ta\n", True),
        "a header alone": (b"ID,Class\n", True),
        "blank lines": (b"ID,Class\n\n\n1,a\n\n2,b\n", None),
        "an empty cell": (b"ID,Class\n1,\n", True),
        "spaces": (b"ID,Class\n 1 , a \n", None),
        "too few cells": (b"ID,Class\n1\n", True),
        "too many cells": (b"ID,Class\n1,a,b\n", None),
        "an absurd number": (b"ID,Class\n" + b"9" * 5000 + b",a\n", True),
        "a negative number": (b"ID,Class\n-1,a\n", True),
        "infinity": (b"ID,Class\ninf,a\nnan,b\n", True),
        "digits of another script": ("ID,Class\n\u0661,a\n".encode(), True),
        "an id twice": (b"ID,Class\n1,a\n1,b\n", True),
        "nothing": (b"", True),
        "one byte": (b"\xff", True),
        "a picture": (picture(), True),
        "a page of a portal": (b"<!DOCTYPE html>\n<html>log in</html>\n", True),
        "a path": (b"ID,Class\n../../1,a\n", True),
        "control characters": (b"ID,Class\n1,\x1b[31m\n2,\x07\n", True),
    }
    for name, (data, refused) in contents.items():
        yield Case(f"trainLabels.csv with {name}", bitmaps(trainLabels=data), julia_training, refused)
        labels = b"ID,Class\n1,a\n2,b\n"
        # The sample submission's second column is not read.
        yield Case(f"sampleSubmission.csv with {name}", bitmaps(trainLabels=labels, sampleSubmission=data), julia_test)
        pairs = data.replace(b"ID,Class", b"idx,before_file_path,after_file_path").replace(b",a", b",p1,p2")
        yield Case(f"test_data.csv with {name}", photos(pairs.replace(b",b", b",p1,p3")), growth_test)


def bitmaps(**files: bytes) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        for part in ("train", "test"):
            (folder / part).mkdir()
            for number in (1, 2):
                (folder / part / f"{number}.Bmp").write_bytes(picture("BMP"))
        for name, data in files.items():
            (folder / f"{name}.csv").write_bytes(data)

    return build


def photos(pairs: bytes | None, *names: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        if pairs is not None:
            (folder / "test_data.csv").write_bytes(pairs)
        for name in names or ("test_dataset/BC/1/p1.png", "test_dataset/BC/1/p2.png", "test_dataset/BC/1/p3.png"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(picture())

    return build


# The layout of growth


def layouts() -> Iterator[Case]:
    two = ("train_dataset/BC/BC_01/DAT01.png", "train_dataset/BC/BC_01/DAT02.png")
    strange = {
        "DAT": True,
        "DAT1": True,
        "DAT-1": True,
        "DAT1e9": True,
        "DAT1000000": True,
        "DAT\u0661\u0662": True,
        "DAT\uff11\uff12": True,
        "DAT05\n": False,
        "DAT0x10": True,
        "DAT 07 ": False,
        "=1+07": True,
        "\x1b[31m07": True,
        "\udcff07": True,  # not UTF-8
        "x" * 200 + "07": None,
        "DAT²³": True,
    }
    for name, refused in strange.items():
        build = photos(None, *two, f"train_dataset/BC/BC_01/{name}.png")
        yield Case(f"a photo {name!r:.30}", build, growth_training, refused)
    deep = "train_dataset/" + "/".join("d" * 20 for _ in range(60)) + "/DAT01.png"
    yield Case("1200 letters deep", photos(None, *two, deep), growth_training, True)
    names = [f"train_dataset/a\nb/c/DAT0{day}.png" for day in (1, 2)]
    yield Case("a species with a newline", photos(None, *names), growth_training)
    yield Case("a plant called ..", photos(None, *two, "train_dataset/BC/../DAT03.png"), growth_training, True)


# Runs


def runs() -> Iterator[Case]:
    good = {"config.yaml": b"model: {lr: 1}\n", "metrics.csv": b"epoch,step,val/acc\n0,1,0.5\n", "result.json": b"{}"}
    strange: dict[str, dict[str, bytes]] = {
        "metrics.csv": {
            "NULs": bytes(1000),
            "not UTF-8": b"epoch,step,val/acc\n0,1,\xff\n",
            "a cut line": b"epoch,step,val/acc\n0,1,0.5\n1,2,0.",
            "text": b"epoch,step,val/acc\n0,1,hello\n",
            "a header alone": b"epoch,step,val/acc\n",
            "no epoch": b"val/acc\n0.5\n",
            "nothing": b"",
            "an absurd epoch": b"epoch,step,val/acc\n" + b"9" * 5000 + b",1,0.5\n",
            "infinities": b"epoch,step,val/acc\n0,1,inf\n1,2,nan\n2,3,-inf\n",
            "100,000 columns": ",".join(map(str, range(10**5))).encode() + b"\n",
            "an open quote": b'epoch,step,val/acc\n0,1,"0.5\n1,2,0.6\n',
            "a cell of a million letters": b"epoch,step,val/acc\n0,1," + b"1" * 10**6 + b"\n",
        },
        "result.json": {
            "a list": b"[]",
            "half": b'{"seconds": 1',
            "nesting": b"[" * 100_000,
            "text for a number": b'{"seconds": "long"}',
            "a metric without a value": b'{"seconds": 1, "metric": "val/acc"}',
            "text for a value": b'{"seconds": 1, "metric": "val/acc", "best": "good"}',
            "a list for a metric": b'{"seconds": 1, "metric": ["val/acc"], "best": 1}',
            "infinity": b'{"seconds": Infinity}',
            "not UTF-8": b'{"metric": "\xff"}',
            "nothing": b"",
        },
        "run.json": {
            "a list": b"[]",
            "half": b'{"task": "julia"',
            "nesting": b"[" * 100_000,
            "a number for a task": b'{"task": 1, "monitor": "val/acc", "directions": {}, "machine": []}',
            "text for directions": b'{"task": "julia", "monitor": "val/acc", "directions": "max", "machine": []}',
            "numbers for the machine": b'{"task": "julia", "monitor": "val/acc", "directions": {}, "machine": [1]}',
            "no direction": b'{"task": "julia", "monitor": "val/acc", "directions": {}, "machine": []}',
            "not UTF-8": b'{"task": "\xff"}',
            "nothing": b"",
        },
        "config.yaml": {
            "a tag that runs a program": b"!!python/object/apply:os.mkdir [payload-ran]\n",
            "a list": b"- 1\n",
            "text": b"hello\n",
            "nothing": b"",
            "not UTF-8": b"a: \xff\n",
            "an open bracket": b"a: [1, 2\n",
            "nesting": b"[" * 5000,
            "a bomb of references": bomb(),
            "keys that are no text": b"1: 2\n[1]: 3\n",
            "NULs": bytes(100),
        },
    }
    for file, contents in strange.items():
        for name, data in contents.items():
            yield Case(f"{file} with {name}", run_folder(good | {file: data}), read_runs)


def read_runs(folder: Path) -> object:
    return [read_run(path) for path in find_runs([str(folder)])]


def run_folder(files: dict[str, bytes]) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        run = folder / "runs" / "julia" / "x" / "version_0"
        run.mkdir(parents=True)
        for name, data in files.items():
            (run / name).write_bytes(data)

    return build


def bomb() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines).encode()


# Checkpoints


def checkpoint(**changes: Any) -> bytes:
    model = CharacterClassifier(backbone="lenet", image_size=28)
    content = {
        "state_dict": model.state_dict(),
        "hyper_parameters": {"backbone": "lenet", "image_size": 28},
        "task": "julia",
        "classes": model.classes,
        **PARTS_OF_A_FIT,
    }
    stream = io.BytesIO()
    torch.save(content | changes, stream)
    return stream.getvalue()


def checkpoints() -> Iterator[Case]:
    good = checkpoint()
    legacy = io.BytesIO()
    torch.save({"a": Payload()}, legacy, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    contents: dict[str, tuple[bytes, bool | None]] = {
        "nothing wrong": (good, False),
        "a payload": (checkpoint(callbacks=Payload()), True),
        "a payload, in the old form": (legacy.getvalue(), True),
        "a pickle": (pickle.dumps(Payload()), True),
        "a whole module": (checkpoint(state_dict=torch.nn.Linear(2, 2)), True),
        "packed members": (zipped(members, compression=zipfile.ZIP_DEFLATED), True),
        "a bomb": (zipped(members | {"archive/data/0": bytes(10**8)}, compression=zipfile.ZIP_DEFLATED), True),
        "weights alone": (checkpoint(hyper_parameters=None), True),
        "a list of settings": (checkpoint(hyper_parameters=[1]), True),
        "numbers for names": (checkpoint(hyper_parameters={1: 2}), True),
        "another task": (checkpoint(task="growth"), True),
        "a task that is a list": (checkpoint(task=["julia"]), True),
        "other classes": (checkpoint(classes="abc"), True),
        "classes that are weights": (checkpoint(classes=torch.zeros(62)), True),
        "a state that is a list": (checkpoint(state_dict=[1]), True),
        "no version": (checkpoint(**{"pytorch-lightning_version": "x"}), True),
        "text": (b"hello", True),
        "nothing": (b"", True),
        "an archive of something else": (zipped({"a.txt": b"a"}), True),
        "a folder that climbs": (zipped({f"../{name}": data for name, data in members.items()}), None),
    }
    for share in (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        contents[f"a bit flipped at {share}"] = flipped(good, share), None
        contents[f"its end cut at {share}"] = good[: int(share * len(good))], True
    for name, (data, refused) in contents.items():
        yield Case(f"checkpoint with {name}", file("x.ckpt", data), read_one, refused)


def file(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def read_one(folder: Path) -> object:
    return read_checkpoint(folder / "x.ckpt", CharacterClassifier)


def estimates() -> Iterator[Case]:
    good = io.BytesIO()
    np.savez_compressed(good, ids=np.array(["1", "2"]), estimates=np.zeros((2, 62)), truth=np.zeros(2))
    objects = io.BytesIO()
    np.savez_compressed(objects, ids=np.array([Payload()], dtype=object), estimates=np.zeros((1, 62)))
    large = good.getvalue()
    contents = {
        "nothing wrong": (large, False),
        "a payload": (objects.getvalue(), True),
        "a pickle": (pickle.dumps(Payload()), True),
        "text": (b"hello", True),
        "nothing": (b"", True),
        "half": (large[: len(large) // 2], True),
        "a bit flipped": (flipped(large, 0.3), None),
    }
    for name, (data, refused) in contents.items():
        yield Case(f"out_of_fold.npz with {name}", file("x.npz", data), read_estimates, refused)


def read_estimates(folder: Path) -> object:
    return Estimates.read(folder / "x.npz")


CASES = [case for group in (images, archives, tables, layouts, runs, checkpoints, estimates) for case in group()]


def names_in(folder: Path) -> set[str]:
    names = {str(Path(root, name)) for root, folders, files in os.walk(folder) for name in (*folders, *files)}
    return {name for name in names if "/.coverage" not in name}  # of worker processes, where lines are counted


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 250
    names = Counter(case.name for case in CASES)
    assert names.most_common(1)[0][1] == 1, names.most_common(3)


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.name)[:60])
def test_a_hostile_file_is_refused_or_read(case: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def late(*_: object) -> None:
        raise AssertionError(f"more than {SECONDS} s of the processor, or {PATIENCE} by the clock")

    folder = tmp_path / "inner"
    folder.mkdir()
    case.build(folder)
    before = names_in(tmp_path)
    signal.signal(signal.SIGPROF, late)
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(PATIENCE)
    message = None
    try:
        case.read(folder)
    except UserError as error:
        message = str(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    if message is not None:
        assert message.isprintable(), message
        assert len(message) < 5000
    assert case.refused is None or case.refused == (message is not None), message
    made = {Path(name).relative_to(folder) for name in names_in(tmp_path) - before}
    assert all(path.parts[0] == "cache" for path in made)
    assert not any(path.name.startswith(".") for path in made)
    assert not list(Path().glob("payload-ran"))


TEXT = some.one_of(some.binary(max_size=300), some.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
FUZZ = settings(
    derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def tried(read: Callable[[], Any], path: Path) -> Any:
    """Read something, or be refused with its name."""
    try:
        return read()
    except UserError as error:
        message = str(error)
    assert str(path) in message
    return None


@FUZZ
@given(data=TEXT)
def test_any_bytes_are_a_table_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "table.csv"
    for header in (b"", b"ID,Class\n"):
        path.write_bytes(header + data)
        table = tried(lambda: read_table(path, ["ID", "Class"]), path)
        assert table is None or (table.columns[:2].tolist() == ["ID", "Class"] and len(table))
    assert names_in(tmp_path) == {str(path)}


@FUZZ
@given(metrics=TEXT, result=TEXT, config=TEXT, about=TEXT)
def test_any_bytes_are_a_run_or_refused(
    tmp_path: Path, metrics: bytes, result: bytes, config: bytes, about: bytes
) -> None:
    run = tmp_path / "runs" / "julia" / "x" / "version_0"
    run.mkdir(parents=True, exist_ok=True)
    files = {"metrics.csv": metrics, "result.json": result, "config.yaml": config, "run.json": about}
    for name, data in files.items():
        (run / name).write_bytes(data)
    tried(lambda: read_run(run), run)


NAMES = some.text(some.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@FUZZ
@given(names=some.lists(NAMES, min_size=1, max_size=6), days=some.lists(some.integers(0, 99), min_size=1, max_size=6))
def test_any_names_are_photos_or_refused(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], days: list[int]
) -> None:
    root = tmp_path_factory.mktemp("names")
    for name, day in zip(names, days, strict=False):
        folder = root / "train_dataset" / "BC" / name.strip(".") if name.strip(".") else root
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}{day:02}.png").write_bytes(b"")
    found = tried(lambda: growth_training(root), root)
    assert found is None or (len(found.files) == len(found.day) and found.day.min() >= 0)


# Configurations


CONFIGURATIONS = {
    "a tag": "!!python/object/apply:os.mkdir [payload-ran]\n",
    "a tag inside": "model:\n  lr: !!python/object/apply:os.mkdir [payload-ran]\n",
    "a new object": "data: !!python/object/new:os.mkdir [payload-ran]\n",
    "a bomb": bomb().decode(),
    "nesting": "[" * 3000,
    "a list": "- 1\n- 2\n",
    "text": "hello\n",
    "an unknown key": "modle: {lr: 1}\n",
    "a key twice": "model: {lr: 1}\nmodel: {lr: 2}\nmodel: [\n",
    "a list for a mapping": "model: [1, 2]\n",
    "a mapping for a number": "model: {lr: {a: 1}}\n",
    "a function for a class": "trainer: {callbacks: [{class_path: os.mkdir, init_args: {path: payload-ran}}]}\n",
    "a program for a class": "trainer: {callbacks: [{class_path: subprocess.Popen, init_args: {args: [mkdir, x]}}]}\n",
    "a class of another kind": "trainer: {callbacks: [{class_path: tests.test_hostile.Payload}]}\n",
    "a call for a class": "trainer: {callbacks: [{class_path: 'os.mkdir(\"payload-ran\")'}]}\n",
    "a statement for a class": "trainer: {callbacks: [{class_path: 'import os; os.mkdir(\"payload-ran\")'}]}\n",
    "a path for a class": "trainer: {callbacks: [{class_path: ../payload.py}]}\n",
    "a number for a class": "trainer: {callbacks: [{class_path: 5}]}\n",
    "a program for a logger": "trainer: {logger: {class_path: os.system, init_args: {command: mkdir x}}}\n",
    "a program for a strategy": "trainer: {strategy: {class_path: os.system, init_args: {command: mkdir x}}}\n",
    "an environment variable": "data: {root: '${HOME}'}\nmodle: 1\n",
    "NULs": "model: {lr: \0}\n",
    "an absurd size": "model: {image_size: 1000000000, backbone: lenet}\n",
    "an absurd number": f"model: {{image_size: {'9' * 5000}}}\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_hostile_configuration_is_refused(refused: Callable[..., str], name: str, julia_root: Path) -> None:
    Path("x.yaml").write_text(CONFIGURATIONS[name])
    line = refused("julia", "fit", "--config", "x.yaml", "--data.root", julia_root)
    assert len(line) < 5000
    assert names_in(Path()) == {"x.yaml"}


SETTINGS: dict[str, dict[str, Any]] = {
    "an absurd image size": {"hyper_parameters": {"image_size": 10**9, "backbone": "lenet"}},
    "a negative image size": {"hyper_parameters": {"image_size": -1, "backbone": "lenet"}},
    "text for a number": {"hyper_parameters": {"image_size": "large", "backbone": "lenet"}},
    "a path for a backbone": {"hyper_parameters": {"image_size": 28, "backbone": "../x"}},
    "weights for a setting": {"hyper_parameters": {"image_size": torch.zeros(2), "backbone": "lenet"}},
    "other shapes": {"hyper_parameters": {"image_size": 28, "backbone": "airbench"}},
    "a state of one row": {"state_dict": {"net.backbone.0.weight": torch.zeros(1)}},
    "a class path": {
        "hyper_parameters": {"backbone": {"class_path": "os.mkdir", "init_args": {"path": "payload-ran"}}}
    },
    "a root elsewhere": {"datamodule_hyper_parameters": {"root": "/absent"}},
    "a root that is a number": {"datamodule_hyper_parameters": {"root": 5}},
    "many names": {"state_dict": {str(number): torch.zeros(()) for number in range(20_000)}},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_hostile_settings_in_a_checkpoint_are_refused(refused: Callable[..., str], name: str) -> None:
    Path("x.ckpt").write_bytes(checkpoint(**SETTINGS[name]))
    line = refused("julia", "predict", "--ckpt_path", "x.ckpt")
    assert len(line) < 5000
    assert names_in(Path()) == {"x.ckpt"}


@pytest.mark.slow
def test_a_checkpoint_does_not_say_where_to_write(run: Callable[..., str], julia_root: Path) -> None:
    elsewhere = {"cache_dir": "elsewhere", "root": str(julia_root)}
    Path("x.ckpt").write_bytes(checkpoint(datamodule_hyper_parameters=elsewhere))
    run("julia", "predict", "--ckpt_path", "x.ckpt")
    assert not Path("elsewhere").exists()
    assert Path("cache").is_dir()


@pytest.mark.parametrize("flag", ["-c", "--config", "--conf", "--model"])
def test_a_configuration_that_holds_itself_is_refused_whatever_its_flag(refused: Run, flag: str) -> None:
    Path("self.yaml").write_text("a: &a\n  b: *a\n")
    assert "self.yaml" in refused("julia", "fit", flag, "self.yaml")


@pytest.mark.parametrize("task", ["growth", "julia"])
def test_what_is_no_file_is_not_written_over(refused: Run, task: str) -> None:
    os.mkfifo("pipe")
    said = refused(task, "dashboard", "--output", "pipe")
    assert said == "error: --output pipe: is a folder or device; give the name of a file"
    with pytest.raises(UserError, match="pipe: is a folder or device"), replacing(Path("pipe")):
        raise AssertionError
    assert Path("pipe").is_fifo()
    with pytest.raises(UserError, match="pipe: not an image file"):
        read_image(Path("pipe"), "L", 100)


def test_a_run_is_not_written_over(refused: Run, julia_root: Path) -> None:
    run = Path("runs/julia/airbench/version_0")
    (run / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "run.json", "metrics.csv", "checkpoints/best.ckpt"):
        (run / name).write_text("{}")
        line = refused("julia", "dashboard", "--output", run / name)
        assert f"--output {run / name}: belongs to a run, which would be ruined; give another name" in line
    assert "give the name of a .json file" in refused("julia", "dashboard", "--output", "x.md")
    assert "give the name of a .md file" in refused("julia", "dashboard", "--report", "--output", "x.json")


def test_what_libraries_would_say_with_a_traceback(
    refused: Run, julia_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("julia", "fit", "--data.root", julia_root, "--model.backbone", "airbench", "--model.image_size", 16)
    line = refused(*words, "--trainer.val_check_interval", 999)
    assert "--trainer.val_check_interval: `val_check_interval` (999) must be less than or equal" in line
    monkeypatch.setenv("WANDB_MODE", "foo")
    assert "WANDB_MODE foo: give one of online, offline" in refused(*words)


def test_names_that_are_too_long_or_taken(refused: Run) -> None:
    assert "File name too long; give a shorter one" in refused("common.compare", "x" * 300)
    for name in ("latest", "lenet/version_3"):
        assert name in refused("julia", "fit", "--name", name)
    for flag in ("--data.root", "--data.cache_dir", "--trainer.default_root_dir"):  # as --flag=~/x reaches us
        assert f"{flag} ~/x: ~ is not replaced by your home here; write" in refused("julia", "fit", f"{flag}=~/x")
        assert f"{flag}: is empty; give a value, or leave it out" in refused("julia", "fit", f"{flag}=")
    assert not Path("~").exists()
    assert "--seed_everything -1" in refused("julia", "fit", "--seed_everything", -1)


def test_patterns_of_runs_pass_over_files() -> None:
    run = Path("runs/julia/lenet/version_0")
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("model: {}\n")
    Path("runs/julia/notes.txt").write_text("")
    assert find_runs(["runs/julia/*"]) == [run.resolve()]
