"""Serve a checkpoint as a Truss with default settings does: with `generate`, one by one.

What `bench_serving.py` compares with. Tokens are streamed as raw text.
"""

import argparse
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer


def create_app(directory: Path, dtype: str) -> FastAPI:
    """Return the application; POST /predict is the route."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype).eval()
    one_at_a_time = threading.Lock()
    app = FastAPI()

    @app.post("/predict")
    def predict(body: dict[str, Any]) -> StreamingResponse:
        options = {key: body[key] for key in ("do_sample", "max_new_tokens", "min_new_tokens")}

        def chunks() -> Iterator[str]:
            inputs = tokenizer(body["prompt"], return_tensors="pt")
            streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
            with one_at_a_time:
                thread = threading.Thread(
                    target=model.generate,
                    kwargs={**inputs, **options, "streamer": streamer, "pad_token_id": 0},
                )
                thread.start()
                yield from streamer
                thread.join()

        return StreamingResponse(chunks(), media_type="text/plain")

    return app


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    app = create_app(arguments.checkpoint, arguments.dtype)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
