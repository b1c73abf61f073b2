"""``python -m growth fit|validate|predict|crossval|…``."""

from common.errors import exit_on_user_error
from common.start import without_collecting

if __name__ == "__main__":
    with exit_on_user_error(), without_collecting():  # Ctrl-C may come while the libraries are imported
        from common.cli import main
        from growth.data import GrowthData
        from growth.model import GrowthRegressor
        from growth.page import GrowthPage
    main(GrowthRegressor, GrowthData, {"max_epochs": 20}, GrowthPage)
