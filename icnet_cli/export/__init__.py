"""Networks to other programs (ONNX, torch.export, OpenVINO), and other programs' weights to ours."""
