"""The process of a following rank: `worker FILE_DESCRIPTOR PARENT`, started by `Follower`.

Any exception ends it, which the leading rank notices at once; so does the end of the leading rank.
"""

import sys
from multiprocessing.connection import Connection

import torch

from aeolus_contract.interpreter import die_with_parent
from reference_engine.model.checkpoint import CheckpointError
from reference_engine.ranks.rank import Call, Start, load_rank, use_own_cores


def main() -> None:
    """Follow the orders that come over the connection until it ends."""
    die_with_parent(int(sys.argv[2]))
    with Connection(int(sys.argv[1])) as connection, torch.inference_mode():
        start: Start = connection.recv()
        use_own_cores(start.rank)
        try:
            runner, collectives = load_rank(start.config, start.rank)
        except CheckpointError as error:
            connection.send(str(error))
            return
        connection.send(None)
        collectives.connect(start.rendezvous)
        connection.send(None)
        while True:
            try:
                call: Call = connection.recv()
            except EOFError:
                return
            getattr(runner, call.method)(*call.arguments)


if __name__ == "__main__":
    main()
