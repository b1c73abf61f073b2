from __future__ import annotations

import re
import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from growth.days import read_days
from growth.marks import unambiguous_day
from tests.conftest import REAL_DATA

LATE = ", but not after the time of 2024-05-31_09-15-00, such as 2024-05-31 01.15 PM"


@pytest.mark.parametrize(
    ("stems", "days"),
    [
        ("DAT01 DAT2 DAT0010", [1, 2, 10]),
        ("DAT099 DAT100 DAT1000 DAT1001", [99, 100, 1000, 1001]),
        ("00000007 00000123 100000", [7, 123, 100_000]),
        ("BC_03_07 BC_03_DAT08 bc_03_09", [7, 8, 9]),
        ("BC_BC_03_07 BC_08", [7, 8]),
        ("DAT-07 DAT-10", [7, 10]),
        ("DAT07a DAT08d", [7, 8]),
        ("07d 08days 9일", [7, 8, 9]),
        ("plant_2024-05-31 plant_2024-06-01", [0, 1]),
        ("20240228 2024_03_01 2024.3.2", [0, 2, 3]),
        ("2023-12-31 2024-01-01", [0, 1]),
        ("2024년5월31일 2024년06월01일", [0, 1]),
        ("31-05-2024 30-05-2024 05-05-2024", [26, 25, 0]),
        ("IMG_20240531_101500 IMG_20240601_221500", [0, 1.5]),
        ("PXL_20240531_101500123 PXL_20240531_221500123", [0, 0.5]),
        ("PXL_20240531_101500123~2 20240531_221500123(0)", [0, 0.5]),
        ("signal-2024-05-31-10-15-00-123 IMG_20240601_101500_456", [0, 1]),
        ("20240531_101500_001 20240531_101500_002", [0, 0]),  # cameras or milliseconds: one moment
        ("20240531_101500123 2024-05-31_10-15-00.456", [0, 0]),
        ("2024-05-31T10.15.00 2024-06-01T22:15:00 2024-06-02T101500", [0, 1.5, 2]),
        ("2024-05-31T10.15.00UTC 2024-06-01T10.15.00UTC", [0, 1]),
        ("20240531_101500_EDIT 20240601_101500", [0, 1]),
        ("2024-05-31T10 2024-05-31T16 2024-05-31_22-00", [0, 0.25, 0.5]),
        ("20240531101500 20240601101500", [0, 1]),
        ("20240531T1001 2024-06-01_10h01 2024.06.02-10.01.00", [0, 1, 2]),
        ("20240531_1001 20240601_1001", [0, 1]),  # the same of all, whatever it means
        ("AM1_2024-05-31_AM AM1_2024-06-01_AM", [0, 1]),
        ("BR017-209111-2018-06-06_00_VIS_sv_000 BR017-209111-2018-06-09_00_VIS_sv_000", [0, 3]),
        ("20240531_9999_cam1 20240601_9999_cam1", [0, 1]),
        ("524 531", [524, 531]),  # seven days apart, also as May 24 and 31
        ("101 115 143", [101, 115, 143]),
        ("DAT531 DAT607", [531, 607]),
    ],
)
def test_a_name_that_can_be_read_in_one_way(stems: str, days: list[float]) -> None:
    found, faults = read_days("BC", "BC_03", stems.split())
    assert not any(faults)
    assert found == pytest.approx(days)


@pytest.mark.parametrize(
    ("stems", "fault"),
    [
        ("DAT01_cam01 DAT02_cam01", "DAT01 or cam01 may be the day"),
        ("pre_d6 d0 d3", "d6 may be day 6 or day -6"),
        ("3d_before 7d_after", "3 may be day 3 or day -3"),
        ("7_days_left 3_days_left", "7 may be day 7 or day -7"),
        ("10_days_ago", "10 may be day 10 or day -10"),
        ("2024-05-31_09-15-00午前 2024-05-31_03-15-00午後", f"AM or PM{LATE}"),
        ("2024-05-31_09-15-00_matin 2024-05-31_03-15-00_soir", f"AM or PM{LATE}"),
        ("2024-05-31 2024-05-31_(2)", "2024-05-31 alone, unlike others of the plant"),
        ("07_Wochen 08_Wochen", "07 may be day 7 or something else, by the word beside it"),
        ("31_Mai 01_Juni", "31 may be day 31 or something else, by the word beside it"),
        ("photo(1) photo(2)", "1 may be day 1 or something else, by the word beside it"),
        ("KW'22 KW'23", "22 may be day 22 or something else, by the word beside it"),
        ("DAS20 DAT07 DAT14", "DAS and DAT count days from different events; write them alike"),
        ("20das 7dat", "DAS and DAT count days from different events; write them alike"),
        ("0800 1600", "0800 may be day 800 or the time 08:00"),
        ("093500 094000", "093500 may be day 93500 or the time 09:35"),
        (
            "2024-05-31_morning 2024-06-01_evening",
            "AM or PM, but not after the time of 2024-05-31, such as 2024-05-31 01.15 PM",
        ),
        ("2024-03-30_12-00-00(CET) 2024-04-01_12-00-00(CEST)", "a time of day of CET, unlike others of the plant"),
        ("BC_04_07", "04 or 07 may be the day"),
        ("DAT01(1)", "DAT01 or 1 may be the day"),
        ("DAT1.5", "DAT1 or 5 may be the day"),
        ("1e9", "1 or e9 may be the day"),
        ("03-04-2024", "03-04-2024 may be 2024-04-03 or 2024-03-04"),
        ("24-05-31", "24 or 05 or 31 may be the day"),
        ("2024-05-31(1) 2024-05-31(2)", "2024-05-31 or 1 may be the day"),
        ("2024-05-31_10-15(1) 2024-05-31_10-15(2)", "2024-05-31_10-15 or 1 may be the day"),
        ("202405311015_001 202406011015_002", "202405311015 or 001 may be the day"),
        ("20240531_101500_1 20240601_101500_2", "20240531_101500 or 1 may be the day"),
        ("240531", "240531 may be day 240531 or 2024-05-31 or 2031-05-24"),
        ("010203", "010203 may be day 10203 or 2001-02-03 or 2003-02-01 or 2003-01-02"),
        ("0531", "0531 may be day 531 or May 31"),
        ("531 607", "531 may be day 531 or the date 5-31"),
        ("2021", "2021 may be day 2021 or a year"),
        ("2024-05-01_2024-05-31", "2024-05-01 or 2024-05-31 may be the day"),
        ("2024-05-31_7 2024-06-01_8", "2024-05-31 or 7 may be the day"),
        ("BR017_2024-05-31_00_7 BR017_2024-06-01_00_8", "2024-05-31 or 7 may be the day"),  # not what all names have
        ("DAT07_2024-05-31 DAT08_2024-06-01", "DAT07 or 2024-05-31 may be the day"),
        ("KW22 KW23", "KW22 may be day 22 or something else, by the word beside it"),
        ("frame_0001 frame_0010", "0001 may be day 1 or something else, by the word beside it"),
        ("07WAP 08WAP", "07 may be day 7 or something else, by the word beside it"),
        ("week1 week2", "week1 may be day 1 or something else, by the word beside it"),
        ("May31 Jun01", "May31 may be day 31 or something else, by the word beside it"),
        ("24h 48h", "24 may be day 24 or something else, by the word beside it"),
        ("3주차", "3 may be day 3 or something else, by the word beside it"),
        ("IMG_4021 IMG_4022", "4021 may be day 4021 or something else, by the word beside it"),
        ("cam1 cam2", "cam1 may be day 1 or something else, by the word beside it"),
        ("DAT-1 DAT-2", "-1 may be day 1 or day -1"),
        ("DAT-02 DAT00", "-02 may be day 2 or day -2"),
        ("2024-13-40 2024-05-31", "2024-13-40 is neither a date nor a day up to 100,000"),
        ("20241340", "20241340 is neither a date nor a day up to 100,000"),
        ("2023-02-29", "2023-02-29 is neither a date nor a day up to 100,000"),
        ("100001", "100001 is neither a date nor a day up to 100,000"),
        ("IMG_123456789", "123456789 is neither a date nor a day up to 100,000"),
        ("DAT١٢", "DAT١٢ is neither a date nor a day up to 100,000"),
        ("DAT１２", "DAT１２ is neither a date nor a day up to 100,000"),
        ("DAT²³", "DAT²³ is neither a date nor a day up to 100,000"),
        ("DAT", "no number"),
        ("DAT01 2024-05-31", "DAT01 is a number, unlike others of the plant"),
        ("2024-05-31 DAT01", "2024-05-31 is a date, unlike others of the plant"),
        ("2024-05-31 2024-06-01T10.15", "no time of day, unlike others of the plant"),
        ("20240531_0001 20240601_0002", "0001 may be the time 00:01, if so to be written T0001, or a number"),
        ("P1-2024-05-31-1001 P1-2024-05-31-1002", "1001 may be the time 10:01, if so to be written T1001, or a number"),
        ("202405311001 202406011002", "1001 may be the time 10:01, if so to be written T1001, or a number"),
        ("20240531_1001 20240601", "1001 may be the time 10:01, if so to be written T1001, or a number"),
        ("2024-05-31_13.15PM 2024-05-31_01.15PM", "13.15PM may be a time of 24 hours, or a misspelt one of 12"),
        ("2024-05-31_0.15PM 2024-05-31_1.15PM", "0.15PM may be a time of 24 hours, or a misspelt one of 12"),
        ("2024-05-31_09.15AM 2024-05-31_17.15", "a time with AM or PM, unlike others of the plant"),
        ("2024-05-31_AM 2024-06-01_PM", "AM or PM, but not after the time of 2024-05-31, such as 2024-05-31 01.15 PM"),
        ("2024-05-31_0115PM2 2024-06-01_0115AM2", "2024-05-31 or PM2 may be the day"),
        ("20240531T071500Z 20240601T071500", "a time of day of Z, unlike others of the plant"),
        ("2024-03-30_12-00-00_CET 2024-04-01_12-00-00_CEST", "a time of day of CET, unlike others of the plant"),
        ("7PM 8PM", "7 may be day 7 or something else, by the word beside it"),
    ],
)
def test_a_name_that_can_be_read_in_none_or_two_ways(stems: str, fault: str) -> None:
    days, faults = read_days("BC", "BC_03", stems.split())
    assert not days
    assert faults[0] == fault


@pytest.mark.parametrize(
    ("names", "hours"),
    [
        ("2024-05-11 at 09.15.00 AM, 2024-05-11 at 05.15.00 PM", 8),
        ("Screenshot 2024-05-31 at 9.15.00\u202fAM, Screenshot 2024-05-31 at 10.15.00\u202fPM", 13),
        ("2024-05-31_1215AM, 2024-05-31_1215PM", 12),
        ("2024-05-31_12.00.30 am, 2024-05-31_01.00.30 am", 1),
        ("2024-05-31 11-15 am, 2024-05-31 01-15 pm", 2),
        ("20240531_111500_AM, 20240531_011500_PM", 2),
        ("20240531 115 AM, 20240531 0115 PM", 12),
        ("2024-05-31 9 a.m., 2024-05-31 9 p.m.", 12),
        ("31-05-2024 11.59 (AM), 31-05-2024 12.29 (PM)", 0.5),
        ("2024년5월31일 1.15 오전, 2024년5월31일 1.15 오후", 12),
        ("2024-05-31 13.15 PM, 2024-06-01 13.15 PM", 24),  # the same of both, whatever it means
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])  # macOS decomposes letters
def test_a_clock_of_12_hours(names: str, hours: float, form: Literal["NFC", "NFD"]) -> None:
    found, faults = read_days("BC", "BC_03", unicodedata.normalize(form, names).split(", "))
    assert not any(faults)
    assert found == pytest.approx([0, hours / 24])


@pytest.mark.parametrize(
    ("plant", "stems", "days"),
    [
        ("1", "1 2 12", [1, 2, 12]),
        ("1", "1_2 1_13", [2, 13]),
        ("1088", "BC_1088_00010 1088_00011", [10, 11]),
        ("2021", "2021-05-01 2021-05-03", [0, 2]),
        ("20240531", "20240531_07 20240531_08", [7, 8]),
        ("a+(b", "a+(b_1 a+(b_2", [1, 2]),
    ],
)
def test_the_name_of_the_folder_is_not_the_day(plant: str, stems: str, days: list[float]) -> None:
    assert read_days("BC", plant, stems.split()) == (days, [""] * len(days))


def test_folders_and_names_may_spell_letters_in_two_ways() -> None:
    composed, decomposed = (unicodedata.normalize(form, "시험1") for form in ("NFC", "NFD"))
    for plant in (composed, decomposed):
        assert read_days("BC", plant, [f"{composed}_07", f"{decomposed}_09"]) == ([7, 9], ["", ""])


def test_of_an_impossible_date_and_a_possible_one_the_latter_is_told() -> None:
    told = unambiguous_day("2024-13-45T10.15_2024-05-31")
    assert told is not None and (told.text, told.clock) == ("2024-05-31", "")


@given(days=some.lists(some.integers(0, 100_000), min_size=1, max_size=5))
def test_every_day_is_read_as_it_was_written(days: list[int]) -> None:
    for form in ("DAT{}", "DAT{:02}", "BC_03_DAT{:06}"):
        assert read_days("BC", "BC_03", [form.format(day) for day in days]) == (days, [""] * len(days))


@given(dates=some.lists(some.datetimes(), min_size=1, max_size=5))
def test_every_date_is_read_as_it_was_written(dates: list) -> None:
    dates = [date.replace(year=2000 + date.year % 100, day=min(date.day, 28), microsecond=0) for date in dates]
    days = [(date - min(dates)).total_seconds() / 86400 for date in dates]
    for form in (
        "%Y-%m-%dT%H.%M.%S",
        "%Y%m%d_%H%M%S",
        "x %Y_%m_%d_%H_%M_%S",
        "%Y.%m.%d at %H-%M-%S",
        "%Y%m%d%H%M%S",
        "%Y-%m-%d %I.%M.%S %p",
    ):
        found, faults = read_days("BC", "BC_03", [date.strftime(form) for date in dates])
        assert not any(faults), faults
        assert found == pytest.approx(days)


def test_real_names_with_dates() -> None:
    root = REAL_DATA / "rape"
    if not root.is_dir():
        pytest.skip(f"no real data in {root}")
    stems = sorted(path.stem for path in root.glob("*_sv_000.jpg"))
    for plant in sorted({stem.split("-")[1] for stem in stems}):
        own = [stem for stem in stems if stem.split("-")[1] == plant]
        days, faults = read_days("BN", plant, own)
        assert not any(faults)
        dates = [re.search(r"2018-(..)-(..)", stem) for stem in own]
        assert len(set(days)) == len(own) == len(dates)
        assert max(days) < 100
