"""Opens ONNX Runtime sessions that give the same answers on every processor."""

from pathlib import Path

import onnxruntime


def open_session(
    path: Path, *, threads: int | None = None, is_alone: bool = True
) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the processor.

    A session that is not alone runs in turns with others: its threads sleep as soon as they have
    nothing to do, so that those of the next session have the processors.

    Without the VNNI instructions the kernels for unsigned activations and signed weights add pairs
    of products in 16 bits and saturate. The same int8 network then gives other, mostly lower,
    probabilities. The precision mode computes in unsigned numbers there; on a processor with VNNI
    it changes nothing.
    """
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    if not is_alone:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
