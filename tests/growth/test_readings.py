"""What people, phones, cameras and spreadsheets write: read where it has one meaning, refused where it has two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from common.files import expand
from growth.layouts import read_given, read_test_set, read_training_set
from tests.growth.test_own_layouts import add, write


@pytest.mark.parametrize(
    "copy", ["P1 - Copy (2)", "Copy of P1", "P1 copy 2", "P1 - Kopie", "Kopie von P1", "P1 (copy)", "P1 - 복사본"]
)
def test_a_copied_folder_is_no_other_plant(tmp_path: Path, copy: str) -> None:
    root = add(tmp_path, *(f"{folder}/DAT{day}.png" for folder in ("P1", copy, "photocopy") for day in (1, 2)))
    with pytest.raises(UserError, match="one plant or 2: "):
        read_training_set(root)


@pytest.mark.parametrize(
    "folders",
    [
        *("24hpi 48hpi", "24_hours 48_hours", "J7 J14", "J+7 J+14", "W1 W2", "T0 T7", "TP1 TP2", "hrs_1 hrs_2"),
        *(
            "day_one day_two",
            "start end",
            "morning evening",
            "giorno_1 giorno_2",
            "100CANON 101CANON",
            "100_0531 101_0601",
        ),
    ],
)
def test_folders_of_moments_and_of_cameras_are_no_plants(tmp_path: Path, folders: str) -> None:
    root = add(tmp_path, *(f"{folder}/{number}.png" for folder in folders.split() for number in (1, 2)))
    with pytest.raises(
        UserError, match="may hold (one day's photos of several plants|photos of one plant each, or all)"
    ):
        read_training_set(root)


@pytest.mark.parametrize("pattern", ["{plant}_week{day}", "{plant}_{day}h", "{plant}_minus{day}", "{plant}_{day}_left"])
def test_a_pattern_does_not_make_days_of_other_numbers(tmp_path: Path, pattern: str) -> None:
    names = (pattern.replace("{plant}", "A").replace("{day}", str(number)) for number in (1, 2))
    with pytest.raises(UserError, match="are no days, or count backwards"):
        read_training_set(add(tmp_path, *(f"{name}.png" for name in names)), pattern)


def test_a_pattern_does_not_pass_over_the_time_of_day(tmp_path: Path) -> None:
    root = add(tmp_path, "A_20240531_PM.png", "A_20240601_AM.png")
    with pytest.raises(UserError, match="PM after a date may tell the time of day"):
        read_training_set(root, "{plant}_{date}_{*}")


def test_a_pattern_is_for_one_folder(tmp_path: Path) -> None:
    root = add(tmp_path, "P1/top_d1.png", "P1/top_d2.png", "P2/top_d3.png", "P2/top_d4.png")
    with pytest.raises(UserError, match="is for one folder of photos, but these lie in .*P1, .*P2"):
        read_given([str(root / "P1"), str(root / "P2")], "{plant}_d{day}")


def test_numbers_of_plants_within_a_species(tmp_path: Path) -> None:
    root = add(tmp_path, *(f"{species}_1_2024060{day}.png" for species in ("WT", "mut") for day in (1, 2)))
    with pytest.raises(UserError, match="one plant or 2: '1 of species WT' .*, '1 of species mut'"):
        read_training_set(root, "{species}_{plant}_{date}")


MOMENTS = ("20240531_1015", "20240607_1015")


@pytest.mark.parametrize("labels", ["A_{} B_{}", "{}_A {}_B", "{}_top {}_side", "{}_001 {}_002"])
def test_photos_of_two_plants_that_are_seconds_apart(tmp_path: Path, labels: str) -> None:
    names = [
        label.format(f"{day}{at}") for label, at in zip(labels.split(), ("00", "30"), strict=True) for day in MOMENTS
    ]
    root = add(tmp_path, *(f"tray/{name}.png" for name in names))
    with pytest.raises(UserError, match="may be of one plant, or of one for each word beside the dates"):
        read_training_set(root)


@pytest.mark.parametrize("labels", ["IMG_{} IMG_{}", "PXL_{}.MP PXL_{}.PORTRAIT", "{}_HDR {}"])
def test_photos_of_one_plant_that_are_seconds_apart(tmp_path: Path, labels: str) -> None:
    names = [
        label.format(f"{day}{at}") for label, at in zip(labels.split(), ("00", "30"), strict=True) for day in MOMENTS
    ]
    assert len(read_training_set(add(tmp_path, *(f"tray/{name}.png" for name in names))).files) == 4


def test_milliseconds_that_agree_by_chance_tell_no_plants(tmp_path: Path) -> None:
    names = ["20240531_101500_312", "20240531_101530_977", "20240607_101500_312", "20240607_101530_111"]
    assert len(read_training_set(add(tmp_path, *(f"tray/{name}.png" for name in names))).files) == 4


@pytest.mark.parametrize(("one", "other"), [("P1", "P02"), ("KM01", "KM 2"), ("plant_1", "Plant-2")])
def test_photos_named_after_another_plant_in_another_spelling(tmp_path: Path, one: str, other: str) -> None:
    rows = [f"{one}_{day}.png,{plant},{day}" for day, plant in ((1, other), (2, one))]
    rows += [f"{number}.png,{other},{number}" for number in (3, 4)]
    add(tmp_path, *(row.split(",")[0] for row in rows))
    with pytest.raises(UserError, match=rf"row 2: {one}_1.png \(of plant {other}, but named after {one}\)"):
        read_training_set(write(tmp_path, "photos.csv", "photo,plant,day", *rows))


@pytest.mark.parametrize(
    "names", ["3D_001 3D_002", "12D 13D", "D7000_0001 D800_0002", "78e51061-7311-48a3 41d9e8f0-d43b-48a3", "1A_1 2B_1"]
)
def test_letters_that_name_no_day_and_no_plant(tmp_path: Path, names: str) -> None:
    one, other = (f"{name}.png" for name in names.split())
    rows = [f"{one},2B,9", f"{other},2B,1"]
    root = write(add(tmp_path, one, other), "photos.csv", "photo,plant,day", *rows)
    assert read_training_set(root).day.tolist() == [1, 9]


@pytest.mark.parametrize(
    "folders",
    [
        *(
            "101_kale 102_kale",
            "101wheat 102wheat",
            "rot3 rot4",
            "Sv_1 Sv_2",
            "hrs1 dpa4",
            "cam1 P2",
            "Sam Tom",
            "D1 D2",
        ),
        *("May_Queen Oct4", "B73 Mo17", "Col-0 wt"),
    ],
)
def test_plants_with_names_like_other_things(tmp_path: Path, folders: str) -> None:
    root = add(tmp_path, *(f"{folder}/d0{day}.png" for folder in folders.split() for day in (1, 2)))
    assert read_training_set(root).day.tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{plant}_{date}_AM", "A_20240531_AM A_20240601_AM"),
        ("{date}_{plant}", "20240531_Night_Jasmine 20240601_Night_Jasmine"),
        ("{date}_{plant}", "20240531_朝顔 20240601_朝顔"),
        ("{plant}_d{day}_H2O", "A_d1_H2O A_d2_H2O"),
        ("{plant}_{day}_H2O", "A_1_H2O A_2_H2O"),
        ("{plant}_DAT{day}_left", "A_DAT1_left A_DAT2_left"),
        ("{plant}_neg_DAT{day}", "A_neg_DAT1 A_neg_DAT2"),
        ("{plant}_16h_{day}", "A_16h_1 A_16h_2"),
    ],
)
def test_words_in_a_pattern_that_say_nothing_of_the_day(tmp_path: Path, pattern: str, names: str) -> None:
    root = add(tmp_path, *(f"{name}.png" for name in names.split()))
    assert np.ptp(read_training_set(root, pattern).day) == 1


@pytest.mark.parametrize(
    "names",
    [
        "20240531_101500_1001 20240531_101530_1002",  # which may be two pots
        "sown20240401_20240531 sown20240408_20240531",  # of one day, sown on two
        "SAM1_20240531 SAM2_20240607",
    ],
)
def test_numbers_beside_a_date_that_may_be_of_two_plants(tmp_path: Path, names: str) -> None:
    root = add(tmp_path, *(f"tray/{name}.png" for name in names.split()))
    with pytest.raises(UserError, match="may be the day"):
        read_training_set(root)


def test_photos_of_two_phones(tmp_path: Path) -> None:
    moments = ("IMG_20240531_101500", "PXL_20240531_101530", "IMG_20240607_101500", "PXL_20240607_101530")
    assert len(read_training_set(add(tmp_path, *(f"P1/{name}.png" for name in moments))).files) == 4


def test_halves_of_days_of_two_plants_are_in_order_one_by_one(tmp_path: Path) -> None:
    rows = ["a.png,A,2.5", "b.png,A,9.5", "c.png,B,1.6", "d.png,B,8.6"]
    root = write(add(tmp_path, *(f"{name}.png" for name in "abcd")), "photos.csv", "photo,plant,day", *rows)
    assert len(read_training_set(root).files) == 4


@pytest.mark.parametrize("names", ["d07 d14", "P1_7d P1_14d", "7_days 14_days"])
def test_days_in_names_that_contradict_their_rows(tmp_path: Path, names: str) -> None:
    one, other = (f"{name}.png" for name in names.split())
    root = write(add(tmp_path, one, other), "photos.csv", "photo,plant,day", f"{one},P1,14", f"{other},P1,7")
    with pytest.raises(UserError, match="is of day 14, but .*7.* by its name"):
        read_training_set(root)


def test_the_same_number_in_all_names_is_no_day(tmp_path: Path) -> None:
    root = write(
        add(tmp_path, "d1_a.png", "d1_b.png"), "photos.csv", "photo,plant,day", "d1_a.png,P,14", "d1_b.png,P,7"
    )
    assert read_training_set(root).day.tolist() == [7, 14]


@pytest.mark.parametrize("rows", [("b,x", "x,a"), ("x,y", "y,z", "z,x")])
def test_pairs_that_come_before_one_another(tmp_path: Path, rows: tuple[str, ...]) -> None:
    root = add(tmp_path, "a.png", "b.png", *(f"test/P/{name}.png" for name in "xyz"))
    write(root, "photos.csv", "photo,plant,day", "a.png,P,0", "b.png,P,7")
    with pytest.raises(UserError, match="rows 2, 3.*: .* would come before one another; correct a row"):
        read_test_set(write(root, "pairs.csv", "before,after", *rows))
    assert len(read_test_set(write(root, "pairs.csv", "before,after", "a,x", "x,y", "y,b", "a,b")).before) == 4


@pytest.mark.parametrize(
    "names",
    [
        *("nach vor", "end start", "today yesterday", "evening morning", "first fourth second", "one three two"),
        *("day_one day_three day_two", "dritte erste zweite"),
    ],
)
def test_words_that_tell_another_order(tmp_path: Path, names: str) -> None:
    paths = [str(add(tmp_path, f"{name}.png") / f"{name}.png") for name in names.split()]
    with pytest.raises(UserError, match="but is the later one by its words; swap them"):
        read_given(paths, None)


@pytest.mark.parametrize(
    "names",
    ["1_evening 2_morning", "before after", "start end", "morning evening", "day_one day_two", "yesterday today"],
)
def test_words_that_tell_the_same_order(tmp_path: Path, names: str) -> None:
    paths = [str(add(tmp_path, f"{name}.png") / f"{name}.png") for name in names.split()]
    assert len(read_given(paths, None).before) == 1


@pytest.mark.parametrize(
    "names",
    [
        *("VIS_SV_0_z1 VIS_SV_90_z1", "sv_000 sv_090", "rot_0 rot_90", "0deg 90deg", "0° 90°", "화분1 화분2"),
        *("plant#1 plant#2", "plant_no_1 plant_no_2", "sample1 sample2"),
    ],
)
def test_views_and_plants_are_no_series(tmp_path: Path, names: str) -> None:
    root = add(tmp_path, *(f"{name}.png" for name in names.split()))
    with pytest.raises(UserError, match="may be photos of one plant, or each of another"):
        read_given([str(root)], None)


def test_a_camera_that_writes_four_digits_as_five(tmp_path: Path) -> None:
    root = add(tmp_path, *(f"DSC{number:05}.png" for number in (9998, 9999, 1, 2)))
    with pytest.raises(
        UserError, match="00001 may come before 09999, or after it if the camera began again after 9999"
    ):
        read_given([str(root)], None)
    for names in (("DSC00998.png", "DSC00999.png"), ("frame_00001.png", "frame_09500.png")):
        assert len(read_given([str(add(tmp_path / names[0], *names))], None).files) == 2


@pytest.mark.parametrize("plant", ["#¡REF!", "#¿NOMBRE?", "#N/B", "Err:508", "Loading...", "=A2", "〃", "ditto"])
def test_cells_that_name_no_plant(tmp_path: Path, plant: str) -> None:
    root = write(
        add(tmp_path, "a.png", "b.png"), "photos.csv", "photo,plant,day", f"a.png,{plant},1", f"b.png,{plant},2"
    )
    with pytest.raises(UserError, match="may be a missing value, or a name"):
        read_training_set(root)


@pytest.mark.parametrize("folder", ["IMG", "frame", "timelapse", "KW", "Week", "side", "cam"])
def test_a_folder_named_after_what_is_counted_makes_no_days(tmp_path: Path, folder: str) -> None:
    root = add(tmp_path, f"{folder}/{folder}_0001.png", f"{folder}/{folder}_0002.png")
    with pytest.raises(UserError, match="0001 may be day 1 or something else, by the word beside it"):
        read_training_set(root)
    assert read_training_set(add(tmp_path / "plants", "basil/basil_01.png", "basil/basil_02.png")).day.tolist() == [
        1,
        2,
    ]


@pytest.mark.parametrize(
    ("one", "other", "days"),
    [
        ("WhatsApp Image 2024-06-01 at 1.15.00 PM (1)", "WhatsApp Image 2024-06-02 at 1.15.00 PM", 1),
        ("WhatsApp Bild 2024-05-31 um 10.15.00", "WhatsApp Bild 2024-06-01 um 10.15.00", 1),
        ("Capture 2024-05-31 à 10.15.00", "Capture 2024-06-01 à 10.15.00", 1),
        ("2024年5月31日", "2024年6月1日", 1),
        ("31 de mayo de 2024", "1 de junio de 2024", 1),
        ("31st May 2024", "1st June 2024", 1),
        ("May 31st, 2024", "June 2nd, 2024", 2),
        ("2024-05-31 오전 10.15.00", "2024-05-31 오후 10.15.00", 0.5),
        ("P1_20230401_20240531", "P1_20230401_20240601", 1),  # the first one is of sowing
        ("DJI_20240531101500_0001_W", "DJI_20240601101500_0002_W", 1),
        ("SAM_0012_20240531", "SAM_0013_20240601", 1),
        ("KakaoTalk_Photo_2024-06-01-10-15-00 001", "KakaoTalk_Photo_2024-06-02-10-15-00 002", 1),
    ],
)
def test_dates_as_phones_write_them(tmp_path: Path, one: str, other: str, days: float) -> None:
    assert read_training_set(add(tmp_path, f"P/{one}.png", f"P/{other}.png")).day.tolist() == [0, days]


@pytest.mark.parametrize(
    ("one", "other", "days"),
    [
        ("2024년 5월 31일", "2024년 6월 1일", 1),
        ("31 May 2024", "1 June 2024", 1),
        ("2024-May-31", "2024-Jun-01", 1),
        ("20240531101500", "20240601221500", 1.5),
        ("20240531_101500", "20240601_101500", 1),
        ("2024. 5. 31. 오전 10:15:00", "2024. 5. 31. 오후 10:15:00", 0.5),
    ],
)
def test_dates_in_a_table(tmp_path: Path, one: str, other: str, days: float) -> None:
    root = write(
        add(tmp_path, "a.png", "b.png"), "photos.csv", "photo,plant,date", f"a.png,P,{one}", f"b.png,P,{other}"
    )
    assert read_training_set(root).day.tolist() == [0, days]


def test_rows_of_photos_where_fits_write(tmp_path: Path) -> None:
    names = [f"runs/one/x/{number}.png" for number in (1, 2)]
    root = add(tmp_path, *names, "P/1.png", "P/2.png")
    write(root, "photos.csv", "photo,plant,day", *(f"{name},Q,{day}" for day, name in enumerate(names)))
    with pytest.raises(UserError, match="runs/one/x/1.png is none by its suffix, or lies where fits write"):
        read_training_set(root)


def test_brackets_in_the_name_of_a_folder_that_is_there(tmp_path: Path) -> None:
    root = add(tmp_path, "pot [1]/1.png", "pot [1]/2.png", "pot 1/8.png")
    assert [path.name for path in expand("--images", f"{root}/pot [1]/*.png")] == ["1.png", "2.png"]
    assert [path.name for path in expand("--images", f"{root}/pot [0-9]/*.png")] == ["8.png"]
    add(root, "pot.png")
    assert [path.name for path in expand("--images", f"{root}/pot*/")] == ["pot 1", "pot [1]"]  # folders alone
