"""What every Python engine behind the `tensorrt_llm` step shares."""
