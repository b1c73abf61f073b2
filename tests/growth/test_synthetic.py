import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops
from sklearn.neural_network import MLPRegressor

from growth import synthetic
from growth.pots import Pot
from growth.trays import SPOTS, Tray

SMALL: dict[str, Any] = {
    "plants": 2,
    "days": 8,
    "test_plants": 2,
    "test_pairs": 40,
    "width": 96,
    "height": 72,
    "seed": 5,
    "scene": "pots",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("growth") / "set"
    synthetic.draw(root, **SMALL)
    return root


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def excess_green(image: Image.Image) -> int:
    """Return the number of pixels whose share of green is above that of any ground."""
    red, green, blue = np.moveaxis(np.asarray(image, np.float64), 2, 0)
    return int(((2 * green - red - blue) / (red + green + blue + 1) > 0.2).sum())


def test_layout_is_the_contest_s(drawn: Path) -> None:
    files = set(contents(drawn))
    train = {f"train_dataset/{s}/{s}_0{n}/DAT0{day}.png" for s in ("BC", "LT") for n in (1, 2) for day in range(1, 9)}
    assert {name for name in files if name.startswith("train")} == train
    photos = sorted(name for name in files if name.startswith("test") and name.endswith(".png"))
    assert len(photos) == 2 * 2 * 8
    for name in photos:
        _, species, plant, file = name.split("/")
        assert species in ("BC", "LT") and len(plant) == 4 and file.startswith(f"idx_{species}_{plant}_")
        assert len(Path(file).stem.split("_")[3]) == 5
    assert files - train - set(photos) == {"test_dataset/test_data.csv", "sample_submission.csv"}
    assert names(drawn.parent) == ["set"]
    blank = "".join(f"{row},-1\n" for row in range(40))
    assert (drawn / "sample_submission.csv").read_bytes() == f"idx,time_delta\n{blank}".encode()


def test_photos_have_the_size_asked_for(drawn: Path) -> None:
    for path in drawn.rglob("*.png"):
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (96, 72))


def test_pairs_are_two_days_of_one_plant(drawn: Path) -> None:
    text = (drawn / "test_dataset/test_data.csv").read_bytes().decode()
    assert text.startswith("idx,before_file_path,after_file_path\n0,idx_") and "\r" not in text and '"' not in text
    rows = list(csv.DictReader(text.splitlines()))
    truth = synthetic.pairs(synthetic.plan_of(plants=2, test_plants=2, test_pairs=40, days=8, seed=5), 5)
    assert [row["idx"] for row in rows] == [str(number) for number in range(40)]
    assert [(row["before_file_path"], row["after_file_path"]) for row in rows] == [pair[:2] for pair in truth]
    plants, named_in_order = set(), 0
    for before, after, elapsed in truth:
        _, species, plant, number = before.split("_")
        plants.add((species, plant))
        assert after.startswith(f"idx_{species}_{plant}_") and 1 <= elapsed <= 7
        home = drawn / "test_dataset" / species / plant
        assert (home / f"{before}.png").is_file() and (home / f"{after}.png").is_file()
        named_in_order += number < after.split("_")[3]
        if species == "BC" and elapsed > 1:
            assert excess_green(Image.open(home / f"{before}.png")) < excess_green(Image.open(home / f"{after}.png"))
    assert len(plants) == 4
    assert 8 < named_in_order < 32, "the names tell which photo is the later one"


@pytest.mark.parametrize("species", ["BC", "LT"])
@pytest.mark.parametrize("number", [1, 2, 1000])
def test_a_plant_grows_to_the_last_day(species: str, number: int) -> None:
    plant = Pot(0, species, number, (160, 120))
    days = [*range(1, 21), 30, 40, 50, 60]
    scene = ImageChops.multiply(plant._ground, plant._light).resize((160, 120))
    bare = np.asarray(scene, np.float64)
    areas = [(np.abs(np.asarray(plant.photo(day), np.float64) - bare).max(axis=2) > 30).sum() for day in days]
    ranks = np.argsort(np.argsort(areas))
    assert np.corrcoef(ranks, np.arange(len(days)))[0, 1] > 0.9
    assert areas[19] > 4 * areas[0] and areas[-1] > 1.2 * areas[20]


def test_a_photo_depends_on_seed_plant_and_day_alone(drawn: Path, tmp_path: Path) -> None:
    whole = contents(drawn)
    synthetic.draw(tmp_path / "same", **SMALL)
    assert contents(tmp_path / "same") == whole
    synthetic.draw(tmp_path / "fewer", **{**SMALL, "plants": 1, "days": 3, "test_plants": 1, "test_pairs": 1})
    fewer = {name: data for name, data in contents(tmp_path / "fewer").items() if name.endswith(".png")}
    assert len(fewer) == 12 and fewer.items() <= whole.items()
    synthetic.draw(tmp_path / "other", **{**SMALL, "plants": 1, "seed": 6})
    other = contents(tmp_path / "other")
    assert not any(whole.get(name) == data for name, data in other.items() if name.endswith("png"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--plants", "-1"], "--plants -1: give from 1 to 500"),
        (["--days", "1"], "--days 1: give from 2 to 60"),
        (["--width", "10001"], "--width 10001: give from 32 to 10000, in pixels"),
        (["--height", "31"], "--height 31: give from 32 to 10000, in pixels"),
        (["--test-pairs", "0"], "--test-pairs 0: give 1 or more"),
        (["--days", "few"], "--days: invalid int value: 'few'"),
        (["--noise", "3"], "--noise 3: photos are swapped by twos; give an even number"),
        (["--noise", "24"], "--noise 24: give from 0 to 20"),
        (["--scene", "field"], "argument --scene: invalid choice: 'field'"),
        (["--like", "dacon", "--days", "9"], "--days 9: --like dacon has numbers of its own; leave one of them out"),
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


def test_main_tells_the_next_command_and_takes_narrow_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "set"
    counts = ["--plants", "1", "--days", "2", "--test-plants", "1", "--test-pairs", "3"]
    synthetic.main([str(root), *counts, "--width", "32", "--height", "2000"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"wrote 8 photos and 3 test pairs to {root}; next: python -m growth fit --data.root {root}"


def test_the_competition_s_numbers() -> None:
    plan = synthetic.dacon_plan(seed=0)
    for species, trays, photos, tested in (("BC", 9, 353, 139), ("LT", 10, 400, 168)):
        days = [days for name, _, days in plan.train if name == species]
        assert (len(days), sum(days)) == (trays, photos)
        assert sum(days for name, _, days in plan.test if name == species) == tested
    assert len(synthetic.pairs(plan, 0)) == 3960
    assert len({number for _, number, _ in plan.test}) == len(plan.test)


def leaves_of(photo: Image.Image) -> np.ndarray:
    """Tell leaves, green or red, from what is white, grey and bluish: H×W, bool."""
    red, green, blue = np.moveaxis(np.asarray(photo, np.float64), 2, 0)
    found: np.ndarray = np.maximum(red, green) > 1.15 * blue
    return found


@pytest.mark.parametrize("species", ["BC", "LT"])
def test_five_plants_of_unequal_size_grow_on_a_tray(species: str) -> None:
    ratios, shares = [], []
    for number in range(1, 7):
        tray = Tray(0, species, number, (328, 246))
        covered = [leaves_of(tray.photo(day)).mean() for day in (1, 10, 20, 30, 40)]
        assert all(later > 1.1 * earlier for earlier, later in zip(covered[:-1], covered[1:], strict=True))
        assert covered[0] < 0.01
        shares.append(covered[-1])
        middle = leaves_of(tray.photo(20))
        spots = np.array([246, 328]) * (0.5 + SPOTS[:, ::-1])
        nearest = np.argmin([np.hypot(*(np.indices(middle.shape).T - spot).T) for spot in spots], axis=0)
        areas = sorted(int((middle & (nearest == one)).sum()) for one in range(5))
        assert areas[0] > 0
        ratios.append(areas[-1] / areas[0])
    assert 0.25 < np.mean(shares) < 0.6
    assert 2 < np.median(ratios) < 12


def test_the_surroundings_do_not_tell_the_day() -> None:
    trays = [Tray(0, species, number, (164, 123)) for species in ("BC", "LT") for number in range(1, 7)]
    days = np.arange(1, 41, 3)
    borders, plants = [], np.repeat(np.arange(len(trays)), len(days))
    for tray in trays:
        for day in days.tolist():
            pixels = np.asarray(tray.photo(day).resize((20, 16)), np.float32) / 255
            borders.append(np.concatenate([pixels[:, :1].ravel(), pixels[:, -1:].ravel()]))
    ages, x = np.tile(days, len(trays)), np.stack(borders)
    guessed = np.empty(len(ages))
    for fold in range(4):
        own = plants % 4 == fold
        network = MLPRegressor(hidden_layer_sizes=(64,), max_iter=400, random_state=0).fit(x[~own], ages[~own] / 40)
        guessed[own] = 40 * network.predict(x[own])
    before, after = np.nonzero((plants[:, None] == plants) & (ages[:, None] < ages))
    elapsed = ages[after] - ages[before]
    error = np.sqrt(np.mean((guessed[after] - guessed[before] - elapsed) ** 2))
    assert error > 0.95 * elapsed.std()  # no better than the mean
    correlation = np.corrcoef(guessed[after] - guessed[before], elapsed)[0, 1]
    assert abs(correlation) < 0.2


def test_noise_swaps_the_days_of_two_photos(tmp_path: Path) -> None:
    sets = {}
    for noise in (0, 2):
        root = tmp_path / str(noise)
        synthetic.main(
            [str(root), "--plants", "1", "--days", "4", "--width", "64", "--height", "48", "--noise", str(noise)]
        )
        sets[noise] = contents(root)
    changed = [name for name, data in sets[0].items() if sets[2][name] != data]
    assert len(changed) == 2 and all("train_dataset" in name for name in changed)
    one, other = changed
    assert (sets[2][one], sets[2][other]) == (sets[0][other], sets[0][one])
