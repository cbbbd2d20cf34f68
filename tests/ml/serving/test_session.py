import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from detection.ml.serving.session import open_session


def test_large_int8_products_do_not_saturate(tmp_path):
    """255 x 127 twice is more than 16 bits hold: a kernel that adds pairs in 16 bits is wrong."""
    weights = np.full((64, 16), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [4, 64])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [4, 16])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "products.onnx")

    session = open_session(tmp_path / "products.onnx", threads=1)
    (sums,) = session.run(None, {"x": np.full((4, 64), 255, np.uint8)})

    assert (sums == 64 * 255 * 127).all()
