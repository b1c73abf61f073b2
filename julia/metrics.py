"""What ``fit`` logs for julia: which way each metric gets better, the one that decides first."""

from common.plots import Direction

DIRECTIONS: dict[str, Direction] = {
    "val/acc": "max",
    "val/f1": "max",
    "val/acc_case_blind": "max",
    "val/loss": "min",
    "train/loss": "min",
    "train/images_per_s": "max",
}
UNITS: dict[str, str] = {}
MONITOR = "val/acc"
