"""The stream as a PyTorch data set: the samples and their order are the same for any number of loader workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from torch.utils.data import IterableDataset, get_worker_info

from biomedica_kedro.shards.order import deal
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.stream import Stream, read_rows

Item = TypeVar("Item", covariant=True)


class ShardDataset(IterableDataset[Item], Generic[Item]):
    """Give a `Stream` to `torch.utils.data.DataLoader`.

    Example:
        >>> chosen = stream(folder, where="split = 'train'", block=64)  # doctest: +SKIP
        >>> loader = DataLoader(ShardDataset(chosen, decode), batch_size=64, num_workers=2)  # doctest: +SKIP
    """

    def __init__(self, chosen: Stream, transform: Callable[[Sample], Item]) -> None:
        """Args: chosen: its `block` must be the loader's batch size; transform: picklable, from sample to item."""
        super().__init__()
        self._stream = chosen
        self._transform = transform

    def __iter__(self) -> Iterator[Item]:
        chosen = self._stream
        info = get_worker_info()
        rows = chosen.deal.rows(chosen.places)[chosen.position :]
        if info is not None:
            rows = deal(rows, block=chosen.deal.block, player=info.id, players=info.num_workers)
        for sample in read_rows(chosen.places, rows, chosen.deal.block, chosen.columns):
            yield self._transform(sample)

    def __len__(self) -> int:
        return len(self._stream)

    def set_epoch(self, epoch: int) -> None:
        """Begin another epoch; call before iterating over the loader."""
        self._stream = self._stream.at_epoch(epoch)

    def state(self, n_consumed: int) -> dict[str, Any]:
        """State after so many samples came out of the loader; workers run ahead, so only the caller knows."""
        return self._stream.state() | {"position": self._stream.position + n_consumed}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on after the sample that a state stands for; see `Stream.resumed`."""
        self._stream = self._stream.resumed(state)
