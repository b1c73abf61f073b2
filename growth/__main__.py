"""``python -m growth fit|validate|test|predict|crossval``."""

from common.cli import main
from growth.data import GrowthData
from growth.metrics import DIRECTIONS, MONITOR
from growth.model import GrowthRegressor

if __name__ == "__main__":
    main(GrowthRegressor, GrowthData, monitor=MONITOR, mode=DIRECTIONS[MONITOR], recipe={"max_epochs": 20})
