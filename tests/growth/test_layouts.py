from __future__ import annotations

import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from growth.layouts import read_test_set, read_training_set
from growth.photos import PhotoPairs, Photos, pairs_of
from tests.conftest import REAL_DATA

TRAINING = {
    "LT/LT 01": ["DAT02.png", "DAT10.JPG"],
    "배추/식물 1": ["사진 03일.png", "사진 01일.png", "사진 02일.png"],
    "배추/LT 01": ["2021-05-01.jpeg", "2021-05-09.png"],
}
TEST = {
    "LT/1088": ["idx_LT_1088_00010.png", "idx_LT_1088_00007.png", "idx_LT_1088_00042.png"],
    "배추/식물 2": ["배추 나.jpg", "배추 가.png"],
}
PAIRS = [
    "idx,before_file_path,after_file_path",
    "0,idx_LT_1088_00010,idx_LT_1088_00007",
    "1,배추 나,배추 가",
    "2,idx_LT_1088_00007,idx_LT_1088_00010",
]
SAMPLE = ["idx,time_delta", "0,-1", "1,-1", "2,-1"]
Change = Callable[[list[str]], list[str]]


def add(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), "green").save(path)


def write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for part, plants in (("train_dataset", TRAINING), ("test_dataset", TEST)):
        for plant, names in plants.items():
            for name in names:
                add(root / part / plant / name)
    write(root / "test_dataset" / "test_data.csv", PAIRS)
    write(root / "sample_submission.csv", SAMPLE)
    return root


def pack(root: Path, archive: str, part: str = "", top: str = "") -> None:
    """Move what lies below ``root/part`` into an archive, the folders as members of their own."""
    home = root / part
    paths = sorted(path for path in home.rglob("*") if path.suffix != ".zip")
    with zipfile.ZipFile(root / archive, "w") as stream:
        for path in paths:
            name = f"{top}{path.relative_to(home)}"
            if path.is_dir():
                stream.writestr(f"{name}/", b"")
            else:
                stream.writestr(name, path.read_bytes())
    for path in paths if not part else [home]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def photo_table(photos: Photos | PhotoPairs) -> list[tuple[object, ...]]:
    names = [file.name.name for file in photos.files]
    days = photos.day if isinstance(photos, Photos) else [None] * len(names)
    return list(zip(photos.species, photos.plant, days, names, strict=True))


def pair_table(pairs: PhotoPairs) -> list[tuple[str, str, str]]:
    stems = [file.name.stem for file in pairs.files]
    ends = zip(pairs.sample.ids, pairs.before, pairs.after, strict=True)
    return [(number, stems[before], stems[after]) for number, before, after in ends]


def refusal(read: Callable[[Path], object], root: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_training_rows_are_sorted_by_species_plant_and_day(root: Path) -> None:
    photos = read_training_set(root)
    assert photo_table(photos) == [
        ("LT", "LT/LT 01", 2, "DAT02.png"),
        ("LT", "LT/LT 01", 10, "DAT10.JPG"),
        ("배추", "배추/LT 01", 0, "2021-05-01.jpeg"),
        ("배추", "배추/LT 01", 8, "2021-05-09.png"),
        ("배추", "배추/식물 1", 1, "사진 01일.png"),
        ("배추", "배추/식물 1", 2, "사진 02일.png"),
        ("배추", "배추/식물 1", 3, "사진 03일.png"),
    ]
    assert photos.day.dtype == np.float32
    assert photos.species.dtype.kind == photos.plant.dtype.kind == "U"


def test_pairs_index_each_photo_once(root: Path) -> None:
    pairs = read_test_set(root)
    assert photo_table(pairs) == [
        ("LT", "LT/1088", None, "idx_LT_1088_00007.png"),
        ("LT", "LT/1088", None, "idx_LT_1088_00010.png"),
        ("배추", "배추/식물 2", None, "배추 가.png"),
        ("배추", "배추/식물 2", None, "배추 나.jpg"),
    ]
    assert pair_table(pairs) == [tuple(line.split(",")) for line in PAIRS[1:]]
    assert pairs.before.dtype == pairs.after.dtype == np.int64
    assert (pairs.sample.id_column, pairs.sample.value_column) == ("idx", "time_delta")


@pytest.mark.parametrize("top", ["", "open/", "./", "dacon 235851/open/"])
def test_open_zip_is_as_good_as_unpacked(root: Path, top: str) -> None:
    photos, pairs = read_training_set(root), read_test_set(root)
    pack(root, "open.zip", top=top)
    assert [path.name for path in root.iterdir()] == ["open.zip"]
    assert photo_table(read_training_set(root)) == photo_table(photos)
    zipped = read_test_set(root)
    assert photo_table(zipped) == photo_table(pairs)
    assert pair_table(zipped) == pair_table(pairs)
    assert all(file.path == root / "open.zip" for file in zipped.files)


@pytest.mark.parametrize("top", [True, False])
def test_parts_zipped_alone(root: Path, top: bool) -> None:
    photos, pairs = read_training_set(root), read_test_set(root)
    for part in ("train_dataset", "test_dataset"):
        pack(root, f"{part}.zip", part, f"{part}/" if top else "")
    assert photo_table(read_training_set(root)) == photo_table(photos)
    assert pair_table(read_test_set(root)) == pair_table(pairs)


def test_unpacked_below_open(root: Path, tmp_path: Path) -> None:
    pairs = read_test_set(root)
    root.rename(tmp_path / "open")
    assert len(read_training_set(tmp_path).files) == 7
    assert pair_table(read_test_set(tmp_path)) == pair_table(pairs)


def test_unpacked_comes_first(root: Path) -> None:
    (root / "open.zip").write_bytes(b"no archive")
    assert len(read_training_set(root).files) == 7
    assert len(read_test_set(root).files) == 4


@pytest.mark.parametrize("archive", ["open.zip", "train_dataset.zip"])
def test_an_archive_of_other_photos_beside_the_unpacked_ones(root: Path, archive: str) -> None:
    shutil.copytree(root, root.with_name("copy"))
    pack(root, archive, *(("train_dataset", "train_dataset/") if archive == "train_dataset.zip" else ()))
    shutil.copytree(root.with_name("copy"), root, dirs_exist_ok=True)
    assert len(read_training_set(root).files) == 7
    add(root / "train_dataset" / "LT" / "LT 01" / "DAT11.png")
    message = refusal(read_training_set, root)
    assert archive in message and "hold different images (LT/LT 01/DAT11.png); remove one of the two" in message


def test_copies_whose_photos_lie_elsewhere_or_hold_something_else_are_refused(root: Path) -> None:
    shutil.copytree(root / "train_dataset", root / "open" / "train_dataset")
    home = root / "open" / "train_dataset"
    photo = home / "배추" / "식물 1" / "사진 01일.png"
    content = photo.read_bytes()
    photo.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # as long as before
    assert "hold different images (배추/식물 1/사진 01일.png); remove one" in refusal(read_training_set, root)
    photo.write_bytes(content)
    photo.rename(home / "LT" / "LT 01" / photo.name)
    moved = f"LT/LT 01/{photo.name}, 배추/식물 1/{photo.name}"
    assert f"hold different images ({moved}); remove one" in refusal(read_training_set, root)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ("LT 01", "LT1", "one plant or 2: 'LT/LT 01 of species LT' (LT/LT 01/DAT02.png), 'LT/LT1 of"),
        ("", "lt", "one species or 2: 'LT' (LT/LT 01/DAT02.png), 'lt' (lt/LT 01/DAT02.png)"),
    ],
)
def test_folders_that_may_mean_one_plant_or_species_are_refused(
    root: Path, ours: str, theirs: str, message: str
) -> None:
    home = root / "train_dataset" / "LT" / ours
    shutil.copytree(home, home.with_name(theirs))
    assert message in refusal(read_training_set, root)


def test_pairs_whose_names_tell_the_other_order_are_refused(root: Path) -> None:
    folder = root / "test_dataset" / "LT" / "1088"
    for number, name in ((7, "DAT09"), (10, "DAT03")):
        (folder / f"idx_LT_1088_{number:05}.png").rename(folder / f"{name}.png")
    path = root / "test_dataset" / "test_data.csv"
    text = path.read_text(encoding="utf-8").replace("idx_LT_1088_00007", "DAT09").replace("idx_LT_1088_00010", "DAT03")
    path.write_text(text, encoding="utf-8")
    assert "before is DAT09 by its name DAT09, after is DAT03 by its name DAT03; swap" in refusal(read_test_set, root)


def test_two_copies_of_the_photos_or_of_a_table_must_be_the_same(root: Path) -> None:
    shutil.copytree(root, root / "open")
    assert len(read_training_set(root).files) == 7
    assert len(read_test_set(root).files) == 4
    add(root / "open" / "train_dataset" / "LT" / "LT 01" / "DAT11.png")
    message = refusal(read_training_set, root)
    assert (
        f"{root / 'open' / 'train_dataset'} hold different images (LT/LT 01/DAT11.png); remove one of the two"
        in message
    )
    for name in ("sample_submission.csv", "test_data.csv"):
        (path,) = (root / "open").rglob(name)
        path.write_text(path.read_text().replace("1,", "1x,", 1))
        ours = path.relative_to(root / "open")
        assert refusal(read_test_set, root) == f"{root / ours} and {path} differ; remove one of the two"


def test_what_macos_leaves_behind_is_passed_over(root: Path) -> None:
    pack(root, "open.zip")
    with zipfile.ZipFile(root / "open.zip", "a") as archive:
        archive.writestr("__MACOSX/train_dataset/LT/._LT 01/", "")
        archive.writestr("__MACOSX/train_dataset/LT/LT 01/._DAT02.png", "x")
        archive.writestr("__MACOSX/test_data.csv", "x")
    assert len(read_training_set(root).files) == 7
    assert len(read_test_set(root).files) == 4


def test_letters_in_pieces_are_the_same_letters(root: Path) -> None:
    folder = root / "test_dataset" / "배추" / "식물 2"
    (folder / "배추 가.png").rename(folder / unicodedata.normalize("NFD", "배추 가.png"))
    assert pair_table(read_test_set(root))[1] == ("1", "배추 나", unicodedata.normalize("NFD", "배추 가"))


def test_tables_in_either_place(root: Path) -> None:
    pairs = read_test_set(root)
    (root / "test_dataset" / "test_data.csv").rename(root / "test_data.csv")
    (root / "sample_submission.csv").rename(root / "test_dataset" / "sample_submission.csv")
    assert pair_table(read_test_set(root)) == pair_table(pairs)


def test_sample_submission_decides_the_order(root: Path) -> None:
    pairs = pair_table(read_test_set(root))
    write(root / "sample_submission.csv", [SAMPLE[0], "2,0", "0,0", "1,0"])
    assert pair_table(read_test_set(root)) == [pairs[2], pairs[0], pairs[1]]


def test_without_a_sample_submission_the_pairs_do(root: Path) -> None:
    (root / "sample_submission.csv").unlink()
    write(root / "test_dataset" / "test_data.csv", [PAIRS[0], PAIRS[3], PAIRS[1], PAIRS[2]])
    assert list(read_test_set(root).sample.ids) == ["2", "0", "1"]


@pytest.mark.parametrize("read", [read_training_set, read_test_set])
def test_half_of_the_data_says_how_to_get_the_rest(root: Path, read: Callable[[Path], object]) -> None:
    part = "train_dataset" if read is read_training_set else "test_dataset"
    shutil.rmtree(root / part)
    message = refusal(read, root)
    missing = "train_dataset/" if read is read_training_set else "test_dataset/ and test_data.csv"
    assert f"{root} lacks {missing}, unpacked or in open.zip" in message
    assert "dacon.io/competitions/official/235851" in message
    assert "--data.root DIR" in message
    assert f"python -m growth.synthetic {root}" in message


def test_archive_without_the_part(root: Path) -> None:
    with zipfile.ZipFile(root / "open.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    shutil.rmtree(root / "train_dataset")
    assert "lacks train_dataset/" in refusal(read_training_set, root)


def test_test_data_is_missing(root: Path) -> None:
    (root / "test_dataset" / "test_data.csv").unlink()
    assert "lacks test_data.csv," in refusal(read_test_set, root)


def test_damaged_archive(root: Path) -> None:
    shutil.rmtree(root / "train_dataset")
    (root / "open.zip").write_bytes(b"no archive")
    assert "open.zip: not a readable zip archive" in refusal(read_training_set, root)


def test_damaged_table_in_an_archive(root: Path) -> None:
    pack(root, "open.zip")
    data = (root / "open.zip").read_bytes()
    (root / "open.zip").write_bytes(data.replace(b"1,-1\n", b"1,-2\n"))
    message = refusal(read_test_set, root)
    assert "open.zip:sample_submission.csv: cannot be unpacked" in message
    assert "download the archive again" in message


def test_day_is_not_in_the_name(root: Path) -> None:
    add(root / "train_dataset" / "LT" / "LT 01" / "DAT.png")
    assert refusal(read_training_set, root) == (
        f"{root / 'train_dataset'}: 1 photo has no certain day: LT/LT 01/DAT.png (no number); "
        "name each like DAT07.png or 2024-05-31.png"
    )


def test_days_of_three_digits_and_of_dates(root: Path) -> None:
    for name in ("DAT099.png", "DAT100.png", "DAT0101.png"):
        add(root / "train_dataset" / "BC" / "BC_01" / name)
    for name in ("IMG_20240531_063000.png", "IMG_20240601_183000.png"):
        add(root / "train_dataset" / "BC" / "BC_02" / name)
    photos = read_training_set(root)
    days = {plant: photos.day[photos.plant == plant].tolist() for plant in ("BC/BC_01", "BC/BC_02")}
    assert days == {"BC/BC_01": [99, 100, 101], "BC/BC_02": [0, 1.5]}
    pairs, elapsed = pairs_of(photos)
    known = dict(zip(pairs.sample.ids, elapsed.tolist(), strict=True))
    assert elapsed.dtype == np.float32
    assert (known["BC/BC_01/99-101"], known["BC/BC_02/00-1.5"], known["LT/LT 01/02-10"]) == (2, 1.5, 8)
    assert len(known) == len(elapsed)


def test_an_archive_of_korean_windows(root: Path) -> None:
    photos, pairs = read_training_set(root), read_test_set(root)
    for path in sorted((path for path in root.rglob("*") if path.is_file()), reverse=True):
        path.rename(path.with_name(path.name.replace(" ", "_")))
    names = {path: str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file()}
    aliases = {
        path: f"{number:02}".ljust(len(name.encode("cp949")), "#") for number, (path, name) in enumerate(names.items())
    }
    with zipfile.ZipFile(root / "open.zip", "w") as archive:
        for path, alias in aliases.items():
            text = path.read_text().replace(" ", "_").encode() if path.suffix == ".csv" else path.read_bytes()
            archive.writestr(alias, text)
    data = (root / "open.zip").read_bytes()
    for path, alias in aliases.items():
        data = data.replace(alias.encode(), names[path].replace("/", "\\").encode("cp949"))
    (root / "open.zip").write_bytes(data)
    for part in ("train_dataset", "test_dataset"):
        shutil.rmtree(root / part)
    (root / "sample_submission.csv").unlink()
    zipped = read_training_set(root)
    assert zipped.species.tolist() == photos.species.tolist()
    assert zipped.plant.tolist() == photos.plant.tolist()
    assert zipped.day.tolist() == photos.day.tolist()
    assert read_test_set(root).sample.ids == pairs.sample.ids


@pytest.mark.parametrize("zipped", [False, True])
def test_a_photo_that_is_not_read_is_not_passed_over(root: Path, zipped: bool) -> None:
    folder = root / "train_dataset" / "LT" / "LT 01"
    (folder / "DAT02.png").rename(folder / "DAT02.JXL")
    if zipped:
        pack(root, "open.zip")
    message = refusal(read_training_set, root)
    assert "1 of " in message and "DAT02.JXL; save them as PNG or JPEG" in message


def test_one_photo_of_a_plant(root: Path) -> None:
    (root / "train_dataset" / "LT" / "LT 01" / "DAT02.png").unlink()
    message = refusal(read_training_set, root)
    assert "1 plant has one photo, which makes no pair: LT/LT 01; add photos of each, or remove it" in message


def test_two_photos_of_one_day(root: Path) -> None:
    add(root / "train_dataset" / "LT" / "LT 01" / "DAT02 again.png")
    message = refusal(read_training_set, root)
    assert message.startswith("two photos of one plant and day: ")
    assert "DAT02.png" in message and "DAT02 again.png" in message


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("part", ["train_dataset", "test_dataset"])
@pytest.mark.parametrize("folder", ["BC", "LT/LT 02"])
def test_empty_folder(root: Path, part: str, folder: str, zipped: bool) -> None:
    (root / part / folder).mkdir()
    (root / part / ".cache").mkdir()
    if zipped:
        pack(root, "open.zip", top="open/")
    message = refusal(read_training_set if part == "train_dataset" else read_test_set, root)
    assert f"{part}: no image files in {folder}; remove these folders" in message


def test_no_photos_at_all(root: Path) -> None:
    shutil.rmtree(root / "train_dataset")
    (root / "train_dataset").mkdir()
    assert "train_dataset: no image files in it; unpack open.zip" in refusal(read_training_set, root)


@pytest.mark.parametrize("place", ["", "LT", "LT/LT 01/more"])
def test_photo_outside_the_folder_of_a_plant(root: Path, place: str) -> None:
    add(root / "train_dataset" / place / "DAT07.png")
    message = refusal(read_training_set, root)
    assert message.startswith("1 photo is not in train_dataset/<species>/<plant>/: ")
    assert str(root / "train_dataset" / place / "DAT07.png") in message


def test_photos_in_the_folder_of_another_plant(root: Path) -> None:
    photo = root / "test_dataset" / "LT" / "1088" / "idx_LT_1088_00042.png"
    photo.rename(photo.with_name("idx_LT_1090_00042.png"))
    message = refusal(read_test_set, root)
    assert "idx_LT_1090_00042.png (of plant LT/1088, but named after LT/1090); unpack open.zip again" in message


def test_two_test_photos_of_one_name(root: Path) -> None:
    add(root / "test_dataset" / "배추" / "식물 2" / "idx_LT_1088_00042.jpg")
    message = refusal(read_test_set, root)
    assert message.startswith("two test photos with one name: ")
    assert "00042.png" in message and "00042.jpg" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines, "3,idx_LT_1088_00010,idx_LT_1088_09999"], "row 5: no such photo in "),
        (lambda lines: [*lines, "3,배추 가,배추 가"], "row 5: before and after are one photo"),
        (lambda lines: [*lines, "3,배추 가,idx_LT_1088_00042"], "row 5: the photos are of two plants"),
        (lambda lines: [*lines, lines[1]], "idx 0 appears more than once, rows 2, 5"),
        (lambda lines: ["id,before,after", *lines[1:]], "the header is 'id, before, after', expected 'idx,before_file"),
        (lambda lines: [*lines[:2], "1,,배추 가"], "column before_file_path is empty in row 3"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_faults_of_the_pairs(root: Path, change: Change, message: str, zipped: bool) -> None:
    write(root / "test_dataset" / "test_data.csv", change(PAIRS))
    if zipped:
        pack(root, "open.zip")
    found = refusal(read_test_set, root)
    assert message in found
    assert ("open.zip:test_dataset/test_data.csv: " if zipped else "test_dataset/test_data.csv: ") in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-2], "2 idx of {pairs} are not in it: 1, 2; download"),
        (lambda lines: [*lines, "7,-1"], "row 5: idx 7 not in {pairs}; download"),
        (lambda lines: [*lines[:-1], "7,-1"], "row 4: idx 7 not in {pairs}; download"),
        (lambda lines: [*lines, lines[1]], "idx 0 appears more than once, rows 2, 5"),
        (lambda lines: ["id,days", *lines[1:]], "the header is 'id, days', expected 'idx,time_delta'"),
    ],
)
def test_faults_of_the_sample_submission(root: Path, change: Change, message: str) -> None:
    write(root / "sample_submission.csv", change(SAMPLE))
    expected = message.format(pairs=root / "test_dataset" / "test_data.csv")
    assert f"sample_submission.csv: {expected}" in refusal(read_test_set, root)


def test_a_few_are_listed(root: Path) -> None:
    for number in range(12):
        add(root / "train_dataset" / "LT" / "LT 01" / f"photo{number:02}_x2.png")
    message = refusal(read_training_set, root)
    assert (
        "train_dataset: 12 photos have no certain day: LT/LT 01/photo00_x2.png (photo00 or x2 may be the day), "
        in message
    )
    assert "LT/LT 01/photo02_x2.png (photo02 or x2 may be the day) and 9 more; name each like" in message


def test_real_plants() -> None:
    root = REAL_DATA / "growth"
    if not (root / "train_dataset").is_dir():
        pytest.skip(f"no real data in {root}")
    photos, pairs = read_training_set(root), read_test_set(root)
    assert len(photos.files) == 94
    assert dict(zip(*np.unique(photos.species, return_counts=True), strict=True)) == {"AT": 24, "KM": 70}
    assert len(set(photos.plant)) == 8
    assert sorted(set(photos.day.tolist())) == list(range(24))
    assert (len(pairs.files), len(pairs.before), len(pairs.sample.ids)) == (52, 366, 366)
    assert (pairs.plant[pairs.before] == pairs.plant[pairs.after]).all()
