"""``python -m julia fit|validate|predict|crossval|…``."""

from common.errors import exit_on_user_error
from common.start import without_collecting

# Averages the weights over about the last fifty steps.
EMA = {
    "class_path": "common.optim.EMAWeightAveraging",
    "init_args": {"decay": 0.9, "update_every_n_steps": 5},
}

if __name__ == "__main__":
    with exit_on_user_error(), without_collecting():  # Ctrl-C may come while the libraries are imported
        from common.cli import main
        from julia.data import CharacterData
        from julia.model import CharacterClassifier
        from julia.page import CharacterPage
    recipe = {"max_epochs": 18, "callbacks": [EMA]}
    main(CharacterClassifier, CharacterData, recipe, CharacterPage)
