from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import UserError
from julia.data import CharacterData
from julia.files import CLASSES, read_test_set, read_training_set


@pytest.fixture
def root(julia_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(julia_root, tmp_path / "data"))


def edit(path: Path, change: Callable[[list[str]], list[str]], **options: str) -> None:
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n", **options)


def test_classes_are_in_the_competitions_order() -> None:
    assert (len(CLASSES), CLASSES.index("a"), CLASSES.index("A"), CLASSES.index("0")) == (62, 0, 26, 52)


def test_rows_follow_the_label_file(root: Path) -> None:
    edit(root / "trainLabels.csv", lambda lines: [lines[0], *reversed(lines[1:])])
    characters = read_training_set(root, "original")
    assert characters.ids[0] == "310"
    assert characters.files[0].name.name == "310.Bmp"
    last = (root / "trainLabels.csv").read_text().splitlines()[-1]
    assert CLASSES[characters.truth[-1]] == last.split(",")[1]


@pytest.mark.parametrize("variant", ["original", "resized"])
def test_zipped_is_as_good_as_unpacked(root: Path, variant: str) -> None:
    unpacked = read_training_set(root, variant)  # type: ignore[arg-type]
    for part in ("train", "test", "trainResized", "testResized"):
        with zipfile.ZipFile(root / f"{part}.zip", "w") as archive:
            for path in (root / part).iterdir():
                archive.write(path, f"{part}/{path.name}")
        shutil.rmtree(root / part)
    zipped = read_training_set(root, variant)  # type: ignore[arg-type]
    assert zipped.ids == unpacked.ids
    assert [file.name.name for file in zipped.files] == [file.name.name for file in unpacked.files]
    assert len(read_test_set(root, variant)[1]) == 31  # type: ignore[arg-type]


def test_names_in_another_case_are_named(root: Path) -> None:
    (root / "trainLabels.csv").rename(root / "trainlabels.csv")
    with pytest.raises(
        UserError, match=r"lacks trainLabels\.csv \(rename trainlabels\.csv to trainLabels\.csv\)\. Down"
    ):
        read_training_set(root, "original")
    (root / "train").rename(root / "Train")
    shutil.rmtree(root / "trainResized")
    with pytest.raises(UserError, match=r"lacks train\.zip or train \(rename Train to train\)"):
        read_training_set(root, "original")


def test_bitmaps_beside_those_of_almost_that_name(root: Path) -> None:
    shutil.make_archive(str(root / "train"), "zip", root, "train")
    (root / "train").rename(root / "Train")
    if not (root / "train").exists():  # as it does where case makes no difference
        with pytest.raises(
            UserError, match=r"train\.zip would be read, and another not \(rename Train to train\); keep"
        ):
            read_training_set(root, "original")
    (root / "train.zip").unlink()
    with pytest.raises(UserError, match=r"no train\.zip or train/ \(rename Train to train\) but trainResized: give"):
        read_training_set(root, "original")


def test_an_archive_of_other_bitmaps_beside_the_unpacked_ones(root: Path) -> None:
    (root / "train.zip").write_bytes(b"broken off")
    assert len(read_training_set(root, "original").ids) == 310
    with zipfile.ZipFile(root / "train.zip", "w") as archive:
        for path in (root / "train").iterdir():
            archive.write(path, f"train/{path.name}")
    assert len(read_training_set(root, "original").ids) == 310
    path = root / "train" / "8.Bmp"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # as long as before
    with pytest.raises(UserError, match=r"train\.zip hold different images \(8\.Bmp\); remove one of the two"):
        read_training_set(root, "original")
    path.write_bytes(content)
    (root / "train" / "7.Bmp").write_bytes((root / "train" / "7.Bmp").read_bytes() + b"0")
    with pytest.raises(UserError, match=r"train\.zip hold different images \(7\.Bmp\); remove one of the two"):
        read_training_set(root, "original")


@pytest.mark.parametrize("packed", [True, False])
def test_resized_bitmaps_within_the_originals_are_refused(root: Path, packed: bool) -> None:
    (root / "train").rename(root / "theirs")
    (root / "train").mkdir()
    (root / "theirs").rename(root / "train" / "trainResized")
    if packed:
        shutil.make_archive(str(root / "train"), "zip", root / "train")
        shutil.rmtree(root / "train")
    with pytest.raises(UserError, match=r"holds trainResized/ \(.*\.Bmp\), which may not belong to train; move it out"):
        read_training_set(root, "original")


def test_test_set_follows_the_sample_submission_or_the_ids(root: Path) -> None:
    edit(root / "sampleSubmission.csv", lambda lines: [lines[0], *reversed(lines[1:])])
    sample, files = read_test_set(root, "original")
    assert next(iter(sample.ids)) == "341"
    assert files[0].name.stem == "341"
    (root / "sampleSubmission.csv").unlink()
    sample, files = read_test_set(root, "original")
    assert list(sample.ids) == [str(number) for number in range(311, 342)]
    assert [file.name.stem for file in files] == list(sample.ids)


def test_a_sample_submission_of_another_name_is_named(root: Path) -> None:
    (root / "sampleSubmission.csv").rename(root / "SampleSubmission.csv")
    with pytest.raises(UserError, match=r"rename SampleSubmission\.csv to sampleSubmission\.csv"):
        read_test_set(root, "original")


def test_byte_order_mark_is_passed_over(root: Path) -> None:
    path = root / "trainLabels.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_training_set(root, "original").ids) == 310


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: ["id,class", *lines[1:]], r"the header is 'id, class', expected 'ID,Class'"),
        (lambda lines: ["ID,Class,More", *[line + ",x" for line in lines[1:]]], r"the header is 'ID, Class, More'"),
        (lambda lines: [*lines, lines[5]], r"ID 5 appears more than once, rows 6, 312"),
        (lambda lines: [*lines[:3], "3,é", *lines[4:]], r"row 4: Class is '\\xe9'; give one of a-z, A-Z, 0-9"),
        (lambda lines: [*lines[:3], "3,", *lines[4:]], r"column Class is empty in row 4"),
        (lambda lines: [*lines[:3], "3", *lines[4:]], r"row 4: not 2 cells"),
        (lambda lines: [*lines[:3], "3,a,b", *lines[4:]], r"row 4: not 2 cells"),
        (lambda lines: [*lines[:3], '3,"a', *lines[4:]], r"not a readable CSV"),
        (lambda lines: lines[:-2], r"2 bitmaps have no row in .*trainLabels\.csv: 309, 310"),
        (lambda lines: [*lines, "999,a"], r"1 ID has no bitmap in .*train: 999"),
        (lambda lines: lines[:1], r"no rows below the header"),
        (lambda lines: [], r"the header is ''|not a readable CSV"),
    ],
)
def test_faults_of_the_label_file(root: Path, change: Callable[[list[str]], list[str]], message: str) -> None:
    edit(root / "trainLabels.csv", change)
    with pytest.raises(UserError, match=message) as caught:
        read_training_set(root, "original")
    assert "trainLabels.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_that_are_no_text(root: Path) -> None:
    (root / "trainLabels.csv").write_bytes("ID,Class\n1,ä\n".encode("utf-16"))
    with pytest.raises(UserError, match="not UTF-8 text"):
        read_training_set(root, "original")


def test_sample_submission_with_other_ids(root: Path) -> None:
    edit(root / "sampleSubmission.csv", lambda lines: [*lines[:-1], "7,A"])
    with pytest.raises(UserError, match=r"sampleSubmission\.csv: 1 ID has no bitmap in .*test: 7"):
        read_test_set(root, "original")


def test_two_files_with_one_id(root: Path) -> None:
    shutil.copy(root / "train" / "7.Bmp", root / "train" / "7.png")
    with pytest.raises(UserError, match="two files with the ID 7"):
        read_training_set(root, "original")


def test_no_data_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"nowhere: no such folder.*kaggle\.com.*--data\.root.*python -m julia\.synthetic"
    ):
        read_training_set(tmp_path / "nowhere", "original")
    with pytest.raises(UserError, match=r"lacks train\.zip"):
        read_training_set(tmp_path, "original")


def test_only_the_resized_bitmaps_are_there(root: Path) -> None:
    shutil.rmtree(root / "train")
    with pytest.raises(UserError, match=r"give --data\.variant resized"):
        read_training_set(root, "original")
    assert len(read_training_set(root, "resized").ids) == 310


def test_empty_folder_of_bitmaps(root: Path) -> None:
    shutil.rmtree(root / "train")
    (root / "train").mkdir()
    with pytest.raises(UserError, match="no image files in it"):
        read_training_set(root, "original")


def test_a_sample_submission_without_classes_gives_the_order(root: Path) -> None:
    ids = read_test_set(root, "original")[0].ids
    edit(root / "sampleSubmission.csv", lambda lines: [lines[0], *(f"{name}," for name in reversed(ids))])
    assert read_test_set(root, "original")[0].ids == ids[::-1]


def test_what_is_no_table_is_not_passed_over(root: Path) -> None:
    (root / "sampleSubmission.csv").unlink()
    (root / "sampleSubmission.csv").symlink_to("gone.csv")
    with pytest.raises(UserError, match=r"sampleSubmission\.csv: no such file"):
        read_test_set(root, "original")
    (root / "trainLabels.csv").unlink()
    (root / "trainLabels.csv").mkdir()
    with pytest.raises(UserError, match=r"trainLabels\.csv: is a folder; give a file"):
        read_training_set(root, "original")


def test_files_of_equal_names_and_sizes_are_told_apart(root: Path) -> None:
    data = CharacterData(str(root), variant="resized")
    before = data.source()
    one, other = sorted((root / "testResized").iterdir(), key=lambda path: path.stat().st_size)[:2]
    assert one.stat().st_size == other.stat().st_size
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    assert CharacterData(str(root), variant="resized").source() != before
