"""From a bundle to a folder for the robot: ONNX, a contract of inputs and outputs, and a proof that it still grasps."""
