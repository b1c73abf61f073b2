from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common import cache
from common.cache import cached_images
from common.decoding import Images, Mode
from common.errors import UserError
from common.image_files import find_images
from common.platforms import signals_held
from tests.common.test_decoding import encoded


def photo(seed: int, size: tuple[int, int] = (23, 17)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        photo(number, (20 + number, 30)).save(folder / f"{number:02}.png")
    return folder


def build(folder: Path, size: int = 16, mode: Mode = "RGB", max_pixels: int = 10**6) -> Images:
    return cached_images(find_images(folder), size, mode, folder.parent / "cache", max_pixels)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_cache_is_what_pillow_decodes_and_resizes(folder: Path, mode: Mode) -> None:
    cached = build(folder, mode=mode)
    assert cached.shape == (12, 16, 16, len(mode))
    for number in range(12):
        with Image.open(folder / f"{number:02}.png") as image:
            expected = np.asarray(image.convert(mode).resize((16, 16), Image.Resampling.BOX))
        assert np.array_equal(cached[number].squeeze(), expected)


def test_second_start_decodes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(folder)
    monkeypatch.setattr(cache, "decode", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(first, build(folder))


def test_changed_photo_size_or_mode_makes_another_cache(folder: Path) -> None:
    first = build(folder)
    photo(99).save(folder / "03.png")
    os.utime(folder / "03.png", ns=(1, 1))
    second = build(folder)
    assert not np.array_equal(first[3], second[3])
    assert np.array_equal(np.delete(first, 3, 0), np.delete(second, 3, 0))
    assert build(folder, size=8).shape[1] == 8
    assert build(folder, mode="L").shape[3] == 1


@pytest.mark.parametrize("way", ["written over", "replaced", "link turned", "in an archive"])
def test_a_change_that_keeps_size_and_time_makes_another_cache(folder: Path, way: str) -> None:
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (8, 8), colour).save(folder.parent / f"{name}.bmp")
        os.utime(folder.parent / f"{name}.bmp", ns=(1, 1))
    one, other = folder.parent / "a.bmp", folder.parent / "b.bmp"
    assert one.stat().st_size == other.stat().st_size
    path, source = folder / "x.bmp", folder
    if way == "link turned":
        path.symlink_to(one)
    elif way == "in an archive":
        source = path = folder.parent / "x.zip"
        pack(path, one)
    else:
        shutil.copy2(one, path)
    assert build(source)[-1, 0, 0].tolist() == [255, 0, 0]
    assert build(source)[-1, 0, 0].tolist() == [255, 0, 0]
    time.sleep(0.02)  # the system's clock for files goes by hundredths of a second
    if way == "written over":
        path.write_bytes(other.read_bytes())
        os.utime(path, ns=(1, 1))
    elif way == "replaced":  # as rsync and git do
        shutil.copy2(other, folder / "new")
        (folder / "new").replace(path)
    elif way == "link turned":
        path.unlink()
        path.symlink_to(other)
    else:
        pack(path, other)
    assert path.stat().st_mtime_ns == 1
    assert build(source)[-1, 0, 0].tolist() == [0, 0, 255]


def pack(archive: Path, image: Path) -> None:
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr(zipfile.ZipInfo("x.bmp"), image.read_bytes())
    os.utime(archive, ns=(1, 1))


def test_zip_holds_the_same_images_as_its_folder(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in folder.iterdir():
            zipped.write(path, f"photos/{path.name}")
        zipped.writestr("__MACOSX/photos/._00.png", b"not an image")
        zipped.writestr("photos/readme.txt", b"not an image")
    assert np.array_equal(build(archive), build(folder))


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Enough bitmaps for several processes."""
    archive = tmp_path / "many.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for number in range(700):
            zipped.writestr(f"{number:04}.png", encoded(Image.new("L", (3, 3), number % 256)))
    return archive


def test_many_files_are_decoded_in_processes_in_their_order(many: Path) -> None:
    values = build(many, size=2, mode="L")[:, 0, 0, 0]
    assert np.array_equal(values, np.arange(700) % 256)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_a_killed_process_is_said_in_a_line(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(cache, "decode", killed)  # a forked process has it
        with pytest.raises(UserError, match="a process that decoded images was killed"):
            build(many)
    assert list((many.parent / "cache").iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals reach a chosen thread on POSIX alone")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_while_processes_start_whichever_thread_gets_it(number: signal.Signals) -> None:
    def stop(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(number, stop)
    ended = threading.Event()
    other = threading.Thread(target=ended.wait)
    other.start()
    reached = False
    try:
        with pytest.raises(InterruptedError), signals_held():
            signal.pthread_kill(other.ident or 0, number)
            time.sleep(0.01)
            reached = True
        assert signal.getsignal(number) is stop
    finally:
        ended.set()
        other.join()
        signal.signal(number, before)
    assert reached


def test_interrupted_build_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache, "read_bytes", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(folder)
    assert list((folder.parent / "cache").iterdir()) == []
    assert len(build(folder)) == 12


def test_what_a_killed_build_left_goes_after_an_hour(folder: Path) -> None:
    home = folder.parent / "cache"
    for name, age in (("new", 60), ("old", cache.STALE + 60)):
        left = home / f".images-{name}" / "part"
        left.mkdir(parents=True)
        (left / "images.npy").write_bytes(b"half")
        for path in (left / "images.npy", left, left.parent):
            os.utime(path, (time.time() - age,) * 2)
    build(folder)
    assert [path.name for path in home.glob(".*")] == [".images-new"]


@pytest.mark.parametrize("left", [0, 200])
def test_damaged_cache_is_built_again(folder: Path, left: int) -> None:
    first = np.array(build(folder))
    (array,) = (folder.parent / "cache").glob("*/images.npy")
    array.write_bytes(array.read_bytes()[:left])
    assert np.array_equal(build(folder), first)
    digests = array.with_name("sha256.txt")
    whole = digests.read_text()
    for damaged in (whole.encode()[:left], b"\xff"):
        digests.write_bytes(damaged)
        assert np.array_equal(build(folder), first) and digests.read_text() == whole


def test_unreadable_files_are_counted_and_ten_named(folder: Path) -> None:
    data = (folder / "00.png").read_bytes()
    (folder / "truncated.png").write_bytes(data[: len(data) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    for number in range(11):
        (folder / f"text{number:02}.bmp").write_text("not an image")
    with pytest.raises(UserError) as caught:
        build(folder)
    message = str(caught.value)
    assert "13 of 25 image files cannot be decoded" in message
    assert "empty.jpg (empty)" in message
    assert "text00.bmp (not an image, or of an unsupported kind)" in message
    assert "and 3 more" in message
    assert "\n" not in message
    assert list((folder.parent / "cache").iterdir()) == []


def test_truncated_file_is_not_filled_up(folder: Path) -> None:
    data = encoded(photo(0, (64, 64)), "JPEG")
    (folder / "half.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"half\.jpg .*truncated"):
        build(folder)


def test_image_bomb_is_refused_before_decoding(folder: Path) -> None:
    with pytest.raises(UserError, match=r"00\.png \(20×30 pixels, over the limit of 599; make it smaller\)"):
        build(folder, max_pixels=599)


def test_bomb_in_a_zip_is_refused_by_its_size(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped, zipped.open("a.png", "w") as member:
        for _ in range(513):
            member.write(bytes(2**20))
    with pytest.raises(UserError, match="over the limit"):
        build(archive)


def test_damaged_zip_is_named(tmp_path: Path) -> None:
    archive = tmp_path / "train.zip"
    archive.write_bytes(b"PK\x03\x04 not much of an archive")
    with pytest.raises(UserError, match=r"train\.zip: not a readable zip archive"):
        build(archive)


def test_unwritable_cache_folder(folder: Path) -> None:
    (folder.parent / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot write the image cache in .*--data.cache_dir"):
        build(folder)


def test_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(UserError, match="No space left on device; free some space"):
        build(folder)
    assert list((folder.parent / "cache").iterdir()) == []
