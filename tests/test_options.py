"""How option values are read, without a guest."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from guest.commands import main


@pytest.mark.parametrize(("option", "value", "message"), [
    ("--memory", "1M", "1M is too little: a guest needs at least 4M"),
    ("--memory", "65T", "65T is more than a guest can have: at most 64T"),
    ("--swap", "39K", "39K is too little: a swap area needs at least 40K"),
    ("--swap", "9T", "9T is more than a swap area can hold: at most 8T"),
    ("--swap", "much", "'much' is not a size"),
])
def test_sizes_have_bounds_of_their_own(option: str, value: str, message: str) -> None:
    result = CliRunner().invoke(main, ["run", option, value, "true"])
    assert result.exit_code == 2
    assert message in result.output
