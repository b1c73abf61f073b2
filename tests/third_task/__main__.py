from third_task.data import SquareData
from third_task.model import SquareClassifier

from common.cli import main

if __name__ == "__main__":
    main(SquareClassifier, SquareData, recipe={"max_epochs": 3})
