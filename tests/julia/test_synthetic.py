import string
from pathlib import Path

import pytest
from PIL import Image

from julia import synthetic
from julia.fonts import Face, load_face, plain_faces

CLASSES = set(string.ascii_letters + string.digits)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("julia") / "set"
    synthetic.draw(root, train=130, test=20, seed=5)
    return root


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_layout_is_the_contest_s(drawn: Path) -> None:
    train, test = range(1, 131), range(131, 151)
    expected = {"trainLabels.csv", "sampleSubmission.csv"}
    for part, ids in (("train", train), ("test", test)):
        expected |= {f"{folder}/{item}.Bmp" for item in ids for folder in (part, f"{part}Resized")}
    assert set(contents(drawn)) == expected
    assert names(drawn.parent) == ["set"]
    labels = "".join(f"{item},{synthetic.label(5, item)}\n" for item in train)
    assert (drawn / "trainLabels.csv").read_bytes() == f"ID,Class\n{labels}".encode()
    blank = "".join(f"{item},A\n" for item in test)
    assert (drawn / "sampleSubmission.csv").read_bytes() == f"ID,Class\n{blank}".encode()


def test_each_class_appears_about_equally() -> None:
    labels = [synthetic.label(5, item) for item in range(1, 131)]
    assert set(labels[:62]) == set(labels) == CLASSES
    assert {labels.count(name) for name in CLASSES} == {2, 3}


def test_bitmaps_differ_in_size_mode_and_encoding(drawn: Path) -> None:
    modes: set[str] = set()
    encodings: set[str | None] = set()
    sizes: set[tuple[int, int]] = set()
    for path in sorted(drawn.glob("t*/*.Bmp")):
        with Image.open(path) as image:
            image.load()
            low, high = image.convert("L").getextrema()
            assert isinstance(low, int) and isinstance(high, int) and high - low > 20, f"{path}: nothing to see"
            if path.parent.name.endswith("Resized"):
                assert (image.size, image.format) == ((20, 20), "BMP")
            else:
                modes.add(image.mode)
                encodings.add(image.format)
                sizes.add(image.size)
                assert min(image.size) >= 14 and max(image.size) <= 150
    assert modes == {"L", "RGB"}
    assert encodings == {"BMP", "PNG"}
    assert len(sizes) > 100


def test_a_bitmap_depends_on_seed_and_id_alone(drawn: Path, tmp_path: Path) -> None:
    synthetic.draw(tmp_path / "same", train=130, test=20, seed=5)
    assert contents(tmp_path / "same") == contents(drawn)
    synthetic.draw(tmp_path / "fewer", train=62, test=1, seed=5)
    assert (tmp_path / "fewer/test/63.Bmp").read_bytes() == (drawn / "train/63.Bmp").read_bytes()
    synthetic.draw(tmp_path / "other", train=62, test=1, seed=6)
    other = contents(tmp_path / "other")
    assert not any(other[f"train/{item}.Bmp"] == (drawn / f"train/{item}.Bmp").read_bytes() for item in range(1, 63))


@pytest.mark.parametrize("face", plain_faces(), ids=lambda face: Path(face.path).stem)
def test_each_font_draws_62_different_characters(face: Face) -> None:
    shapes = set()
    for character in CLASSES:
        mask = load_face(face, 112).getmask(character)
        assert mask.getbbox() is not None, f"{face.path} draws nothing for {character}"
        shapes.add((mask.size, bytes(mask)))
    assert len(shapes) == 62, f"{face.path} draws two characters alike, as fonts do that lack them"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--train", "61"], "--train 61: give 62 or more, so that each of the 62 classes appears"),
        (["--test", "-1"], "--test -1: give 1 or more"),
        (["--seed", "-1"], "--seed -1: give 0 or more"),
        (["--train", "many"], "--train: invalid int value: 'many'"),
        (["--fonts", ""], "--fonts: is empty; give system, a folder or font files"),
        ([], "is not empty; choose another folder"),
    ],
)
def test_an_error_is_one_line_and_writes_nothing(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    if not flags:
        (root / "mine.txt").write_text("kept")
    with pytest.raises(SystemExit) as stop:
        synthetic.main([str(root), *flags])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
    assert names(tmp_path) == ["set"] and names(root) == ([] if flags else ["mine.txt"])


def test_an_empty_word_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        synthetic.main([""])
    assert "DIR: is empty; give a folder, or . for the current one" in capsys.readouterr().err
    assert names(tmp_path) == []


def test_main_tells_the_next_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "a set"
    synthetic.main([str(root), "--train", "62", "--test", "1"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"wrote 62 train and 1 test bitmaps to '{root}'; next: python -m julia fit --data.root '{root}'"
