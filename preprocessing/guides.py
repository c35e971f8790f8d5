"""What a reply must match: checked by itself, and with the other values of the request."""

from collections.abc import Collection

from aeolus_contract.failures import InvalidRequestError
from guided_decoding.guide import Guide, GuideError
from guided_decoding.json_schema import checked_schema
from guided_decoding.pattern import check_classes
from preprocessing.sampling import Values

MAX_GUIDE_BYTES = 1 << 16


def checked_guide(guide: Guide) -> Guide:
    """Return a guide whose every reply matches the given one.

    Raises:
        InvalidRequestError: it is too long, or its schema asks for what no grammar here can; the
            text says where.
    """
    if (size := len(guide.text.encode())) > MAX_GUIDE_BYTES:
        raise InvalidRequestError(
            f"guided_decoding_guide has {size} bytes; send {MAX_GUIDE_BYTES} or fewer"
        )
    try:
        if guide.kind == "json_schema":
            return Guide("json_schema", checked_schema(guide.text))
        check_classes(guide.text, quotes='"' if guide.kind == "ebnf_grammar" else "")
        return guide
    except GuideError as error:
        raise InvalidRequestError(f"guided_decoding_guide: {error}") from error


def check_guided(
    sampling: Values, end_ids: Collection[int], usual_end_ids: Collection[int]
) -> None:
    """Check that a guided reply can be one, and can end.

    TensorRT-LLM follows a guide along one sequence (cpp/tensorrt_llm/batch_manager/
    guidedDecoder.cpp), and its executor learns the end ids of grammars when it starts.

    Args:
        sampling: the request's values.
        end_ids: that end the reply.
        usual_end_ids: the checkpoint's.

    Raises:
        InvalidRequestError: they contradict the guide.
    """
    if sampling.get("beam_width", 1) > 1:
        raise InvalidRequestError(
            f"beam_width is {sampling['beam_width']}, but a guided reply has one beam; send 1"
        )
    for name in ("min_tokens", "min_length", "min_total_length"):
        if sampling.get(name, 0):
            raise InvalidRequestError(
                f"{name} is {sampling[name]}, but a guided reply ends where its guide ends; "
                "leave it out"
            )
    if not set(end_ids) <= set(usual_end_ids):
        raise InvalidRequestError(
            f"end_ids are {[*end_ids]}, but a guided reply ends by an end id of the checkpoint: "
            f"{', '.join(map(str, usual_end_ids))}"
        )
