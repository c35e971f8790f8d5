"""Calibrated FP8 and INT4 weights by NVIDIA ModelOpt, which runs in packages of its own."""
