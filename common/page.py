"""What a task's page in the browser asks for, and how it shows the answers: HTML with embedded pictures."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
import torch
from PIL import Image

from common.decoding import Images, read_image, resize
from common.errors import UserError
from common.feature_maps import attribution, draw_attribution, windows
from common.plots import new_figure
from common.predictor import Predictor
from common.submission import Outputs, SampleSubmission
from common.task import AnyTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 100  # images at once
EXPLAINED = 2  # largest number of images whose answers are explained
RESTS = "What this rests on"
STYLE = """
.gradio-container { max-width: 1100px !important; margin: 0 auto !important; }
.answer h2 { font-size: 2.2rem; margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.answer h3 { font-size: 1rem; margin: 1rem 0 .25rem; font-weight: 600; }
.answer p, .answer li, .answer figcaption { overflow-wrap: anywhere; margin: .25rem 0; }
.answer img { max-width: 100%; height: auto; border-radius: 4px; display: block; }
.answer .wide { overflow-x: auto; margin-top: 1rem; }
.answer table { border-collapse: collapse; width: 100%; }
.answer th, .answer td { text-align: left; padding: .2rem .6rem .2rem 0; font-variant-numeric: tabular-nums; }
.answer :is(table, tr, th, td) { border: 0 !important; }
.answer tr { border-bottom: 1px solid var(--border-color-primary) !important; }
.answer .cards { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: 1rem; }
.answer .cards figure { flex: 1 1 260px; max-width: 330px; margin: 0; }
.answer .cards img { min-width: 96px; }
.answer .bars { max-width: 480px; } .answer .bars caption { text-align: left; }
.answer .bars th { font-family: monospace; font-size: 1.1rem; width: 2rem; }
.answer .bars td:last-child { width: 4.5rem; text-align: right; }
.answer .bars i { display: block; height: 1rem; min-width: 1px; background: #0072B2; }
"""


@dataclass
class Answer:
    """What is shown for some images."""

    shown: str  # the answer, as HTML
    waiting: str  # placeholder for what is still to come, as HTML
    explained: list[tuple[str, Images, float]]  # name, pixels (S×S×C, uint8), original's height by width
    stale: bool = False  # whether the user has asked for something else since


class Page:
    """The page of a task that has none of its own, which shows the tables of the answers.

    Args:
        predictor: makes the predictions.

    Attributes:
        asks: a sentence that says what to drop.
    """

    asks: ClassVar[str] = "Drop one image or several."

    def __init__(self, predictor: Predictor[AnyTask]) -> None:
        self.predictor = predictor
        self.closing, self.working = False, set[int]()
        for model in predictor.models:
            model.encoder.register_forward_pre_hook(self._go_on)
        size = predictor.data[0].image_size
        blank = np.zeros((size, size, predictor.members[0].model["channels"]), dtype=np.uint8)
        self.seconds = windows(size) * min(self._time_of_one(blank) for _ in range(2))  # per explanation

    def show(self, outputs: Outputs, names: Sequence[str]) -> str:
        """Show the answers, as HTML.

        Args:
            outputs: outputs for N images, N×….
            names: their file names, N.

        Raises:
            UserError: there are too few images for an answer.
        """
        data = self.predictor.data[0].like()  # a copy, since others may ask at the same time
        data.sample = SampleSubmission("", "", names)
        tables = self.predictor.models[0].answers(outputs, data)
        return "".join(table(rows) for rows in tables.values())

    def draw_examples(self, folder: Path) -> list[Path]:
        """Draw images to try the page with into an empty folder; the list is empty if there are none."""
        return []

    def answer(self, files: Sequence[str]) -> Answer:
        """Answer on images, given by their paths.

        Raises:
            UserError: there are none, too few or too many, or one is not an image.
        """
        if not 1 <= len(files) <= MOST:
            raise UserError("drop an image first" if not files else f"{len(files)} images: give {MOST} at most")
        names = [Path(file).name for file in files]
        with self._at_work():
            outputs, notes = self.predictor.predict(files)
        written = self.show(outputs, names)
        noted = [f"<li>{escape(name)}: {escape(note)}</li>" for name, note in zip(names, notes, strict=True) if note]
        if noted:
            written += f"<h3>Notes</h3><ul>{''.join(noted)}</ul>"
        if len(files) > EXPLAINED:
            return Answer(written, "", [])
        data = self.predictor.data[0]
        images = [read_image(Path(file), data.mode, data.max_pixels) for file in files]
        written += cards([(photo(image, name), name) for image, name in zip(images, names, strict=True)])
        explained = [
            (name, resize(image, data.image_size), image.height / image.width)
            for name, image in zip(names, images, strict=True)
        ]
        seconds = max(1, round(self.seconds * len(explained)))
        return Answer(written, f"<h3>{RESTS}</h3><p>Follows in about {seconds} s.</p>", explained)

    def explain(self, asked: Answer) -> Iterator[str]:
        """Show, one image after another, which parts of it the first network's answer is based on."""
        model = self.predictor.models[0]
        parts: list[tuple[str, str]] = []
        for name, pixels, aspect in asked.explained:
            image = self._on_device(pixels)
            start = time.perf_counter()
            with self._at_work():
                covered = attribution(model, image)
            self.seconds = time.perf_counter() - start
            figure = new_figure(4, 0.6 + 2.9 * min(1.3, aspect))
            axes = figure.add_subplot()
            axes.set_axis_off()
            axes.set_anchor("W")
            most = float(covered.abs().max()) or 1.0
            drawn = draw_attribution(axes, pixels.mean(axis=2) / 255, covered.cpu().numpy(), most)
            axes.set_aspect(aspect)
            figure.colorbar(drawn, ax=axes, shrink=0.8).set_label(f"fall when covered, {model.score_unit}")
            said = ": ".join(filter(None, [name, model.judge(image, covered)]))
            parts.append((picture(figure, f"where covering {name} changes the answer"), said))
            more = "<p>The next one follows.</p>" if len(parts) < len(asked.explained) else ""
            how = "Covering an area within solid lines lowers the answer; within dashed lines, it raises it."
            which = " By the first checkpoint." if len(self.predictor.models) > 1 else ""
            if asked.stale:
                return
            yield f"<h3>{RESTS}</h3><p>{how}{which}</p>{cards(parts)}{more}"

    def close(self) -> None:
        """Stop ongoing computations and wait for them, since a network at work must not outlive the interpreter."""
        self.closing, start = True, time.monotonic()
        while self.working and time.monotonic() < start + 10:
            time.sleep(0.05)

    def _go_on(self, *_: object) -> None:
        if self.closing:
            raise UserError("this page is being closed")

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self.working.add(threading.get_ident())
        try:
            yield
        finally:
            self.working.discard(threading.get_ident())

    def _on_device(self, pixels: Images) -> torch.Tensor:
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        moved: torch.Tensor = self.predictor.fabric.to_device(image)
        return moved

    @torch.inference_mode()
    def _time_of_one(self, pixels: Images) -> float:
        start = time.perf_counter()
        self.predictor.models[0].explained_scores(self._on_device(pixels))[0].cpu()
        return time.perf_counter() - start


def heading(text: str, below: str = "") -> str:
    """Write an answer in large letters, with a line below it."""
    return f"<h2>{escape(text)}</h2><p>{escape(below)}</p>"


def table(rows: pd.DataFrame) -> str:
    """Write a table; numbers get two decimals."""
    written = rows.to_html(index=False, border=0, justify="left", float_format="{:.2f}".format)
    return f'<div class="wide">{written}</div>'


def bars(shares: Mapping[str, float], title: str) -> str:
    """Write shares (0 to 1) as bars, each with its name and its percentage."""
    lines = [
        f"<tr><th>{escape(name)}</th><td><i style='width:{100 * share:.2f}%'></i></td><td>{100 * share:.1f} %</td></tr>"
        for name, share in shares.items()
    ]
    return f'<table class="bars"><caption>{escape(title)}</caption>{"".join(lines)}</table>'


def picture(figure: Figure, text: str) -> str:
    """Show a figure; ``text`` describes it to those who cannot see it."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return _image(stream.getvalue(), "png", text)


def photo(image: Image.Image, text: str) -> str:
    """Show an image, scaled down."""
    stream = io.BytesIO()
    image = image.copy()
    image.thumbnail((640, 640))
    image.save(stream, "JPEG", quality=85)
    return _image(stream.getvalue(), "jpeg", text)


def cards(parts: Sequence[tuple[str, str]]) -> str:
    """Lay out pictures with captions, side by side where there is room."""
    written = [f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>" for shown, caption in parts]
    return f'<div class="cards">{"".join(written)}</div>'


def _image(data: bytes, kind: str, text: str) -> str:
    return f'<img src="data:image/{kind};base64,{base64.b64encode(data).decode()}" alt="{escape(text)}">'
