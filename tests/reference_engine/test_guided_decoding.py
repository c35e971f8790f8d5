"""Guided requests of the reference engine on the demo checkpoint."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from engine_step.interface import RequestRefusedError
from guided_decoding.guide import Guide, read_guide
from guided_decoding.json_schema import checked_schema
from guided_decoding.trial import Trials
from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine
from support.engine_harness import Replies, ask, request

CHECKPOINT = Path(__file__).parents[2] / "demo" / "checkpoint"
END = 0
PROMPT = [5, 6, 7, 8]


@pytest.fixture(scope="module")
def engine() -> Iterator[ReferenceEngine]:
    config = EngineConfig.resolve(
        CHECKPOINT, max_batch_size=4, max_seq_len=512, max_beam_width=2, dtype="float32"
    )
    served = ReferenceEngine(config)
    yield served
    served.shutdown()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    started = Trials(CHECKPOINT)
    yield started
    started.close()


def guided(kind: str, text: str | None = None, length: int = 300, **fields: Any) -> Any:
    return request(PROMPT, length, end_id=END, guide=read_guide(kind, text), **fields)


def reply(engine: ReferenceEngine, tokenizer: Tokenizer, one: Any) -> str | None:
    """The text, or nothing where the length ended it."""
    [tokens] = ask(engine, one)
    return None if len(tokens) == one.request_output_len else tokenizer.decode(tokens)


SCALARS = st.sampled_from(
    [
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["north", 'so"u\\th', 3, None]},
        {"const": {"wind": [1, 2]}},
        {"type": "string", "minLength": 1, "maxLength": 6},
        {"type": "string", "pattern": "^[a-c]{2,4}$"},
        {"type": "string", "pattern": r"^[^a-z]{1,5}\S$"},
        {"type": "integer", "minimum": -20, "maximum": 117},
        {"type": "integer", "exclusiveMinimum": 3, "maximum": 9},
    ]
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(
            lambda items, most: {"type": "array", "items": items, "minItems": 1, "maxItems": most},
            inner,
            st.integers(1, 3),
        ),
        st.builds(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties),
            },
            st.dictionaries(
                st.sampled_from(["a", "b", "c-é", "d e"]), inner, min_size=1, max_size=3
            ),
        ),
        st.builds(lambda *parts: {"anyOf": list(parts)}, inner, inner),
    ),
    max_leaves=4,
)


def matches(value: Any, schema: dict[str, Any]) -> bool:
    """What the schemas above mean, read anew."""
    if "anyOf" in schema:
        return any(matches(value, each) for each in schema["anyOf"])
    if "enum" in schema:
        return any(value == each and type(value) is type(each) for each in schema["enum"])
    if "const" in schema:
        return bool(value == schema["const"])
    match schema["type"]:
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "string":
            if not isinstance(value, str) or not re.search(schema.get("pattern", ""), value):
                return False
            return len(value) in range(schema.get("minLength", 0), schema.get("maxLength", 99) + 1)
        case "integer":
            low: int = max(schema.get("minimum", -99), schema.get("exclusiveMinimum", -99) + 1)
            return type(value) is int and bool(low <= value <= schema["maximum"])
        case "array":
            size = (
                isinstance(value, list) and schema["minItems"] <= len(value) <= schema["maxItems"]
            )
            return size and all(matches(each, schema["items"]) for each in value)
        case _:
            return (
                isinstance(value, dict)
                and set(value) == set(schema["properties"])
                and all(matches(value[name], each) for name, each in schema["properties"].items())
            )


@pytest.mark.slow
@given(schema=SCHEMAS, seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_a_reply_that_ends_by_itself_matches_its_schema(
    engine: ReferenceEngine,
    tokenizer: Tokenizer,
    trials: Trials,
    schema: dict[str, Any],
    seed: int,
) -> None:
    [guide] = trials.check([Guide("json_schema", checked_schema(json.dumps(schema)))]).result()
    text = reply(engine, tokenizer, guided(guide.kind, guide.text, seed=seed, top_k=50))
    if text is not None:
        assert matches(json.loads(text), schema), text


@pytest.mark.parametrize(
    ("kind", "text", "pattern"),
    [
        ("regex", r"(north|south), [0-9]{2} knots", r"(north|south), [0-9]{2} knots"),
        ("ebnf_grammar", 'root ::= "a" [0-9] root | "."', r"(a[0-9])*\."),
    ],
)
def test_a_reply_matches_a_regular_expression_or_a_grammar(
    engine: ReferenceEngine, tokenizer: Tokenizer, kind: str, text: str, pattern: str
) -> None:
    found = reply(engine, tokenizer, guided(kind, text, seed=3, top_k=20))
    assert found is None or re.fullmatch(pattern, found), found


def test_any_object_or_array_is_json(engine: ReferenceEngine, tokenizer: Tokenizer) -> None:
    [tokens] = ask(engine, guided("json", length=40))
    assert tokenizer.decode(tokens).lstrip()[0] in "{["


@pytest.mark.slow
def test_unguided_requests_beside_guided_ones_have_the_tokens_they_have_alone(
    engine: ReferenceEngine,
) -> None:
    plain = [request([9, 10, 11 + number], 40, seed=number, top_k=30) for number in range(3)]
    alone = [ask(engine, each) for each in plain]
    others, beside = [Replies() for _ in plain], Replies()
    schema = '{"type": "array", "items": {"type": "boolean"}, "minItems": 9}'
    engine.submit(guided("json_schema", schema, 60), beside)
    for each, replies in zip(plain, others, strict=True):
        engine.submit(each, replies)
    assert [replies.beams() for replies in others] == alone
    assert beside.beams()


def test_a_guided_stream_has_the_tokens_of_the_whole_reply(engine: ReferenceEngine) -> None:
    whole = ask(engine, guided("regex", "(ab|cd){3}"))
    replies = Replies()
    engine.submit(guided("regex", "(ab|cd){3}", streaming=True), replies)
    assert [replies.streamed()] == whole


def test_a_guided_request_can_be_cancelled(engine: ReferenceEngine) -> None:
    replies = Replies()
    one = guided("regex", "[a-z]*", 500, streaming=True, request_id="g", min_tokens=500)
    engine.submit(one, replies)
    replies.next()
    engine.cancel("g")
    assert replies.final().error is None
    assert engine.statistics().active == 0


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("json_schema", '{"type": "int"}', "guided_decoding_guide: .*Unsupported type"),
        ("regex", "[", "guided_decoding_guide: .*Unclosed"),
        ("ebnf_grammar", "root ::= other", "guided_decoding_guide: "),
    ],
)
def test_a_guide_without_a_grammar_ends_its_own_request_only(
    engine: ReferenceEngine, kind: str, text: str, reason: str
) -> None:
    replies = Replies()
    engine.submit(guided(kind, text), replies)
    error = replies.final().error
    assert isinstance(error, RequestRefusedError)
    assert re.search(reason, str(error)), error
    assert ask(engine, request([1, 2], 2))


def test_a_guide_that_takes_longer_with_each_token_ends_its_own_request_only(
    engine: ReferenceEngine,
) -> None:
    replies = Replies()
    engine.submit(guided("regex", "(" * 5 + "a" + "{1,100})" * 5), replies)
    error = replies.final().error
    assert isinstance(error, RequestRefusedError)
    assert "ms a token to follow" in str(error)
    assert ask(engine, request([1, 2], 2))


def test_beams_and_a_missing_end_id_are_refused(engine: ReferenceEngine) -> None:
    with pytest.raises(RequestRefusedError, match="a guided reply has one beam"):
        engine.submit(guided("json", beam_width=2), Replies())
    with pytest.raises(RequestRefusedError, match="needs an end id"):
        engine.submit(request([1], 1, guide=read_guide("json", None)), Replies())
