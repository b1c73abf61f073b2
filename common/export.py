"""Export a trained network as one ONNX file that contains every step from a photo to the answer."""

from __future__ import annotations

import io
import json
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch

from common.errors import UserError
from common.files import check_output, replacing
from common.task import AnyTask, Deployed

TOLERANCE = 1e-4  # absolute for answers up to 1, relative for greater ones, such as days: float32 has seven digits
BATCHES = (1, 2, 7)  # batch sizes at which the file is checked


def export(model: AnyTask, checkpoint: str, path: Path) -> None:
    """Write a network as ONNX, once onnxruntime has reproduced its answers: float32, uint8 images in, any batch size.

    ``checkpoint`` is the name of the file that its weights come from.

    Raises:
        UserError: the answers differ by more than 1e-4, the network cannot be exported, or ``path`` cannot be written.
    """
    check_output(path, "--output", ".onnx")
    deployed = model.float().deployed()
    deployed.net.eval()
    description = {
        "task": model.task,
        "classes": json.dumps(list(model.classes)) if model.classes else "",
        "image_size": str(model.hparams["image_size"]),
        "channels": str(model.hparams["channels"]),
        "unit": deployed.unit,
        "checkpoint": checkpoint,
    }
    with replacing(path) as temporary:
        _write(deployed, description, temporary)
        worst = _difference(deployed, temporary)
        if not worst <= TOLERANCE:
            raise UserError(f"{path}: onnxruntime differs from PyTorch by {worst:.2g}: not written")
    print(f"written: {path} ({', '.join(deployed.outputs)}; differs from PyTorch by {worst:.1g} at most)")


def _write(deployed: Deployed, description: dict[str, str], path: Path) -> None:
    said = io.StringIO()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(said), redirect_stderr(said):
            program = torch.onnx.export(
                deployed.net,
                tuple(deployed.inputs.values()),
                dynamo=True,
                dynamic_shapes=tuple({0: size} for size in deployed.sizes.values()),
                input_names=list(deployed.inputs),
                output_names=list(deployed.outputs),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"this network cannot be exported: {reason}") from error
    finally:
        logging.disable(logging.NOTSET)
    assert isinstance(program, torch.onnx.ONNXProgram)
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # they reveal source paths on this machine
    program.model.metadata_props.update(description)
    program.save(path, external_data=False)


def _difference(deployed: Deployed, path: Path) -> float:
    """Return the greatest difference between the answers for some random images, relative to those above 1."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images, *indices = deployed.inputs
    worst = 0.0
    for number in BATCHES:
        rng = np.random.default_rng(number)
        shape = (number, *deployed.inputs[images].shape[1:])
        inputs: dict[str, np.ndarray] = {images: rng.integers(0, 256, shape, dtype=np.uint8)}
        inputs |= {name: rng.integers(0, number, 2 * number + 1) for name in indices}
        with torch.no_grad():
            given = deployed.net(*(torch.from_numpy(value) for value in inputs.values()))
            given = given if isinstance(given, tuple) else (given,)
        for theirs, tensor in zip(session.run(list(deployed.outputs), inputs), given, strict=True):
            ours = tensor.numpy()
            apart = np.abs(theirs - ours).max() / max(1.0, np.abs(ours).max())
            worst = float(np.maximum(worst, apart))  # unlike max, it keeps what is not a number
    return worst
