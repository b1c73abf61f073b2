"""``python -m julia fit|validate|test|predict``."""

from common.cli import main
from julia.data import CharacterData
from julia.model import CharacterClassifier

if __name__ == "__main__":
    main(CharacterClassifier, CharacterData, monitor="val/acc", mode="max", max_epochs=15)
