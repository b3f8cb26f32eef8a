"""The trained network as the artifact that answers: float graph, dynamic int8, calibration, refusal."""
