"""Images of one's own: ``predict --images`` and the Python API give the same numbers, and refuse the same things."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import growth
import julia
from common.errors import UserError
from common.image_files import find_images
from tests.conftest import Run
from tests.quick import REPOSITORY

OfflineFit = Callable[[str], Path]


@pytest.fixture
def best(offline_fit: OfflineFit) -> Callable[[str], Path]:
    """Copy the checkpoints of a fit, and get the best one: answers go into the run folder."""

    def copy(task: str) -> Path:
        shutil.copytree(offline_fit(task) / "checkpoints", f"{task}-run/checkpoints")
        return Path(f"{task}-run/checkpoints/best.ckpt")

    return copy


def photos(growth_root: Path) -> list[str]:
    return sorted(map(str, growth_root.glob("train_dataset/BC/BC_01/*.png")))


def bitmaps(julia_root: Path) -> list[str]:
    return sorted(map(str, julia_root.glob("test/*.Bmp")))


def test_days_between_two_photos(run: Run, best: Callable[[str], Path], growth_root: Path) -> None:
    first, *_, last = photos(growth_root)
    path = best("growth")
    said = run("growth", "predict", "--ckpt_path", path, "--images", first, last)
    model = growth.load(path)
    days = model.days(first, last)
    assert f"{days:.2f}" in said and "submission" not in said
    assert np.float32(pd.read_csv("growth-run/images/days.csv")["days"].item()) == days
    # In memory, as on disk; the other way round, the other sign.
    assert model.days(Image.open(first), np.asarray(Image.open(last).convert("RGB"))) == days
    assert model.days(last, first) == -days
    assert not list(Path("growth-run").glob("*.csv")) and not Path("cache").exists()


def test_a_folder_of_photos_has_a_growth_curve(run: Run, best: Callable[[str], Path], growth_root: Path) -> None:
    path, folder = best("growth"), growth_root / "train_dataset" / "BC" / "BC_01"
    Path("answers").mkdir()
    run("growth", "predict", "--ckpt_path", path, "--images", folder, "--output", "answers")
    ages, days = pd.read_csv("answers/ages.csv"), pd.read_csv("answers/days.csv")
    assert np.array_equal(ages["days_since_first"].to_numpy(np.float32), growth.load([path]).ages(photos(growth_root)))
    assert (ages["days_since_first"][0], len(ages), len(days)) == (0, 8, 28)
    by_photo = ages.set_index("photo")["days_since_first"]
    between = days["after"].map(by_photo) - days["before"].map(by_photo)
    assert np.allclose(between, days["days"], atol=1e-5)
    with Image.open("answers/ages.png") as picture:
        assert picture.width > 600
    # The same numbers as for the competition's own files, by another way.
    run("growth", "predict", "--ckpt_path", path, "--data.root", growth_root)
    items = pd.read_csv("growth-run/submission_best_items.csv").set_index("photo")["age"]
    home = next((growth_root / "test_dataset" / "BC").iterdir())
    test = sorted(map(str, home.glob("*.png")))[:3]
    ours = growth.load(path).ages(test)
    theirs = [items[Path(photo).stem] - items[Path(test[0]).stem] for photo in test]
    assert np.allclose(ours, theirs, atol=1e-3)


def test_characters(run: Run, best: Callable[[str], Path], julia_root: Path) -> None:
    path, files = best("julia"), bitmaps(julia_root)
    said = run("julia", "predict", "--ckpt_path", path, path.with_name("last.ckpt"), "--images", *files)
    table = pd.read_csv("julia-run/images/images.csv", dtype={"Class": str}, keep_default_na=False).set_index("ID")
    guesses = julia.load([path, path.with_name("last.ckpt")]).classify(files)
    assert list(table.index) == files
    assert [guess.character for guess in guesses] == table["Class"].tolist()
    assert np.array_equal(np.float32([guess.probability for guess in guesses]), table["probability"].to_numpy("f4"))
    assert list(guesses[0].probabilities)[1] == str(table["Class_2"].iloc[0])
    assert sum(guesses[0].probabilities.values()) == pytest.approx(1, abs=1e-5) and files[0] in said
    # Grey arrays and views.
    pixels = np.asarray(Image.open(files[0]).convert("L"))
    assert julia.load(path).classify([pixels]) == julia.load(path, device="cpu").classify([pixels[..., None]])
    run("julia", "predict", "--ckpt_path", path, "--images", *files, "--submission.tta", 2)
    table = pd.read_csv("julia-run/images/images.csv")
    views = julia.load(path, tta=2).classify(files)
    assert np.array_equal(np.float32([view.probability for view in views]), table["probability"].to_numpy("f4"))


def test_what_is_no_image_is_refused(refused: Run, best: Callable[[str], Path], growth_root: Path) -> None:
    path, (one, two, *_) = best("growth"), photos(growth_root)
    Path("page.pdf").write_bytes(b"%PDF-1.7\n" + bytes(100))
    Path("drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    Path("cut.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(30))
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 255)]
    frames[0].save("film.gif", save_all=True, append_images=frames[1:])
    Path("empty").mkdir()
    predict = ("growth", "predict", "--ckpt_path", path, "--images")
    for name in ("page.pdf", "drawing.svg", "cut.jpg"):
        assert name in refused(*predict, one, name)
    assert "film.gif (2 pictures in one file" in refused(*predict, one, "film.gif")
    assert "--images empty: no image files in it" in refused(*predict, "empty")
    assert "--images *.nef: the pattern matches no file" in refused(*predict, "*.nef")
    assert "--images absent.png: no such file" in refused(*predict, one, "absent.png")
    assert "one photo has no age" in refused(*predict, one)
    assert "expected at least one argument (see python -m growth predict --help)" in refused(*predict)
    assert "--output nowhere: no such folder" in refused(*predict, one, two, "--output", "nowhere")
    assert "makes no submission" in refused(*predict, one, two, "--submission.path", "a.csv")
    assert "--output empty: it is for --images" in refused(
        "growth", "predict", "--ckpt_path", path, "--output", "empty"
    )
    assert not list(path.parent.parent.glob("images/*"))


def answered(run: Run, path: Path, *images: object) -> pd.DataFrame:
    run("growth", "predict", "--ckpt_path", path, "--images", *images)
    return pd.read_csv("growth-run/images/ages.csv")


def test_each_folder_is_a_plant_however_it_is_given(
    run: Run, refused: Run, best: Callable[[str], Path], growth_root: Path
) -> None:
    path, home = best("growth"), growth_root / "train_dataset" / "BC"
    shutil.copytree(home / "BC_01", "plants/one")
    shutil.copytree(home / "BC_02", "plants/two")
    shutil.make_archive("plants", "zip", "plants")
    whole = answered(run, path, "plants").assign(photo="")
    assert sorted(set(whole["plant"])) == ["one", "two"] and whole["day"].tolist() == [*range(8)] * 2
    assert whole.equals(answered(run, path, "plants.zip").assign(photo=""))
    several = answered(run, path, "plants/one", "plants/two")
    assert sorted(set(several["plant"])) == ["plants/one", "plants/two"]
    assert several.drop(columns=["plant", "photo"]).equals(whole.drop(columns=["plant", "photo"]))
    assert several["plant"].tolist() == answered(run, path, "plants/*")["plant"].tolist()
    Path("linked").mkdir()
    Path("linked/two").symlink_to(Path("plants/two").resolve())
    Path("linked/two/above").symlink_to(Path("linked").resolve())  # for ever, if it were followed
    assert len(answered(run, path, "linked")) == 8
    # Two photos of two folders are those of one plant that are typed one by one; more may be of several plants.
    one, two = sorted(Path("plants/one").iterdir()), sorted(Path("plants/two").glob("*.png"))
    assert len(answered(run, path, one[0], two[0])) == 2
    predict = ("growth", "predict", "--ckpt_path", path, "--images")
    unclear = "photos in plants/one, plants/two may be of one plant or of several; give the folders for several"
    assert unclear in refused(*predict, *one, *two)
    assert unclear in refused(*predict, "plants/*/*.png")
    assert "plants/two holds plants in folders" in refused(*predict, one[0], "plants/two")
    assert "DAT01.png is given twice" in refused(*predict, one[0], f"plants/two/../one/{one[0].name}")
    (Path("plants/two") / "photos.csv").write_text("photo,plant,day\n")
    assert "plants/two/photos.csv is read only where its folder is given alone" in refused(*predict, "plants")
    assert "--images: is empty; give a value" in refused(*predict, "")
    Path("plants/two/photos.csv").unlink()
    shutil.copy(one[0], "plants/loose.png")
    assert "photos in plants, plants/one, plants/two may be of one plant or of several" in refused(*predict, "plants")


def test_photos_that_make_no_pair_have_no_days(refused: Run, best: Callable[[str], Path], growth_root: Path) -> None:
    source = photos(growth_root)
    for number, name in enumerate(("lone/a/1.png", "lone/b/1.png", "once/P_DAT01_a.png", "once/P_DAT01_b.png")):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source[number], name)
    predict = ("growth", "predict", "--ckpt_path", best("growth"), "--images")
    assert "lone: 2 plants have one photo, which makes no pair: a, b" in refused(*predict, "lone")
    assert "once: two photos of one plant and day: once/P_DAT01_a.png, once/P_DAT01_b.png" in refused(*predict, "once")
    pattern = ("--data.pattern", "{plant}_DAT{day}_{camera}")
    assert "make no pair: P" in refused(*predict, "once/P_DAT01_a.png", "once/P_DAT01_b.png", *pattern)


def test_answers_do_not_go_to_where_images_are_read(
    refused: Run, best: Callable[[str], Path], julia_root: Path, growth_root: Path
) -> None:
    predict = ("growth", "predict", "--ckpt_path", best("growth"), "--images")
    Path("plants/old").mkdir(parents=True)
    for number, name in enumerate(("ages", "days", "third")):  # as a picture of answers is called
        shutil.copy(photos(growth_root)[number], f"plants/{name}.png")
    taken = "read there: a picture of the answers could replace an image, or be read as one; give another folder"
    assert f"--output plants: plants is {taken}" in refused(*predict, "plants", "--output", "plants")
    assert f"--output plants/old: plants is {taken}" in refused(*predict, "plants", "--output", "plants/old")
    Path("images.png").write_bytes(Path(bitmaps(julia_root)[0]).read_bytes())
    said = refused("julia", "predict", "--ckpt_path", best("julia"), "--images", "images.png", "--output", ".")
    assert f"--output .: images.png is {taken}" in said
    assert Path("images.png").is_file() and not list(Path().glob("plants/*.csv"))


def test_members_of_an_archive_lie_where_their_names_say(
    run: Run, refused: Run, best: Callable[[str], Path], growth_root: Path
) -> None:
    path = best("growth")
    with zipfile.ZipFile("up.zip", "w") as archive:  # as zip packs photos of another folder
        for number, name in enumerate(("../one/1.png", "../one/2.png", "/two/1.png", "/two/2.png")):
            archive.writestr(name, Path(photos(growth_root)[number]).read_bytes())
    table = answered(run, path, "up.zip")
    assert table["plant"].tolist() == ["../one"] * 2 + ["two"] * 2


def test_names_tell_days_for_certain_or_an_order(
    run: Run, refused: Run, best: Callable[[str], Path], growth_root: Path
) -> None:
    path, source = best("growth"), photos(growth_root)

    def named(*names: str) -> str:
        shutil.rmtree("named", ignore_errors=True)
        Path("named").mkdir()
        for photo, name in zip(source, names, strict=False):
            shutil.copy(photo, f"named/{name}.png")
        return "named"

    for names in (("2", "1", "10"), ("IMG_4712", "IMG_4711", "IMG_4720")):
        table = answered(run, path, named(*names))
        assert "day" not in table and [Path(name).stem for name in table["photo"]] == [names[1], names[0], names[2]]
    assert answered(run, path, named("DAT02", "DAT01", "DAT10"))["day"].tolist() == [0, 1, 9]
    predict = ("growth", "predict", "--ckpt_path", path, "--images")
    for names in (("before", "after"), ("31 May", "1 June"), ("31.05.24", "30.06.24"), ("1.5", "1.25")):
        assert "have no number that tells which is the earlier photo" in refused(*predict, named(*names))
    assert "01 and 1 have the same name or number, so neither is the earlier photo" in refused(
        *predict, named("1", "01")
    )
    assert "03-04-2024 may be 2024-04-03 or 2024-03-04" in refused(*predict, named("03-04-2024", "02-05-2024"))
    folder = Path(named("DAT10", "DAT2", "DAT03"))
    typed = [folder / f"{name}.png" for name in ("DAT10", "DAT2", "DAT03")]  # as a shell sorts the first two
    said = "DAT10.png is typed before named/DAT2.png, but is the later one by their names; swap them"
    assert said in refused(*predict, *typed)
    assert len(answered(run, path, *typed[1:], typed[0])) == 3
    names = ("2024-05-11 09.15.00 AM", "2024-05-11 05.15.00 PM", "20240601_0002", "20240531_0003")
    morning, evening, june, may = (Path(named(*names), f"{name}.png") for name in names)
    assert len(answered(run, path, morning, evening)) == 2
    assert "is typed before" in refused(*predict, evening, morning)
    assert "is typed before" in refused(*predict, june, may)  # whatever the digits after the dates mean
    assert "IMG_5.png (5 may be day 5 or something else" in refused(*predict, named("DAT01", "DAT03", "IMG_5"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_read_is_not_left_out(growth_root: Path) -> None:
    shutil.copytree(growth_root / "train_dataset" / "BC", "plants")
    Path("plants/BC_02").chmod(0)
    with pytest.raises(PermissionError):
        find_images(Path("plants"))
    Path("plants/BC_02").chmod(0o700)


def test_answers_replace_those_of_the_command_before(run: Run, best: Callable[[str], Path], growth_root: Path) -> None:
    path, files = best("growth"), photos(growth_root)
    answered(run, path, *files)
    assert Path("growth-run/images/ages.png").is_file()
    assert len(answered(run, path, *files[:2])) == 2
    assert not Path("growth-run/images/ages.png").exists()


def test_answers_replace_nothing_of_the_users(
    run: Run, refused: Run, best: Callable[[str], Path], growth_root: Path
) -> None:
    path, files = best("growth"), photos(growth_root)[:3]
    Path("growth-run/images").mkdir()
    own = [Path(shutil.copy(photo, f"growth-run/images/DAT{number}.png")) for number, photo in enumerate(files)]
    words = ("growth", "predict", "--ckpt_path", path, "--images")
    for given in ([Path("growth-run/images")], own):
        assert "is read there: a picture of the answers could replace an image" in refused(*words, *given)
    for name in ("ages.png", "days.csv"):
        Path("out").mkdir()
        Path("out", name).write_text("mine")
        line = refused(*words, *files, "--output", "out")
        assert f"out/{name} was not written by an earlier command: move it, or give another --output" in line
        assert [file.name for file in Path("out").iterdir()] == [name] and Path("out", name).read_text() == "mine"
        shutil.rmtree("out")


def test_what_python_cannot_be_asked(best: Callable[[str], Path], growth_root: Path) -> None:
    path, files = best("growth"), photos(growth_root)
    model = growth.load(path)
    for wrong in ([], files[0], Path(files[0]), set(files), iter(files)):  # the last two may have no order, or an end
        with pytest.raises(UserError, match="give images as a list, one or more"):
            model.ages(wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="tta 0: give the number of views, 1 or more"):
        growth.load(path, tta=0)
    with pytest.raises(UserError, match="no checkpoint; give a path, or last or best"):
        growth.load([])
    for tta in (1.5, "2", None):
        with pytest.raises(UserError, match=f"tta {tta}: give the number of views"):
            growth.load(path, tta=tta)  # type: ignore[arg-type]
    for device in ("cuda:77", "", "gpu", "nonsense", "meta"):
        with pytest.raises(UserError, match=f"device '{device}': .*; give 'cpu'"):
            growth.load(path, device=device)
    assert growth.load(path, device="cpu:0").ages(files).tolist() == model.ages(files).tolist()


def test_arrays_that_can_be_read_in_two_ways_are_refused(best: Callable[[str], Path]) -> None:
    model = julia.load(best("julia"))
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 255)]
    frames[0].save("film.gif", save_all=True, append_images=frames[1:])
    Image.effect_noise((64, 64), 99).save("whole.png")
    Path("cut.png").write_bytes(Path("whole.png").read_bytes()[:900])
    for picture, reason in (
        (np.zeros((3, 20, 20), np.uint8), "channels last"),
        (np.zeros((20, 20), np.float32), "float32; give uint8"),
        (np.zeros((0, 20), np.uint8), "0×20"),
        (Image.new("F", (8, 8)), "mode F"),
        (Image.new("L", (0, 8)), "0×8 pixels"),
        (Image.open("film.gif"), "2 pictures in one file"),
        (Image.open("cut.png"), "not a readable image"),
        (None, "of type NoneType"),
    ):
        with pytest.raises(UserError, match=f"image 1: .*{reason}"):
            model.classify([np.zeros((8, 8), np.uint8), picture])  # type: ignore[list-item]
    for name in ("whole.png", "film.gif"):
        with Image.open(name) as closed:
            pass
        with pytest.raises(UserError, match="image 0: cannot be read .*; give its path"):
            model.classify([closed])
    # Of what a phone saves, the first picture is meant, by PIL as by its path.
    frames[0].convert("RGB").save("phone.jpg", "MPO", save_all=True, append_images=[frames[1].convert("RGB")])
    with Image.open("phone.jpg") as phone:
        assert phone.format == "MPO" and getattr(phone, "n_frames", 1) == 2
        assert model.classify([phone]) == model.classify(["phone.jpg"])


def test_imports_are_late() -> None:
    code = "import growth, julia, sys; print(sorted({'torch', 'numpy', 'lightning', 'PIL'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    # Nor do the workers of a loader, which import these, need Lightning, which takes seconds.
    code = "import growth.pairs, common.batches, sys; print('lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
