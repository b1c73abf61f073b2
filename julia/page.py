"""The web page of ``julia``: the most probable classes of a bitmap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.page import Page, bars, heading
from common.submission import Outputs
from julia.predictor import guesses_of
from julia.synthetic import draw

SHOWN = 5  # classes


class CharacterPage(Page):
    """Shows guesses as ``julia.load`` gives them."""

    asks = "Drop the bitmap of one character, or several of them."

    def show(self, outputs: Outputs, names: Sequence[str]) -> str:
        """Show the most probable classes of each bitmap as bars."""
        guesses = guesses_of(self.predictor.models[0].calibrated(outputs["probabilities"]))
        said = heading(guesses[0].character, f"the {SHOWN} most probable classes:") if len(names) == 1 else ""
        for name, guess in zip(names, guesses, strict=True):
            said += bars(dict(list(guess.probabilities.items())[:SHOWN]), name)
        return said

    def draw_examples(self, folder: Path) -> list[Path]:
        """Draw one bitmap."""
        draw(folder, train=62, test=1, seed=0)
        return list((folder / "test").iterdir())
