"""What ``fit`` logs for growth: which way each metric gets better; an asterisk stands for each species."""

from common.plots import Direction

DIRECTIONS: dict[str, Direction] = {
    "val/rmse": "min",
    "val/rmse_*": "min",
    "val/mae": "min",
    "val/r2": "max",
    "train/loss": "min",
    "train/pairs_per_s": "max",
}
UNITS = {"val/rmse": "days", "val/rmse_*": "days", "val/mae": "days"}
MONITOR = "val/rmse"
