"""Settings given with a checkpoint: its own are the defaults; any that changes what its weights mean is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import Namespace

from common.arguments import RESUMED, Kind, defaults_of, differing, kinds_of, shared_arguments
from common.checkpoints import Checkpoint, precision_of
from common.data import ImageData
from common.errors import UserError, counted, listed
from common.pretrained import identify
from common.runs import is_finished, is_fold
from common.task import AnyTask


def _of_other_images(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether two fits are of other training sets, in whatever split, as far as their checkpoints tell."""
    ours, theirs = one.split, other.split
    if ours is None or theirs is None:
        return False
    known = zip(ours.digests[2:], theirs.digests[2:], strict=False)
    return any(own != its for own, its in known) or ours.second != theirs.second


@dataclass(frozen=True)
class Guard:
    """Protects the meaning of a checkpoint's weights."""

    task: type[AnyTask]  # class of the model
    data: type[ImageData]  # class of the data module
    checkpoints: Sequence[Checkpoint]  # those that were typed; the first one decides
    resuming: bool  # whether its fit is resumed

    def defaults(self, settings: Namespace) -> dict[str, object]:
        """Return the checkpoint's settings, by path, as defaults: its held-out rows stay held out; typed values win."""
        first = self.checkpoints[0]
        defaults: dict[str, object] = {}
        for part, saved in (("model", first.model), ("data", first.data)):
            known = set(settings[part].keys()) - {"cache_dir"}  # a file from elsewhere must not decide where to write
            defaults |= {f"{part}.{name}": value for name, value in saved.items() if name in known}
        if self.resuming:
            for name in first.chosen:  # the resumed fit chooses it again, and its configuration stays as it was typed
                defaults.pop(f"model.{name}", None)
            defaults |= {f"trainer.{name}": first.trainer[name] for name in RESUMED if name in first.trainer}
            defaults |= {"seed_everything": first.data_state["fit_seed"]} if first.data_state else {}
            defaults |= {"trainer.precision": first.precision} if first.precision else {}
        elif precision := precision_of(self.checkpoints):
            defaults["trainer.precision"] = precision
        return defaults

    def check(self, settings: Namespace) -> None:
        """Refuse any setting that would change what the weights mean, or have no effect.

        Raises:
            UserError: there is one; the error names the flag, and what the checkpoint has.
        """
        first = self.checkpoints[0]
        stay = {Kind.GUARDED} if self.resuming else {Kind.GUARDED, Kind.RESUMABLE}
        other: dict[str, object] = {}
        shared = shared_arguments(self.task, self.data)  # the model's are checked
        for part, declaring, saved in (("model", self.task, first.model), ("data", self.data, first.data)):
            known = defaults_of(declaring) | saved
            known.pop("pretrained", None)  # is not saved, since weights come from the checkpoint
            for name, kind in kinds_of(declaring).items():
                typed = settings[part].get(name)
                of_model = part == "data" and name in shared
                if kind in stay and name in known and typed != known[name] and not of_model:
                    other[f"--{part}.{name} {typed}"] = known[name]
                if kind is Kind.ANSWERING and typed is None and saved.get(name) is not None and not self.resuming:
                    has = f"the checkpoint {first.path} has {saved.get(name)}"
                    raise UserError(f"--{part}.{name} null: {has}; leave it out, or give another value")
        if other:
            has = f"the checkpoint {first.path} has {listed(other.values())}"
            stays, them = ("stay", "them") if len(other) > 1 else ("stays", "it")
            raise UserError(f"{listed(other)}: {has}, which {stays}; leave {them} out")
        if self.resuming:
            self._check_resumable(settings.trainer.max_epochs)
            self._check_start(settings.seed_everything, settings.model.get("pretrained"))

    def check_folds(self) -> None:
        """Refuse folds below one folder that were not fitted alike, since they belong to two cross-validations.

        Raises:
            UserError: there are such folds, and the error names the settings in which they differ; or two runs of one.
        """
        runs: dict[Path, Path] = {}
        first: dict[Path, Checkpoint] = {}
        for member in self.checkpoints:
            if is_fold(member.run):
                other = first.setdefault(member.run.parent.parent, member)
                run = member.run.resolve()
                if (same := runs.setdefault(run.parent, run)) != run:
                    two = f"{same} is another run of this fold, which would count twice; give one"
                    raise UserError(f"--ckpt_path {member.path}: {two}")
                known = member.trainer.keys() & other.trainer.keys()  # earlier versions saved fewer
                ours, theirs = (
                    {"model": one.model, "data": one.data, "trainer": {name: one.trainer[name] for name in known}}
                    for one in (member, other)
                )
                names = differing(ours, theirs, self.task, self.data, {"data.fold"})
                if _of_other_images(member, other):
                    names.append("training set")
                if names:
                    which = f"fitted with another {listed(names)} than {other.path}, in another cross-validation"
                    raise UserError(f"--ckpt_path {member.path}: {which}; give the folds of one")

    def unlike(self, of_root: bool) -> dict[str, object]:
        """Return, by path, settings that turn a member's outputs into answers, but not as the first one's do.

        If images of ``--data.root`` are answered (``of_root``), that folder is one of them.
        """
        first, answering = self.checkpoints[0], [n for n, kind in kinds_of(self.task).items() if kind is Kind.ANSWERING]
        unlike = {
            f"model.{name}": other.model[name]
            for name in answering
            for other in self.checkpoints[1:]
            if name in other.model and other.model[name] != first.model.get(name)
        }
        roots = [str(one.data["root"]) for one in self.checkpoints if "root" in one.data]
        others = [root for root in roots if Path(root).resolve() != Path(roots[0]).resolve()]
        return unlike | ({"data.root": others[0]} if others and of_root else {})

    def check_typed(self, unlike: dict[str, object], settings: Namespace, otherwise: Namespace) -> None:
        """Refuse members that differ in a setting that was not typed.

        Args:
            unlike: as from :meth:`unlike`.
            settings: all settings, where the first member's are the defaults.
            otherwise: all settings, where ``unlike`` are the defaults.

        Raises:
            UserError: there is one; the error names the flag.
        """
        for flag, theirs in unlike.items():
            if settings[flag] != otherwise[flag]:
                have = f"of the checkpoints, {self.checkpoints[0].path} has {settings[flag]}, another {theirs}"
                raise UserError(f"--{flag}: {have}; give one for all")

    def _check_start(self, seed: bool | int, pretrained: object) -> None:
        """Refuse another seed or other pretrained weights, which are of a fit's start; false or true name none."""
        first = self.checkpoints[0]
        if first.data_state and type(seed) is int and seed != first.data_state["fit_seed"]:
            stays = f"the checkpoint {first.path} has {first.data_state['fit_seed']}, which stays; leave it out"
            raise UserError(f"--seed_everything {seed}: {stays}")
        # The same word may name other weights by now, as where latest is a part of it, but means those of the start.
        typed = first.origin and pretrained != first.origin["given"] and Path(str(pretrained)).is_file()
        if first.origin and typed and identify(pretrained) != first.origin["pretrained"]:
            began = f"the fit of {first.path} started from other weights, and needs none to be resumed"
            raise UserError(f"--model.pretrained {pretrained}: {began}; give false")

    def _check_resumable(self, max_epochs: int | None) -> None:
        first = self.checkpoints[0]
        if not first.data_state:
            reason = "of an earlier version, whose fits cannot be resumed; predict and validate accept it"
            raise UserError(f"--ckpt_path {first.path}: {reason}")
        epochs, most = first.epochs, first.epochs + 1 if max_epochs in (None, -1) else max_epochs
        if epochs > most or (is_finished(first.run) and epochs == most):
            done = counted(epochs, "epoch is", "epochs are")
            raise UserError(f"--ckpt_path {first.path}: {done} done; give a larger --trainer.max_epochs")
