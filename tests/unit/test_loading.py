"""While something large is imported nothing is collected, and afterwards as before."""

import gc

import pytest

from sandbox.loading import loading


def test_nothing_is_collected_meanwhile_and_then_again_also_after_an_error():
    with loading():
        assert not gc.isenabled()
        with loading():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), loading():
        raise ImportError
    assert gc.isenabled()
