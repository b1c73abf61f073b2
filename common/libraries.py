"""Messages of libraries: keep noise off the screen, and explain errors that a user can fix."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.fabric.utilities.exceptions import MisconfigurationException

from common.errors import UserError

# What Lightning and its libraries say on every run and no user can act on.
NOISE = (
    "Seed set to",  # config.yaml has it
    "Automatic Mixed Precision (AMP)",
    "`Trainer.fit` stopped: `max_",  # at the end the user asked for
    "Tip: For seamless",
    "Trainer already configured with model summary",
    "TPU available",
    "Loading `train_dataloader` to estimate",
    "is not supported by the model summary",
    "does not have many workers",
    "Restoring states from the checkpoint path",
    "Loaded model weights from the checkpoint",
    "callbacks used to create the checkpoint need to be provided",
    "using the WeightAveraging callback, but loading a checkpoint outside",
    "LeafSpec",
    "`tensorboardX` has been removed",
    "exists and is not empty",  # this run made the folder itself
    "is smaller than the logging interval",
    "dataloader is not resumable",  # the data module is
)


def silence_libraries() -> None:
    """Keep ``NOISE`` off the screen."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).addFilter(lambda record: not any(text in record.getMessage() for text in NOISE))
    for text in NOISE:
        warnings.filterwarnings("ignore", f".*{re.escape(text)}")
    logging.raiseExceptions = False  # logging to a full disk must not drown out the error
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning's calls, not ours
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # else MLflow refuses to write plain files


@contextmanager
def explain_library_errors() -> Iterator[None]:
    """Turn library errors that a user can fix into a :class:`UserError`."""
    try:
        yield
    except (MisconfigurationException, ModuleNotFoundError) as error:  # the latter for a library that an option needs
        raise UserError(" ".join(str(error).split())) from error
    except getattr(sys.modules.get("wandb"), "Error", ()) as error:  # not imported here: that takes seconds
        offline = "fit with WANDB_MODE=offline and send the run later: wandb sync"
        raise UserError(f"W&B: {' '.join(str(error).split())}; {offline}") from error
    except ValueError as error:
        if not str(error).strip().startswith("`val_check_interval`"):
            raise
        raise UserError(f"--trainer.val_check_interval: {' '.join(str(error).split())}") from error
    except RuntimeError as error:
        # torch raises plain RuntimeErrors, which only their texts tell apart.
        if any(text in str(error) for text in ("allocate memory", "out of memory", "size calculation overflowed")):
            remedy = "give a smaller --model.image_size, or smaller batches (--data.*batch*)"
            raise UserError(f"out of memory: {remedy}") from error
        # If workers cannot be started, Lightning requests them a second time while it handles that error.
        cause = error if "DataLoader worker (pid" in str(error) else error.__context__
        if cause is error or isinstance(cause, OSError):
            memory = "give them more memory or, in a container, more shared memory (/dev/shm)"
            remedy = f"{memory}, or do without them: --data.num_workers 0"
            raise UserError(f"the loader's worker processes fail ({cause}): {remedy}") from error
        raise
