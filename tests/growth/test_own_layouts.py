"""Photos of one's own: a table, folders of plants, names by a pattern, and the pairs to predict."""

from __future__ import annotations

import unicodedata
import zipfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from PIL import Image

from common.errors import UserError
from common.files import natural
from growth.data import GrowthData
from growth.layouts import read_given, read_test_set, read_training_set
from growth.name_pattern import parse_pattern, split_name
from growth.own import find_photos
from growth.photos import PhotoPairs, Photos, pairs_of
from tests.conftest import REAL_DATA, Run

RAPE = "BR017-{plant}-{date}_{*}_sv_{camera}"
SMALL = (
    *("--model.backbone", "lenet", "--model.pretrained", "false", "--model.image_size", 24),
    *("--data.plants_per_batch", 2, "--data.images_per_plant", 2, "--trainer.max_epochs", 1),
    *("--trainer.enable_progress_bar", "false"),
)


def add(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2), (number % 256, 200, 60)).save(root / name)
    return root


def write(root: Path, name: str, *lines: str, encoding: str = "utf-8") -> Path:
    (root / name).write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return root


def table(root: Path, *lines: str, header: str = "photo,plant,day", encoding: str = "utf-8") -> Path:
    return write(root, "photos.csv", header, *lines, encoding=encoding)


def days_of(photos: Photos) -> dict[str, float]:
    return {
        f"{plant}/{name}": float(day) for plant, name, day in zip(photos.plant, photos.name, photos.day, strict=True)
    }


def pair_names(pairs: PhotoPairs) -> list[tuple[str, str, str]]:
    ends = zip(pairs.sample.ids, pairs.before, pairs.after, strict=True)
    return [(number, str(pairs.name[before]), str(pairs.name[after])) for number, before, after in ends]


def refusal(root: Path, pattern: str | None = None, read: Callable[..., object] = read_training_set) -> str:
    with pytest.raises(UserError) as caught:
        read(root, pattern)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two plants of two days each, without a table yet."""
    return add(tmp_path / "own", "a/1.png", "a/2.png", "b/1.png", "b/2.png")


ROWS = ("a/1.png,P1,0", "a/2.png,P1,1.25", "b/1.png,P2,-3", "b/2.png,P2,7")


# A table


def test_a_table_tells_plant_and_day(root: Path) -> None:
    photos = read_training_set(table(root, *ROWS))
    assert days_of(photos) == {"P1/a/1.png": 0, "P1/a/2.png": 1.25, "P2/b/1.png": -3, "P2/b/2.png": 7}
    assert photos.day.dtype == np.float32
    assert set(photos.species) == {""}
    assert (photos.files[0].path, photos.shortest_gap()) == (root / "a" / "1.png", 1.25)


def test_columns_stand_in_any_order_with_species(root: Path) -> None:
    lines = ("1,KM,P1,a/1.png", "2,KM,P1,a/2.png", "1,AT,P2,b/1.png", "2,AT,P2,b/2.png")
    photos = read_training_set(table(root, *lines, header="day,species,plant,photo"))
    assert photos.species.tolist() == ["AT", "AT", "KM", "KM"]
    assert photos.plant.tolist() == ["P2", "P2", "P1", "P1"]


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        (("2024-05-31", "2024-06-01"), 1),
        (("20240531", "20240602"), 2),
        (("2024-05-31T10:15", "2024-05-31 22:15"), 0.5),
        (("2024-05-31 12:15 AM", "2024-05-31 10:15:00\u202fpm"), 22 / 24),
        (("2024-05-31T10:00Z", "2024-05-31T22:00+09:00"), 0.125),  # 13:00 UTC
        (("2024-03-30T12:00+01:00", "2024-03-31T12:00+02:00"), 23 / 24),
    ],
)
def test_dates_count_from_the_first_photo_of_a_plant(root: Path, cells: tuple[str, str], days: float) -> None:
    one, two = (f"a/{number}.png,P1,{cell}" for number, cell in zip((1, 2), cells, strict=True))
    late = (f"b/1.png,P2,{cells[1]}", f"b/2.png,P2,{cells[0]}")
    photos = read_training_set(table(root, one, two, *late, header="photo,plant,date"))
    assert photos.day.tolist() == pytest.approx([0, days, 0, days])
    assert photos.name.tolist() == ["a/1.png", "a/2.png", "b/2.png", "b/1.png"]


def test_photos_of_one_moment_pair_with_all_others(tmp_path: Path) -> None:
    root = add(tmp_path, "cam0/x.png", "cam1/x.png", "cam0/y.png")
    photos = read_training_set(table(root, "cam0/x.png,P,0.1667", "cam1/x.png,P,0.1667", "cam0/y.png,P,2"))
    pairs, days = pairs_of(photos)
    assert pairs.sample.ids == ["P/0.1667#1-02", "P/0.1667#2-02"]
    assert days.tolist() == pytest.approx([1.8333, 1.8333])
    assert len(set(zip(photos.plant, photos.name, strict=True))) == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("divider", [",", ";", ", "])
def test_a_table_as_spreadsheets_write_it(root: Path, encoding: str, divider: str) -> None:
    lines = [line.replace(",", divider).replace("/", "\\") for line in ROWS]
    photos = read_training_set(table(root, *lines, header=divider.join(("photo", "plant", "day")), encoding=encoding))
    assert days_of(photos)["P1/a/2.png"] == 1.25


def test_letters_in_pieces_are_the_same_letters(tmp_path: Path) -> None:
    root = add(tmp_path, unicodedata.normalize("NFD", "배추/é1.png"), "배추/2.png")
    photos = read_training_set(table(root, "배추/é1.png,P,1", "배추/2.png,P,2"))
    assert photos.name.tolist() == ["배추/é1.png", "배추/2.png"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((*ROWS, "a/1.png,P1,5"), "photo a/1.png appears more than once, rows 2, 6"),
        ((*ROWS, "./a/1.png,P2,0"), "photo a/1.png appears more than once, rows 2, 6"),
        ((*ROWS, "a/3.png,P1,5"), "row 6: no such photo in {root}: a/3.png"),
        ((*ROWS[:3], "../b/2.png,P2,7"), "row 5: photo ../b/2.png (give the path from {root}, without ..)"),
        ((*ROWS[:3], "/b/2.png,P2,7"), "row 5: photo /b/2.png (give the path from {root}"),
        ((*ROWS[:3], r"C:\b\2.png,P2,7"), r"row 5: photo C:\b\2.png (give the path from {root}"),
        ((*ROWS[:3], r"..\b\2.png,P2,7"), r"row 5: photo ..\b\2.png (give the path from {root}"),
        (ROWS[:3], "photos.csv: 1 photo of {root} has no row: b/2.png; add rows, or move them elsewhere"),
        ((*ROWS[:3], "b/2.png,P2,"), "column day is empty in row 5"),
        (("", *ROWS[:3], "", "b/2.png,P2,x"), "row 7: day x (not a number such as 7 or 7.25)"),
        ((*ROWS[:3], "b/2.png,P2,nan"), "row 5: day nan (not a number"),
        ((*ROWS[:3], "b/2.png,P2,-inf"), "row 5: day -inf (not a number"),
        ((*ROWS[:3], "b/2.png,P2,1e3"), "row 5: day 1e3 (not a number"),
        ((*ROWS[:3], "b/2.png,P2,1_0"), "row 5: day 1_0 (not a number"),
        ((*ROWS[:3], "b/2.png,P2,٣"), "row 5: day ٣ (not a number"),
        ((*ROWS[:3], "b/2.png,P2,20240531"), "row 5: day 20240531 (not a day up to 100,000; dates stand in a column"),
        ((*ROWS[:3], "b/2.png,P2,45413.416667"), "row 5: day 45413.416667 (too large to keep its minutes: count days"),
        ((*ROWS[:3], 'b/2.png,P2,"7,5"'), "row 5: day 7,5 (may be 7.5 or 75; write decimals with a point)"),
        ((*ROWS[:3], "b/2.png,P2,7,5"), "row 5: not 3 cells (photo,plant,day); ',' divides cells: write decimals"),
        (ROWS[:1] + ROWS[2:], "1 photo of {root} has no row: a/2.png"),
        ((*ROWS[:3], "b/2.png,p2 ,7"), "one plant or 2: 'P2' (row 4), 'p2 ' (row 5); give each one name"),
        ((*ROWS[:3], "b/2.png,P02,7"), "one plant or 2: 'P2' (row 4), 'P02' (row 5)"),
        ((*ROWS[:3], "b/2.png,P2\u200b,7"), "one plant or 2: 'P2' (row 4), 'P2\\u200b' (row 5)"),
        (("a/1.png,1,0", "a/2.png,1.0,1", *ROWS[2:]), "one plant or 2: '1' (row 2), '1.0' (row 3); give each one name"),
        (("a/1.png,12.00,0", "a/2.png,12,1", *ROWS[2:]), "one plant or 2: '12.00' (row 2), '12' (row 3)"),
        ((*ROWS[:3], "b/2.png,#REF!,7"), "row 5: plant #REF! (may be a missing value, or a name"),
        ((*ROWS[:3], "b/2.png,#NAME?,7"), "row 5: plant #NAME? (may be a missing value, or a name"),
        ((*ROWS[:3], "b/2.png,#N/A,7"), "row 5: plant #N/A (may be a missing value, or a name"),
        (
            (*ROWS[:3], "b/2.png,2.09111E+11,7"),
            "row 5: plant 2.09111E+11 (may be a number that a spreadsheet has round",
        ),
        (
            ("a/1.png,P1,0531", "a/2.png,P1,0601", "b/1.png,P2,0531", "b/2.png,P2,0607"),
            "days 0531, 0601, 0607 may be numbers, or dates; count days from the first, or write dates",
        ),
        ((*ROWS[:3], "b/2.png,nan,7"), "row 5: plant nan (may be a missing value, or a name; fill it in, or give it"),
        ((*ROWS[:2], "b/1.png,None,1", "b/2.png, NaN,7"), "row 4: plant None (may be a missing value, or a name"),
        (("a/1.png,P-1,0", "a/2.png,P_1,1", *ROWS[2:]), "one plant or 2: 'P-1' (row 2), 'P_1' (row 3)"),
        ((*ROWS[:2], "b/1.png,P2,7", "b/2.png,P3,7"), "2 plants have one photo, which makes no pair: P2, P3"),
        (
            (*ROWS[:2], "b/1.png,P2,7", "b/2.png,P2,7.0"),
            "1 plant has photos of one moment only, which make no pair: P2",
        ),
        ((), "photos.csv: no rows below the header"),
    ],
)
def test_a_row_that_says_nothing_or_two_things(root: Path, lines: tuple[str, ...], message: str) -> None:
    assert message.format(root=root) in refusal(table(root, *lines))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("03/04/2024", "04/04/2024"), "row 2: date 03/04/2024 (may be 2024-03-04 or 2024-04-03; write it like these)"),
        (("03.04.24", "2024-04-04"), "row 2: date 03.04.24 (may be 2003-04-24 or 2024-03-04 or 2024-04-03"),
        (("31/05/2024", "2024-06-01"), "row 2: date 31/05/2024 (write 2024-05-31)"),
        (("5/31/2024 10:15", "2024-06-01"), "(write 2024-05-31, with the time as in 2024-05-31T10:15)"),
        (("2024/2/30", "2024/3/1"), "row 2: date 2024-02-30 (day is out of range for month"),
        (("2024-05-31T10:00+25:00", "2024-06-01T10:00+25:00"), "its offset from UTC is a day or more"),
        (("2024-02-30", "2024-06-01"), "row 2: date 2024-02-30 (day is out of range for month"),
        (("2024-W22", "2024-06-01"), "row 2: date 2024-W22 (not a date"),
        (("2024-05-31 10-05", "2024-05-31 11-15"), "row 2: date 2024-05-31 10-05 (not a date"),
        (("7", "8"), "row 2: date 7 (not a date"),
        (("2024-05-31 13:15 PM", "2024-06-01"), "row 2: date 2024-05-31 13:15 PM (not a date such as 2024-05-31"),
        (("45413", "45414"), "row 2: date 45413 (may be Excel's number of a date; show the column as yyyy-mm-dd"),
        (
            ("2024-05-31 01:15", "2024-05-31 10:15 PM"),
            "plant P1 has times with AM or PM (row 3) and without (row 2); give all one",
        ),
        (("2024-05-31T10:00", "2024-06-01"), "plant P1 has dates with a time of day (row 2) and without (row 3)"),
        (
            ("2024-05-31T10:00Z", "2024-06-01T10:00"),
            "dates with an offset from UTC (row 2) and without (rows 3, 4, 5); give all one",
        ),
    ],
)
def test_a_date_that_says_nothing_or_two_things(root: Path, cells: tuple[str, str], message: str) -> None:
    lines = [f"a/{number}.png,P1,{cell}" for number, cell in zip((1, 2), cells, strict=True)]
    more = ("b/1.png,P2,2024-05-01T09:00", "b/2.png,P2,2024-05-02T09:00")
    assert message in refusal(table(root, *lines, *more, header="photo,plant,date"))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("photo,plant,day,date", "columns day and date may tell two days of one photo; keep one"),
        ("photo,plant,species", "neither a column day (a number) nor a column date"),
        ("photo,day", "no column plant in the header 'photo, day'"),
        ("photo,plant,Day", "column 'Day': write day"),
        ("photo,plant,date,time", "column 'time' is none of photo"),
        ("photo,plant,day,day", "column day appears more than once"),
        (
            "Bild,Pflanze,Tag",
            "the header is 'Bild, Pflanze, Tag', expected columns of photo, plant, day, date, species",
        ),
    ],
)
def test_a_header_that_is_not_understood(root: Path, header: str, message: str) -> None:
    rows = [row + ",x" * (header.count(",") - 2) for row in ROWS]
    assert f"photos.csv: {message}" in refusal(table(root, *rows, header=header))


def test_a_plant_of_two_species(root: Path) -> None:
    lines = [f"{row},{species}" for row, species in zip(ROWS, ("KM", "KM", "KM", "AT"), strict=True)]
    message = refusal(table(root, *lines, header="photo,plant,day,species"))
    assert "one plant or 2: 'P2 of species KM' (row 4), 'P2 of species AT' (row 5); give each one name" in message
    lines = [f"{row},{species}" for row, species in zip(ROWS, ("KM", "KM", "km", "km"), strict=True)]
    lines = [f"{row},{species}" for row, species in zip(ROWS, ("KM", "KM", "nan", "nan"), strict=True)]
    assert "row 4: species nan (may be a missing value, or a name" in refusal(
        table(root, *lines, header="photo,plant,day,species")
    )
    lines = [f"{row},{species}" for row, species in zip(ROWS, ("KM", "KM", "km", "km"), strict=True)]
    assert "one species or 2: 'KM' (row 2), 'km' (row 4)" in refusal(
        table(root, *lines, header="photo,plant,day,species")
    )


def test_the_line_that_excel_writes_first(root: Path) -> None:
    (root / "photos.csv").write_text("sep=;\nphoto;plant;day\n")
    assert "photos.csv: its first line, sep=;, is Excel's own; delete that line" in refusal(root)


def test_a_workbook_called_csv(root: Path) -> None:
    (root / "photos.csv").write_bytes(b"PK\x03\x04 a workbook")
    assert "photos.csv: an Excel workbook or an archive, not a CSV; save it as CSV UTF-8" in refusal(root)


@pytest.mark.parametrize(
    "name", ["Photos.csv", "photos.xlsx", "photos.csv.txt", "pairs.xls", "labels.csv", "metadata.csv"]
)
def test_a_table_of_another_name_is_not_passed_over(root: Path, name: str) -> None:
    (root / name).touch()
    assert f"{name}: only photos.csv and pairs.csv are read" in refusal(root)


def test_an_archive_of_photos(root: Path) -> None:
    (root / "more.zip").touch()
    assert "more.zip; save them as PNG or JPEG, unpack archives" in refusal(table(root, *ROWS))


# Folders of plants


def test_folders_of_plants(tmp_path: Path) -> None:
    root = add(
        tmp_path, "BC 1/DAT07.png", "BC 1/BC 1_09.png", "LT/IMG_20240531_060000.png", "LT/IMG_20240601_180000.png"
    )
    photos = read_training_set(root)
    names = ["DAT07", "BC 1_09", "IMG_20240531_060000", "IMG_20240601_180000"]
    assert list(days_of(photos).values()) == [7, 9, 0, 1.5]
    assert photos.name.tolist() == names
    assert photos.plant.tolist() == ["BC 1", "BC 1", "LT", "LT"]
    assert pairs_of(photos)[0].sample.ids == ["BC 1/07-09", "LT/00-1.5"]


def test_what_fits_have_written_is_passed_over(root: Path) -> None:
    photos = read_training_set(root)
    add(root, "runs/growth/lenet/version_0/pictures/days.png", "cache/growth/x.png")
    assert days_of(read_training_set(root)) == days_of(photos)
    add(root, "runs/7.png")  # a plant of that name, then
    assert "1 plant has one photo" in refusal(root)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("3.png",), "1 photo is not in <plant>/: 3.png; move each into the folder of its plant"),
        (("x/c/1.png",), "1 photo is not in <plant>/: x/c/1.png"),
        (("test/1.png", "test/2.png"), "2 photos are not in <plant>/: test/1.png, test/2.png"),
        (("c/x.png", "c/2.png"), "1 photo has no certain day: c/x.png (no number); name each like DAT07.png"),
        (("c/03-04-2024.png",), "03-04-2024.png (03-04-2024 may be 2024-04-03 or 2024-03-04)"),
        (
            ("a/02.png",),
            "two photos of one plant and day: a/02.png, a/2.png; make one folder for each plant, remove one of",
        ),
        (("c/1.png",), "1 plant has one photo, which makes no pair: c"),
        (("A/1.png", "A/2.png"), "one plant or 2: 'A' (A/1.png), 'a' (a/1.png)"),
        (("Test/1.png", "Test/2.png"), "test/ is for photos to predict (rename Test to test), or to a name"),
        (("WT/WT1.png", "WT/WT2.png"), "WT/WT1.png (WT1 may be day 1 or something else, by the word beside it)"),
    ],
)
def test_folders_that_say_nothing_or_two_things(root: Path, names: tuple[str, ...], message: str) -> None:
    found = refusal(add(root, *names))
    assert message in found
    assert "open.zip" not in found


@pytest.mark.parametrize("folder", ["BC_03", "시험1"])
def test_a_folder_given_alone_is_no_day_in_its_photos_names(tmp_path: Path, folder: str) -> None:
    add(tmp_path, f"{folder}/{folder}_DAT07.png", f"{folder}/{folder}_DAT09.png")
    for home in (tmp_path / folder, tmp_path):
        day = read_given([str(home)], None).day
        assert day is not None and day.tolist() == [7, 9]


@pytest.mark.parametrize(
    "folder",
    [
        *(
            "DAT01",
            "2024-05-11",
            "20240511",
            "11-05-2024 noon",
            "day 3",
            "1일차",
            "3개월",
            "week2",
            "May 31",
            "trial_DAT7",
        ),
        *(
            "Tag 1",
            "dpi_7",
            "31. Mai",
            "1.Woche",
            "semaine 1",
            "día 1",
            "주1",
            "第1天",
            "7 giugno",
            "WAP1",
            "DPG 1",
            "день 1",
        ),
    ],
)
def test_folders_of_days_are_not_read_as_plants(tmp_path: Path, folder: str) -> None:
    root = add(tmp_path, *(f"{home}/P{number}.png" for home in (folder, "BC_01") for number in (1, 2)))
    said = refusal(root)
    assert f"folder {folder} may hold one day's photos of several plants, or one plant's photos of several" in said
    assert f"{folder}/P1.png, {folder}/P2.png; make one folder for each plant" in said
    with pytest.raises(UserError, match=f"--images: folder {folder} may hold one day's photos"):
        read_given([str(root)], None)
    with pytest.raises(UserError, match=f"--images: folder {folder} may hold one day's photos"):
        read_given([str(root / folder)], None)
    add(tmp_path / "prefixed", *(f"DAT01/DAT01_P{number}.png" for number in (1, 2)))
    assert "folder DAT01 may hold" in refusal(tmp_path / "prefixed")
    add(tmp_path / "competition", *(f"train_dataset/BC/{folder}/P{number}.png" for number in (1, 2)))
    assert f"folder {folder} may hold" in refusal(tmp_path / "competition")


@pytest.mark.parametrize(
    "names",
    [
        ("2024-05-31/IMG_20240531_101500", "2024-05-31/IMG_20240531_101533"),  # as a phone's gallery is exported
        ("240531/IMG_20240531_101500", "240531/IMG_20240531_101533"),
        ("week1/IMG_20240531_101500", "week1/IMG_20240531_111500"),
        ("DAT07/P1_DAT07", "DAT07/P2_DAT07"),
    ],
)
def test_folders_of_photos_of_one_day_are_not_read_as_plants(tmp_path: Path, names: tuple[str, str]) -> None:
    root = add(tmp_path, *(f"{name}.png" for name in names), "240607/IMG_20240607_101500.png", "240607/x_20240607.png")
    assert f"folder {names[0].partition('/')[0]} may hold one day's photos" in refusal(root)
    sown = add(tmp_path / "sown", "sown 2024-05-01/2024-05-07.png", "sown 2024-05-01/2024-05-08.png")
    assert len(read_training_set(sown).files) == 2


@pytest.mark.parametrize(
    "folders",
    [
        *(("240531", "240607"), ("0511", "0512"), ("110524", "120524"), ("05-31", "06-07"), ("01.06", "31.05")),
        *(("24-05-31", "24-06-07"), ("07062024", "31052024"), ("2023", "2024")),
    ],
)
def test_folders_numbered_like_dates_may_be_plants_or_days(tmp_path: Path, folders: tuple[str, str]) -> None:
    root = add(tmp_path / "days", *(f"{folder}/{number}.png" for folder in folders for number in (1, 2)))
    said = f"folder {folders[0]} may hold one day's photos of several plants, or one plant's"
    assert said in refusal(root)
    with pytest.raises(UserError, match=f"--images: {said}"):
        read_given([str(root)], None)
    plants = add(root, "1088/1.png", "1088/2.png")  # which is none
    assert len(read_training_set(plants).files) == len(read_given([str(root)], None).files) == 6
    named = add(tmp_path / "named", *(f"{folder}/{folder}_{number}.png" for folder in folders for number in (1, 2)))
    assert len(read_training_set(named).files) == 4
    dated = add(tmp_path / "dated", *(f"{folder}/DAT{number}.png" for folder in folders for number in (1, 2)))
    assert len(read_training_set(dated).files) == 4


@pytest.mark.parametrize("folders", ["cam1 cam2", "side_0 side_90", "VIS_SV_0 VIS_TV_0", "top side view", "RGB NIR"])
def test_folders_of_cameras_are_not_read_as_plants(tmp_path: Path, folders: str) -> None:
    one, other = folders.split(maxsplit=1)
    root = add(tmp_path, *(f"{folder}/DAT{number}.png" for folder in (one, other) for number in (1, 2)))
    said = f"folders {min(one, other)}, {max(one, other)} may hold photos of one plant each, or all of the same plants"
    assert said in refusal(root)
    with pytest.raises(UserError, match=f"--images: {said}"):
        read_given([str(root)], None)
    assert len(read_given([str(root / one)], None).files) == 2  # whose views these are is left to whoever gives it
    table = pd.DataFrame({"photo": [f"{one}/DAT1.png", f"{one}/DAT2.png", f"{other}/DAT1.png", f"{other}/DAT2.png"]})
    table.assign(plant="P", day=[1, 2, 1, 2]).to_csv(root / "photos.csv", index=False)
    assert len(read_training_set(root).files) == 4


@pytest.mark.parametrize(
    "folder",
    ["1", "2024_trial", "BC_01", "20", "209111", "Daisy 3", "D7", "1D", "2H", "Mai", "第1株", "sown 2024-05-01"],
)
def test_folders_of_plants_that_are_called_by_numbers(tmp_path: Path, folder: str) -> None:
    names = ("DAT01", "DAT02") if folder.startswith("sown") else ("1", "2")
    root = add(tmp_path, *(f"{folder}/{name}.png" for name in names))
    assert days_of(read_training_set(root)) == {f"{folder}/{name}": int(name[-1]) for name in names}
    assert len(read_given([str(root)], None).files) == 2


@pytest.mark.parametrize(
    "folders",
    [
        "2024-05 2024-06",
        "2024-W22 2024-W23",
        "31.05. 07.06.",
        "D01 D07",
        "24h 48h",
        "Mai juin",
        "Monday Tuesday",
        "before after",
        *(
            "lunes martes",
            "1st 2nd",
            "第一天 第二天",
            "1回目 2回目",
            "D01_tray D07_tray",
            "240531_tomato 240607_tomato",
        ),
        *("240531 240607 x", "240531 240607 240614b"),
    ],
)
def test_folders_that_may_all_be_parts_of_a_year(tmp_path: Path, folders: str) -> None:
    root = add(tmp_path, *(f"{folder}/{number}.png" for folder in folders.split() for number in (1, 2)))
    assert f"folder {min(folders.split())} may hold one day's photos" in refusal(root)


# Images that are given


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            "24052024 31052024 06062024",
            "06062024, 24052024, 31052024 may be numbers in their order, or dates in another",
        ),
        ("pos_3105 pos_0106", "0106, 3105 may be numbers in their order, or dates"),
        ("310524 010624", "010624, 310524 may be numbers"),
        ("pos_1,5 pos_1,25", "have no number that tells"),
        ("1pm 3pm 12pm", "have no number that tells"),
        ("-1 -3", "have no number that tells"),
        ("2024-05-31_-1 2024-05-31_-3", "may be the day"),
        ("3_weeks_ago 1_weeks_ago", "have no number that tells"),
        ("vor_3_Wochen vor_1_Wochen", "have no number that tells"),
        ("T-3 T-1", "have no number that tells"),
        ("IMG_9998 IMG_9999 IMG_0001", "0001 may come before 9999, or after it if the camera began again after 9999"),
        ("plant1 plant2", "plant1 and plant2 may be photos of one plant, or each of another plant"),
        ("side_0 side_90", "may be photos of one plant, or each of another side"),
        ("0mM 50mM", "may be photos of one plant, or each of another dose"),
        ("Wdh1 Wdh2", "may be photos of one plant, or each of another Wdh"),
        ("A_DAT1 A_DAT2 B_DAT1 B_DAT2", "two photos of one plant and day:"),
        ("DAT07 DAT07_mask DAT14 DAT14_mask", "two photos of one plant and day:"),
    ],
)
def test_numbers_that_may_be_dates_or_signed_tell_no_order(tmp_path: Path, names: str, said: str) -> None:
    add(tmp_path / "own", *(f"{name}.png" for name in names.split()))
    assert said in refusal(tmp_path / "own", read=lambda root, pattern: read_given([str(root)], pattern))


def test_numbers_that_are_no_dates_or_in_the_same_order_tell_it(tmp_path: Path) -> None:
    for names in (["x_1001", "x_1002", "x_1103"], ["IMG_0905", "IMG_1002"], ["AM_1", "AM_2"]):
        add(tmp_path / names[0], *(f"{name}.png" for name in names))
        assert read_given([str(tmp_path / names[0])], None).name.tolist() == names


@pytest.mark.parametrize(
    ("names", "pattern", "said"),
    [
        ("P1_DAT-3 P1_DAT0", "{plant}_{*}{day}", "(3 may be a day, or a negative one)"),
        ("P1_x--3 P1_x-0", "{plant}_{*}-{day}", "(3 may be a day, or a negative one)"),
        ("P1-top--3 P1-top-0", "{plant}-{camera}-{day}", "(3 may be a day, or a negative one)"),
        ("P1_7,5 P1_8,5", "{plant}_{day}{*}", "(7 may be a day, or a part of 7,5)"),
        ("P1_7,5 P1_8,5", "{plant}_{day},{*}", "(7 may be a day, or a part of 7,5)"),
        ("P1_KW_22 P1_KW_23", "{plant}_{day}", "(22 may be a day, or not, since it stands beside KW)"),
        ("P1_minus_4 P1_minus_2", "{plant}_{day}", "(4 may be a day, or not, since it stands beside minus)"),
        ("P1_2_weeks P1_4_weeks", "{plant}_{day}_{*}", "(2 may be a day, or not, since it stands beside weeks)"),
        ("P1_2024-05-31_08h P1_2024-06-01_20h", "{plant}_{date}_{*}", "(08h after a date may tell the time of day)"),
    ],
)
def test_a_pattern_drops_no_sign_fraction_or_unit(tmp_path: Path, names: str, pattern: str, said: str) -> None:
    add(tmp_path / "own", *(f"{name}.png" for name in names.split()))
    assert said in refusal(tmp_path / "own", pattern)


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        ("P1-3 P1-7", "{plant}-{day}"),
        ("P1_3_left P1_7_right", "{plant}_{day}_{camera}"),
        ("Col-3_3 Col-3_7", "{plant}_{day}"),
        ("cam-3_P1_3 cam-3_P1_7", "{*}_{plant}_{day}"),
        ("P1_DAT3_cam-3 P1_DAT7_cam-3", "{plant}_DAT{day}_cam-{camera}"),
        ("P1_3.1 P1_7.1", "{plant}_{day}.{*}"),
        ("3_P1 7_P1", "{day}_{plant}"),
    ],
)
def test_dashes_and_dots_of_the_pattern_or_elsewhere_are_no_signs(tmp_path: Path, names: str, pattern: str) -> None:
    add(tmp_path / "own", *(f"{name}.png" for name in names.split()))
    assert list(days_of(read_training_set(tmp_path / "own", pattern)).values()) == [3, 7]


def test_photos_of_a_pattern_come_in_the_order_of_those_of_a_folder(tmp_path: Path) -> None:
    numbers = [1, 2, 9, 10, 11, 100]
    root = add(tmp_path / "own", *(f"IMG_{number}.png" for number in numbers))
    names = [f"IMG_{number}" for number in numbers]
    typed = [str(root / f"{name}.png") for name in names]
    for words in ([str(root)], [str(root / "IMG_*.png")], typed):
        assert [file.name.stem for file in read_given(words, None).files] == names


@pytest.mark.parametrize("order", [(1, 10, 11, 2), (10, 11, 1, 2), (10, 9)])
def test_photos_in_an_order_that_a_shell_has_chosen(tmp_path: Path, order: tuple[int, ...]) -> None:
    root = add(tmp_path, *(f"IMG_{number}.png" for number in order))
    with pytest.raises(UserError) as caught:
        read_given([str(root / f"IMG_{number}.png") for number in order], None)
    by_shell, by_number = (", ".join(f"IMG_{one}.png" for one in numbers) for numbers in (order, sorted(order)))
    said = f"--images: the order may be {by_shell}, as a shell sorts them, or {by_number}, as their numbers do; give"
    assert said in str(caught.value)


def test_photos_in_an_order_that_somebody_has_chosen(tmp_path: Path) -> None:
    for names in (("2", "1", "10"), ("b", "a", "c"), ("10-05-2024", "13-5-2024", "2-06-2024"), ("before10", "after9")):
        root = add(tmp_path, *(f"{name}.png" for name in names))
        assert len(read_given([str(root / f"{name}.png") for name in names], None).files) == len(names)


# Names by a pattern


def test_a_pattern_of_names(tmp_path: Path) -> None:
    names = [
        f"BR017-{plant}-2018-06-{day}_00_VIS_sv_{camera}.jpg"
        for plant in (7, 8)
        for day in ("06", "09")
        for camera in ("000", "045")
    ]
    photos = read_training_set(add(tmp_path, *names), RAPE)
    assert photos.plant.tolist() == ["7"] * 4 + ["8"] * 4
    assert photos.day.tolist() == [0, 0, 3, 3] * 2
    assert pairs_of(photos)[0].sample.ids[:4] == ["7/00#1-03#1", "7/00#1-03#2", "7/00#2-03#1", "7/00#2-03#2"]


def test_a_pattern_with_days_and_species(tmp_path: Path) -> None:
    root = add(tmp_path, "KM P1 0.5 x.png", "KM P1 2 .png", "AT P_2 1.png", "AT P_2 7y.png")
    assert "does not match 2 of the 4 photos in" in refusal(root, "{species} {plant} {day} {*}")
    (root / "AT P_2 1.png").rename(root / "AT P_2 1 .png")
    (root / "AT P_2 7y.png").rename(root / "AT P_2 7 y.png")
    photos = read_training_set(root, "{species} {plant} {day} {*}")
    assert days_of(photos) == {"P_2/AT P_2 1 ": 1, "P_2/AT P_2 7 y": 7, "P1/KM P1 0.5 x": 0.5, "P1/KM P1 2 ": 2}
    assert photos.species.tolist() == ["AT", "AT", "KM", "KM"]


@pytest.mark.parametrize(
    ("pattern", "stem", "readings"),
    [
        ("{plant}_{day}", "BC_03_07", ["BC_03 07"]),
        ("{plant}_{*}_{day}", "BC_a_03_07", ["BC 07", "BC_a 07"]),
        ("{plant}{day}", "P12", ["P 12", "P1 2"]),
        ("{plant}_{day}", "P_-3", []),
        ("{plant}_{day}", "P_1,5", []),
        ("{plant}_{day}{*}", "P_1.5", ["P 1", "P 1.5"]),
        ("{plant}{*}{*}_{date}", "P_2024-05-31", ["P 2024-05-31"]),
        ("{plant}_{date}{*}", "P_20240531_101500", ["P 20240531_101500"]),
        ("{plant}_{date}", "P_20240531_101500", ["P 20240531_101500"]),
        ("{plant}_{date}{*}", "P_20240531_0001", ["P 20240531_0001", "P 20240531"]),
        ("{plant}_{date}_{*}", "P_20240531_0001", ["P 20240531"]),
        ("{plant}_{date}{*}", "P_20240531 0115 PM", ["P 20240531 0115 PM"]),
        ("{plant}_{date}{*}", "P_20240531 1315 PM", ["P 20240531 1315 PM", "P 20240531"]),
        ("{plant}_{date}", "_2024-05-31", []),
        ("{*}{plant}aa{day}", "aaaab1", []),
        ("{*}-" * 50 + "{plant}-{day}", "-" * 50 + "p-1", ["p 1"]),
        ("{plant} {date} {*}", "P 2024년5월31일 x", ["P 2024-5-31"]),
    ],
)
def test_a_name_is_split_in_all_ways(pattern: str, stem: str, readings: list[str]) -> None:
    found = [" ".join(text for _, text in fields) for fields in split_name(parse_pattern(pattern), stem)]
    assert sorted(found) == sorted(readings)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{plant}-{tag}", "no field {tag}"),
        ("{date}", "no {plant}"),
        ("{plant}", "neither {date} nor {day}"),
        ("{plant}{day}{date}", "both {date} and {day}"),
        ("{plant}{plant}{day}", "{plant} appears twice"),
        ("{plant-{day}", "a brace without its other one"),
        ("{plant}{day}}", "a brace without its other one"),
        ("{plant}/{day}", "it stands for names in one folder"),
        ("{plant}{day}" + "x" * 300, "longer than 255 characters"),
        ("", "no {plant}"),
        *(
            (f"{{plant}}_{{day}}{unit}", f"numbers beside {unit} are no days")
            for unit in ("주", "w", "hrs", "WAP", "日前")
        ),
        ("{plant}_第{day}周", "numbers beside 周 are no days"),
        ("{plant}_before_x{day}", "numbers beside before are no days, or count backwards"),
    ],
)
def test_what_is_no_pattern(root: Path, pattern: str, message: str) -> None:
    assert message in refusal(root, pattern)


@pytest.mark.parametrize(
    ("names", "pattern", "message"),
    [
        (("P_1.png", "P_2.png"), "{plant}-{day}", "{plant}-{day} matches none of the 2 photos in"),
        (("P_1.png", "P-2.png"), "{plant}_{day}", "does not match 1 of the 2 photos in {root}: P-2.png; it stands"),
        (("P_1.png", "P_2.png"), "{plant}_{day}.png", "matches none of the 2 photos"),
        (
            ("P_a_1.png", "P_x2.png"),
            "{plant}_{*}{day}",
            "matches 1 name in two ways: P_a_1.png (plant=P day=1 or plant=P_a day=1); narrow it",
        ),
        (
            ("P_1.png", "P_1.0.png", "P_2.png"),
            "{plant}_{day}",
            "two photos of one plant and moment: P_1.0.png, P_1.png",
        ),
        (("P_1x.png", "P_1y.png", "P_2.png"), "{plant}_{day}{*}", "two photos of one plant and moment: P_1x.png, P_1y"),
        (("P_1a.png", "P_1a.jpg", "P_2a.png"), "{plant}_{day}{camera}", "two photos of one plant and moment: "),
        (("P_1.png", "P_2.png", "p_1.png", "p_2.png"), "{plant}_{day}", "one plant or 2: 'P' (P_1.png), 'p' (p_1.png)"),
        (("P1_1.png", "P1_2.png", "P01_1.png"), "{plant}_{day}", "one plant or 2: "),
        (
            ("A_P_1.png", "A_P_2.png", "B_P_3.png"),
            "{species}_{plant}_{day}",
            "one plant or 2: 'P of species A' (A_P_1.png), 'P of species B' (B_P_3.png)",
        ),
        (("P_03-04-2024.png", "P_2024-04-03.png"), "{plant}_{date}", "03-04-2024 may be 2024-04-03 or 2024-03-04"),
        (("P_2024-13-03.png", "P_2024-04-03.png"), "{plant}_{date}", "2024-13-03 is neither a date nor"),
        (
            ("P_2024-04-03.png", "P_2024-04-04_101500.png"),
            "{plant}_{date}",
            "a time of day, unlike others of the plant",
        ),
        (
            ("P_20240531_0001.png", "P_20240601_0002.png"),
            "{plant}_{date}{*}",
            "2 names in two ways: P_20240531_0001.png (plant=P date=20240531_0001 or plant=P date=20240531), P_2024",
        ),
        (
            ("P_20240531_0001.png", "P_20240601_0002.png"),
            "{plant}_{date}",
            "P_20240531_0001.png (0001 may be the time 00:01, if so to be written T0001, or a number)",
        ),
        (("P_100001.png", "P_1.png"), "{plant}_{day}", "P_100001.png (not a day up to 100,000)"),
        (("P_1.png", "Q_1.png", "Q_2.png"), "{plant}_{day}", "1 plant has one photo, which makes no pair: P"),
        (("P_1.png", "P_2.png", "Q/Q_1.png"), "{plant}_{day}", "is for one folder of photos, but 1 lies in folders of"),
    ],
)
def test_names_that_a_pattern_does_not_fit(tmp_path: Path, names: tuple[str, ...], pattern: str, message: str) -> None:
    root = add(tmp_path / "own", *names)
    assert message.replace("{root}", str(root)) in refusal(root, pattern)


CELLS = some.text("aP1230./\\-:;,'\" \n\té٣\0", max_size=12)
TOKENS = some.sampled_from(["{plant}", "{date}", "{day}", "{*}", "{camera}", "{species}", "_", "-", "1", "a", "{", "}"])
FUZZ = settings(
    derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(
    cells=some.lists(some.tuples(CELLS, CELLS, CELLS), max_size=4),
    pattern=some.lists(TOKENS, max_size=7),
    stem=some.text("aP_-120.", min_size=1, max_size=14),
)
def test_anything_is_read_or_refused(
    tmp_path: Path, cells: list[tuple[str, str, str]], pattern: list[str], stem: str
) -> None:
    root = tmp_path / "own"
    if not root.is_dir():
        add(root, "a/1.png", "a/2.png")
    lines = [",".join(line) for line in cells]
    for column in ("day", "date"):
        table(root, "a/1.png,P,1", *lines, header=f"photo,plant,{column}")
        assert str(root) in refusal(root)  # a/2.png has no row that can be read with this one
    (root / "photos.csv").unlink()
    try:
        readings = split_name(parse_pattern("".join(pattern)), stem)
    except UserError:
        return
    texts = [dict(fields) for fields in readings]
    assert len(readings) <= 2 and all(one != other for one, other in combinations(texts, 2))
    assert all(text in stem and text for fields in texts for text in fields.values())


# Which layout


@pytest.mark.parametrize(
    ("names", "pattern", "message"),
    [
        (("train_dataset/BC/1/DAT1.png", "photos.csv"), None, "train_dataset/ and photos.csv"),
        (("open.zip", "photos.csv"), None, "open.zip and photos.csv"),
        (("open/test_dataset/BC/1/x.png", "pairs.csv"), None, "open/test_dataset/ and pairs.csv"),
        (("train_dataset/BC/1/DAT1.png",), "{plant}_{day}", "train_dataset/ and --data.pattern {plant}_{day}"),
        (("train_dataset/BC/1/DAT1.png", "BC_2/DAT1.png"), None, "train_dataset/ and BC_2/, photos of a plant"),
        (("a/1.png", "photos.csv"), "{plant}_{day}", "photos.csv and --data.pattern {plant}_{day}"),
    ],
)
@pytest.mark.parametrize("read", [read_training_set, read_test_set])
def test_two_layouts_at_once(
    tmp_path: Path, names: tuple[str, ...], pattern: str | None, message: str, read: Callable[..., object]
) -> None:
    add(tmp_path, *(name for name in names if name.endswith(".png")))
    for name in names:
        (tmp_path / name).touch()
    assert f"{tmp_path} has two layouts: {message}; move one elsewhere" in refusal(tmp_path, pattern, read)


def test_folders_beside_the_competitions_hold_what_they_will(tmp_path: Path) -> None:
    add(tmp_path, *(f"train_dataset/BC/1/DAT{day}.png" for day in (1, 2)), "figures/plot.png", "runs/x/1.png")
    assert len(read_training_set(tmp_path).files) == 2


@pytest.mark.parametrize("read", [read_training_set, read_test_set])
@pytest.mark.parametrize("pattern", [None, RAPE])
def test_no_photos_at_all_lists_the_layouts(tmp_path: Path, read: Callable[..., object], pattern: str | None) -> None:
    message = refusal(tmp_path, pattern, read)
    for part in ("train_dataset/<species>/<plant>/", "photos.csv", "<plant>/", "--data.pattern", "growth.synthetic"):
        assert part in message
    assert f"--data.root {tmp_path / 'nowhere'}: no such folder" in refusal(tmp_path / "nowhere", pattern, read)


def test_a_table_below_the_folder_is_not_left_out(tmp_path: Path) -> None:
    for name in ("photos.csv", "pairs.csv"):
        (tmp_path / "A").mkdir(exist_ok=True)
        (tmp_path / "A" / name).write_text("photo,plant,day\n")
        with pytest.raises(UserError, match=f"A/{name}: such tables are read in .* alone; move them there"):
            find_photos(tmp_path)
        (tmp_path / "A" / name).unlink()


def test_no_species_at_all(root: Path) -> None:
    with pytest.raises(UserError, match=r"--data.species \[\]: give one species or more, or leave it out"):
        GrowthData(str(root), species=[]).read_training_set()


def test_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "open.zip").touch()
    assert "open.zip: is a file; give the folder that it lies in" in refusal(tmp_path / "open.zip")


# What is predicted


def test_all_pairs_where_no_table_names_some(root: Path) -> None:
    assert pair_names(read_test_set(root)) == [("a/01-02", "1", "2"), ("b/01-02", "1", "2")]
    assert len(read_test_set(table(root, *ROWS)).before) == 2


@pytest.mark.parametrize("layout", ["table", "folders", "names"])
def test_a_table_of_pairs(tmp_path: Path, layout: str) -> None:
    pattern = "{plant}_{day}" if layout == "names" else None
    divider = "_" if layout == "names" else "/"
    names = [f"{plant}{divider}{day}.png" for plant in ("P", "Q") for day in (1, 5)]
    root = add(tmp_path, *names, "test/P/unknown.png", "test/P/later.png", "test/R/last.png", "test/R/first.png")
    if layout == "table":
        table(root, *(f"{name},{name[0]},{name[2]}" for name in names))
    assert len(read_training_set(root, pattern).files) == 4
    assert "4 photos in test/ but no pairs.csv (before,after); write one" in refusal(root, pattern, read_test_set)
    first = f"Q{divider}1.png"
    write(
        root,
        "pairs.csv",
        "after,before",
        f"Q{divider}5.png,{first}",
        f"test\\P\\later.png,P{divider}1.png",
        "last,first",
    )
    pairs = read_test_set(root, pattern)
    assert pair_names(pairs) == [
        ("0", first, f"Q{divider}5.png"),
        ("1", f"P{divider}1.png", "test/P/later.png"),
        ("2", "test/R/first.png", "test/R/last.png"),
    ]
    assert len(pairs.files) == 6  # unknown.png is in no pair
    assert pairs.plant[pairs.before].tolist() == ["Q", "P", "R"]
    write(root, "pairs.csv", "before,after,idx", f"later,unknown,x{divider}")
    assert pair_names(read_test_set(root, pattern)) == [(f"x{divider}", "test/P/later.png", "test/P/unknown.png")]


def test_pairs_need_no_days_nor_photos_to_train_on(tmp_path: Path) -> None:
    root = add(tmp_path / "own", "P/first.png", "P/last.png")
    write(root, "pairs.csv", "before,after", "first,last")
    assert pair_names(read_test_set(root)) == [("0", "P/first.png", "P/last.png")]
    assert "2 photos have no certain day" in refusal(root)
    write(add(root, "P/DAT01.png", "P/DAT02.png"), "pairs.csv", "before,after", "DAT01,DAT02", "first,DAT01")
    assert len(read_test_set(root).before) == 2
    root = add(tmp_path / "other", "test/P/first.png", "test/P/last.png")
    write(root, "pairs.csv", "before,after", "first,last")
    assert pair_names(read_test_set(root)) == [("0", "test/P/first.png", "test/P/last.png")]
    assert "holds no photos in a layout that is read" in refusal(root)


def test_species_of_photos_to_predict(root: Path) -> None:
    lines = [f"{row},{species}" for row, species in zip(ROWS, ("KM", "KM", "AT", "AT"), strict=True)]
    table(
        add(root, "test/P1/x.png", "test/P1/y.png", "test/P9/z.png", "test/P9/w.png"),
        *lines,
        header="photo,plant,day,species",
    )
    write(root, "pairs.csv", "before,after", "x,y", "z,w")
    pairs = read_test_set(root)
    assert pairs.species[pairs.before].tolist() == ["KM", ""]
    table(root, *(line.replace("AT", "KM") for line in lines), header="photo,plant,day,species")
    pairs = read_test_set(root)
    assert pairs.species[pairs.before].tolist() == ["KM", "KM"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("a/1.png,a/3.png",), "pairs.csv: row 2: after a/3.png (no such photo in {root})"),
        (("../a/1.png,a/2.png",), "row 2: before ../a/1.png (no such photo in"),
        (("1,a/2.png",), "row 2: before 1 (may be a/1.png, b/1.png)"),
        (("a/1.png,b/2.png",), "row 2: the photos are of two plants; give two of one plant"),
        (("a/1.png,a/1.png",), "row 2: before and after are one photo"),
        (("a/1.png,a/2.png", "b/2.png,b/1.png"), "row 3: before is not the earlier photo by their days; swap them"),
        (("a/1.png,",), "column after is empty in row 2"),
        ((), "no rows below the header"),
    ],
)
def test_faults_of_the_pairs(root: Path, lines: tuple[str, ...], message: str) -> None:
    write(root, "pairs.csv", "before,after", *lines)
    assert message.format(root=root) in refusal(root, read=read_test_set)


def test_ids_of_pairs_stand_once(root: Path) -> None:
    write(root, "pairs.csv", "idx,before,after", "0,a/1.png,a/2.png", "0,b/1.png,b/2.png")
    assert "idx 0 appears more than once, rows 2, 3" in refusal(root, read=read_test_set)


# Names that contradict a table, a folder or a row of pairs


def test_names_of_photos_that_contradict_their_rows(tmp_path: Path) -> None:
    root = add(tmp_path, "x/KM1_DAT03.png", "x/KM1_DAT05.png", "x/KM1_DAT07.png", "KM2/a.png", "KM2/b.png")
    rows = ["x/KM1_DAT03.png,KM1,0", "x/KM1_DAT05.png,KM1,2.75", "x/KM1_DAT07.png,KM1,4.25", "KM2/a.png,KM2,1"]
    last = "KM2/b.png,KM2,2"
    assert len(read_training_set(table(root, *rows, last)).files) == 5  # days since the first photo, with fractions
    line = refusal(table(root, *rows[:2], "x/KM1_DAT07.png,KM1,9", rows[3], last))
    assert "row 4: x/KM1_DAT07.png is of day 9, but DAT07 by its name, unlike others of plant KM1" in line
    line = refusal(table(root, *rows[:3], "KM2/a.png,KM1,9", "KM2/b.png,KM2,2"))
    assert "row 5: KM2/a.png (of plant KM1, but named after KM2)" in line
    line = refusal(table(root, *rows[:2], "x/KM1_DAT07.png,KM2,4", *rows[3:], last))
    assert "row 4: x/KM1_DAT07.png (of plant KM2, but named after KM1)" in line


@pytest.mark.parametrize(
    ("names", "days"),
    [(("20240531_101500", "20240531_181500"), (1, 0.5)), (("2024-05-31_10-15-00Z", "2024-05-31_18-15-00Z"), (1, 0.9))],
)
def test_names_of_photos_in_another_order_than_their_rows(
    tmp_path: Path, names: tuple[str, ...], days: tuple[float, ...]
) -> None:
    paths = [f"x/{name}.png" for name in names]
    root = add(tmp_path, *paths)
    rows = [f"{path},P,{day}" for path, day in zip(paths, days, strict=True)]
    line = refusal(table(root, *rows))
    said = f"row 3: {paths[1]} is of day {days[1]}, {paths[0]} of day {days[0]}, but the other way round by their names"
    assert said in line
    assert len(read_training_set(table(root, *(f"{path},P,{n}" for n, path in enumerate(paths)))).files) == len(paths)


def test_names_without_a_certain_time_tell_no_order_within_a_day(tmp_path: Path) -> None:
    names = ("2024-05-31", "20240531_101500", "20240531_1800", "20240531_111500KST")
    paths = [f"x/{name}.png" for name in names]
    rows = [f"{path},P,{day}" for path, day in zip(paths, (0.7, 0.4, 0.75, 0.2), strict=True)]
    assert len(read_training_set(table(add(tmp_path, *paths), *rows)).files) == 4


def test_a_name_that_begins_like_another_is_another_plant(tmp_path: Path) -> None:
    root = add(tmp_path, "x/KM1_a.png", "x/KM10_b.png", "x/KM10_c.png", "x/KM10_d.png")
    rows = ["x/KM1_a.png,KM1,1", "x/KM10_c.png,KM10,1", "x/KM10_d.png,KM10,2"]
    line = refusal(table(root, *rows, "x/KM10_b.png,KM1,2"))
    assert "row 5: x/KM10_b.png (of plant KM1, but named after KM10)" in line


def test_dates_in_names_that_contradict_their_rows(tmp_path: Path) -> None:
    names = [f"IMG_2024-05-{day}.png" for day in (29, 30, 31)]
    root, header = add(tmp_path, *names), "photo,plant,date"
    dates = ("2024-05-29T09:00", "2024-05-30T21:00", "2024-05-31T01:00")
    rows = [f"{name},P,{date}" for name, date in zip(names, dates, strict=True)]
    assert len(read_training_set(table(root, *rows, header=header)).files) == 3
    line = refusal(table(root, *rows[:2], f"{names[2]},P,2024-06-30T01:00", header=header))
    assert "row 4: IMG_2024-05-31.png" in line and "2024-05-31 by its name" in line


def test_names_of_photos_to_predict_that_contradict_folder_or_order(tmp_path: Path) -> None:
    root = add(tmp_path, "rose/DAT01.png", "rose/DAT02.png", "lily/DAT01.png", "lily/DAT02.png")
    write(add(root, "test/rose/DAT09.png", "test/rose/DAT04.png"), "pairs.csv", "before,after", "DAT04,DAT09")
    assert len(read_test_set(root).before) == 1
    write(root, "pairs.csv", "before,after", "DAT04,DAT09", "DAT09,DAT04")
    line = refusal(root, read=read_test_set)
    assert "pairs.csv: row 3: before is DAT09 by its name test/rose/DAT09.png, after is DAT04 by its name" in line
    add(root, "test/rose/lily_DAT09.png")
    line = refusal(root, read=read_test_set)
    assert "test/rose/lily_DAT09.png (of plant rose, but named after lily)" in line
    assert "rose/lily_DAT3.png (of plant rose, but named after lily)" in refusal(add(root, "rose/lily_DAT3.png"))


@pytest.mark.parametrize("names", ["x before,x after", "week1,week2", "Tag 7,Tag 14", "P_T1,P_T2", "3hrs,12hrs"])
def test_the_order_of_pairs_is_told_by_words(tmp_path: Path, names: str) -> None:
    early, late = names.split(",")
    add(tmp_path, f"test/rose/{early}.png", f"test/rose/{late}.png")
    line = refusal(write(tmp_path, "pairs.csv", "before,after", f"{late},{early}"), read=read_test_set)
    assert f"row 2: before is {late} and after is {early}, but the other way round by their words" in line
    assert len(read_test_set(write(tmp_path, "pairs.csv", "before,after", names)).before) == 1


def test_the_order_of_pairs_is_told_by_names_however_they_are_given(tmp_path: Path) -> None:
    for number, names in enumerate([("2024.06.07", "2024.05.31"), ("09", "07"), ("DAT-07", "DAT-02")]):
        root = add(tmp_path / str(number), *(f"test/P/{name}.png" for name in names))
        for form in ("{}", "{}.png", "test/P/{}.png", "test\\P\\{}.png"):
            write(root, "pairs.csv", "before,after", ",".join(form.format(name) for name in names))
            assert "swap them" in refusal(root, read=read_test_set)
            write(root, "pairs.csv", "before,after", ",".join(form.format(name) for name in reversed(names)))
            assert len(read_test_set(root).before) == 1
    root = add(tmp_path / "signs", "test/P/DAT-3.png", "test/P/DAT-2.png")
    write(
        root, "pairs.csv", "before,after", "DAT-3,DAT-2"
    )  # the third and second day before the treatment, or after it
    assert len(read_test_set(root).before) == 1
    root = add(tmp_path / "days", "test/2024-05-31/P1.png", "test/2024-05-31/P2.png")
    write(root, "pairs.csv", "before,after", "P1,P2")
    assert "folder 2024-05-31 may hold one day's photos" in refusal(root, read=read_test_set)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("DAT1/P", "DAT10/P", "DAT2/P"), "is typed before"),
        (("2024-06-07/P", "2024-05-31/P"), "is typed before"),
        (("week1/P", "week10/P", "week2/P"), "the order may be week1, week10, week2, as a shell sorts them"),
        (("a/P1_DAT09", "a/P1_DAT04"), "is typed before"),
        (("a/cam0_day10", "a/cam0_day9"), "the order may be"),
        (("a/sown2024-05-01_DAT10", "a/sown2024-05-01_DAT2"), "the order may be"),
    ],
)
def test_photos_typed_in_another_order_than_their_names_or_folders_tell(
    tmp_path: Path, names: tuple[str, ...], said: str
) -> None:
    add(tmp_path, *(f"{name}.png" for name in names))
    with pytest.raises(UserError, match=said):
        read_given([str(tmp_path / f"{name}.png") for name in names], None)


def test_what_a_pattern_of_files_says_no_more_than_their_folder(tmp_path: Path) -> None:
    for folders in (("DAT1", "DAT2", "DAT10"), ("week1", "week2", "week10")):
        add(tmp_path / folders[0], *(f"{folder}/P.png" for folder in folders))
        found = read_given([f"{tmp_path}/{folders[0]}/*/P.png"], None)
        assert [file.path.parent.name for file in found.files] == sorted(folders, key=natural)
    for names in (("31-05-2024", "01-06-2024"), ("DAT07_morning", "DAT07_evening"), ("DAS20", "DAT07")):
        add(tmp_path / names[0], *(f"{name}.png" for name in names))
        with pytest.raises(UserError, match="no certain day"):
            read_given([f"{tmp_path}/{names[0]}/*.png"], None)
    root = add(tmp_path, "before.png", "after.png")
    with pytest.raises(UserError, match="no number that tells which is the earlier photo"):
        read_given([f"{root}/*.png"], None)
    assert len(read_given([f"{root}/before.png", f"{root}/after.png"], None).before) == 1


def test_tables_beside_given_photos_are_not_passed_over(tmp_path: Path) -> None:
    root = add(tmp_path / "own", "IMG_1.png", "IMG_2.png")
    table(root, "IMG_1.png,P,2", "IMG_2.png,P,1")
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for path in root.iterdir():
            archive.write(path, path.name)
    with pytest.raises(UserError, match="own.zip:photos.csv is not read in an archive; unpack it"):
        read_given([str(tmp_path / "own.zip")], None)
    (root / "photos.csv").rename(root / "photos.xlsx")
    with pytest.raises(UserError, match="photos.xlsx: only photos.csv and pairs.csv are read"):
        read_given([str(root)], None)
    deep = add(tmp_path / "deep", "A/p_2024-05-31.png", "B/p_2024-06-07.png")
    with pytest.raises(UserError, match="is for one folder of photos, but these lie in .*A, .*B; give one"):
        read_given([str(deep)], "{plant}_{date}")


def test_a_table_as_spreadsheets_save_it(root: Path) -> None:
    lines = ("a/1.png,P1,2024/5/31 9:15,,", "a/2.png,P1,2024. 6. 1. 9:15,,", "b/1.png,P2,2024.05.31 09:15,,", ",,,,")
    found = read_training_set(table(root, *lines, "b/2.png,P2,2024-5-31 21:15,,", header="photo,plant,date,,"))
    assert found.day.tolist() == [0, 1, 0, 0.5]
    found = read_training_set(
        table(
            root,
            *(f"{path}.png,{path[0]},2024-5-{n} 9:15 UTC" for n, path in enumerate(("a/1", "a/2", "b/1", "b/2"), 1)),
            header="photo,plant,date",
        )
    )
    assert found.day.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("days", [("1.5", "2.5"), ("7.25", "8.25"), ("101", "131"), ("2.5", "1.5"), ("524", "531")])
def test_days_that_are_numbers(root: Path, days: tuple[str, str]) -> None:
    lines = [f"{home}/{n}.png,{home},{day}" for home in "ab" for n, day in enumerate(days, start=1)]
    assert len(read_training_set(table(root, *lines)).files) == 4


@pytest.mark.parametrize("days", [("31.05", "01.06"), ("31.5", "7.6"), ("5.24", "5.31", "6.7", "6.14"), ("531", "607")])
def test_days_that_may_be_numbers_or_dates(tmp_path: Path, days: tuple[str, ...]) -> None:
    add(tmp_path, *(f"{n}.png" for n in range(len(days))))
    said = refusal(table(tmp_path, *(f"{n}.png,P,{day}" for n, day in enumerate(days))))
    assert f"days {', '.join(days[:3])}" in said and "may be numbers, or dates" in said


@pytest.mark.parametrize("name", ["P\0", "P\t1", "#NV", "#WERT!", "####", "--", "unknown", "n.a."])
def test_plants_that_are_no_names(root: Path, name: str) -> None:
    lines = [f"a/1.png,{name},1", f"a/2.png,{name},2", "b/1.png,P,1", "b/2.png,P,2"]
    assert "row 2: plant" in refusal(table(root, *lines))


@pytest.mark.parametrize("names", [("P 1", "P_1"), ("KM.01", "KM_1"), ("KM01", "KM_1"), ("P1.", "P1"), ("P-1", "P–1")])
def test_plants_that_differ_in_punctuation_may_be_one(root: Path, names: tuple[str, str]) -> None:
    lines = [f"{home}/{n}.png,{name},{n}" for home, name in zip("ab", names, strict=True) for n in (1, 2)]
    assert "one plant or 2" in refusal(table(root, *lines))
    for others in (("1 11", "11 1"), ("+N", "-N"), ("WT+", "WT-"), ("P1 N+", "P1 N-"), ("कि", "का"), ("C", "C#")):
        lines = [f"{home}/{n}.png,{name},{n}" for home, name in zip("ab", others, strict=True) for n in (1, 2)]
        assert len(read_training_set(table(root, *lines)).files) == 4


def test_the_name_of_a_folder_does_not_end_within_a_number(tmp_path: Path) -> None:
    assert read_training_set(add(tmp_path, "1/10.png", "1/11.png")).day.tolist() == [10, 11]
    assert "P10.png (P10 may be day 10 or something else" in refusal(add(tmp_path / "p", "P1/P10.png", "P1/P11.png"))


def test_a_photo_may_write_its_plant_with_another_sign(tmp_path: Path) -> None:
    names = ("basil/basil_DAT01.png", "basil/basil_DAT02.png", "lemon basil/lemon_basil_DAT01.png")
    root = add(tmp_path, *names, "lemon basil/lemon-basil_DAT02.png")
    assert read_training_set(root).plant.tolist() == ["basil", "basil", "lemon basil", "lemon basil"]


@pytest.mark.parametrize("pattern", [None, "{plant}_{day}", "{plant}_{date}"])
def test_numbers_in_names_of_photos_to_predict_that_contradict_the_order(tmp_path: Path, pattern: str | None) -> None:
    day = "2024-05-" if pattern == "{plant}_{date}" else ""
    home, prefix = ("A/", day) if pattern is None else ("", f"A_{day}")
    known, ninth, twelfth, unknown = f"{home}{prefix}10.png", *(f"test/A/{prefix}{n}.png" for n in ("09", "12", "x"))
    root = add(tmp_path, f"{home}{prefix}03.png", known, ninth, twelfth, unknown)
    write(root, "pairs.csv", "before,after", f"{known},{twelfth}", f"{known},{unknown}", f"{ninth},{twelfth}")
    assert len(read_test_set(root, pattern).before) == 3
    for before in (known, twelfth):
        write(root, "pairs.csv", "before,after", f"{before},{ninth}")
        line = refusal(root, pattern, read_test_set)
        assert "pairs.csv: row 2: " in line and "swap them" in line
        assert before in line and ninth in line


def test_photos_to_predict_of_another_plant_by_the_pattern(tmp_path: Path) -> None:
    root = add(tmp_path, "7_1.png", "7_2.png", "8_1.png", "8_2.png", "test/7/7_3.png", "test/7/8_4.png")
    write(root, "pairs.csv", "before,after", "7_3,8_4")
    line = refusal(root, "{plant}_{day}", read_test_set)
    assert "test/7/8_4.png lies in the folder of plant 7, but is of 8 by --data.pattern {plant}_{day}" in line


# The commands


@pytest.mark.slow
def test_a_table_from_fit_to_submission(run: Run, tmp_path: Path, forked_children: None) -> None:
    names = [f"cam{camera}/{plant}_{day}.png" for plant in "PQRS" for day in (0, 1, 2) for camera in (0, 1)]
    root = add(tmp_path / "own", *names, "test/P/x.png")
    table(root, *(f"{name},{name[5]},{int(name[7]) / 6:.4f}" for name in names))
    words = ("--data.num_folds", 4, "--data.root", root, "--name", "own")
    output = run("growth", "crossval", *SMALL, *words, "--folds", 0)
    assert "over all 12 out-of-fold rows" in output
    rows = pd.read_csv("runs/growth/own/out_of_fold_folds0.csv")
    assert sorted(set(rows["days"].round(4))) == [0.1666, 0.1667, 0.3333]
    assert rows["predicted"].min() < 1  # photos are less than a day apart, so fewer days than one are right
    write(root, "pairs.csv", "before,after,idx", "cam0/P_0.png,test/P/x.png,mine")
    run(
        "growth",
        "predict",
        "--ckpt_path",
        "runs/growth/own/fold_0/latest/checkpoints/last.ckpt",
        "--submission.path",
        "s.csv",
    )
    submission = pd.read_csv("s.csv")
    assert submission.columns.tolist() == ["idx", "time_delta"]
    assert submission["idx"].tolist() == ["mine"]
    items = pd.read_csv("s_items.csv", keep_default_na=False)
    assert items["photo"].tolist() == ["cam0/P_0.png", "test/P/x.png"]
    assert set(items["species"]) == {""}


@pytest.mark.slow
def test_a_pattern_from_fit_to_submission(run: Run, refused: Run, tmp_path: Path) -> None:
    names = [f"{plant}_2024-05-0{day}_{camera}.png" for plant in "PQR" for day in (1, 2, 4) for camera in "xy"]
    root = add(tmp_path / "own", *names)
    pattern = ("--data.pattern", "{plant}_{date}_{camera}")
    run("growth", "fit", *SMALL, "--data.root", root, *pattern, "--data.val_fraction", 0.3, "--name", "own")
    assert not any("rmse_" in name for name in pd.read_csv("runs/growth/own/latest/metrics.csv").columns)
    run("growth", "predict", "--ckpt_path", "last", "--submission.path", "s.csv")
    submission = pd.read_csv("s.csv")
    assert len(submission) == len(set(submission["idx"])) == 3 * 3 * 4
    assert submission["idx"][0] == "P/00#1-01#1"
    assert submission["time_delta"].min() >= 1  # whole days
    other = add(tmp_path / "other", "A/1.png", "A/2.png")
    assert "is for one folder of photos" in refused("growth", "predict", "--ckpt_path", "last", "--data.root", other)
    run(
        "growth",
        "predict",
        "--ckpt_path",
        "last",
        "--data.root",
        other,
        "--data.pattern",
        "null",
        "--submission.path",
        "o.csv",
    )
    assert pd.read_csv("o.csv")["idx"].tolist() == ["A/01-02"]


def test_real_photos_with_a_table() -> None:
    root = REAL_DATA / "komatsuna4h"
    if not root.is_dir():
        pytest.skip(f"no real data in {root}")
    photos = read_training_set(root)
    assert (len(photos.files), len(set(photos.plant)), photos.day.max()) == (900, 7, np.float32(9.8333))
    assert len(set(zip(photos.plant, photos.name, strict=True))) == 900
    pairs, days = pairs_of(photos)
    assert len(days) == len(set(pairs.sample.ids)) == 69_030
    assert days.min() > 0.16
    assert read_test_set(root).sample.ids == pairs.sample.ids


def test_real_photos_with_a_pattern() -> None:
    root = REAL_DATA / "rape"
    if not root.is_dir():
        pytest.skip(f"no real data in {root}")
    photos = read_training_set(root, RAPE)
    assert dict(zip(*np.unique(photos.plant, return_counts=True), strict=True)) == {
        **{"209111": 55, "448121": 35, "531121": 90, "531212": 90, "531213": 45}
    }
    assert photos.shortest_gap() == 1
    assert all(photos.day[photos.plant == plant].min() == 0 for plant in set(photos.plant))
    assert len(set(read_test_set(root, RAPE).sample.ids)) == len(pairs_of(photos)[1]) == 10_885


def test_days_of_folders_contradict_those_of_a_table(tmp_path: Path) -> None:
    names = [f"2024-05-0{day}/{plant}.png" for day in (1, 7) for plant in ("A", "B")]
    root = add(tmp_path / "own", *names)
    rows = [f"{name},{name[-5]},{name[:10]}" for name in names]
    assert len(read_training_set(table(root, *rows, header="photo,plant,date")).files) == 4
    swapped = [f"{names[0]},A,2024-05-07", f"{names[2]},A,2024-05-01", *rows[1::2]]
    assert "but 2024-05-0" in refusal(table(root, *swapped, header="photo,plant,date"))
    # One folder may hold the photos of many days.
    several = add(tmp_path / "several", *(f"2024-0{month}-30/A{day}.png" for month in (5, 6) for day in (1, 2, 3)))
    rows = [f"2024-0{month}-30/A{day}.png,A,{10 * month + 3 * day}" for month in (5, 6) for day in (1, 2, 3)]
    assert len(read_training_set(table(several, *rows)).files) == 6


@pytest.mark.parametrize(
    ("photo", "plant", "other"),
    [("209111_DAT07", "209112", "209111"), ("P1-2_DAT07", "P1", "P1-2")],
)
def test_a_photo_named_after_another_plant_of_the_table(tmp_path: Path, photo: str, plant: str, other: str) -> None:
    root = add(tmp_path / "own", f"{photo}.png", "x1.png", "x2.png", "x3.png")
    rows = [f"{photo}.png,{plant},7", f"x1.png,{plant},9", f"x2.png,{other},1", f"x3.png,{other},2"]
    assert f"{photo}.png (of plant {plant}, but named after {other})" in refusal(table(root, *rows))
    rows[0] = f"{photo}.png,{other},7"
    rows.append(f"x4.png,{plant},11")
    add(root, "x4.png")
    assert len(read_training_set(table(root, *rows)).files) == 5


@pytest.mark.parametrize(
    "name",
    [
        *("photos (1).csv", "photos - Kopie.csv", "pairs copy.csv", "photos - Sheet1.csv", "photos 2.csv"),
        *("Copy of photos.csv", "photos.tab", "photo.csv", "a/photos.xlsx"),
    ],
)
def test_a_copy_of_a_table_is_not_passed_over(root: Path, name: str) -> None:
    (root / name).write_text("photo,plant,day\n")
    assert f"{name}: only photos.csv and pairs.csv are read" in refusal(root)


def test_photos_in_the_folder_of_another_plant_are_refused_when_given_too(tmp_path: Path) -> None:
    root = add(tmp_path, *(f"{plant}/{plant}_DAT{day}.png" for plant in ("Basil", "Mint") for day in (1, 5)))
    assert len(read_given([str(root)], None).before) == 2
    add(root, "Basil/Mint_DAT9.png")
    for words in ([root], [root / "Basil", root / "Mint"]):
        with pytest.raises(UserError, match="of plant Basil, but named after Mint"):
            read_given([str(word) for word in words], None)


def test_a_folder_below_a_table_is_not_given_without_it(tmp_path: Path) -> None:
    root = add(tmp_path, "P1/1.png", "P1/2.png")
    table(root, "P1/1.png,P1,9", "P1/2.png,P1,3")
    with pytest.raises(UserError, match=r"photos.csv may tell plants and days of these photos, but is read only where"):
        read_given([str(root / "P1")], None)
    (pair,) = pair_names(read_given([str(root)], None))
    assert pair[1:] == ("P1/2.png", "P1/1.png")


@pytest.mark.parametrize("plants", ["12 13", "A B"])
def test_rows_that_contradict_the_folders_of_numbered_plants(tmp_path: Path, plants: str) -> None:
    one, other = plants.split()
    root = add(tmp_path, *(f"{plant}/{name}.png" for plant in (one, other) for name in "xyz"))
    right = [f"{plant}/{name}.png,{plant},{day}" for plant in (one, other) for day, name in enumerate("xyz")]
    assert len(read_training_set(table(root, *right)).files) == 6
    line = refusal(table(root, *right[:5], f"{other}/z.png,{one},7"))
    assert f"row 7: {other}/z.png (of plant {one}, but named after {other})" in line
    # Folders of cameras tell no plant.
    crossed = [
        f"{camera}/{name}.png,{one if name == 'x' else other},{'xyz'.index(name)}"
        for camera in (one, other)
        for name in "xyz"
    ]
    assert refusal(table(root, *crossed)).startswith(f"{root}: 1 plant has photos of one moment only")


def test_rows_that_contradict_photos_named_after_numbered_plants(tmp_path: Path) -> None:
    names = [f"{plant}_2024-05-0{day}.png" for plant in "1234" for day in (1, 8)]
    root = add(tmp_path, *names)
    right = [f"{name},{name[0]},{name[2:12]}" for name in names]
    header = "photo,plant,date"
    assert len(read_training_set(table(root, *right, header=header)).files) == 8
    line = refusal(table(root, *right[:3], f"{names[3]},3,2024-05-08", *right[4:], header=header))
    assert "row 5: 2_2024-05-08.png (of plant 3, but named after 2)" in line


def test_a_gene_that_sounds_like_a_month(tmp_path: Path) -> None:
    root = add(tmp_path, "sep3_2024-05-31.png", "sep3_2024-06-07.png")
    assert sorted(days_of(read_training_set(root, "{plant}_{date}")).values()) == [0, 7]


@pytest.mark.parametrize("names", ["31May2024 7Jun2024", "2024May31 2024Jun07", "31_May_2024 7_June_2024"])
def test_dates_whose_month_is_a_word(tmp_path: Path, names: str) -> None:
    root = add(tmp_path, *(f"P/{name}.png" for name in names.split()))
    assert sorted(days_of(read_training_set(root)).values()) == [0, 7]
    typed = [str(root / "P" / f"{name}.png") for name in names.split()]
    assert len(read_given(typed, None).before) == 1
    with pytest.raises(UserError, match="is typed before"):
        read_given(typed[::-1], None)


def test_counters_of_phones_beside_a_date_are_no_days(tmp_path: Path) -> None:
    root = add(tmp_path, "P/IMG-20240531-WA0001.png", "P/IMG-20240607-WA0002.png")
    assert sorted(days_of(read_training_set(root)).values()) == [0, 7]


@pytest.mark.parametrize("names", ["April August June May", "Friday Monday"])
def test_words_sorted_as_text_are_no_order(tmp_path: Path, names: str) -> None:
    root = add(tmp_path, *(f"{name}.png" for name in names.split()))
    with pytest.raises(UserError, match="may be in their order, or sorted as text"):
        read_given([str(root / f"{name}.png") for name in names.split()], None)


def test_numbers_of_copies_are_no_days(tmp_path: Path) -> None:
    line = refusal(add(tmp_path, "P1/P1 (1).png", "P1/P1 (2).png"))
    assert "1 may be day 1 or the number of a copy, by its parentheses" in line


def test_what_systems_keep_in_folders_of_their_own_are_no_plants(tmp_path: Path) -> None:
    root = add(tmp_path, "P1/1.png", "P1/2.png", "P1/@eaDir/1.png", "#recycle/1.png", "$RECYCLE.BIN/x/2.png")
    assert len(read_training_set(root).files) == 2
    assert "one plant or 2" in refusal(add(root, "P1 - Copy/1.png", "P1 - Copy/2.png"))


def test_pairs_that_cannot_all_be_true(tmp_path: Path) -> None:
    root = add(tmp_path, "test/P1/c.png", "test/P1/d.png", "P1/DAT05.png", "P1/DAT06.png", "test/P1/DAT05.png")
    write(root, "pairs.csv", "before,after", "c,d", "d,c")
    assert "rows 2, 3: test/P1/c.png, test/P1/d.png would come before one another" in refusal(root, read=read_test_set)
    write(root, "pairs.csv", "before,after", "P1/DAT05.png,test/P1/DAT05.png")
    assert "row 2: both photos are of one day by the names" in refusal(root, read=read_test_set)
