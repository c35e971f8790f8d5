"""A checkpoint's weights as a runner that computes with them."""

from reference_engine.config import EngineConfig
from reference_engine.model.checkpoint import torch_dtype
from reference_engine.model.decoder import Decoder, unchanged
from reference_engine.model.kv_cache import KVCache
from reference_engine.model.model_config import ModelConfig
from reference_engine.model.model_runner import ModelRunner
from reference_engine.model.parameters import Parameters, RegionOf, whole
from reference_engine.model.projection import Map
from reference_engine.model.weights import Weights


def load_runner(
    config: EngineConfig,
    weights: Weights,
    *,
    own: ModelConfig | None = None,
    region_of: RegionOf = whole,
    all_reduce: Map = unchanged,
    all_gather: Map = unchanged,
) -> ModelRunner:
    """Load a model, or one rank's share of it; the weights may be closed afterwards.

    Args:
        config: what is served.
        weights: of the checkpoint.
        own: the model with this rank's heads; by default with all.
        region_of: which part of each parameter is this rank's; see `Parameters`.
        all_reduce: see `Decoder`.
        all_gather: see `Decoder`.

    Raises:
        CheckpointError: see `Decoder`.
    """
    dtype = torch_dtype(config.dtype)
    decoder = Decoder(
        config.model,
        Parameters(weights, dtype, config.device, region_of),
        config.max_seq_len,
        all_reduce,
        all_gather,
        has_int8_weights=config.has_int8_weights,
    )
    cache = KVCache(own or config.model, config.num_blocks, config.block_size, dtype, config.device)
    return ModelRunner(decoder, cache)
