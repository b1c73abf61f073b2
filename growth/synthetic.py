"""Draw growing plants in the layout of DACON 235851, to try the programs without the real photos."""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from common.errors import UserError, counted, exit_on_user_error
from common.files import new_folder
from common.platforms import quoted, spread_out
from common.synthetic import Parser, check_range
from growth.leaves import SPECIES
from growth.pots import Pot
from growth.trays import DAYS, Tray

Scene = Literal["trays", "pots"]
SCENES: dict[str, type[Tray] | type[Pot]] = {"trays": Tray, "pots": Pot}
MANY = 40_000_000  # pixels above which several processes draw

_NAMES = 3  # in place of the species in the seeds of random streams that belong to no plant


class Plan(NamedTuple):
    """What to draw: species, number and days of each training and each test plant, and the number of test pairs."""

    train: list[tuple[str, int, int]]
    test: list[tuple[str, int, int]]
    test_pairs: int


def plan_of(*, plants: int, days: int, test_plants: int, test_pairs: int, seed: int) -> Plan:
    """Plan a set with the same number of plants of each species, all on the same number of days.

    Raises:
        UserError: a number is out of range.
    """
    check_range("--plants", plants, 1, 500)
    check_range("--days", days, 2, DAYS, "as plants are full-grown by then")
    check_range("--test-plants", test_plants, 1, 500)
    check_range("--test-pairs", test_pairs, 1)
    check_range("--seed", seed, 0)
    train = [(species, number, days) for species in SPECIES for number in range(1, plants + 1)]
    test = [(species, number, days) for species in SPECIES for number in _numbers(seed, species, test_plants)]
    return Plan(train, test, test_pairs)


def dacon_plan(seed: int) -> Plan:
    """Plan a set of the size of DACON 235851: 353 + 400 training and 139 + 168 test photos, 3,960 test pairs.

    How the competition divides its test photos among plants is unknown.
    """
    check_range("--seed", seed, 0)
    train = {"BC": [40] * 2 + [39] * 7, "LT": [40] * 10}
    test = {"BC": [35] * 3 + [34], "LT": [42] * 4}
    return Plan(
        [(species, number, days) for species in SPECIES for number, days in enumerate(train[species], start=1)],
        [
            (species, number, days)
            for species in SPECIES
            for number, days in zip(_numbers(seed, species, len(test[species])), test[species], strict=True)
        ],
        3960,
    )


def _numbers(seed: int, species: str, count: int) -> list[int]:
    """Return the four-digit numbers of the test plants of a species; no two plants share one."""
    order = np.random.default_rng([seed, _NAMES, 0]).permutation(np.arange(1000, 2000))
    return [int(number) for number in order[SPECIES.index(species) :: len(SPECIES)][:count]]


def _stems(seed: int, species: str, number: int, days: int) -> list[str]:
    """Return the names of a test plant's photos in the order of their days, which the names do not reveal."""
    order = np.random.default_rng([seed, _NAMES, number]).permutation(1000)[:days]
    return [f"idx_{species}_{number}_{name:05}" for name in order]


def pairs(plan: Plan, seed: int) -> list[tuple[str, str, int]]:
    """Return the test pairs as (name before, name after, days between, from 1).

    The rows are those of ``test_data.csv``; the days between, which are in no file, are for scoring a submission.
    """
    rows = []
    for row in range(plan.test_pairs):
        rng = np.random.default_rng([seed, _NAMES + 1, row])
        species, number, days = plan.test[rng.integers(len(plan.test))]
        stems = _stems(seed, species, number, days)
        before, after = sorted(rng.choice(days, size=2, replace=False).tolist())
        rows.append((stems[before], stems[after], after - before))
    return rows


def draw(directory: Path, *, width: int, height: int, seed: int, scene: Scene, **numbers: int) -> None:
    """Draw a set of the numbers that :func:`plan_of` takes; see :func:`draw_plan`."""
    draw_plan(directory, plan_of(**numbers, seed=seed), width=width, height=height, seed=seed, scene=scene)


def draw_plan(directory: Path, plan: Plan, *, width: int, height: int, seed: int, scene: Scene, noise: int = 0) -> None:
    """Draw the photos of a plan into ``directory``, with the CSV files of the competition.

    The photos are RGB PNGs of ``width`` by ``height`` px, one per day from day 1; ``noise`` training photos swap their
    days in twos, within a plant. Raises ``UserError``, and leaves nothing behind, if a number is out of range or the
    folder is not empty or cannot be written.
    """
    check_range("--width", width, 32, 10000, "in pixels")
    check_range("--height", height, 32, 10000, "in pixels")
    check_range("--noise", noise, 0, 2 * len(plan.train), "two photos of a plant")
    if noise % 2:
        raise UserError(f"--noise {noise}: photos are swapped by twos; give an even number")
    with new_folder(directory) as folder:
        rng, swapped = np.random.default_rng([seed, _NAMES + 2]), noise // 2
        chosen = set(rng.permutation(len(plan.train))[:swapped].tolist())
        work = []
        for place, (species, number, days) in enumerate(plan.train):
            stems = [f"DAT{day:02}" for day in range(1, days + 1)]
            if place in chosen:
                one, other = rng.choice(days, size=2, replace=False).tolist()
                stems[one], stems[other] = stems[other], stems[one]
            work.append((species, number, folder / "train_dataset" / species / f"{species}_{number:02}", stems))
        for species, number, days in plan.test:
            home = folder / "test_dataset" / species / str(number)
            work.append((species, number, home, _stems(seed, species, number, days)))
        save = partial(_save, scene, seed, (width, height))
        for _ in spread_out(save, work, many=width * height * sum(len(stems) for *_, stems in work) > MANY):
            pass
        pair_lines = [f"{row},{before},{after}\n" for row, (before, after, _) in enumerate(pairs(plan, seed))]
        tables = {
            "test_dataset/test_data.csv": ["idx,before_file_path,after_file_path\n", *pair_lines],
            "sample_submission.csv": ["idx,time_delta\n", *(f"{row},-1\n" for row in range(plan.test_pairs))],
        }
        for name, lines in tables.items():
            (folder / name).write_text("".join(lines), encoding="ascii", newline="\n")


def _save(scene: Scene, seed: int, size: tuple[int, int], plant: tuple[str, int, Path, list[str]]) -> None:
    species, number, home, stems = plant
    drawn = SCENES[scene](seed, species, number, size)
    home.mkdir(parents=True)
    for day, stem in enumerate(stems, start=1):
        # Huffman coding alone is the fastest way to compress grain, and no larger.
        drawn.photo(day).save(home / f"{stem}.png", compress_level=1, compress_type=zlib.Z_HUFFMAN_ONLY)


NUMBERS = {
    "plants": (5, "training plants or trays per species, 1 to 500"),
    "days": (20, "photos per plant, one a day, 2 to 60"),
    "test_plants": (2, "test plants or trays per species, 1 to 500"),
    "test_pairs": (200, "pairs of photos to predict in the test set, 1 or more"),
}


def main(argv: list[str] | None = None) -> None:
    """Run the program with ``argv`` or the command line; on an error, print one line and exit with code 2."""
    parser = Parser(
        "python -m growth.synthetic",
        __doc__,
        **NUMBERS,
        width=(320, "width of a photo in pixels, 32 to 10000; a real one has 3280"),
        height=(240, "height of a photo in pixels, 32 to 10000; a real one has 2464"),
        noise=(0, "training photos that swap their days in pairs, an even number"),
    )
    parser.add_argument(
        "--scene", choices=sorted(SCENES), default="trays", help="five plants on a tray, or one in a pot"
    )
    numbers = "9 + 10 training trays, 753 + 307 photos, 3,960 test pairs"
    parser.add_argument("--like", choices=["dacon"], help=f"a set of the competition's size: {numbers}")
    args = vars(parser.parse_args(argv))
    directory, like, seed = args.pop("directory"), args.pop("like"), args["seed"]
    asked = {name: args.pop(name) for name in NUMBERS}
    with exit_on_user_error():
        if like:
            for name, (default, _) in NUMBERS.items():
                if asked[name] != default:
                    flag = f"--{name.replace('_', '-')} {asked[name]}"
                    raise UserError(f"{flag}: --like {like} has numbers of its own; leave one of them out")
        plan = dacon_plan(seed) if like else plan_of(**asked, seed=seed)
        draw_plan(directory, plan, **args)
    photos = sum(days for *_, days in plan.train + plan.test)
    root = quoted(directory.as_posix())
    drawn = f"wrote {photos} photos and {counted(plan.test_pairs, 'test pair')} to {root}"
    print(f"{drawn}; next: python -m growth fit --data.root {root}")


if __name__ == "__main__":
    main()
