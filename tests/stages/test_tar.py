"""Headers of tar members."""

from __future__ import annotations

import tarfile

from hypothesis import given
from hypothesis import strategies as st

from biomedica_kedro.stages.tar import header_of, padding_of


@given(st.text("abcXYZ019_-./é🧬", min_size=1, max_size=120), st.integers(0, 2**40))
def test_header_is_the_one_of_the_standard_library(name, size):
    header = tarfile.TarInfo(name)
    header.size = size
    assert header_of(name, size) == header.tobuf(tarfile.GNU_FORMAT)
    assert (size + len(padding_of(size))) % tarfile.BLOCKSIZE == 0
