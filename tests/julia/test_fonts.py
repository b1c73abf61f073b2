"""Fonts are found, checked and drawn with; what a font would teach wrongly is left out, and said."""

import io
import zipfile
from collections import Counter
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.ttLib import TTCollection, TTFont
from fontTools.ttLib.tables.DefaultTable import DefaultTable
from PIL import Image

from common.errors import UserError
from julia import synthetic
from julia.files import CLASSES, read_test_set, read_training_set
from julia.fonts import Face, find_faces, plain_faces
from julia.street import draw_character

CARRIED = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SANS, SERIF = CARRIED / "DejaVuSans.ttf", CARRIED / "DejaVuSerif.ttf"


def changed(target: Path, glyphs: dict[str, str | None], source: Path = SANS) -> Path:
    """Write a copy of a font in which characters (keys) are drawn as others (values) or are absent (None)."""
    font = TTFont(source)
    names = dict(font.getBestCmap())
    for table in font["cmap"].tables:
        for character, other in glyphs.items():
            if other is None:
                table.cmap.pop(ord(character), None)
            elif ord(character) in table.cmap:
                table.cmap[ord(character)] = names[ord(other)]
    font.save(target)
    return target


def reasons(*given: Path) -> dict[str, str]:
    """Say of each file why it is left out, with one that is not beside them."""
    table = find_faces([*map(str, given), str(SERIF)])[1]
    return dict(zip(table["file"], table["left_out"], strict=True))


def test_every_plain_face_can_be_used_and_families_are_told() -> None:
    families, table = find_faces([face.path for face in plain_faces()])
    assert set(table["left_out"]) == {""}
    sizes = {faces[0].family: len(faces) for faces in families}
    assert sizes["DejaVu Sans"] == 4 and sizes["DejaVu Sans Mono"] == 4 and sizes["DejaVu Serif"] == 4
    assert sum(sizes.values()) == len(plain_faces()) == 20
    assert table["licence"].str.contains("Bitstream").sum() >= 12


def test_symbols_capitals_and_damaged_files_are_left_out(tmp_path: Path) -> None:
    capitals = changed(tmp_path / "capitals.ttf", {small: small.upper() for small in "abcdefghijklmnopqrstuvwxyz"})
    lacking = changed(tmp_path / "lacking.ttf", {"7": None, "q": None})
    shifted: dict[str, str | None] = dict(zip(CLASSES, CLASSES[13:] + CLASSES[:13], strict=True))
    wrong = changed(tmp_path / "wrong.ttf", shifted)
    blank = changed(tmp_path / "blank.ttf", {"x": " "})
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(SANS.read_bytes()[:3000])
    found = reasons(capitals, lacking, wrong, blank, broken, CARRIED / "cmsy10.ttf", CARRIED / "STIXSizOneSymReg.ttf")
    assert found["DejaVuSerif.ttf"] == ""
    assert found["capitals.ttf"] == "has capitals for lower case"
    assert found["lacking.ttf"] == "lacks 7, q"
    assert found["wrong.ttf"] == "does not draw what can be read as the characters"
    assert found["blank.ttf"] == "draws nothing for some characters"
    assert found["broken.ttf"].startswith("cannot be read: ")
    assert found["cmsy10.ttf"] and found["STIXSizOneSymReg.ttf"]


def test_each_face_of_a_collection_is_looked_at(tmp_path: Path) -> None:
    collection = TTCollection()
    collection.fonts = [TTFont(SANS), TTFont(SERIF)]
    collection.save(tmp_path / "both.ttc")
    font = TTFont(SANS)
    font.flavor = "woff"
    font.save(tmp_path / "web.woff")
    families, _ = find_faces([str(tmp_path)])
    assert [[(face.family, face.number) for face in faces] for faces in families] == [
        [("DejaVu Sans", 0), ("DejaVu Sans", 0)],  # the latter of web.woff
        [("DejaVu Serif", 1)],
    ]
    shapes = [np.asarray(draw_character("R", [faces], np.random.default_rng(1)).resize((9, 9))) for faces in families]
    assert not np.array_equal(*shapes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("absent", "--fonts {given}: no such file or folder; give system, a folder or font files"),
        ("", "--fonts {given}: none of 0 font files can be used: there are none"),
        ("note.txt", "--fonts {given}: none of 1 font files can be used: note.txt cannot be read: "),
    ],
)
def test_fonts_that_cannot_be_used_are_refused(tmp_path: Path, given: str, message: str) -> None:
    (tmp_path / "note.txt").write_text("no font")
    path = tmp_path / given
    with pytest.raises(UserError) as caught:
        synthetic.draw(tmp_path / "set", 62, 1, 0, [str(path)])
    assert str(caught.value).startswith(message.format(given=path))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["note.txt"]


def test_a_folder_called_system_is_not_taken_for_the_installed_fonts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / SANS.name).write_bytes(SANS.read_bytes())
    with pytest.raises(UserError, match=r"the installed fonts, or system in this folder\? Give \./system"):
        find_faces(["system"])
    families, _ = find_faces(["./system"])
    assert [[face.family for face in faces] for faces in families] == [["DejaVu Sans"]]


def test_a_family_of_many_faces_is_drawn_as_often_as_one_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    many, few = [Face(str(SANS), 0, "many", str(style)) for style in range(9)], [Face(str(SERIF), 0, "few")]
    drawn: Counter[str] = Counter()
    from julia import street

    def note(character: str, face: Face, rng: np.random.Generator) -> None:
        drawn[face.family] += 1
        raise InterruptedError

    monkeypatch.setattr(street, "_lay_out", note)
    for seed in range(400):
        with pytest.raises(InterruptedError):
            draw_character("R", [many, few], np.random.default_rng(seed))
    assert abs(drawn["many"] - 200) < 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fonts") / "set"
    synthetic.draw(folder, 310, 20, 3, [str(SANS), str(SERIF)], "competition")
    return folder


def bitmaps(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_set_is_laid_out_as_the_competition_s(root: Path) -> None:
    assert {path.name for path in root.iterdir()} == {
        *("train.zip", "trainResized.zip", "test.zip", "testResized.zip"),
        *("trainLabels.csv", "sampleSubmission.csv", "fonts.csv"),
    }
    for variant in ("original", "resized"):
        assert len(read_training_set(root, variant).files) == 310  # type: ignore[arg-type]
        assert len(read_test_set(root, variant)[1]) == 20  # type: ignore[arg-type]
    assert read_training_set(root, "original").ids[:2] == ["drawn_1", "drawn_2"]  # no IDs of the competition
    labels = Counter(CLASSES[index] for index in read_training_set(root, "original").truth)
    capitals = sum(labels[name] for name in CLASSES if name.isupper())
    assert 0.55 < capitals / 310 < 0.85  # 0.70 of the competition's, 0.42 of even frequencies
    assert labels["A"] > 3 * labels["Q"]


def test_a_bitmap_depends_on_seed_and_id_alone(root: Path, tmp_path: Path) -> None:
    synthetic.draw(tmp_path / "fewer", 62, 1, 3, [str(SERIF), str(SANS)], "competition")
    fewer, more = bitmaps(tmp_path / "fewer/train.zip"), bitmaps(root / "train.zip")
    assert fewer == {name: more[name] for name in fewer} and len(fewer) == 62
    synthetic.draw(tmp_path / "other", 62, 1, 4, [str(SERIF), str(SANS)], "competition")
    other = bitmaps(tmp_path / "other/train.zip")
    assert not any(other[name] == more[name] for name in other)


def test_drawn_bitmaps_show_something_in_many_sizes(root: Path) -> None:
    sizes, plain = set(), 0
    for content in bitmaps(root / "train.zip").values():
        with Image.open(io.BytesIO(content)) as image:
            sizes.add(image.size)
            low, high = image.convert("L").getextrema()
            plain += high - low < 8  # type: ignore[operator]
            assert 8 <= image.width <= 200 and 14 <= image.height <= 160
    assert len(sizes) > 200
    assert plain <= 3


def test_fonts_with_trailing_bytes_in_a_table_are_used_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    font = TTFont(SANS)
    font["cmap"], font["name"]  # read before the file is written anew
    post = DefaultTable("post")
    post.data = font.reader["post"] + b"\x03abc"  # a name that no glyph has
    font.tables["post"] = post
    font.save(tmp_path / "long.ttf")
    assert reasons(tmp_path / "long.ttf")["long.ttf"] == ""
    assert caplog.messages == []


def test_a_font_given_twice_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.ttf").write_bytes(SANS.read_bytes())
    assert len(find_faces(["one.ttf", "./one.ttf", str(tmp_path)])[1]) == 1
