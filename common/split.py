"""The rows of a training set, and which of them a fit trains on, holds out, or has learned from before."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from common.errors import UserError, counted, listed
from common.image_files import ImageFile

Indices = npt.NDArray[np.int64]
DIGITS = 12  # of a digest that is kept of each file: among a million, two are alike with a chance of 1 in 500


def digest_of(ids: Sequence[str], values: np.ndarray) -> str:
    """Digest a set of rows, in any order, from their ids and a value of each: 16 letters and digits."""
    return hashlib.sha256(json.dumps(sorted(zip(ids, values.tolist(), strict=True))).encode()).hexdigest()[:16]


class Listing(NamedTuple):
    """The training set: one row per image."""

    files: list[ImageFile]  # the images, N
    ids: list[str]  # name of each, as in the competition's files, N
    truth: np.ndarray  # the true value of each, N
    strata: np.ndarray  # the stratum of each, N; every stratum has its share of the held-out rows
    groups: np.ndarray | None = None  # of each, N, str, whose rows are held out together; None without groups
    version: str = ""  # of the files, if there are several of each image, such as a smaller one


def find_contradictions(listing: Listing, contents: Sequence[str], group: str) -> str:
    """Say how many images appear twice, with two true values or in two groups (called ``group``); empty if none do.

    Args:
        listing: the training set.
        contents: digest of each file's contents, N.
    """
    first: dict[str, int] = {}
    groups = listing.truth if listing.groups is None else listing.groups
    found = [
        f"{listing.ids[one]} and {listing.ids[row]}"
        for row, content in enumerate(contents)
        if (one := first.setdefault(content, row)) != row
        and (listing.truth[one] != listing.truth[row] or groups[one] != groups[row])
    ]
    two = "two true values" if listing.groups is None else f"two true values or {group}"
    return f"{counted(len(found), 'pair')} of equal images with {two}: {listed(found, most=3)}" if found else ""


class Split(NamedTuple):
    """The rows that a fit trains on and holds out."""

    trained: Sequence[str]  # their ids, in order
    held_out: Sequence[str]  # likewise
    # Of each side's ids with their true values, of all with their sizes, and of the files' contents; checkpoints of
    # earlier versions lack the last one or two.
    digests: Sequence[str]
    # The start of each file's SHA-256, of those trained on and then of those held out; empty in checkpoints of earlier
    # versions.
    contents: Sequence[str] = ()
    # The same of other files learned from: by earlier fits, if this one started from their weights, and those of a
    # second training set.
    earlier: Sequence[str] = ()
    second: str = ""  # digest of the ids, contents and true values of that second set, if there is one
    taught: str = ""  # digest of the teachers' weights and of the images that they label, if there are any
    version: str = ""  # as in Listing

    @classmethod
    def of(cls, listing: Listing, train: Indices, val: Indices, contents: Sequence[str]) -> Split:
        """Make the split from row numbers and the digest of each file's contents."""
        ids, truth = listing.ids, listing.truth
        trained, held_out = ([ids[row] for row in rows] for rows in (train, val))
        sizes = np.array([file.size for file in listing.files])
        sides = digest_of(trained, truth[train]), digest_of(held_out, truth[val])
        digests = *sides, digest_of(ids, sizes), digest_of(ids, np.array(contents))
        each = [contents[row][:DIGITS] for row in (*train, *val)]
        return cls(trained, held_out, digests, each, version=listing.version)

    @property
    def seen(self) -> set[str]:
        """The contents of all files that the weights have learned from, in this fit and before."""
        return {*self.contents[: len(self.trained)], *self.earlier}

    def is_comparable(self, other: Split) -> bool:
        """Whether both tell the contents of their images, and of the same files."""
        return bool(self.contents and other.contents) and self.version == other.version

    def following(self, other: Split) -> Split:
        """Return this split for a fit that starts from the weights of another one.

        Where contents cannot be compared, equal names count as equal images.
        """
        rows, named = zip((*self.trained, *self.held_out), self.contents, strict=False), {*other.trained}
        alike = set() if self.is_comparable(other) else {content for name, content in rows if name in named}
        return self._replace(earlier=sorted({*other.seen, *alike, *self.earlier}))

    def joined_by(self, second: Listing, contents: Sequence[str], flag: str) -> Split:
        """Return this split for a fit that learns from a second training set, too.

        Args:
            second: its images.
            contents: digest of each file's contents.
            flag: how it was given.

        Raises:
            UserError: an image is in both sets.
        """
        names = dict(zip(self.contents, (*self.trained, *self.held_out), strict=True))
        short = [content[:DIGITS] for content in contents]
        both = [f"{ids} as {names[of]}" for ids, of in zip(second.ids, short, strict=True) if of in names]
        if both:
            number = counted(len(both), "of its images is", "of its images are")
            why = f"{number} also in --data.root ({listed(both, most=3)})"
            raise UserError(f"{flag}: {why}, where a fold holds each out; give other images")
        digest = digest_of(list(map("/".join, zip(second.ids, contents, strict=True))), second.truth)
        return self._replace(earlier=sorted({*self.earlier, *short}), second=digest)

    def taught_by(self, teachers: Sequence[Split], identities: Sequence[str]) -> Split:
        """Return this split for a fit that learns other images as earlier fits, its teachers, label them.

        Args:
            teachers: their splits; none has learned from an image that this fit holds out.
            identities: of their weights and of the images.
        """
        seen: set[str] = set().union(*(teacher.seen for teacher in teachers))
        taught = digest_of(identities, np.zeros(len(identities)))
        return self._replace(earlier=sorted({*self.earlier, *seen}.difference(self.contents)), taught=taught)

    @property
    def learned(self) -> list[str]:
        """The ids of the held-out rows whose images the weights have learned from before this fit."""
        before, contents = {*self.earlier}, self.contents[len(self.trained) :]
        return [name for name, content in zip(self.held_out, contents, strict=False) if content in before]

    def find_learned(self, other: Split | None = None) -> list[str]:
        """Say how many held-out images are trained on under another name, or were by earlier fits.

        ``other`` is the split of the one whose weights this fit starts from; checkpoints of earlier versions, and of
        fits on other files of the same images, tell only the names of its rows.
        """
        number, lines = f"of the {len(self.held_out)} held-out images", []
        own = dict(zip(self.contents, self.trained, strict=False))
        contents = zip(self.held_out, self.contents[len(self.trained) :], strict=False)
        if copies := [f"{name} as {own[content]}" for name, content in contents if content in own]:
            also = f"{counted(len(copies), f'{number} is', f'{number} are')} also trained on under another name"
            lines.append(f"{also} ({listed(copies, most=3)})")
        seen, doubt = {*self.learned}, ""
        if other is not None and not self.is_comparable(other):
            seen, doubt = {*self.held_out} & {*other.trained}, ", if equal names mean equal images"
        if seen:
            lines.append(f"the pretrained weights have learned from {len(seen)} {number}{doubt}")
        return lines

    def warn_of_learned(self, other: Split | None = None) -> None:
        """Print on stderr what :meth:`find_learned` says."""
        for line in self.find_learned(other):
            print(f"warning: {line}: what is measured on them is too optimistic", file=sys.stderr)

    def checked_against(self, fitted: Split) -> Split:
        """Return this split with what the weights had learned from before the fit that a model comes from.

        Raises:
            UserError: the model was fitted with another split; the error says how it differs.
        """
        digests = tuple(fitted.digests)
        if self.second and self.second != fitted.second:
            raise UserError("the checkpoint was not fitted with these images of --data.extra; give the same data")
        if self.taught and self.taught != fitted.taught:
            why = "by these weights of --data.teachers, or on these test images"
            raise UserError(f"the checkpoint was not taught {why}; give the same ones")
        if self.digests[: len(digests)] == digests:
            return self._replace(earlier=fitted.earlier)
        ours, theirs = ({*split.trained, *split.held_out} for split in (self, fitted))
        moved = {"new": ours - theirs, "gone": theirs - ours}
        changes = [
            f"{counted(len(ids), 'row is', 'rows are')} {how} ({listed(sorted(ids), most=3)})"
            for how, ids in moved.items()
            if ids
        ]
        ours, theirs = {*self.held_out}, {*fitted.trained}
        if self.contents and fitted.contents:  # equal names need not mean equal images
            ours, theirs = {*self.contents[len(self.trained) :]}, {*fitted.contents[: len(fitted.trained)]}
        if learned := ours & theirs:
            number = f"{len(learned)} of the {len(self.held_out)} held-out rows"
            changes.append(f"{number} {'was' if len(learned) == 1 else 'were'} learned from")
        same = self.digests[:2] == digests[:2]
        rest = "images of the same names have changed" if same else "true values of rows have changed"
        how = "; ".join(changes) or rest
        raise UserError(f"the data differ from those that the checkpoint was fitted on: {how}; give the same data")

    def refuse_learned(self, flag: str, other: Split) -> None:
        """Raise a :class:`UserError` if the weights of another fit, named by a flag, have learned from any row."""
        if seen := {*self.following(other).earlier} & {*self.contents}:
            number = f"{len(seen)} of the {len(self.contents)} images"
            doubt = "" if self.is_comparable(other) else " (if equal names mean equal images)"
            why = f"these weights have learned from {number}{doubt}, each of which a fold holds out"
            raise UserError(
                f"{flag}: {why}, so the score would be too optimistic; give weights learned from other images"
            )
