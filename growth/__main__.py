"""``python -m growth fit|validate|predict|crossval|…``."""

from common.cli import main
from growth.data import GrowthData
from growth.model import GrowthRegressor
from growth.page import GrowthPage

if __name__ == "__main__":
    main(GrowthRegressor, GrowthData, {"max_epochs": 20}, GrowthPage)
